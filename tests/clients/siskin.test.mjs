// socket.io-client and the whole product: transports, signing in, questions, restarts, refusals.

import assert from "node:assert/strict";
import { test } from "node:test";
import { io } from "socket.io-client";
import { sleep, startSiskin, waitFor } from "../harness.mjs";

const path = "/ws/socket.io";
const ways = { websocket: ["websocket"], polling: ["polling"], upgrade: ["polling", "websocket"] };

async function start(t, env) {
  const siskin = await startSiskin({ env });
  t.after(() => siskin.close());
  return siskin;
}

/** A socket that begins to connect; ends with the test. */
function open(t, siskin, transports, user = "ann", more = {}) {
  const auth = user ? { token: siskin.token(user) } : undefined;
  const socket = io(siskin.url, { path, transports, auth, forceNew: true, reconnection: false, ...more });
  socket.heard = [];
  socket.onAny((name, ...args) => socket.heard.push([name, ...args]));
  t.after(() => socket.disconnect());
  return socket;
}

/** Resolves with the socket when it is connected. */
const connected = (socket) =>
  new Promise((resolve, reject) => socket.once("connect", () => resolve(socket)).once("connect_error", reject));

const join = (siskin, socket, user = "ann") =>
  socket.timeout(5000).emitWithAck("user-join", { auth: { token: siskin.token(user) } });

const until = (socket, event) => new Promise((resolve) => socket.once(event, (...args) => resolve(args)));

for (const [name, transports] of Object.entries(ways)) {
  test(`${name}: signs in, takes a stream, answers a question, leaves`, async (t) => {
    const siskin = await start(t);
    const socket = await connected(open(t, siskin, transports));
    assert.deepEqual(await join(siskin, socket), { id: "ann", name: "ann" });

    const lines = Array.from({ length: 100 }, (_, n) => JSON.stringify({ type: "message", data: { content: `${n} ` } }));
    const answer = await fetch(`${siskin.url}/api/v1/chat/stream?user_id=ann&chat_id=local:c&message_id=m`, {
      method: "POST",
      headers: { authorization: `Bearer ${siskin.apiKey}`, "content-type": "application/x-ndjson" },
      body: lines.join("\n"),
    });
    assert.equal(answer.status, 200, await answer.clone().text());
    await waitFor(() => socket.heard.length === 100, { what: "the whole answer" });
    const words = socket.heard.map(([event, { chat_id, message_id, data }]) => {
      assert.deepEqual([event, chat_id, message_id, data.type], ["events", "local:c", "m", "message"]);
      return data.data.content;
    });
    assert.equal(words.join(""), lines.map((_, n) => `${n} `).join(""));

    socket.on("events", ({ data }, reply) => data.type === "execute:tool" && reply({ result: [data.data.x, "ß"] }));
    const question = { user_id: "ann", session_id: socket.id, chat_id: "c", message_id: "m" };
    const event = { type: "execute:tool", data: { x: 1 } };
    assert.deepEqual(await siskin.api("POST", "/chat/call", { ...question, event }), { answer: { result: [1, "ß"] } });

    if (name === "upgrade") await waitFor(() => socket.io.engine.transport.name === "websocket", { what: "upgrade" });
    socket.disconnect();
    await waitFor(async () => (await siskin.api("GET", "/sessions")).sessions.length === 0, { what: "the session's end" });
  });

  test(`${name}: comes back by itself after a restart and after a crash`, async (t) => {
    const siskin = await start(t);
    const more = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 };
    const socket = await connected(open(t, siskin, transports, "ann", more));
    await join(siskin, socket);
    for (const end of ["stop", "kill"]) {
      const [before, gone, back] = [socket.id, until(socket, "disconnect"), until(socket, "connect")];
      await siskin[end]();
      assert.match((await gone)[0], /^transport/);
      await siskin.start();
      await back;
      assert.notEqual(socket.id, before);
      assert.deepEqual(await join(siskin, socket), { id: "ann", name: "ann" });
      await siskin.api("POST", "/emit", { user_id: "ann", event: "hello", data: end });
      await waitFor(() => socket.heard.some(([event, data]) => event === "hello" && data === end), { what: "hello" });
    }
  });

  test(`${name}: what was emitted while away arrives once it is back`, async (t) => {
    const siskin = await start(t);
    const more = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 };
    const socket = await connected(open(t, siskin, transports, "ann", more));
    const gone = until(socket, "disconnect");
    await siskin.stop();
    await gone;
    const waiting = join(siskin, socket);
    await siskin.start();
    assert.deepEqual(await waiting, { id: "ann", name: "ann" });
  });

  test(`${name}: the server's disconnect is final`, async (t) => {
    const siskin = await start(t);
    const socket = await connected(open(t, siskin, transports, "ann", { reconnection: true, reconnectionDelay: 10 }));
    await join(siskin, socket);
    const gone = until(socket, "disconnect");
    await siskin.api("DELETE", "/users/ann/sessions");
    assert.equal((await gone)[0], "io server disconnect");
    await sleep(300);
    assert.equal(socket.connected, false);
  });
}

