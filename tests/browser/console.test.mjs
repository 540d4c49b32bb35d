// The console as people see it: two real pages on a live server.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { apiKey, startSiskin, waitFor } from "../harness.mjs";
import { barriers, launch, visit } from "./browser.mjs";

let browser, siskin;
before(async () => ([browser, siskin] = await Promise.all([launch(), startSiskin()])));
after(() => Promise.all([browser.close(), siskin.close()]));

/** Somebody who pasted a token, and the API key if asked for. */
async function enter(t, user, { key = false, ...options } = {}) {
  const person = await visit(t, browser, siskin.url, options);
  if (key) {
    await person.signIn(apiKey);
    await person.page.waitForSelector("#server:not([hidden])");
  }
  await person.signIn(siskin.token(user, user));
  await person.page.waitForSelector("#try:not([hidden])");
  if (key) await Promise.all([person.says("chat-people", user), person.says("note-status", "everybody")]);
  return person;
}

test("a wrong key and a token that is not accepted say so, and leave a way out", async (t) => {
  const { page, says, signIn, wrong } = await visit(t, browser, siskin.url);
  await signIn("nonsense");
  await says("sign-in-error", "not the API key");
  await signIn(`${siskin.token("ann").slice(0, -6)}aaaaaa`);
  await says("sign-in-error", "does not accept this token");
  assert.ok(await page.isVisible("#secret"));
  await signIn(siskin.token("ann", "Ann"));
  await says("who", "Ann");
  await page.click("text=Sign out");
  await page.waitForSelector("#try", { state: "hidden" });
  assert.deepEqual(wrong, []);
});

test("the key shows figures, lists and the log; a test event arrives", async (t) => {
  const { page, says, text, wrong } = await enter(t, "ann", { key: true });
  await says("tiles", "Connections");
  await says("log", "listens on");
  await says("list", "ann");
  await page.click("#tab-rooms");
  await says("list", "user:ann");
  await page.click("#send button");
  await says("send-done", "One socket got it");
  await says("arrived", "Hello from the console");
  assert.equal(await text("send-error"), "");
  assert.deepEqual(wrong, []);
});

test("an answer streams into both windows of its user, and markup is text", async (t) => {
  const one = await enter(t, "cleo", { key: true });
  const two = await enter(t, "cleo");
  await two.says("chat-people", "cleo");
  await one.page.fill("#chat-text", "<img src=x onerror=alert(1)>");
  await one.page.click("#chat-form button");
  for (const { says, page } of [one, two]) {
    await says("chat-log", "arrive in both.");
    assert.equal(await page.locator("#chat-log img").count(), 0);
  }
  assert.deepEqual([...one.wrong, ...two.wrong], []);
});

test("a channel: let in, typing, a message", async (t) => {
  const ann = await enter(t, "ann", { key: true });
  const bob = await enter(t, "bob");
  await ann.page.fill("#member", "bob");
  await ann.page.click("#member-form button");
  await waitFor(async () => (await ann.page.inputValue("#member")) === "", { what: "bob in the channel" });
  await bob.page.fill("#channel-text", "I type");
  await ann.says("channel-typing", "bob is typing");
  await ann.page.fill("#channel-text", "Hello <b>Bob</b>");
  await ann.page.click("#channel-form button");
  await bob.says("channel-log", "Hello <b>Bob</b>");
  assert.deepEqual([...ann.wrong, ...bob.wrong], []);
});

test("a note in two windows; what both type while the server is killed and started again is merged", async (t) => {
  const ann = await enter(t, "ann", { key: true });
  const bob = await enter(t, "bob");
  await bob.says("note-status", "everybody");
  const same = (what) => waitFor(async () => (await Promise.all([ann, bob].map(({ page }) => page.inputValue("#note-text")))).every((text) => text === what), { what });
  await ann.page.fill("#note-text", "middle");
  await same("middle");
  await siskin.kill();
  await Promise.all([ann, bob].map(({ says }) => says("try-error", "comes back by itself")));
  await Promise.all([ann.page.fill("#note-text", "start middle"), bob.page.fill("#note-text", "middle end")]);
  await siskin.start();
  await same("start middle end");
  assert.deepEqual([...ann.wrong, ...bob.wrong], []);
});

for (const colorScheme of ["light", "dark"]) {
  test(`no barriers, nothing wider than a phone: ${colorScheme}`, async (t) => {
    const options = { key: true, colorScheme, bypassCSP: true, viewport: { width: 375, height: 800 } };
    const { page } = await enter(t, "dora", options);
    assert.deepEqual(await barriers(page), []);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
    await page.screenshot({ path: new URL(`shots/${colorScheme}.png`, import.meta.url).pathname, fullPage: true });
  });
}

test("three thousand events at once all arrive, and what is being typed stays", async (t) => {
  const { page, says, wrong } = await enter(t, "eve", { key: true });
  const event = `${JSON.stringify({ type: "message", data: { content: "x" } })}\n`;
  const headers = { authorization: `Bearer ${apiKey}`, "content-type": "application/x-ndjson" };
  const path = "/api/v1/chat/stream?user_id=eve&chat_id=console-eve&message_id=m&save=false";
  const send = fetch(siskin.url + path, { method: "POST", headers, body: event.repeat(3000) });
  await page.fill("#channel-text", "still here");
  assert.equal((await send).status, 200);
  await waitFor(async () => Number((await page.textContent("#arrived-count")).replace(/\D/g, "")) >= 3000, { what: "3,000 events" });
  await says("chat-log", "xxxx");
  assert.equal(await page.inputValue("#channel-text"), "still here");
  assert.deepEqual(wrong, []);
});
