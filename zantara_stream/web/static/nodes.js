// The DOM nodes that an answer may become: whatever a text says, it gets no other elements, attributes or addresses.

export const DEPTH = 8; // of blocks in blocks, and of emphasis in emphasis; what would be deeper is text
export const FIRST_MARK = 0xe000; // in private use: stands in the text for the first reference, the next for the second
export const MOST_MARKS = 0x1000;
export const MARKS = /[\ue000-\uefff]/g;

const WEB = /^https?:\/\/[^/\\]/i;
const HIDDEN = /[\p{C}\p{Z}]/u;
const VISIBLE = /[^\p{C}\p{Z}]/u;

export function element(name, ...children) {
  const node = document.createElement(name);
  for (const child of children.flat()) node.append(child); // there may be more than a call takes
  return node;
}

// The address as a link may have it, or undefined if it is not an absolute one of the web.
export function webAddress(text) {
  if (!WEB.test(text) || HIDDEN.test(text) || !URL.canParse(text)) return undefined;
  const address = new URL(text);
  // A name before the host is there to look like another host.
  return address.username || address.password ? undefined : address.href;
}

// The DOM of a text in which nothing but reference marks means anything.
export function verbatim(text, references) {
  return compose([{ kind: "text", text }], references);
}

// The DOM of what the inline reader found.
export function compose(parts, references) {
  const output = new Output(references);
  for (const part of parts) output[part.kind](part);
  return output.finish();
}

class Output {
  #references;
  #fragment = document.createDocumentFragment();
  #open = [{ node: this.#fragment }]; // elements, the outermost first; one too deep is the text of its marks instead
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
    if (!VISIBLE.test(this.#link.textContent)) this.#link.textContent = this.#link.href; // a link needs a name
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
