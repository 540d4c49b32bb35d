// What can't be taken is refused, and its sender told; what can be is taken, however quick it comes, whatever is in it.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import * as Y from "yjs";
import { importModule } from "../clients/module.mjs";
import { startSiskin, waitFor } from "../harness.mjs";
import { Editor, makeNote, savedText } from "./editor.mjs";
import { Own } from "./own.mjs";
import { Page } from "./page.mjs";

let siskin, module;
before(async () => {
  // So few that a busy editor makes more of them, too.
  siskin = await startSiskin({ env: { SISKIN_EVENTS_PER_SECOND: "120" } });
  module = await importModule(siskin);
});
after(() => siskin.close());

async function editor(t, user, id, Program = Editor) {
  const made = Program === Own ? new Own(module, siskin, user, id) : new Program(siskin, user, id);
  t.after(() => made.close());
  await made.open();
  return made;
}

const says = (editor, text) =>
  waitFor(() => editor.text.toString() === text, { seconds: 40, what: `${JSON.stringify(text.slice(0, 40))} at ${editor.user}` }).catch((error) =>
    assert.fail(`${error.message}: ${JSON.stringify(editor.text.toString().slice(0, 80))}`),
  );

test("a refused update is answered with its reason, and so is its first content", async (t) => {
  await makeNote(siskin, "told", { writers: ["bob"] });
  const ann = await editor(t, "ann", "note:told");
  const bob = await editor(t, "bob", "note:told");
  const told = [];
  for (const { socket } of [ann, bob]) socket.on("error", (error) => told.push(error));
  const ask = (from, update, more) => from.ask("ydoc:document:update", { document_id: "note_told", update, ...more });
  assert.deepEqual(await ask(ann, [9, 9, 9]), { stored: false, reason: "malformed" });
  assert.equal(await ask(ann, [9, 9, 9], { initialize: true }), null);
  assert.deepEqual(await ask(ann, Buffer.alloc(3 << 20)), { stored: false, reason: "too large" });
  await makeNote(siskin, "told", { readers: ["bob"] });
  const text = new Y.Doc();
  text.getText("text").insert(0, "mine");
  const update = Array.from(Y.encodeStateAsUpdate(text));
  assert.deepEqual(await ask(bob, update), { stored: false, reason: "denied" });
  assert.equal(await ask(bob, update, { initialize: true }), null);
  await makeNote(siskin, "told", {});
  assert.deepEqual(await ask(bob, update), { stored: false, reason: "denied" });
  const reasons = ["malformed", "malformed", "too large", "denied", "denied", "denied"];
  assert.deepEqual(
    told.map(({ document_id, reason }) => [document_id, reason]),
    reasons.map((reason) => ["note:told", reason]),
  );
  assert.ok(told.every(({ message }) => message.length > 10));
  assert.equal(await ask(ann, update), undefined);
});

/** An update of one letter that builds on something of its own client, 26: `info` says by what. */
const buildingOn = (info, clock) => [1, 1, 26, 0, info, ...(info & 0xc0 ? [] : [0]), 26, clock, 1, 120, 0];

test("a change that would make Yjs throw in each editor reaches none: one that builds on itself, a document in it without options", async (t) => {
  const [ann, bob] = [await editor(t, "ann", "self"), await editor(t, "bob", "self", Own)];
  const heard = [];
  bob.client.socket.on("ydoc:document:update", ({ update }) => heard.push(update));
  for (const [info, clock] of [0x84, 0x44, 0x04].flatMap((info) => [[info, 0], [info, 7]])) {
    const update = buildingOn(info, clock);
    assert.throws(() => Y.applyUpdate(new Y.Doc(), Uint8Array.from(update)), `${update}`);
    const payload = { document_id: "self", update };
    assert.deepEqual(await ann.ask("ydoc:document:update", payload), { stored: false, reason: "malformed" }, `${update}`);
    assert.equal(await ann.ask("ydoc:document:update", { ...payload, initialize: true }), null);
  }
  // Options of a document in this one that are none, or would take its name or a function's place.
  const options = [[126], [127], [125, 5], [118, 1, 4, ...Buffer.from("guid"), 126], [118, 1, 8, ...Buffer.from("gcFilter"), 120]];
  for (const option of options) {
    const update = [1, 1, 26, 0, 9, 1, 1, 120, 1, 103, ...option, 0];
    assert.deepEqual(await ann.ask("ydoc:document:update", { document_id: "self", update }), { stored: false, reason: "malformed" }, `${update}`);
  }
  assert.equal(ann.errors.length, 12 + options.length);
  ann.text.insert(0, "typed");
  await says(bob, "typed");
  assert.equal(heard.length, 1);
  await says(await editor(t, "cleo", "self"), "typed");
});

