// Who may open and change a document, what a document may be, and bytes that are no update.

import assert from "node:assert/strict";
import test, { after, before } from "node:test";
import * as Y from "yjs";
import { sleep, startSiskin, waitFor } from "../harness.mjs";
import { Editor, makeNote, random, residentKiB, savedText } from "./editor.mjs";

let siskin;
const opened = [];
before(async () => (siskin = await startSiskin({ env: { SISKIN_EVENTS_PER_SECOND: "0" } })));
after(async () => {
  for (const editor of opened) editor.close();
  await siskin.close();
});

async function editor(user, documentId, options) {
  const made = await new Editor(siskin, user, documentId, options).connect();
  opened.push(made);
  return made;
}

const said = (editor, name) => {
  const events = [];
  editor.socket.on(name, (event) => events.push(event));
  return events;
};

/** Everything sent before has been handled, and what it caused has arrived. */
const calm = async (...editors) => {
  for (const one of editors) await one.ask("user-join", { auth: one.socket.auth });
};

test("strangers don't get in, readers don't write, and who loses access is out at once", async () => {
  const id = await makeNote(siskin, "guarded", { writers: ["bob"], readers: ["cleo"], data: { content: { md: "kept" } } });
  const people = {};
  for (const user of ["ann", "bob", "cleo", "mallory"]) people[user] = await editor(user, `note:${id}`);
  for (const user of ["ann", "bob", "cleo"]) await people[user].join();
  const seen = said(people.ann, "ydoc:document:update");
  const spoilt = new Y.Doc();
  spoilt.getText("text").insert(0, "spoilt");
  const hostile = { document_id: `note:${id}`, update: Array.from(Y.encodeStateAsUpdate(spoilt)), data: { content: { md: "spoilt" } } };
  for (const name of [`note:${id}`, `note_${id}`]) {
    people.mallory.socket.emit("ydoc:document:join", { document_id: name, user_id: "ann" });
    people.mallory.socket.emit("ydoc:document:state", { document_id: name });
    people.mallory.socket.emit("ydoc:document:update", { ...hostile, document_id: name });
    people.mallory.socket.emit("ydoc:awareness:update", { document_id: name, update: [1] });
    people.cleo.socket.emit("ydoc:document:update", { ...hostile, document_id: name });
  }
  await calm(people.mallory, people.cleo, people.ann);
  assert.deepEqual(people.mallory.states, []);
  const grant = { principal_type: "user", principal_id: "bob", permission: "read" };
  await siskin.api("PATCH", `/notes/${id}`, { access_grants: [grant] });
  people.bob.text.insert(0, "too late");
  people.bob.send(new Uint8Array([0, 0]), { data: { content: { md: "spoilt" } } });
  const states = people.cleo.states.length;
  people.cleo.socket.emit("ydoc:document:state", { document_id: `note:${id}` });
  await calm(people.bob, people.cleo, people.ann);
  assert.equal(people.cleo.states.length, states);
  assert.deepEqual(seen, []);
  await sleep(800);
  assert.equal(await savedText(siskin, id), "kept");
  assert.equal(people.ann.text.toString(), "");
});

test("cursors pass to the others, and everybody hears who comes and leaves", async () => {
  const [ann, bob] = [await editor("ann", "board"), await editor("bob", "board", { binary: true })];
  const [joined, left, cursors] = ["ydoc:user:joined", "ydoc:user:left", "ydoc:awareness:update"].map((name) => said(ann, name));
  const own = said(bob, "ydoc:awareness:update");
  const updates = said(ann, "ydoc:document:update");
  await ann.join();
  await bob.join();
  bob.socket.emit("ydoc:awareness:update", { document_id: "board", update: Buffer.from([1, 2, 255]), user_id: "ann" });
  bob.text.insert(0, "hi");
  await bob.settled();
  await bob.ask("ydoc:document:leave", { document_id: "board" });
  await calm(bob, ann);
  assert.deepEqual(joined, [{ document_id: "board", user_id: "bob", user_name: "bob", user_color: "#123456" }]);
  assert.deepEqual(cursors, [{ document_id: "board", user_id: "bob", update: [1, 2, 255] }]);
  assert.deepEqual(left, [{ document_id: "board", user_id: "bob" }]);
  assert.deepEqual(own, []);
  assert.equal(updates.length, 1);
  const { update, ...rest } = updates[0];
  assert.ok(Array.isArray(update));
  assert.deepEqual(rest, { document_id: "board", user_id: "bob", socket_id: bob.socket.id });
  assert.equal(ann.text.toString(), "hi");
});

