// With Redis a note is removed, and maybe made anew under the same id, at whichever of two instances: its document has ended for
// whoever has it open, and for who was cut off with it. Nothing of the old text comes back. Pages as Open WebUI's is one, our
// provider, and any Yjs client.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import * as Y from "yjs";
import { startPair, startRedis } from "../browser/redis.mjs";
import { importModule } from "../clients/module.mjs";
import { Editor, makeNote, savedText } from "../documents/editor.mjs";
import { Own } from "../documents/own.mjs";
import { Tab } from "../documents/page.mjs";
import { sleep, waitFor } from "../harness.mjs";

const run = promisify(execFile);
const end = [];
let redis, houses, module;
before(async () => {
  redis = await startRedis({ after: (step) => end.unshift(step) });
  houses = await startPair({ after: (step) => end.unshift(step) }, redis);
  module = await importModule(houses[0]);
});
after(async () => {
  for (const step of end) await step();
});

/** A Yjs client that applies what it gets, and says at its join what it has no more than any. */
class Plain extends Editor {
  async connect() {
    await super.connect();
    this.socket.on("ydoc:document:state", ({ state }) => Y.applyUpdate(this.doc, Uint8Array.from(state), this));
    return this;
  }

  async cut() {
    this.online = false;
    this.flying = 0;
    const gone = new Promise((resolve) => this.socket.once("disconnect", resolve));
    this.socket.io.engine.close();
    await gone;
  }

  async back() {
    await this.connect();
    // What it has it sends when it is asked, as the page does.
    this.socket.on("ydoc:document:state", ({ state }) => state.length === 2 && this.text.length && this.send(Y.encodeStateAsUpdate(this.doc)));
    this.socket.emit("ydoc:document:join", { document_id: this.documentId, user_color: "#123456" });
    this.online = true;
  }
}

const content = (md) => ({ content: { md, html: `<p>${md}</p>`, json: null } });
const shows = (editor, text) =>
  waitFor(() => editor.text.toString() === text, { seconds: 20, what: text }).catch(() => assert.equal(editor.text.toString(), text, `${editor.user}, ${editor.constructor.name}`));
const isSaved = (siskin, id, text) =>
  waitFor(async () => (await savedText(siskin, id)) === text, { what: `saved ${text}` }).catch(async () => assert.equal(await savedText(siskin, id), text));
const versions = async (siskin, id) => (await siskin.api("GET", `/notes/${id}/versions`)).versions.map(({ data }) => data.content?.md);
const inRedis = async (...command) => (await run("redis-cli", ["-u", redis.url, ...command])).stdout.trim();
const key = (id, what) => `open-webui:ydoc:documents:note:${id}:${what}`;
/** Nobody has it open any more: Redis has no document that somebody could begin with. */
const closed = (id) => waitFor(async () => (await inRedis("EXISTS", key(id, "updates"), key(id, "users"))) === "0", { what: "a closed document" });
/** A backend makes and removes the note at these instances. */
const make = async (id, text, at = houses) => {
  for (const siskin of at) await makeNote(siskin, id, { writers: ["bob", "cleo"], data: content(text) });
};
const remove = async (id, at = houses) => {
  for (const siskin of at) await siskin.api("DELETE", `/notes/${id}`);
};

/** After this long whoever was asked what they have is shown what is there (src/app/documents/ended.rs). */
const SHOWN = 3_000;

let notes = 0;
async function scene(t, text = "first") {
  const id = `removed-${(notes += 1)}`;
  await make(id, text);
  const open = async (user, n, Kind = Tab) => {
    const editor = Kind === Own ? new Own(module, houses[n], user, `note:${id}`) : new Kind(houses[n], user, `note:${id}`, { dataEvery: 1 });
    t.after(() => editor.close());
    await editor.open();
    return editor;
  };
  return { id, open };
}

