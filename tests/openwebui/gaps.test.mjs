// Real pages that are cut off, and what they wrote meanwhile: nothing of it stays invisible, whoever comes back first, at whichever instance,
// and with an update lost on its way. On two instances, once each; SISKIN_RUNS sets how often, and on one instance, too, while
// siskin's requests take 0, 300 and 600 ms.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { launch } from "../browser/browser.mjs";
import { sleep, waitFor } from "../harness.mjs";
import { agreeOn, newNote, openNote } from "./notes.mjs";
import { startHouse } from "./real.mjs";

const run = promisify(execFile);
const RUNS = Number(process.env.SISKIN_RUNS ?? 1);

let browser, houses, forgetful, slow, root, ann, bob;
const end = [];
before(async () => {
  let house;
  [browser, house] = await Promise.all([launch(), startHouse({ after: (step) => end.unshift(step) })]);
  houses = [house, await house.another()];
  // Where a page that comes back hears of no event that it missed: as after hours.
  forgetful = await Promise.all([1, 2].map(() => house.another({ env: { SISKIN_RECOVERY: "off" } })));
  slow = (run) => (house.delay = [0, 300, 600][run % 3]);
  root = await house.webui.signUp("root");
  [ann, bob] = [await house.webui.signUp("ann"), await house.webui.signUp("bob")];
});
after(async () => {
  await browser.close();
  for (const step of end) await step();
});

/** A page's way to siskin: it can be cut, opened again, and lose an update. */
class Line {
  open = true;
  /** Whether the page has the document: until then it shows what others write, and drops what is typed into it. */
  hasState = false;
  ways = new Set();
  lost = [];

  attach = (page) => page.routeWebSocket(/ws\/socket\.io/, (near) => this.#connect(near));

  #connect(near) {
    if (!this.open) return near.close();
    const far = near.connectToServer();
    this.ways.add(near);
    near.onClose(() => (this.ways.delete(near), far.close()));
    far.onClose(() => (this.ways.delete(near), near.close()));
    near.onMessage((message) => (this.#loses(message) ? this.lost.push(message) : far.send(message)));
    far.onMessage((message) => {
      near.send(message);
      // A state, or what became of first content.
      this.hasState ||= /"ydoc:document:state".*"state":\[(?!0,0\])/.test(message) || /^43\d+\[\[/.test(message);
    });
  }

  #loses(message) {
    const lost = this.loses && String(message).includes("ydoc:document:update");
    if (lost) this.loses = false;
    return lost;
  }

  async cut() {
    this.open = false;
    for (const near of this.ways) await near.close();
    this.ways.clear();
  }

  /** Opens it, and waits for the page to come back. */
  async heal() {
    this.open = true;
    await waitFor(() => this.ways.size > 0, { seconds: 30, what: "the page's connection" });
  }
}

/** A note that Ann and Bob have open, each at an instance. */
async function open(t, [house, other]) {
  const note = await newNote(house, root, [ann, bob], "before");
  const editor = async (house, user) => {
    const line = new Line();
    const opened = await openNote(t, browser, house, user, note, "before", line.attach);
    await waitFor(() => line.hasState, { what: `the document on ${user.name}'s page` });
    return { ...opened, line };
  };
  const [a, b] = await Promise.all([editor(house, ann), editor(other, bob)]);
  return { note, a, b, agree: (text) => agreeOn(house, root, note, text, a, b) };
}

const orders = {
  first: async (a, b) => (await a.line.heal(), await b.line.heal()),
  second: async (a, b) => (await b.line.heal(), await a.line.heal()),
  "at the same moment": (a, b) => Promise.all([a.line.heal(), b.line.heal()]),
};

for (const place of process.env.SISKIN_RUNS ? ["one instance", "two instances"] : ["two instances"]) {
  const at = () => [houses[0], houses[place === "one instance" ? 0 : 1]];
  for (const [order, back] of Object.entries(orders)) {
    test(`both pages are cut off, one writes and comes back ${order}: ${place}`, { timeout: 120_000 * RUNS }, async (t) => {
      for (let run = 0; run < RUNS; run += 1) {
        slow(run);
        const { a, b, agree } = await open(t, at());
        for (const { line } of [a, b]) await line.cut();
        await a.type(0, [" offline"], 0);
        await back(a, b);
        await agree("before offline");
        await b.type(0, ["!"], 0);
        await agree("before offline!");
        for (const { page } of [a, b]) await page.close();
      }
    });
  }

  test(`an update of a page is lost on its way: ${place}`, { timeout: 120_000 * RUNS }, async (t) => {
    for (let run = 0; run < RUNS; run += 1) {
      slow(run);
      const { a, b, agree } = await open(t, at());
      a.line.loses = true;
      await a.type(0, [" x"], 0);
      await waitFor(() => a.line.lost.length === 1, { what: "the lost update" });
      await a.type(0, ["yz"], 0);
      await agree("before xyz");
      for (const { page } of [a, b]) await page.close();
    }
  });
}

/** The note as somebody outside writes it. */
const writeOutside = ([house], note) => {
  const json = { type: "doc", content: [{ type: "paragraph", content: [{ type: "text", text: "outside" }] }] };
  return house.webui.api(root, "POST", `/notes/${note}/update`, { data: { content: { md: "outside", html: "<p>outside</p>", json } } });
};

test("what was written over REST stands there once for two pages at two instances", { timeout: 120_000 * RUNS }, async (t) => {
  for (let run = 0; run < RUNS; run += 1) {
    slow(run);
    const { note, a, b, agree } = await open(t, houses);
    await writeOutside(houses, note);
    await agree("outside");
    await sleep(2000);
    await a.type(0, ["!"], 0);
    await agree("outside!");
    for (const { page } of [a, b]) await page.close();
  }
});

for (const [who, back] of Object.entries({ "who wrote offline is back first": orders.first, "a fresh page is there before": null })) {
  test(`what was written over REST while both pages were cut off wins, and what one had unsaved is a version of the note: ${who}`, { timeout: 120_000 }, async (t) => {
    const { note, a, b, agree } = await open(t, forgetful);
    for (const { line } of [a, b]) await line.cut();
    await a.type(0, [" offline"], 0);
    // What was typed before is saved, and nobody has it open any more.
    const updates = ["EXISTS", `open-webui:ydoc:documents:note:${note}:updates`];
    const closed = async () => (await run("redis-cli", ["-u", forgetful[0].redis.url, ...updates])).stdout.trim() === "0";
    await waitFor(closed, { what: "a closed document" });
    const [house] = forgetful;
    await writeOutside(forgetful, note);
    if (!back) await openNote(t, browser, house, root, note, "outside");
    await (back ?? orders.first)(a, b);
    await agree("outside");
    await b.type(0, ["!"], 0);
    await agree("outside!");
    const versions = async () => ((await house.webui.api(root, "GET", `/notes/${note}`)).data.versions ?? []).map(({ md }) => md.trim());
    await waitFor(async () => (await versions()).includes("before offline"), { what: "the version" }).catch(async () => assert.fail(`${await versions()}`));
  });
}
