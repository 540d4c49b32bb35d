// The client module in real browsers: a chat application's pages and the console, two users at a time, on a live server.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { apiKey, startSiskin, waitFor } from "../harness.mjs";
import { launch, visit } from "./browser.mjs";
import { enter, open, startFrontend } from "./frontend.mjs";
import { startProxy } from "./proxy.mjs";

const MARKUP = `<img src=x onerror="window.hit = 1"><u>mark</u>`;

let browser, siskin, frontend;
before(async () => {
  [browser, siskin] = await Promise.all([launch(), startSiskin()]);
  frontend = await startFrontend(siskin);
});
after(() => Promise.all([browser.close(), siskin.close(), frontend.close()]));

/** Somebody with the application open, signed in. */
const user = (t, id, options) => enter(t, browser, frontend, siskin, id, options);

/** Somebody with the console open who pasted a token, and the API key if asked for. */
async function watcher(t, id, { key = false, at = siskin, url = at.url, token = at.token(id) } = {}) {
  const person = await visit(t, browser, url);
  if (key) {
    await person.signIn(apiKey);
    await person.page.waitForSelector("#server:not([hidden])");
  }
  await person.signIn(token);
  await person.page.waitForSelector("#try:not([hidden])");
  return person;
}

const event = (chat_id, type, data, user_id = "ann") =>
  siskin.api("POST", "/chat/event", { user_id, chat_id, message_id: "m1", save: false, event: { type, data } });

test("chat events come by type: of this chat or another, looked at or not, for this session or another", async (t) => {
  const [ann, bob] = [await user(t, "ann"), await user(t, "bob")];
  const id = await ann.run(() => (window.show("chats", "local:here"), window.client.id));
  const events = [
    ["chat:completion", { done: false, content: "Hal" }],
    ["chat:completion", { done: true, content: MARKUP, title: "T" }],
    ["chat:title", MARKUP],
    ["chat:tags", ["a", MARKUP]],
    ["status", { description: "thinks", done: false }],
    ["message", { content: MARKUP }],
    ["replace", { content: "all" }],
    ["embeds", { embeds: [MARKUP] }],
    ["files", { files: [{ name: "f" }] }],
    ["source", { source: { name: "s" } }],
    ["citation", { type: "code_execution", id: "1" }],
    ["notification", { type: "info", content: "n" }],
    ["never:heard:of", null],
  ];
  const send = async (chat_id) => {
    for (const [type, data] of events) await event(chat_id, type, data);
  };
  await send("local:here");
  await send("local:there");
  await ann.hears("events of both chats", 26, "chat");
  await ann.run(() => (window.looking = false));
  await event("local:here", "chat:completion", { done: true, content: "not looked at" });
  await event("local:here", "status", { session_id: id });
  await event("local:here", "status", { session_id: "another" });
  await event("local:bob", "message", { content: "for Bob alone" }, "bob");
  const context = (chat_id, here, focused = true, own = true) => ({ chat_id, message_id: "m1", here, focused, own });
  const all = await ann.hears("all events", 29, "chat");
  assert.deepEqual(all.slice(0, 13), events.map(([type, data]) => ["chat", type, data, context("local:here", true)]));
  assert.deepEqual(all.slice(13, 26), events.map(([type, data]) => ["chat", type, data, context("local:there", false)]));
  assert.deepEqual(all.slice(26).map((heard) => heard[3]), [true, true, false].map((own) => context("local:here", true, false, own)));
  assert.deepEqual((await ann.heard("open")).slice(0, 13), events.map(([type]) => ["open", "local:here", type]));
  // Told of what is done where nobody looks; the lists are fetched again.
  assert.deepEqual(await ann.heard("notify"), [["notify", "chat", "T", MARKUP], ["notify", "chat", "", "not looked at"]]);
  assert.deepEqual(await ann.heard("refresh"), ["chats", "tags", "chats", "tags"].map((what) => ["refresh", what]));
  assert.deepEqual((await bob.hears("Bob's own", 1, "chat")).map(([, , data]) => data), [{ content: "for Bob alone" }]);
  assert.deepEqual([...ann.wrong, ...bob.wrong], []);
});

