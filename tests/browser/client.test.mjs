// The client module in real browsers: a chat application's pages and the console, two users at a time, on a live server.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { apiKey, sleep, startSiskin, waitFor } from "../harness.mjs";
import { launch, visit } from "./browser.mjs";
import { enter, open, startFrontend } from "./frontend.mjs";
import { startProxy } from "./proxy.mjs";

const MARKUP = "<img src=x onerror=hit=1><u>m</u>";

const now = () => Math.floor(Date.now() / 1000);

/** Fay is there from the beginning, with a token that soon expires: siskin looks each 30 s. */
let browser, siskin, frontend, fay, compiled;
before(async () => {
  [browser, siskin] = await Promise.all([launch(), startSiskin()]);
  frontend = await startFrontend(siskin);
  await note(siskin, "console", "write");
  const untilTheEnd = { after: () => {} };
  fay = await watcher(untilTheEnd, "fay", { token: siskin.token("fay", "fay", "user", { exp: now() + 25 }) });
  await fay.says("note-status", "In step");
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

const note = (at, id, permission, content = null) => {
  const access_grants = [{ principal_type: "user", principal_id: "*", permission }];
  return at.api("PUT", `/notes/${id}`, { user_id: "ann", title: id, data: { content }, access_grants });
};

const saved = { md: "Saved before. ", html: "", json: null };

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

test("markup in names, contents and what lists show is text; a question is answered in the page", async (t) => {
  const eve = await watcher(t, "eve", { key: true });
  const [mark, ann] = await Promise.all([watcher(t, "mark", { token: siskin.token("mark", MARKUP) }), user(t, "ann")]);
  await eve.says("note-people", MARKUP);
  await mark.says("who", MARKUP);
  await siskin.api("PUT", "/channels/console/members/mark");
  await mark.page.fill("#channel-text", "I type");
  await eve.says("channel-typing", MARKUP);
  await mark.page.fill("#channel-text", "");
  await waitFor(async () => (await eve.text("channel-typing")) === "", { what: "nobody who types" });
  const by = { id: "mark", name: MARKUP };
  await siskin.api("POST", "/emit", { room: "channel:console", event: "events:channel", data: { channel_id: "console", user: by, data: { type: "message", data: { content: `said ${MARKUP}` } } } });
  for (const { says } of [eve, mark]) await says("channel-log", `${MARKUP}said ${MARKUP}`);
  for (const [type, data] of [
    ["console:question", { text: MARKUP, from: "mark" }],
    ["status", { description: `does ${MARKUP}`, done: false }],
    ["message", { content: `half ${MARKUP}` }],
    ["replace", { content: `whole ${MARKUP}` }],
    [MARKUP, { [MARKUP]: [MARKUP] }],
  ]) await event("console-mark", type, data, "mark");
  await mark.says("chat-log", `does ${MARKUP}whole ${MARKUP}`);
  await mark.says("arrived", "<u>");
  await siskin.api("POST", "/emit", { user_id: "mark", event: "error", data: { message: `wrong ${MARKUP}` } });
  await mark.says("try-error", `wrong ${MARKUP}`);

  const { sessions } = await siskin.api("GET", "/sessions?user_id=mark");
  const question = { user_id: "mark", session_id: sessions[0].sid, chat_id: "console-mark", event: { type: "confirmation", data: { title: MARKUP } } };
  const answer = siskin.api("POST", "/chat/call", question);
  await mark.says("chat-log", MARKUP);
  await mark.page.click("#chat-log button:has-text('Yes')");
  assert.deepEqual(await answer, { answer: true });

  await ann.run((markup) => (window.edit(markup), window.client.useModel(markup)), MARKUP);
  await siskin.api("PUT", `/channels/${encodeURIComponent(MARKUP)}`, { name: "M", members: ["ann"] });
  for (const list of ["sessions", "rooms", "models", "documents"]) {
    await eve.page.click(`#tab-${list}`);
    await eve.says("list", MARKUP);
  }
  for (const { page, wrong } of [eve, mark]) {
    assert.equal(await page.locator("u, img[src=x]").count(), 0);
    assert.equal(await page.evaluate(() => window.hit), undefined);
    assert.deepEqual(wrong, []);
  }
});

test("a note in two windows of one user and one of another; names come and go; edits on both sides of a stalled and cut network are merged", async (t) => {
  const proxy = await startProxy(siskin.port);
  t.after(() => proxy.close());
  const ann = await watcher(t, "ann", { key: true });
  await ann.says("note-status", "In step");
  const [second, bob] = await Promise.all([watcher(t, "ann"), watcher(t, "bob", { url: proxy.url })]);
  const all = [ann, second, bob];
  const value = ({ page }) => page.inputValue("#note-text");
  const same = (text) => waitFor(async () => (await Promise.all(all.map(value))).every((value) => value === text), { what: `"${text}" everywhere` });
  await ann.says("note-people", "bob");
  await bob.says("note-people", "ann");
  await ann.page.fill("#note-text", "middle");
  await same("middle");
  await second.page.fill("#note-text", "the middle");
  await same("the middle");
  await bob.page.fill("#note-text", "the middle of it");
  await same("the middle of it");

  proxy.stall();
  await ann.page.fill("#note-text", "In the middle of it");
  await bob.page.fill("#note-text", "the middle of it all");
  await waitFor(async () => (await value(second)) === "In the middle of it", { what: "Ann's edit in her other window" });
  assert.equal(await value(bob), "the middle of it all", "nothing passes");
  proxy.cut();
  await bob.says("note-status", "Offline");
  assert.equal(await bob.text("note-people"), "bob");
  await second.page.fill("#note-text", "Now in the middle of it");
  await bob.page.fill("#note-text", "the middle of it all.");
  proxy.heal();
  await same("Now in the middle of it all.");
  for (const { says } of all) await says("note-status", "In step");
  await bob.says("note-people", "ann");

  // A window that is closed takes its name along at once, not after the 30 s of awareness.
  await bob.page.close();
  await waitFor(async () => !(await ann.text("note-people")).includes("bob"), { seconds: 20, what: "Bob's name gone" });
  await waitFor(async () => (await siskin.api("GET", "/notes/console")).data?.content?.md === "Now in the middle of it all.", { what: "the save" });
  assert.deepEqual(all.flatMap(({ wrong }) => wrong), []);
});

test("a note's saved content seeds an empty document once; cursors are seen, and gone with the page", async (t) => {
  await note(siskin, "seeded", "write", saved);
  const [ann, bob] = await Promise.all([user(t, "ann"), user(t, "bob")]);
  const seedAndEdit = () => window.edit("note_seeded", { seed: (doc, { md }) => doc.getText("text").insert(0, md) });
  await Promise.all([ann.run(seedAndEdit), bob.run(seedAndEdit)]);
  const text = ({ run }) => run(() => window.text.toString());
  const same = (what) => waitFor(async () => (await text(ann)) === what && (await text(bob)) === what, { what });
  await same(saved.md);
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

test("who may only read a note sees it, and what is typed nevertheless is refused in the page; who may not read is told", async (t) => {
  const own = await startSiskin();
  t.after(() => own.close());
  await note(own, "console", "read", saved);
  const carl = await watcher(t, "carl", { at: own });
  const value = ({ page }) => page.inputValue("#note-text");
  const shows = (person, text) => waitFor(async () => (await value(person)) === text, { what: `"${text}"` });
  // Alone there: nobody who could write has opened it.
  await carl.says("note-status", "You may read");
  await shows(carl, saved.md);
  const ann = await watcher(t, "ann", { at: own });
  await shows(ann, saved.md);
  const dora = await watcher(t, "dora", { at: own });
  await dora.says("note-status", "In step");
  await ann.page.fill("#note-text", "Ann wrote this.");
  for (const reader of [carl, dora]) await shows(reader, "Ann wrote this.");
  await dora.page.fill("#note-text", "Ann wrote this. So did Dora.");
  await dora.says("note-status", "You may read");
  await shows(dora, "Ann wrote this.");
  assert.ok(await dora.page.evaluate(() => document.getElementById("note-text").readOnly));
  await ann.page.fill("#note-text", "Ann wrote this, too.");
  for (const reader of [carl, dora]) await shows(reader, "Ann wrote this, too.");
  await own.api("PATCH", "/notes/console", { access_grants: [] });
  await carl.page.reload();
  await carl.says("note-status", "may not read");
  assert.ok(await carl.page.isDisabled("#note-text"));
  assert.deepEqual([ann, carl, dora].flatMap(({ wrong }) => wrong), []);
});

/** A backend that streams an answer, and after a fault waits until `ready`, says again what it has said, and goes on. */
async function streamAnswer(at, path, words, ready) {
  const line = (type, data) => `${JSON.stringify({ type, data })}\n`;
  let said = 0;
  async function* body() {
    if (said) yield line("replace", { content: words.slice(0, said).join("") });
    for (const word of words.slice(said)) {
      yield line("message", { content: word });
      said += 1;
      await sleep(40);
    }
    yield line("chat:completion", { done: true });
  }
  const headers = { authorization: `Bearer ${apiKey}`, "content-type": "application/x-ndjson" };
  const post = () => fetch(`${at.url}/api/v1${path}`, { method: "POST", headers, body: ReadableStream.from(body()).pipeThrough(new TextEncoderStream()), duplex: "half" });
  for (let faults = 0; ; faults += 1) {
    const answer = await post().catch(() => null);
    if (answer?.ok) return faults;
    await ready();
  }
}

// These wait more than they work.
describe("at the same time", { concurrency: true }, () => {
  test("presence; models in use and documents in the console come and go with what others do", async (t) => {
    const grants = [{ principal_type: "user", principal_id: "bob", permission: "read" }];
    await siskin.api("PUT", "/chats/shared", { user_id: "ann", title: "S", access_grants: grants });
    const [ann, bob, eve] = await Promise.all([user(t, "ann"), user(t, "bob"), watcher(t, "eve", { key: true })]);
    const done = await ann.page.evaluateHandle(() => window.client.useModel("llama"));
    const began = Date.now();
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
    await waitFor(async () => (await siskin.api("GET", "/models")).models.includes("llama") && Date.now() - began > 4000, { what: "the model, still" });
    await eve.says("list", "llama");
    await eve.page.click("#tab-documents");
    await eve.says("list", "plan");
    await ann.run(() => window.provider.destroy());
    await waitFor(async () => !(await eve.text("list")).includes("plan"), { what: "a list without the document" });
    await eve.page.click("#tab-models");
    await eve.says("list", "llama");
    await done.evaluate((done) => done());
    await waitFor(async () => !(await eve.text("list")).includes("llama"), { what: "a list without the model" });
    assert.deepEqual([...ann.wrong, ...bob.wrong, ...eve.wrong], []);
  });

  test("the server is killed in the middle of an answer: the pages say so, come back by themselves, and the rest arrives", async (t) => {
    const own = await startSiskin();
    t.after(() => own.close());
    const windows = [await watcher(t, "ann", { at: own, key: true }), await watcher(t, "ann", { at: own })];
    const frames = windows.map(({ page }) => {
      const sent = [];
      page.on("websocket", (socket) => socket.on("framesent", ({ payload }) => sent.push(String(payload))));
      return sent;
    });
    for (const { page, says } of windows) {
      await says("note-status", "In step");
      await page.evaluate(() => (window.same = true));
    }
    const words = Array.from({ length: 60 }, (_, at) => `w${at} `);
    const back = async () => (await own.api("GET", "/rooms/user:ann").catch(() => null))?.sessions.length === 2;
    const path = "/chat/stream?user_id=ann&chat_id=console-ann&message_id=m1&save=false";
    const faults = streamAnswer(own, path, words, () => waitFor(back, { seconds: 30, what: "both windows back" }));
    for (const { says } of windows) await says("chat-log", words[10]);
    await own.kill();
    for (const { says } of windows) await says("try-error", "comes back by itself");
    await windows[0].page.fill("#note-text", "typed here");
    await windows[1].page.fill("#note-text", "and there");
    await own.start();
    assert.equal(await faults, 1);
    for (const { page, text } of windows) {
      await waitFor(async () => (await text("chat-log")).includes(words.at(-1)), { what: "the last word" });
      const all = (await text("chat-log")).match(/w\d+ /g);
      assert.deepEqual(all, words, "nothing is missing, nothing twice");
      assert.equal(await text("try-error"), "");
      assert.ok(await page.evaluate(() => window.same), "not loaded again");
    }
    const notes = () => Promise.all(windows.map(({ page }) => page.inputValue("#note-text")));
    const merged = ([one, two]) => one === two && one.includes("typed here") && one.includes("and there");
    await waitFor(async () => merged(await notes()), { what: "both notes in both windows" });
    // Signed in again on the one connection that came back.
    for (const sent of frames) assert.equal(sent.filter((frame) => frame.includes('"user-join"')).length, 1);
    assert.deepEqual(windows.flatMap(({ wrong }) => wrong), []);
  });

  test("a token that has expired is told, and another one helps", async (t) => {
    const gus = await visit(t, browser, siskin.url);
    await gus.signIn(siskin.token("gus", "Gus", "user", { exp: now() - 60 }));
    await gus.says("sign-in-error", "expired");
    await gus.signIn(siskin.token("gus", "Gus"));
    await gus.page.waitForSelector("#try:not([hidden])");
    await gus.says("who", "Gus");
    assert.equal(await gus.text("sign-in-error"), "");
    assert.deepEqual(gus.wrong, []);
  });
});

test("a token that expires while connected is told; with another one the page goes on, and nothing typed is lost", async (t) => {
  await waitFor(async () => (await fay.text("sign-in-error")).includes("expired"), { seconds: 75, what: "word of the expired token" });
  await fay.says("try-error", "expired");
  await waitFor(async () => (await siskin.api("GET", "/rooms/doc_note:console")).sessions.length === 0, { what: "a note that nobody has open" });
  assert.ok(await fay.page.isVisible("#secret"));
  const typed = `typed without a session; ${await fay.page.inputValue("#note-text")}`;
  await fay.page.fill("#note-text", typed);
  await fay.says("note-status", "Offline");
  await fay.signIn(siskin.token("fay"));
  await fay.says("note-status", "In step");
  const gus = await watcher(t, "gus");
  await waitFor(async () => (await gus.page.inputValue("#note-text")) === typed, { what: "what Fay typed" });
  assert.deepEqual([await fay.text("sign-in-error"), await fay.text("try-error")], ["", ""]);
  assert.deepEqual([...fay.wrong, ...gus.wrong], []);
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
  await note(siskin, "n1", "write");
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
