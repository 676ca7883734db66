// The blocks of the Markdown subset: paragraphs, headings, rules, code, quotations, lists, tables, some of them in one
// another. A single line's end breaks the line, and a quotation or an item ends where its sign or indentation does, as
// people expect of a chat rather than as CommonMark has it.

import { inline } from "./inline.js";
import { DEPTH, MARKS, element, verbatim } from "./nodes.js";

const FENCE = /^[ \t]*(`{3,}(?=[^`]*$)|~{3,})(.*)$/s;
const HEADING = /^[ \t]*(#{1,6})[ \t]+(\S.*)$/s;
const RULE = /^[ \t]*([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const QUOTE = /^[ \t]*>[ \t]?/;
const ITEM = /^([ \t]*)([-*+]|\d{1,9}[.)])([ \t]+|$)/;
const DELIMITER = /^:?-+:?$/;

// Splits lines into blocks, [{ kind, lines }], and leaves what is in them for later.
export function segments(lines, depth) {
  const blocks = [];
  for (let at = 0; at < lines.length; at += 1) {
    if (!lines[at].trim()) continue;
    const { kind, end } = blockAt(lines, at, depth) ?? { kind: "paragraph", end: endOfParagraph(lines, at, depth) };
    blocks.push({ kind, lines: lines.slice(at, end) });
    at = end - 1;
  }
  return blocks;
}

// The block other than a paragraph that begins at a line, if any.
function blockAt(lines, at, depth, inParagraph = false) {
  for (const [kind, endOf] of Object.entries(ENDS)) {
    const end = endOf(lines, at, depth, inParagraph);
    if (end) return { kind, end };
  }
  return undefined;
}

// Where a block of each kind ends that begins at a line; 0 if none does. Earlier ones go first.
const ENDS = {
  code(lines, at) {
    const fence = FENCE.exec(lines[at])?.[1];
    if (!fence) return 0;
    let end = at + 1;
    while (end < lines.length && !closes(lines[end], fence)) end += 1;
    return Math.min(end + 1, lines.length); // nothing closes it while it streams in
  },
  heading: (lines, at) => (HEADING.test(lines[at]) ? at + 1 : 0),
  rule: (lines, at) => (RULE.test(lines[at]) ? at + 1 : 0),
  quote(lines, at, depth) {
    let end = at;
    while (depth < DEPTH && end < lines.length && QUOTE.test(lines[end])) end += 1;
    return end > at ? end : 0;
  },
  list(lines, at, depth, inParagraph) {
    const first = itemAt(lines[at]);
    // "2025. " within a paragraph is rather the end of a sentence.
    if (depth >= DEPTH || !first?.text.trim() || (inParagraph && first.number > 1)) return 0;
    let end = at + 1;
    for (let next = end; next < lines.length; next += 1) {
      if (!lines[next].trim()) continue;
      if (indentation(lines[next]) <= first.indent && itemAt(lines[next])?.mark !== first.mark) break;
      end = next + 1;
    }
    return end;
  },
  table(lines, at) {
    if (!isTable(lines, at)) return 0;
    const framed = lines[at].trimStart().startsWith("|");
    let end = at + 2;
    while (end < lines.length && (framed ? /^\s*\|/ : /\|/).test(lines[end])) end += 1;
    return end;
  },
};

function endOfParagraph(lines, at, depth) {
  let end = at + 1;
  while (end < lines.length && lines[end].trim() && !blockAt(lines, end, depth, true)) end += 1;
  return end;
}

function closes(line, fence) {
  const text = line.trim();
  return text.length >= fence.length && text === fence[0].repeat(text.length);
}

function itemAt(line) {
  const found = RULE.test(line) ? null : ITEM.exec(line);
  if (!found) return undefined;
  const [whole, before, sign, gap] = found;
  const indent = indentation(before);
  const width = gap.length > 4 ? 1 : Math.max(1, gap.length);
  const number = parseInt(sign, 10); // NaN for a bullet
  return { indent, content: indent + sign.length + width, mark: sign.at(-1), number, text: line.slice(whole.length) };
}

function isTable(lines, at) {
  const delimiters = lines[at + 1];
  if (!lines[at].includes("|") || !delimiters?.includes("|") || !/^[\s|:-]+$/.test(delimiters)) return false;
  const [heads, rules] = [cells(lines[at]), cells(delimiters)];
  if (heads.length === rules.length && rules.every((rule) => DELIMITER.test(rule))) return true;
  // A rule that is still streaming in: without this the head would show as text until the rule is whole.
  return at + 2 === lines.length && delimiters.trim().startsWith("|") && rules.length <= heads.length;
}

function cells(line) {
  const found = line.trim().replace(/^\|/, "").split(/(?<!\\)\|/);
  // What is behind the last `|` is no cell, but a reference mark may be there.
  if (found.length > 1 && !found.at(-1).replace(MARKS, "").trim()) {
    const marks = found.pop().trim();
    found.push(found.pop().trimEnd() + marks);
  }
  return found.map((cell) => cell.replaceAll("\\|", "|").trim());
}

function indentation(line) {
  let column = 0;
  for (const character of line) {
    if (character === " ") column += 1;
    else if (character === "\t") column += 4 - (column % 4);
    else break;
  }
  return column;
}

// The line with so many columns less before it, or with none.
function outdented(line, columns) {
  let [at, column] = [0, 0];
  for (; column < columns && /[ \t]/.test(line[at] ?? ""); at += 1) column += line[at] === "\t" ? 4 - (column % 4) : 1;
  return " ".repeat(Math.max(0, column - columns)) + line.slice(at);
}

export function build({ kind, lines }, references, depth) {
  return BUILDERS[kind](lines, references, depth);
}

function buildAll(lines, references, depth) {
  return segments(lines, depth).map((block) => build(block, references, depth));
}

const BUILDERS = {
  paragraph: (lines, references) => element("p", inline(textOf(lines), references)),
  heading([line], references) {
    const [, signs, text] = HEADING.exec(line);
    return element(`h${Math.min(6, signs.length + 2)}`, inline(withoutSigns(text.trimEnd()), references));
  },
  rule: () => element("hr"),
  code(lines, references) {
    const [, fence, info] = FENCE.exec(lines[0]);
    const end = lines.length > 1 && closes(lines.at(-1), fence) ? -1 : lines.length;
    const marks = (info.match(MARKS) ?? []).join("");
    const columns = indentation(lines[0]);
    const content = lines.slice(1, end).map((line) => outdented(line, columns));
    return element("pre", element("code", verbatim(marks + content.join("\n"), references)));
  },
  quote(lines, references, depth) {
    const inner = lines.map((line) => line.replace(QUOTE, ""));
    return element("blockquote", buildAll(inner, references, depth + 1));
  },
  list(lines, references, depth) {
    const { number } = itemAt(lines[0]);
    const list = element(number >= 0 ? "ol" : "ul");
    for (const item of items(lines)) list.append(listItem(item, references, depth + 1));
    if (number >= 0 && number !== 1) list.setAttribute("start", number);
    return list;
  },
  table([head, delimiters, ...rows], references) {
    const sides = cells(delimiters).map((rule) => ({ "-:": "right", ":-:": "center" })[rule.replace(/-+/, "-")]);
    const row = (name, line) =>
      element("tr", cells(line).map((text, column) => cell(name, sides[column], inline(text, references))));
    const body = rows.length ? [element("tbody", rows.map((line) => row("td", line)))] : [];
    return element("table", element("thead", row("th", head)), body);
  },
};

function cell(name, side, text) {
  const node = element(name, text);
  if (side) node.className = side;
  return node;
}

// The lines of each item of a list, without its sign and indentation.
function items(lines) {
  const first = itemAt(lines[0]);
  const found = [];
  for (const line of lines) {
    const item = itemAt(line);
    if (item?.mark === first.mark && item.indent <= first.indent) found.push({ ...item, lines: [item.text] });
    else found.at(-1).lines.push(outdented(line, found.at(-1).content));
  }
  return found.map((item) => item.lines);
}

// Its first paragraph is in no element of its own, so that an item looks the same when more comes.
function listItem(lines, references, depth) {
  const blocks = segments(lines, depth);
  const lead = blocks[0]?.kind === "paragraph" ? [inline(textOf(blocks.shift().lines), references)] : [];
  return element("li", lead, blocks.map((block) => build(block, references, depth)));
}

function withoutSigns(heading) {
  let end = heading.length;
  while (heading[end - 1] === "#") end -= 1;
  return end && !/\s/.test(heading[end - 1]) ? heading : heading.slice(0, end).trimEnd();
}

function textOf(lines) {
  return lines.map((line) => line.trim()).join("\n");
}
