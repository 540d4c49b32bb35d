// A note that somebody else writes, or gives to others, while its editors type.

import assert from "node:assert/strict";
import test, { after, before } from "node:test";
import { io } from "socket.io-client";
import * as Y from "yjs";
import { importModule } from "../clients/module.mjs";
import { sleep, startSiskin, waitFor } from "../harness.mjs";
import { Editor, makeNote, savedText } from "./editor.mjs";
import { Own } from "./own.mjs";
import { Tab } from "./page.mjs";

let siskin, module;
before(async () => {
  siskin = await startSiskin();
  module = await importModule(siskin);
});
after(() => siskin.close());

const content = (md) => ({ content: { md, html: "", json: null } });

async function editor(t, user, id, Program = Editor) {
  const made = Program === Own ? new Own(module, siskin, user, `note:${id}`) : new Program(siskin, user, `note:${id}`);
  t.after(() => made.close());
  await made.open();
  made.told = [];
  (made.socket ?? made.client.socket).on("error", ({ document_id, reason }) => made.told.push([document_id, reason]));
  return made;
}

test("what somebody typed just before they lost their rights is saved as theirs", async (t) => {
  const id = await makeNote(siskin, "rights", { writers: ["bob"], data: content("x") });
  const bob = await editor(t, "bob", id, Own);
  await waitFor(() => bob.text.toString() === "x" && bob.saved, { what: "the text" });
  bob.text.insert(0, "typed ");
  await sleep(150);
  await siskin.api("PATCH", `/notes/${id}`, { access_grants: [] });
  assert.equal(await savedText(siskin, id), "typed x");
  const { access_grants } = await siskin.api("GET", `/notes/${id}`);
  assert.deepEqual(access_grants, []);
});

test("who loses their rights before they could say what is to be saved is told", async (t) => {
  for (const readers of [[], ["bob"]]) {
    const id = await makeNote(siskin, `told-${readers}`, { writers: ["bob"] });
    const [ann, bob] = [await editor(t, "ann", id), await editor(t, "bob", id)];
    bob.text.insert(0, "typed");
    await bob.settled();
    await makeNote(siskin, id, { readers });
    await waitFor(() => bob.told.length, { what: "the word" });
    await sleep(1000);
    assert.deepEqual([ann.told, bob.told], [[], [[`note:${id}`, "denied"]]]);
  }
});

test("a save that is refused names its document", async (t) => {
  const id = await makeNote(siskin, "named", { data: content("precious") });
  const ann = await editor(t, "ann", id);
  ann.send([0, 0], { data: content("") });
  await waitFor(() => ann.told.length, { what: "the refusal" });
  assert.deepEqual(ann.told, [[`note:${id}`, "denied"]]);
});

const texts = async (id) => (await siskin.api("GET", `/notes/${id}/versions`)).versions.map((version) => version.data.content?.md);

for (const how of ["patched", "restored"]) {
  test(`content that comes late does not go over what was ${how}, and becomes a version`, async (t) => {
    const id = await makeNote(siskin, how, { data: content("OUTSIDE") });
    await siskin.api("PATCH", `/notes/${id}`, { data: content("") });
    const ann = await editor(t, "ann", id);
    ann.text.insert(0, "typed");
    await ann.settled();
    if (how === "patched") await siskin.api("PATCH", `/notes/${id}`, { data: content("OUTSIDE") });
    else await siskin.api("POST", `/notes/${id}/versions/1/restore`);
    for (let round = 0; round < 2; round += 1) {
      await ann.ask("ydoc:document:update", { document_id: `note:${id}`, data: content("typed") });
      await sleep(900);
      assert.equal(await savedText(siskin, id), "OUTSIDE");
      assert.deepEqual(await texts(id), ["OUTSIDE", "", "typed"]);
    }
    // What is written from now on is newer.
    ann.text.insert(5, " on");
    await ann.ask("ydoc:document:update", { document_id: `note:${id}`, data: content("typed on") });
    await waitFor(async () => (await savedText(siskin, id)) === "typed on", { what: "the save" });
  });
}

test("what was written over the first words of an empty note is what stands there when all have gone", async (t) => {
  const id = await makeNote(siskin, "first");
  const ann = await editor(t, "ann", id);
  ann.text.insert(0, "typed");
  await ann.settled();
  await siskin.api("PATCH", `/notes/${id}`, { data: content("OUTSIDE") });
  await sleep(1500);
  ann.close();
  await sleep(500);
  const late = await editor(t, "ann", id, Own);
  await waitFor(() => late.text.toString() === "OUTSIDE", { what: "what stands there" });
  assert.equal(await savedText(siskin, id), "OUTSIDE");
});

test("a title does not keep from being saved what was typed before it", async (t) => {
  const id = await makeNote(siskin, "titled");
  const ann = await editor(t, "ann", id);
  ann.text.insert(0, "typed");
  await ann.settled();
  await siskin.api("PATCH", `/notes/${id}`, { title: "T" });
  await ann.ask("ydoc:document:update", { document_id: `note:${id}`, data: content("typed") });
  await waitFor(async () => (await savedText(siskin, id)) === "typed", { what: "the save" });
});

const grants = (user, permission) => ({ access_grants: user ? [{ principal_type: "user", principal_id: user, permission }] : [] });
/** Gives and takes rights. */
const give = (id, user, permission) => siskin.api("PATCH", `/notes/${id}`, grants(user, permission));
const is = (editor, status) => waitFor(() => editor.provider.status === status, { seconds: 3, what: `${editor.user} ${status}` });

