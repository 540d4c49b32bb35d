// A full house on 512 MB: as many connections as siskin takes, unfinished messages, documents, and clients who read nothing. It refuses, and is
// never killed.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { io } from "socket.io-client";
import { sleep, waitFor } from "../harness.mjs";
import { figure, print } from "./figures.mjs";
import { Pi, machineName, release } from "./machine.mjs";

const options = { timeout: 2 * 3600_000 };
const pi = new Pi("crowd", { memory: "512M" });
const MIB = 1 << 20;
let honest;
let pid;

before(async () => {
  await pi.start();
  const files = readdirSync(release).filter((name) => /_arm64\.deb$/.test(name));
  await pi.copy(files.map((name) => join(release, name)), "siskin");
  await pi.run("sudo dpkg -i siskin/*.deb");
  // The emulator's network has one address for all.
  await pi.open("SISKIN_MAX_CONNECTIONS_PER_ADDRESS=100000");
  pid = await pi.property("MainPID");
  const socket = io(pi.url, { path: "/ws/socket.io", auth: { token: pi.token("honest") }, transports: ["websocket"], timeout: 120_000 });
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("connect_error", reject));
  honest = socket;
}, options);

after(async () => {
  print();
  honest?.disconnect();
  await pi.close();
});

/** The honest one is served all the same; it is the same process, and nothing was killed. */
async function allIsWell(what) {
  const began = Date.now();
  await honest.timeout(300_000).emitWithAck("user-join", { auth: { token: pi.token("honest") } });
  const took = Date.now() - began;
  const group = "/sys/fs/cgroup/system.slice/siskin.service";
  const said = await pi.run(`cat ${group}/memory.current ${group}/memory.max; awk '/^oom_kill / {print $2}' ${group}/memory.events; awk '/^VmRSS/ {print $2}' /proc/${pid}/status; awk '/^MemAvailable/ {print $2}' /proc/meminfo`);
  const [current, most, killed, rss, available] = said.trim().split("\n").map(Number);
  assert.deepEqual([await pi.property("MainPID"), await pi.property("NRestarts"), killed], [pid, "0", 0], await pi.run("sudo journalctl -n 20 --no-pager"));
  const mib = (bytes) => (bytes / MIB).toFixed(0);
  figure(what, `${mib(rss * 1024)} MiB RSS; with the kernel's ${mib(current)} of ${mib(most)} MiB; ${mib(available * 1024)} left to the machine; an answer in ${took} ms`);
}

const masked = (text, opcode = 1) => {
  const length = Buffer.byteLength(text);
  const head = length < 126 ? [0x80 | length] : length < 65536 ? [0xfe, length >> 8, length & 255] : [0xff, 0, 0, 0, 0, length >>> 24, (length >> 16) & 255, (length >> 8) & 255, length & 255];
  return Buffer.concat([Buffer.from([0x80 | opcode, ...head, 0, 0, 0, 0]), Buffer.from(text)]);
};