test("channels: typing, messages and what becomes of them, a new one, unread, read", async (t) => {
  const members = ["ann", "bob"];
  for (const id of ["talk", "side"]) await siskin.api("PUT", `/channels/${id}`, { name: id, members });
  const [ann, bob] = [await user(t, "ann", { clock: true }), await user(t, "bob")];
  for (const { run } of [ann, bob]) await run(() => window.show("channels", "talk"));
  const typists = (...lists) => ann.hears("who types", lists.length, "typists").then((heard) => assert.deepEqual(heard, lists.map((list) => ["typists", list])));
  await bob.run(() => window.shown.typing());
  await typists(["bob"]);
  await bob.run(() => window.shown.typing(false));
  await typists(["bob"], []);
  await bob.run(() => window.shown.typing(true, "thread"));
  await typists(["bob"], [], ["bob"]);
  // Bob says no more; Ann's clock goes on.
  await ann.page.clock.fastForward(5000);
  await typists(["bob"], [], ["bob"], []);
  assert.deepEqual(await bob.heard("typists"), [], "not of oneself");

  const say = (channel_id, type, data, by = "bob") => {
    const payload = { channel_id, message_id: "m1", user: { id: by, name: by }, channel: { name: channel_id }, data: { type, data } };
    return siskin.api("POST", "/emit", { room: `channel:${channel_id}`, event: "events:channel", data: payload });
  };
  const kinds = ["message", "message:update", "message:delete", "message:reply", "message:reaction:add", "message:reaction:remove", "odd"];
  for (const kind of kinds) await say("talk", kind, { content: MARKUP });
  await say("talk", "message", { content: "mine" }, "ann");
  const heard = (await ann.hears("channel events", 11, "channel")).slice(3);
  const context = { channel_id: "talk", message_id: "m1", channel: { name: "talk" }, here: true, focused: true };
  const by = (id) => ({ user: { id, name: id }, own: id === "ann" });
  assert.deepEqual(heard.slice(0, 7), kinds.map((kind) => ["channel", kind, { content: MARKUP }, { ...context, ...by("bob") }]));
  assert.deepEqual(heard[7], ["channel", "message", { content: "mine" }, { ...context, ...by("ann") }]);
  assert.deepEqual(await ann.heard("unread", "notify"), [], "Ann looks at it");

  await ann.run(() => (window.looking = false));
  await say("talk", "message", { content: "hey" });
  await say("side", "message", { content: "psst" });
  await say("side", "message", { content: "psst!" });
  await say("side", "message", { content: "mine" }, "ann");
  const told = [["unread", "talk", 1], ["notify", "channel", "talk", "hey"], ["unread", "side", 1], ["notify", "channel", "side", "psst"], ["unread", "side", 2], ["notify", "channel", "side", "psst!"]];
  assert.deepEqual(await ann.hears("what she missed", 6, "unread", "notify"), told);
  await ann.run(() => ((window.looking = true), document.dispatchEvent(new Event("visibilitychange"))));
  assert.deepEqual((await ann.heard("unread")).at(-1), ["unread", "talk", 0]);
  await ann.run(() => window.show("channels", "side"));
  assert.deepEqual((await ann.heard("unread")).at(-1), ["unread", "side", 0]);
  await ann.page.clock.fastForward(1000);
  const read = async (id) => (await siskin.api("GET", `/channels/${id}/members`)).members.find(({ user_id }) => user_id === "ann").last_read_at;
  await waitFor(async () => (await read("talk")) && (await read("side")), { what: "read receipts" });

  await siskin.api("PUT", "/channels/fresh", { name: "Fresh", members });
  await siskin.api("POST", "/emit", { user_id: "ann", event: "events:channel", data: { channel_id: "fresh", data: { type: "channel:created" } } });
  assert.deepEqual(await ann.hears("the new channel", 1, "refresh"), [["refresh", "channels"]]);
  await say("fresh", "message", { content: "first" });
  await waitFor(async () => (await ann.heard("channel")).at(-1)[2]?.content === "first", { what: "a message in the new channel" });
  assert.deepEqual([...ann.wrong, ...bob.wrong], []);
});

