// Somebody else wrote a note while nobody had it open: that wins. Whoever comes back with the old document, with a program that does
// not count documents, has its text once, and what it had unsaved is a version of the note.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import * as Y from "yjs";
import { importModule } from "../clients/module.mjs";
import { sleep, startSiskin, waitFor } from "../harness.mjs";
import { Editor, makeNote, savedText } from "./editor.mjs";
import { Own } from "./own.mjs";
import { Tab } from "./page.mjs";

const RUNS = Number(process.env.SISKIN_RUNS ?? 2);

let siskin, module;
before(async () => {
  siskin = await startSiskin();
  module = await importModule(siskin);
});
after(() => siskin.close());

const content = (md) => ({ content: { md, html: `<p>${md}</p>`, json: null } });
const shows = (editor, text) =>
  waitFor(() => editor.text.toString() === text, { seconds: 30, what: text }).catch(() => assert.equal(editor.text.toString(), text, editor.user));
const isSaved = (id, text) => waitFor(async () => (await savedText(siskin, id)) === text, { what: `saved ${text}` }).catch(async () => assert.equal(await savedText(siskin, id), text));
const versions = async (id) => (await siskin.api("GET", `/notes/${id}/versions`)).versions.map(({ data }) => data.content?.md);
/** Nobody has it open any more, and it is kept. */
const closed = () => waitFor(async () => (await siskin.api("GET", "/status")).documents === 0, { what: "a closed document" });

let notes = 0;
/** A note whose text Ann and Bob have; both are cut off, Ann writes on. */
async function left(t, offline) {
  const id = await makeNote(siskin, `ended-${(notes += 1)}`, { writers: ["bob", "cleo"], data: content("first") });
  const open = async (user, Kind = Tab, more = {}) => {
    const editor = Object.assign(new Kind(siskin, user, `note:${id}`, { dataEvery: 1 }), more);
    t.after(() => editor.close());
    await editor.open();
    return editor;
  };
  const ann = await open("ann");
  await shows(ann, "first");
  const bob = await open("bob");
  await shows(bob, "first");
  bob.text.insert(5, " shared");
  await shows(ann, "first shared");
  await isSaved(id, "first shared");
  for (const tab of [ann, bob]) await tab.cut();
  if (offline) ann.text.insert(12, offline);
  await closed();
  return { id, ann, bob, open };
}

const write = (id) => siskin.api("PATCH", `/notes/${id}`, { data: content("outside") });