test("a change whose fields can't be saved is refused, with the update that comes with them", async (t) => {
  await makeNote(siskin, "fields", { writers: ["bob"] });
  const [ann, bob] = [await editor(t, "ann", "note:fields"), await editor(t, "bob", "note:fields")];
  const told = [];
  ann.socket.on("error", ({ document_id, reason }) => told.push([document_id, reason].join()));
  const many = (count) => Object.fromEntries(Array.from({ length: count }, (_, number) => [`field${number}`, 1]));
  const update = [1, 1, 26, 0, 4, 1, 4, ...Buffer.from("text"), 1, 120, 0];
  const ask = (payload) => ann.ask("ydoc:document:update", { document_id: "note:fields", ...payload });
  const cases = [[many(257), "too large"], [many(50_000), "too large"], [[1], "malformed"], ["text", "malformed"]];
  for (const [data, reason] of cases) {
    assert.deepEqual(await ask({ data }), { stored: false, reason });
    assert.deepEqual(await ask({ update, data }), { stored: false, reason });
    assert.equal(await ask({ update, data, initialize: true }), null);
  }
  assert.deepEqual(await ask({ update: "text" }), { stored: false, reason: "malformed" });
  const reasons = [...cases.flatMap(([, reason]) => [reason, reason, reason]), "malformed"];
  assert.deepEqual(told, reasons.map((reason) => `note:fields,${reason}`));
  assert.equal(bob.text.toString(), "");
  assert.equal(await ask({ update, data: many(255) }), undefined);
  await says(bob, "x");
});

const HUGE = "x".repeat(3_000_000);

test("our provider says that a huge paste is not saved, and is in step again when it is undone", { timeout: 120_000 }, async (t) => {
  await makeNote(siskin, "paste", { writers: ["bob"] });
  const [ann, bob] = [await editor(t, "ann", "note:paste", Own), await editor(t, "bob", "note:paste", Own)];
  ann.text.insert(0, "start");
  await says(bob, "start");
  const undo = new Y.UndoManager(ann.text, { captureTimeout: 0 });
  ann.text.insert(5, HUGE);
  // Before that it may be said that there is no answer yet.
  await waitFor(() => ann.provider.reason === "too large", { seconds: 30, what: "the word that it is not saved" });
  assert.equal(ann.provider.status, "unsaved");
  // What others do arrives all the same, and what builds on it stays here.
  bob.text.insert(0, "A ");
  await waitFor(() => ann.text.toString().startsWith("A start"), { what: "what others do" });
  ann.text.insert(ann.text.length, "!");
  undo.undo();
  undo.undo();
  await says(ann, "A start");
  ann.text.insert(7, " again");
  await waitFor(() => ann.saved, { seconds: 40, what: "the word that it is saved" });
  for (const one of [ann, bob]) await says(one, "A start again");
  await waitFor(async () => (await savedText(siskin, "paste")) === "A start again", { what: "the save" });
  await says(await editor(t, "ann", "note:paste"), "A start again");
  assert.equal(ann.provider.reason, null);
});

test("our provider learns what became of what it sent, though no answer comes in time", { timeout: 120_000 }, async (t) => {
  const [ann, bob] = [await editor(t, "ann", "late", Own), await editor(t, "bob", "late", Own)];
  // As over a line that takes longer for a paste than anybody waits.
  const { ask } = Object.getPrototypeOf(ann.client);
  ann.client.ask = (event, payload) => ask.call(ann.client, event, payload, 1);
  ann.text.insert(0, HUGE);
  await waitFor(() => ann.provider.status === "unsaved", { seconds: 60, what: "the word that it is not saved" });
  assert.equal(ann.provider.reason, "too large");
  ann.text.delete(0, HUGE.length);
  ann.text.insert(0, "short");
  await says(bob, "short");
  await waitFor(() => ann.saved, { seconds: 40, what: "the word that it is saved" });
});

