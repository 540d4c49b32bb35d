// A redis-server of a test's own, that goes and comes back with what it had.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, startSiskin, waitFor } from "../harness.mjs";

export async function startRedis(t) {
  const [port, dir] = [await freePort(), mkdtempSync(join(tmpdir(), "siskin-redis-"))];
  let server, ended;
  const answers = () =>
    new Promise((resolve) => {
      const probe = connect(port, "127.0.0.1", () => (probe.destroy(), resolve(true))).on("error", () => resolve(false));
    });
  const start = async () => {
    server = spawn("redis-server", ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--dir", dir], { stdio: "ignore" });
    ended = new Promise((resolve) => server.once("exit", resolve));
    await waitFor(answers, { what: "redis-server" });
  };
  const stop = async () => (server.kill("SIGKILL"), await ended);
  await start();
  t.after(async () => (await stop(), rmSync(dir, { recursive: true, force: true })));
  return { url: `redis://127.0.0.1:${port}/0`, start, stop, signal: (name) => server.kill(name) };
}

/** Two instances on a redis-server, ready; `t` ends them. */
export async function startPair(t, redis, more = {}) {
  const env = { WEBSOCKET_MANAGER: "redis", WEBSOCKET_REDIS_URL: redis.url, ...more };
  const pair = await Promise.all([startSiskin({ env }), startSiskin({ env })]);
  for (const siskin of pair) {
    t.after(() => siskin.close());
    await waitFor(async () => (await fetch(`${siskin.url}/ready`)).ok, { what: "readiness" });
  }
  return pair;
}
