// The client module's Yjs provider against the real server: cursors, offline edits, first content, refused writes.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import * as awareness from "y-protocols/awareness";
import * as Y from "yjs";
import { makeNote, savedText } from "../documents/editor.mjs";
import { startSiskin, waitFor } from "../harness.mjs";
import { layCable } from "./cable.mjs";
import { heard, importModule } from "./module.mjs";

let siskin, module;
before(async () => {
  siskin = await startSiskin();
  module = await importModule(siskin);
});
after(() => siskin.close());

const seed = (doc, { md }) => md && doc.getText("text").insert(0, md);
const content = (doc) => ({ content: { md: doc.getText("text").toString(), html: "", json: null } });

/** A user's open document: in step when it is returned, unless `wait` is false. */
async function open(t, user, id, { at = siskin, wait = true, ...options } = {}) {
  const client = module.connect({ url: at.url, token: at.token(user), reconnectionDelay: 50, reconnectionDelayMax: 100 });
  const doc = new Y.Doc();
  const provider = new module.SiskinProvider(client, id, doc, { Y, awareness, seed, content, user: { name: user, color: "#123456" }, ...options });
  t.after(() => (provider.destroy(), client.close()));
  if (wait) await heard(provider, "synced");
  return { client, doc, provider, text: doc.getText("text") };
}

/** Long ago, by the clock: what was typed before has been saved. */
function timePasses(t) {
  const now = Date.now;
  t.after(() => (Date.now = now));
  Date.now = () => now() + 20_000;
}

const says = (editor, text) => waitFor(() => editor.text.toString() === text, { what: JSON.stringify(text) });

test("two editors see each other's edits, cursors, coming and leaving", async (t) => {
  const ann = await open(t, "ann", "board");
  const joined = heard(ann.provider, "joined");
  const bob = await open(t, "bob", "board");
  assert.deepEqual((await joined)[0], { document_id: "board", user_id: "bob", user_name: "bob", user_color: "#123456" });
  ann.provider.awareness.setLocalStateField("cursor", 3);
  bob.provider.awareness.setLocalStateField("user", { name: "Bob" });
  const seen = ({ provider }, { doc }) => provider.awareness.getStates().get(doc.clientID);
  await waitFor(() => seen(bob, ann)?.cursor === 3 && seen(ann, bob)?.user?.name === "Bob", { what: "cursors" });
  ann.text.insert(0, "Hello");
  await says(bob, "Hello");
  bob.text.insert(5, ", you");
  await says(ann, "Hello, you");
  assert.deepEqual(bob.provider.sessions.toSorted(), [ann.client.id, bob.client.id].toSorted());
  const left = heard(ann.provider, "left");
  bob.provider.destroy();
  assert.equal((await left)[0].user_id, "bob");
  assert.equal(seen(ann, bob), undefined);
});

test("offline edits of both sides are merged", async (t) => {
  const [ann, bob] = [await open(t, "ann", "merge"), await open(t, "bob", "merge")];
  ann.text.insert(0, "middle");
  await says(bob, "middle");
  bob.client.socket.io.engine.close();
  await waitFor(() => bob.provider.status === "offline", { what: "offline" });
  bob.text.insert(0, "start ");
  ann.text.insert(6, " end");
  await says(ann, "start middle end");
  await says(bob, "start middle end");
  assert.equal(bob.provider.status, "synced");
});

test("a note's saved content seeds the first editor, and no second one", async (t) => {
  await makeNote(siskin, "seeded", { writers: ["bob"], data: { content: { md: "saved before", html: "", json: null } } });
  const both = await Promise.all([open(t, "ann", "note_seeded"), open(t, "bob", "note:seeded")]);
  for (const editor of both) await says(editor, "saved before");
  both[0].text.insert(0, "Was ");
  await says(both[1], "Was saved before");
  await waitFor(async () => (await savedText(siskin, "seeded")) === "Was saved before", { what: "the save" });
});

test("who may only read follows, and is told when a change is refused", async (t) => {
  await makeNote(siskin, "read", { readers: ["bob"] });
  const [ann, bob] = [await open(t, "ann", "note:read"), await open(t, "bob", "note:read")];
  ann.text.insert(0, "mine");
  await says(bob, "mine");
  assert.equal(bob.provider.status, "synced");
  const refused = heard(bob.provider, "status");
  bob.text.insert(4, " too");
  assert.deepEqual(await refused, ["readonly"]);
  ann.text.insert(4, "!");
  await waitFor(() => bob.text.toString().includes("!"), { what: "what the writer wrote" });
  assert.equal(ann.text.toString(), "mine!");
});

