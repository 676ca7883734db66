// The inline part of the Markdown subset: emphasis, code, links. It reads a text once, from left to right, into parts,
// and then pairs the runs of emphasis marks. Nothing is looked at again and again, so the time grows as the text does,
// whatever is in it.

import { MARKS, compose, webAddress } from "./nodes.js";

const SPECIAL = /[\\`*_~[\]<\n]|!\[|(?<![\p{L}\p{N}])[hH][tT][tT][pP][sS]?:\/\//gu;
const ESCAPABLE = /[!-/:-@[-`{-~]/;
const ESCAPED = /\\([!-/:-@[-`{-~])/g;
const ANGLE = /<(https?:\/\/[^\s<>]*)>/iy;
const BARE = /https?:\/\/[^\s<>"`*[\]\\|，。、；：！？（）「」『』【】“”«»]+/iy;
const BARE_TAIL = /[?!.,:;'_~)\ue000-\uefff]/; // may belong to the sentence rather than to the address
const BRACKETED = /<([^<>\n]*)>/y;
const TITLE = /\s+(?:"([^"]*)"|'([^']*)')/y;
const SPACE = /\s*/y;
const PARENTHESES = 8; // in one another, in an address

// The DOM of the text of one paragraph, heading or cell.
export function inline(text, references) {
  return compose(new Reader(text).read(), references);
}

class Reader {
  #text;
  #at = 0;
  #parts = [];
  #runs = []; // of emphasis marks, since the last link
  #brackets = []; // open ones
  #backticks; // where runs of them begin, by their length

  constructor(text) {
    this.#text = text;
  }

  read() {
    while (this.#at < this.#text.length) {
      const next = matchAt(SPECIAL, this.#text, this.#at)?.index ?? this.#text.length;
      if (next > this.#at) this.#say(next);
      else this.#special(this.#text[next]);
    }
    pair(this.#runs);
    return this.#parts;
  }

  #say(end, text = this.#text.slice(this.#at, end)) {
    this.#put(end, { kind: "text", text });
  }

  #put(end, part) {
    this.#parts.push(part);
    this.#at = end;
  }

  #special(character) {
    if (character === "\\") this.#escape();
    else if (character === "`") this.#code();
    else if ("*_~".includes(character)) this.#emphasis(character);
    else if (character === "[") this.#open("[");
    else if (character === "!") this.#open("![");
    else if (character === "]") this.#close();
    else if (character === "<") this.#angle();
    else if (character === "\n") this.#put(this.#at + 1, { kind: "break" });
    else this.#bare();
  }

  #escape() {
    const next = this.#text[this.#at + 1];
    if (next === "\n") this.#at += 1; // breaks the line, as a line's end does anyway
    else if (ESCAPABLE.test(next ?? "")) this.#say(this.#at + 2, next);
    else this.#say(this.#at + 1);
  }

  #code() {
    const start = endOfRun(this.#text, this.#at);
    const end = this.#closing(start - this.#at, start);
    if (end === undefined) return this.#say(start);
    const text = this.#text.slice(start, end).replaceAll("\n", " ");
    const padded = text.startsWith(" ") && text.endsWith(" ") && text.trim();
    this.#put(end + start - this.#at, { kind: "code", text: padded ? text.slice(1, -1) : text });
  }

  #closing(length, after) {
    this.#backticks ??= Map.groupBy([...this.#text.matchAll(/`+/g)].reverse(), ([run]) => run.length);
    const runs = this.#backticks.get(length) ?? []; // the last first
    while (runs.length && runs.at(-1).index < after) runs.pop();
    return runs.at(-1)?.index;
  }

  #emphasis(character) {
    const end = endOfRun(this.#text, this.#at);
    const length = end - this.#at;
    if (character === "~" && length !== 2) return this.#say(end);
    const run = { kind: "run", character, length, left: length, opened: [], closed: 0 };
    this.#runs.push(Object.assign(run, flanks(this.#text, this.#at, end)));
    this.#put(end, run);
  }

  #open(text) {
    const part = { kind: "text", text };
    this.#brackets.push({ part, runs: this.#runs.length });
    this.#put(this.#at + text.length, part);
  }

  #close() {
    const bracket = this.#brackets.pop();
    const link = bracket && destination(this.#text, this.#at + 1);
    if (!link) return this.#say(this.#at + 1);
    pair(this.#runs.splice(bracket.runs)); // emphasis does not cross the edge of a link
    this.#brackets = []; // and a link holds no other
    Object.assign(bracket.part, link, { kind: "link" });
    this.#put(link.end, { kind: "unlink" });
    this.#say(link.end, link.marks);
  }

  #angle() {
    const found = matchAt(ANGLE, this.#text, this.#at);
    if (!found || !this.#address(found[1], found[0].length)) this.#say(this.#at + 1);
  }

  #bare() {
    const found = matchAt(BARE, this.#text, this.#at)?.[0];
    if (!found) return this.#say(this.#at + 4);
    const words = withoutTail(found);
    if (!this.#address(words, words.length)) this.#say(this.#at + words.length);
  }

  #address(words, length) {
    const text = unmarked(words);
    const href = webAddress(text);
    if (!href) return false;
    this.#put(this.#at + length, { kind: "address", href, text });
    this.#say(this.#at, marksOf(words));
    return true;
  }
}

function endOfRun(text, at) {
  let end = at + 1;
  while (text[end] === text[at]) end += 1;
  return end;
}

// Whether a run of emphasis marks may open and close. Reference marks count for nothing; `_` is also a part of words.
function flanks(text, start, end) {
  while (text[start - 1]?.match(MARKS)) start -= 1;
  const [run] = text.slice(end - 1, end);
  while (text[end]?.match(MARKS)) end += 1;
  const before = text.slice(Math.max(0, start - 2), start).match(/[^]$/u)?.[0] ?? " ";
  const after = String.fromCodePoint(text.codePointAt(end) ?? 32);
  const inside = (character) => run === "_" && /[\p{L}\p{N}]/u.test(character);
  return { mayOpen: /\S/.test(after) && !inside(before), mayClose: /\S/.test(before) && !inside(after) };
}

// Finds which runs of emphasis marks belong together. `floors` keeps, for each sort of closing run, below which place
// nothing opens it, so that no run is looked at in vain twice.
function pair(runs) {
  const open = [];
  const floors = {};
  for (const run of runs) {
    if (run.mayClose) closeWith(run, open, floors);
    if (run.mayOpen && run.left) open.push(run);
  }
}

function closeWith(run, open, floors) {
  const sort = `${run.character}${run.mayOpen}${run.length % 3}`;
  while (run.left) {
    const place = open.findLastIndex((other, index) => index < (floors[sort] ?? 0) || fits(other, run));
    if (place < (floors[sort] ?? 0)) return void (floors[sort] = open.length);
    open.length = place + 1; // what is between stays text
    join(open[place], run);
    if (!open[place].left) open.pop();
    for (const each in floors) floors[each] = Math.min(floors[each], open.length);
  }
}

// CommonMark's rule, which keeps `**` in `*a**b*` from closing anything.
function fits(opening, closing) {
  const lengths = [opening.length, closing.length];
  const both = opening.mayClose || closing.mayOpen;
  const odd = both && (lengths[0] + lengths[1]) % 3 === 0 && lengths.some((length) => length % 3);
  return opening.character === closing.character && !odd;
}

function join(opening, closing) {
  const length = Math.min(2, opening.left, closing.left);
  const name = opening.character === "~" ? "del" : ["em", "strong"][length - 1];
  opening.opened.push({ name, text: opening.character.repeat(length) });
  closing.closed += 1;
  opening.left -= length;
  closing.left -= length;
}

// What follows a link's text: `(address "title")`, the address perhaps in `<` and `>`.
function destination(text, start) {
  let at = start;
  while (text[at]?.match(MARKS)) at += 1;
  if (text[at] !== "(") return undefined;
  const [before] = matchAt(SPACE, text, at + 1);
  const bracketed = matchAt(BRACKETED, text, at + 1 + before.length);
  const from = at + 1 + before.length;
  const to = bracketed ? from + bracketed[0].length : endOfAddress(text, from);
  const title = matchAt(TITLE, text, to);
  const end = to + (title?.[0].length ?? 0);
  const [after] = matchAt(SPACE, text, end);
  if (text[end + after.length] !== ")") return undefined;
  const href = webAddress(unmarked(bracketed?.[1] ?? text.slice(from, to)).replace(ESCAPED, "$1"));
  const marks = marksOf(text.slice(start, end));
  return href && { href, title: unmarked(title?.[1] ?? title?.[2] ?? ""), marks, end: end + after.length + 1 };
}

function endOfAddress(text, start) {
  let depth = 0;
  for (let at = start; at < text.length; at += 1) {
    if (/\s/.test(text[at])) return at;
    if (text[at] === "\\") at += 1;
    else if (text[at] === "(") depth += 1;
    else if (text[at] === ")") depth -= 1;
    if (depth < 0 || depth > PARENTHESES) return at;
  }
  return text.length;
}

// Without the marks at the end that are rather the sentence's: also a parenthesis that the address does not open.
function withoutTail(address) {
  let excess = address.split(")").length - address.split("(").length;
  let end = address.length;
  while (BARE_TAIL.test(address[end - 1]) && (address[end - 1] !== ")" || excess > 0)) {
    if (address[end - 1] === ")") excess -= 1;
    end -= 1;
  }
  return address.slice(0, end);
}

function matchAt(pattern, text, at) {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

function marksOf(text) {
  return (text.match(MARKS) ?? []).join("");
}

function unmarked(text) {
  return text.replace(MARKS, "");
}
