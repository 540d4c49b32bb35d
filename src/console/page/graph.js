// Events per second as two lines, from totals that are asked for now and then.

import { $, say } from "./dom.js";

const SPAN = 240_000;
const [WIDTH, HEIGHT] = [240, 80];
const NUMBER = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

export class Graph {
  #last = null;
  #points = [];

  add({ events, packets_out }) {
    const now = performance.now();
    const last = this.#last;
    this.#last = { now, events, packets_out };
    if (!last || events < last.events || packets_out < last.packets_out) return;
    const seconds = (now - last.now) / 1000;
    this.#points.push({ now, in: (events - last.events) / seconds, out: (packets_out - last.packets_out) / seconds });
    while (now - this.#points[0].now > SPAN) this.#points.shift();
    this.#draw(now);
  }

  /** Nothing is known of this time. */
  gap() {
    this.#last = null;
  }

  #draw(now) {
    const top = Math.max(1, ...this.#points.flatMap((point) => [point.in, point.out]));
    for (const which of ["in", "out"]) {
      const at = (point) => `${(WIDTH * (1 - (now - point.now) / SPAN)).toFixed(1)} ${(HEIGHT - 2 - (point[which] / top) * (HEIGHT - 6)).toFixed(1)}`;
      $("graph").querySelector(`.${which}`).setAttribute("d", `M${this.#points.map(at).join("L")}`);
      say($(`rate-${which}`), NUMBER.format(this.#points.at(-1)[which]));
    }
    say($("graph-top"), `top: ${NUMBER.format(top)}`);
  }
}
