// The sources of an answer: where each is from, how near it is, its passage with the quoted words marked.

import { element, shape } from "./dom.js";
import { inSnippet, withQuotes } from "./quotes.js";

const WEB = /^https?:\/\//i;

export class Sources {
  count = 0;
  #section;
  #list;
  #answer;
  #followed; // the reference mark that was followed last

  // Whoever follows a reference mark of `answer` comes back to that one.
  constructor(section, list, answer) {
    this.#section = section;
    this.#list = list;
    this.#answer = answer;
    answer.addEventListener("click", ({ target }) => (this.#followed = target.closest?.("a.reference")));
    list.addEventListener("click", (event) => this.#goBack(event));
  }

  show({ sources, citations }) {
    const entries = withQuotes(sources, citations);
    const focused = this.#list.contains(document.activeElement) && document.activeElement.id;
    this.#list.replaceChildren(...entries.map(entryOf));
    this.count = entries.length;
    this.#section.hidden = !entries.length;
    if (focused) document.getElementById(focused)?.focus();
  }

  #goBack(event) {
    const href = event.target.closest("a.back")?.getAttribute("href");
    if (!href) return;
    event.preventDefault();
    const marks = [...this.#answer.querySelectorAll("a.reference")];
    const here = (mark) => mark.getAttribute("href") === href;
    const back = marks.includes(this.#followed) && here(this.#followed) ? this.#followed : marks.find(here);
    (back ?? this.#answer).focus();
  }
}

function entryOf(entry) {
  const { parts, others } = inSnippet(entry);
  const snippet = parts.map((part) => (typeof part === "string" ? part : quoted(part)));
  const rest = others.map((quote) => element("blockquote", { class: "quote" }, quoted(quote)));
  return element("li", {},
    element("h3", {}, titleOf(entry)),
    element("p", { class: "where" }, whereOf(entry)),
    entry.similarity !== undefined && similarityOf(entry.similarity),
    entry.snippet && element("blockquote", {}, snippet),
    entry.snippet && rest.length > 0 && element("p", { class: "where" }, "Also quoted from this document:"),
    rest,
    entry.quotes.length > 0 && element("p", { class: "where" }, verification(entry.quotes)));
}

function titleOf({ source, url }) {
  if (!WEB.test(url ?? "") || !URL.canParse(url)) return source;
  return element("a", { href: url, rel: "noopener noreferrer", target: "_blank" }, source);
}

function whereOf({ section, page, updated, document }) {
  return [section, page && `page ${page}`, updated && `updated ${updated}`, document].filter(Boolean).join(" · ");
}

function similarityOf(similarity) {
  const bar = shape("svg", { viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" },
    shape("rect", { class: "track", width: 100, height: 6 }),
    shape("rect", { class: "value", width: 100 * similarity, height: 6 }));
  return element("p", { class: "similarity where" }, bar, `similarity ${similarity.toFixed(2)}`);
}

function quoted({ quote, number }) {
  const label = `${number}, back to the answer`;
  const back = element("a", { class: "back", href: `#quote-${number}`, "aria-label": label }, `${number}\u00a0↩`);
  return [element("mark", { id: `quote-${number}`, tabindex: -1 }, quote), element("sup", {}, back)];
}

function verification(quotes) {
  const words = (verified) => {
    const numbers = quotes.filter((quote) => quote.verified === verified).map(({ number }) => number);
    return numbers.length > 0 && `Quote${numbers.length > 1 ? "s" : ""} ${numbers.join(", ")}`;
  };
  const [good, bad] = [words(true), words(false)];
  return [good && `${good} verified, word for word.`, bad && ` ${bad} not verified.`];
}
