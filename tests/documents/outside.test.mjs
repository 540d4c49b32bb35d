// A note that somebody else writes, or gives to others, while its editors type.

import assert from "node:assert/strict";
import test, { after, before } from "node:test";
import { importModule } from "../clients/module.mjs";
import { sleep, startSiskin, waitFor } from "../harness.mjs";
import { Editor, makeNote, savedText } from "./editor.mjs";
import { Own } from "./own.mjs";

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
