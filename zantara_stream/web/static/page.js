// The test page: asks with the browser's own EventSource and shows what arrives. Everything from the server
// is put in as text, never as HTML.

const $ = (id) => document.getElementById(id);
const form = $("ask");
const stop = $("stop");

let source = null;
let run = null; // what is known of the answer being read

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const query = $("query").value.trim();
  if (query) ask(query);
});
stop.addEventListener("click", stopNow);
$("query").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    form.requestSubmit();
  }
});

function ask(query) {
  source?.close();
  run = { asked: performance.now(), last: 0, gaps: 0, citations: [] };
  $("answer").replaceChildren();
  $("sources").replaceChildren();
  $("sources-section").hidden = true;
  for (const id of ["first", "duration", "model"]) $(id).textContent = "–";
  for (const id of ["chunks", "gaps"]) $(id).textContent = "0";
  $("answer").setAttribute("aria-busy", "true");
  stop.disabled = false;
  say("connecting …");
  source = new EventSource("/bali-zero/chat-stream?" + new URLSearchParams({ query }));
  source.addEventListener("start", (event) => begun(JSON.parse(event.data), "streaming"));
  source.addEventListener("resumed", (event) => begun(JSON.parse(event.data), "resumed"));
  source.addEventListener("gap", (event) => catchUp(JSON.parse(event.data)));
  source.addEventListener("draining", () => say("the server restarts, coming back …"));
  source.addEventListener("unavailable", (event) => say(`not now (${JSON.parse(event.data).code}), trying again …`));
  source.onmessage = (event) => take(JSON.parse(event.data));
  source.onerror = () => (source.readyState === EventSource.CLOSED
    ? finish("the server refused the question", true)
    : say("reconnecting …"));
}

function begun(data, words) {
  run.answer = data.answer;
  say(words);
}

function catchUp(data) {
  begun(data, "resumed");
  run.last = data.sequenceNumber;
  run.citations = data.citations;
  $("answer").replaceChildren(data.text);
  $("chunks").textContent = run.last;
}

function stopNow() {
  // Closing the stream alone would let the model go on for the grace time.
  if (run.answer) fetch(`/bali-zero/answers/${run.answer}`, { method: "DELETE" }).catch(() => {});
  finish("stopped");
}

function take(data) {
  if ("error" in data) return end(data, data.error, true);
  if (data.done) return end(data, data.stopReason === "stopped" ? "stopped" : "complete", false);
  if ("text" in data) return chunk(data);
  if ("citation" in data) return run.citations.push(data.citation);
  if ("sources" in data) return showSources(data.sources);
}

function chunk(data) {
  if (data.sequenceNumber <= run.last) return; // seen already
  run.gaps += data.sequenceNumber - run.last - 1;
  run.last = data.sequenceNumber;
  if (run.last === 1) $("first").textContent = seconds((performance.now() - run.asked) / 1000);
  $("answer").append(data.text);
  $("chunks").textContent = run.last;
  $("gaps").textContent = run.gaps;
}

function end(data, words, bad) {
  $("duration").textContent = seconds(data.streamDuration);
  $("model").textContent = data.model || "–";
  finish(words, bad);
}

function finish(words, bad = false) {
  source?.close();
  source = null;
  stop.disabled = true;
  $("answer").setAttribute("aria-busy", "false");
  say(words, bad);
}

function showSources(entries) {
  $("sources").replaceChildren(...entries.map(sourceItem));
  $("sources-section").hidden = entries.length === 0;
}

function sourceItem(entry) {
  const where = [entry.section, entry.page && `page ${entry.page}`, entry.updated, `similarity ${entry.similarity}`];
  const quote = element("blockquote", ...highlighted(entry));
  return element("li", element("strong", entry.source),
    element("div", where.filter(Boolean).join(" · "), "where"), quote);
}

function highlighted(entry) {
  // The quoted spans of the snippet; both count characters as the server does, in code points.
  const letters = Array.from(entry.snippet);
  const spans = run.citations
    .filter((cited) => cited.passage === entry.passage)
    .map((cited) => [cited.start - entry.start, cited.end - entry.start])
    .sort((a, b) => a[0] - b[0]);
  const parts = [];
  let place = 0;
  for (const [start, end] of spans) {
    if (start < place) continue;
    parts.push(letters.slice(place, start).join(""), element("mark", letters.slice(start, end).join("")));
    place = end;
  }
  return [...parts, letters.slice(place).join("")];
}

function element(name, ...content) {
  const made = document.createElement(name);
  if (name === "div") made.className = content.pop();
  made.append(...content);
  return made;
}

function say(words, bad = false) {
  $("state").textContent = words;
  $("state").classList.toggle("bad", bad);
}

function seconds(value) {
  return `${value.toFixed(2)} s`;
}
