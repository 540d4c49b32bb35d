// socket.io-client and the two protocol layers alone: whatever goes in comes back the same, over every transport.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import { io } from "socket.io-client";
import { sleep, waitFor } from "../harness.mjs";
import { startConformance } from "./conformance.mjs";

const ways = { websocket: ["websocket"], polling: ["polling"], upgrade: ["polling", "websocket"] };
let server;

before(async () => (server = await startConformance()));
after(async () => {
  assert.ok(server.alive(), "the conformance server died");
  await server.stop();
});

/** A connected socket; ends with the test. */
async function connect(t, transports, nsp = "/", more = {}) {
  const socket = io(server.url + nsp, { transports, forceNew: true, reconnection: false, ...more });
  t.after(() => socket.disconnect());
  await new Promise((resolve, reject) => socket.on("connect", resolve).on("connect_error", reject));
  return socket;
}

/** `ask` with `message-with-ack`, patience included. */
const ask = (socket, ...args) =>
  new Promise((resolve, reject) =>
    socket.timeout(10_000).emit("message-with-ack", ...args, (late, ...back) => (late ? reject(late) : resolve(back))),
  );

const values = [
  [],
  [null],
  [0, -1, 1.5, 1e300, true, false, ""],
  ["grüß gott \u{1f426} \u2028 \u0000 \u001e \" \\ end"],
  [{ deep: [[[{ a: { b: [] } }]]], "": 0 }],
  ["x".repeat(300_000)],
];
const binaries = [
  [Buffer.from([])],
  [Buffer.from([0, 1, 30, 255])],
  [{ a: randomBytes(70_000), b: ["text", randomBytes(3)], c: null }, randomBytes(126), 7],
  // The client itself takes ten attachments of one packet at most.
  [Array.from({ length: 10 }, (_, n) => Buffer.from([n]))],
];

for (const [name, transports] of Object.entries(ways)) {
  test(`${name}: arguments come back the same, by event and by ack`, async (t) => {
    const socket = await connect(t, transports);
    for (const args of [...values, ...binaries]) {
      const back = new Promise((resolve) => socket.once("message-back", (...got) => resolve(got)));
      socket.emit("message", ...args);
      assert.deepEqual(await back, args);
      assert.deepEqual(await ask(socket, ...args), args);
    }
  });

  test(`${name}: five hundred events keep their order, text and binary mixed`, async (t) => {
    const socket = await connect(t, transports);
    const got = [];
    socket.on("message-back", (n) => got.push(Buffer.isBuffer(n) ? n.readUInt32BE() : n));
    for (let n = 0; n < 500; n++) {
      const binary = Buffer.alloc(4);
      binary.writeUInt32BE(n);
      socket.emit("message", n % 3 ? n : binary);
      // Spread over the upgrade, which begins at once and takes some turns.
      if (n % 50 === 0) await sleep(2);
    }
    await waitFor(() => got.length >= 500, { what: "all events" });
    assert.deepEqual(got, Array.from({ length: 500 }, (_, n) => n));
    if (name === "upgrade") await waitFor(() => socket.io.engine.transport.name === "websocket", { what: "upgrade" });
  });

  test(`${name}: stays for many heartbeats`, async (t) => {
    const socket = await connect(t, transports);
    let gone;
    let beats = 0;
    socket.on("disconnect", (reason) => (gone = reason));
    socket.io.on("ping", () => beats++);
    await waitFor(() => beats >= 4 || gone, { what: "four heartbeats" });
    assert.equal(gone, undefined);
    assert.deepEqual(await ask(socket, 1), [1]);
  });
}

test("upgrade: nothing is lost or doubled while it happens, fifty times", async (t) => {
  const play = async () => {
    const socket = await connect(t, ways.upgrade);
    const got = [];
    socket.on("message-back", (n) => got.push(n));
    for (let n = 0; n < 40; n++) {
      socket.emit("message", n);
      await sleep(n % 4);
    }
    await waitFor(() => got.length >= 40, { what: "all events" });
    await ask(socket, "after");
    assert.deepEqual(got, Array.from({ length: 40 }, (_, n) => n));
    assert.equal(socket.io.engine.transport.name, "websocket");
    socket.disconnect();
  };
  for (let round = 0; round < 5; round++) await Promise.all(Array.from({ length: 10 }, play));
});

test("two namespaces share a connection and end one by one", async (t) => {
  const auth = { token: "t", n: [1] };
  const custom = io(`${server.url}/custom`, { auth, transports: ["websocket"], reconnection: false });
  const main = io(server.url, { transports: ["websocket"], reconnection: false });
  t.after(() => (custom.disconnect(), main.disconnect()));
  const first = await new Promise((resolve) => custom.on("auth", resolve));
  assert.deepEqual(first, auth);
  await waitFor(() => main.connected, { what: "the main namespace" });
  assert.equal(main.io, custom.io);
  assert.notEqual(main.id, custom.id);
  custom.disconnect();
  assert.deepEqual(await ask(main, "still here"), ["still here"]);
  custom.connect();
  assert.deepEqual(await new Promise((resolve) => custom.once("auth", resolve)), auth);
});

test("an unknown namespace is refused with the protocol's error", async (t) => {
  await assert.rejects(connect(t, ["websocket"], "/nope"), { message: "Invalid namespace" });
  await assert.rejects(connect(t, ["polling"], "/nope"), { message: "Invalid namespace" });
});

test("a message over maxPayload ends its own connection only", async (t) => {
  for (const transports of [ways.websocket, ways.polling]) {
    const [big, other] = [await connect(t, transports), await connect(t, transports)];
    const gone = new Promise((resolve) => big.on("disconnect", resolve));
    big.emit("message", "x".repeat(1_000_001));
    assert.match(await gone, /transport/);
    assert.deepEqual(await ask(other, 1), [1]);
  }
});
