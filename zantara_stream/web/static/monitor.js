// What happens to the connection: the state now, in words and with a coloured dot, and a list of what it was before.

import { byId, element } from "./dom.js";
import { unreadiness } from "./requests.js";

const KEPT = 10; // entries of the list

// For each state: its words, and what a screen reader is told.
const STATES = {
  connecting: () => ["connecting", "Connecting."],
  streaming: ({ from, resumed }) => {
    if (resumed) return [`streaming, resumed at ${from}`, `Connected again. The answer goes on at event ${from}.`];
    return from ? [`streaming, ${from} events were there`, "The answer goes on."] : ["streaming", "The answer streams in."];
  },
  reconnecting: ({ left }) => {
    const when = left > 0 ? `in ${left} s` : "now";
    return [`reconnecting ${when}`, `The connection was lost. Reconnecting ${when}.`];
  },
  complete: ({ words }) => ["complete", `The answer is complete: ${words}.`],
  stopped: () => ["stopped", "The answer was stopped."],
  error: () => ["error", ""], // the error itself is told by an alert
  closed: () => ["closed", "The answer is no longer followed."],
};

export class Monitor {
  reconnections = 0;
  #since; // milliseconds
  #lost = false;
  #until = 0; // milliseconds, when it reconnects

  begin() {
    this.#since = performance.now();
    this.#lost = false;
    this.reconnections = 0;
    byId("timeline").replaceChildren();
    byId("timeline").hidden = false;
    this.change({ state: "connecting" });
  }

  // `cut` says that this page itself dropped the line; `words` sum up a complete answer.
  change({ state, delay = 0, offset = 0, replayed = 0, cut = false, words = "" }) {
    const from = offset || replayed;
    const resumed = state === "streaming" && this.#lost;
    if (resumed) this.reconnections += 1;
    this.#lost = state === "reconnecting";
    this.#until = performance.now() + delay;
    this.#show(state, STATES[state]({ from, resumed, words, left: Math.ceil(delay / 1000) }));
    if (this.#lost && !cut) this.#ask();
  }

  // Counts down while it waits.
  tick() {
    if (!this.#lost) return;
    const left = Math.ceil((this.#until - performance.now()) / 1000);
    byId("state-words").textContent = STATES.reconnecting({ left })[0];
  }

  #show(state, [words, told]) {
    byId("state").dataset.state = state;
    byId("state-words").textContent = words;
    byId("status").textContent = told;
    byId("why").hidden = true;
    const time = `${((performance.now() - this.#since) / 1000).toFixed(1)} s`;
    const dot = element("span", { class: "dot", "aria-hidden": "true" });
    const said = state === "reconnecting" ? "line lost" : words;
    const timeline = byId("timeline");
    timeline.append(element("li", { "data-state": state }, dot, element("span", { class: "time" }, time), ` ${said}`));
    while (timeline.children.length > KEPT) timeline.firstChild.remove();
  }

  async #ask() {
    // The client says that the line was lost, and the server why, if it can.
    const words = await unreadiness();
    if (!this.#lost || !words) return;
    byId("why").textContent = words;
    byId("why").hidden = false;
  }
}