describe("a note that was written outside", () => {
  for (const offline of ["", " offline"]) {
    const wrote = offline ? "wrote offline" : "wrote nothing";
    test(`the old page comes back first: ${wrote}`, { timeout: 60_000 * RUNS }, async (t) => {
      for (let run = 0; run < RUNS; run += 1) {
        const { id, ann, bob, open } = await left(t, offline);
        await write(id);
        await ann.back();
        await shows(ann, "outside");
        ann.text.insert(7, " and on");
        await bob.back();
        const cleo = await open("cleo");
        for (const editor of [ann, bob, cleo]) await shows(editor, "outside and on");
        bob.text.insert(0, "As ");
        for (const editor of [ann, bob, cleo]) await shows(editor, "As outside and on");
        await isSaved(id, "As outside and on");
        const texts = await versions(id);
        assert.ok(texts.includes("first shared"), texts);
        assert.equal(texts.includes("first shared offline"), offline !== "", texts);
        // Once more: now it has this one.
        await ann.cut();
        ann.text.insert(0, "So: ");
        await ann.back();
        for (const editor of [ann, bob, cleo]) await shows(editor, "So: As outside and on");
        for (const editor of [ann, bob, cleo]) editor.close();
        await closed();
      }
    });

    test(`another one was faster: ${wrote}`, { timeout: 60_000 * RUNS }, async (t) => {
      for (let run = 0; run < RUNS; run += 1) {
        const { id, ann, bob, open } = await left(t, offline);
        await write(id);
        const cleo = await open("cleo");
        await shows(cleo, "outside");
        cleo.text.insert(7, "!");
        await Promise.all([ann.back(), bob.back()]);
        cleo.text.insert(8, "!");
        for (const editor of [ann, bob, cleo]) await shows(editor, "outside!!");
        await isSaved(id, "outside!!");
        assert.equal((await versions(id)).includes("first shared offline"), offline !== "");
        const late = await open("cleo", Tab);
        await shows(late, "outside!!");
        for (const editor of [ann, bob, cleo, late]) editor.close();
        await closed();
      }
    });
  }

  test("a page hears what others write before it is shown what is there, and what it shows then is not saved", { timeout: 60_000 }, async (t) => {
    const { id, ann, open } = await left(t, "");
    await write(id);
    await ann.back();
    await shows(ann, "outside");
    // There is nothing that it could begin with.
    await siskin.api("PUT", `/notes/${id}`, { user_id: "ann", title: id, data: {}, access_grants: [] });
    await siskin.api("PUT", `/notes/${id}`, { user_id: "ann", title: id, data: {}, access_grants: [{ principal_type: "user", principal_id: "cleo", permission: "write" }] });
    // It is asked what it has, since its cursor was in the text.
    const cleo = await open("cleo", Tab, { typed: true });
    assert.equal(cleo.text.length, 0);
    ann.text.insert(7, "!");
    await shows(cleo, "outside!");
    await sleep(1200);
    await isSaved(id, "outside!");
  });

  test("a crash changes nothing of that, and neither does the second time", { timeout: 60_000 }, async (t) => {
    const { id, ann, bob, open } = await left(t, " offline");
    await write(id);
    const cleo = await open("cleo");
    await shows(cleo, "outside");
    await siskin.kill();
    cleo.close();
    await siskin.start();
    await ann.back();
    await shows(ann, "outside");
    await ann.cut();
    await closed();
    await siskin.api("PATCH", `/notes/${id}`, { data: content("again") });
    await bob.back();
    await shows(bob, "again");
    await ann.back();
    for (const editor of [ann, bob]) await shows(editor, "again");
    assert.ok((await versions(id)).includes("first shared offline"));
  });

  test("any other Yjs client, which says nothing of its content, has the text once, too", { timeout: 60_000 }, async (t) => {
    const { id, open } = await left(t, "");
    const plain = await open("bob", Editor);
    await shows(plain, "first shared");
    plain.online = false;
    plain.socket.io.engine.close();
    await closed();
    await write(id);
    const cleo = await open("cleo");
    await shows(cleo, "outside");
    await plain.connect();
    plain.socket.on("ydoc:document:state", ({ state }) => Y.applyUpdate(plain.doc, Uint8Array.from(state), plain));
    plain.join();
    for (const editor of [plain, cleo]) await shows(editor, "outside");
  });
});

