// The client module in real browsers: pages of a chat application, at an origin of its own, on a live server.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { startSiskin, waitFor } from "../harness.mjs";
import { launch } from "./browser.mjs";
import { enter, makeNote, open, startFrontend } from "./frontend.mjs";
import { startProxy } from "./proxy.mjs";

const MARKUP = "<img src=x onerror=hit=1><u>m</u>";

let browser, siskin, frontend, compiled;
before(async () => {
  [browser, siskin] = await Promise.all([launch(), startSiskin()]);
  frontend = await startFrontend(siskin);
  compiled = compile().catch((error) => error.message);
});
after(() => Promise.all([browser.close(), siskin.close(), frontend.close()]));

/** What the TypeScript compiler has to say about a frontend. */
async function compile() {
  const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
  const consumer = fileURLToPath(new URL("consumer.ts", import.meta.url));
  const options = ["--noEmit", "--strict", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler"];
  return new Promise((done) => execFile(process.execPath, [tsc, ...options, consumer], (error, stdout) => done(error ? `${error.message} ${stdout}` : "")));
}

/** Somebody with the application open, signed in. */
const user = (t, id, options) => enter(t, browser, frontend, siskin, id, options);

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
  // Bob says no more, and Ann's time goes on.
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

test("a lost connection is tried again after a second, later after up to five, at random; whoever is back signs in", async (t) => {
  const proxy = await startProxy(siskin.port);
  t.after(() => proxy.close());
  const ann = await user(t, "ann", { at: proxy.url, clock: true });
  await ann.run(() => {
    const note = (name) => window.client.socket.io.on(name, () => window.heard.push([name, Date.now()]));
    ["reconnect_attempt", "reconnect_error"].forEach(note);
    window.client.on("state", (state) => window.heard.push(["when", state, Date.now()]));
  });
  proxy.cut();
  const [, , lost] = (await ann.hears("the loss", 1, "when"))[0];
  const times = async (kind) => (await ann.heard(kind)).map(([, time]) => time);
  const until = async (kind, count, step) => {
    const more = () => times(kind).then((all) => all.length >= count || ann.page.clock.runFor(step));
    await waitFor(more, { what: `${kind} ${count}` });
  };
  for (let tries = 1; tries <= 6; tries += 1) {
    if (tries === 6) proxy.heal();
    await until("reconnect_attempt", tries, 500);
    if (tries < 6) await until("reconnect_error", tries, 1);
  }
  const [attempts, failures] = [await times("reconnect_attempt"), await times("reconnect_error")];
  const waits = attempts.map((at, index) => at - (failures[index - 1] ?? lost));
  const bounds = [[500, 1500], [1000, 3000], [2000, 5000], [4000, 5000], [5000, 5000], [5000, 5000]];
  // In the page's own time.
  waits.forEach((wait, index) => assert.ok(bounds[index][0] <= wait && wait <= bounds[index][1] + 1, `${waits}`));
  await waitFor(async () => (await ann.heard("when")).at(-1)[1] === "online", { what: "Ann online again" });
  assert.equal(ann.sent.filter((frame) => frame.includes('"user-join"')).length, 2);
  assert.deepEqual(ann.wrong, []);
});

test("a heartbeat each 30 s", async (t) => {
  const ann = await user(t, "ann", { clock: true });
  const beats = () => ann.sent.filter((frame) => frame.includes('"heartbeat"')).length;
  /** How many were sent after so much more time, once siskin has answered something else. */
  const after = async (ms) => {
    await ann.page.clock.runFor(ms);
    await ann.run(() => window.client.ask("usage", { model: "m" }));
    return beats();
  };
  assert.deepEqual([await after(29_999), await after(1), await after(29_999), await after(1)], [0, 1, 1, 2]);
  assert.deepEqual(ann.wrong, []);
});

test("a note's saved content seeds an empty document once; cursors are seen, and gone with the page", async (t) => {
  await makeNote(siskin, "seeded", "write", "Saved before. ");
  const [ann, bob] = await Promise.all([user(t, "ann"), user(t, "bob")]);
  const seedAndEdit = () => window.edit("note_seeded", { seed: (doc, { md }) => doc.getText("text").insert(0, md) });
  await Promise.all([ann.run(seedAndEdit), bob.run(seedAndEdit)]);
  const text = ({ run }) => run(() => window.text.toString());
  const same = (what) => waitFor(async () => (await text(ann)) === what && (await text(bob)) === what, { what });
  await same("Saved before. ");
  await bob.run(() => window.text.insert(window.text.length, "Written now."));
  await same("Saved before. Written now.");
  await bob.run(() => window.provider.awareness.setLocalStateField("cursor", { anchor: 3, head: 7, name: "Bob" }));
  const cursors = () => ann.run(() => [...window.provider.awareness.getStates().values()].map(({ cursor }) => cursor).filter(Boolean));
  await waitFor(async () => (await cursors()).length === 1, { what: "Bob's cursor" });
  assert.deepEqual(await cursors(), [{ anchor: 3, head: 7, name: "Bob" }]);
  await bob.page.reload();
  await waitFor(async () => (await cursors()).length === 0, { what: "no cursor" });
  assert.deepEqual([...ann.wrong, ...bob.wrong], []);
});

test("the README's example does what it says, at another origin than siskin", async (t) => {
  const readme = await readFile(new URL("../../README.md", import.meta.url), "utf8");
  const [, example] = readme.match(/```js\n(import \{ connect, SiskinProvider \}[^]*?)\n```/);
  assert.equal(example.split("\n").length, 10);
  const around = `
    import * as Y from "yjs";
    const { awareness } = Y;
    const [token, chatId, doc] = ["${siskin.token("ann")}", "local:c", new Y.Doc()];
    const heard = [];
    const [showConnection, append, show] = ["state", "append", "show"].map((name) => (...what) => heard.push([name, ...what]));
    class Notification extends window.Notification {
      constructor(...what) {
        super(...what);
        heard.push(["notify", ...what]);
      }
    }
    window.text = doc.getText("text");
    window.heard = heard;`;
  const script = `${around}\n${example.replaceAll("https://chat.example", siskin.url)}\nObject.assign(window, { client, done, provider });`;
  const app = await startFrontend(siskin, { "/readme.js": script });
  t.after(() => app.close());
  await makeNote(siskin, "n1", "write");
  await siskin.api("PUT", "/channels/readme", { name: "R", members: ["ann"] });
  const ann = await open(t, browser, `${app.url}/?readme.js`, { permissions: ["notifications"] });
  ann.page.on("dialog", (dialog) => dialog.accept());
  const bob = await user(t, "bob");
  await waitFor(() => ann.run(() => window.client?.online && window.provider.synced), { what: "the example, signed in" });
  assert.deepEqual((await ann.heard("state")).at(-1), ["state", "online", ""]);
  await event("local:c", "message", { content: MARKUP });
  assert.deepEqual(await ann.hears("a message", 1, "append"), [["append", "m1", MARKUP]]);
  await event("local:d", "chat:completion", { done: true, title: "Done", content: "elsewhere" });
  assert.deepEqual(await ann.hears("a notification", 1, "notify"), [["notify", "Done", { body: "elsewhere" }]]);
  const by = { id: "bob", name: "Bob" };
  await siskin.api("POST", "/emit", { room: "channel:readme", event: "events:channel", data: { channel_id: "readme", user: by, data: { type: "message", data: { content: "hi" } } } });
  assert.deepEqual(await ann.hears("a channel's message", 1, "show"), [["show", "readme", by, { content: "hi" }]]);
  const call = { user_id: "ann", session_id: await ann.run(() => window.client.id), chat_id: "local:c", event: { type: "confirmation", data: { message: "Sure?" } } };
  assert.deepEqual(await siskin.api("POST", "/chat/call", call), { answer: true });
  await waitFor(async () => (await siskin.api("GET", "/models")).models.includes("llama3"), { what: "the model in use" });
  await ann.run(() => window.done());
  await bob.run(() => window.edit("note:n1"));
  await bob.run(() => window.text.insert(0, "from Bob"));
  await waitFor(() => ann.run(() => window.text.toString() === "from Bob"), { what: "Bob's edit" });
  assert.deepEqual([...ann.wrong, ...bob.wrong], []);
});

test("the module's types hold for a frontend in TypeScript", async () => {
  assert.equal(await compiled, "");
});
