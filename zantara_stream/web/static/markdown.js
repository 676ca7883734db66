// A small Markdown subset for answers, shown while they stream in. It makes DOM nodes and never HTML: HTML in a text is
// text, images become links, links lead to http and https only. The blocks are in blocks.js, what is in them in
// inline.js, and nodes.js knows the only elements, attributes and addresses there can be.

import { build, segments } from "./blocks.js";
import { FIRST_MARK, MARKS, MOST_MARKS } from "./nodes.js";

const BARE = /^[\s>#*+|:`~_=-]*$|^[\s>]*\d{1,9}[.)]\s+$/; // the beginning of a line with nothing in it that is said
const BARE_LINES = 8; // that a reference mark is moved over

const shown = new WeakMap(); // by target: its blocks, [{ key, node }]

// Shows `text` (Markdown, perhaps still growing) in `target`. Blocks that did not change keep their nodes, and with
// them selections and the reader's place. `references` are [{ end, number, label, href }]: behind `end` code points of
// the text stands a link with that number, its label for screen readers; one beyond the text's end waits for more text.
export function render(target, text, references = []) {
  const lines = marked(text, references).split(/\r\n?|\n/);
  const blocks = segments(lines, 0).map((block) => ({ ...block, key: keyOf(block, references) }));
  const before = shown.get(target) ?? [];
  const whole = before.length === target.childNodes.length && before.every(({ node }) => node.parentNode === target);
  shown.set(target, replace(target, whole ? before : [], blocks, references));
}

// All that decides how a block looks.
function keyOf({ kind, lines }, references) {
  const source = lines.join("\n");
  const marks = source.match(MARKS)?.map((mark) => references[mark.charCodeAt() - FIRST_MARK]) ?? [];
  return `${kind} ${JSON.stringify(marks)} ${source}`;
}

function replace(target, before, blocks, references) {
  const [same, last] = unchanged(before, blocks);
  if (!before.length) target.replaceChildren();
  for (const { node } of before.slice(same, before.length - last)) node.remove();
  const next = before.at(before.length - last)?.node ?? null;
  return blocks.map((block, index) => {
    const left = blocks.length - index;
    if (index < same) return before[index];
    if (left <= last) return before.at(-left);
    return { key: block.key, node: target.insertBefore(build(block, references, 0), next) };
  });
}

// How many blocks at the beginning and at the end are the same.
function unchanged(before, blocks) {
  const most = Math.min(before.length, blocks.length);
  let same = 0;
  while (same < most && before[same].key === blocks[same].key) same += 1;
  let last = 0;
  while (last < most - same && before.at(-1 - last).key === blocks.at(-1 - last).key) last += 1;
  return [same, last];
}

// The text with a character of private use for each reference. The text's own such characters cannot pass for them.
function marked(text, references) {
  const clean = text.replace(MARKS, "\ufffd");
  const pieces = [];
  let [points, units, done] = [0, 0, 0];
  for (const [index, { end }] of [...references.entries()].sort((one, other) => one[1].end - other[1].end)) {
    for (; points < end && units < clean.length; points += 1) units += clean.codePointAt(units) > 0xffff ? 2 : 1;
    if (points < end || index >= MOST_MARKS) continue;
    const place = Math.max(done, settled(clean, units));
    pieces.push(clean.slice(done, place), String.fromCharCode(FIRST_MARK + index));
    done = place;
  }
  return pieces.join("") + clean.slice(done);
}

// The nearest place to `at` where a reference mark takes no other mark apart and begins no line.
function settled(text, at) {
  for (let lines = 0; at && lines < BARE_LINES; lines += 1) {
    const start = text.lastIndexOf("\n", at - 1) + 1;
    if (!start || !BARE.test(text.slice(start, at))) break;
    at = start - 1;
  }
  while (at && /\s/.test(text[at - 1])) at -= 1;
  while ("*_~`".includes(text[at] ?? " ") && text[at] === text[at - 1]) at += 1;
  return at;
}
