// Two instances on one Redis with a cable to one of them, clients that can come back, and who emits from elsewhere.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { io } from "socket.io-client";
import { startRedis } from "../browser/redis.mjs";
import { layCable } from "../clients/cable.mjs";
import { startSiskin, waitFor } from "../harness.mjs";

export const path = "/ws/socket.io";
const python = fileURLToPath(new URL("../.venv/bin/python", import.meta.url));
const emitter = fileURLToPath(new URL("emitter.py", import.meta.url));

/** `managed`: who starts each of them, and more of its settings (harness). */
export async function start(t, channels = "true", more = {}, managed = []) {
  const redis = await startRedis(t);
  const env = { WEBSOCKET_MANAGER: "redis", WEBSOCKET_REDIS_URL: redis.url, WEBSOCKET_REDIS_ROOM_CHANNELS: channels, ...more };
  const begin = ({ env: its, ...how } = {}) => startSiskin({ env: { ...env, ...its }, ...how });
  const [one, two] = await Promise.all([begin(managed[0]), begin(managed[1])]);
  t.after(() => Promise.all([one.close(), two.close()]));
  const cable = await layCable(t, one.port);
  for (const each of [one, two]) await waitFor(async () => (await fetch(`${each.url}/ready`)).ok, { what: "Redis" });
  return { redis, one, two, cable };
}

/** A client that is connected and signed in. */
export async function open(t, { one, cable }, { user = "ann", transports = ["websocket"], ...more } = {}) {
  const token = one.token(user);
  const socket = io(cable.url, { path, transports, auth: { token, recover: true }, forceNew: true, reconnectionDelay: 10, reconnectionDelayMax: 20, randomizationFactor: 0, ...more });
  t.after(() => socket.disconnect());
  socket.news = [];
  socket.connects = 0;
  socket.on("news", (data) => socket.news.push(data));
  socket.on("connect", () => socket.connects++);
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("connect_error", reject));
  await socket.timeout(5000).emitWithAck("user-join", { auth: { token } });
  return socket;
}

export const tell = (at, data, to = { user_id: "ann" }) => at.api("POST", "/emit", { event: "news", data, ...to });
export const metric = async (at, name) => Number((await (await fetch(`${at.url}/metrics`)).text()).match(new RegExp(`^${name} (\\d+)`, "m"))?.[1] ?? 0);
export const isAway = (at, count = 1) => waitFor(async () => (await metric(at, "siskin_away_sessions")) === count, { what: `${count} away` });

/** Loses the connection; `meanwhile` is done before it can be had again. */
export async function lose(cable, socket, meanwhile, how = "cut") {
  const { connects } = socket;
  const gone = new Promise((resolve) => socket.once("disconnect", resolve));
  cable.broken = true;
  cable[how]();
  await gone;
  await meanwhile?.();
  cable.broken = false;
  await waitFor(() => socket.connects > connects, { what: "the client back" });
}

/** Each who told so many news is heard with all of them, once and in order; returns how many there were. `told`: how many, by name. */
export async function heardAll(socket, told) {
  const count = Object.values(told).reduce((sum, n) => sum + n, 0);
  await waitFor(() => socket.news.length >= count, { what: "all news" }).catch(() => {});
  for (const name of Object.keys(told)) {
    const heard = socket.news.filter(([by]) => by === name).map(([, n]) => n);
    assert.deepEqual(heard, Array.from({ length: told[name] }, (_, n) => n + 1), name);
  }
  return count;
}

/** The reference's emitter, in a process of its own. */
export function startEmitter(t, redis) {
  const process = spawn(python, [emitter, redis.url], { stdio: ["pipe", "pipe", "inherit"] });
  t.after(() => process.kill());
  const lines = createInterface({ input: process.stdout });
  return async (data, room = "user:ann") => {
    const done = once(lines, "line");
    process.stdin.write(`${JSON.stringify({ event: "news", data, room })}\n`);
    await done;
  };
}
