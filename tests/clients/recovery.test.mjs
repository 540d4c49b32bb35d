// The unchanged socket.io-client loses its connection and misses nothing; each known fault of node's server by its number.

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { io } from "socket.io-client";
import WebSocket from "ws";
import { sleep, startSiskin, waitFor } from "../harness.mjs";
import { layCable } from "./cable.mjs";

const path = "/ws/socket.io";
const ways = { websocket: ["websocket"], polling: ["polling"], upgrade: ["polling", "websocket"] };
const browser = { "Sec-Fetch-Mode": "websocket" };

async function start(t, env) {
  const siskin = await startSiskin({ env });
  t.after(() => siskin.close());
  return [siskin, await layCable(t, siskin.port)];
}

/** A client that is connected and hears `news` without their numbers. */
async function open(t, siskin, cable, { user = "ann", token = siskin.token(user), transports = ["websocket"], auth, ...more } = {}) {
  const options = { path, transports, auth: { token, ...auth }, forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 50, extraHeaders: browser, ...more };
  const socket = io(cable.url, options);
  t.after(() => socket.disconnect());
  socket.news = [];
  socket.on("news", (data) => socket.news.push(data));
  socket.connects = 0;
  socket.on("connect", () => socket.connects++);
  await once(socket, "connect");
  await socket.timeout(5000).emitWithAck("user-join", { auth: { token } });
  return socket;
}

const once = (socket, event) => new Promise((resolve, reject) => socket.once(event, resolve).once("connect_error", reject));
const tell = (siskin, data, to = { user_id: "ann" }) => siskin.api("POST", "/emit", { event: "news", data, ...to });
const hears = (socket, news) => waitFor(() => socket.news.length >= news.length, { what: `${news}` }).then(() => assert.deepEqual(socket.news, news));
const range = (from, to) => Array.from({ length: to - from }, (_, n) => from + n);
const isAway = (siskin, count = 1) => waitFor(async () => (await metric(siskin, "siskin_away_sessions")) === count, { what: "a session that is away" });

