/** What a question takes along, and how its answer is read. */
export interface Options {
  /** The server, as "https://answers.example.com"; without it, the page's own. */
  url?: string;
  /** Who asks; believed only where the server trusts it. */
  email?: string;
  /** Names a conversation that the server keeps. */
  session?: string;
  /** The earlier turns, where the server keeps none. A long history is sent by POST. */
  history?: Turn[];
  /** Names this one answer: whoever asks with it again gets the same one. By default a random one. */
  continuity?: string;
  /** Whether what the server remembers of the person may be used, and added to. */
  memory?: boolean;
  /** A signed token, or what gets one; sent in a header, so by fetch. */
  token?: Given<string>;
  /** A one-time ticket, or what gets one; for native EventSource, which sends no headers. */
  ticket?: Given<string>;
  /** Further headers of each request; sent by fetch. */
  headers?: Record<string, string>;
  /** Whether cookies go along to another origin. */
  credentials?: boolean;
  /** Whether tabs that read the same answer share one connection; by default true. */
  share?: boolean;
  /** Whether `resume` finds this answer after a reload; by default true. */
  keep?: boolean;
  /** Milliseconds without a sign of life until the line counts as dead; by default 25,000. */
  silence?: number;
  /** Closes the answer when it is aborted. */
  signal?: AbortSignal;
}

export type Given<Value> = Value | (() => Value | undefined | Promise<Value | undefined>);

export interface Turn {
  role: "user" | "assistant";
  content: string;
}

/**
 * `connecting` until the server has accepted the question, `streaming`, `reconnecting` after the line was lost; then one
 * of `complete`, `stopped` (by anybody), `error`, or `closed` (by this page: the answer may go on).
 */
export type State = "connecting" | "streaming" | "reconnecting" | "complete" | "stopped" | "error" | "closed";

export interface StateChange {
  state: State;
  /** With `reconnecting`: milliseconds until the next attempt. */
  delay?: number;
  /** With `streaming`: the place in the log from which the connection begins. */
  offset?: number;
  /** With `streaming`: how many events of the log were there already. */
  replayed?: number;
}

export interface Text {
  text: string;
  sequenceNumber: number;
  /** Unix seconds. */
  timestamp: number;
}

/** A document's own words, checked, and the span of the answer that they support. All spans count code points. */
export interface Citation {
  passage: string;
  source: string;
  quote: string;
  start: number;
  end: number;
  textStart: number;
  textEnd: number;
  verified: boolean;
  document?: string;
  section?: string;
  page?: number;
  url?: string;
}

export interface Source {
  source: string;
  snippet: string;
  similarity: number;
  passage: string;
  document?: string;
  section?: string;
  page?: number;
  url?: string;
  updated?: string;
  start: number;
  end: number;
}

export interface Done {
  done: true;
  sequenceNumber: number;
  timestamp: number;
  /** Seconds. */
  streamDuration: number;
  stopReason: "end_turn" | "max_tokens" | "stopped" | "refusal";
  usage: Record<string, number>;
  timings: { retrieval?: number; firstChunk?: number; total?: number };
  model: string;
  answer: string;
  usedRag: boolean;
}

export class AnswerError extends Error {
  constructor(said: { error: string; code: string; retryable?: boolean });
  readonly name: "AnswerError";
  /** One of the server's codes; `unreachable` or `unexpected_response` where it said nothing. */
  code: string;
  /** Whether asking again may work. */
  retryable: boolean;
}

export interface AnswerEvents {
  text: Text;
  citation: { citation: Citation };
  sources: { sources: Source[] };
  done: Done;
  error: AnswerError;
  state: StateChange;
}

/** One event of the log, as the iterator gives it; `id` is the place after it. */
export type LogEvent =
  | ({ type: "text"; id: string } & AnswerEvents["text"])
  | ({ type: "citation"; id: string } & AnswerEvents["citation"])
  | ({ type: "sources"; id: string } & AnswerEvents["sources"])
  | ({ type: "done"; id: string } & AnswerEvents["done"]);

/**
 * An answer as it comes in. Its properties are what is known by now; its events and its iterator tell of each change.
 * However often the line is lost, no chunk is missing and none comes twice.
 */
export interface Answer extends EventTarget, AsyncIterable<LogEvent> {
  /** Undefined for one that is followed by its id. */
  readonly query: string | undefined;
  /** The server's id of it, once it is known. */
  readonly id: string | undefined;
  readonly state: State;
  /** Whether nothing more comes. */
  readonly over: boolean;
  readonly text: string;
  readonly citations: Citation[];
  readonly sources: Source[];
  readonly done: Done | undefined;
  readonly error: AnswerError | undefined;
  /** The number of the last chunk. */
  readonly chunks: number;
  /** How often events were missing and were fetched, and how many came twice and were dropped: both stay 0. */
  readonly gaps: number;
  readonly duplicates: number;
  readonly log: readonly LogEvent[];
  /** Stop it, for everybody who reads it: no more is paid for it. Rejects where the server could not be told. */
  stop(): Promise<void>;
  /** Read no more. The answer goes on while others read it, and for the server's grace time. */
  close(): void;
  /** Drop the connection and come back after so many milliseconds; by default soon, and later each time in vain. */
  reconnect(delay?: number): void;
  /** What was written so far, then what comes. Leaving the loop closes the answer; a failure is thrown. */
  [Symbol.asyncIterator](): AsyncIterator<LogEvent, void>;
  addEventListener<Type extends keyof AnswerEvents>(
    type: Type,
    listener: ((event: CustomEvent<AnswerEvents[Type]>) => void) | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<Type extends keyof AnswerEvents>(
    type: Type,
    listener: ((event: CustomEvent<AnswerEvents[Type]>) => void) | null,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

/** Ask a question; the answer streams in. */
export function ask(query: string, options?: Options): Answer;

/** Follow an answer that exists, by its id, from its beginning. */
export function follow(id: string, options?: Options): Answer;

/** The answer that this tab was reading before it was reloaded, from its beginning; undefined where there is none. */
export function resume(options?: Options): Answer | undefined;

/** Forget what `resume` would find, as when somebody signs out. What is being read goes on. */
export function forget(): void;