/** A websocket of few bytes, connected to the namespace; `undefined` if it is refused. */
function open(user) {
  return new Promise((resolve) => {
    const socket = connect(pi.port, "127.0.0.1");
    let text = "";
    const refused = () => (socket.destroy(), resolve(undefined));
    socket.on("error", refused).on("close", refused);
    socket.on("data", (data) => {
      text += data.toString("latin1");
      if (!text.startsWith("HTTP/1.1 101") && text.includes("\r\n\r\n")) refused();
      if (text.includes('40{"sid"')) (socket.removeAllListeners("data"), resolve(socket.resume()));
    });
    const head = ["GET /ws/socket.io/?EIO=4&transport=websocket HTTP/1.1", "Host: pi", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="];
    socket.write(`${head.join("\r\n")}\r\n\r\n`);
    socket.write(masked(`40${JSON.stringify({ token: pi.token(user) })}`));
  });
}

test("at rest", options, async () => {
  const size = await pi.run("free -m | awk '/Mem/ {print $2}'");
  await allIsWell(`512 MB (${machineName} with mem=512M: ${size.trim()} MiB): at rest`);
});

test("clients who read nothing are closed when there is no room for what waits", options, async () => {
  const readers = [];
  for (let n = 0; n < 64; n += 1) {
    const socket = await open(`slow${n}`);
    assert.ok(socket);
    socket.pause();
    readers.push(socket);
  }
  // A backend on the machine itself: 900 kB to each, eight times, 450 MB in all.
  const script = `key=$(sudo cat /etc/siskin/credentials/SISKIN_API_KEY)
head -c 900000 /dev/zero | tr '\\0' x >/tmp/text
for round in 1 2 3 4 5 6 7 8; do for n in $(seq 0 63); do
{ printf '{"event":"news","user_id":"slow%s","data":"' $n; cat /tmp/text; printf '"}'; } |
curl -s -o /dev/null -X POST -H "Authorization: Bearer $key" -H 'Content-Type: application/json' --data-binary @- http://127.0.0.1:8380/api/v1/emit
done; done`;
  await pi.run("sh", { input: script });
  const closed = await pi.metric("siskin_outbox_overflows_total");
  await allIsWell(`64 clients who read nothing, 450 MB for them, ${closed} closed`);
  assert.ok(closed > 0);
  for (const socket of readers) socket.destroy();
});

test("documents are refused when there is no room", options, async () => {
  const sockets = [];
  const text = "x".repeat(1_900_000);
  const acks = [];
  for (let n = 0; n < 24; n += 1) {
    const user = `writer${n}`;
    const socket = io(pi.url, { path: "/ws/socket.io", auth: { token: pi.token(user) }, transports: ["websocket"], timeout: 120_000, forceNew: true });
    await new Promise((resolve, reject) => socket.once("connect", resolve).once("connect_error", reject));
    const { update } = await bigUpdate(text);
    socket.emit("ydoc:document:join", { document_id: `doc-${n}`, user_id: user });
    socket.emit("ydoc:document:update", { document_id: `doc-${n}`, user_id: user, update: [...update] });
    acks.push(socket.timeout(600_000).emitWithAck("heartbeat", {}).catch(() => {}));
    await Promise.race([acks.at(-1), sleep(60_000)]);
    sockets.push(socket);
  }
  const log = await pi.run("sudo journalctl -o cat --no-pager -b -u siskin");
  await allIsWell(`24 documents of 1.9 MB, ${/SISKIN_DOCUMENTS_BYTES/.test(log) ? "the last of them refused" : "all taken"}`);
  for (const socket of sockets) socket.disconnect();
});

async function bigUpdate(text) {
  const Y = await import("yjs");
  const doc = new Y.Doc();
  doc.getText("text").insert(0, text);
  return { update: Y.encodeStateAsUpdate(doc) };
}

test("connections are refused over the limit, also with unfinished messages from many", options, async () => {
  const sockets = [];
  let refused = 0;
  const opening = async (number) => {
    for (let n = 0; refused < 16; n += 1) {
      const socket = await open(`many${number}-${n}`);
      if (socket) sockets.push(socket);
      else refused += 1;
    }
  };
  await Promise.all(Array.from({ length: 16 }, (_, number) => opening(number)));
  await allIsWell(`${sockets.length} websockets, all further ones refused`);
  // The beginning of a message of 8 MB from each of 200: 100 kB of it.
  const begun = Buffer.concat([Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0, 0x7f, 0, 0, 0, 0, 0, 0]), Buffer.alloc(100_000, 120)]);
  for (const socket of sockets.slice(0, 400)) socket.on("error", () => {}).write(begun);
  await waitFor(async () => (await pi.metric("siskin_input_bytes")) > 10 * MIB || sleep(500), { seconds: 300, what: "unfinished input" });
  await allIsWell(`and 400 unfinished messages of 100 kB`);
  for (const socket of sockets) socket.destroy();
});
