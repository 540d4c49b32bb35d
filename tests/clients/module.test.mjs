// The client module against the real server: chats, channels, calls, usage, presence, coming back.

import assert from "node:assert/strict";
import { after, before, mock, test } from "node:test";
import { apiKey, sleep, startSiskin, waitFor } from "../harness.mjs";
import { heard, importModule } from "./module.mjs";

let siskin, module;
before(async () => {
  siskin = await startSiskin();
  module = await importModule(siskin);
});
after(() => siskin.close());

/** A client of `user`; online when it is returned. */
async function client(t, user, { at = siskin, ...options } = {}) {
  const client = module.connect({ url: at.url, token: at.token(user), ...options });
  t.after(() => client.close());
  if (!client.online) await heard(client, "online");
  return client;
}

const emitEvent = (user_id, chat_id, event, message_id = "m") =>
  siskin.api("POST", "/chat/event", { user_id, chat_id, message_id, event, save: false });

const call = (client, event, more = {}) =>
  siskin.api("POST", "/chat/call", { user_id: client.user.id, session_id: client.id, chat_id: "c", event, timeout: 10, ...more });

const grants = (permission, ...ids) => ids.map((principal_id) => ({ principal_type: "user", principal_id, permission }));

test("connects as the document's frontend does", async (t) => {
  const ann = await client(t, "ann");
  assert.deepEqual(ann.user, { id: "ann", name: "ann" });
  const { opts } = ann.socket.io;
  assert.equal(opts.path, "/ws/socket.io");
  assert.deepEqual(opts.transports, ["websocket", "polling"]);
  const { reconnection, reconnectionDelay, reconnectionDelayMax, randomizationFactor } = opts;
  assert.deepEqual([reconnection, reconnectionDelay, reconnectionDelayMax, randomizationFactor], [true, 1000, 5000, 0.5]);
  assert.equal(ann.socket.io.engine.transport.name, "websocket");
});

test("falls over to polling where the server speaks nothing else", async (t) => {
  const polling = await startSiskin({ env: { ENABLE_WEBSOCKET_SUPPORT: "false" } });
  t.after(() => polling.close());
  const ann = await client(t, "ann", { at: polling });
  assert.equal(ann.socket.io.engine.transport.name, "polling");
});

test("chat events arrive by type, with what the document's rules ask", async (t) => {
  let focused = true;
  const ann = await client(t, "ann", { isFocused: () => focused });
  const chat = ann.chats.open("local:here");
  const [here, all, notices, refreshed] = [[], [], [], []];
  for (const type of ["chat:completion", "status", "message", "replace", "embeds", "files", "source", "citation", "notification"]) {
    chat.on(type, (data, context) => here.push([type, data, context.message_id, context.here]));
  }
  ann.chats.on("*", (type, data, { chat_id, here, focused, own }) => all.push([type, chat_id, here, focused, own]));
  ann.on("notify", ({ kind, title, content }) => notices.push([kind, title, content]));
  ann.on("refresh", (what) => refreshed.push(what));
  const events = [
    { type: "status", data: { description: "thinks", done: false } },
    { type: "message", data: { content: "Hel" } },
    { type: "replace", data: { content: "Hello" } },
    { type: "embeds", data: { embeds: ["<b>"] } },
    { type: "files", data: { files: [{ name: "a" }] } },
    { type: "source", data: { source: { name: "s" } } },
    { type: "citation", data: { source: { name: "c" } } },
    { type: "notification", data: { type: "info", content: "n" } },
    { type: "chat:completion", data: { done: true, content: "seen", title: "T" } },
  ];
  for (const event of events) await emitEvent("ann", "local:here", event);
  await emitEvent("ann", "local:here", { type: "made:up", data: [1] });
  await emitEvent("ann", "local:there", { type: "chat:completion", data: { done: false, content: "half" } });
  await emitEvent("ann", "local:there", { type: "chat:completion", data: { done: true, content: "elsewhere", title: "T" } });
  await emitEvent("ann", "local:there", { type: "chat:title", data: "T" });
  await emitEvent("ann", "local:there", { type: "chat:tags", data: ["x"] });
  focused = false;
  await emitEvent("ann", "local:here", { type: "chat:completion", data: { done: true, content: "not looked at" } });
  await emitEvent("ann", "local:here", { type: "status", data: { session_id: "another" } });
  await emitEvent("ann", "local:here", { type: "status", data: { session_id: ann.id } });
  await waitFor(() => all.length === 17, { what: "all events" });
  assert.deepEqual(here.slice(0, 9), events.map(({ type, data }) => [type, data, "m", true]));
  assert.deepEqual(all[9], ["made:up", "local:here", true, true, true]);
  assert.deepEqual(all[11], ["chat:completion", "local:there", false, true, true]);
  assert.deepEqual(all[14], ["chat:completion", "local:here", true, false, true]);
  assert.deepEqual(all.slice(15).map(([, , , , own]) => own), [false, true]);
  assert.deepEqual(notices, [["chat", "T", "elsewhere"], ["chat", "", "not looked at"]]);
  assert.deepEqual(refreshed, ["chats", "tags"]);
});