/** Ann has an old text at one instance, Bob at the other. */
async function began(t, Kind) {
  const { id, open } = await scene(t);
  // One that begins a document.
  const page = await open("cleo", 0);
  await shows(page, "first");
  const ann = await open("ann", 0, Kind);
  const bob = await open("bob", 1, Kind);
  page.text.insert(5, " old");
  for (const editor of [ann, bob]) await shows(editor, "first old");
  await isSaved(houses[0], id, "first old");
  await page.leave();
  return { id, ann, bob, open };
}

for (const Kind of [Tab, Own, Plain]) {
  const kind = { Tab: "page", Own: "provider", Plain: "Yjs client" }[Kind.name];

  describe(`a note is removed: ${kind}`, { concurrency: 1 }, () => {
    for (const [how, text] of [
      ["anew", "new"],
      ["anew with the same text", "first old"],
    ])
      test(`while all are cut off, and made ${how} before they come back`, { timeout: 60_000 }, async (t) => {
        const { id, ann, bob, open } = await began(t, Kind);
        for (const editor of [ann, bob]) await editor.cut();
        ann.text.insert(0, "offline ");
        await closed(id);
        await remove(id);
        await make(id, text);
        const cleo = await open("cleo", 1);
        await shows(cleo, text);
        for (const editor of [ann, bob]) await editor.back();
        for (const editor of [ann, bob, cleo]) await shows(editor, text);
        cleo.text.insert(0, "er: ");
        for (const editor of [ann, bob, cleo]) await shows(editor, `er: ${text}`);
        ann.text.insert(0, "And ");
        for (const editor of [ann, bob, cleo]) await shows(editor, `And er: ${text}`);
        const kept = async () => (await versions(houses[0], id)).includes("offline first old");
        if (Kind !== Plain) await waitFor(kept, { what: "the version" });
      });

    test("and made anew before who was cut off comes back first", { timeout: 60_000 }, async (t) => {
      const { id, ann, bob, open } = await began(t, Kind);
      for (const editor of [ann, bob]) await editor.cut();
      ann.text.insert(0, "offline ");
      await closed(id);
      await remove(id);
      await make(id, "new");
      await ann.back();
      // A client that begins nothing has nothing until somebody does.
      await shows(ann, Kind === Plain ? "" : "new");
      const cleo = await open("cleo", 1);
      for (const editor of [ann, cleo]) await shows(editor, "new");
    });

    test("while it is open at both, and made anew", { timeout: 60_000 }, async (t) => {
      const { id, ann, bob, open } = await began(t, Kind);
      await remove(id);
      for (const editor of [ann, bob]) await waitFor(() => editor.errors.length, { what: `${editor.user} told` });
      for (const what of ["updates", "size", "users"]) assert.equal(await inRedis("EXISTS", key(id, what)), "0", what);
      await make(id, "new");
      const cleo = Kind === Plain ? await open("cleo", 0) : undefined;
      for (const editor of [ann, bob]) await shows(editor, "new");
      // Others' updates are heard before what one is shown, and what is typed before that ends with the old document.
      await sleep(SHOWN);
      ann.text.insert(3, "er");
      for (const editor of [ann, bob]) await shows(editor, "newer");
      bob.text.insert(0, "A ");
      for (const editor of [ann, bob, cleo].filter(Boolean)) await shows(editor, "A newer");
      if (Kind !== Plain) await isSaved(houses[1], id, "A newer");
    });

    test("while it is open at both, and made anew at one after the other", { timeout: 60_000 }, async (t) => {
      const { id, ann, bob, open } = await began(t, Kind);
      await remove(id, [houses[0]]);
      await waitFor(() => bob.errors.length, { what: "bob told" });
      await make(id, "new", [houses[0]]);
      const cleo = await open("cleo", 0);
      for (const editor of [ann, cleo]) await shows(editor, "new");
      await remove(id, [houses[1]]);
      await make(id, "new", [houses[1]]);
      await shows(bob, "new");
      await sleep(SHOWN);
      cleo.text.insert(3, "er");
      for (const editor of [ann, bob]) await shows(editor, "newer");
      bob.text.insert(0, "A ");
      for (const editor of [ann, cleo]) await shows(editor, "A newer");
    });

    test("at one of two instances: who has it open at the other one is told, and adds nothing to the new one", { timeout: 60_000 }, async (t) => {
      const { id, ann, bob, open } = await began(t, Kind);
      await remove(id, [houses[0]]);
      await waitFor(() => bob.errors.length, { what: "bob told" });
      bob.text.insert(0, "more ");
      await make(id, "new", [houses[0]]);
      const cleo = await open("cleo", 0);
      for (const editor of [ann, cleo]) await shows(editor, "new");
      bob.text.insert(0, "and ");
      await sleep(1000);
      for (const editor of [ann, cleo]) await shows(editor, "new");
      await bob.cut();
      await bob.back();
      for (const editor of [ann, bob, cleo]) await shows(editor, "new");
      await isSaved(houses[0], id, "new");
    });
  });
}