test("who may write again is asked at once for what was refused", async (t) => {
  const id = await makeNote(siskin, "write-again", { writers: ["bob"], data: content("x") });
  const [ann, bob] = [await editor(t, "ann", id, Own), await editor(t, "bob", id, Own)];
  await waitFor(() => bob.text.toString() === "x" && bob.saved, { what: "the text" });
  const page = await editor(t, "bob", id, Tab);
  await give(id, "bob", "read");
  bob.text.insert(0, "typed ");
  page.text.insert(1, "!");
  await is(bob, "readonly");
  await page.settled();
  const seen = [];
  bob.provider.on("status", (status) => seen.push(status));
  await give(id, "bob", "read");
  await sleep(300);
  assert.deepEqual(seen, []);
  await give(id, "bob", "write");
  await waitFor(() => ann.text.toString() === "typed x!", { seconds: 3, what: "what was typed" });
  assert.deepEqual(seen, ["synced"]);
  await waitFor(async () => (await savedText(siskin, id)) === "typed x!", { what: "the save" });
});

test("who may read again goes on at once, with what was typed meanwhile", async (t) => {
  const id = await makeNote(siskin, "read-again", { writers: ["bob"], data: content("x") });
  const [ann, bob] = [await editor(t, "ann", id, Own), await editor(t, "bob", id, Own)];
  await waitFor(() => bob.text.toString() === "x" && bob.saved, { what: "the text" });
  const page = await editor(t, "bob", id, Tab);
  await waitFor(() => page.text.toString() === "x", { what: "the text" });
  await give(id);
  bob.text.insert(0, "typed ");
  await is(bob, "denied");
  ann.text.insert(1, "!");
  await sleep(300);
  assert.equal(page.text.toString(), "x");
  await give(id, "bob", "read");
  await is(bob, "readonly");
  for (const one of [bob, page]) await waitFor(() => one.text.toString().endsWith("x!"), { seconds: 3, what: "the others' text" });
  await give(id, "bob", "write");
  for (const one of [ann, bob, page]) await waitFor(() => one.text.toString() === "typed x!", { seconds: 3, what: "what was typed" });
  assert.ok(bob.saved);
});

test("who had no access when they came is let in as soon as they have it, unless they have left", async (t) => {
  const id = await makeNote(siskin, "let-in", { data: content("x") });
  const [bob, cleo, dan] = ["bob", "cleo", "dan"].map((user) => new Own(module, siskin, user, `note:${id}`));
  for (const one of [bob, cleo, dan]) {
    t.after(() => one.close());
    one.synced = () => is(one, "denied");
    await one.open();
  }
  const heard = [];
  cleo.client.socket.on("ydoc:document:state", (state) => heard.push(state));
  cleo.provider.destroy();
  await sleep(100);
  const access_grants = ["bob", "cleo"].map((user) => ({ principal_type: "user", principal_id: user, permission: "write" }));
  await siskin.api("PATCH", `/notes/${id}`, { access_grants });
  await is(bob, "synced");
  await waitFor(() => bob.text.toString() === "x", { seconds: 3, what: "the text" });
  bob.text.insert(1, "!");
  await waitFor(async () => (await savedText(siskin, id)) === "x!", { what: "the save" });
  assert.deepEqual([heard, dan.provider.status], [[], "denied"]);
});

test("who is back before the server has closed what they left has it open, and is told what becomes of it", { timeout: 60_000 }, async (t) => {
  const id = await makeNote(siskin, "back", { writers: ["bob"] });
  const ann = await editor(t, "ann", id);
  const auth = { token: siskin.token("bob"), recover: true };
  const bob = io(siskin.url, { path: "/ws/socket.io", transports: ["websocket"], auth, forceNew: true, reconnection: false });
  t.after(() => bob.disconnect());
  const told = [];
  bob.on("error", ({ reason }) => told.push(reason));
  const ask = (event, payload) => bob.timeout(30_000).emitWithAck(event, { document_id: `note:${id}`, ...payload });
  await new Promise((resolve) => bob.once("connect", resolve));
  await ask("user-join", { auth });
  await ask("ydoc:document:join");
  for (let i = 0; i < 90_000; i += 10_000)
    ann.doc.transact(() => {
      for (let j = i; j < i + 10_000; j += 1) ann.text.insert(j % 2 ? j : 0, "x");
    });
  await ann.settled();
  // All of that is merged, while closing the document has to wait.
  const { id: sid } = bob;
  const gone = new Promise((resolve) => bob.once("disconnect", resolve));
  let busy = true;
  ann.ask("ydoc:document:state", { document_id: `note:${id}` }).then(() => (busy = false));
  bob.io.engine.close();
  await gone;
  bob.connect();
  await new Promise((resolve) => bob.once("connect", resolve));
  assert.deepEqual([bob.recovered, bob.id], [true, sid]);
  const joined = ask("ydoc:document:join");
  await bob.timeout(30_000).emitWithAck("user-join", { auth });
  assert.ok(busy, "the document is busy");
  await joined;
  const doc = new Y.Doc();
  doc.getText("text").insert(0, "typed");
  await ask("ydoc:document:update", { update: Array.from(Y.encodeStateAsUpdate(doc)) });
  await makeNote(siskin, id);
  await waitFor(() => told.length, { seconds: 5, what: "the word" });
  assert.deepEqual(told, ["denied"]);
});