test("a handler that throws stops no other one", async (t) => {
  const ann = await client(t, "ann");
  const report = mock.method(console, "error", () => {});
  t.after(() => report.mock.restore());
  ann.chats.on("message", () => {
    throw new Error("mine");
  });
  const second = heard(ann.chats, "message");
  await emitEvent("ann", "local:c", { type: "message", data: { content: "x" } });
  await second;
  assert.equal(report.mock.callCount(), 1);
});

test("a chat shows who is there and who types, also after coming back", async (t) => {
  await siskin.api("PUT", "/chats/shared", { user_id: "ann", title: "S", access_grants: grants("write", "bob") });
  const [ann, bob] = [await client(t, "ann"), await client(t, "bob")];
  const chat = ann.chats.open("shared");
  if (chat.joined === null) await heard(chat, "joined");
  assert.equal(chat.joined, true);
  const both = heard(chat, "chat:presence", ({ users }) => users.length === 2);
  const theirs = bob.chats.open("shared");
  await both;
  assert.deepEqual(chat.presence, [{ id: "ann", name: "ann" }, { id: "bob", name: "bob" }]);
  theirs.typing(true);
  assert.deepEqual(await heard(chat, "typists"), [[{ id: "bob", name: "bob" }]]);
  theirs.typing(false);
  assert.deepEqual(await heard(chat, "typists"), [[]]);
  const list = heard(ann.chats, "chat:list");
  chat.read();
  assert.equal((await list)[0].chat_id, "shared");
  const again = heard(chat, "chat:presence", ({ users }) => users.length === 2);
  bob.socket.io.engine.close();
  await again;
  const alone = heard(chat, "chat:presence", ({ users }) => users.length === 1);
  theirs.close();
  await alone;
  const cleo = await client(t, "cleo");
  const closed = cleo.chats.open("shared");
  assert.deepEqual(await heard(closed, "joined"), [false]);
});

test("a call gets the registered function's result or error; an unregistered one is refused at once", async (t) => {
  const ann = await client(t, "ann");
  ann.calls.register("execute:tool", async ({ x }) => ({ result: x * 2 }));
  const python = ann.calls.register("execute:python", () => {
    throw new Error("no pyodide here");
  });
  assert.deepEqual(await call(ann, { type: "execute:tool", data: { x: 21 } }), { answer: { result: 42 } });
  assert.deepEqual(await call(ann, { type: "execute:python", data: {} }), { answer: { error: "no pyodide here" } });
  python();
  for (const type of ["execute:python", "input", "never:heard:of"]) {
    assert.deepEqual(await call(ann, { type, data: {} }), { answer: { error: `This browser does not answer ${type}.` } });
  }
  ann.calls.register("confirmation", () => true);
  assert.deepEqual(await call(ann, { type: "confirmation", data: { title: "Sure?" } }), { answer: true });
  ann.calls.register("execute:tool", () => undefined);
  assert.deepEqual(await call(ann, { type: "execute:tool", data: { session_id: ann.id } }), { answer: null });
  // Put to this session, but meant for another one: not ours to answer.
  const other = { user_id: "ann", session_id: ann.id, chat_id: "c", timeout: 0.3, event: { type: "execute:tool", data: { session_id: "another" } } };
  assert.equal((await siskin.api("POST", "/chat/call", other, { raw: true })).status, 504);
});

