import type { Answer, AnswerError, Citation, Done, Options, Source, State } from "./types.js";

/** Those of `ask`, for all questions that are asked with the hook; they may change at any time. */
export interface StreamOptions extends Options {
  /** Whether the answer that this tab was reading before it was reloaded goes on at once; by default false. */
  resume?: boolean;
}

/** What is known of the answer at one moment; it never changes. Before the first question its `state` is `idle`. */
export interface View {
  readonly state: State | "idle";
  readonly query: string | undefined;
  /** The server's id of the answer, once it is known. */
  readonly id: string | undefined;
  readonly text: string;
  readonly citations: readonly Citation[];
  readonly sources: readonly Source[];
  /** What the server says at the end. */
  readonly done: Done | undefined;
  /** Why there is no more; with `stopped`, why the server could not be told. */
  readonly error: AnswerError | undefined;
  /** Asked, and not a word of it is here yet. */
  readonly loading: boolean;
  /** Words come in. */
  readonly streaming: boolean;
  /** The line was lost; what is here stays. */
  readonly reconnecting: boolean;
  /** With `reconnecting`: how many milliseconds after the loss the next attempt is made. */
  readonly retryIn: number | undefined;
  /** Stopped, by anybody. */
  readonly stopped: boolean;
  /** Nothing more comes: complete, stopped, failed or closed. */
  readonly over: boolean;
}

/** What can be done. They stay the same functions, and none of them needs an object to be called on. */
export interface Actions {
  /** Ask a question, with options beside those of the hook. Closes the answer before it, which writes nothing more. */
  ask: (query: string, more?: Options) => Answer;
  /** Stop the answer for everybody who reads it. Where the server cannot be told, `error` says so. */
  stop: () => Promise<void>;
  /** Read no more. The answer goes on while others read it, and for the server's grace time. */
  close: () => void;
  /** Close it and forget it: `idle` again, and nothing to resume. */
  reset: () => void;
  /** Drop the connection and come back, at once or after so many milliseconds; "try again now". */
  reconnect: (delay?: unknown) => void;
}

export const IDLE: View;

export class Reading implements Actions {
  constructor(options: () => StreamOptions);
  view: () => View;
  subscribe: (reader: () => void) => () => void;
  use: () => () => void;
  ask: Actions["ask"];
  stop: Actions["stop"];
  close: Actions["close"];
  reset: Actions["reset"];
  reconnect: Actions["reconnect"];
}
