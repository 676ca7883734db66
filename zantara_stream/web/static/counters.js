// The numbers of an answer.

import { byId } from "./dom.js";

const SHORT = 0.05; // seconds in which a rate says nothing

// Milliseconds of the page's clock: `asked`, `first` (chunk; undefined where it was written before), `now`.
export function count(answer, { asked, first, now }, reconnections) {
  const { done, chunks, gaps, duplicates } = answer;
  const began = first === undefined ? done?.timings?.firstChunk : (first - asked) / 1000;
  const shown = { chunks, gaps, duplicates, reconnections, model: done?.model, rate: rateOf(answer), tokens: tokensOf(done) };
  Object.assign(shown, { first: seconds(began), duration: seconds(done?.streamDuration ?? (now - asked) / 1000) });
  for (const [id, value] of Object.entries(shown)) byId(id).textContent = value ?? "–";
  for (const id of ["gaps", "duplicates"]) byId(id).classList.toggle("bad", shown[id] > 0);
}

// Characters a second as they were written: what was written before this page came tells nothing of the line.
function rateOf({ log, done, text }) {
  const chunks = log.filter(({ type }) => type === "text");
  const span = chunks.length ? chunks.at(-1).timestamp - chunks[0].timestamp : 0;
  if (span > SHORT) return Math.round((length(text) - length(chunks[0].text)) / span);
  return done?.streamDuration && text ? Math.round(length(text) / done.streamDuration) : undefined;
}

function tokensOf(done) {
  const { input_tokens: input, output_tokens: output } = done?.usage ?? {};
  return output === undefined ? undefined : `${input ?? "–"} / ${output}`;
}

function seconds(value) {
  return value === undefined ? undefined : `${value.toFixed(2)} s`;
}

function length(text) {
  return Array.from(text).length;
}
