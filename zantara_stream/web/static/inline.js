// The inline part of the Markdown subset: emphasis, code, links, reference marks. It reads a text once, from left to
// right, into parts, pairs the runs of emphasis marks, and puts the parts into DOM nodes. Nothing is looked at again and
// again, so the time grows as the text does, whatever is in it.

export const DEPTH = 8; // of blocks in blocks, and of emphasis in emphasis; what would be deeper is text
export const FIRST_MARK = 0xe000; // in private use: stands in the text for the first reference, the next for the second
export const MOST_MARKS = 0x1000;
export const MARKS = /[\ue000-\uefff]/g;

const SPECIAL = /[\\`*_~[\]<\n]|!\[|(?<![\p{L}\p{N}])[hH][tT][tT][pP][sS]?:\/\//gu;
const ESCAPABLE = /[!-/:-@[-`{-~]/;
const ESCAPED = /\\([!-/:-@[-`{-~])/g;
const ANGLE = /<(https?:\/\/[^\s<>]*)>/iy;
const BARE = /https?:\/\/[^\s<>"`*[\]\\|，。、；：！？（）「」『』【】“”«»]+/iy;
const BARE_TAIL = /[?!.,:;'_~)\ue000-\uefff]/; // may belong to the sentence rather than to the address
const WEB = /^https?:\/\/[^/\\]/i;
const INVISIBLE = /[\p{C}\p{Z}]/u;
const BRACKETED = /<([^<>\n]*)>/y;
const TITLE = /\s+(?:"([^"]*)"|'([^']*)')/y;
const SPACE = /\s*/y;
const PARENTHESES = 8; // in one another, in an address

// The DOM of one paragraph's, heading's or cell's text.
export function inline(text, references) {
  const output = new Output(references);
  for (const part of new Reader(text).read()) output[part.kind](part);
  return output.finish();
}

// The DOM of a text in which nothing but reference marks means anything.
export function verbatim(text, references) {
  const output = new Output(references);
  output.text({ text });
  return output.finish();
}

// The address as a link may have it, or undefined if it is not an absolute one of the web.
export function webAddress(text) {
  if (!WEB.test(text) || INVISIBLE.test(text) || !URL.canParse(text)) return undefined;
  const address = new URL(text);
  // A name before the host is there to look like another host.
  return address.username || address.password ? undefined : address.href;
}

export function element(name, ...children) {
  const node = document.createElement(name);
  node.append(...children);
  return node;
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
      SPECIAL.lastIndex = this.#at;
      const next = SPECIAL.exec(this.#text)?.index ?? this.#text.length;
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
    ANGLE.lastIndex = this.#at;
    const found = ANGLE.exec(this.#text);
    if (!found || !this.#address(found[1], found[0].length)) this.#say(this.#at + 1);
  }

  #bare() {
    BARE.lastIndex = this.#at;
    const found = BARE.exec(this.#text)?.[0];
    if (!found) return this.#say(this.#at + 4);
    const words = withoutTail(found);
    if (!this.#address(words, words.length)) this.#say(this.#at + words.length);
  }

  #address(words, length) {
    const text = words.replace(MARKS, "");
    const href = webAddress(text);
    if (!href) return false;
    this.#put(this.#at + length, { kind: "address", href, text });
    this.#say(this.#at, marksOf(words));
    return true;
  }
}

class Output {
  #references;
  #fragment = document.createDocumentFragment();
  #open = [{ node: this.#fragment }]; // elements, from the outermost; too deep ones have the text of their marks instead
  #text = ""; // still to be put into the innermost
  #link;
  #held = ""; // reference marks of the link's text: a link holds no other

  constructor(references) {
    this.#references = references;
  }

  finish() {
    this.#flush();
    return this.#fragment;
  }

  text({ text }) {
    let start = 0;
    for (const { 0: mark, index } of text.matchAll(MARKS)) {
      this.#text += text.slice(start, index);
      start = index + 1;
      if (this.#link) this.#held += mark;
      else this.#add(referenceMark(this.#references[mark.charCodeAt() - FIRST_MARK]));
    }
    this.#text += text.slice(start);
  }

  break() {
    this.#add(element("br"));
  }

  code({ text }) {
    this.#enter(element("code"));
    this.text({ text });
    this.#leave();
  }

  run({ closed, left, character, opened }) {
    for (let count = 0; count < closed; count += 1) this.#leave();
    this.#text += character.repeat(left);
    for (const { name, text } of opened.reverse()) {
      if (this.#open.length <= DEPTH) this.#enter(element(name));
      else this.#enterText(text);
    }
  }

  address({ href, text }) {
    if (this.#link) this.#text += text;
    else this.#add(anchor(href, undefined, text));
  }

  link({ href, title }) {
    this.#link = anchor(href, title);
    this.#enter(this.#link);
  }

  unlink() {
    this.#leave();
    if (!this.#link.textContent.trim()) this.#link.textContent = this.#link.href; // a link needs a name
    const held = this.#held;
    this.#link = undefined;
    this.#held = "";
    this.text({ text: held });
  }

  #flush() {
    if (this.#text) this.#open.at(-1).node.append(this.#text);
    this.#text = "";
  }

  #add(node) {
    this.#flush();
    this.#open.at(-1).node.append(node);
  }

  #enter(node) {
    this.#add(node);
    this.#open.push({ node });
  }

  #enterText(text) {
    this.#text += text;
    this.#open.push({ node: this.#open.at(-1).node, text });
  }

  #leave() {
    const { text } = this.#open.at(-1);
    if (text) this.#text += text;
    else this.#flush();
    this.#open.pop();
  }
}

function anchor(href, title, ...children) {
  const link = element("a", ...children);
  const attributes = { href, title, rel: "noopener noreferrer nofollow", target: "_blank" };
  for (const [name, value] of Object.entries(attributes)) if (value) link.setAttribute(name, value);
  return link;
}

function referenceMark({ number, label, href }) {
  const link = element("a", String(number));
  link.className = "reference";
  link.setAttribute("aria-label", label);
  link.setAttribute("href", href.startsWith("#") ? href : (webAddress(href) ?? "#"));
  return element("sup", link);
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
