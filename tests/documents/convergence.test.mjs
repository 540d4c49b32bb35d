// Several editors change one note at the same time; one of them goes offline, edits on, and comes back.

import assert from "node:assert/strict";
import test from "node:test";
import { isDeepStrictEqual } from "node:util";
import { startSiskin, waitFor } from "../harness.mjs";
import { Editor, makeNote, random, savedText } from "./editor.mjs";

const OPERATIONS = 10_000;
const USERS = ["ann", "bob", "cleo", "dan", "eve"];

async function edit(siskin, count) {
  const users = USERS.slice(0, count);
  const id = await makeNote(siskin, `shared-${count}`, { writers: users.slice(1) });
  const editors = users.map((user, i) => new Editor(siskin, user, `note:${id}`, { clientId: i + 1, binary: i === 1, dataEvery: 25 }));
  for (const editor of editors) await editor.open();
  const next = random(count);
  const wanderer = editors.at(-1);
  for (let i = 0; i < OPERATIONS; i += 1) {
    if (i === OPERATIONS / 4) wanderer.close();
    if (i === OPERATIONS / 2) await wanderer.open();
    const editor = editors[Math.floor(next() * count)];
    editor.edit(next);
    if (editor.online) await editor.room();
    if (i % 50 === 0) await new Promise(setImmediate);
  }
  for (const editor of editors) await editor.settled();
  const late = new Editor(siskin, "ann", `note_${id}`, { clientId: 99 });
  const state = await late.open();
  assert.equal(state.document_id, `note:${id}`);
  assert.equal(state.sessions.length, count + 1);
  const [first] = editors;
  const everybody = [...editors, late];
  const same = () => everybody.every((editor) => isDeepStrictEqual(editor.snapshot(), first.snapshot()));
  await waitFor(same, { seconds: 20, what: "common end" }).catch(() => {});
  for (const editor of everybody) assert.deepEqual(editor.snapshot(), first.snapshot(), editor.user);
  first.send(new Uint8Array([0, 0]), { data: first.data() });
  await waitFor(async () => (await savedText(siskin, id)) === first.text.toString(), { what: "saved text" });
  assert.ok(first.text.length > 1000);
  for (const editor of everybody) {
    assert.deepEqual(editor.errors, []);
    editor.close();
  }
}

for (const count of [2, 5]) {
  test(`${count} editors, ${OPERATIONS} operations, one comes back with what it did offline`, { timeout: 140_000 }, async (t) => {
    const siskin = await startSiskin({ env: { SISKIN_EVENTS_PER_SECOND: "0" } });
    t.after(() => siskin.close());
    await edit(siskin, count);
  });
}
