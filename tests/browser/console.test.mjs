// The console as people see it: real pages on a live server.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { io } from "socket.io-client";
import { apiKey, freePort, sleep, startSiskin, waitFor } from "../harness.mjs";
import { barriers, launch, visit } from "./browser.mjs";
import { startRedis } from "./redis.mjs";

const MARKUP = "<siskin-x><img src=x onerror=hit=1>";

let browser, siskin;
before(async () => ([browser, siskin] = await Promise.all([launch(), startSiskin()])));
after(() => Promise.all([browser.close(), siskin.close()]));

/** Somebody who pasted a token, and the API key if asked for. */
async function enter(t, user, { key = false, name = user, on = siskin, ...options } = {}) {
  const person = await visit(t, browser, on.url, options);
  if (key) {
    await person.signIn(apiKey);
    await person.page.waitForSelector("#server:not([hidden])");
  }
  await person.signIn(on.token(user, name));
  await person.page.waitForSelector("#try:not([hidden])");
  if (key && on === siskin) await Promise.all([person.says("chat-people", name), person.says("note-status", "everybody")]);
  return person;
}

/** A socket.io-client without a page, signed in. */
async function socketOf(t, user, name, on = siskin) {
  const token = on.token(user, name);
  const socket = io(on.url, { path: "/ws/socket.io", auth: { token }, transports: ["websocket"], forceNew: true });
  t.after(() => socket.close());
  await waitFor(() => socket.connected, { what: "a connection", seconds: 30 });
  await socket.timeout(30_000).emitWithAck("user-join", { auth: { token } });
  return socket;
}

const chatEvent = (user, type, data, message_id = "m") =>
  siskin.api("POST", "/chat/event", { user_id: user, chat_id: `console-${user}`, message_id, save: false, event: { type, data } });
const channelEvent = (user, content, channel_id = "console") =>
  siskin.api("POST", "/emit", { user_id: user, event: "events:channel", data: { channel_id, message_id: null, data: { type: "message", data: { content } }, user: { id: "bob", name: "Bob" } } });

async function refused(t) {
  const { page, says, signIn, wrong } = await visit(t, browser, siskin.url);
  assert.deepEqual(await barriers(page), []);
  await page.click("#sign-in button");
  await says("sign-in-error", "Paste an API key or a token first");
  await signIn("nonsense");
  await says("sign-in-error", "not the API key. Paste what SISKIN_API_KEY was set to");
  assert.equal(await page.getAttribute("#secret", "aria-invalid"), "true");
  assert.deepEqual(await barriers(page), []);
  await signIn(`${siskin.token("ann").slice(0, -6)}aaaaaa`);
  await says("sign-in-error", "does not accept this token");
  await says("sign-in-error", "Paste a fresh token, or make one with “siskin token”");
  await signIn(siskin.token("ann", "Ann"));
  await says("who", "Ann");
  await page.click("text=Sign out");
  await page.waitForSelector("#try", { state: "hidden" });
  await says("news", "Signed out: Ann");
  assert.equal(await page.evaluate(() => document.activeElement.id), "secret");
  assert.deepEqual(wrong, []);
  // A breach of the policy would have been counted.
  await page.evaluate(() => document.body.append(Object.assign(document.createElement("script"), { textContent: "hit = 1" })));
  await waitFor(() => wrong.some((what) => what.startsWith("script-src")), { what: "a breach" });
  assert.equal(await page.evaluate(() => globalThis.hit), undefined);
}

/** Presses a key until an element has the focus; every stop on the way shows that it has it. */
async function keyTo(page, id, key = "Tab") {
  for (let presses = 0; presses < 40; presses += 1) {
    await page.keyboard.press(key);
    const [here, ring] = await page.evaluate(() => [document.activeElement.id, getComputedStyle(document.activeElement).outlineStyle]);
    assert.notEqual(ring, "none", `focus is seen at ${here}`);
    if (here === id) return;
  }
  assert.fail(`${key} doesn't lead to #${id}`);
}