test("who may only read is not told of a refusal before anything was typed, whatever was deleted before", async (t) => {
  await makeNote(siskin, "deleted", { readers: ["bob"] });
  const ann = await open(t, "ann", "note:deleted");
  ann.text.insert(0, "too much");
  ann.text.delete(3, 5);
  await says(await open(t, "bob", "note:deleted"), "too");
  const bob = await open(t, "bob", "note:deleted");
  await says(bob, "too");
  const statuses = [];
  bob.provider.on("status", (status) => statuses.push(status));
  ann.text.insert(3, "!");
  await says(bob, "too!");
  assert.deepEqual([bob.provider.status, statuses], ["synced", []]);
});

test("who is put out while editing is told so", async (t) => {
  await makeNote(siskin, "mine", { writers: ["bob"] });
  const bob = await open(t, "bob", "note:mine");
  await makeNote(siskin, "mine", {});
  const denied = heard(bob.provider, "status");
  bob.text.insert(0, "too late");
  assert.deepEqual(await denied, ["denied"]);
});

test("names and cursors come back with the connection", async (t) => {
  const [ann, bob] = [await open(t, "ann", "names"), await open(t, "bob", "names")];
  const sees = (one, other) => one.provider.awareness.getStates().get(other.doc.clientID)?.name;
  for (const [editor, name] of [[ann, "Ann"], [bob, "Bob"]]) editor.provider.awareness.setLocalStateField("name", name);
  await waitFor(() => sees(ann, bob) === "Bob" && sees(bob, ann) === "Ann", { what: "names" });
  const back = heard(bob.provider, "synced");
  bob.client.socket.io.engine.close();
  await waitFor(() => bob.provider.status === "offline", { what: "offline" });
  assert.equal(sees(bob, ann), undefined);
  await back;
  // Well before awareness repeats itself, each 15 s.
  await waitFor(() => sees(bob, ann) === "Ann", { seconds: 5, what: "Ann's name" });
});

test("who comes back to a note that others have left and opened again sees it once", async (t) => {
  await makeNote(siskin, "again", { writers: ["bob"] });
  const ann = await open(t, "ann", "note:again");
  ann.text.insert(0, "begun");
  await waitFor(async () => (await savedText(siskin, "again")) === "begun", { what: "the save" });
  timePasses(t);
  const { io } = ann.client.socket;
  io.reconnectionDelay(2000).reconnectionDelayMax(2000).randomizationFactor(0);
  io.engine.close();
  await waitFor(async () => (await siskin.api("GET", "/rooms/doc_note:again")).sessions.length === 0, { what: "an empty room" });
  const bob = await open(t, "bob", "note:again");
  await says(bob, "begun");
  bob.text.insert(5, " and ended");
  assert.equal(ann.provider.status, "offline");
  await says(ann, "begun and ended");
  ann.text.insert(0, "It is ");
  await says(bob, "It is begun and ended");
  await waitFor(async () => (await savedText(siskin, "again")) === "It is begun and ended", { what: "the save" });
});

test("what was typed offline is saved in the note, too", async (t) => {
  await makeNote(siskin, "away");
  const ann = await open(t, "ann", "note:away");
  const { io } = ann.client.socket;
  io.reconnectionDelay(1000).reconnectionDelayMax(1000);
  io.engine.close();
  await waitFor(() => ann.provider.status === "offline", { what: "offline" });
  ann.text.insert(0, "on the train");
  await waitFor(async () => (await savedText(siskin, "away")) === "on the train", { what: "the save" });
});

const isSaved = (id, text) => waitFor(async () => (await savedText(siskin, id)) === text, { what: `saved ${text}` });

/** Two editors of a note, the first of them over a cable. */
async function openTwo(t, id) {
  await makeNote(siskin, id, { writers: ["bob"], data: { content: { md: "!" } } });
  const cable = await layCable(t, siskin.port);
  const ann = await open(t, "ann", `note:${id}`, { at: { url: cable.url, token: siskin.token } });
  const bob = await open(t, "bob", `note:${id}`);
  await says(ann, "!");
  return [ann, bob, cable];
}

test("what two typed at the same time is saved, though the one's content is late", async (t) => {
  const [ann, bob, cable] = await openTwo(t, "both");
  cable.hold(true);
  ann.text.insert(0, "a");
  bob.text.insert(1, "b");
  await isSaved("both", "!b");
  // Not because they typed lately: all that tells is that the one's content was on its way.
  timePasses(t);
  cable.hold(false);
  await says(ann, "a!b");
  await isSaved("both", "a!b");
});