test("a question that is over is put away", async (t) => {
  const ann = await client(t, "ann");
  const gone = new Promise((resolve) =>
    ann.calls.register("input", (_, { signal }) => new Promise(() => signal.addEventListener("abort", resolve))),
  );
  const late = { user_id: "ann", session_id: ann.id, chat_id: "c", timeout: 0.2, event: { type: "input", data: {} } };
  assert.equal((await siskin.api("POST", "/chat/call", late, { raw: true })).status, 504);
  await gone;
});

test("a client answers for a model itself, streaming to the backend", async (t) => {
  const ann = await client(t, "ann");
  const channel = `ann:${ann.id}:r1`;
  await siskin.api("PUT", `/streams/${channel}`);
  ann.calls.register("request:chat:completion", (data, { send }) => {
    for (const word of ["a", "b"]) send(`data: ${word}`);
    send({ done: true });
    return { status: true };
  });
  const event = { type: "request:chat:completion", data: { channel, session_id: ann.id } };
  assert.deepEqual(await call(ann, event), { answer: { status: true } });
  const taken = [];
  while (taken.length < 3) taken.push(...(await siskin.api("GET", `/streams/${channel}?wait=5`)).events);
  assert.deepEqual(taken, ["data: a", "data: b", { done: true }]);
});

test("channels: typing that expires, messages, reactions, unread counts, read receipts", async (t) => {
  await siskin.api("PUT", "/channels/talk", { name: "Talk", members: ["ann", "bob"] });
  await siskin.api("PUT", "/channels/side", { name: "Side", members: ["ann", "bob"] });
  let focused = true;
  const ann = await client(t, "ann", { isFocused: () => focused });
  const bob = await client(t, "bob");
  const talk = ann.channels.open("talk");
  const theirs = bob.channels.open("talk");
  const typed = heard(talk, "typists");
  theirs.typing(true, "thread");
  assert.deepEqual((await typed)[0].map(({ id }) => id), ["bob"]);
  assert.deepEqual(theirs.typists.list, [], "not even to oneself");
  const began = Date.now();
  assert.deepEqual(await heard(talk, "typists"), [[]]);
  assert.ok(Date.now() - began > 3000, "nobody said that bob has stopped");

  const say = (channel_id, type, data, user = { id: "bob", name: "bob" }) =>
    siskin.api("POST", "/emit", { room: `channel:${channel_id}`, event: "events:channel", data: { channel_id, message_id: "m", user, channel: { name: channel_id }, data: { type, data } } });
  const all = [];
  talk.on("*", (type, data, { own, here }) => all.push([type, data, own, here]));
  const notices = [];
  ann.on("notify", ({ kind, title, content }) => notices.push([kind, title, content]));
  const counts = [];
  ann.on("unread", (id, count) => counts.push([id, count]));
  const kinds = ["message", "message:update", "message:delete", "message:reply", "message:reaction:add", "message:reaction:remove", "odd"];
  for (const kind of kinds) await say("talk", kind, { content: kind });
  await say("talk", "message", { content: "mine" }, { id: "ann", name: "ann" });
  await waitFor(() => all.length === 8, { what: "all events" });
  assert.deepEqual(all.slice(0, 7), kinds.map((kind) => [kind, { content: kind }, false, true]));
  assert.deepEqual(all[7], ["message", { content: "mine" }, true, true]);
  assert.deepEqual(counts, [], "looked at");

  await say("side", "message", { content: "psst" });
  await say("side", "message", { content: "psst" });
  focused = false;
  await say("talk", "message", { content: "hey" });
  await say("talk", "message", { content: "mine" }, { id: "ann", name: "ann" });
  await waitFor(() => all.length === 10, { what: "the last" });
  assert.deepEqual(counts, [["side", 1], ["side", 2], ["talk", 1]]);
  assert.deepEqual(notices, [["channel", "side", "psst"], ["channel", "side", "psst"], ["channel", "talk", "hey"]]);
  focused = true;
  ann.channels.open("side");
  assert.deepEqual(counts.at(-1), ["side", 0]);
  const read = async (id) => {
    const { members } = await siskin.api("GET", `/channels/${id}/members`);
    return members.find(({ user_id }) => user_id === "ann")?.last_read_at;
  };
  await waitFor(async () => (await read("side")) && (await read("talk")), { what: "read receipts" });
});