test("with the keyboard alone: signing in, the lists, the log, a test event", async (t) => {
  const { page, says, text, wrong } = await visit(t, browser, siskin.url);
  const selected = (id) => waitFor(async () => (await page.getAttribute(`#${id}`, "aria-selected")) === "true", { what: `${id} selected` });
  const focused = (id) => waitFor(() => page.evaluate((id) => document.activeElement.id === id, id), { what: `focus on ${id}` });
  await keyTo(page, "secret");
  await page.keyboard.insertText(apiKey);
  await page.keyboard.press("Enter");
  await says("news", "Signed in with the API key");
  // Where the second secret is pasted, too.
  await focused("secret");
  await page.keyboard.insertText(siskin.token("ann", "ann"));
  await page.keyboard.press("Enter");
  await says("news", "Signed in as ann");
  await focused("try-title");
  await says("tiles", "Connections");
  await says("log", "listens on");
  await says("list", "ann");
  await keyTo(page, "tab-sessions", "Shift+Tab");
  for (const [key, tab] of [["ArrowRight", "rooms"], ["End", "documents"], ["ArrowRight", "sessions"], ["ArrowLeft", "documents"], ["Home", "sessions"], ["ArrowRight", "rooms"]]) {
    await page.keyboard.press(key);
    await selected(`tab-${tab}`);
    await focused(`tab-${tab}`);
  }
  await says("list", "user:ann");
  await keyTo(page, "filter");
  await page.keyboard.insertText("nothing begins so");
  await says("list", "Nothing here fits");
  await keyTo(page, "send-to");
  assert.equal(await page.inputValue("#send-to"), "ann");
  await page.keyboard.press("Enter");
  await says("send-done", "One socket got it");
  await says("arrived", "Hello from the console");
  assert.equal(await text("send-error"), "");
  await page.fill("#send-to", "nobody");
  await page.keyboard.press("Enter");
  await says("send-done", "Nobody is there to get it");
  await page.fill("#send-data", "{");
  await page.click("#send button");
  await says("send-error", "The data is not JSON");
  assert.deepEqual(await barriers(page), []);
  assert.deepEqual(wrong, []);
});

test("two people, and the second window of one", async (t) => {
  const ann = await enter(t, "ann", { key: true });
  const bob = await enter(t, "bob");

  await t.test("an answer streams into both windows of its user", async (t) => {
    const second = await enter(t, "ann");
    await second.says("chat-people", "ann");
    await ann.page.fill("#chat-text", "What is this?");
    await ann.page.click("#chat-form button");
    for (const { says } of [ann, second]) await says("chat-log", "arrive in both.");
    assert.deepEqual(second.wrong, []);
  });

  await t.test("a channel: let in, typing, a message", async () => {
    await ann.page.fill("#member", "bob");
    await ann.page.click("#member-form button");
    await waitFor(async () => (await ann.page.inputValue("#member")) === "", { what: "bob in the channel" });
    await bob.page.fill("#channel-text", "I type");
    await ann.says("channel-typing", "bob is typing");
    await ann.page.fill("#channel-text", "Hello Bob");
    await ann.page.click("#channel-form button");
    await bob.says("channel-log", "Hello Bob");
  });

  await t.test("a note; what both type while the server is killed and started again is merged", async () => {
    await bob.says("note-status", "everybody");
    const same = (what) => waitFor(async () => (await Promise.all([ann, bob].map(({ page }) => page.inputValue("#note-text")))).every((text) => text === what), { what });
    await ann.page.fill("#note-text", "middle");
    await same("middle");
    await siskin.kill();
    await Promise.all([ann, bob].map(({ says }) => says("try-error", "comes back by itself")));
    await ann.says("health", "Away");
    await ann.says("server-error", "siskin can't be reached");
    await Promise.all([ann.page.fill("#note-text", "start middle"), bob.page.fill("#note-text", "middle end")]);
    await siskin.start();
    await same("start middle end");
    await ann.says("health", "Ready");
    assert.equal(await ann.text("server-error"), "");
  });

  assert.deepEqual([...ann.wrong, ...bob.wrong], []);
});