test("what two typed at the same time is saved, though the one has left", async (t) => {
  const [ann, bob, cable] = await openTwo(t, "left");
  cable.stall(true);
  bob.text.insert(1, "b");
  await isSaved("left", "!b");
  ann.text.insert(0, "a");
  await isSaved("left", "a!");
  cable.cut();
  ann.client.close();
  await says(bob, "a!b");
  await isSaved("left", "a!b");
});

test("what is on its way for long is not shown as saved", async (t) => {
  const [ann, bob, cable] = await openTwo(t, "stalls");
  cable.hold(true);
  ann.text.insert(0, "a");
  await waitFor(() => ann.provider.status === "unsaved", { what: "not saved" });
  assert.equal(ann.provider.reason, "unanswered");
  assert.equal(bob.text.toString(), "!");
  cable.hold(false);
  await waitFor(() => ann.provider.status === "synced", { what: "saved" });
  assert.equal(ann.provider.reason, null);
  await says(bob, "a!");
});

test("a note's content that is not kept is shown as unsaved, until it is", { timeout: 60_000 }, async (t) => {
  await makeNote(siskin, "heavy");
  let weight = "x".repeat(9 << 20);
  const heavy = (doc) => ({ content: { md: doc.getText("text").toString(), html: weight, json: null } });
  const ann = await open(t, "ann", "note:heavy", { content: heavy });
  ann.text.insert(0, "a");
  await waitFor(() => ann.provider.status === "unsaved", { what: "not saved" });
  assert.equal(ann.provider.reason, "too large");
  weight = "";
  ann.text.insert(1, "b");
  await isSaved("heavy", "ab");
  await waitFor(() => ann.provider.status === "synced", { what: "saved" });
  assert.equal(ann.provider.reason, null);
});

test("a note's content that is lost with the connection is sent again", async (t) => {
  const [ann, , cable] = await openTwo(t, "lost");
  const { socket } = ann.client;
  const isLost = new Promise((lost) => {
    socket.emit = (name, payload, ...rest) => {
      if (!payload?.data) return Object.getPrototypeOf(socket).emit.call(socket, name, payload, ...rest);
      delete socket.emit;
      lost();
      return socket;
    };
  });
  ann.text.insert(0, "a");
  await isLost;
  cable.cut();
  await isSaved("lost", "a!");
  assert.equal(ann.text.toString(), "a!");
});

test("who may not read is told so at once", async (t) => {
  await makeNote(siskin, "private");
  const { provider } = await open(t, "bob", "note:private", { wait: false });
  assert.deepEqual(await heard(provider, "status", (status) => status !== "offline"), ["denied"]);
});

test("who opens what takes long to read is not told meanwhile that it may not be read", async (t) => {
  const [ann, bob] = [await open(t, "ann", "long"), await open(t, "bob", "long")];
  ann.text.insert(0, "x".repeat(1_800_000));
  const has = ({ text }) => waitFor(() => text.length === ann.text.length, { what: "all of it" });
  await has(bob);
  const cleo = await open(t, "cleo", "long", { wait: false });
  const statuses = [];
  cleo.provider.on("status", (status) => statuses.push(status));
  await has(cleo);
  assert.deepEqual(statuses, ["synced"]);
});

/** Two who knew a note are away while its server starts anew, and a third one seeds it from what was saved. */
async function begunAnew(t, id, { meanwhile = () => {} } = {}) {
  const own = await startSiskin();
  t.after(() => own.close());
  await makeNote(own, id, { writers: ["bob", "cleo"] });
  const [ann, bob] = [await open(t, "ann", `note:${id}`, { at: own }), await open(t, "bob", `note:${id}`, { at: own })];
  ann.text.insert(0, "before");
  await says(bob, "before");
  await waitFor(async () => (await savedText(own, id)) === "before", { what: "the save" });
  timePasses(t);
  for (const { client } of [ann, bob]) {
    client.socket.io.reconnection(false);
    client.socket.io.engine.close();
  }
  for (const { provider } of [ann, bob]) await waitFor(() => provider.status === "offline", { what: "offline" });
  meanwhile(ann);
  await own.kill();
  await own.start();
  const cleo = await open(t, "cleo", `note:${id}`, { at: own });
  await says(cleo, "before");
  return { own, ann, bob, cleo };
}

async function comeBack({ client, provider }) {
  const back = heard(provider, "synced");
  client.socket.connect();
  await back;
}

