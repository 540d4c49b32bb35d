// How the server is doing: figures, a graph, the log, lists. Asked for every two seconds, while somebody looks.

import { $, Feed, cut, h, say, size } from "./dom.js";
import { Graph } from "./graph.js";
import { Lists } from "./lists.js";

const EVERY = 2000;
const LINES = 200;

const WHOSE = { browsers: "browsers", asked: "who asks", off: "nobody" };

const REDIS = { off: "one instance", up: "shared", down: "is tried again" };

/** What each tile shows of a status: its figure and a word below. */
const TILES = {
  Connections: ({ sessions }) => [sessions.websocket + sessions.polling, `${sessions.polling} by polling`],
  "Signed in": ({ sessions }) => [sessions.signed_in, "sessions"],
  Rooms: ({ rooms }) => [rooms, "not empty"],
  "Models in use": ({ models }) => [models, "right now"],
  Documents: ({ documents }) => [documents, "open"],
  Outbox: ({ outbox }) => [size(outbox.waiting_bytes), `${outbox.waiting_sessions} slow, ${outbox.overflows} closed`],
  Recovered: ({ recovery }) => [recovery.recovered, missed(recovery)],
  Away: ({ recovery }) => [recovery.away, `${size(recovery.bytes)} of ${size(recovery.most_bytes)}, ${recovery.seconds} s, ${WHOSE[recovery.who]}`],
  Redis: ({ redis }) => [redis, REDIS[redis] ?? ""],
  Memory: ({ resident_bytes }) => [resident_bytes === null ? "?" : size(resident_bytes), "resident"],
};

/** Who came back and was not taken up, by reason. */
function missed({ not_recovered }) {
  const reasons = Object.entries(not_recovered).map(([why, count]) => `${count} ${why}`);
  return reasons.length ? `not: ${reasons.join(", ")}` : "with all they missed";
}

const HEALTH = { ready: "Ready", degraded: "Not ready", away: "Away" };

export class Server {
  #api;
  #graph = new Graph();
  #lists;
  #log = new Feed($("log"), LINES);
  #tiles = new Map();
  #timer;
  #asking = false;
  #line = 0;
  #events = 0;
  #lost;
  #stopped = false;
  #look = () => (document.hidden ? clearTimeout(this.#timer) : this.#poll());

  /** `lost` is called with the problem when the key is no longer the right one. */
  constructor(api, lost) {
    this.#api = api;
    this.#lost = lost;
    this.#lists = new Lists(api, (problem) => this.#fail(problem));
    $("tiles").replaceChildren(...Object.keys(TILES).map((label) => this.#tile(label)));
    this.#healthy("");
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
    if (this.#asking) return;
    clearTimeout(this.#timer);
    this.#asking = true;
    try {
      const [status, log] = await Promise.all([this.#api.get("/status"), this.#api.get(`/log?after=${this.#line}`)]);
      await this.#lists.refresh();
      if (!this.#stopped) this.#show(status, log);
    } catch (problem) {
      if (!this.#stopped) this.#fail(problem);
    }
    this.#asking = false;
    if (!this.#stopped && !document.hidden) this.#timer = setTimeout(() => this.#poll(), EVERY);
  }

  #show(status, { lines }) {
    say($("server-error"), status.degraded.join(" "));
    this.#healthy(status.degraded.length ? "degraded" : "ready");
    say($("where"), `${status.version} · ${status.directory === "local" ? "on its own" : `beside ${status.directory}`}`);
    for (const [label, figures] of Object.entries(TILES)) this.#figure(label, figures(status));
    this.#graph.add(status.totals);
    this.#lines(status.totals.events, lines);
  }

  #figure(label, [figure, word]) {
    const { tile, value, below } = this.#tiles.get(label);
    say(value, typeof figure === "number" ? figure.toLocaleString("en") : figure);
    say(below, word);
    tile.classList.toggle("bad", figure === "down");
  }

  #fail(problem) {
    if (problem.status === 401 || problem.status === 403) return this.#lost(problem);
    this.#healthy("away");
    // It may come back as a new one, which numbers its lines from 1.
    this.#line = 0;
    say($("server-error"), `${problem.message} It is asked again every ${EVERY / 1000} seconds.`);
    this.#graph.gap();
  }

  #healthy(state) {
    $("server").classList.toggle("stale", state === "away");
    $("health-dot").className = `dot ${state}`;
    say($("health"), HEALTH[state] ?? "");
  }

  #tile(label) {
    const [value, below] = [h("dd"), h("dd")];
    const tile = h("div", { class: "tile" }, h("dt", {}, label), value, below);
    this.#tiles.set(label, { tile, value, below });
    return tile;
  }

  #lines(events, lines) {
    // Fewer than before: another process answers by now, with lines of its own from 1.
    const fresh = events < this.#events;
    this.#events = events;
    if (fresh && this.#line > 0) return (this.#line = 0);
    if (lines.length === 0) return;
    // Asked from the beginning: what is shown comes again.
    if (this.#line === 0) this.#log = new Feed($("log"), LINES);
    this.#line = lines.at(-1).number;
    this.#log.add(...lines.map(line));
  }
}

function line({ at, level, text }) {
  const date = new Date(at * 1000);
  const time = h("time", { datetime: date.toISOString() }, date.toLocaleTimeString("en-GB"));
  return h("li", { class: level }, time, ` ${level === "info" ? "" : `${level} `}${cut(text, 1000)}`);
}
