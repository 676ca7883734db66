// The test page. It asks through the browser client and shows what comes back, and what happens to the line meanwhile.

import { AnswerView, note } from "./answer-view.js";
import { count } from "./counters.js";
import { byId, counted } from "./dom.js";
import { Form } from "./form.js";
import { Monitor } from "./monitor.js";
import { Plot } from "./plot.js";
import { Sources } from "./sources.js";
import { testWay } from "./stream-test.js";
import { ask, follow, resume } from "./zantara-stream.js";

const CUT = 3000; // milliseconds
const TICK = 200;
const HASH = "#answer=";

let answer; // the one that is read
let again; // reads it once more, after an error
let clock; // of its reading: { asked, first, joined }, milliseconds
let ticking;
let cutting = false;

const form = new Form(() => {
  const { query } = form;
  history.replaceState(null, "", location.pathname); // a reload must not show the answer of the link
  read(() => ask(query, form.options));
});
const view = new AnswerView(form, () => read(again));
const sources = new Sources(byId("sources-section"), byId("sources"), byId("answer"));
const monitor = new Monitor();
const plot = new Plot(byId("plot").querySelector("svg"), byId("plot-words"));

const heard = {
  text({ text }) {
    if (answer.chunks === 1 && !clock.joined) clock.first = performance.now();
    plot.chunk(text);
    view.update();
  },
  citation() {
    sources.show(answer);
    view.update();
  },
  sources: () => sources.show(answer),
  error: (error) => view.fail(error),
  state(change) {
    if (change.state === "streaming") started(change);
    plot.state(change.state);
    if (change.state === "reconnecting") enable("stop");
    if (answer.over) finished();
    monitor.change({ ...change, cut: cutting, words: summary() });
    tick();
  },
};

// Reads the answer that `begin` gives, if any, in place of the one before.
function read(begin) {
  const [before, next] = [answer, begin()];
  if (!next) return;
  [answer, again] = [next, begin];
  before?.close();
  for (const [type, hear] of Object.entries(heard))
    next.addEventListener(type, ({ detail }) => next === answer && hear(detail));
  clock = { asked: performance.now() };
  enable("stop");
  view.begin(next);
  sources.show(next);
  plot.begin();
  monitor.begin();
  clearInterval(ticking);
  ticking = setInterval(tick, TICK);
}

function started({ offset, replayed }) {
  // What was written before this page came has no first chunk here.
  clock.joined ||= !answer.chunks && (offset || replayed) > 0;
  enable("stop", "cut");
  view.started();
}

function finished() {
  clearInterval(ticking);
  enable();
  plot.finish();
  view.finish();
}

function tick() {
  count(answer, { ...clock, now: performance.now() }, monitor.reconnections);
  monitor.tick();
  plot.tick();
}

function enable(...enabled) {
  for (const id of ["stop", "cut"]) byId(id).disabled = !enabled.includes(id);
}

function summary() {
  return `${counted(answer.text.match(/\S+/g)?.length ?? 0, "word")}, ${counted(sources.count, "source")}`;
}

async function stop() {
  enable();
  await answer.stop().catch((error) => note(`The server could not be told to stop: ${error.message}`));
}

function cut() {
  cutting = true;
  answer.reconnect(CUT);
  cutting = false;
  if (answer.state !== "reconnecting") note("Another tab holds the connection of this answer: cut the line there.");
}

async function test() {
  byId("test").disabled = true;
  byId("test-result").textContent = "Listening to a few events …";
  byId("test-result").replaceChildren(...(await testWay(form.token)));
  byId("test").disabled = false;
}

function readLinked() {
  const id = location.hash.startsWith(HASH) && location.hash.slice(HASH.length);
  if (id) read(() => follow(id, form.identity));
  return Boolean(id);
}

for (const [id, act] of Object.entries({ stop, cut, test })) byId(id).addEventListener("click", act);
addEventListener("hashchange", readLinked);
if (!readLinked()) read(() => resume(form.identity));