test("a muted channel tells of messages that name the user, and of no others", async (t) => {
  await siskin.api("PUT", "/channels/quiet", { name: "Quiet", members: ["ann", "bob"] });
  const ann = await client(t, "ann");
  const notices = [];
  ann.on("notify", ({ content }) => notices.push(content));
  const tell = (type, data) =>
    siskin.api("POST", "/emit", { user_id: "ann", event: "events:channel", data: { channel_id: "quiet", user: { id: "bob", name: "bob" }, data: { type, data } } });
  const say = (content) => tell("message", { content });
  await say("before");
  await tell("channel:mute", { is_channel_muted: true });
  for (const content of ["not told", "<@U:bob> not told", "<@U:ann|Ann> hey", "<@U:ann>", "<@U:annette>"]) await say(content);
  await tell("channel:mute", { is_channel_muted: false });
  await say("after");
  await waitFor(() => ann.channels.unread.get("quiet") === 7, { what: "all messages, counted" });
  assert.deepEqual(notices, ["before", "<@U:ann|Ann> hey", "<@U:ann>", "after"]);
  ann.channels.mute("quiet");
  await say("not told");
  await waitFor(() => ann.channels.unread.get("quiet") === 8, { what: "the last message" });
  assert.equal(notices.length, 4);
});

test("others who have a chat open follow an answer; its user gets it once", async (t) => {
  await siskin.api("PUT", "/chats/ours", { user_id: "ann", title: "Ours", access_grants: grants("read", "bob") });
  const [ann, bob] = [await client(t, "ann"), await client(t, "bob")];
  const heardBy = new Map();
  for (const one of [ann, bob]) {
    const chat = one.chats.open("ours");
    if (!chat.joined) await heard(chat, "joined");
    heardBy.set(one, []);
    chat.on("*", (type, data, { event }) => type !== "chat:presence" && heardBy.get(one).push([type, data, event.shared === true]));
  }
  let told = 0;
  bob.on("notify", () => told++);
  const emit = (event) => siskin.api("POST", "/chat/event", { user_id: "ann", chat_id: "ours", message_id: "m", event, save: false });
  await emit({ type: "status", data: { description: "thinks" } });
  await emit({ type: "message", data: { content: "Hel" } });
  await emit({ type: "chat:messages", data: { messages: {} } });
  await emit({ type: "chat:completion", data: { done: true, content: "Hello", title: "T" } });
  await waitFor(() => heardBy.get(ann).length === 4 && heardBy.get(bob).length === 3, { what: "all events" });
  assert.deepEqual(heardBy.get(ann), [
    ["status", { description: "thinks" }, false],
    ["message", { content: "Hel" }, false],
    ["chat:messages", { messages: {} }, true],
    ["chat:completion", { done: true, content: "Hello", title: "T" }, false],
  ]);
  assert.deepEqual(heardBy.get(bob), [
    ["status", { description: "thinks" }, true],
    ["chat:messages", { messages: {} }, true],
    ["chat:completion", { done: true, content: "Hello" }, true],
  ]);
  assert.equal(told, 0);
});

test("a channel that was made meanwhile is entered", async (t) => {
  const ann = await client(t, "ann");
  const refreshed = heard(ann, "refresh");
  await siskin.api("PUT", "/channels/fresh", { name: "Fresh", members: ["ann"] });
  await siskin.api("POST", "/emit", { user_id: "ann", event: "events:channel", data: { channel_id: "fresh", data: { type: "channel:created" } } });
  assert.deepEqual(await refreshed, ["channels"]);
});

