// With Redis somebody else wrote a note while nobody had it open: that wins, whichever instance who was cut off comes back to. Their text is there
// once, and what they had unsaved is a version: two instances beside one Open WebUI, of which there is as much here as they ask for.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { startPair, startRedis } from "../browser/redis.mjs";
import { importModule } from "../clients/module.mjs";
import { Editor } from "../documents/editor.mjs";
import { Own } from "../documents/own.mjs";
import { Tab } from "../documents/page.mjs";
import { freePort, sleep, waitFor } from "../harness.mjs";
import * as Y from "yjs";

const run = promisify(execFile);
const end = [];
const notes = {};
let redis, houses, module;

/** Who asks, by the token, if there is one. */
function whoAsks({ headers }) {
  const claims = headers.authorization?.split(".")[1];
  return claims && JSON.parse(Buffer.from(claims, "base64url")).id;
}

async function answer(request, path) {
  if (path === "/api/version") return { version: "0.12.4", deployment_id: "d" };
  const id = whoAsks(request);
  if (!id) return null;
  if (path === "/api/v1/auths/") return { id, name: id, email: `${id}@example.com`, role: "user", profile_image_url: "" };
  if (path === "/api/v1/channels/") return [];
  const [, noteId, update] = /^\/api\/v1\/notes\/([^/]+)(\/update)?$/.exec(path) ?? [];
  const note = notes[noteId];
  if (!note) return null;
  if (update) {
    let body = "";
    for await (const part of request) body += part;
    Object.assign(note.data, JSON.parse(body).data);
    note.updated_at += 1;
  }
  return { ...note, write_access: true };
}

before(async () => {
  redis = await startRedis({ after: (step) => end.unshift(step) });
  const port = await freePort();
  const directory = createServer(async (request, response) => {
    const said = await answer(request, request.url.split("?")[0]);
    response.writeHead(said ? 200 : whoAsks(request) ? 404 : 401, { "content-type": "application/json" });
    response.end(JSON.stringify(said ?? { detail: "no such thing" }));
  });
  await new Promise((listens) => directory.listen(port, "127.0.0.1", listens));
  end.unshift(() => (directory.closeAllConnections(), directory.close()));
  houses = await startPair({ after: (step) => end.unshift(step) }, redis, { SISKIN_DIRECTORY: `http://127.0.0.1:${port}` });
  module = await importModule(houses[0]);
});
after(async () => {
  for (const step of end) await step();
});

const shows = (editor, text) =>
  waitFor(() => editor.text.toString() === text, { seconds: 20, what: text }).catch(() => assert.equal(editor.text.toString(), text, `${editor.user}, ${editor.constructor.name}`));
const inRedis = async (...command) => (await run("redis-cli", ["-u", redis.url, ...command])).stdout.trim();
const content = (md) => ({ md, html: "", json: null });
const write = (id, md) => Object.assign(notes[id], { updated_at: notes[id].updated_at + 1, data: { ...notes[id].data, content: content(md) } });
const isSaved = (id, text) => waitFor(() => notes[id].data.content.md === text, { what: `saved ${text}` }).catch(() => assert.equal(notes[id].data.content.md, text));
const versions = (id) => (notes[id].data.versions ?? []).map(({ md }) => md);
/** Nobody has it open any more: Redis has no document that somebody could begin with. */
const closed = (id) => waitFor(async () => (await inRedis("EXISTS", `open-webui:ydoc:documents:note:${id}:updates`)) === "0", { what: "a closed document" });

/** Open WebUI's page puts what was written over REST in place of what it shows. */
class Page extends Tab {
  async connect() {
    await super.connect();
    this.socket.on("events:note", ({ data }) => {
      if (!data?.content || data.content.md === this.text.toString()) return;
      this.doc.transact(() => (this.text.delete(0, this.text.length), this.text.insert(0, data.content.md)));
    });
    return this;
  }
}