test("a session opens twenty documents", async () => {
  const ann = await editor("ann", "limit");
  for (let i = 0; i < 25; i += 1) ann.socket.emit("ydoc:document:join", { document_id: `limit-${i}` });
  await calm(ann);
  assert.equal(ann.states.length, 20);
  assert.equal(ann.errors.length, 5);
  await ann.ask("ydoc:document:leave", { document_id: "limit-0" });
  ann.socket.emit("ydoc:document:join", { document_id: "limit-24" });
  await calm(ann);
  assert.equal(ann.states.length, 21);
});

test("a document is at most 2 MiB", async () => {
  const [ann, bob] = [await editor("ann", "large"), await editor("bob", "large")];
  await ann.join();
  await bob.join();
  for (let i = 0; i < 25; i += 1) {
    ann.text.insert(0, "z".repeat(100_000));
    await ann.settled();
  }
  await calm(ann, bob);
  assert.equal(bob.text.length, 2_000_000);
  assert.equal(ann.errors.length, 5);
  ann.socket.emit("ydoc:document:update", { document_id: "large", update: Buffer.alloc(3 << 20) });
  await calm(ann, bob);
  assert.equal(bob.text.length, 2_000_000);
});

test("what is no update is dropped: never stored, never passed on, at no price", async () => {
  const [ann, bob] = [await editor("ann", "hostile"), await editor("bob", "hostile")];
  await ann.join();
  ann.text.insert(0, "good");
  await ann.settled();
  await bob.join();
  const seen = said(bob, "ydoc:document:update");
  const before = await residentKiB(siskin.pid);
  const huge = [0xff, 0xff, 0xff, 0x7f];
  const send = (update) => ann.socket.emit("ydoc:document:update", { document_id: "hostile", update });
  const good = Array.from(Y.encodeStateAsUpdate(ann.doc));
  // Announces 2^28 clients, blocks, values, deletions; nests a million arrays; runs over the last clock.
  send(huge);
  send([1, ...huge, 7, 0]);
  send([1, 1, 7, 0, 8, 1, 1, 116, ...huge]);
  send([0, 1, 7, ...huge]);
  send(Buffer.concat([Buffer.from([1, 1, 7, 0, 8, 1, 1, 116, 1]), Buffer.alloc(1_000_000, Buffer.from([117, 1])), Buffer.from([126, 0])]));
  send([1, 1, 7, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 5, 0]);
  send([...good, 1]);
  for (let cut = 1; cut < good.length; cut += 1) send(good.slice(0, cut));
  for (const odd of ["x", 7, null, {}, [256], [-1], [1.5], ["1"], [[]], { _placeholder: true, num: 9 }, "\u0000"]) send(odd);
  const next = random(3);
  for (let i = 0; i < 500; i += 1) send(Array.from({ length: 30 }, () => Math.floor(next() * 12)).concat(255));
  await calm(ann, bob);
  assert.deepEqual(seen, []);
  await waitFor(() => siskin.log().includes('sent an update of "hostile" that is none'));
  assert.equal(siskin.log().split('sent an update of "hostile" that is none').length - 1, 1);
  const late = await editor("cleo", "hostile");
  await late.join();
  assert.equal(late.text.toString(), "good");
  const grown = (await residentKiB(siskin.pid)) - before;
  assert.ok(grown < 16 * 1024, `${grown} KiB more`);
  ann.text.insert(4, " as before");
  await waitFor(() => bob.text.toString() === "good as before");
});