describe("a note that is removed and made again", () => {
  const remake = async (id, text) => {
    await siskin.api("DELETE", `/notes/${id}`);
    await makeNote(siskin, id, { writers: ["bob", "cleo"], data: content(text) });
  };

  for (const Kind of [Tab, Own]) {
    const open = async (t, id, user) => {
      const editor = Kind === Own ? new Own(module, siskin, user, `note:${id}`) : new Tab(siskin, user, `note:${id}`, { dataEvery: 1 });
      t.after(() => editor.close());
      await editor.open();
      return editor;
    };
    const began = async (t, text) => {
      const id = await makeNote(siskin, `made-again-${(notes += 1)}`, { writers: ["bob", "cleo"], data: content("first") });
      const ann = await open(t, id, "ann");
      await shows(ann, "first");
      ann.text.insert(5, text);
      await isSaved(id, `first${text}`);
      return { id, ann };
    };

    for (const crash of [false, true])
      test(`who was away has the new one${crash ? ", after a crash, too" : ""}: ${Kind.name}`, { timeout: 60_000 }, async (t) => {
        const { id, ann } = await began(t, " old");
        await ann.cut();
        ann.text.insert(0, "offline ");
        await closed();
        await remake(id, "new");
        if (crash) {
          await siskin.kill();
          await siskin.start();
        }
        const cleo = await open(t, id, "cleo");
        await shows(cleo, "new");
        await ann.back();
        for (const editor of [ann, cleo]) await shows(editor, "new");
        ann.text.insert(3, "er");
        for (const editor of [ann, cleo]) await shows(editor, "newer");
        await isSaved(id, "newer");
        assert.ok((await versions(id)).includes("offline first old"), await versions(id));
      });

    test(`who has it open goes on with the new one: ${Kind.name}`, { timeout: 60_000 }, async (t) => {
      const { id, ann } = await began(t, " old");
      const bob = await open(t, id, "bob");
      await shows(bob, "first old");
      const { taken } = bob;
      await remake(id, "new");
      for (const editor of [ann, bob]) await shows(editor, "new");
      // It may hear of the new one from Ann first. It is asked, and shown it; what is typed before that ends with the old one.
      if (Kind === Tab) await waitFor(() => bob.taken >= taken + 2, { what: "what is shown" });
      bob.text.insert(3, "er");
      for (const editor of [ann, bob]) await shows(editor, "newer");
      await isSaved(id, "newer");
    });

    test(`nothing of it was on the disk yet: ${Kind.name}`, { timeout: 60_000 }, async (t) => {
      const id = await makeNote(siskin, `made-again-${(notes += 1)}`, { writers: ["bob"], data: {} });
      const ann = await open(t, id, "ann");
      const bob = await open(t, id, "bob");
      ann.text.insert(0, "typed");
      await shows(bob, "typed");
      await bob.cut();
      await remake(id, "new");
      await shows(ann, "new");
      await bob.back();
      for (const editor of [ann, bob]) await shows(editor, "new");
    });
  }

  test("what others write into the new one before our provider has its state stays", { timeout: 60_000 }, async (t) => {
    const id = await makeNote(siskin, `made-again-${(notes += 1)}`, { writers: ["bob"], data: content("first") });
    const open = async (user) => {
      const editor = new Own(module, siskin, user, `note:${id}`);
      t.after(() => editor.close());
      return editor.open();
    };
    const [ann, bob] = [await open("ann"), await open("bob")];
    for (const editor of [ann, bob]) await shows(editor, "first");
    // The state is late.
    const { socket } = ann.client;
    const held = [];
    socket.onevent = (packet) => {
      if (packet.data[0] === "ydoc:document:state") held.push(packet);
      else Object.getPrototypeOf(socket).onevent.call(socket, packet);
    };
    await remake(id, "new");
    await shows(bob, "new");
    bob.text.insert(3, "er");
    await waitFor(() => held.length, { what: "the state" });
    await sleep(300);
    delete socket.onevent;
    held.forEach((packet) => socket.onevent(packet));
    for (const editor of [ann, bob]) await shows(editor, "newer");
    await sleep(500);
    for (const editor of [ann, bob]) await shows(editor, "newer");
    await isSaved(id, "newer");
  });

  test("what a page types before it is asked, and before it has what it is shown, ends with the old one", { timeout: 60_000 }, async (t) => {
    const id = await makeNote(siskin, `made-again-${(notes += 1)}`, { writers: ["bob"], data: content("first") });
    const open = async (user) => {
      const tab = new Tab(siskin, user, `note:${id}`, { dataEvery: 1 });
      t.after(() => tab.close());
      await tab.open();
      await shows(tab, "first");
      return tab;
    };
    const [ann, bob] = [await open("ann"), await open("bob")];
    await bob.leave();
    ann.hold();
    await remake(id, "new");
    await waitFor(() => ann.held.length, { what: "the question" });
    for (const letter of " one") ann.text.insert(ann.text.length, letter);
    await sleep(200);
    ann.release();
    ann.hold();
    await waitFor(async () => (await versions(id)).includes("first one"), { what: "the version" });
    await waitFor(() => ann.held.length, { what: "what is there" });
    await ann.lose(() => ann.text.insert(0, "lost "));
    for (const letter of "two ") ann.text.insert(0, letter);
    await sleep(200);
    ann.release();
    await shows(ann, "new");
    const late = new Tab(siskin, "bob", `note:${id}`, { dataEvery: 1 });
    t.after(() => late.close());
    await late.open();
    for (const editor of [ann, late]) await shows(editor, "new");
    ann.text.insert(3, "er");
    for (const editor of [ann, late]) await shows(editor, "newer");
    await isSaved(id, "newer");
  });
});

