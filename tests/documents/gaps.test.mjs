// What an editor has and the server does not is seen and fetched, whichever program edits: nobody's edit stays invisible. As the
// unchanged page edits, and as our provider does; on one instance, and on two of them. SISKIN_RUNS sets how often each.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { startRedis } from "../browser/redis.mjs";
import { importModule } from "../clients/module.mjs";
import { sleep, startSiskin, waitFor } from "../harness.mjs";
import { Editor, makeNote, savedText } from "./editor.mjs";
import { Own } from "./own.mjs";
import { Page } from "./page.mjs";

const RUNS = Number(process.env.SISKIN_RUNS ?? 2);
const USERS = ["ann", "bob", "cleo", "dan"];

let module;
const places = {};
const end = [];
before(async () => {
  const settings = { SISKIN_EVENTS_PER_SECOND: "0" };
  const alone = await startSiskin({ env: settings });
  const redis = await startRedis({ after: (step) => end.unshift(step) });
  const shared = { ...settings, WEBSOCKET_MANAGER: "redis", WEBSOCKET_REDIS_URL: redis.url };
  const pair = await Promise.all([startSiskin({ env: shared }), startSiskin({ env: shared })]);
  for (const siskin of [alone, ...pair]) {
    end.unshift(() => siskin.close());
    await waitFor(async () => (await fetch(`${siskin.url}/ready`)).ok, { what: "readiness" });
  }
  Object.assign(places, { "one instance": [alone, alone], "two instances": pair });
  module = await importModule(alone);
});
after(async () => {
  for (const step of end) await step();
});

const programs = {
  "the page": (siskin, user, id) => new Page(siskin, user, id),
  "our provider": (siskin, user, id) => new Own(module, siskin, user, id),
};

let notes = 0;
/** Two editors of one new note, each at its instance. */
async function openNote(t, program, place, data = {}) {
  const id = `gap-${(notes += 1)}`;
  const at = places[place];
  for (const siskin of new Set(at)) await makeNote(siskin, id, { writers: USERS, data });
  const open = async (n, make = program) => {
    const editor = make(at[n % 2], USERS[n], `note:${id}`);
    t.after(() => editor.close());
    await editor.open();
    return editor;
  };
  return { id, at, open, editors: [await open(0), await open(1)] };
}

/** All of them have this text, and so has whoever comes later. */
async function agree(text, { open, editors }) {
  for (const editor of editors) {
    const same = waitFor(() => editor.text.toString() === text, { seconds: 30, what: text });
    await same.catch(() => assert.equal(editor.text.toString(), text, editor.user));
  }
  const late = await open(3, programs["the page"]);
  await waitFor(() => late.text.toString() === text, { what: "what a newcomer sees" }).catch(() => assert.equal(late.text.toString(), text));
}

const orders = {
  first: async (editor, other) => (await editor.back(), await other.back()),
  second: async (editor, other) => (await other.back(), await editor.back()),
  "at the same moment": (editor, other) => Promise.all([editor.back(), other.back()]),
};

