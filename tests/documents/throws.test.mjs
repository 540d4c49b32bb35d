// What one writer sends makes Yjs throw in nobody else's page, now or when they come later; and what editors write, however it overlaps
// what is known, is taken.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import * as Y from "yjs";
import { startRedis } from "../browser/redis.mjs";
import { startSiskin, waitFor } from "../harness.mjs";
import { Editor } from "./editor.mjs";

const houses = {};
const end = [];
before(async () => {
  const redis = await startRedis({ after: (step) => end.unshift(step) });
  const shared = { WEBSOCKET_MANAGER: "redis", WEBSOCKET_REDIS_URL: redis.url };
  for (const [name, env] of Object.entries({ alone: {}, shared, other: shared })) {
    houses[name] = await startSiskin({ env });
    end.unshift(() => houses[name].close());
  }
  for (const name of ["shared", "other"]) await waitFor(async () => (await fetch(`${houses[name].url}/ready`)).ok, { what: "Redis" });
});
after(async () => {
  for (const step of end) await step();
});

async function editor(t, house, user, id) {
  const made = new Editor(houses[house], user, id);
  t.after(() => made.close());
  await made.open();
  made.heard = [];
  made.socket.on("ydoc:document:update", ({ update }) => made.heard.push(Y.decodeUpdate(Uint8Array.from(update))));
  return made;
}

/** Sends updates that it does not take itself. */
async function sender(t, house, id) {
  const eve = await editor(t, house, "eve", id);
  eve.socket.off("ydoc:document:update");
  return async (...updates) => {
    for (const update of updates) {
      const answer = await eve.ask("ydoc:document:update", { document_id: id, update: Array.from(update) });
      assert.ok(!answer || answer.reason === "incomplete", JSON.stringify(answer));
    }
  };
}

const shows = (editor, text) => waitFor(() => editor.text.toString() === text, { what: `${text} at ${editor.user}` });
const letters = (text) => [text.length, ...Buffer.from(text)];
// A map in the map "m", by client 26, whose name there is one letter.
const map = [1, 1, 26, 0, 39, 1, 1, 109, 1, 110, 1, 0];
const mapDeleted = [1, 26, 1, 0, 1];

const HOSTILE = {
  "something else in place of what is known": [
    [1, 1, 7, 0, 0, 2, 0],
    [1, 1, 7, 0, 4, 1, 1, 116, ...letters("abc"), 0],
  ],
  "something else in place of what waits": [
    [1, 1, 7, 2, 4, 1, 1, 116, ...letters("abcd"), 0],
    [1, 1, 7, 0, 0, 4, 0],
  ],
  "an entry of a map with several letters, and something between them": [
    [1, 3, 26, 0, 39, 1, 1, 109, 1, 110, 1, 36, 0, 26, 0, 1, 107, ...letters("abcd"), 132, 26, 2, ...letters("x"), ...mapDeleted],
  ],
  "the same behind another entry": [
    map,
    [1, 2, 26, 1, 40, 0, 26, 0, 1, 107, 1, 126, 136, 26, 1, 3, 126, 120, 121, 0],
    [1, 1, 27, 0, 136, 26, 2, 1, 120, ...mapDeleted],
  ],
  "the same, and the other entry comes last": [
    map,
    [1, 1, 27, 0, 132, 26, 1, ...letters("abc"), 0],
    [1, 1, 26, 1, 40, 0, 26, 0, 1, 107, 1, 126, 0],
    [1, 1, 28, 0, 132, 27, 0, ...letters("x"), ...mapDeleted],
  ],
};

