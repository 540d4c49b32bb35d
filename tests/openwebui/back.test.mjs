// Real pages that come back at the same moment, when somebody outside has written their note meanwhile, while siskin's requests take 0,
// 300 and 600 ms: that text stands there once, and whatever a page takes of what is typed after its return stays (but for a letter), in all of them and saved. A page
// takes nothing until it is shown what is there. SISKIN_RUNS sets how often; by default one scene a case and not each at each latency.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createServer, connect } from "node:net";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { launch } from "../browser/browser.mjs";
import { sleep, waitFor } from "../harness.mjs";
import { newNote, openNote, savedNote } from "./notes.mjs";
import { startHouse } from "./real.mjs";

const run = promisify(execFile);
const RUNS = process.env.SISKIN_RUNS && Number(process.env.SISKIN_RUNS);
const DELAYS = [0, 300, 600];
/** Of the letters that a page takes so many may be lost: one that is typed in the moment in which it is asked for what it has, see README. */
const LOST = 1;

let browser, house, houses, root, users;
const end = [];
before(async () => {
  [browser, house] = await Promise.all([launch(), startHouse({ after: (step) => end.unshift(step) })]);
  // Where a page that comes back hears of no event that it missed: as after hours.
  houses = [await house.another({ env: { SISKIN_RECOVERY: "off" } }), await house.another({ env: { SISKIN_RECOVERY: "off" } })];
  root = await house.webui.signUp("root");
  users = [];
  for (const name of ["ann", "bob", "cleo"]) users.push(await house.webui.signUp(name));
});
after(async () => {
  await browser.close();
  for (const step of end) await step();
});

/** A page's way to its house, which can be cut and opened again. */
class Line {
  open = true;
  ways = new Set();

  async start(t, to) {
    const server = createServer((near) => this.#connect(near, Number(new URL(to).port)));
    await new Promise((listens) => server.listen(0, "127.0.0.1", listens));
    t.after(() => (this.cut(), server.close()));
    this.url = `http://127.0.0.1:${server.address().port}`;
    return this;
  }

  #connect(near, port) {
    if (!this.open) return near.destroy();
    const far = connect(port, "127.0.0.1");
    for (const [one, other] of [[near, far], [far, near]]) {
      this.ways.add(one);
      one.on("error", () => {}).on("close", () => (this.ways.delete(one), other.destroy()));
    }
    near.pipe(far).pipe(near);
  }

  cut() {
    this.open = false;
    for (const way of this.ways) way.destroy();
  }
}

const LETTERS = ["0123456789", "ABCDEFGHIJ", "KLMNOPQRST"];

/** A page with the note; `back()` is when its socket was connected after the last cut. */
async function openPage(t, at, number, note) {
  const line = await new Line().start(t, at.url);
  let connected = 0;
  const listen = (page) =>
    page.on("websocket", (socket) => socket.on("framereceived", ({ payload }) => /^40\{/.test(String(payload)) && (connected = Date.now())));
  const opened = await openNote(t, browser, { url: line.url }, users[number], note, "before", listen);
  const cut = () => (line.cut(), (connected = 0));
  return { ...opened, cut, heal: () => (line.open = true), number, back: () => connected };
}

/** Types a letter each 400 ms from so long after its return on, and then on until the page takes one. Returns those that it took. */
async function typeOn({ page, number, back, read }, start) {
  const connected = await waitFor(back, { what: "a page's return" });
  await sleep(Math.max(0, connected + start - Date.now()));
  let taken = "";
  for (const letter of LETTERS[number]) {
    await page.keyboard.type(letter);
    await sleep(50);
    if ((await read()).includes(letter)) taken += letter;
    await sleep(350);
  }
  const takes = async () => {
    await page.keyboard.type("!");
    await sleep(350);
    return (await read()).includes("!");
  };
  await waitFor(takes, { seconds: 60, what: "a page that takes what is typed" });
  return taken;
}

const versionsOf = async (note) => ((await house.webui.api(root, "GET", `/notes/${note}`)).data.versions ?? []).map(({ md }) => md.trim());

/** They are cut off, the note is written outside, and they come back and type. */
async function comeBack(t, { delay, start, offline, instances, count, json }) {
  house.delay = 0;
  const note = await newNote(house, root, users, "before");
  const pages = [];
  for (let number = 0; number < count; number += 1) pages.push(await openPage(t, houses[number % instances], number, note));
  const [first] = pages;
  await first.type(0, [" x"], 1500);
  for (const other of pages.slice(1)) await other.type(0, [""], 0);
  for (const { cut } of pages) cut();
  if (offline) await first.type(0, [" offline"], 0);
  const closed = async () => (await run("redis-cli", ["-u", house.redis.url, "EXISTS", `open-webui:ydoc:documents:note:${note}:updates`])).stdout.trim() === "0";
  await waitFor(closed, { what: "a closed document" });
  const doc = { type: "doc", content: [{ type: "paragraph", content: [{ type: "text", text: "outside" }] }] };
  await house.webui.api(root, "POST", `/notes/${note}/update`, { data: { content: { md: "outside", html: "<p>outside</p>", json: json ? doc : null } } });
  await sleep(1000);
  house.delay = delay;
  for (const { heal } of pages) heal();
  const taken = await Promise.all(pages.map((someone) => typeOn(someone, start)));
  const all = async () => [await savedNote(house, root, note), ...(await Promise.all(pages.map(({ read }) => read())))];
  const only = (letters, text) => [...text].filter((letter) => letters.includes(letter)).join("");
  // One that a page showed later than was looked is there as well.
  const lost = ({ number }, text) => [...taken[number]].filter((letter) => only(letter, text) !== letter).length;
  const stands = (text) => only("outside", text) === "outside" && pages.every((someone) => lost(someone, text) <= LOST);
  const agree = async () => (await all()).every((text, _, [saved]) => text === saved && stands(text));
  const isGood = await waitFor(agree, { seconds: 15 }).catch(() => false);
  const seen = JSON.stringify({ delay, start, offline, instances, count, json, taken, all: await all(), versions: await versionsOf(note) });
  for (const { page } of pages) await page.close();
  if (process.env.SISKIN_RUNS) console.log(isGood ? "good" : "BAD", seen);
  return { isGood, seen, versions: JSON.parse(seen).versions };
}

const scenes = [
  { count: 2, instances: 1, offline: false, json: true },
  { count: 2, instances: 1, offline: true, json: false },
  { count: 2, instances: 2, offline: true, json: true },
  { count: 3, instances: 2, offline: false, json: false },
  { count: 1, instances: 1, offline: true, json: true },
];
let turn = 0;
for (const scene of scenes) {
  const name = `${scene.count} at ${scene.instances} ${scene.offline ? "who typed offline" : "with nothing unsaved"}`;
  test(`what is typed after the return to a note that was written outside stays: ${name}`, { timeout: 3_000_000 }, async (t) => {
    turn += 1;
    const cases = DELAYS.flatMap((delay) => [200, 1000].map((start) => ({ delay, start })));
    const chosen = RUNS ? Array(RUNS).fill(cases).flat() : [cases[turn % cases.length]];
    const bad = [];
    for (const each of chosen) {
      const { isGood, seen, versions } = await comeBack(t, { ...scene, ...each });
      if (!isGood) bad.push(seen);
      // The page may have heard of what was written, and shows both.
      if (scene.offline && !versions.some((md) => md.includes("offline"))) bad.push(`no version: ${seen}`);
    }
    assert.deepEqual(bad, []);
  });
}
