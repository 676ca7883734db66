// The answer as it streams in, what went wrong with it, and what can be done with it.

import { byId } from "./dom.js";
import { render } from "./markdown.js";
import { asText, references } from "./quotes.js";
import { Rating } from "./rating.js";
import { request } from "./requests.js";

export class AnswerView {
  #answer;
  #frame;
  #form;
  #rating;

  // `again` reads the answer once more, after an error.
  constructor(form, again) {
    this.#form = form;
    this.#rating = new Rating(() => form.token, note);
    byId("again").addEventListener("click", again);
    byId("copy").addEventListener("click", () => this.#copy());
  }

  begin(answer) {
    this.#answer = answer;
    for (const id of ["empty", "problem", "tools"]) byId(id).hidden = true;
    byId("answer").setAttribute("aria-busy", "true");
    this.#rating.begin(undefined);
    this.#ask(answer.query);
    note("");
    this.#show();
  }

  // Its id is known now.
  started() {
    byId("tools").hidden = false;
    byId("second").href = `/#answer=${this.#answer.id}`;
    if (byId("question").hidden) this.#lookUp(this.#answer);
  }

  // Shows what came meanwhile, at most once a frame.
  update() {
    this.#frame ??= requestAnimationFrame(() => this.#show());
  }

  finish() {
    this.#show();
    byId("answer").setAttribute("aria-busy", "false");
    if (this.#answer.text && this.#answer.id) this.#rating.begin(this.#answer.id);
  }

  fail({ message, code, retryable }) {
    const wantsToken = code === "unauthenticated";
    const fix = wantsToken ? "Put in a token and try again." : "Asking again may help.";
    const advice = retryable || wantsToken ? fix : "Asking the same again will not help.";
    byId("problem").hidden = false;
    byId("error").textContent = `${message} ${advice}`;
    if (wantsToken) this.#form.wantToken();
  }

  #show() {
    cancelAnimationFrame(this.#frame);
    this.#frame = undefined;
    render(byId("answer"), this.#answer.text, references(this.#answer.citations));
  }

  #ask(query) {
    byId("question").hidden = !query;
    byId("question").textContent = query ?? "";
  }

  async #lookUp(answer) {
    try {
      const response = await request(`/bali-zero/answers/${answer.id}`, { token: this.#form.token });
      const { query } = await response.json();
      if (answer === this.#answer) this.#ask(query);
    } catch {
      // the answer's own stream says what is wrong, if anything is
    }
  }

  async #copy() {
    const copied = await copy(asText(this.#answer));
    note(copied ? "Copied with its sources." : "The browser does not let this page copy: select the text instead.");
  }
}

export function note(words) {
  byId("note").textContent = words;
}

async function copy(text) {
  // navigator.clipboard is for secure pages only.
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  byId("copy").focus();
  return copied;
}
