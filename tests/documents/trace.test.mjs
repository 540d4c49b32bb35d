// A long session of one writer, one event a keystroke: rate, memory, and nothing lost.
// The trace is made here, in the shape of recorded ones: runs of typing, jumps of the cursor, deletions.

import assert from "node:assert/strict";
import test from "node:test";
import { startSiskin } from "../harness.mjs";
import { Editor, makeNote, random, residentKiB } from "./editor.mjs";

const EDITS = 100_000;

function* trace(seed) {
  const next = random(seed);
  let [length, cursor] = [0, 0];
  for (let left = EDITS; left > 0; ) {
    if (next() < 0.3) cursor = Math.floor(next() * (length + 1));
    const run = Math.min(left, 1 + Math.floor(next() * 40));
    const deleting = length > 200 && next() < 0.25;
    for (let i = 0; i < run; i += 1, left -= 1) {
      if (deleting && cursor > 0) {
        cursor -= 1;
        length -= 1;
        yield { at: cursor, delete: true };
      } else {
        yield { at: cursor, insert: next() < 0.17 ? " " : String.fromCharCode(97 + Math.floor(next() * 26)) };
        cursor += 1;
        length += 1;
      }
    }
  }
}

test(`${EDITS} keystrokes`, { timeout: 140_000 }, async (t) => {
  const siskin = await startSiskin({ env: { SISKIN_EVENTS_PER_SECOND: "0" } });
  t.after(() => siskin.close());
  const id = await makeNote(siskin, "long");
  const writer = new Editor(siskin, "ann", `note:${id}`, { clientId: 1 });
  await writer.open();
  const idle = await residentKiB(siskin.pid);
  const began = performance.now();
  let done = 0;
  for (const edit of trace(7)) {
    if (edit.delete) writer.text.delete(edit.at, 1);
    else writer.text.insert(edit.at, edit.insert);
    await writer.room();
    if ((done += 1) % 100 === 0) await new Promise(setImmediate);
  }
  await writer.settled();
  const seconds = (performance.now() - began) / 1000;
  const grown = (await residentKiB(siskin.pid)) - idle;
  const reader = new Editor(siskin, "ann", `note:${id}`, { clientId: 2 });
  const { state } = await reader.open();
  assert.equal(reader.text.toString(), writer.text.toString());
  assert.ok(writer.text.length > EDITS / 3);
  const rate = Math.round(EDITS / seconds);
  t.diagnostic(`${rate} edits/s, ${grown} KiB more memory, state ${Math.round(state.length / 1024)} KiB, text ${writer.text.length} characters`);
  writer.close();
  reader.close();
});
