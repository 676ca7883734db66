// Zantara Stream's browser client. An answer is a log on the server and this is a reader of it: whatever happens to the
// line, the page or the server, it comes back to its place. types.d.ts says what each name means, docs/integration.md
// shows how to use them.

const KEPT = "zantara-stream"; // the key in sessionStorage
const NAMED = ["start", "resumed", "gap", "ping", "unavailable", "draining"];
const RUNNING = ["connecting", "streaming", "reconnecting"];
const FIRST = 1000; // milliseconds until the first reconnection; each further one takes twice as long
const LONGEST = 30_000;
const SILENCE = 25_000; // the server says something every 15 seconds
const FOREVER = 2 ** 31 - 1; // milliseconds, the longest that a timer knows
const ATTEMPTS = 5; // to reach a server that has never answered
const ADDRESS = 2000; // characters that every proxy passes on

export class AnswerError extends Error {
  constructor({ error, code, retryable }) {
    super(error);
    Object.assign(this, { name: "AnswerError", code, retryable: !!retryable });
  }
}

export function ask(query, options = {}) {
  const { url, email, session, history, memory, continuity = random() } = options;
  const who = { user_email: email, session_id: session, memory };
  return new Answer({ url, asked: { query, ...who, conversation_history: history, continuity_id: continuity } }, options);
}

export function follow(id, options = {}) {
  return new Answer({ url: options.url, asked: { user_email: options.email }, id }, options);
}

export function resume(options = {}) {
  const kept = recall();
  return kept?.asked && kept.url === options.url ? new Answer(kept, options) : undefined;
}

export function forget() {
  recall("removeItem");
}

export class Answer extends EventTarget {
  state = "connecting";
  text = "";
  citations = [];
  sources = [];
  chunks = 0;
  gaps = 0;
  duplicates = 0;
  log = [];
  #kept; // what finds this answer again after a reload
  #options;
  #offset = 0; // in the log, of what was taken so far
  #at = 0; // unix seconds of the last chunk
  #failures = 0; // in a row
  #spoke = false; // whether the open connection has brought anything
  #heard = 0; // when, in milliseconds
  #plain = false; // whether to use fetch: EventSource does not say why it was refused
  #attempt; // the open connection
  #timer; // until the next attempt, or until the silence is too long
  #cursors = [];
  #gone = new AbortController();
  #tabs; // that read the same answer

