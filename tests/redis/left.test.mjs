// With Redis everybody has left a note's document, and one of them, who was cut off, comes back with it after somebody else has
// opened the note: the text is there once, and what was typed offline, too. Pages as Open WebUI's is one, and our provider.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { startRedis } from "../browser/redis.mjs";
import { importModule } from "../clients/module.mjs";
import { makeNote, savedText } from "../documents/editor.mjs";
import { Own } from "../documents/own.mjs";
import { Tab } from "../documents/page.mjs";
import { startSiskin, waitFor } from "../harness.mjs";

const run = promisify(execFile);
const end = [];
let redis, siskin, module;
before(async () => {
  redis = await startRedis({ after: (step) => end.unshift(step) });
  siskin = await startSiskin({ env: { WEBSOCKET_MANAGER: "redis", WEBSOCKET_REDIS_URL: redis.url } });
  end.unshift(() => siskin.close());
  await waitFor(async () => (await fetch(`${siskin.url}/ready`)).ok, { what: "readiness" });
  module = await importModule(siskin);
});
after(async () => {
  for (const step of end) await step();
});

const content = (md) => ({ content: { md, html: `<p>${md}</p>`, json: null } });
const shows = (editor, text) =>
  waitFor(() => editor.text.toString() === text, { seconds: 10, what: text }).catch(() => assert.equal(editor.text.toString(), text, editor.user));
const isSaved = (id, text) => waitFor(async () => (await savedText(siskin, id)) === text, { what: `saved ${text}` }).catch(async () => assert.equal(await savedText(siskin, id), text));
const inRedis = async (...command) => (await run("redis-cli", ["-u", redis.url, ...command])).stdout.trim();
/** Nobody has it open any more: Redis has no document that somebody could begin with. */
const closed = (id) => waitFor(async () => (await inRedis("EXISTS", `open-webui:ydoc:documents:note:${id}:updates`)) === "0", { what: "a closed document" });

let notes = 0;
async function scene(t) {
  const id = await makeNote(siskin, `left-${(notes += 1)}`, { writers: ["bob", "cleo"], data: content("first") });
  const open = async (user, kind = "page") => {
    const editor = kind === "page" ? new Tab(siskin, user, `note:${id}`, { dataEvery: 1 }) : new Own(module, siskin, user, `note:${id}`);
    t.after(() => editor.close());
    await editor.open();
    return editor;
  };
  return { id, open };
}

describe("whoever was cut off comes back after a fresh page", { concurrency: 1 }, () => {
  for (const kind of ["page", "provider"]) {
    for (const other of ["is cut off, too", "leaves"]) {
      for (const offline of ["", " offline"]) {
        test(`a ${kind} that wrote ${offline || "nothing"}; the other one ${other}`, { timeout: 120_000 }, async (t) => {
          const { id, open } = await scene(t);
          const ann = await open("ann", kind);
          await shows(ann, "first");
          const bob = await open("bob");
          await shows(bob, "first");
          bob.text.insert(5, " shared");
          await shows(ann, "first shared");
          await isSaved(id, "first shared");
          await ann.cut();
          if (offline) ann.text.insert(12, offline);
          if (other === "leaves") await bob.ask("ydoc:document:leave", { document_id: bob.documentId });
          else await bob.cut();
          await closed(id);
          const cleo = await open("cleo");
          await shows(cleo, "first shared");
          cleo.text.insert(0, "I: ");
          await isSaved(id, "I: first shared");
          await ann.back();
          const text = `I: first shared${offline}`;
          for (const editor of [ann, cleo]) await shows(editor, text);
          await isSaved(id, text);
          const late = await open("bob");
          await shows(late, text);
        });
      }
    }
  }
});

test("what somebody else wrote meanwhile wins, and what was typed offline is a version", { timeout: 120_000 }, async (t) => {
  for (const kind of ["page", "provider"]) {
    const { id, open } = await scene(t);
    const ann = await open("ann", kind);
    await shows(ann, "first");
    ann.text.insert(5, "!");
    await isSaved(id, "first!");
    await ann.cut();
    ann.text.insert(6, "!");
    await closed(id);
    await siskin.api("PATCH", `/notes/${id}`, { data: content("outside") });
    await ann.back();
    await shows(ann, "outside");
    const versions = async () => (await siskin.api("GET", `/notes/${id}/versions`)).versions.map(({ data }) => data.content.md);
    await waitFor(async () => (await versions()).includes("first!!"), { what: "the version" });
    ann.text.insert(7, "!");
    await isSaved(id, "outside!");
  }
});

test("a page that waits long to come in is asked for what it deleted offline", { timeout: 60_000 }, async (t) => {
  const { id, open } = await scene(t);
  const ann = await open("ann");
  await shows(ann, "first");
  const bob = await open("bob");
  await shows(bob, "first");
  bob.text.insert(5, " word");
  await shows(ann, "first word");
  await ann.cut();
  ann.text.delete(5, 5);
  // As that of an instance that was killed in the middle of a change: the page shows its cursor, and hears nothing for longer than its next event waits.
  await inRedis("SET", `open-webui:ydoc:documents:note:${id}:lock`, "killed", "NX", "PX", "7000");
  await ann.back();
  for (const editor of [ann, bob]) await shows(editor, "first");
  await isSaved(id, "first");
});
