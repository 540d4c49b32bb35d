// What is live, in the console and in pages of a chat application: notes, lists, a network that is cut, a server that is killed, tokens that expire.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { apiKey, sleep, startSiskin, waitFor } from "../harness.mjs";
import { barriers, launch, visit } from "./browser.mjs";
import { enter, makeNote, startFrontend } from "./frontend.mjs";
import { startProxy } from "./proxy.mjs";

const now = () => Math.floor(Date.now() / 1000);

/** Fay is there from the beginning, with a token that soon expires: siskin looks each 30 s. */
let browser, siskin, frontend, fay;
before(async () => {
  [browser, siskin] = await Promise.all([launch(), startSiskin()]);
  frontend = await startFrontend(siskin);
  await makeNote(siskin, "console", "write");
  const untilTheEnd = { after: () => {} };
  fay = await watcher(untilTheEnd, "fay", { token: siskin.token("fay", "fay", "user", { exp: now() + 25 }) });
  await fay.says("note-status", "In step");
});
after(() => Promise.all([browser.close(), siskin.close(), frontend.close()]));

/** Somebody with the application open, signed in. */
const user = (t, id, options) => enter(t, browser, frontend, siskin, id, options);

/** Somebody with the console open who pasted a token, and the API key if asked for. */
async function watcher(t, id, { key = false, at = siskin, url = at.url, token = at.token(id) } = {}) {
  const person = await visit(t, browser, url);
  if (key) {
    await person.signIn(apiKey);
    await person.page.waitForSelector("#server:not([hidden])");
  }
  await person.signIn(token);
  await person.page.waitForSelector("#try:not([hidden])");
  return person;
}

test("who types is shown, and no more once it is over; a backend's question is answered in the page", async (t) => {
  const [eve, bob] = [await watcher(t, "eve", { key: true }), await watcher(t, "bob")];
  await bob.says("note-status", "In step");
  await siskin.api("PUT", "/channels/console/members/bob");
  await bob.page.fill("#channel-text", "I type");
  await eve.says("channel-typing", "bob");
  await bob.page.fill("#channel-text", "");
  await waitFor(async () => (await eve.text("channel-typing")) === "", { what: "nobody who types" });
  const { sessions } = await siskin.api("GET", "/sessions?user_id=bob");
  const call = { user_id: "bob", session_id: sessions[0].sid, chat_id: "console-bob", event: { type: "confirmation", data: { title: "<u>Sure?</u>" } } };
  for (const [word, answer] of [["Yes", true], ["No", false]]) {
    const asked = siskin.api("POST", "/chat/call", call);
    await bob.says("chat-log", "<u>Sure?</u>");
    await bob.page.click(`#chat-log button:has-text("${word}")`);
    assert.deepEqual(await asked, { answer });
    await waitFor(async () => !(await bob.text("chat-log")).includes("Sure?"), { what: "no question any more" });
  }
  assert.deepEqual([...eve.wrong, ...bob.wrong], []);
});

test("who comes back is told whether anything was missed, and the console shows recovery's settings and figures", async (t) => {
  const own = await startSiskin();
  t.after(() => own.close());
  const proxy = await startProxy(own.port);
  t.after(() => proxy.close());
  const ann = await watcher(t, "ann", { key: true, at: own, url: proxy.url });
  await ann.says("tiles", "with all they missed");
  await ann.says("tiles", "of 4.0 MiB, 120 s, browsers");
  for (const [told, figures, meanwhile] of [
    ["nothing was missed", "with all they missed", () => {}],
    ["something may have been missed", "not: 1 unknown", () => own.api("DELETE", "/users/ann/sessions")],
  ]) {
    proxy.cut();
    await ann.says("try-error", "The connection is lost");
    await waitFor(async () => (await own.api("GET", "/status")).recovery.away === 1, { what: "Ann away" });
    await meanwhile();
    proxy.heal();
    await ann.says("news", told);
    await ann.says("tiles", figures);
  }
  const { recovery } = await own.api("GET", "/status");
  assert.deepEqual([recovery.recovered, recovery.not_recovered, recovery.away], [1, { unknown: 1 }, 0]);
  assert.deepEqual(await barriers(ann.page), []);
});

