// What can't be stored at the moment, though its sender did nothing wrong, is asked for until it can be: a page whose first
// content was refused does not stay empty, and an edit does not wait for the next one. Redis takes nothing for a while here, and
// answers all the same, so no connection is lost that would tell.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { startPair, startRedis } from "../browser/redis.mjs";
import { importModule } from "../clients/module.mjs";
import { waitFor } from "../harness.mjs";
import { makeNote, savedText } from "./editor.mjs";
import { Own } from "./own.mjs";
import { Page } from "./page.mjs";

const run = promisify(execFile);
const end = [];
let redis, pair, module;
before(async () => {
  redis = await startRedis({ after: (step) => end.unshift(step) });
  pair = await startPair({ after: (step) => end.unshift(step) }, redis);
  module = await importModule(pair[0]);
});
after(async () => {
  for (const step of end) await step();
});

/** Whether Redis takes what is written. */
const takes = (yes) => run("redis-cli", ["-u", redis.url, "CONFIG", "SET", "maxmemory", yes ? "0" : "1"]);

const note = async (id) => {
  for (const siskin of pair) await makeNote(siskin, id, { writers: ["bob"], data: { content: { md: "saved" } } });
  return `note:${id}`;
};

const says = (editor, text) => waitFor(() => editor.text.toString() === text, { seconds: 60, what: `${text} at ${editor.user}` });

/** A page that writes its first content when it is let, and waits for the answer. */
class Patient extends Page {
  let = {};
  starts = new Promise((start) => (this.let.start = start));
  answers = [];

  async seed(content) {
    await this.starts;
    const { emit } = this.socket;
    // Its answers are to be looked at.
    this.socket.emit = (name, payload, answer) => emit.call(this.socket, name, payload, answer && ((state) => (this.answers.push(state), answer(state))));
    super.seed(content);
    this.socket.emit = emit;
  }
}

async function open(t, editor) {
  t.after(() => editor.close());
  await editor.open();
  return editor;
}

test("a page whose first content was refused is asked for it again, and begins with what is saved", { timeout: 120_000 }, async (t) => {
  const id = await note("first");
  const ann = await open(t, new Patient(pair[0], "ann", id));
  await takes(false);
  ann.let.start();
  await waitFor(() => ann.answers.length, { what: "an answer" });
  assert.deepEqual(ann.answers, [null]);
  assert.equal(ann.text.toString(), "");
  await takes(true);
  await says(ann, "saved");
  const bob = await open(t, new Page(pair[1], "bob", id));
  await says(bob, "saved");
  ann.text.insert(5, "!");
  await says(bob, "saved!");
});

test("a page's edit that was refused is asked for, though nobody types on", { timeout: 120_000 }, async (t) => {
  const id = await note("edit");
  const ann = await open(t, new Page(pair[0], "ann", id));
  await says(ann, "saved");
  const bob = await open(t, new Page(pair[1], "bob", id));
  await says(bob, "saved");
  await takes(false);
  ann.text.insert(5, " and typed");
  await waitFor(() => ann.errors.length > 1, { seconds: 30, what: "a second refusal" });
  assert.equal(bob.text.toString(), "saved");
  await takes(true);
  await says(bob, "saved and typed");
  await waitFor(async () => (await savedText(pair[0], "edit")) === "saved and typed", { what: "the save" });
});

test("our provider says that it is not saved, and heals", { timeout: 120_000 }, async (t) => {
  const id = await note("own");
  const ann = await open(t, new Own(module, pair[0], "ann", id));
  const bob = await open(t, new Own(module, pair[1], "bob", id));
  await says(ann, "saved");
  await takes(false);
  ann.text.insert(5, " and typed");
  await waitFor(() => ann.provider.status === "unsaved", { what: "the word that it is not saved" });
  assert.equal(ann.provider.reason, "unavailable");
  await takes(true);
  await says(bob, "saved and typed");
  await waitFor(() => ann.saved, { seconds: 40, what: "the word that it is saved" });
});
