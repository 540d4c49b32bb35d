// Questions of a backend to the unchanged socket.io-client, when its connection is lost before it has answered.

import assert from "node:assert/strict";
import { test } from "node:test";
import { io } from "socket.io-client";
import WebSocket from "ws";
import { startSiskin, waitFor } from "../harness.mjs";
import { layCable } from "./cable.mjs";

const path = "/ws/socket.io";
const ways = { websocket: ["websocket"], polling: ["polling"], upgrade: ["polling", "websocket"] };

async function start(t, env) {
  const siskin = await startSiskin({ env });
  t.after(() => siskin.close());
  return [siskin, await layCable(t, siskin.port)];
}

const once = (socket, event) => new Promise((resolve, reject) => socket.once(event, resolve).once("connect_error", reject));

/** A client that is connected, and what it is asked. */
async function open(t, siskin, cable, { user = "ann", transports = ["websocket"], ...more } = {}) {
  const token = siskin.token(user);
  const socket = io(cable.url, { path, transports, auth: { token }, forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 50, extraHeaders: { "Sec-Fetch-Mode": "websocket" }, ...more });
  t.after(() => socket.disconnect());
  socket.asked = [];
  socket.done = [];
  socket.on("events", ({ data }, reply) => {
    if (data.type === "request:interaction:done") socket.done.push(data.data.interaction_id);
    else if (typeof reply === "function") socket.asked.push({ ...data, reply });
  });
  socket.connects = 0;
  socket.on("connect", () => socket.connects++);
  await once(socket, "connect");
  await socket.timeout(5000).emitWithAck("user-join", { auth: { token } });
  return socket;
}

const put = (siskin, socket, event = {}, more = {}) =>
  siskin.api("POST", "/chat/call", { user_id: "ann", session_id: socket.id, chat_id: "local:c", event: { type: "execute:tool", data: {}, ...event }, timeout: 20, ...more }, { raw: true });
const answered = async (asking) => [(await asking).status, (await (await asking).json()).answer];
const isAsked = (socket, times) => waitFor(() => socket.asked.length === times, { what: `question ${times}` });
const away = async (siskin) => Number((await (await fetch(`${siskin.url}/metrics`)).text()).match(/^siskin_away_sessions (\d+)/m)[1]);
const isAway = (siskin, count = 1) => waitFor(async () => (await away(siskin)) === count, { what: `${count} away` });

async function cutDuring(siskin, cable, socket, meanwhile = () => {}) {
  const { connects } = socket;
  // Of a client that polls nobody tells the server that it is gone.
  const heard = socket.io.engine.transport.name === "websocket";
  const gone = new Promise((resolve) => socket.once("disconnect", resolve));
  cable.broken = true;
  cable.cut();
  await gone;
  if (heard) await isAway(siskin);
  await meanwhile();
  cable.broken = false;
  await waitFor(() => socket.connects > connects, { what: "the client back" });
}

for (const [name, transports] of Object.entries(ways)) {
  test(`${name}: what was asked is asked again, in order, and who asked does not notice`, async (t) => {
    const [siskin, cable] = await start(t);
    const socket = await open(t, siskin, cable, { transports });
    const asking = [];
    for (const n of [0, 1, 2]) {
      asking.push(put(siskin, socket, { data: { n } }));
      await isAsked(socket, n + 1);
    }
    socket.asked[1].reply("before");
    assert.deepEqual(await answered(asking[1]), [200, "before"]);
    for (const times of [5, 7]) {
      await cutDuring(siskin, cable, socket);
      assert.equal(socket.recovered, true);
      await isAsked(socket, times);
      assert.deepEqual(socket.asked.slice(-2).map(({ data }) => data.n), [0, 2]);
    }
    socket.asked[5].reply("zero");
    socket.asked[6].reply("two");
    assert.deepEqual(await Promise.all([asking[0], asking[2]].map(answered)), [[200, "zero"], [200, "two"]]);
    // What is answered is not asked again.
    await cutDuring(siskin, cable, socket);
    await socket.timeout(5000).emitWithAck("heartbeat", {});
    assert.equal(socket.asked.length, 7);
  });
}