describe("gaps", { concurrency: 8 }, () => {
  for (const [name, program] of Object.entries(programs)) {
    for (const place of ["one instance", "two instances"]) {
      for (const [order, back] of Object.entries(orders)) {
        test(`both are cut, one edits offline and comes back ${order}: ${name}, ${place}`, { timeout: 60_000 * RUNS }, async (t) => {
          for (let run = 0; run < RUNS; run += 1) {
            const note = await openNote(t, program, place);
            const [ann, bob] = note.editors;
            ann.text.insert(0, "before");
            await waitFor(() => bob.text.toString() === "before", { what: "the first text" });
            for (const editor of note.editors) await editor.cut();
            ann.text.insert(6, " offline");
            await back(ann, bob);
            await agree("before offline", note);
            // Nobody has typed since; the page sends no content with what it is asked for.
            if (note.at[0] === note.at[1]) await waitFor(async () => (await savedText(note.at[0], note.id)) === "before offline", { what: "the save" });
            bob.text.insert(bob.text.length, "!");
            ann.text.insert(0, "As ");
            await agree("As before offline!", note);
            if (note.at[0] === note.at[1]) await waitFor(async () => (await savedText(note.at[0], note.id)) === "As before offline!", { what: "the save" });
          }
        });
      }

      test(`an update is lost on its way: ${name}, ${place}`, { timeout: 60_000 * RUNS }, async (t) => {
        for (let run = 0; run < RUNS; run += 1) {
          const note = await openNote(t, program, place);
          const [ann, bob] = note.editors;
          ann.text.insert(0, "a");
          await waitFor(() => bob.text.toString() === "a", { what: "the first letter" });
          await ann.lose(() => ann.text.insert(1, "b"));
          await ann.lost();
          ann.text.insert(2, "c");
          await agree("abc", note);
          // What only deletes something builds on it, too; and so does what somebody else writes.
          await bob.lose(() => bob.text.insert(3, "xyz"));
          await bob.lost();
          bob.text.delete(4, 2);
          await agree("abcx", note);
        }
      });
    }
  }

  test("updates are lost twice, one soon after the other: our provider says what is missing by itself, each time", async (t) => {
    const note = await openNote(t, programs["our provider"], "one instance");
    const [ann, bob] = note.editors;
    ann.text.insert(0, "a");
    await waitFor(() => bob.text.toString() === "a", { what: "the first letter" });
    const states = [];
    ann.client.socket.on("ydoc:document:state", (state) => states.push(state));
    const lose = async (at, text) => {
      await ann.lose(() => ann.text.insert(at, text[at]));
      await ann.lost();
      ann.text.insert(at + 1, text[at + 1]);
      await waitFor(() => bob.text.toString() === text, { seconds: 30, what: text });
    };
    await lose(1, "abc");
    // It was asked, and asked itself, before its content is saved. For two seconds it is not asked again.
    await waitFor(async () => ann.saved && (await savedText(note.at[0], note.id)) === "abc", { what: "the save" });
    states.length = 0;
    await lose(3, "abcde");
    assert.ok(states.length <= 2, `${states.length} states before all was sent`);
  });

  test("a page that comes back says what it wrote though it writes nothing more, and others hear nothing twice", async (t) => {
    const note = await openNote(t, programs["the page"], "one instance");
    const [ann, bob] = note.editors;
    const heard = [];
    ann.text.insert(0, "before");
    await waitFor(() => bob.text.toString() === "before", { what: "the first text" });
    bob.socket.on("ydoc:document:update", ({ update }) => heard.push(update));
    ann.cut();
    await ann.back();
    await waitFor(() => ann.taken === 2 && ann.flying === 0, { what: "all that the page has" });
    assert.deepEqual(heard, []);
    ann.cut();
    ann.text.insert(6, " offline");
    await ann.back();
    await waitFor(() => bob.text.toString() === "before offline", { what: "what was typed offline" });
    assert.equal(heard.length, 1);
  });

  test("a page that is asked never writes first content over what is there", async (t) => {
    const note = await openNote(t, programs["the page"], "one instance", { content: { md: "saved" } });
    const more = await Promise.all([note.open(2), note.open(3)]);
    await agree("saved", { ...note, editors: [...note.editors, ...more] });
    const fresh = await note.open(2);
    await waitFor(() => fresh.taken === 2 && fresh.flying === 0, { what: "all that a fresh page has" });
    assert.equal(fresh.seeds, 0);
    await agree("saved", note);
  });

  test("what builds on a gap is not acknowledged as stored; who does not help is asked four times", { timeout: 60_000 }, async (t) => {
    const note = await openNote(t, programs["the page"], "one instance");
    const deaf = await new Editor(places["one instance"][0], "cleo", `note:${note.id}`).connect();
    t.after(() => deaf.close());
    await deaf.join();
    const asked = () => deaf.states.length - 1;
    const updates = [];
    deaf.doc.on("update", (update) => updates.push(update));
    deaf.online = false;
    for (const letter of "abcdef") deaf.text.insert(deaf.text.length, letter);
    const [, , third, ...rest] = updates;
    const ask = (update) => deaf.ask("ydoc:document:update", { document_id: `note:${note.id}`, update: Array.from(update) });
    const incomplete = { stored: false, reason: "incomplete" };
    assert.deepEqual(await ask(third), incomplete);
    await waitFor(() => asked() === 1, { what: "the question" });
    assert.deepEqual(deaf.states.at(-1).state, [0, 0]);
    assert.deepEqual(await ask(rest[0]), incomplete);
    await waitFor(() => asked() === 4, { seconds: 30, what: "the last question" });
    assert.deepEqual(await ask(rest[1]), incomplete);
    await sleep(500);
    assert.equal(asked(), 4);
    // What it has kept counts as soon as the gap is closed.
    assert.deepEqual(await ask(updates[0]), undefined);
    assert.deepEqual(await ask(updates[1]), undefined);
    assert.deepEqual(await ask(rest[2]), undefined);
    await agree("abcdef", note);
  });

  test("what is lost last is found, though the question what is missing is lost, too", async (t) => {
    const note = await openNote(t, programs["our provider"], "one instance");
    const [ann, bob] = note.editors;
    await ann.lose(() => ann.text.insert(0, "the last"), 2);
    await waitFor(() => bob.text.toString() === "the last", { what: "the text" });
    await waitFor(() => ann.saved, { what: "the word that it is saved" });
  });

  test("what somebody else does not send keeps nobody else's from being saved", async (t) => {
    const note = await openNote(t, programs["our provider"], "one instance");
    const [ann, bob] = note.editors;
    const deaf = await new Editor(places["one instance"][0], "cleo", `note:${note.id}`).connect();
    t.after(() => deaf.close());
    await deaf.join();
    const updates = [];
    deaf.doc.on("update", (update) => updates.push(update));
    deaf.online = false;
    for (const letter of "ab") deaf.text.insert(deaf.text.length, letter);
    deaf.send(updates[1]);
    await waitFor(() => ann.doc.store.pendingStructs, { what: "what builds on what is not there" });
    const statuses = [];
    ann.provider.on("status", (status) => statuses.push(status));
    await ann.lose(() => ann.text.insert(0, "text"));
    await waitFor(() => bob.text.toString() === "text", { what: "the text" });
    await waitFor(async () => ann.saved && (await savedText(note.at[0], note.id)) === "text", { what: "the save" });
    assert.deepEqual(statuses, []);
    // They ask for what is missing, less and less often.
    let asked = 0;
    for (const { client } of [ann, bob]) client.socket.on("ydoc:document:state", () => (asked += 1));
    await sleep(2000);
    assert.ok(asked < 16, asked);
    deaf.send(updates[0]);
    await waitFor(() => ann.text.length === 6 && bob.text.length === 6, { what: "what was missing" });
  });

  test("what was typed offline and lost on its way is saved in the note", async (t) => {
    const note = await openNote(t, programs["our provider"], "one instance");
    const [ann, bob] = note.editors;
    await ann.lose(() => ann.text.insert(0, "lost, "));
    await ann.lost();
    ann.text.insert(6, "found");
    await waitFor(() => bob.text.toString() === "lost, found", { what: "the text" });
    await waitFor(() => ann.saved, { what: "the word that it is saved" });
    await waitFor(async () => (await savedText(note.at[0], note.id)) === "lost, found", { what: "the save" });
  });
});