test("a note in two windows of one user and one of another; names come and go; edits on both sides of a stalled and cut network are merged", async (t) => {
  const proxy = await startProxy(siskin.port);
  t.after(() => proxy.close());
  const ann = await watcher(t, "ann", { key: true });
  await ann.says("note-status", "In step");
  const [second, bob] = await Promise.all([watcher(t, "ann"), watcher(t, "bob", { url: proxy.url })]);
  const all = [ann, second, bob];
  const value = ({ page }) => page.inputValue("#note-text");
  const same = (text) => waitFor(async () => (await Promise.all(all.map(value))).every((value) => value === text), { what: `"${text}" everywhere` });
  await ann.says("note-people", "bob");
  await bob.says("note-people", "ann");
  await ann.page.fill("#note-text", "middle");
  await same("middle");
  await second.page.fill("#note-text", "the middle");
  await same("the middle");
  await bob.page.fill("#note-text", "the middle of it");
  await same("the middle of it");

  proxy.stall();
  await ann.page.fill("#note-text", "In the middle of it");
  await bob.page.fill("#note-text", "the middle of it all");
  await waitFor(async () => (await value(second)) === "In the middle of it", { what: "Ann's edit in her other window" });
  assert.equal(await value(bob), "the middle of it all", "nothing passes");
  proxy.cut();
  await bob.says("note-status", "Offline");
  assert.equal(await bob.text("note-people"), "bob");
  await second.page.fill("#note-text", "Now in the middle of it");
  await bob.page.fill("#note-text", "the middle of it all.");
  proxy.heal();
  await same("Now in the middle of it all.");
  for (const { says } of all) await says("note-status", "In step");
  await bob.says("note-people", "ann");

  // A window that is closed takes its name along at once, not after the 30 s of awareness.
  await bob.page.close();
  await waitFor(async () => !(await ann.text("note-people")).includes("bob"), { seconds: 20, what: "Bob's name gone" });
  await waitFor(async () => (await siskin.api("GET", "/notes/console")).data?.content?.md === "Now in the middle of it all.", { what: "the save" });
  assert.deepEqual(all.flatMap(({ wrong }) => wrong), []);
});

test("who may only read a note sees it, and what is typed nevertheless is refused in the page; who may not read is told", async (t) => {
  const own = await startSiskin();
  t.after(() => own.close());
  await makeNote(own, "console", "read", "Saved before. ");
  const carl = await watcher(t, "carl", { at: own });
  const value = ({ page }) => page.inputValue("#note-text");
  const shows = (person, text) => waitFor(async () => (await value(person)) === text, { what: `"${text}"` });
  // Alone there: nobody who could write has opened it.
  await carl.says("note-status", "You may read");
  await shows(carl, "Saved before. ");
  const ann = await watcher(t, "ann", { at: own });
  await shows(ann, "Saved before. ");
  const dora = await watcher(t, "dora", { at: own });
  await dora.says("note-status", "In step");
  await ann.page.fill("#note-text", "Ann wrote this.");
  for (const reader of [carl, dora]) await shows(reader, "Ann wrote this.");
  await dora.page.fill("#note-text", "Ann wrote this. So did Dora.");
  await dora.says("note-status", "You may read");
  await shows(dora, "Ann wrote this.");
  assert.ok(await dora.page.evaluate(() => document.getElementById("note-text").readOnly));
  await ann.page.fill("#note-text", "Ann wrote this, too.");
  for (const reader of [carl, dora]) await shows(reader, "Ann wrote this, too.");
  await own.api("PATCH", "/notes/console", { access_grants: [] });
  await carl.page.reload();
  await carl.says("note-status", "may not read");
  assert.ok(await carl.page.isDisabled("#note-text"));
  assert.deepEqual([ann, carl, dora].flatMap(({ wrong }) => wrong), []);
});

/** A backend that streams an answer, and after a fault waits until `ready`, says again what it has said, and goes on. */
async function streamAnswer(at, path, words, ready) {
  const line = (type, data) => `${JSON.stringify({ type, data })}\n`;
  let said = 0;
  async function* body() {
    if (said) yield line("replace", { content: words.slice(0, said).join("") });
    for (const word of words.slice(said)) {
      yield line("message", { content: word });
      said += 1;
      await sleep(40);
    }
    yield line("chat:completion", { done: true });
  }
  const headers = { authorization: `Bearer ${apiKey}`, "content-type": "application/x-ndjson" };
  const post = () => fetch(`${at.url}/api/v1${path}`, { method: "POST", headers, body: ReadableStream.from(body()).pipeThrough(new TextEncoderStream()), duplex: "half" });
  for (let faults = 0; ; faults += 1) {
    const answer = await post().catch(() => null);
    if (answer?.ok) return faults;
    await ready();
  }
}