test("markup in names, messages, models, rooms and documents is text everywhere", async (t) => {
  const { page, says, wrong } = await enter(t, "mark", { key: true, name: MARKUP });
  const other = await socketOf(t, "other", MARKUP);
  await siskin.api("PUT", "/channels/console/members/other");
  await siskin.api("POST", `/rooms/${encodeURIComponent(MARKUP)}/enter`, { user_ids: ["other"] });
  for (const id of ["who", "news", "chat-people", "note-people"]) await says(id, "<siskin-x>");
  await page.fill("#chat-text", MARKUP);
  await page.click("#chat-form button");
  await says("chat-log", `You wrote “${MARKUP}”`);
  await chatEvent("mark", "message", { content: MARKUP }, "m2");
  await chatEvent("mark", "status", { description: MARKUP }, "m3");
  await chatEvent("mark", "replace", { content: `again ${MARKUP}` }, "m4");
  await says("chat-log", `again ${MARKUP}`);
  await siskin.api("POST", "/emit", { user_id: "mark", event: MARKUP, data: { [MARKUP]: MARKUP } });
  await says("arrived", MARKUP);
  await siskin.api("POST", "/emit", { user_id: "mark", event: "error", data: { message: MARKUP } });
  await says("try-error", MARKUP);
  other.emit("events:channel", { channel_id: "console", data: { type: "typing", data: { typing: true } } });
  await says("channel-typing", "<siskin-x>");
  await siskin.api("POST", "/emit", { user_id: "mark", event: "events:channel", data: { channel_id: "console", data: { type: "message", data: { content: MARKUP } }, user: { id: "other", name: MARKUP } } });
  await says("channel-log", `${MARKUP}${MARKUP}`);
  const open = { document_id: MARKUP, user_id: "other", user_name: MARKUP };
  const usage = setInterval(() => other.emit("usage", { model: MARKUP }), 500);
  t.after(() => clearInterval(usage));
  other.emit("ydoc:document:join", open);
  for (const tab of ["sessions", "rooms", "models", "documents"]) {
    await page.click(`#tab-${tab}`);
    await says("list", MARKUP);
  }
  await page.fill("#filter", MARKUP.repeat(3));
  await says("list", "Nothing here fits “<siskin-x>");
  await page.fill("#send-data", MARKUP);
  await page.click("#send button");
  await says("send-error", "not JSON");
  const call = siskin.api("POST", "/chat/call", { user_id: "mark", session_id: await sidOf("mark"), chat_id: "console-mark", message_id: "m5", event: { type: "confirmation", data: { title: "?", message: MARKUP } } });
  await page.click("button:text-is('Yes')");
  assert.deepEqual(await call, { answer: true });
  assert.equal(await page.locator("siskin-x, main img").count(), 0);
  assert.equal(await page.evaluate(() => globalThis.hit), undefined);
  assert.deepEqual(wrong, []);
});

/** The one session of a user. */
const sidOf = async (user) => (await siskin.api("GET", `/sessions?user_id=${user}`)).sessions[0].sid;

test("no barriers and nothing wider than a phone at 375 px, light and dark; motion only for those who want it", async (t) => {
  const { page, wrong } = await enter(t, "dora", { key: true, colorScheme: "light", viewport: { width: 375, height: 800 } });
  await chatEvent("dora", "message", { content: "still writing" });
  await page.waitForSelector("#chat-log [aria-busy]");
  const caret = () => page.evaluate(() => getComputedStyle(document.querySelector("#chat-log [aria-busy]"), "::after").animationName);
  const backgrounds = new Set();
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: colorScheme === "dark" ? "reduce" : "no-preference" });
    assert.equal(await caret(), colorScheme === "dark" ? "none" : "blink");
    assert.deepEqual(await barriers(page), []);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
    backgrounds.add(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
    await page.screenshot({ path: new URL(`shots/${colorScheme}.png`, import.meta.url).pathname, fullPage: true });
  }
  assert.equal(backgrounds.size, 2);
  const live = (role) => page.evaluate((role) => [...document.querySelectorAll(`[role=${role}]`)].map(({ id }) => id).join(" "), role);
  assert.equal(await live("status"), "news list-more send-done chat-people chat-typing channel-unread channel-typing note-status");
  assert.equal(await live("alert"), "server-error send-error sign-in-error try-error chat-error channel-error note-error");
  assert.deepEqual(wrong, []);
});

