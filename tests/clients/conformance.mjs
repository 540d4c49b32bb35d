// Starts the conformance server for a test.

import { spawn } from "node:child_process";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort, waitFor } from "../harness.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const server = process.env.CONFORMANCE_BIN ?? join(root, "target/debug/examples/conformance");
const runner = (process.env.SISKIN_RUNNER ?? "").split(" ").filter(Boolean);

/** Its address and how to stop it. It echoes `message` as `message-back` and acknowledges `message-with-ack`. */
export async function startConformance() {
  const port = await freePort();
  // Twenty seconds for a pong: this is not about heartbeats, and the machine may be busy.
  const [command, ...rest] = [...runner, server, String(port), "20000"];
  const child = spawn(command, rest, { stdio: ["ignore", "ignore", "inherit"] });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  await waitFor(() => listens(port), { what: "conformance server" });
  return {
    url: `http://127.0.0.1:${port}`,
    alive: () => child.exitCode === null && child.signalCode === null,
    stop: () => (child.kill("SIGKILL"), ended),
  };
}

function listens(port) {
  return new Promise((resolve) => {
    const probe = connect(port, "127.0.0.1");
    probe.on("connect", () => (probe.destroy(), resolve(true))).on("error", () => resolve(false));
  });
}