// These wait more than they work.
describe("at the same time", { concurrency: true }, () => {
  test("presence; models in use and documents in the console come and go with what others do", async (t) => {
    const grants = [{ principal_type: "user", principal_id: "bob", permission: "read" }];
    await siskin.api("PUT", "/chats/shared", { user_id: "ann", title: "S", access_grants: grants });
    const [ann, bob, eve] = await Promise.all([user(t, "ann"), user(t, "bob"), watcher(t, "eve", { key: true })]);
    const done = await ann.page.evaluateHandle(() => window.client.useModel("llama"));
    const began = Date.now();
    await eve.page.click("#tab-models");
    await eve.says("list", "llama");
    await ann.run(() => window.show("chats", "shared"));
    await bob.run(() => window.show("chats", "shared"));
    const here = (...ids) => waitFor(() => ann.run(() => window.shown.presence.map(({ id }) => id).join()).then((all) => all === ids.join()), { what: `${ids} here` });
    await here("ann", "bob");
    await bob.page.close();
    await here("ann");
    await ann.run(() => window.edit("plan"));
    // Longer in use than an entry lives by itself: the page pings.
    await waitFor(async () => (await siskin.api("GET", "/models")).models.includes("llama") && Date.now() - began > 4000, { what: "the model, still" });
    await eve.says("list", "llama");
    await eve.page.click("#tab-documents");
    await eve.says("list", "plan");
    await ann.run(() => window.provider.destroy());
    await waitFor(async () => !(await eve.text("list")).includes("plan"), { what: "a list without the document" });
    await eve.page.click("#tab-models");
    await eve.says("list", "llama");
    await done.evaluate((done) => done());
    await waitFor(async () => !(await eve.text("list")).includes("llama"), { what: "a list without the model" });
    assert.deepEqual([...ann.wrong, ...bob.wrong, ...eve.wrong], []);
  });

  test("the server is killed in the middle of an answer: the pages say so, come back by themselves, and the rest arrives", async (t) => {
    const own = await startSiskin();
    t.after(() => own.close());
    const windows = [await watcher(t, "ann", { at: own, key: true }), await watcher(t, "ann", { at: own })];
    const frames = windows.map(({ page }) => {
      const sent = [];
      page.on("websocket", (socket) => socket.on("framesent", ({ payload }) => sent.push(String(payload))));
      return sent;
    });
    for (const { page, says } of windows) {
      await says("note-status", "In step");
      await page.evaluate(() => (window.same = true));
    }
    const words = Array.from({ length: 60 }, (_, at) => `w${at} `);
    const back = async () => (await own.api("GET", "/rooms/user:ann").catch(() => null))?.sessions.length === 2;
    const path = "/chat/stream?user_id=ann&chat_id=console-ann&message_id=m1&save=false";
    const faults = streamAnswer(own, path, words, () => waitFor(back, { seconds: 30, what: "both windows back" }));
    for (const { says } of windows) await says("chat-log", words[10]);
    await own.kill();
    for (const { says } of windows) await says("try-error", "comes back by itself");
    await windows[0].page.fill("#note-text", "typed here");
    await windows[1].page.fill("#note-text", "and there");
    await own.start();
    assert.equal(await faults, 1);
    for (const { page, text } of windows) {
      await waitFor(async () => (await text("chat-log")).includes(words.at(-1)), { what: "the last word" });
      const all = (await text("chat-log")).match(/w\d+ /g);
      assert.deepEqual(all, words, "nothing is missing, nothing twice");
      assert.equal(await text("try-error"), "");
      assert.ok(await page.evaluate(() => window.same), "not loaded again");
    }
    const notes = () => Promise.all(windows.map(({ page }) => page.inputValue("#note-text")));
    const merged = ([one, two]) => one === two && one.includes("typed here") && one.includes("and there");
    await waitFor(async () => merged(await notes()), { what: "both notes in both windows" });
    // Signed in again on the one connection that came back.
    for (const sent of frames) assert.equal(sent.filter((frame) => frame.includes('"user-join"')).length, 1);
    assert.deepEqual(windows.flatMap(({ wrong }) => wrong), []);
  });

  test("a token that has expired is told, and another one helps", async (t) => {
    const gus = await visit(t, browser, siskin.url);
    await gus.signIn(siskin.token("gus", "Gus", "user", { exp: now() - 60 }));
    await gus.says("sign-in-error", "expired");
    await gus.signIn(siskin.token("gus", "Gus"));
    await gus.page.waitForSelector("#try:not([hidden])");
    await gus.says("who", "Gus");
    assert.equal(await gus.text("sign-in-error"), "");
    assert.deepEqual(gus.wrong, []);
  });
});

test("a token that expires while connected is told; with another one the page goes on, and nothing typed is lost", async (t) => {
  await waitFor(async () => (await fay.text("sign-in-error")).includes("expired"), { seconds: 75, what: "word of the expired token" });
  await fay.says("try-error", "expired");
  await waitFor(async () => (await siskin.api("GET", "/rooms/doc_note:console")).sessions.length === 0, { what: "a note that nobody has open" });
  assert.ok(await fay.page.isVisible("#secret"));
  const typed = "typed without a session; ";
  await fay.page.fill("#note-text", typed + (await fay.page.inputValue("#note-text")));
  await fay.says("note-status", "Offline");
  await fay.signIn(siskin.token("fay"));
  await fay.says("note-status", "In step");
  const gus = await watcher(t, "gus");
  // On a busy machine others have typed after her token had expired: all of it is there.
  const note = ({ page }) => page.inputValue("#note-text");
  await waitFor(async () => (await note(gus)).includes(typed) && (await note(gus)) === (await note(fay)), { what: "what Fay typed" });
  assert.deepEqual([await fay.text("sign-in-error"), await fay.text("try-error")], ["", ""]);
  assert.deepEqual([...fay.wrong, ...gus.wrong], []);
});
