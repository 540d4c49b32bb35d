// Many unchanged clients over every transport whose connections are cut, stalled, dead and torn at random, while siskin is
// restarted and killed at random: each gets all of its events, once and in order, or is told that it does not. SISKIN_SEED repeats
// a run, SISKIN_CUTS is how many cuts there are.

import assert from "node:assert/strict";
import { test } from "node:test";
import { io } from "socket.io-client";
import { manager, sleep, startSiskin, waitFor } from "../harness.mjs";
import { layCable } from "./cable.mjs";

const CLIENTS = 24;
const CUTS = Number(process.env.SISKIN_CUTS ?? 300);
const WAYS = [["websocket"], ["polling"], ["polling", "websocket"]];

let state = BigInt(process.env.SISKIN_SEED ?? 0) * 0x9e3779b97f4a7c15n ^ 0x5157n;
/** A random number below `end` (splitmix64). */
function below(end) {
  state = BigInt.asUintN(64, state + 0x9e3779b97f4a7c15n);
  let mixed = BigInt.asUintN(64, (state ^ (state >> 30n)) * 0xbf58476d1ce4e5b9n);
  mixed = BigInt.asUintN(64, (mixed ^ (mixed >> 27n)) * 0x94d049bb133111ebn);
  return Number((mixed ^ (mixed >> 31n)) % BigInt(end));
}

class Page {
  constructor(siskin, cable, user, transports) {
    Object.assign(this, { cable, user, sent: [], got: [], recovered: 0, refused: 0, told: 0 });
    const auth = { token: siskin.token(user) };
    const extraHeaders = { "Sec-Fetch-Mode": "cors" };
    this.socket = io(cable.url, { path: "/ws/socket.io", transports, auth, extraHeaders, forceNew: true, reconnectionDelay: 5, reconnectionDelayMax: 30 });
    this.socket.on("news", ([n]) => this.got.push(n));
    this.socket.on("connect", () => (this.socket.recovered ? this.recovered++ : this.#begin()));
  }

  /** What it got so far ends here; from now on it may begin anywhere. */
  #begin() {
    this.check();
    this.got = [];
    this.refused++;
  }

  /** All that it got is what it was sent, from the first on. */
  check() {
    const from = this.got.length ? this.sent.indexOf(this.got[0]) : 0;
    assert.deepEqual(this.got, this.sent.slice(from, from + this.got.length), `${this.user} ${this.socket.io.opts.transports}`);
  }

  get isWhole() {
    return this.socket.connected && this.got.at(-1) === this.sent.at(-1);
  }
}

test("clients that are cut at random get all of it once and in order", async (t) => {
  // Nobody is refused while it is restarted: who tries again all the time costs most.
  const { env, ...how } = await manager(t);
  const siskin = await startSiskin({ ...how, env: { ...env, WEBSOCKET_SERVER_PING_INTERVAL: "1", WEBSOCKET_SERVER_PING_TIMEOUT: "1", SISKIN_RECOVERY_BYTES: "16 MiB" } });
  t.after(() => siskin.close());
  const pages = [];
  for (let n = 0; n < CLIENTS; n++) pages.push(new Page(siskin, await layCable(t, siskin.port), `u${n}`, WAYS[n % 3]));
  t.after(() => pages.forEach(({ socket }) => socket.disconnect()));
  await waitFor(() => pages.every(({ socket }) => socket.connected), { what: "all pages" });
  await waitFor(async () => (await siskin.api("GET", "/sessions")).sessions.length === CLIENTS, { what: "all signed in" });

  let number = 0;
  const emit = async () => {
    const page = pages[below(CLIENTS)];
    page.sent.push(number);
    const data = [number++, "x".repeat([0, 20, 500, 5_000, 60_000][below(5)])];
    await siskin.api("POST", "/emit", { event: "news", data, user_id: page.user });
  };
  const harm = [
    (cable) => cable.cut(),
    (cable) => cable.halve(),
    (cable) => ((cable.left = below(20_000)), setTimeout(() => (cable.left = Infinity), 30).unref()),
    (cable) => (cable.stall(true), setTimeout(() => cable.stall(false), below(50)).unref()),
    (cable) => ((cable.broken = true), cable.cut(), setTimeout(() => (cable.broken = false), below(200)).unref()),
  ];
  const restart = async () => {
    await (below(5) ? siskin.stop() : siskin.kill());
    await siskin.start();
  };
  for (let cuts = 0; cuts < CUTS; cuts++) {
    if (below(100) === 0) await restart();
    harm[below(harm.length)](pages[below(CLIENTS)].cable);
    for (let n = below(6); n > 0; n--) await emit();
    if (below(4) === 0) await sleep(below(20));
  }
  for (const { cable } of pages) (cable.broken = false), (cable.left = Infinity), cable.stall(false);
  await waitFor(() => pages.every((page) => page.socket.connected), { what: "all back", seconds: 30 });
  for (const page of pages) {
    page.sent.push(number);
    await siskin.api("POST", "/emit", { event: "news", data: [number++], user_id: page.user });
  }
  await waitFor(() => pages.every((page) => page.isWhole), { what: "the last event", seconds: 30 });
  pages.forEach((page) => page.check());
  const sum = (what) => pages.reduce((all, page) => all + page[what], 0);
  t.diagnostic(`${sum("recovered")} recovered, ${sum("refused") - CLIENTS} not`);
  assert.ok(sum("recovered") > CUTS / 4, `${sum("recovered")}`);
});