let count = 0;
/** Ann and Bob, each at an instance, have a note's text, and are cut off; Ann writes on. */
async function left(t, kind, offline) {
  const id = `00000000-0000-4000-8000-${String((count += 1)).padStart(12, "0")}`;
  notes[id] = { id, user_id: "ann", title: id, data: { content: content("first") }, meta: null, access_grants: [], created_at: 1, updated_at: 1 };
  const open = async (user, n, Kind = Page) => {
    const siskin = houses[n];
    const editor = Kind === Own ? new Own(module, siskin, user, `note:${id}`) : new Kind(siskin, user, `note:${id}`, { dataEvery: 1 });
    t.after(() => editor.close());
    await editor.open();
    return editor;
  };
  const ann = await open("ann", 0, kind);
  await shows(ann, "first");
  const bob = await open("bob", 1, kind);
  await shows(bob, "first");
  bob.text.insert(5, " shared");
  await shows(ann, "first shared");
  await isSaved(id, "first shared");
  for (const editor of [ann, bob]) await editor.cut();
  if (offline) ann.text.insert(12, offline);
  await closed(id);
  return { id, ann, bob, open };
}

const isKept = (id, offline) => waitFor(() => !offline || versions(id).includes(`first shared${offline}`), { what: "the version" }).catch(() => assert.fail(`${versions(id)}`));

