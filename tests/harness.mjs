// Starts the real binary for a test, and stops it by its pid.

import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const binary = process.env.SISKIN_BIN ?? join(root, "target/debug/siskin");
// What stands before the binary on the command line: qemu for one of another architecture.
const runner = (process.env.SISKIN_RUNNER ?? "").split(" ").filter(Boolean);
export const secret = "test-secret-that-is-long-enough-for-anybody";
export const apiKey = "test-key-that-is-long-enough-for-anybody";

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// The ports of this test step (tests/run.py); by default all below those that the system gives to outgoing connections: what
// restarts finds its port free again. Processes of one step begin at different ones.
const [firstPort, ports] = (process.env.TEST_PORTS ?? "10000 22000").split(" ").map(Number);
let portNumber = process.pid * 101;

/** A port that nobody listens on now, and that this process did not use before, unless it used them all. */
export async function freePort() {
  for (;;) {
    const port = firstPort + (portNumber++ % ports);
    if (await isFree(port)) return port;
  }
}

function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer().on("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** Waits until `condition()` is true and returns what it returned. */
export async function waitFor(condition, { seconds = 30, what = "condition" } = {}) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const result = await condition();
    if (result) return result;
    if (Date.now() > end) throw new Error(`no ${what} after ${seconds} s`);
    await sleep(10);
  }
}

const part = (data) => Buffer.from(JSON.stringify(data)).toString("base64url");

/** A token as Open WebUI signs them; further claims (exp, nbf, iat, jti) in `claims`. */
export function token(id, name = id, role = "user", claims = {}) {
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part({ id, name, role, ...claims })}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

/** One running instance. `env` holds its settings; `port` and `dataDir` keep those of an earlier one; `under` starts it (manager). */
export async function startSiskin({ env = {}, port, dataDir, under = [] } = {}) {
  const instance = new Siskin(env, port ?? (await freePort()), dataDir);
  instance.under = under;
  await instance.start();
  return instance;
}

/**
 * A service manager that keeps sockets for the next process, the one that listens among them (unless not `listens`), and the folder in which one leaves its sessions to
 * it: what `startSiskin` is to get.
 */
export async function manager(t, { listens = true } = {}) {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "siskin-manager-"));
  const command = ["python3", join(root, "tests/kept.py")];
  const holder = spawn(command[0], [command[1], "hold", folder, ...(listens ? [String(port)] : [])], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => (holder.kill(), rmSync(folder, { recursive: true, force: true })));
  await new Promise((holds) => holder.stdout.once("data", holds));
  const forget = () => new Promise((done) => spawn(command[0], [command[1], "forget", folder], { stdio: "inherit" }).once("exit", done));
  return { port, forget, env: { RUNTIME_DIRECTORY: join(folder, "run") }, under: [...command, "start", folder] };
}

class Siskin {
  constructor(env, port, dataDir) {
    this.port = port;
    this.ownDir = dataDir ? undefined : mkdtempSync(join(tmpdir(), "siskin-test-"));
    this.dataDir = dataDir ?? this.ownDir;
    this.url = `http://127.0.0.1:${port}`;
    this.apiKey = apiKey;
    this.lines = "";
    const ours = /^(SISKIN_|WEBUI_|WEBSOCKET_|REDIS_|RUNTIME_DIRECTORY)/;
    const inherited = Object.entries(process.env).filter(([name]) => !ours.test(name));
    this.env = {
      ...Object.fromEntries(inherited),
      WEBUI_SECRET_KEY: secret,
      SISKIN_API_KEY: apiKey,
      SISKIN_LISTEN: `127.0.0.1:${port}`,
      SISKIN_DATA_DIR: this.dataDir,
      SISKIN_TRUST_TOKEN_CLAIMS: "true",
      ...env,
    };
  }

  /** Starts the binary and waits until it accepts connections. */
  async start() {
    const before = this.lines.length;
    const [command, ...rest] = [...this.under, ...runner, binary, "serve"];
    this.process = spawn(command, rest, { env: this.env, stdio: ["ignore", "ignore", "pipe"] });
    this.ended = new Promise((resolve) => this.process.once("close", (code, signal) => resolve(code ?? signal)));
    this.process.stderr.on("data", (data) => (this.lines += data));
    await waitFor(() => this.#listens(), { seconds: 30, what: "listening siskin" });
    // A socket that is kept for it listens all the time.
    const says = () => this.lines.includes("listens on", before);
    if (this.under.length) await waitFor(says, { seconds: 30, what: "siskin itself" });
  }

  #listens() {
    if (this.process.exitCode !== null) throw new Error(`siskin ended with ${this.process.exitCode}:\n${this.lines}`);
    return new Promise((resolve) => {
      const probe = connect(this.port, "127.0.0.1");
      probe.on("connect", () => (probe.destroy(), resolve(true))).on("error", () => resolve(false));
    });
  }

  get pid() {
    return this.process.pid;
  }

  /** Everything on stderr so far. */
  log() {
    return this.lines;
  }

  token(...args) {
    return token(...args);
  }

  /** A request to the HTTP API; `path` follows /api/v1. Returns the parsed body, or throws. */
  async api(method, path, body, { raw = false } = {}) {
    const headers = { authorization: `Bearer ${apiKey}`, "content-type": "application/json" };
    const answer = await fetch(`${this.url}/api/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
    if (raw) return answer;
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : undefined;
  }

  /** SIGTERM; throws unless the exit code is 0. */
  async stop() {
    if (this.process.exitCode === null && this.process.signalCode === null) this.process.kill("SIGTERM");
    const code = await this.ended;
    if (code !== 0 && code !== "SIGKILL") throw new Error(`siskin ended with ${code}:\n${this.lines}`);
  }

  /** SIGKILL. */
  async kill() {
    this.process.kill("SIGKILL");
    await this.ended;
  }

  async restart() {
    await this.stop();
    await this.start();
  }

  /** The end of a test: stopped, cleaned up, and no panic in its log. */
  async close() {
    await this.stop();
    if (this.ownDir) rmSync(this.ownDir, { recursive: true, force: true });
    if (this.lines.includes("panic")) throw new Error(this.lines);
  }
}