  constructor(kept, options) {
    super();
    this.#kept = kept;
    this.#options = options;
    remember(kept, options);
    for (const type of ["online", "pageshow", "visibilitychange"])
      globalThis.addEventListener?.(type, (event) => this.#wake(event), { signal: this.#gone.signal });
    options.signal?.addEventListener("abort", () => this.close(), { signal: this.#gone.signal });
    // Whoever makes this can listen before anything happens.
    queueMicrotask(() => {
      if (options.signal?.aborted) this.close();
      else if (!this.over) this.id ? this.#share() : this.#connect();
    });
  }

  get query() {
    return this.#kept.asked.query;
  }

  get id() {
    return this.#kept.id;
  }

  get over() {
    return !RUNNING.includes(this.state);
  }

  async stop() {
    if (this.over) return;
    if (!this.id) return this.#end("stopped"); // the server ends what nobody comes to read
    try {
      const request = { method: "DELETE", headers: await this.#headers(), ...this.#credentials, keepalive: true };
      const response = await fetch(this.#address(`answers/${encodeURIComponent(this.id)}`, await this.#pass()), request);
      if (!response.ok) throw await refusal(response);
      if (!this.over) this.#expectEnd();
    } catch (error) {
      this.#end("stopped");
      throw error;
    }
  }

  close() {
    this.#end("closed");
  }

  reconnect(delay) {
    if (!this.over && this.#leads) this.#lost(delay);
  }

  [Symbol.asyncIterator]() {
    let at = 0;
    const next = async () => {
      while (at === this.log.length && !this.over) await new Promise((wake) => this.#cursors.push(wake));
      if (at < this.log.length) return { value: this.log[at++], done: false };
      if (this.error) throw this.error;
      return { value: undefined, done: true };
    };
    const leave = async () => {
      this.close();
      return { value: undefined, done: true };
    };
    return { next, return: leave };
  }

  // The connection

  get #leads() {
    return this.#tabs?.leads ?? true; // it holds the connection
  }

  async #connect() {
    this.#drop();
    const attempt = (this.#attempt = new AbortController());
    const hear = (type, id, json) => {
      try {
        if (attempt === this.#attempt) this.#hear(type, id, JSON.parse(json));
      } catch (error) {
        this.#lost(undefined, error); // a damaged event
      }
    };
    this.#spoke = false;
    this.#watch();
    try {
      const status = await this.#open(attempt.signal, hear);
      if (attempt !== this.#attempt) return;
      if (status === 204) return this.#end("complete");
      this.#lost(status === "refused" ? 0 : undefined);
    } catch (error) {
      if (attempt !== this.#attempt) return;
      if (error?.retryable === false) this.#fail(error);
      else this.#lost(error?.delay, error);
    }
  }

  async #open(signal, hear) {
    const [headers, pass] = [await this.#headers(), await this.#pass()];
    const asked = this.id ? { last_event_id: `${this.id}.${this.#offset}` } : this.#kept.asked;
    signal.throwIfAborted();
    const address = this.#address("chat-stream", { ...asked, ...pass });
    const short = address.length <= ADDRESS;
    if (globalThis.EventSource && short && !this.#plain && !Object.keys(headers).length) {
      const refused = await native(address, this.#options.credentials, signal, hear);
      this.#plain = refused;
      return refused ? "refused" : "ended";
    }
    const accept = { Accept: "text/event-stream", ...headers };
    const body = { method: "POST", headers: { ...accept, "Content-Type": "application/json" }, body: JSON.stringify(asked) };
    const request = short ? { headers: accept } : body;
    return fetched(short ? address : this.#address("chat-stream", pass), { ...request, ...this.#credentials, signal }, hear);
  }

  #address(path, parameters = {}) {
    const said = Object.entries(parameters).filter(([, said]) => said != null);
    const query = new URLSearchParams(said.map(([name, said]) => [name, said.map ? JSON.stringify(said) : said]));
    return `${this.#options.url ?? ""}/bali-zero/${path}${said.length ? `?${query}` : ""}`;
  }

  async #headers() {
    const token = await value(this.#options.token);
    return { ...this.#options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  }

  async #pass() {
    return { ticket: await value(this.#options.ticket), user_email: this.#kept.asked.user_email };
  }

  get #credentials() {
    return { credentials: this.#options.credentials ? "include" : "same-origin", cache: "no-store" };
  }

  #drop() {
    clearTimeout(this.#timer);
    this.#attempt?.abort();
    this.#attempt = undefined;
  }

  #lost(delay, cause) {
    if (this.over) return;
    this.#drop();
    if (delay === undefined && this.#failures++ >= ATTEMPTS && !this.id) return this.#fail(unreachable(cause));
    delay ??= Math.min(LONGEST, FIRST * 2 ** (this.#failures - 1)) * (0.5 + Math.random() / 2);
    this.#timer = setTimeout(() => this.#connect(), Math.min(delay, FOREVER));
    this.#say("reconnecting", { delay });
  }

  get #silence() {
    return this.#options.silence ?? SILENCE;
  }

  #watch(silence = this.#silence) {
    clearTimeout(this.#timer);
    this.#heard = Date.now();
    const dead = () => (this.#leads ? this.#lost(this.#spoke ? 0 : undefined) : this.#tabs.lock({ steal: true }));
    this.#timer = setTimeout(dead, Math.min(silence, FOREVER));
  }

  #expectEnd() {
    if (this.#attempt || !this.#leads) this.#watch(3000);
    else this.#connect();
  }

  #wake({ type, persisted }) {
    // Timers of a hidden page are late, and a line may have died in its sleep.
    if (type === "visibilitychange" && document.hidden) return;
    if (!this.#leads) return this.#tabs.want();
    const silent = Date.now() - this.#heard > this.#silence;
    if (persisted || silent || !this.#attempt) this.#connect();
  }

  // The log

  #hear(type, id, data) {
    this.#spoke = true;
    this.#watch(this.#silence + (type === "state" ? data.delay : 0));
    this.#tabs?.tell(type, id, data);
    if (type === "start" || type === "resumed") this.#begun(data);
    else if (type === "gap") this.#catchUp(id, data);
    else if (type === "message") this.#take(id, data);
    else if (type === "state") this.#say(data.state, data);
    else if (this.#leads && (type === "unavailable" || type === "draining"))
      this.#lost(1000 * Math.max(0.5, data.retryAfter ?? 1) * (1 + Math.random() / 4));
  }

  #begun({ answer, offset, replayed }) {
    if (!this.id) {
      this.#kept.id = answer;
      remember(this.#kept, this.#options);
      this.#share();
    }
    this.#say("streaming", { offset, replayed });
  }

  #take(id, data) {
    const offset = Number(id.split(".")[1]);
    if (!(offset > this.#offset)) return data.error ? this.#unrecorded(data) : void (this.duplicates += this.#leads);
    if (offset > this.#offset + 1 || data.sequenceNumber > this.chunks + ("text" in data)) return this.#mend();
    this.#offset = offset;
    this.#failures = 0;
    if (data.error) this.#fail(new AnswerError(data));
    else this.#add(id, data);
  }

  #unrecorded(data) {
    // Such an error is no part of the log, which may go on.
    if (this.id && data.retryable && data.code !== "answer_expired") this.reconnect();
    else this.#fail(new AnswerError(data));
  }

  #mend() {
    if (!this.#leads) return this.#tabs.want();
    this.gaps++;
    this.#lost();
  }

  #catchUp(id, snapshot) {
    // It stands for the whole log so far; of it, what is not known yet.
    this.#begun(snapshot);
    if (snapshot.offset <= this.#offset) return;
    const { text, citations, sources, sequenceNumber, timestamp } = snapshot;
    this.#offset = snapshot.offset;
    this.#failures = 0;
    if (text.length > this.text.length) this.#add(id, { text: text.slice(this.text.length), sequenceNumber, timestamp });
    this.chunks = sequenceNumber;
    for (const citation of citations.slice(this.citations.length)) this.#add(id, { citation });
    if (sources?.length) this.#add(id, { sources });
  }

  #add(id, data) {
    if (this.over) return;
    const type = ["text", "citation", "sources", "done"].find((name) => name in data);
    if (!type) return; // of a later version
    if (type === "text") {
      this.text += data.text;
      this.chunks = data.sequenceNumber;
      this.#at = data.timestamp;
    } else if (type === "citation") this.citations.push(data.citation);
    else this[type] = type === "done" ? data : data.sources;
    this.log.push({ type, id, ...data });
    if (type === "done") this.#end(data.stopReason === "stopped" ? "stopped" : "complete");
    this.#emit(type, data);
  }

  #fail(error) {
    if (error.code === "answer_expired" && recall()?.id === this.id) forget();
    this.error = error;
    this.#end("error");
    this.#emit("error", error);
  }

  #end(state) {
    if (this.over) return;
    this.#drop();
    this.#gone.abort();
    this.#say(state);
    this.#tabs?.close();
  }

  #say(state, more) {
    if (this.over) return;
    this.state = state;
    if (state === "reconnecting") this.#tabs?.tell("state", "", { ...more, state });
    this.#emit("state", { ...more, state });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
    for (const wake of this.#cursors.splice(0)) wake();
  }

  #share() {
    const lead = () => this.#attempt || this.#connect();
    if (this.#options.share === false || !globalThis.document || !navigator.locks) return lead();
    const listen = () => {
      this.#drop();
      this.#watch();
    };
    const hear = (...said) => this.#hear(...said);
    const tell = () => {
      this.#tabs.tell(...this.#snapshot());
      if (!this.#attempt) this.#connect(); // somebody looks on while this tab, perhaps a hidden one, waits for its time
    };
    this.#tabs = new Tabs(`${KEPT} ${this.#options.url ?? ""} ${this.id}`, { lead, listen, hear, tell });
  }

  #snapshot() {
    const { id: answer, text, citations, sources, chunks: sequenceNumber } = this;
    const offset = this.#offset;
    return ["gap", `${answer}.${offset}`, { answer, offset, text, citations, sources, sequenceNumber, timestamp: this.#at }];
  }
}

// Tabs that read one answer. The one that holds its lock holds the connection, and tells the others what it hears.
class Tabs {
  leads = true;
  #name;
  #reader;
  #channel;
  #release;

  constructor(name, reader) {
    this.#name = name;
    this.#reader = reader;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => {
      if (!this.leads && data.length) reader.hear(...data);
      else if (this.leads && !data.length) reader.tell();
    };
    this.lock({ ifAvailable: true });
  }

  tell(...message) {
    if (this.leads && this.#channel) this.#channel.postMessage(message);
  }

  want() {
    this.#channel.postMessage([]);
  }

  lock(how) {
    const lead = (lock) => {
      if (!this.#channel) return;
      if (!lock) return void this.#listen();
      this.leads = true;
      this.#reader.lead();
      return new Promise((release) => (this.#release = release));
    };
    navigator.locks.request(this.#name, how, lead).catch((error) => {
      if (!this.#channel) return;
      if (error.name === "AbortError") this.#listen(); // another tab took it
      else this.#reader.lead();
    });
  }

  close() {
    this.#channel.close();
    this.#channel = undefined;
    this.#release?.();
  }

  #listen() {
    this.leads = false;
    this.#reader.listen();
    this.want();
    this.lock({});
  }
}

// The two ways to a stream. Both end when the stream does.

function native(address, withCredentials, signal, hear) {
  return new Promise((resolve) => {
    const source = new EventSource(address, { withCredentials });
    for (const type of ["message", ...NAMED])
      source.addEventListener(type, (event) => hear(type, event.lastEventId, event.data));
    source.onerror = () => {
      resolve(source.readyState === EventSource.CLOSED);
      source.close(); // it would come back by itself, but ever so often, and without saying when
    };
    signal.addEventListener("abort", () => source.close());
  });
}

async function fetched(address, request, hear) {
  const response = await fetch(address, request);
  const isStream = response.headers.get("Content-Type")?.startsWith("text/event-stream");
  if (response.status === 204) return 204;
  if (!response.ok || !isStream) throw await refusal(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let last = "";
  for (let read; !(read = await reader.read()).done; ) {
    const blocks = (rest + read.value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const { event = "message", id = last, data } = fields(block);
      last = id;
      if (data) hear(event, id, data);
    }
  }
}

function fields(block) {
  // Not by a regular expression's lines: those end at U+2028 too, which JSON may hold.
  return Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s)));
}

async function refusal(response) {
  const read = await response.json().catch(() => undefined);
  const said = typeof read?.error === "string" ? read : {}; // else a proxy's
  const error = `The server answered with status ${response.status}.`;
  const retryable = response.status === 429 || response.status >= 500;
  const made = new AnswerError({ error, code: "unexpected_response", retryable, ...said });
  const wait = Number(response.headers.get("Retry-After"));
  return Object.assign(made, wait > 0 && { delay: 1000 * wait });
}

function unreachable(cause) {
  const error = "The server cannot be reached, or does not serve pages of this origin.";
  if (cause instanceof AnswerError) return cause;
  return Object.assign(new AnswerError({ error, code: "unreachable", retryable: true }), { cause });
}

function value(given) {
  return typeof given === "function" ? given() : given;
}

function random() {
  // crypto.randomUUID is for secure pages only.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function remember(kept, options) {
  if (options.keep !== false) recall("setItem", JSON.stringify(kept));
}

function recall(how = "getItem", kept) {
  try {
    return JSON.parse(sessionStorage[how](KEPT, kept) ?? null);
  } catch {
    return null; // storage is switched off, full or absent: a reload then begins anew
  }
}
