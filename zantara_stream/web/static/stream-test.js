// Whether something between this page and the server holds events back. The server sends a few events at a steady pace,
// each with its time; the clocks differ, but the difference stays the same, so what grows beyond it is delay.

import { counted, element } from "./dom.js";
import { request } from "./requests.js";

const ADDRESS = "/bali-zero/stream-test";
const LATE = 200; // milliseconds; the events are 250 apart
const CURE =
  "In nginx: proxy_buffering off, or let the header X-Accel-Buffering through, and no gzip for text/event-stream. " +
  "docs/troubleshooting.md has more.";

// What was found, as paragraphs.
export async function testWay(token) {
  try {
    const ticks = await arrivals(token);
    return [element("p", {}, ...verdict(ticks)), element("p", { class: "hint" }, protocolWords())];
  } catch (refused) {
    return [element("p", {}, badge("The test failed.", "error"), ` ${refused.message}`)];
  }
}

// The events with the time of their arrival, milliseconds of the page's clock: [{ of, timestamp, arrived }].
async function arrivals(token) {
  const response = await request(ADDRESS, { token });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const ticks = [];
  let rest = "";
  for (let read; !(read = await reader.read()).done; ) {
    const blocks = (rest + read.value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const data = /^event: tick$/m.test(block) && /^data: (.*)$/m.exec(block);
      if (data) ticks.push({ ...JSON.parse(data[1]), arrived: performance.now() });
    }
  }
  return ticks;
}

function verdict(ticks) {
  const missing = (ticks[0]?.of ?? 1) - ticks.length;
  if (missing > 0) {
    const words = ` ${counted(ticks.length, "event")} arrived, ${missing} did not. Something on the way ended the stream.`;
    return [badge("The stream broke off.", "error"), words];
  }
  const differences = ticks.map(({ arrived, timestamp }) => arrived - 1000 * timestamp);
  const delay = Math.round(Math.max(...differences) - Math.min(...differences));
  if (delay < LATE) return [badge("Events arrive as they are sent.", "complete"), ` The largest delay was ${delay} ms.`];
  const words = ` Something between this page and the server held them back, by up to ${delay} ms. ${CURE}`;
  return [badge("Events are held back.", "error"), words];
}

function badge(words, state) {
  const dot = element("span", { class: "dot", "aria-hidden": "true" });
  return element("strong", { "data-state": state }, dot, words);
}

function protocolWords() {
  const [page] = performance.getEntriesByType("navigation");
  const entry = performance.getEntriesByName(new URL(ADDRESS, location.href).href).at(-1) ?? page;
  const protocol = entry?.nextHopProtocol || "not told by the browser";
  const few = "a browser then opens at most six connections to a host, in all its tabs together";
  return `Protocol: ${protocol}${protocol === "http/1.1" ? `; ${few}` : ""}.`;
}
