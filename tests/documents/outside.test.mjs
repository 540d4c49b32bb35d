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
