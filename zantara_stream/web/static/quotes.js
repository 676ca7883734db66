// The quotes of an answer: which of them are the same, where they stand, what refers to them. Spans count code points.

// The different quotes in the order in which they came, numbered from 1.
export function numbered(citations) {
  const quotes = new Map();
  for (const citation of citations)
    if (!quotes.has(keyOf(citation))) quotes.set(keyOf(citation), { ...citation, number: quotes.size + 1 });
  return [...quotes.values()];
}

// The marks behind what the quotes support, as `render` takes them.
export function references(citations) {
  const numbers = new Map(numbered(citations).map((quote) => [keyOf(quote), quote.number]));
  const marks = new Map();
  for (const citation of citations) {
    const number = numbers.get(keyOf(citation));
    const label = `Reference ${number}: ${citation.source}`;
    marks.set(`${citation.textEnd} ${number}`, { end: citation.textEnd, number, label, href: `#quote-${number}` });
  }
  return [...marks.values()];
}

// The sources with their quotes; a quoted document that is none of them follows as one.
export function withQuotes(sources, citations) {
  const entries = sources.map((source) => ({ ...source, quotes: [] }));
  for (const quote of numbered(citations)) {
    let entry = entries.find((one) => one.passage === quote.passage) ?? entries.find((one) => isOf(quote, one));
    if (!entry) {
      const { source, document, section, page, url } = quote;
      entries.push((entry = { source, document, section, page, url, quotes: [] }));
    }
    entry.quotes.push(quote);
  }
  return entries;
}

// The snippet in parts, strings and quotes by turns, and the quotes that are not in it.
export function inSnippet({ snippet = "", start, quotes }) {
  const letters = Array.from(snippet);
  const [parts, others] = [[], []];
  let place = 0;
  for (const quote of quotes.toSorted((one, other) => one.start - other.start)) {
    const [from, to] = [quote.start - start, quote.end - start];
    const found = from >= place && letters.slice(from, to).join("") === quote.quote;
    if (!found) others.push(quote);
    else parts.push(letters.slice(place, from).join(""), quote);
    place = found ? to : place;
  }
  return { parts: [...parts, letters.slice(place).join("")], others };
}

// The answer with its reference marks as text, and a list of what it rests on.
export function asText({ text, citations, sources }) {
  const letters = Array.from(text);
  for (const { end, number } of references(citations).sort((one, other) => other.end - one.end || other.number - one.number))
    letters.splice(end, 0, ` [${number}]`);
  const entries = withQuotes(sources, citations).map((entry) => [
    `- ${[entry.source, entry.section, entry.page && `page ${entry.page}`, entry.url].filter(Boolean).join(", ")}`,
    ...entry.quotes.map(({ number, quote }) => `  [${number}] “${quote}”`),
  ]);
  const list = entries.length ? ["", "Sources", "", ...entries.flat()] : [];
  return [letters.join("").trimEnd(), ...list, ""].join("\n");
}

function keyOf({ passage, start, end }) {
  return `${passage} ${start} ${end}`;
}

function isOf(quote, { document, source }) {
  return quote.document ? quote.document === document : quote.source === source;
}