test("an answer to the first time counts, and one that is given while the client connects breaks nothing", async (t) => {
  const [siskin, cable] = await start(t);
  const socket = await open(t, siskin, cable);
  const asking = [put(siskin, socket)];
  await isAsked(socket, 1);
  asking.push(put(siskin, socket));
  await isAsked(socket, 2);
  // Its next connection is there, and CONNECT is not: the client writes the answer before it.
  socket.io.once("reconnect_attempt", () => setTimeout(() => socket.io.engine.on("handshake", () => socket.asked[0].reply("too early"))));
  await cutDuring(siskin, cable, socket);
  await isAsked(socket, 4);
  assert.equal(socket.recovered, true);
  socket.asked[1].reply("in time");
  socket.asked[3].reply("too late");
  socket.asked[2].reply("again");
  assert.deepEqual(await Promise.all(asking.map(answered)), [[200, "again"], [200, "in time"]]);
});

test("who does not come back: given up, rights ended, own word, closed page, no time", async (t) => {
  const [siskin, cable] = await start(t, { SISKIN_RECOVERY_SECONDS: "1" });
  const ends = {
    "given up": [410, () => cable.cut()],
    "its sessions are ended": [410, async () => (cable.cut(), await isAway(siskin), await siskin.api("DELETE", "/users/ann/sessions"))],
    "it says so": [410, (socket) => socket.disconnect()],
    "its time is over": [504, () => cable.cut(), 0.3],
    "another connection takes its place and is refused": [410, async (socket) => {
      const { _pid, _lastOffset, auth } = socket;
      cable.cut();
      await isAway(siskin);
      const other = io(siskin.url, { path, transports: ["websocket"], forceNew: true, auth: { ...auth, token: siskin.token("bob"), pid: _pid, offset: _lastOffset }, extraHeaders: { "Sec-Fetch-Mode": "websocket" } });
      t.after(() => other.disconnect());
      await once(other, "connect");
    }],
  };
  for (const [what, [status, end, timeout = 20]] of Object.entries(ends)) {
    const socket = await open(t, siskin, cable, { reconnection: false });
    const asking = put(siskin, socket, {}, { timeout });
    await isAsked(socket, 1);
    await end(socket);
    assert.deepEqual([what, (await asking).status], [what, status]);
    await isAway(siskin, 0);
  }
});

test("a page that is closed is not waited for, though it may be shown again", async (t) => {
  const [siskin] = await start(t);
  const connect = async (auth) => {
    const socket = new WebSocket(`${siskin.url.replace("http", "ws")}${path}/?EIO=4&transport=websocket`, { headers: { "Sec-Fetch-Mode": "websocket" } });
    t.after(() => socket.close());
    const said = [];
    socket.on("message", (data) => said.push(`${data}`));
    await waitFor(() => said.length, { what: "the open packet" });
    socket.send(`40${JSON.stringify({ token: siskin.token("ann"), ...auth })}`);
    const answer = await waitFor(() => said.find((packet) => packet.startsWith("40")), { what: "CONNECT" });
    return { socket, said, ...JSON.parse(answer.slice(2)) };
  };
  const page = await connect();
  await waitFor(async () => (await siskin.api("GET", "/sessions")).sessions.length, { what: "its session" });
  const asking = put(siskin, { id: page.sid });
  await waitFor(() => page.said.some((packet) => packet.startsWith("42")), { what: "the question" });
  page.socket.close(1001);
  assert.equal((await asking).status, 410);
  const again = await connect({ pid: page.pid });
  assert.equal(again.sid, page.sid);
});

test("nobody who has given up asking is asked for again", async (t) => {
  const [siskin, cable] = await start(t);
  const socket = await open(t, siskin, cable);
  const given = new AbortController();
  const headers = { authorization: `Bearer ${siskin.apiKey}`, "content-type": "application/json" };
  const body = JSON.stringify({ user_id: "ann", session_id: socket.id, chat_id: "local:c", event: { type: "execute:tool" } });
  const asking = fetch(`${siskin.url}/api/v1/chat/call`, { method: "POST", headers, body, signal: given.signal }).catch(() => "given up");
  await isAsked(socket, 1);
  await cutDuring(siskin, cable, socket, async () => {
    given.abort();
    assert.equal(await asking, "given up");
    // siskin waits two seconds for who has closed its side.
    await new Promise((resolve) => setTimeout(resolve, 3000));
  });
  const asked = put(siskin, socket, { data: "next" });
  await isAsked(socket, 2);
  assert.equal(socket.asked[1].data, "next");
  socket.asked[0].reply("to nobody");
  socket.asked[1].reply("to the next");
  assert.deepEqual(await answered(asked), [200, "to the next"]);
});