test("without websockets: a default client stays with polling, a websocket client is refused", async (t) => {
  const siskin = await start(t, { ENABLE_WEBSOCKET_SUPPORT: "false" });
  const socket = await connected(open(t, siskin, ways.upgrade));
  await join(siskin, socket);
  await sleep(300);
  assert.equal(socket.io.engine.transport.name, "polling");
  assert.deepEqual(await join(siskin, socket), { id: "ann", name: "ann" });
  await assert.rejects(connected(open(t, siskin, ways.websocket)), { message: "websocket error" });
});

test("websockets only: a default client falls over to them when told to, a polling client is refused", async (t) => {
  const siskin = await start(t, { SISKIN_TRANSPORTS: "websocket" });
  await assert.rejects(connected(open(t, siskin, ways.polling)), { message: "xhr poll error" });
  const socket = await connected(open(t, siskin, ways.upgrade, "ann", { tryAllTransports: true }));
  assert.equal(socket.io.engine.transport.name, "websocket");
  assert.deepEqual(await join(siskin, socket), { id: "ann", name: "ann" });
});

test("anybody may connect, but without a good token nothing is heard or answered", async (t) => {
  const siskin = await start(t);
  const nobody = await connected(open(t, siskin, ways.websocket, null));
  const forged = open(t, siskin, ways.websocket, "ann", { auth: { token: `${siskin.token("ann")}x` } });
  await connected(forged);
  await siskin.api("POST", "/emit", { user_id: "ann", event: "secret", data: 1 });
  for (const socket of [nobody, forged]) {
    await assert.rejects(socket.timeout(300).emitWithAck("events:chat", { chat_id: "c", data: { type: "leave" } }));
    assert.deepEqual(socket.heard, []);
    assert.equal(socket.connected, true);
  }
  // The token may come later, with user-join.
  assert.deepEqual(await join(siskin, nobody), { id: "ann", name: "ann" });
});

test("another namespace is refused, the connection lives on", async (t) => {
  const siskin = await start(t);
  const socket = io(siskin.url, { path, transports: ["websocket"], auth: { token: siskin.token("ann") }, reconnection: false });
  const admin = io(`${siskin.url}/admin`, { path, transports: ["websocket"], reconnection: false });
  t.after(() => (admin.disconnect(), socket.disconnect()));
  await assert.rejects(connected(admin));
  await waitFor(() => socket.connected, { what: "the main namespace" });
  assert.deepEqual(await join(siskin, socket), { id: "ann", name: "ann" });
});

test("a question waits for the one it was put to: gone, late, another's, unknown", async (t) => {
  const siskin = await start(t);
  const ann = await connected(open(t, siskin, ways.websocket));
  const bob = await connected(open(t, siskin, ways.polling, "bob"));
  await join(siskin, ann);
  await join(siskin, bob, "bob");
  const event = { type: "execute:tool", data: {} };
  const put = (user_id, session_id, timeout = 30) =>
    siskin.api("POST", "/chat/call", { user_id, session_id, chat_id: "c", event, timeout }, { raw: true });
  assert.equal((await put("ann", ann.id, 0.2)).status, 504);
  assert.equal((await put("ann", bob.id)).status, 403);
  assert.equal((await put("ann", "AAAAAAAAAAAAAAAAAAAA")).status, 404);
  for (const [user, socket] of [["ann", ann], ["bob", bob]]) {
    const began = Date.now();
    const asked = until(socket, "events");
    const answer = put(user, socket.id);
    await asked;
    socket.disconnect();
    assert.equal((await answer).status, 410);
    assert.ok(Date.now() - began < 5000, "at once, not at the timeout");
  }
});