async function hidden(t) {
  const { page, says, signIn, wrong } = await visit(t, browser, siskin.url);
  let asked = 0;
  let answered = 0;
  page.on("request", (request) => (asked += request.url().includes("/api/v1/")));
  page.on("requestfinished", (request) => (answered += request.url().includes("/api/v1/")));
  const hide = (hidden) =>
    page.evaluate((hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, hidden);
  await signIn(apiKey);
  await says("health", "Ready");
  const first = asked;
  await waitFor(() => asked > first, { what: "a second look" });
  await hide(true);
  // What was being asked comes to its end.
  let before;
  do await sleep(((before = asked), 1000));
  while (asked !== before || asked !== answered);
  await sleep(3000);
  assert.equal(asked, before);
  await hide(false);
  await waitFor(() => asked > before, { what: "a look again", seconds: 5 });
  assert.deepEqual(wrong, []);
}

async function redisAway(t) {
  const redis = await startRedis(t);
  const env = { WEBSOCKET_MANAGER: "redis", WEBSOCKET_REDIS_URL: redis.url };
  const mine = await startSiskin({ env });
  t.after(() => mine.close());
  const { page, says, signIn, text, wrong } = await visit(t, browser, mine.url);
  await signIn(apiKey);
  await says("tiles", "shared");
  await says("health", "Ready");
  await redis.stop();
  await says("tiles", "down");
  await says("health", "Not ready");
  assert.match(await text("server-error"), /Redis/);
  assert.match(await text("tiles"), /Outbox0 B0 slow, 0 closed/);
  assert.deepEqual(await barriers(page), []);
  await redis.start();
  await waitFor(async () => (await text("health")) === "Ready", { what: "readiness", seconds: 30 });
  assert.equal(await text("server-error"), "");
  await mine.stop();
  await says("health", "Away");
  mine.env.SISKIN_API_KEY = "another-key-that-is-long-enough-for-anybody";
  await mine.start();
  await says("sign-in-error", "The API key is no longer the right one. Paste the new one.");
  await signIn(mine.env.SISKIN_API_KEY);
  await says("health", "Ready");
  assert.deepEqual(wrong, []);
}

test("what mostly waits, at the same time", { concurrency: true }, (t) =>
  Promise.all([
    t.test("a wrong key and a token that is not accepted say so, and leave a way out; no barriers on the way", refused),
    t.test("a hidden page asks for nothing, a page that is seen again asks at once", hidden),
    t.test("Redis goes and comes back, the server gets another key: the page says so and how to go on", redisAway),
  ]));

const RATE = 1000;
const SECONDS = 4;

/** Streams numbers into a user's chat, so many events a second, paced by the clock, in one request. */
async function streamNumbers(user) {
  const began = performance.now();
  const text = new TextEncoder();
  let sent = 0;
  const body = new ReadableStream({
    async pull(out) {
      await sleep(20);
      const due = Math.min(RATE * SECONDS, Math.max(sent + 1, Math.floor(((performance.now() - began) / 1000) * RATE)));
      const lines = Array.from({ length: due - sent }, (_, n) => JSON.stringify({ type: "message", data: { content: `${sent + n} ` } }));
      out.enqueue(text.encode(`${lines.join("\n")}\n`));
      sent = due;
      if (sent === RATE * SECONDS) out.close();
    },
  });
  const path = `/api/v1/chat/stream?user_id=${user}&chat_id=console-${user}&message_id=m&save=false`;
  const headers = { authorization: `Bearer ${apiKey}`, "content-type": "application/x-ndjson" };
  const answer = await fetch(siskin.url + path, { method: "POST", headers, body, duplex: "half" });
  const { emitted } = await answer.json();
  return { emitted, seconds: (performance.now() - began) / 1000 };
}

/** Posts a hundred messages a second into channels, most of which are not looked at. Returns how many. */
async function postMessages(user, going) {
  let sent = 0;
  while (going()) {
    const batch = Array.from({ length: 10 }, (_, n) => channelEvent(user, `message ${sent + n}`, n === 0 ? "console" : `c${sent + n}`));
    sent += batch.length;
    await Promise.all([...batch, sleep(100)]);
  }
  return sent;
}

/** Counts the page's frames, in seconds since `began`. */
function countFrames(page) {
  return page.evaluate(() => {
    globalThis.frames = [];
    const began = performance.now();
    const frame = (now) => (globalThis.frames.push(Math.floor((now - began) / 1000)), requestAnimationFrame(frame));
    requestAnimationFrame(frame);
  });
}

test("much at once", async (t) => {
  const { page, says, text, wrong } = await enter(t, "eve", { key: true });
  const count = async () => Number((await text("arrived-count")).replace(/\D/g, ""));

  await t.test("a thousand events a second: all arrive in their order, frames keep coming, clicks are answered, what is typed stays", async (t) => {
    const already = await count();
    await countFrames(page);
    let going = true;
    const numbers = streamNumbers("eve").finally(() => (going = false));
    const messages = postMessages("eve", () => going);
    await page.fill("#channel-text", "still here");
    let clicks = 0;
    while (going) {
      const tab = ["rooms", "models", "documents", "sessions"][clicks % 4];
      await page.click(`#tab-${tab}`);
      assert.equal(await page.getAttribute(`#tab-${tab}`, "aria-selected"), "true");
      clicks += 1;
    }
    const frames = await page.evaluate(() => globalThis.frames);
    const { emitted, seconds } = await numbers;
    const sent = emitted + (await messages);
    const each = Array.from({ length: Math.floor(seconds) }, (_, second) => frames.filter((at) => at === second).length);
    t.diagnostic(`${Math.round(sent / seconds)} events a second for ${seconds.toFixed(1)} s: ${each} frames each second, ${clicks} clicks answered`);
    assert.equal(emitted, RATE * SECONDS);
    assert.ok(Math.min(...each) >= 1 && frames.length >= 3 * seconds, `frames each second: ${each}`);
    assert.ok(clicks >= 1);
    await waitFor(async () => (await count()) - already >= sent, { what: `${sent} events`, seconds: 60 });
    await says("chat-log", `${emitted - 1} `);
    assert.ok((await text("chat-log")).includes(Array.from({ length: emitted }, (_, n) => `${n} `).join("")));
    assert.equal(await page.inputValue("#channel-text"), "still here");
    await says("channel-unread", "unread elsewhere");
    const items = (id) => page.locator(`#${id} > li`).count();
    assert.ok((await items("arrived")) <= 50 && (await items("channel-log")) <= 200 && (await items("chat-log")) <= 200);
  });

  await t.test("messages of 5 MB are cut where they are shown, and the page goes on", async () => {
    const big = "0123456789".repeat(500_000);
    await chatEvent("eve", "message", { content: big }, "big");
    await says("chat-log", "4,980,000 characters more, not shown");
    await channelEvent("eve", big);
    await says("channel-log", "0123456789");
    await chatEvent("eve", "status", { description: big }, "big");
    await siskin.api("POST", "/emit", { user_id: "eve", event: "anything", data: { list: Array.from({ length: 500_000 }, (_, n) => n), big } });
    await says("arrived", "anything");
    await page.click("#tab-rooms");
    await says("list", "user:eve");
    assert.ok((await text("try")).length < 150_000);
  });

  assert.deepEqual(wrong, []);
});

/** An Open WebUI of which each user has a thousand channels. */
async function startUpstream(t) {
  const port = await freePort();
  const server = createServer((asked, answer) => {
    const [, claims] = (asked.headers.authorization ?? "").split(".");
    const user = claims && JSON.parse(Buffer.from(claims, "base64url"));
    const channels = () => Array.from({ length: 1000 }, (_, n) => ({ id: `${user.id}-${n}`, name: `Channel ${n}` }));
    const found = { "/api/v1/auths/": () => user, "/api/v1/channels/": channels }[user && asked.url];
    answer.writeHead(found ? 200 : user ? 404 : 401, { "content-type": "application/json" }).end(JSON.stringify(found?.() ?? { detail: "not here" }));
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  t.after(() => (server.closeAllConnections(), new Promise((resolve) => server.close(resolve))));
  return `http://127.0.0.1:${port}`;
}

test("ten thousand channels, three hundred lines of log: what is shown is bounded, and the page says how many more there are", async (t) => {
  const env = { SISKIN_DIRECTORY: await startUpstream(t), SISKIN_LOG: "debug", SISKIN_MAX_ROOMS: "1100" };
  const mine = await startSiskin({ env });
  t.after(() => mine.close());
  await Promise.all(Array.from({ length: 9 }, (_, n) => socketOf(t, `u${n}`, `User ${n}`, mine)));
  const { page, says, text, wrong } = await enter(t, "u9", { key: true, on: mine });
  await page.click("#tab-rooms");
  await says("list-more", "100 are shown");
  const [, more] = /shown, ([\d,]+) more are not/.exec(await text("list-more"));
  assert.ok(Number(more.replace(",", "")) >= 9_900, more);
  assert.equal(await page.locator("#list tbody tr").count(), 100);
  await page.fill("#filter", "channel:u7-99");
  await says("list", "channel:u7-999");
  assert.equal(await page.locator("#list tbody tr").count(), 11);
  // What this page would make, Open WebUI keeps: each part says so where it is.
  for (const id of ["chat-error", "channel-error", "note-error"]) await says(id, "Open WebUI");
  for (let n = 0; n < 300; n += 1) await mine.api("GET", `/nothing/${n}`, undefined, { raw: true });
  const { lines } = await mine.api("GET", "/log");
  await waitFor(() => page.evaluate(() => document.querySelectorAll("#log > li").length === 200), { what: "a full log" });
  assert.ok(lines.at(-1).number > 300);
  assert.deepEqual(wrong, []);
});