test("a question to a person comes back to its session, saved chat or not, open or not; or at once to another that has it open", async (t) => {
  const [siskin, cable] = await start(t);
  await siskin.api("PUT", "/chats/saved", { user_id: "ann", title: "S" });
  const socket = await open(t, siskin, cable);
  for (const chat_id of ["saved", "temporary:x"]) {
    const before = socket.asked.length;
    const asking = put(siskin, socket, { type: "confirmation" }, { chat_id });
    await isAsked(socket, before + 1);
    await cutDuring(siskin, cable, socket);
    await isAsked(socket, before + 2);
    assert.equal(socket.asked[before].data.interaction_id, socket.asked[before + 1].data.interaction_id);
    socket.asked[before + 1].reply(true);
    assert.deepEqual([chat_id, ...(await answered(asking))], [chat_id, 200, true]);
    await waitFor(() => socket.done.includes(socket.asked[before].data.interaction_id), { what: "its end" });
  }
  const other = await open(t, siskin, { url: siskin.url });
  const asking = put(siskin, socket, { type: "input" }, { chat_id: "saved" });
  await isAsked(socket, 5);
  await cutDuring(siskin, cable, socket, async () => {
    await other.timeout(5000).emitWithAck("events:chat", { chat_id: "saved", data: { type: "join" } });
    await isAsked(other, 1);
    other.asked[0].reply("here");
    assert.deepEqual(await answered(asking), [200, "here"]);
  });
  await socket.timeout(5000).emitWithAck("heartbeat", {});
  assert.equal(socket.asked.length, 5);
});

test("meanwhile others see that it left, and that it is back; models count while they are used", async (t) => {
  const [siskin, cable] = await start(t);
  await siskin.api("PUT", "/chats/shared", { user_id: "ann", title: "S", access_grants: [{ principal_type: "user", principal_id: "bob", permission: "read" }] });
  const [ann, bob] = [await open(t, siskin, cable), await open(t, siskin, { url: siskin.url }, { user: "bob" })];
  const present = [];
  bob.on("events", ({ data }) => data.type === "chat:presence" && present.push(data.data.users.map(({ id }) => id).join()));
  for (const socket of [ann, bob]) assert.equal(await socket.timeout(5000).emitWithAck("events:chat", { chat_id: "shared", data: { type: "join" } }), true);
  const models = async () => (await siskin.api("GET", "/models")).models;
  ann.emit("usage", { model: "m" });
  await waitFor(async () => (await models()).length, { what: "a model in use" });
  await waitFor(() => present.at(-1) === "ann,bob", { what: "both" });
  const asking = put(siskin, ann);
  await isAsked(ann, 1);
  await cutDuring(siskin, cable, ann, async () => {
    await waitFor(() => present.at(-1) === "bob", { what: "Ann's leave" });
    assert.deepEqual(await models(), []);
  });
  await waitFor(() => present.at(-1) === "ann,bob", { what: "Ann again" });
  await isAsked(ann, 2);
  ann.asked[1].reply(1);
  assert.deepEqual(await answered(asking), [200, 1]);
});

test("a server that goes down answers who asks, at once", async (t) => {
  const [siskin, cable] = await start(t);
  const [gone, here] = [await open(t, siskin, cable, { reconnection: false }), await open(t, siskin, { url: siskin.url }, { reconnection: false })];
  const asking = [gone, here].map((socket) => put(siskin, socket));
  await Promise.all([gone, here].map((socket) => isAsked(socket, 1)));
  cable.cut();
  await isAway(siskin);
  const stopped = siskin.stop();
  assert.deepEqual((await Promise.all(asking)).map(({ status }) => status), [410, 410]);
  await stopped;
});
