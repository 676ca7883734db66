// A plot of what arrived when: seconds from left to right, characters from bottom to top, a dot a chunk, and the times
// without a connection shaded.

import { counted, shape } from "./dom.js";

const HEIGHT = 170;
const EDGE = { left: 42, right: 12, top: 10, bottom: 24 };
const DOTS = 400; // more of them would be a thick line

export class Plot {
  #svg;
  #words;
  #arrivals = []; // [{ at (seconds), characters (so far) }]
  #breaks = []; // [{ from, to }]; the last one may be open
  #since = 0;
  #frame;

  constructor(svg, words) {
    this.#svg = svg;
    this.#words = words;
    new ResizeObserver(() => this.#later()).observe(svg.parentElement);
  }

  begin() {
    this.#since = performance.now();
    this.#arrivals = [];
    this.#breaks = [];
    this.#words.textContent = "";
    this.#later();
  }

  chunk(text) {
    const characters = (this.#arrivals.at(-1)?.characters ?? 0) + Array.from(text).length;
    this.#arrivals.push({ at: this.#now, characters });
    this.#later();
  }

  state(state) {
    const open = this.#breaks.at(-1);
    if (open && open.to === undefined) open.to = this.#now;
    if (state === "reconnecting") this.#breaks.push({ from: this.#now });
    this.#later();
  }

  // Draws a time without a connection as it grows.
  tick() {
    if (this.#breaks.length && this.#breaks.at(-1).to === undefined) this.#later();
  }

  // Says in words what is drawn.
  finish() {
    const [first, last] = [this.#arrivals[0], this.#arrivals.at(-1)];
    if (!last) return void (this.#words.textContent = "No chunk arrived.");
    const pause = Math.max(0, ...this.#arrivals.slice(1).map(({ at }, index) => at - this.#arrivals[index].at));
    const lost = this.#breaks.map(({ from, to }) => `from ${from.toFixed(1)} to ${to.toFixed(1)} s`);
    this.#words.textContent =
      `${counted(this.#arrivals.length, "chunk")} with ${counted(last.characters, "character")} arrived ` +
      `from ${first.at.toFixed(2)} s to ${last.at.toFixed(2)} s; the longest pause was ${pause.toFixed(2)} s.` +
      (lost.length ? ` There was no connection ${lost.join(", ")} (shaded).` : "");
  }

  get #now() {
    return (performance.now() - this.#since) / 1000;
  }

  #later() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = undefined;
      this.#draw();
    });
  }

  #draw() {
    const width = this.#svg.parentElement.clientWidth;
    const ends = this.#breaks.map(({ to }) => to ?? this.#now);
    const most = { x: Math.max(1, this.#arrivals.at(-1)?.at ?? 0, ...ends), y: this.#arrivals.at(-1)?.characters || 100 };
    const place = {
      x: (at) => EDGE.left + (at / most.x) * (width - EDGE.left - EDGE.right),
      y: (characters) => HEIGHT - EDGE.bottom - (characters / most.y) * (HEIGHT - EDGE.top - EDGE.bottom),
    };
    const lines = [gridX(place, most.x, width), gridY(place, most.y, width)];
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.#svg.replaceChildren(...lines.flat(), ...this.#shaded(place, most.x), ...this.#line(place));
  }

  #shaded(place, end) {
    const [top, height] = [EDGE.top, HEIGHT - EDGE.top - EDGE.bottom];
    return this.#breaks.map(({ from, to }) => {
      const [x, right] = [place.x(from), place.x(to ?? end)];
      return shape("rect", { class: "break", x, y: top, height, width: Math.max(2, right - x) });
    });
  }

  #line(place) {
    const points = this.#arrivals.map(({ at, characters }) => [place.x(at).toFixed(1), place.y(characters).toFixed(1)]);
    if (!points.length) return [];
    const steps = points.map(([x, y]) => `H${x}V${y}`).join("");
    const dots = points.length > DOTS ? "" : points.map(([x, y]) => `M${x} ${y}h0`).join("");
    return [
      shape("path", { class: "line", d: `M${points[0][0]} ${place.y(0)}${steps}` }),
      shape("path", { class: "dots", d: dots }),
    ];
  }
}

function gridX(place, most, width) {
  return steps(most, width / 70).map((at) => label(`${at} s`, place.x(at), HEIGHT - 7, "middle"));
}

function gridY(place, most, width) {
  return steps(most, 4).flatMap((characters) => {
    const y = place.y(characters);
    const line = shape("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: y, y2: y });
    return [line, label(String(characters), EDGE.left - 7, y + 4, "end")];
  });
}

function label(text, x, y, anchor) {
  return shape("text", { x, y, "text-anchor": anchor }, text);
}

// Round numbers from 0 to `most`, about `count` of them.
function steps(most, count) {
  const rough = most / Math.max(2, Math.floor(count));
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const digits = Math.max(0, -Math.floor(Math.log10(step)));
  return Array.from({ length: Math.floor(most / step + 1e-9) + 1 }, (_, index) => Number((index * step).toFixed(digits)));
}
