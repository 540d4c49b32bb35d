// Events per second as two lines, from totals that are asked for now and then.

import { $, say } from "./dom.js";

const SPAN = 240_000;
const [WIDTH, HEIGHT] = [240, 80];
const NUMBER = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

export class Graph {
  #last = null;
  /** `from` and `now` bound the time of a rate, in milliseconds. */
  #points = [];

  constructor() {
    for (const path of $("graph").children) path.setAttribute("d", "");
    for (const id of ["rate-in", "rate-out"]) say($(id), "0");
    say($("graph-top"), "");
  }

  add({ events, packets_out }) {
    const now = performance.now();
    const last = this.#last;
    this.#last = { now, events, packets_out };
    if (!last || events < last.events || packets_out < last.packets_out) return;
    const seconds = (now - last.now) / 1000;
    this.#points.push({ from: last.now, now, in: (events - last.events) / seconds, out: (packets_out - last.packets_out) / seconds });
    while (now - this.#points[0].now > SPAN) this.#points.shift();
    this.#draw(now);
  }

  /** Nothing is known of this time. */
  gap() {
    this.#last = null;
  }

  #draw(now) {
    const top = round(Math.max(1, ...this.#points.flatMap((point) => [point.in, point.out])));
    const x = (point) => (WIDTH * (1 - (now - point.now) / SPAN)).toFixed(1);
    const y = (rate) => (HEIGHT - 1 - (rate / top) * (HEIGHT - 2)).toFixed(1);
    const paths = { in: "", out: "", area: "" };
    for (const run of this.#runs()) {
      const [line, out] = ["in", "out"].map((which) => run.map((point) => `${x(point)} ${y(point[which])}`).join("L"));
      paths.in += `M${line}`;
      paths.out += `M${out}`;
      paths.area += `M${x(run[0])} ${HEIGHT}L${line}L${x(run.at(-1))} ${HEIGHT}Z`;
    }
    for (const which in paths) $("graph").querySelector(`.${which}`).setAttribute("d", paths[which]);
    this.#words(top);
  }

  /** The points in runs: between two runs nothing is known. */
  #runs() {
    const runs = [];
    this.#points.forEach((point, at) => {
      if (point.from === this.#points[at - 1]?.now) runs.at(-1).push(point);
      else runs.push([point]);
    });
    return runs;
  }

  #words(top) {
    const last = this.#points.at(-1);
    const [rateIn, rateOut] = [NUMBER.format(last.in), NUMBER.format(last.out)];
    say($("rate-in"), rateIn);
    say($("rate-out"), rateOut);
    say($("graph-top"), NUMBER.format(top));
    $("graph").setAttribute("aria-label", `The last four minutes: now ${rateIn} events in and ${rateOut} packets out a second; the scale ends at ${NUMBER.format(top)}.`);
  }
}

/** The next of 1, 2, 5, 10, 20, 50, … */
function round(rate) {
  const power = 10 ** Math.floor(Math.log10(rate));
  return [1, 2, 5, 10].find((step) => step * power >= rate) * power;
}