test("the page is in step again when a huge paste is undone", { timeout: 120_000 }, async (t) => {
  const [ann, bob] = [await editor(t, "ann", "pasted", Page), await editor(t, "bob", "pasted", Page)];
  ann.text.insert(0, "start");
  await says(bob, "start");
  const undo = new Y.UndoManager(ann.text, { captureTimeout: 0 });
  ann.text.insert(5, HUGE);
  await waitFor(() => ann.errors.length > 0, { seconds: 30, what: "the refusal" });
  undo.undo();
  ann.text.insert(5, " again");
  await says(bob, "start again");
  await says(await editor(t, "cleo", "pasted"), "start again");
});

test("what yrs takes is taken: documents in documents, and all shared types", async (t) => {
  const [ann, bob] = [await editor(t, "ann", "types"), await editor(t, "bob", "types")];
  ann.doc.getMap("m").set("page", new Y.Doc({ guid: "inner", autoLoad: true }));
  const nested = new Y.Map();
  ann.doc.getArray("a").push([nested, new Y.Text("t"), new Y.Array(), new Y.XmlFragment(), new Y.XmlText("x"), new Uint8Array([1, 2]), null, 1.5]);
  nested.set("deep", new Y.XmlElement("p"));
  ann.text.insertEmbed(0, { image: "x" });
  ann.text.insert(1, "typed on", { bold: true });
  await ann.settled();
  await waitFor(() => bob.text.toString() === "typed on", { what: "what follows" });
  assert.equal(bob.doc.getMap("m").get("page").guid, "inner");
  assert.equal(bob.doc.getArray("a").length, 8);
  assert.equal(bob.doc.getArray("a").get(0).get("deep").nodeName, "p");
  const late = await editor(t, "cleo", "types");
  assert.equal(late.doc.getMap("m").get("page").guid, "inner");
  assert.deepEqual(late.text.toDelta(), ann.text.toDelta());
  assert.deepEqual([...ann.errors, ...bob.errors], []);
});

test("2,600 quick inserts arrive, more slowly than they are made", { timeout: 120_000 }, async (t) => {
  const [ann, bob] = [await editor(t, "ann", "quick"), await editor(t, "bob", "quick")];
  const letter = (n) => String.fromCharCode(97 + (n % 26));
  const all = Array.from({ length: 2600 }, (_, n) => letter(n)).join("");
  for (const one of all) ann.text.insert(ann.text.length, one);
  await says(bob, all);
  await ann.settled();
  await says(await editor(t, "cleo", "quick"), all);
  await waitFor(() => siskin.log().includes("is read more slowly"), { what: "word of it in the log" });
});

test("a document that has as many blocks as it may, and was emptied, says what helps: it takes more once everybody has closed it", { timeout: 120_000 }, async (t) => {
  const id = await makeNote(siskin, "many-blocks");
  const ann = await editor(t, "ann", `note:${id}`);
  const told = [];
  ann.socket.on("error", ({ reason, message }) => told.push([reason, message]));
  for (let i = 0; i < 100_000; i += 10_000)
    ann.doc.transact(() => {
      for (let j = i; j < i + 10_000; j += 1) ann.text.insert(j % 2 ? j : 0, "x");
    });
  ann.text.delete(0, ann.text.length);
  await ann.settled();
  ann.send([0, 0], { data: ann.data() });
  ann.text.insert(0, "more");
  await waitFor(() => told.length, { what: "the refusal" });
  assert.deepEqual(told[0], ["too large", "The document is too large. It may take more once everybody has closed it"]);
  await waitFor(async () => (await savedText(siskin, id)) === "", { what: "the save" });
  await ann.ask("ydoc:document:leave", { document_id: `note:${id}` });
  const late = await editor(t, "ann", `note:${id}`);
  late.text.insert(0, "more");
  await late.settled();
  late.send([0, 0], { data: late.data() });
  await waitFor(async () => (await savedText(siskin, id)) === "more", { what: "the save" });
  assert.deepEqual(late.errors, []);
});

test("a Y.XmlHook, which yrs does not read as Yjs writes it, is refused by name", async (t) => {
  const ann = await editor(t, "ann", "hook");
  const doc = new Y.Doc();
  doc.getXmlFragment("x").insert(0, [new Y.XmlHook("name")]);
  const answer = await ann.ask("ydoc:document:update", { document_id: "hook", update: Array.from(Y.encodeStateAsUpdate(doc)) });
  assert.deepEqual(answer, { stored: false, reason: "malformed" });
});
