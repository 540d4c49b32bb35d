// Notes in real pages, however long siskin's requests take: nobody's caret jumps, no word is lost, and what comes from outside arrives.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "../browser/browser.mjs";
import { sleep, waitFor } from "../harness.mjs";
import { agreeOn, newNote, openNote, savedNote } from "./notes.mjs";
import { startHouse } from "./real.mjs";

const WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];

let browser, house, root, ann, bob;
const end = [];
before(async () => {
  [browser, house] = await Promise.all([launch(), startHouse({ after: (step) => end.unshift(step) })]);
  root = await house.webui.signUp("root");
  [ann, bob] = [await house.webui.signUp("ann"), await house.webui.signUp("bob")];
});
after(async () => {
  await browser.close();
  for (const step of end) await step();
});

const api = (...request) => house.webui.api(...request);

const makeNote = (md) => newNote(house, root, [ann, bob], md);
const editor = (t, ...more) => openNote(t, browser, house, ...more);
const agree = (note, ...more) => agreeOn(house, root, note, ...more);
const saved = (note) => savedNote(house, root, note);

test("two write with pauses: no caret jumps, no word is lost, nobody hears of their own saves", async (t) => {
  const lines = ["first", "second", "third"];
  const note = await makeNote(lines.join("\n\n"));
  house.delay = 0;
  const [a, b] = await Promise.all([editor(t, ann, note, lines.join("\n")), editor(t, bob, note, lines.join("\n"))]);
  for (const delay of [0, 300, 600]) {
    house.delay = delay;
    // A space at the end of what was saved stays, too.
    await a.type(0, [" hello ", `world${delay}`], 1500);
    await Promise.all([a.type(1, WORDS.map((word) => ` ${word}`), 700), b.type(2, WORDS.map((word) => ` ${word}`), 600)]);
    lines[0] += ` hello world${delay}`;
    lines[1] += ` ${WORDS.join(" ")}`;
    lines[2] += ` ${WORDS.join(" ")}`;
    await agree(note, lines.join("\n"), a, b);
  }
  for (const { events } of [a, b]) assert.deepEqual(events("events:note"), []);
});

const OUTSIDE = { data: { content: { md: "outside", html: "<p>outside</p>", json: null } } };

test("what is written outside while somebody types reaches the page and stays", async (t) => {
  const note = await makeNote("first");
  house.delay = 600;
  const a = await editor(t, ann, note, "first");
  await a.type(0, [" one", " two"], 300);
  await Promise.all([api(root, "POST", `/notes/${note}/update`, OUTSIDE), a.type(0, [" three", " four"], 300)]);
  await agree(note, "outside", a);
  // It goes on from there.
  await a.type(0, [" and", " on"], 700);
  await agree(note, "outside and on", a);
  assert.deepEqual(
    a.events("events:note").map(({ data }) => data.content.md),
    ["outside"],
  );
});

test("what is written outside stands there once, for two who have the note open", async (t) => {
  for (const delay of [0, 300, 600]) {
    const note = await makeNote("first");
    house.delay = delay;
    const [a, b] = await Promise.all([editor(t, ann, note, "first"), editor(t, bob, note, "first")]);
    await api(root, "POST", `/notes/${note}/update`, OUTSIDE);
    await agree(note, "outside", a, b);
    await sleep(3000);
    await agree(note, "outside", a, b);
    await b.type(0, [" and", " on"], 700);
    await agree(note, "outside and on", a, b);
    for (const { page } of [a, b]) await page.close();
  }
});

test("what is written outside stays though a save was on its way and its editor leaves", async (t) => {
  const note = await makeNote("first");
  house.delay = 600;
  const a = await editor(t, ann, note, "first");
  await a.type(0, [" one", " two"], 0);
  await sleep(600);
  await api(root, "POST", `/notes/${note}/update`, OUTSIDE);
  await a.page.close();
  await sleep(3000);
  assert.equal(await saved(note), "outside");
});
