// How the server is doing: figures, a graph, the log, lists. Asked for every two seconds, while somebody looks.

import { $, append, h, say, size } from "./dom.js";
import { Graph } from "./graph.js";
import { Lists } from "./lists.js";

const EVERY = 2000;
const LINES = 200;

/** What each tile shows of a status: its figure and a word below. */
const TILES = {
  Connections: ({ sessions }) => [sessions.websocket + sessions.polling, `${sessions.polling} by polling`],
  "Signed in": ({ sessions }) => [sessions.signed_in, "sessions"],
  Rooms: ({ rooms }) => [rooms, "with somebody in"],
  "Models in use": ({ models }) => [models, "right now"],
  Documents: ({ documents }) => [documents, "open"],
  Outbox: ({ outbox }) => [size(outbox.waiting_bytes), `${outbox.waiting_sessions} slow, ${outbox.overflows} closed`],
  Redis: ({ redis }) => [redis, redis === "off" ? "alone" : "shared"],
  Memory: ({ resident_bytes }) => [resident_bytes === null ? "?" : size(resident_bytes), "resident"],
};

export class Server {
  #api;
  #graph = new Graph();
  #lists;
  #tiles = new Map();
  #timer;
  #line = 0;
  #lost;
  #stopped = false;
  #look = () => (document.hidden ? clearTimeout(this.#timer) : this.#poll());

  /** `lost` is called with the problem when the key is no longer the right one. */
  constructor(api, lost) {
    this.#api = api;
    this.#lost = lost;
    this.#lists = new Lists(api);
    $("tiles").replaceChildren(...Object.keys(TILES).map((label) => this.#tile(label)));
    $("log").replaceChildren();
    $("server").hidden = false;
    document.addEventListener("visibilitychange", this.#look);
    this.#look();
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    document.removeEventListener("visibilitychange", this.#look);
    this.#lists.stop();
    $("server").hidden = true;
  }

  async #poll() {
    clearTimeout(this.#timer);
    try {
      const [status, log] = await Promise.all([this.#api.get("/status"), this.#api.get(`/log?after=${this.#line}`)]);
      await this.#lists.refresh();
      if (!this.#stopped) this.#show(status, log);
    } catch (problem) {
      if (!this.#stopped) this.#fail(problem);
    }
    clearTimeout(this.#timer);
    if (!this.#stopped && !document.hidden) this.#timer = setTimeout(() => this.#poll(), EVERY);
  }

  #show(status, { lines }) {
    $("server").classList.remove("stale");
    say($("server-error"), status.degraded.join(" "));
    say($("where"), `${status.version} · ${status.directory === "local" ? "its own directory" : `beside ${status.directory}`}`);
    for (const [label, figures] of Object.entries(TILES)) {
      const { tile, value, below } = this.#tiles.get(label);
      const [figure, word] = figures(status);
      say(value, typeof figure === "number" ? figure.toLocaleString("en") : figure);
      say(below, word);
      tile.classList.toggle("bad", figure === "down");
    }
    this.#graph.add(status.totals);
    this.#log(lines);
  }

  #fail(problem) {
    if (problem.status === 401 || problem.status === 403) return this.#lost(problem);
    $("server").classList.add("stale");
    // It may come back as a new one, which numbers its lines from 1.
    this.#line = 0;
    say($("server-error"), `${problem.message} It is asked again every ${EVERY / 1000} seconds.`);
    this.#graph.gap();
  }

  #tile(label) {
    const [value, below] = [h("dd"), h("dd")];
    const tile = h("div", { class: "tile" }, h("dt", {}, label), value, below);
    this.#tiles.set(label, { tile, value, below });
    return tile;
  }

  #log(lines) {
    if (lines.length === 0) return;
    // Asked from the beginning: what is shown comes again.
    if (this.#line === 0) $("log").replaceChildren();
    this.#line = lines.at(-1).number;
    append($("log"), lines.map(line), LINES);
  }
}

function line({ at, level, text }) {
  const date = new Date(at * 1000);
  const time = h("time", { datetime: date.toISOString() }, date.toLocaleTimeString("en-GB"));
  return h("li", { class: level }, time, ` ${level === "info" ? "" : `${level} `}${text}`);
}