test("usage is pinged while a model answers", async (t) => {
  const ann = await client(t, "ann");
  const models = async () => (await siskin.api("GET", "/models")).models;
  const stop = ann.useModel("llama");
  await waitFor(async () => (await models()).includes("llama"), { what: "the model" });
  await sleep(4000);
  assert.deepEqual(await models(), ["llama"], "longer than an entry lives by itself");
  stop();
  await waitFor(async () => (await models()).length === 0, { what: "the sweep" });
});

test("heartbeat every 30 s, and only while connected", async (t) => {
  mock.timers.enable({ apis: ["setInterval"] });
  t.after(() => mock.timers.reset());
  const ann = await client(t, "ann");
  let beats = 0;
  ann.socket.onAnyOutgoing((name) => (beats += name === "heartbeat"));
  mock.timers.tick(29_999);
  assert.equal(beats, 0);
  mock.timers.tick(1);
  assert.equal(beats, 1);
  mock.timers.tick(30_000);
  assert.equal(beats, 2);
  ann.close();
  mock.timers.tick(30_000);
  assert.equal(beats, 2);
});

test("heartbeat as often as the server says", async (t) => {
  const often = await startSiskin({ env: { WEBSOCKET_HEARTBEAT_INTERVAL: "7" } });
  t.after(() => often.close());
  const { connect } = await importModule(often);
  mock.timers.enable({ apis: ["setInterval"] });
  t.after(() => mock.timers.reset());
  const ann = connect({ url: often.url, token: often.token("ann") });
  t.after(() => ann.close());
  if (!ann.online) await heard(ann, "online");
  let beats = 0;
  ann.socket.onAnyOutgoing((name) => (beats += name === "heartbeat"));
  mock.timers.tick(6_999);
  assert.equal(beats, 0);
  mock.timers.tick(1);
  assert.equal(beats, 1);
});

test("comes back after a crash, signs in again, and opens again what was open", async (t) => {
  const own = await startSiskin();
  t.after(() => own.close());
  await own.api("PUT", "/chats/kept", { user_id: "ann", title: "K" });
  const ann = await client(t, "ann", { at: own, reconnectionDelay: 50, reconnectionDelayMax: 100 });
  const chat = ann.chats.open("kept");
  await heard(chat, "chat:presence");
  const states = [];
  ann.on("state", (state) => states.push(state));
  const [back, present] = [heard(ann, "online"), heard(chat, "chat:presence")];
  await own.kill();
  await waitFor(() => states.includes("offline"), { what: "offline" });
  await own.start();
  await Promise.all([back, present]);
  assert.equal(states.at(-1), "online");
  const answer = await fetch(`${own.url}/api/v1/sessions`, { headers: { authorization: `Bearer ${apiKey}` } });
  const { sessions } = await answer.json();
  assert.ok(sessions[0].rooms.includes("chat:kept") && sessions[0].rooms.includes("user:ann"));
});

test("a bad token is told, and another one helps", async (t) => {
  const ann = module.connect({ token: `${siskin.token("ann")}x` });
  t.after(() => ann.close());
  assert.equal((await heard(ann, "state", (state) => state !== "connecting"))[0], "refused");
  ann.signIn(siskin.token("ann"));
  await heard(ann, "online");
});

test("an administrator's change signs in again by itself; the server's disconnect is final", async (t) => {
  const ann = await client(t, "ann");
  const again = heard(ann, "online");
  await siskin.api("DELETE", "/users/ann/sessions");
  await again;
  const ended = heard(ann, "state");
  await siskin.api("DELETE", `/sessions/${ann.id}`);
  assert.deepEqual(await ended, ["ended", "io server disconnect"]);
  const back = heard(ann, "online");
  ann.signIn(siskin.token("ann"));
  await back;
});

test("a note's saves are heard by who watches it", async (t) => {
  const ann = await client(t, "ann");
  await siskin.api("PUT", "/notes/watched", { user_id: "ann", title: "W" });
  const notes = [];
  const stop = ann.watchNote("watched", (note) => notes.push(note.title));
  await waitFor(async () => (await siskin.api("GET", "/rooms/note:watched")).sessions.length, { what: "the room" });
  await siskin.api("PATCH", "/notes/watched", { title: "W2" });
  await waitFor(() => notes.length === 1, { what: "the save" });
  stop();
  assert.deepEqual(notes, ["W2"]);
});
