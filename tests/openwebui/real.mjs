// The real Open WebUI with pages of it in a real browser: siskin beside it, one Redis, a proxy in front, and as much delay between siskin and its REST as a test wants.

import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, openSync, rmSync } from "node:fs";
import { createServer, request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startRedis } from "../browser/redis.mjs";
import { freePort, secret, sleep, startSiskin, waitFor } from "../harness.mjs";

const BINARY = fileURLToPath(new URL(".venv/bin/open-webui", import.meta.url));
// A slow machine migrates an empty database for a while.
const START = 180;

/** One running Open WebUI: an empty data directory, nothing but loopback, no models. */
class OpenWebui {
  constructor(port, redis, env) {
    this.port = port;
    this.dir = mkdtempSync(join(tmpdir(), "siskin-webui-"));
    mkdirSync(join(this.dir, "data"));
    this.env = {
      PATH: process.env.PATH,
      HOME: this.dir,
      DATA_DIR: join(this.dir, "data"),
      STATIC_DIR: join(this.dir, "static"),
      WEBUI_SECRET_KEY: secret,
      WEBSOCKET_MANAGER: "redis",
      WEBSOCKET_REDIS_URL: redis.url,
      REDIS_URL: redis.url,
      USE_SLIM_DOCKER: "true",
      OFFLINE_MODE: "true",
      ENABLE_OLLAMA_API: "false",
      ENABLE_OPENAI_API: "false",
      BYPASS_EMBEDDING_AND_RETRIEVAL: "true",
      ENABLE_CHANNELS: "true",
      ENABLE_TITLE_GENERATION: "false",
      ENABLE_TAGS_GENERATION: "false",
      ENABLE_FOLLOW_UP_GENERATION: "false",
      DEFAULT_USER_ROLE: "user",
      ENABLE_SIGNUP: "true",
      ANONYMIZED_TELEMETRY: "false",
      DO_NOT_TRACK: "true",
      CORS_ALLOW_ORIGIN: "*",
      ...env,
    };
  }

  async start(env = {}) {
    if (!existsSync(BINARY)) throw new Error("run tests/install.sh first");
    Object.assign(this.env, env);
    const log = openSync(join(this.dir, "log"), "a");
    this.process = spawn(BINARY, ["serve", "--host", "127.0.0.1", "--port", String(this.port)], { env: this.env, cwd: this.dir, stdio: ["ignore", log, log] });
    this.ended = new Promise((resolve) => this.process.once("exit", resolve));
    const healthy = async () => {
      if (this.process.exitCode !== null) throw new Error(this.log());
      return (await fetch(`http://127.0.0.1:${this.port}/health`).catch(() => ({ ok: false }))).ok;
    };
    await waitFor(healthy, { seconds: START, what: "Open WebUI" });
  }

  log = () => readFileSync(join(this.dir, "log"), "utf8").slice(-4000);

  /** A request with a user's token; `path` follows /api/v1. */
  async api(user, method, path, body) {
    const headers = { "content-type": "application/json", ...(user && { authorization: `Bearer ${user.token}` }) };
    const answer = await fetch(`http://127.0.0.1:${this.port}/api/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}\n${this.log()}`);
    return answer.json();
  }

  /** A new user; the first one is the administrator, who lets in the others. */
  async signUp(name) {
    const form = { name, email: `${name}@example.com`, password: `a long enough word for ${name}` };
    if (!this.administrator) return (this.administrator = await this.api(null, "POST", "/auths/signup", form));
    await this.api(this.administrator, "POST", "/auths/add", { ...form, role: "user" });
    return this.api(null, "POST", "/auths/signin", form);
  }

  /** SIGTERM, and SIGKILL for one that waits for somebody. */
  async stop() {
    if (this.process.exitCode === null) this.process.kill("SIGTERM");
    const late = setTimeout(() => this.process.kill("SIGKILL"), 10_000);
    await this.ended;
    clearTimeout(late);
  }