test("a note is removed, and an instance does not hear of it: who types there has the new document", { timeout: 60_000 }, async (t) => {
  const { id, ann, bob, open } = await began(t, Own);
  ann.close();
  // As the other instance does it.
  const epoch = Number(await inRedis("HGET", key(id, "kept"), "epoch"));
  await inRedis("DEL", key(id, "kept"), key(id, "updates"), key(id, "size"));
  await inRedis("HSET", key(id, "kept"), "epoch", `${epoch + 1}`);
  await make(id, "new");
  bob.text.insert(0, "more ");
  await shows(bob, "new");
  const cleo = await open("cleo", 0);
  await shows(cleo, "new");
  bob.text.insert(3, "er");
  for (const editor of [bob, cleo]) await shows(editor, "newer");
  await waitFor(async () => (await versions(houses[1], id)).includes("more first old"), { what: "the version" });
});

test("a note is removed while Redis is away: its document ends when it is back", { timeout: 60_000 }, async (t) => {
  const { id, ann, bob, open } = await began(t, Tab);
  for (const editor of [ann, bob]) await editor.cut();
  ann.text.insert(0, "offline ");
  await closed(id);
  await redis.stop();
  await remove(id);
  await redis.start();
  for (const siskin of houses) await waitFor(async () => (await fetch(`${siskin.url}/ready`)).ok, { what: "readiness" });
  await make(id, "first old");
  const cleo = await open("cleo", 1);
  await ann.back();
  await waitFor(async () => (await versions(houses[0], id)).includes("offline first old"), { what: "the version" });
  for (const editor of [ann, cleo]) await shows(editor, "first old");
});

describe("what Redis has of a note that is removed", { concurrency: 1 }, () => {
  const keys = async (id) => (await inRedis("KEYS", `*${id}*`)).split("\n").filter(Boolean);

  test("is nothing, if nobody may come back with it", { timeout: 60_000 }, async (t) => {
    const { id, open } = await scene(t);
    const ann = await open("ann", 0);
    await shows(ann, "first");
    await ann.leave();
    await closed(id);
    await remove(id);
    assert.deepEqual(await keys(id), []);
  });

  test("is what tells who comes back that it has ended, for a day", { timeout: 60_000 }, async (t) => {
    const { id, ann, bob } = await began(t, Tab);
    await ann.cut();
    await remove(id);
    await waitFor(() => bob.errors.length, { what: "bob told" });
    await waitFor(async () => (await keys(id)).length < 2, { what: "one key" }).catch(() => {});
    assert.deepEqual(await keys(id), [key(id, "kept")]);
    const seconds = Number(await inRedis("TTL", key(id, "kept")));
    assert.ok(seconds > 80_000 && seconds <= 86_400, `${seconds} s`);
    assert.equal(await inRedis("HEXISTS", key(id, "kept"), "updates"), "0");
    for (const session of (await inRedis("KEYS", "open-webui:ydoc:documents:session:*")).split("\n").filter(Boolean))
      assert.equal(await inRedis("SISMEMBER", session, `note:${id}`), "0");
  });
});