async function metric(siskin, name) {
  const text = await (await fetch(`${siskin.url}/metrics`)).text();
  const line = text.split("\n").find((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
  return line ? Number(line.split(" ").at(-1)) : 0;
}

/** Cuts, lets `meanwhile` happen while nobody is there, and waits until the client is back. */
async function cutDuring(siskin, cable, socket, meanwhile = () => {}) {
  const [gone, back] = [once(socket, "disconnect"), socket.connects];
  cable.broken = true;
  cable.cut();
  await gone;
  // Nobody tells it that there will be no further poll.
  if (socket.io.opts.transports.includes("websocket")) await isAway(siskin);
  await meanwhile();
  cable.broken = false;
  await waitFor(() => socket.connects > back, { what: "the client back" });
}

for (const [name, transports] of Object.entries(ways)) {
  test(`${name}: what is missed comes once and in order, with the same sid; again and again (4880)`, async (t) => {
    const [siskin, cable] = await start(t);
    const socket = await open(t, siskin, cable, { transports });
    const sid = socket.id;
    await tell(siskin, 0);
    await hears(socket, [0]);
    for (const round of range(0, 3)) {
      const before = socket.news.length;
      await cutDuring(siskin, cable, socket, async () => {
        for (const n of range(before, before + 3)) await tell(siskin, n);
        await tell(siskin, before + 3, { session_id: sid });
      });
      assert.deepEqual([round, socket.recovered, socket.id], [round, true, sid]);
      await hears(socket, range(0, before + 4));
      await tell(siskin, before + 4);
      await hears(socket, range(0, before + 5));
    }
    assert.equal(await metric(siskin, "siskin_recovered_total"), 3);
    assert.equal(await metric(siskin, "siskin_away_sessions"), 0);
  });
}

test("a drop before the first event is no reason to forget (4888, 5538)", async (t) => {
  const [siskin, cable] = await start(t);
  await tell(siskin, "before");
  const socket = await open(t, siskin, cable);
  await cutDuring(siskin, cable, socket, () => tell(siskin, 1));
  assert.equal(socket.recovered, true);
  await hears(socket, [1]);
  await cutDuring(siskin, cable, socket);
  assert.deepEqual([socket.recovered, socket.news], [true, [1]]);
});

test("a long quiet connection keeps its place (5282)", async (t) => {
  const env = { SISKIN_RECOVERY_SECONDS: "0.5", WEBSOCKET_SERVER_PING_INTERVAL: "0.3", WEBSOCKET_SERVER_PING_TIMEOUT: "0.3" };
  const [siskin, cable] = await start(t, env);
  const [ann, bob] = [await open(t, siskin, cable), await open(t, siskin, { url: siskin.url }, { user: "bob" })];
  await tell(siskin, 0);
  await hears(ann, [0]);
  await tell(siskin, "bob's", { user_id: "bob" });
  await waitFor(async () => (await metric(siskin, "siskin_recovery_bytes")) === 0, { what: "an empty ring" });
  await cutDuring(siskin, cable, ann, () => tell(siskin, 1));
  assert.equal(ann.recovered, true);
  await hears(ann, [0, 1]);
  assert.deepEqual(bob.news, ["bob's"]);
});

test("an event whose last argument is text, volatile or not, is no offset (PR 5539)", async (t) => {
  const [siskin, cable] = await start(t);
  const socket = await open(t, siskin, cable);
  const last = {};
  for (const event of ["news", "events", "ydoc:awareness:update"]) socket.on(event, (...args) => (last[event] = args));
  await tell(siskin, 0);
  for (const event of ["events", "ydoc:awareness:update"]) await siskin.api("POST", "/emit", { user_id: "ann", event, data: "text" });
  await waitFor(() => last["ydoc:awareness:update"], { what: "the last one" });
  assert.deepEqual(Object.values(last).map(([data, offset, ...more]) => [data, offset.length, more.length]), [[0, 8, 0], ["text", 8, 0], ["text", 8, 0]]);
  await cutDuring(siskin, cable, socket, () => tell(siskin, 1));
  assert.deepEqual([socket.recovered, socket.news], [true, [0, 1]]);
});

test("what the client sends right after is handled behind it (5363)", async (t) => {
  const [siskin, cable] = await start(t);
  const socket = await open(t, siskin, cable);
  await siskin.api("POST", "/channels/c/members", { user_ids: ["ann"] }).catch(() => {});
  const answers = [];
  await cutDuring(siskin, cable, socket, async () => {
    // Sent while it is away: the client keeps it until it is connected.
    socket.emit("user-join", { auth: { token: siskin.token("ann") } }, (answer) => answers.push([socket.news.length, answer.id]));
    for (const n of range(0, 5)) await tell(siskin, n);
  });
  await waitFor(() => answers.length, { what: "an answer" });
  assert.deepEqual([socket.recovered, answers], [true, [[5, "ann"]]]);
});

test("a dead connection that nobody noticed is taken over at once", async (t) => {
  const [siskin, cable] = await start(t);
  for (const transports of Object.values(ways)) {
    const socket = await open(t, siskin, cable, { transports });
    const [sid, gone] = [socket.id, once(socket, "disconnect")];
    if (transports.length > 1) await waitFor(() => socket.io.engine.transport.name === "websocket", { what: "upgrade" });
    cable.broken = true;
    cable.halve();
    await gone;
    for (const n of range(0, 3)) await tell(siskin, n);
    cable.broken = false;
    // Its last try while it was broken may fail only now.
    await waitFor(() => socket.connected, { what: "the client back" });
    assert.deepEqual([socket.recovered, socket.id, socket.news], [true, sid, [0, 1, 2]]);
    assert.equal((await siskin.api("GET", "/sessions")).sessions.length, 1);
    const left = once(socket, "disconnect");
    socket.disconnect();
    await left;
    await waitFor(async () => (await siskin.api("GET", "/sessions")).sessions.length === 0, { what: "the session's end" });
  }
});

test("a replay that is torn before CONNECT's answer never comes doubled", async (t) => {
  const [siskin, cable] = await start(t);
  const socket = await open(t, siskin, cable);
  await tell(siskin, 0);
  await hears(socket, [0]);
  const events = range(1, 40).map((n) => `${n} ${"x".repeat(100)}`);
  let connects = socket.connects;
  // The upgrade's answer, the open packet and a part of the replay.
  await cutDuring(siskin, cable, socket, async () => {
    for (const event of events) await tell(siskin, event);
    cable.left = 2000;
    cable.broken = false;
    await waitFor(() => cable.left === 0, { what: "a torn replay" });
    cable.broken = true;
    cable.cut();
    cable.left = Infinity;
    connects = socket.connects;
    await isAway(siskin);
  });
  assert.equal(socket.connects, connects + 1);
  assert.equal(socket.recovered, false);
  const got = socket.news.slice(1);
  assert.ok(got.length > 3 && got.length < events.length, `${got.length}`);
  assert.deepEqual(got, events.slice(0, got.length));
  // The old offset with the new private id: nothing from before.
  await cutDuring(siskin, cable, socket, () => tell(siskin, "new"));
  assert.equal(socket.recovered, true);
  assert.deepEqual(socket.news.slice(1), [...got, "new"]);
});

test("only its own user takes a session up, once, and nobody whose rights have changed", async (t) => {
  const [siskin, cable] = await start(t);
  const changes = {
    "another user": (socket) => (socket.auth.token = siskin.token("bob")),
    "another role": (socket) => (socket.auth.token = siskin.token("ann", "ann", "admin")),
    "no token": (socket) => delete socket.auth.token,
    "a bad token": (socket) => (socket.auth.token += "x"),
    "ended sessions": () => siskin.api("DELETE", "/users/ann/sessions"),
    "another private id": (socket) => (socket._pid = socket._pid.slice(0, 39) + (socket._pid.endsWith("A") ? "B" : "A")),
  };
  for (const [what, change] of Object.entries(changes)) {
    const socket = await open(t, siskin, cable);
    const sid = socket.id;
    await cutDuring(siskin, cable, socket, async () => {
      await tell(siskin, "private");
      await change(socket);
    });
    assert.deepEqual([what, socket.recovered, socket.id === sid, socket.news], [what, false, false, []]);
    // A second client with the same private id takes nothing.
    socket.disconnect();
    await siskin.api("DELETE", "/users/ann/sessions");
    await isAway(siskin, 0);
  }
});

test("who leaves by an own word does not come back, and an expired token ends who is away", async (t) => {
  const [siskin, cable] = await start(t);
  const socket = await open(t, siskin, cable);
  const sid = socket.id;
  socket.disconnect();
  await waitFor(async () => (await siskin.api("GET", "/sessions")).sessions.length === 0, { what: "the end" });
  await tell(siskin, "missed");
  socket.connect();
  await once(socket, "connect");
  assert.deepEqual([socket.recovered, socket.id === sid, socket.news], [false, false, []]);
  const soon = Math.floor(Date.now() / 1000) + 2;
  const short = await open(t, siskin, cable, { token: siskin.token("ann", "ann", "user", { exp: soon }) });
  socket.disconnect();
  await waitFor(async () => (await siskin.api("GET", "/sessions")).sessions.length === 1, { what: "the end" });
  short.auth.token = siskin.token("ann", "ann", "user", { exp: soon + 1000 });
  await cutDuring(siskin, cable, short, () => waitFor(() => Date.now() / 1000 > soon + 0.1, { what: "its end" }));
  assert.equal(short.recovered, false);
});

test("a room's events count from when it was entered to when it was left, and who is left out stays so", async (t) => {
  const [siskin, cable] = await start(t);
  const socket = await open(t, siskin, cable);
  await open(t, siskin, { url: siskin.url }, { user: "bob" });
  const room = { room: "r" };
  const enter = (user) => siskin.api("POST", "/rooms/r/enter", { user_ids: [user] });
  await enter("bob");
  await tell(siskin, "before", room);
  await enter("ann");
  await tell(siskin, 1, room);
  await hears(socket, [1]);
  await cutDuring(siskin, cable, socket, async () => {
    await tell(siskin, 2, room);
    await tell(siskin, "others", { ...room, skip_sid: socket._pid.slice(0, 20) });
    await tell(siskin, 3, room);
  });
  assert.deepEqual([socket.recovered, socket.news], [true, [1, 2, 3]]);
});

test("others see no difference on the wire, byte for byte", async (t) => {
  const [siskin] = await start(t);
  const seen = async (headers, auth) => {
    const said = [];
    const socket = new WebSocket(`${siskin.url.replace("http", "ws")}${path}/?EIO=4&transport=websocket`, { headers });
    t.after(() => socket.close());
    socket.on("message", (data) => said.push(`${data}`));
    await waitFor(() => said.length, { what: "the open packet" });
    socket.send(`40${JSON.stringify({ token: siskin.token("ann"), ...auth })}`);
    await waitFor(() => said.length > 1, { what: "CONNECT" });
    await waitFor(async () => (await tell(siskin, 1)).delivered, { what: "its user" });
    await waitFor(() => said.length > 2, { what: "an event" });
    socket.close();
    await waitFor(async () => (await siskin.api("GET", "/sessions")).sessions.length === 0, { what: "its end" });
    return said.slice(1).map((packet) => packet.replace(/"(sid|pid)":"[\w-]+"/g, '"$1"').replace(/"[\w-]{8}"/g, '"offset"'));
  };
  const plain = ['40{"sid"}', '42["news",1]'];
  const numbered = ['40{"sid","pid"}', '42["news",1,"offset"]'];
  assert.deepEqual(await seen({ origin: "http://127.0.0.1" }), plain);
  assert.deepEqual(await seen({ "user-agent": "Mozilla/5.0 (X11)" }), plain);
  assert.deepEqual(await seen({ "user-agent": "Mozilla/5.0 (X11)", origin: "http://127.0.0.1" }, { recover: false }), plain);
  assert.deepEqual(await seen({ "user-agent": "Mozilla/5.0 (X11)", origin: "http://127.0.0.1" }), numbered);
  assert.deepEqual(await seen(browser), numbered);
  assert.deepEqual(await seen({}, { recover: true }), numbered);
});

test("a question to a person is asked again where it was lost, and the chat is open again", async (t) => {
  const [siskin, cable] = await start(t);
  await siskin.api("PUT", "/chats/saved", { user_id: "ann", title: "S" });
  const socket = await open(t, siskin, cable);
  assert.equal(await socket.timeout(5000).emitWithAck("events:chat", { chat_id: "saved", data: { type: "join" } }), true);
  const asked = [];
  socket.on("events", ({ data }, reply) => data.type === "confirmation" && asked.push(reply));
  const question = { user_id: "ann", session_id: socket.id, chat_id: "saved", event: { type: "confirmation", data: {} }, timeout: 20 };
  const answer = siskin.api("POST", "/chat/call", question);
  for (const times of [1, 2, 3]) {
    await waitFor(() => asked.length === times, { what: `question ${times}` });
    if (times < 3) await cutDuring(siskin, cable, socket);
    assert.equal(socket.id, question.session_id);
  }
  asked[2]("yes");
  assert.deepEqual(await answer, { answer: "yes" });
});

test("typing and presence do not come again", async (t) => {
  const [siskin, cable] = await start(t);
  const socket = await open(t, siskin, cable);
  const heard = [];
  socket.onAny((name, data) => heard.push([name, data]));
  const typing = { channel_id: "c", data: { type: "typing", data: { typing: true } } };
  await cutDuring(siskin, cable, socket, async () => {
    await siskin.api("POST", "/emit", { user_id: "ann", event: "events:channel", data: typing });
    await siskin.api("POST", "/emit", { user_id: "ann", event: "ydoc:document:update", data: {} });
    await tell(siskin, 1);
  });
  assert.equal(socket.recovered, true);
  assert.deepEqual(heard, [["news", 1]]);
});

/** A folder that siskin leaves its sessions in, and its one file there. */
function runtime(t) {
  const folder = mkdtempSync(join(tmpdir(), "siskin-runtime-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return { env: { RUNTIME_DIRECTORY: folder }, folder, file: join(folder, "recovery") };
}

/** Restarts siskin, and waits until the client is back; `between` happens while there is none. */
async function restartDuring(siskin, socket, between = () => {}) {
  const back = socket.connects;
  await siskin.stop();
  await between();
  await siskin.start();
  await waitFor(() => socket.connects > back, { what: "the client back" });
}

for (const [name, transports] of Object.entries(ways)) {
  test(`${name}: a restart loses nothing, and the numbers go on`, async (t) => {
    const { env, file } = runtime(t);
    const [siskin, cable] = await start(t, env);
    const socket = await open(t, siskin, cable, { transports });
    const [sid, pid] = [socket.id, socket._pid];
    // A second one sleeps over all of it.
    const sleeper = await open(t, siskin, await layCable(t, siskin.port), { user: "bob", transports: ["websocket"] });
    await tell(siskin, "bob's 1", { user_id: "bob" });
    await hears(sleeper, ["bob's 1"]);
    for (const round of range(0, 3)) {
      const before = socket.news.length;
      await tell(siskin, before);
      await restartDuring(siskin, socket, () => assert.equal(statSync(file).mode & 0o777, 0o600));
      assert.ok(!existsSync(file), "it is gone when it is taken");
      assert.deepEqual([round, socket.recovered, socket.id, socket._pid], [round, true, sid, pid]);
      await tell(siskin, before + 1);
      await hears(socket, range(0, before + 2));
      await cutDuring(siskin, cable, socket, () => tell(siskin, before + 2));
      assert.equal(socket.recovered, true);
      await hears(socket, range(0, before + 3));
    }
    await waitFor(() => sleeper.connects === 4, { what: "bob" });
    assert.deepEqual([sleeper.recovered, sleeper.news], [true, ["bob's 1"]]);
  });
}

test("what was missed before a restart, and comes right after it, comes once", async (t) => {
  const [siskin, cable] = await start(t, runtime(t).env);
  const socket = await open(t, siskin, cable);
  await siskin.api("PUT", "/chats/saved", { user_id: "ann", title: "S" });
  assert.equal(await socket.timeout(5000).emitWithAck("events:chat", { chat_id: "saved", data: { type: "join" } }), true);
  await tell(siskin, 0);
  await hears(socket, [0]);
  const sid = socket.id;
  await cutDuring(siskin, cable, socket, async () => {
    await tell(siskin, 1);
    await siskin.restart();
    await tell(siskin, 2);
    await tell(siskin, 3, { session_id: sid });
    await siskin.restart();
    await tell(siskin, 4, { room: "chat:saved" });
  });
  assert.deepEqual([socket.recovered, socket.id], [true, sid]);
  await hears(socket, [0, 1, 2, 3, 4]);
});

test("who may not come back does not after a restart either", async (t) => {
  const { env } = runtime(t);
  const changes = {
    "ended sessions": (siskin) => siskin.api("DELETE", "/users/ann/sessions"),
    "another user": (siskin, socket) => (socket.auth.token = siskin.token("bob")),
    "another role": (siskin, socket) => (socket.auth.token = siskin.token("ann", "ann", "admin")),
    "too late": () => sleep(2100),
  };
  for (const [what, change] of Object.entries(changes)) {
    const [siskin, cable] = await start(t, { ...env, SISKIN_RECOVERY_SECONDS: "2" });
    const socket = await open(t, siskin, cable);
    const sid = socket.id;
    await cutDuring(siskin, cable, socket, async () => {
      await siskin.restart();
      await tell(siskin, "private");
      await change(siskin, socket);
    });
    assert.deepEqual([what, socket.recovered, socket.id === sid, socket.news], [what, false, false, []]);
    socket.disconnect();
  }
});

test("after a kill, and where what was left is old, torn, changed, another's or unknown, nobody is taken up, and one line says so", async (t) => {
  const { env, folder, file } = runtime(t);
  const harms = {
    "a link": () => (renameSync(file, join(folder, "x")), symlinkSync(join(folder, "x"), file)),
    nothing: () => rmSync(file),
    torn: () => truncateSync(file, statSync(file).size - 7),
    empty: () => truncateSync(file, 0),
    changed: () => writeFileSync(file, readFileSync(file).map((byte, at) => byte ^ (at === 99))),
    "of another version": () => writeFileSync(file, readFileSync(file, "latin1").replace("recovery 1", "recovery 2"), "latin1"),
    "too large": () => truncateSync(file, 8 << 20),
    "another secret": (siskin) => (siskin.env.WEBUI_SECRET_KEY = "another-secret-that-is-long-enough"),
  };
  for (const [what, harm] of Object.entries(harms)) {
    const [siskin, cable] = await start(t, env);
    const socket = await open(t, siskin, cable);
    await tell(siskin, 0);
    await hears(socket, [0]);
    const lines = siskin.log().split("\n").length;
    await restartDuring(siskin, socket, () => harm(siskin));
    assert.deepEqual([what, socket.recovered, existsSync(file)], [what, false, false]);
    const said = siskin.log().split("\n").slice(lines).filter((line) => line.includes("an earlier siskin"));
    assert.deepEqual([what, said.length], [what, Number(what !== "nothing")]);
    socket.disconnect();
    await siskin.stop();
    rmSync(file, { force: true });
  }
  const [siskin, cable] = await start(t, env);
  const socket = await open(t, siskin, cable);
  const back = socket.connects;
  await siskin.kill();
  await siskin.start();
  await waitFor(() => socket.connects > back, { what: "the client back" });
  assert.equal(socket.recovered, false);
});

test("where it is off, or for who has asked, browsers are as all others", async (t) => {
  for (const [mode, recover, pid] of [["off", true, false], ["asked", undefined, false], ["asked", true, true]]) {
    const [siskin, cable] = await start(t, { SISKIN_RECOVERY: mode });
    const socket = await open(t, siskin, cable, { auth: { recover } });
    assert.equal(Boolean(socket._pid), pid, mode);
  }
});

test("many sessions that are cut stay within the bound, and are forgotten", async (t) => {
  const [siskin, cable] = await start(t, {
    SISKIN_RECOVERY_BYTES: "64 KiB",
    SISKIN_RECOVERY_SECONDS: "2",
    WEBSOCKET_SERVER_PING_INTERVAL: "1",
    WEBSOCKET_SERVER_PING_TIMEOUT: "2",
  });
  const socket = await open(t, siskin, cable);
  for (const n of range(0, 200)) await tell(siskin, `${n} ${"x".repeat(1000)}`);
  assert.ok((await metric(siskin, "siskin_recovery_bytes")) <= 64 << 10);
  await cutDuring(siskin, cable, socket, async () => {
    for (const n of range(0, 100)) await tell(siskin, `${n} ${"x".repeat(1000)}`);
    assert.ok((await metric(siskin, "siskin_recovery_bytes")) <= 64 << 10);
  });
  assert.equal(socket.recovered, false);
  socket.disconnect();
  const sockets = await Promise.all(range(0, 200).map((n) => open(t, siskin, cable, { user: `u${n}`, reconnection: false })));
  cable.cut();
  await waitFor(async () => (await siskin.api("GET", "/sessions")).sessions.length === 0, { what: "all gone" });
  assert.equal(sockets.length, 200);
  assert.ok((await metric(siskin, "siskin_recovery_bytes")) <= 64 << 10);
  assert.ok((await metric(siskin, "siskin_away_sessions")) > 10);
  await waitFor(async () => (await metric(siskin, "siskin_away_sessions")) + (await metric(siskin, "siskin_recovery_bytes")) === 0, { what: "nothing kept" });
});
