// Uses of the React hook, right and wrong. They are compiled and never run.
import type { Answer, AnswerError, Citation, Source, State } from "zantara-stream";
import { useZantaraStream, type Actions, type StreamOptions, type View } from "zantara-stream/react";

type Same<Left, Right> = (<T>() => T extends Left ? 1 : 2) extends <T>() => T extends Right ? 1 : 2 ? true : false;
const same = <Left, Right>(equal: Same<Left, Right>) => equal;

const options: StreamOptions = { url: "https://answers.example.com", resume: true, token: () => "token" };
const stream: View & Actions = useZantaraStream(options);
useZantaraStream();

same<typeof stream.state, State | "idle">(true);
same<typeof stream.text, string>(true);
same<typeof stream.citations, readonly Citation[]>(true);
same<typeof stream.sources, readonly Source[]>(true);
same<typeof stream.error, AnswerError | undefined>(true);
same<typeof stream.retryIn, number | undefined>(true);
same<typeof stream.loading & typeof stream.streaming & typeof stream.reconnecting, boolean>(true);
same<typeof stream.stopped & typeof stream.over, boolean>(true);
same<ReturnType<typeof stream.ask>, Answer>(true);

type Handler = (event: { type: string }) => unknown;
export const handlers: Handler[] = [stream.stop, stream.close, stream.reset, stream.reconnect];
stream.ask("q", { continuity: "c" });

// @ts-expect-error: there is no such option
useZantaraStream({ resumes: true });
// @ts-expect-error: whether to resume is said before anything is asked
stream.ask("q", { resume: true });
// @ts-expect-error: a question is text
stream.ask();
// @ts-expect-error: a view is not to be written
stream.text = "";
// @ts-expect-error: nor is what is in it
stream.citations.push();
// @ts-expect-error: it is no ref
stream.text.value;
