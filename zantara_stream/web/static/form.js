// What is typed: the question and what goes with it. It survives a reload, but for the token, which is stored nowhere.

import { byId, element } from "./dom.js";

const KEY = "zantara-stream-page";
const KEPT = ["query", "email", "session"];
const SAMPLES = [
  ["en", "How long is the investor KITAS valid?"],
  ["id", "Berapa biaya perpanjangan KITAS satu tahun?"],
  ["it", "Quanto costa il visto all'arrivo e quanto dura?"],
];

export class Form {
  #form = byId("ask");
  #query = byId("query");

  // `ask` is called with no arguments whenever a question is asked.
  constructor(ask) {
    this.#restore();
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.query) ask();
    });
    this.#form.addEventListener("input", () => this.#store());
    this.#query.addEventListener("keydown", (event) => this.#enter(event));
    byId("new-session").addEventListener("click", () => this.#newSession());
    byId("samples").append(...SAMPLES.map(([lang, query]) => this.#sample(lang, query)));
  }

  get query() {
    return this.#query.value.trim();
  }

  get token() {
    return byId("token").value.trim() || undefined;
  }

  // What the client takes.
  get options() {
    const [email, session] = ["email", "session"].map((id) => byId(id).value.trim() || undefined);
    const memory = byId("memory").checked ? undefined : false;
    return { email, session, memory, ...this.identity };
  }

  // Read at each request, so that a token that is put in later counts too.
  get identity() {
    return { token: () => this.token };
  }

  wantToken() {
    byId("more").open = true;
    byId("token").focus();
  }

  #enter(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.#form.requestSubmit();
  }

  #sample(lang, query) {
    const button = element("button", { type: "button", class: "sample", lang }, query);
    button.addEventListener("click", () => {
      this.#query.value = query;
      this.#store();
      this.#form.requestSubmit();
    });
    return button;
  }

  #newSession() {
    // crypto.randomUUID is for secure pages only.
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    byId("session").value = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    this.#store();
  }

  #store() {
    const values = Object.fromEntries(KEPT.map((id) => [id, byId(id).value]));
    try {
      sessionStorage.setItem(KEY, JSON.stringify({ ...values, memory: byId("memory").checked }));
    } catch {
      // storage is switched off or full: a reload then begins anew
    }
  }

  #restore() {
    try {
      const { memory = true, ...values } = JSON.parse(sessionStorage.getItem(KEY)) ?? {};
      for (const id of KEPT) byId(id).value = values[id] ?? "";
      byId("memory").checked = memory;
    } catch {
      // as above
    }
  }
}