describe("a note of Open WebUI that was written outside", { concurrency: 1 }, () => {
  for (const Kind of [Page, Own]) {
    const kind = Kind === Page ? "page" : "provider";
    for (const offline of ["", " offline"]) {
      const wrote = offline ? "wrote offline" : "wrote nothing";
      test(`the ${kind} that was cut off comes back first: ${wrote}`, { timeout: 60_000 }, async (t) => {
        const { id, ann, bob, open } = await left(t, Kind, offline);
        write(id, "outside");
        await ann.back();
        await shows(ann, "outside");
        ann.text.insert(7, " and on");
        await bob.back();
        const cleo = await open("cleo", 1);
        for (const editor of [ann, bob, cleo]) await shows(editor, "outside and on");
        bob.text.insert(0, "As ");
        for (const editor of [ann, bob, cleo]) await shows(editor, "As outside and on");
        await isSaved(id, "As outside and on");
        await isKept(id, offline);
        // Once more: now it has this one.
        await ann.cut();
        ann.text.insert(0, "So: ");
        await ann.back();
        for (const editor of [ann, bob, cleo]) await shows(editor, "So: As outside and on");
        await isSaved(id, "So: As outside and on");
      });

      test(`another one was faster than the ${kind}: ${wrote}`, { timeout: 60_000 }, async (t) => {
        const { id, ann, bob, open } = await left(t, Kind, offline);
        write(id, "outside");
        const cleo = await open("cleo", 1);
        await shows(cleo, "outside");
        cleo.text.insert(7, "!");
        await Promise.all([ann.back(), bob.back()]);
        cleo.text.insert(8, "!");
        for (const editor of [ann, bob, cleo]) await shows(editor, "outside!!");
        ann.text.insert(0, "I: ");
        for (const editor of [ann, bob, cleo]) await shows(editor, "I: outside!!");
        await isSaved(id, "I: outside!!");
        await isKept(id, offline);
        const late = await open("dan", 0);
        await shows(late, "I: outside!!");
        // All leave: who was cut off of the first one is still known.
        for (const editor of [ann, bob, cleo, late]) editor.close();
        await closed(id);
        const again = await open("cleo", 0);
        await shows(again, "I: outside!!");
      });
    }
  }

  for (const Kind of [Page, Own])
    test(`it was removed, and is there anew with the same id: ${Kind.name}`, { timeout: 60_000 }, async (t) => {
      const { id, ann, bob, open } = await left(t, Kind, " offline");
      const note = notes[id];
      delete notes[id];
      // Nobody is let in meanwhile.
      const eve = await new Editor(houses[1], "eve", `note:${id}`).connect();
      t.after(() => eve.close());
      eve.socket.emit("ydoc:document:join", { document_id: `note:${id}` });
      await sleep(500);
      assert.deepEqual(eve.states, []);
      notes[id] = { ...note, created_at: 2, updated_at: 2, data: { content: content("new") } };
      const cleo = await open("cleo", 1);
      await shows(cleo, "new");
      for (const editor of [ann, bob]) await editor.back();
      for (const editor of [ann, bob, cleo]) await shows(editor, "new");
      await isKept(id, " offline");
      cleo.text.insert(3, "er");
      for (const editor of [ann, bob]) await shows(editor, "newer");
      await isSaved(id, "newer");
    });

  for (const offline of ["", " offline"]) {
    test(`two pages come back at the same moment, and type as soon as they may: ${offline ? "one wrote offline" : "nobody wrote"}`, { timeout: 60_000 }, async (t) => {
      for (let round = 0; round < 3; round += 1) {
        const { id, ann, bob } = await left(t, Page, offline);
        write(id, "outside");
        const types = async (page, letters) => {
          page.synced = false;
          await page.back();
          // It is asked for what it has first, and then takes nothing: what is typed between these two messages ends.
          await sleep(20);
          for (const letter of letters) {
            await waitFor(() => page.synced, { what: "a page that takes what is typed" });
            page.text.insert(page.text.length, letter);
            await sleep(100);
          }
        };
        await Promise.all([types(ann, "0123456789"), types(bob, "ABCDEFGHIJ")]);
        await waitFor(() => ann.text.toString() === bob.text.toString(), { what: "the same text" });
        const text = ann.text.toString();
        for (const [all, part] of [[/[0-9A-J]/g, "outside"], [/[^0-9]/g, "0123456789"], [/[^A-J]/g, "ABCDEFGHIJ"]]) assert.equal(text.replace(all, ""), part, text);
        await isSaved(id, text);
        await waitFor(() => versions(id).some((md) => md.includes(offline)) || !offline, { what: "the version" });
        for (const page of [ann, bob]) page.close();
      }
    });
  }

  test("it was written twice, and who has the first document comes back last", { timeout: 60_000 }, async (t) => {
    const { id, ann, bob, open } = await left(t, Page, " offline");
    write(id, "outside");
    await bob.back();
    await shows(bob, "outside");
    bob.text.insert(7, "!");
    await isSaved(id, "outside!");
    await bob.cut();
    await closed(id);
    write(id, "again");
    const cleo = await open("cleo", 0);
    await shows(cleo, "again");
    await ann.back();
    await bob.back();
    for (const editor of [ann, bob, cleo]) await shows(editor, "again");
    await isKept(id, " offline");
    await isSaved(id, "again");
  });

  test("any Yjs client that comes back with the old document has the new text once", { timeout: 60_000 }, async (t) => {
    const { id, open } = await left(t, Page, "");
    const plain = await open("eve", 0, Editor);
    await shows(plain, "first shared");
    plain.online = false;
    plain.socket.io.engine.close();
    await closed(id);
    write(id, "outside");
    const cleo = await open("cleo", 1);
    await shows(cleo, "outside");
    await plain.connect();
    plain.socket.on("ydoc:document:state", ({ state }) => Y.applyUpdate(plain.doc, Uint8Array.from(state), plain));
    plain.join();
    for (const editor of [plain, cleo]) await shows(editor, "outside");
  });

  test("of a document that has ended nothing is among what Open WebUI's own process reads, and what siskin keeps expires", { timeout: 60_000 }, async (t) => {
    const { id, ann, open } = await left(t, Page, " offline");
    write(id, "outside");
    const key = (what) => `open-webui:ydoc:documents:note:${id}:${what}`;
    // One that only looks: the note's content is what it begins with.
    const cleo = await open("cleo", 1, Editor);
    assert.equal(await inRedis("EXISTS", key("updates")), "0");
    assert.equal(await inRedis("EXISTS", key("size")), "0");
    const seconds = Number(await inRedis("TTL", key("kept")));
    assert.ok(seconds > 80_000 && seconds <= 86_400, `${seconds} s`);
    await ann.back();
    await shows(ann, "outside");
    await shows(cleo, "outside");
  });
});
