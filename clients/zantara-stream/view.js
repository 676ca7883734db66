// What both frameworks share: one answer at a time, read into views that never change once they are made.

import { AnswerError, ask, forget, resume } from "./zantara-stream.js";

const FRAME = 16; // milliseconds between two views of a text that grows

export const IDLE = Object.freeze({
  state: "idle",
  query: undefined,
  id: undefined,
  text: "",
  citations: Object.freeze([]),
  sources: Object.freeze([]),
  done: undefined,
  error: undefined,
  loading: false,
  streaming: false,
  reconnecting: false,
  retryIn: undefined,
  stopped: false,
  over: false,
});

export class Reading {
  #options; // gives those of now
  /** @type {import("./view.js").View} */
  #view = IDLE;
  #answer;
  #retryIn;
  #failure; // why the server could not be told to stop
  #shown = 0; // when, in milliseconds
  #timer; // until what has come in is shown
  #readers = new Set();
  #use; // the last one

  constructor(options) {
    this.#options = options;
  }

  view = () => this.#view;

  subscribe = (reader) => {
    this.#readers.add(reader);
    return () => this.#readers.delete(reader);
  };

  use = () => {
    const use = (this.#use = {});
    const answer = this.#options().resume && !this.#answer && resume(this.#latest());
    if (answer) this.#read(answer);
    // React takes an effect away and puts it back within one turn: no reason to close.
    return () => queueMicrotask(() => use === this.#use && this.#leave());
  };

  ask = (query, more) => this.#read(ask(query, this.#latest(more)));

  stop = async () => {
    const answer = this.#answer;
    try {
      await answer?.stop();
    } catch (error) {
      if (answer !== this.#answer) return;
      this.#failure = untold(error);
      this.#show();
    }
  };

  close = () => this.#answer?.close();

  reset = () => {
    const answer = this.#answer;
    this.#answer = undefined;
    answer?.close();
    forget();
    this.#show();
  };

  // A click handler is given its event, which is no delay.
  reconnect = (delay) => this.#answer?.reconnect(typeof delay === "number" ? delay : 0);

  #latest(more) {
    // A reconnection an hour later needs the token of then.
    const now = (name) => () => given(this.#options()[name]);
    return { ...this.#options(), token: now("token"), ticket: now("ticket"), ...more };
  }

  #read(answer) {
    const before = this.#answer;
    this.#answer = answer;
    before?.close();
    this.#view = IDLE;
    this.#retryIn = this.#failure = undefined;
    for (const type of ["text", "citation", "sources"]) answer.addEventListener(type, () => this.#soon(answer));
    answer.addEventListener("state", ({ detail }) => {
      if (answer !== this.#answer) return;
      this.#retryIn = detail.delay;
      this.#show();
    });
    this.#show();
    return answer;
  }

  #leave() {
    if (this.#answer?.over) return;
    this.#answer?.close();
    this.#answer = undefined; // its last view stays; whoever comes back may resume it
  }

  #soon(answer) {
    if (answer !== this.#answer || this.#timer) return;
    const wait = this.#shown + FRAME - Date.now();
    if (wait > 0) this.#timer = setTimeout(() => this.#show(), wait);
    else this.#show();
  }

  #show() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#shown = Date.now();
    this.#view = this.#answer ? seen(this.#answer, this.#view, this.#retryIn, this.#failure) : IDLE;
    for (const reader of [...this.#readers]) reader();
  }
}

function seen(answer, before, retryIn, failure) {
  const { state, query, id, text, citations, sources, done, error = failure, over } = answer;
  const [streaming, begun] = [state === "streaming", text !== ""];
  return Object.freeze({
    ...{ state, query, id, text, done, error, over, retryIn },
    // The same array while it is the same list, so that nothing is rendered for nothing.
    citations: citations.length === before.citations.length ? before.citations : Object.freeze([...citations]),
    sources: sources.length ? sources : IDLE.sources,
    loading: state === "connecting" || (streaming && !begun),
    streaming: streaming && begun,
    reconnecting: state === "reconnecting",
    stopped: state === "stopped",
  });
}

function untold(cause) {
  if (cause instanceof AnswerError) return cause;
  const error = "The answer was stopped here, but the server could not be told.";
  return Object.assign(new AnswerError({ error, code: "unreachable", retryable: true }), { cause });
}

function given(value) {
  return typeof value === "function" ? value() : value;
}