test("who comes back to a note that was begun anew from its saved content has it once", { timeout: 60_000 }, async (t) => {
  const { own, ann, bob, cleo } = await begunAnew(t, "anew");
  cleo.text.insert(6, " and meanwhile");
  await comeBack(ann);
  await says(ann, "before and meanwhile");
  await comeBack(bob);
  for (const editor of [ann, bob, cleo]) await says(editor, "before and meanwhile");
  bob.text.insert(0, "As ");
  ann.text.insert(ann.text.length, "!");
  for (const editor of [ann, bob, cleo]) await says(editor, "As before and meanwhile!");
  await waitFor(async () => (await savedText(own, "anew")) === "As before and meanwhile!", { what: "the save" });
});

test("who comes back has what was typed offline, and the rest is there once", { timeout: 60_000 }, async (t) => {
  const { own, ann, bob, cleo } = await begunAnew(t, "once", { meanwhile: ({ text }) => text.insert(6, " offline") });
  await comeBack(ann);
  await comeBack(bob);
  for (const editor of [ann, bob, cleo]) await says(editor, "before offline");
  await waitFor(async () => (await savedText(own, "once")) === "before offline", { what: "the save" });
});

test("what was written outside meanwhile wins, and what was typed offline is a version", { timeout: 60_000 }, async (t) => {
  const own = await startSiskin();
  t.after(() => own.close());
  await makeNote(own, "outside", { writers: ["bob"] });
  const [ann, bob] = [await open(t, "ann", "note:outside", { at: own }), await open(t, "bob", "note:outside", { at: own })];
  ann.text.insert(0, "before");
  await says(bob, "before");
  await waitFor(async () => (await savedText(own, "outside")) === "before", { what: "the save" });
  for (const { client } of [ann, bob]) client.socket.io.reconnection(false);
  await own.kill();
  for (const { provider } of [ann, bob]) await waitFor(() => provider.status === "offline", { what: "offline" });
  ann.text.insert(6, " offline");
  await own.start();
  await own.api("PATCH", "/notes/outside", { data: { content: { md: "outside", html: "", json: null } } });
  const ended = heard(ann.provider, "ended");
  for (const editor of [ann, bob]) await comeBack(editor);
  await ended;
  for (const editor of [ann, bob]) await says(editor, "outside");
  const versions = async () => (await own.api("GET", "/notes/outside/versions")).versions.map((version) => version.data.content.md);
  await waitFor(async () => (await versions()).includes("before offline"), { what: "the version" });
  // What bob had was saved: it is there once.
  assert.deepEqual((await versions()).toSorted(), ["before", "before offline"]);
  bob.text.insert(0, "from ");
  for (const editor of [ann, bob, await open(t, "ann", "note:outside", { at: own })]) await says(editor, "from outside");
  await waitFor(async () => (await savedText(own, "outside")) === "from outside", { what: "the save" });
});

test("what was typed survives a crash of the server, in the document and in the note", async (t) => {
  const own = await startSiskin();
  t.after(() => own.close());
  await makeNote(own, "crash", { writers: ["bob"] });
  const [ann, bob] = [await open(t, "ann", "note:crash", { at: own }), await open(t, "bob", "note:crash", { at: own })];
  ann.text.insert(0, "before");
  await says(bob, "before");
  const back = [heard(ann.provider, "synced"), heard(bob.provider, "synced")];
  await own.kill();
  await waitFor(() => bob.provider.status === "offline", { what: "offline" });
  bob.text.insert(6, " and meanwhile");
  await own.start();
  await Promise.all(back);
  for (const editor of [ann, bob]) await says(editor, "before and meanwhile");
  ann.text.insert(0, "As ");
  await waitFor(async () => (await savedText(own, "crash")) === "As before and meanwhile", { what: "the save" });
});

test("what can't be saved for what it is, is shown as not saved until it can be", async (t) => {
  await makeNote(siskin, "unsavable", { writers: ["bob"] });
  const many = Object.fromEntries(Array.from({ length: 300 }, (_, number) => [`field${number}`, 1]));
  let made = (saved) => ({ ...saved, ...many });
  const ann = await open(t, "ann", "note:unsavable", { content: (doc) => made(content(doc)) });
  const bob = await open(t, "bob", "note:unsavable");
  const shows = (status, reason) => waitFor(() => ann.provider.status === status && ann.provider.reason === reason, { what: `${status} ${reason}` });
  ann.text.insert(0, "one");
  await shows("unsaved", "too large");
  // Its document is stored, and what follows, too: that does not count as saved.
  ann.text.insert(3, " two");
  await says(bob, "one two");
  assert.equal(ann.provider.status, "unsaved");
  made = () => "text";
  ann.text.insert(7, " three");
  await shows("unsaved", "malformed");
  made = (saved) => saved;
  ann.text.insert(13, " four");
  await shows("synced", null);
  await waitFor(async () => (await savedText(siskin, "unsavable")) === "one two three four", { what: "the save" });
});
