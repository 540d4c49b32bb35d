// Notes are saved a moment after the last change, and nothing that was saved or is about to be is ever lost.

import assert from "node:assert/strict";
import test, { after, before } from "node:test";
import * as Y from "yjs";
import { sleep, startSiskin, waitFor } from "../harness.mjs";
import { Editor, makeNote, savedText } from "./editor.mjs";
import { Page } from "./page.mjs";

let siskin;
const opened = [];
before(async () => (siskin = await startSiskin()));
after(async () => {
  for (const editor of opened) editor.close();
  await siskin.close();
});

/** Longer than a save takes to come. */
const MOMENT = 900;
const content = (md) => ({ content: { md, html: md && `<p>${md}</p>`, json: null } });
const nothing = new Uint8Array([0, 0]);

async function editor(user, id, { instance = siskin, join = true } = {}) {
  const made = await new Editor(instance, user, `note:${id}`).connect();
  opened.push(made);
  if (join) await made.join();
  return made;
}

const isSaved = (id, text, instance = siskin) => waitFor(async () => (await savedText(instance, id)) === text, { what: `saved ${text}` });

test("an empty document never replaces saved content", async () => {
  const id = await makeNote(siskin, "seedless", { data: content("precious") });
  const ann = await editor("ann", id);
  assert.deepEqual(ann.states[0].state, [0, 0]);
  assert.equal(ann.states[0].content.md, "precious");
  ann.send(nothing, { data: content("") });
  await waitFor(() => ann.errors.length, { what: "refusal" });
  // An empty paragraph as the first content is nothing either.
  const doc = new Y.Doc();
  doc.getXmlFragment("prosemirror").insert(0, [new Y.XmlElement("paragraph")]);
  await ann.ask("ydoc:document:update", {
    document_id: `note:${id}`,
    update: Array.from(Y.encodeStateAsUpdate(doc)),
    initialize: true,
    data: content(""),
  });
  await waitFor(() => ann.errors.length > 1, { what: "refusal" });
  assert.equal(await savedText(siskin, id), "precious");
});

for (const before of ["", "first"]) {
  const opens = before ? "that was cut off" : "that is new";
  test(`a page ${opens}, and hears what others write before it has the state, takes nothing away`, async (t) => {
    const id = await makeNote(siskin, `early-${before}`, { writers: ["bob"] });
    const ann = await editor("ann", id);
    ann.dataEvery = 1;
    if (before) ann.text.insert(0, before);
    const bob = new Page(siskin, "bob", `note:${id}`);
    t.after(() => bob.close());
    if (before) await bob.open();
    if (before) bob.cut();
    ann.text.insert(before.length, " precious");
    await isSaved(id, `${before} precious`);
    const said = [];
    bob.data = () => (said.push(bob.text.toString()), content(bob.text.toString()));
    await bob.connect();
    bob.hold();
    const joined = bob.join();
    await waitFor(() => bob.held.length, { what: "the state" });
    ann.text.insert(before.length, "?");
    await waitFor(() => said.length, { what: "what the page shows" });
    await sleep(MOMENT);
    assert.deepEqual(said, [before]);
    assert.equal(await savedText(siskin, id), `${before}? precious`);
    bob.release();
    await joined;
    // It says again what it shows, and is believed.
    await waitFor(() => said.length > 1, { what: "what the page shows" });
    assert.equal(said.at(-1), `${before}? precious`);
    ann.dataEvery = 0;
    ann.text.delete(0, ann.text.length);
    await isSaved(id, "");
  });
}

test("whoever works on the saved content may empty it, and it stays as a version", async () => {
  const id = await makeNote(siskin, "cleared", { data: content("precious") });
  const ann = await editor("ann", id);
  const doc = new Y.Doc();
  doc.getText("text").insert(0, "precious");
  await ann.ask("ydoc:document:update", { document_id: `note:${id}`, update: Array.from(Y.encodeStateAsUpdate(doc)), initialize: true });
  ann.send(nothing, { data: content("") });
  await isSaved(id, "");
  const { versions } = await siskin.api("GET", `/notes/${id}/versions`);
  assert.equal(versions.at(-1).data.content.md, "precious");
});

test("an update without content does not cancel the save that waits", async () => {
  const id = await makeNote(siskin, "resync");
  const ann = await editor("ann", id);
  ann.text.insert(0, "x");
  ann.send(nothing, { data: content("x") });
  for (let i = 0; i < 4; i += 1) {
    await sleep(100);
    ann.text.insert(0, "y");
  }
  ann.send(nothing, { data: { files: [] } });
  await isSaved(id, "x");
});

test("what a backend writes into an open note is not lost to its editors", async () => {
  const id = await makeNote(siskin, "backend", { data: content("first") });
  const ann = await editor("ann", id);
  ann.send(nothing, { data: content("first, edited") });
  await ann.settled();
  await siskin.api("PATCH", `/notes/${id}`, { data: content("by the backend") });
  assert.equal(await savedText(siskin, id), "by the backend");
  await sleep(MOMENT);
  assert.equal(await savedText(siskin, id), "by the backend");
  ann.send(nothing, { data: content("first, edited again") });
  await isSaved(id, "first, edited again");
  const { versions } = await siskin.api("GET", `/notes/${id}/versions`);
  const texts = versions.map((version) => version.data.content.md);
  assert.deepEqual(texts, ["first", "first, edited", "by the backend"]);
});