test("a page that was cut off finds the document again, though others were done with it and somebody else came", { timeout: 60_000 }, async (t) => {
  const { id, ann, bob, open } = await left(t, " offline");
  await bob.back();
  await shows(bob, "first shared");
  await bob.leave();
  await closed();
  const cleo = await open("cleo");
  await shows(cleo, "first shared");
  await ann.back();
  for (const editor of [ann, cleo]) await shows(editor, "first shared offline");
  await isSaved(id, "first shared offline");
});

test("who has nothing to begin with, and wrote nothing, is shown what is there at once, however much has ended", { timeout: 60_000 }, async (t) => {
  const id = await makeNote(siskin, "much", { writers: ["bob", "cleo", "dan"], data: content("") });
  const open = async (user) => {
    const tab = new Tab(siskin, user, `note:${id}`, { dataEvery: 1 });
    t.after(() => tab.close());
    await tab.open();
    return tab;
  };
  const ann = await open("ann");
  ann.text.insert(0, "x".repeat(1_000_000));
  ann.text.delete(0, 1_000_000);
  ann.text.insert(0, "old");
  await isSaved(id, "old");
  // One who only reads, and heard of something before the server forgot it.
  const dan = await open("dan");
  await shows(dan, "old");
  const forgotten = new Y.Doc();
  Y.applyUpdate(forgotten, Y.encodeStateAsUpdate(ann.doc));
  forgotten.getText("text").insert(3, " forgotten");
  Y.applyUpdate(dan.doc, Y.encodeStateAsUpdate(forgotten), dan);
  await shows(dan, "old forgotten");
  for (const tab of [ann, dan]) await tab.cut();
  await closed();
  const access_grants = ["bob", "cleo", "dan"].map((user) => ({ principal_type: "user", principal_id: user, permission: "write" }));
  await siskin.api("PUT", `/notes/${id}`, { user_id: "ann", title: id, data: {}, access_grants });
  const bob = await open("bob");
  bob.text.insert(0, "new");
  await bob.settled();
  const began = Date.now();
  const cleo = await open("cleo");
  await dan.back();
  for (const tab of [cleo, dan]) await shows(tab, "new");
  assert.ok(Date.now() - began < 5_000, `after ${Date.now() - began} ms`);
  // The old page has its text once, too.
  await ann.back();
  for (const tab of [ann, bob, cleo, dan]) await shows(tab, "new");
  dan.text.insert(3, "er");
  for (const tab of [ann, bob, cleo, dan]) await shows(tab, "newer");
  await isSaved(id, "newer");
});

test("a document that was too large to wait for a page that was cut off has ended: its text is there once", { timeout: 120_000 }, async (t) => {
  const text = "x".repeat(1_200_000);
  const id = await makeNote(siskin, "large", { writers: ["bob"], data: content("") });
  const [ann, bob] = ["ann", "bob"].map((user) => new Tab(siskin, user, `note:${id}`, { dataEvery: 1 }));
  for (const tab of [ann, bob]) t.after(() => tab.close());
  const same = (editor, expected) => waitFor(() => editor.text.toString() === expected, { seconds: 60, what: `text of ${editor.user}` });
  await ann.open();
  ann.text.insert(0, text);
  await waitFor(async () => (await savedText(siskin, id)).length === text.length, { seconds: 60, what: "the save" });
  await ann.cut();
  ann.text.insert(0, "offline ");
  await closed();
  await bob.open();
  await same(bob, text);
  bob.text.insert(0, "bob ");
  await ann.back();
  for (const tab of [ann, bob]) await same(tab, `bob ${text}`);
  await waitFor(async () => (await versions(id)).includes(`offline ${text}`), { seconds: 60, what: "the version" });
  ann.text.insert(0, "As ");
  for (const tab of [ann, bob]) await same(tab, `As bob ${text}`);
});
