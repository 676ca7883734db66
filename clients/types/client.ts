// Uses of the client, right and wrong. They are compiled and never run.
import {
  AnswerError,
  ask,
  follow,
  forget,
  resume,
  type Answer,
  type Citation,
  type Done,
  type LogEvent,
  type Options,
  type Source,
  type State,
  type StateChange,
  type Text,
  type Turn,
} from "zantara-stream";

type Same<Left, Right> = (<T>() => T extends Left ? 1 : 2) extends <T>() => T extends Right ? 1 : 2 ? true : false;
const same = <Left, Right>(equal: Same<Left, Right>) => equal;

const turns: Turn[] = [{ role: "user", content: "Who pays?" }];
const options: Options = {
  url: "https://answers.example.com",
  email: "ana@example.com",
  session: "s",
  history: turns,
  continuity: "c",
  memory: false,
  token: async () => "token",
  ticket: () => undefined,
  headers: { "X-Tenant": "t" },
  credentials: true,
  share: false,
  keep: false,
  silence: 10_000,
  signal: AbortSignal.timeout(1000),
};

const answer: Answer = ask("What does it cost?", options);
same<ReturnType<typeof follow>, Answer>(true);
same<ReturnType<typeof resume>, Answer | undefined>(true);
same<ReturnType<typeof forget>, void>(true);
same<Answer["state"], State>(true);
same<Answer["done"], Done | undefined>(true);
same<Answer["error"], AnswerError | undefined>(true);

answer.addEventListener("text", ({ detail }) => same<typeof detail, Text>(true));
answer.addEventListener("citation", ({ detail }) => same<typeof detail.citation, Citation>(true));
answer.addEventListener("sources", ({ detail }) => same<typeof detail.sources, Source[]>(true), { once: true });
answer.addEventListener("done", ({ detail }) => same<typeof detail, Done>(true));
answer.addEventListener("error", ({ detail }) => same<typeof detail.retryable, boolean>(true));
answer.addEventListener("state", ({ detail }) => same<typeof detail, StateChange>(true));

export async function read(): Promise<string> {
  let text = "";
  try {
    for await (const event of answer) {
      same<typeof event, LogEvent>(true);
      if (event.type === "text") text += event.text;
      else if (event.type === "sources") text += event.sources[0]?.url ?? "";
      else if (event.type === "citation") text += event.citation.quote;
      else text += event.stopReason satisfies "end_turn" | "max_tokens" | "stopped" | "refusal";
    }
  } catch (error) {
    if (error instanceof AnswerError && error.retryable) return error.code;
    throw error;
  } finally {
    await answer.stop();
    answer.close();
    answer.reconnect();
    answer.reconnect(500);
  }
  return text;
}

// @ts-expect-error: a question is text
ask(1);
// @ts-expect-error: there is no such option
ask("q", { adress: "https://answers.example.com" });
// @ts-expect-error: a turn is the user's or the assistant's
ask("q", { history: [{ role: "system", content: "c" }] });
// @ts-expect-error: an answer is followed by its id
follow();
// @ts-expect-error: there may be none
resume().text;
// @ts-expect-error: what is known is not to be written
answer.text = "";
// @ts-expect-error: it has no such state
answer.state === "idle";
// @ts-expect-error: a text is no citation
answer.addEventListener("text", ({ detail }) => detail.citation);
// @ts-expect-error: a done may not be here yet
answer.done.stopReason;