  async close() {
    await this.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Passes HTTP and websockets on to the port that `where(path)` says, half of `delay()` before and half after each request. */
function proxy(where, delay = () => 0) {
  const half = () => (delay() ? sleep(delay() / 2) : undefined);
  const gone = (near) => () => near.destroy();
  const server = createServer(async (asked, answer) => {
    await half();
    const far = request({ host: "127.0.0.1", port: where(asked.url), method: asked.method, path: asked.url, headers: asked.headers }, async (got) => {
      await half();
      answer.writeHead(got.statusCode, got.headers);
      got.on("error", gone(answer)).pipe(answer);
    });
    asked.pipe(far.on("error", gone(answer)));
  });
  server.keepAliveTimeout = 60_000;
  server.on("upgrade", (asked, near, head) => {
    const far = connect(where(asked.url), "127.0.0.1", () => {
      const headers = asked.rawHeaders.flatMap((text, at, all) => (at % 2 ? [] : `${text}: ${all[at + 1]}`));
      far.write(`${asked.method} ${asked.url} HTTP/1.1\r\n${headers.join("\r\n")}\r\n\r\n`);
      far.write(head);
      far.pipe(near).pipe(far);
    });
    near.on("error", gone(far)).on("close", gone(far));
    far.on("error", gone(near)).on("close", gone(near));
  });
  return server;
}

/** All of it. `delay` is how long each of siskin's requests takes longer, in ms; `how` siskin is started (manager). */
export async function startHouse(t, { webui: env = {}, siskin: settings = {}, ...how } = {}) {
  const redis = await startRedis(t);
  const webui = new OpenWebui(await freePort(), redis, env);
  t.after(() => webui.close());
  await webui.start();
  const house = { redis, webui, delay: 0 };
  const late = await listening(t, proxy(() => webui.port, () => house.delay));
  const shared = { WEBSOCKET_MANAGER: "redis", WEBSOCKET_REDIS_URL: redis.url };
  house.siskin = await startSiskin({ env: { ...shared, SISKIN_DIRECTORY: late, SISKIN_LOG: "debug", ...settings }, ...how });
  t.after(async () => {
    await house.siskin.close();
    if (house.siskin.log().match(/eyJ[\w-]{8,}\./)) throw new Error("a token in the log");
  });
  const toSiskin = (path) => path.startsWith("/ws/socket.io");
  /** Where pages find all of it, with their sockets by this port. */
  house.by = (port) => listening(t, proxy((path) => (toSiskin(path) ? port : webui.port)));
  house.url = await house.by(house.siskin.port);
  /** The same house behind another instance of siskin. */
  house.another = async ({ env: more, ...how } = {}) => {
    const siskin = await startSiskin({ env: { ...shared, SISKIN_DIRECTORY: late, SISKIN_LOG: "debug", ...settings, ...more }, ...how });
    t.after(() => siskin.close());
    return { ...house, siskin, url: await house.by(siskin.port) };
  };
  return house;
}

async function listening(t, server) {
  await new Promise((listens) => server.listen(0, "127.0.0.1", listens));
  t.after(() => (server.closeAllConnections(), new Promise((closed) => server.close(closed))));
  return `http://127.0.0.1:${server.address().port}`;
}

/** A user's page at this path, after `prepare(page)`. `heard` and `sent` are the names of the events of its socket, `sockets` its websockets. */
export async function open(t, browser, { url }, user, path, prepare = () => {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 800 } });
  t.after(() => context.close());
  await context.addInitScript((token) => localStorage.setItem("token", token), user.token);
  const page = await context.newPage();
  await prepare(page);
  const [heard, sockets] = [[], []];
  page.on("websocket", (socket) => {
    sockets.push(socket);
    socket.on("framereceived", ({ payload }) => {
      const [, json] = /^42\d*(\[.*)/s.exec(String(payload)) ?? [];
      if (json) heard.push(JSON.parse(json));
    });
  });
  await page.goto(`${url}${path}`, { timeout: 90_000 });
  return { page, heard, sockets, user, events: (name) => heard.filter(([event]) => event === name).map(([, payload]) => payload) };
}