test("calls: a result or an error is the ack, who has no function for it refuses at once, a stream is fed", async (t) => {
  const [ann, bob] = [await user(t, "ann"), await user(t, "bob")];
  const id = await ann.run(() => window.client.id);
  const call = (type, data = {}, timeout = 60) =>
    siskin.api("POST", "/chat/call", { user_id: "ann", session_id: id, chat_id: "local:c", timeout, event: { type, data } }, { raw: true });
  const answer = async (...args) => (await (await call(...args)).json()).answer;
  const types = ["execute:python", "execute:tool", "request:chat:completion", "input", "confirmation"];
  for (const type of [...types, "never:heard:of"]) assert.deepEqual(await answer(type), { error: `This browser does not answer ${type}.` });
  await ann.run((types) => {
    for (const type of types) window.client.calls.register(type, async ({ value }) => ({ type, value }));
  }, types);
  for (const type of types) assert.deepEqual(await answer(type, { value: MARKUP }), { type, value: MARKUP });
  await ann.run((types) => {
    for (const type of types) window.client.calls.register(type, () => Promise.reject(new Error(`${type} went wrong`)));
  }, types);
  for (const type of types) assert.deepEqual(await answer(type), { error: `${type} went wrong` });

  const channel = `ann:${id}:r1`;
  await siskin.api("PUT", `/streams/${channel}`);
  await ann.run(() =>
    window.client.calls.register("request:chat:completion", (_, { send }) => {
      for (const word of ["a", "b", { done: true }]) send(word);
      return { status: true };
    }),
  );
  assert.deepEqual(await answer("request:chat:completion", { channel, session_id: id }), { status: true });
  const taken = [];
  while (taken.length < 3) taken.push(...(await siskin.api("GET", `/streams/${channel}?wait=5`)).events);
  assert.deepEqual(taken, ["a", "b", { done: true }]);
  // A question that is given up is put away; one for somebody else's session isn't asked.
  await ann.run(() =>
    window.client.calls.register("input", (_, { signal }) => new Promise(() => signal.addEventListener("abort", () => window.heard.push(["given up"])))),
  );
  assert.equal((await call("input", {}, 0.2)).status, 504);
  await ann.hears("the end of the question", 1, "given up");
  const wrong = { user_id: "bob", session_id: id, chat_id: "c", event: { type: "confirmation", data: {} } };
  assert.equal((await siskin.api("POST", "/chat/call", wrong, { raw: true })).status, 403);
  assert.deepEqual([...ann.wrong, ...bob.wrong], []);
});

test("presence; models in use and documents in the console come and go with what others do", async (t) => {
  const grants = [{ principal_type: "user", principal_id: "bob", permission: "read" }];
  await siskin.api("PUT", "/chats/shared", { user_id: "ann", title: "S", access_grants: grants });
  const [ann, bob, eve] = await Promise.all([user(t, "ann"), user(t, "bob"), watcher(t, "eve", { key: true })]);
  const done = await ann.page.evaluateHandle(() => window.client.useModel("llama"));
  await eve.page.click("#tab-models");
  await eve.says("list", "llama");
  await ann.run(() => window.show("chats", "shared"));
  await bob.run(() => window.show("chats", "shared"));
  const here = (...ids) => waitFor(() => ann.run(() => window.shown.presence.map(({ id }) => id).join()).then((all) => all === ids.join()), { what: `${ids} here` });
  await here("ann", "bob");
  await bob.page.close();
  await here("ann");
  await ann.run(() => window.edit("plan"));
  // Longer in use than an entry lives by itself: the page pings.
  const began = Date.now();
  await waitFor(async () => (await siskin.api("GET", "/models")).models.includes("llama") && Date.now() - began > 4000, { what: "the model, still" });
  await eve.says("list", "llama");
  await done.evaluate((done) => done());
  await waitFor(async () => !(await eve.text("list")).includes("llama"), { what: "a list without the model" });
  await eve.page.click("#tab-documents");
  await eve.says("list", "plan");
  await ann.run(() => window.provider.destroy());
  await waitFor(async () => !(await eve.text("list")).includes("plan"), { what: "a list without the document" });
  assert.deepEqual([...ann.wrong, ...bob.wrong, ...eve.wrong], []);
});

test("a heartbeat each 30 s", async (t) => {
  const ann = await user(t, "ann", { clock: true });
  const beats = () => ann.sent.filter((frame) => frame.includes('"heartbeat"')).length;
  const mark = (name) => ann.run((name) => window.client.ask(name, { model: "m" }), "usage");
  await ann.page.clock.pauseAt(new Date(await ann.run(() => Date.now() + 1000)));
  const before = beats();
  await ann.page.clock.runFor(25_000);
  await mark();
  assert.equal(beats() - before, 0);
  await ann.page.clock.runFor(10_000);
  await mark();
  assert.equal(beats() - before, 1);
  await ann.page.clock.runFor(30_000);
  await mark();
  assert.equal(beats() - before, 2);
  assert.deepEqual(ann.wrong, []);
});
