// Whether the code is what its types say, as far as the compiler can see it in JavaScript.
import * as hooks from "../zantara-stream/view.js";
import * as made from "../zantara-stream/zantara-stream.js";
import type * as told from "../zantara-stream/types.js";

// What is set when it is known, one of some words, or typed by event is more than a compiler sees there.
type Unseen = "state" | "done" | "error" | "addEventListener" | "removeEventListener" | typeof Symbol.asyncIterator;
type Seen<Answer> = Omit<Answer, Unseen>;

export const ask: (...given: Parameters<typeof told.ask>) => Seen<told.Answer> = made.ask;
export const follow: (...given: Parameters<typeof told.follow>) => Seen<told.Answer> = made.follow;
export const resume: (...given: Parameters<typeof told.resume>) => Seen<told.Answer> | undefined = made.resume;
export const forget: typeof told.forget = made.forget;
export const events = (answer: made.Answer) => answer[Symbol.asyncIterator]() satisfies AsyncIterator<unknown, void>;
export const failure: new (...given: ConstructorParameters<typeof told.AnswerError>) => Error = made.AnswerError;
export const view: hooks.View = hooks.IDLE;