for (const house of ["alone", "shared"])
  describe(house, () => {
    for (const [what, updates] of Object.entries(HOSTILE))
      test(`nobody else's page throws at ${what}`, async (t) => {
        assert.throws(() => {
          const doc = new Y.Doc();
          for (const update of updates) Y.applyUpdate(doc, Uint8Array.from(update));
        });
        const id = what.replaceAll(" ", "-");
        const [ann, bob] = [await editor(t, house, "ann", id), await editor(t, house, "bob", id)];
        const send = await sender(t, house, id);
        await send(...updates);
        // Yjs that threw tells nobody of changes any more.
        ann.text.insert(0, "typed");
        await shows(bob, "typed");
        bob.text.insert(5, " on");
        await shows(ann, "typed on");
        await shows(await editor(t, house, "cleo", id), "typed on");
      });

    test("nothing stands so deep in others that Yjs can't delete it", async (t) => {
      const id = "deep";
      const [ann, eve] = [await editor(t, house, "ann", id), await editor(t, house, "eve", id)];
      const nest = async (client, pieces) => {
        const doc = new Y.Doc();
        doc.clientID = client;
        let list = doc.getArray("a");
        const answers = [];
        for (let piece = 0; piece < pieces; piece++) {
          const before = Y.encodeStateVector(doc);
          doc.transact(() => {
            for (let depth = 0; depth < 4800 / pieces; depth++) {
              const within = new Y.Array();
              list.insert(0, [within]);
              list = within;
            }
          });
          const update = Array.from(Y.encodeStateAsUpdate(doc, before));
          answers.push((await eve.ask("ydoc:document:update", { document_id: id, update }))?.reason);
        }
        return answers;
      };
      assert.deepEqual(await nest(7, 1), ["malformed"]);
      assert.deepEqual((await nest(8, 12)).slice(0, 2), [undefined, "malformed"]);
      await waitFor(() => ann.doc.getArray("a").length === 1, { what: "what is not too deep" });
      ann.doc.getArray("a").delete(0);
      ann.text.insert(0, "typed");
      const cleo = await editor(t, house, "cleo", id);
      await shows(cleo, "typed");
      assert.equal(cleo.doc.getArray("a").length, 0);
    });

    test("of what is known in part the rest is passed on, whatever is in it", async (t) => {
      const id = "parts";
      const ann = await editor(t, house, "ann", id);
      const send = await sender(t, house, id);
      const doc = new Y.Doc();
      doc.clientID = 5;
      const says = ({ doc }) => JSON.stringify([doc.getText("text"), doc.getText("gone"), doc.getArray("list"), doc.getArray("within")]);
      const [text, gone, list, within] = [doc.getText("text"), doc.getText("gone"), doc.getArray("list"), doc.getArray("within")];
      const steps = [
        [() => text.insert(0, "a😀"), () => text.insert(3, "b😀")],
        [() => text.insert(1, "c"), () => text.insert(2, "de")],
        [() => list.push([1, "x", null]), () => list.push([true, { a: [1] }])],
        [() => gone.insert(0, "a"), () => gone.insert(1, "b") ?? gone.delete(0, 2)],
        [() => within.push([Y.Array.from([1])]), () => within.get(0).push([2]) ?? within.delete(0)],
      ];
      for (const [first, second] of steps) {
        const [before, heard] = [Y.encodeStateVector(doc), ann.heard.length];
        first();
        const known = Y.getState(doc.store, 5);
        await send(Y.encodeStateAsUpdate(doc, before));
        second();
        // All of it, of which the last block is known to its half.
        await send(Y.encodeStateAsUpdate(doc));
        await waitFor(() => ann.heard.length === heard + 2, { what: "the rest" });
        assert.equal(ann.heard.at(-1).structs[0].id.clock, known);
        assert.equal(says(ann), says({ doc }));
      }
      assert.equal(says(await editor(t, house, "cleo", id)), says({ doc }));
    });

    test("what an undo brings back at once shows the last, and nothing gets between", async (t) => {
      const id = "undone";
      const [ann, bob] = [await editor(t, house, "ann", id), await editor(t, house, "bob", id)];
      const [here, there] = [ann, bob].map(({ doc }) => doc.getMap("m"));
      const both = (value) => waitFor(() => [here, there].every((map) => map.get("n")?.get("k") === value), { what: `${value}` });
      here.set("n", new Y.Map());
      await waitFor(() => there.has("n"), { what: "the map" });
      const undo = new Y.UndoManager(here, { captureTimeout: 1_000_000 });
      for (const value of [1, 2]) {
        there.get("n").set("k", value);
        await both(value);
        here.get("n").delete("k");
        await both(undefined);
      }
      const at = Y.getState(ann.doc.store, ann.doc.clientID);
      undo.undo();
      await both(2);
      // It was one block of two values.
      const [block] = bob.heard.at(-1).structs;
      assert.deepEqual([block.id.clock, block.length, block.content.arr], [at, 2, [1, 2]]);
      const send = await sender(t, house, id);
      const number = (value) => (value < 128 ? [value] : [128 + (value % 128), ...number(Math.floor(value / 128))]);
      await send([1, 1, 28, 0, 136, ...number(ann.doc.clientID), at, 1, 120, 0]);
      there.delete("n");
      ann.text.insert(0, "typed");
      bob.text.insert(0, "on");
      await waitFor(() => [ann, bob].every(({ text }) => text.length === 7), { what: "both texts" });
      await shows(await editor(t, house, "cleo", id), ann.text.toString());
    });
  });

test("nobody's page throws, whichever instance is sent what another one has taken in place of what waits", async (t) => {
  const id = "in-place-of-what-waits";
  const [ann, bob] = [await editor(t, "shared", "ann", id), await editor(t, "other", "bob", id)];
  // What waits builds on something that never comes, and something else on that.
  const waits = [2, 2, 8, 0, 132, 9, 5, ...letters("a"), 132, 9, 15, ...letters("xx"), 2, 7, 0, 4, 1, 1, 116, ...letters("k"), 4, 0, 8, 0, ...letters("b"), 0];
  const instead = [1, 1, 8, 0, 4, 1, 1, 116, ...letters("abcd"), 0];
  await (await sender(t, "shared", id))(waits, instead);
  await waitFor(() => bob.heard.length === 2, { what: "both at bob" });
  await (await sender(t, "other", id))([1, 1, 7, 1, 4, 1, 1, 116, ...letters("xyz"), 0]);
  ann.text.insert(0, "typed");
  await shows(bob, "typed");
  bob.text.insert(5, " on");
  await shows(ann, "typed on");
  const cleo = await editor(t, "other", "cleo", id);
  await shows(cleo, "typed on");
  assert.equal(cleo.doc.getText("t").toString(), bob.doc.getText("t").toString());
});