test("leaving and disconnecting right after the last change lose nothing", async () => {
  for (const end of ["leave", "disconnect"]) {
    const id = await makeNote(siskin, end);
    const ann = await editor("ann", id);
    ann.text.insert(0, "last words");
    ann.send(nothing, { data: content("last words") });
    await ann.settled();
    if (end === "leave") await ann.ask("ydoc:document:leave", { document_id: `note:${id}` });
    else ann.close();
    // Whoever comes before it is saved finds the document, whoever comes later finds what was saved.
    const bob = await editor("ann", id);
    assert.equal(bob.text.toString(), "last words");
    await bob.ask("ydoc:document:leave", { document_id: `note:${id}` });
    await isSaved(id, "last words");
    await sleep(100);
    const cleo = await editor("ann", id);
    assert.deepEqual(cleo.states[0].state, [0, 0]);
    assert.equal(cleo.states[0].content.md, "last words");
  }
});

test("a crash in the middle of hours of typing costs seconds of it, though its editors never come back", { timeout: 60_000 }, async (t) => {
  const other = await startSiskin();
  t.after(() => other.close());
  const typists = [];
  for (const id of ["updates", "contents"]) {
    await makeNote(other, id);
    typists.push(await editor("ann", id, { instance: other }));
  }
  const [updates, contents] = typists;
  contents.dataEvery = 1;
  // No pause in which the note would be saved, or what nothing saves.
  let last = Date.now();
  let pause = 0;
  const rest = () => ((pause = Math.max(pause, Date.now() - last)), (last = Date.now()));
  for (const end = Date.now() + 8000; Date.now() < end; rest(), await sleep(50)) for (const { text } of typists) text.insert(text.length, "x");
  await Promise.all(typists.map((typist) => typist.settled()));
  const saved = await savedText(other, "contents");
  rest();
  // A busy machine pauses for us.
  if (pause < 300) assert.equal(saved, undefined);
  await other.kill();
  for (const typist of typists) typist.close();
  await other.start();
  for (const id of ["updates", "contents"]) {
    const late = await editor("ann", id, { instance: other });
    assert.ok(late.text.length > 10, `${id}: ${late.text.length}`);
  }
});

test("SIGTERM saves what waits", async () => {
  const other = await startSiskin();
  const ids = ["a", "b", "c"];
  for (const id of ids) {
    await makeNote(other, id);
    const ann = await editor("ann", id, { instance: other });
    ann.send(nothing, { data: content(`pending ${id}`) });
    await ann.settled();
    assert.notEqual(await savedText(other, id), `pending ${id}`);
  }
  await other.restart();
  for (const id of ids) assert.equal(await savedText(other, id), `pending ${id}`);
  await other.close();
});

test("readers of a note hear of changes from outside, and of none of its own saves", async () => {
  const id = await makeNote(siskin, "typing", { readers: ["bob"] });
  const ann = await editor("ann", id);
  const bob = await editor("bob", id, { join: false });
  await bob.ask("join-note", { auth: bob.socket.auth, note_id: id });
  for (const text of ["x", "xx"]) {
    ann.send(nothing, { data: content(text) });
    await isSaved(id, text);
  }
  await siskin.api("PATCH", `/notes/${id}`, { title: "Changed" });
  await waitFor(() => bob.notes.length, { what: "events:note" });
  assert.deepEqual(
    bob.notes.map(({ title, data }) => [title, data.content.md]),
    [["Changed", "xx"]],
  );
});

test("the first content wins; an offer of nothing is none", async () => {
  const id = await makeNote(siskin, "seeds", { writers: ["bob"], data: content("saved") });
  const [ann, bob] = [await editor("ann", id), await editor("bob", id)];
  const offer = (who, update) => who.ask("ydoc:document:update", { document_id: `note:${id}`, update: Array.from(update), initialize: true });
  const seed = (text) => {
    const doc = new Y.Doc();
    doc.getText("text").insert(0, text);
    return Y.encodeStateAsUpdate(doc);
  };
  assert.deepEqual(await offer(ann, nothing), [0, 0]);
  const [first, second] = [seed("from ann"), seed("from bob")];
  assert.deepEqual(await offer(ann, first), Array.from(first));
  const answer = new Y.Doc();
  Y.applyUpdate(answer, Uint8Array.from(await offer(bob, second)));
  assert.equal(answer.getText("text").toString(), "from ann");
  await waitFor(() => bob.text.toString() === "from ann");
  assert.equal(await offer(bob, new Uint8Array([1, 2, 3])).then((state) => state.length > 3), true);
});

test("what the API has once said of a note is there after SIGKILL", { timeout: 60_000 }, async (t) => {
  const own = await startSiskin();
  t.after(() => own.close());
  for (let round = 0; round < 10; round += 1) {
    const id = await makeNote(own, `shown-${round}`);
    const ann = await editor("ann", id, { instance: own });
    ann.send(nothing, { data: content("typed") });
    await isSaved(id, "typed", own);
    await own.kill();
    ann.close();
    await own.start();
    assert.equal(await savedText(own, id), "typed", `round ${round}`);
  }
});
