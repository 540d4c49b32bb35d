// Everything at once, from a seed: editors as the page is one and with our provider, on one instance and on two over a real Redis; cuts,
// slow links, lost updates, refusals, kills and restarts. In the end all have the same document, whoever comes later, too, and it is what is saved.
// SISKIN_OPERATIONS says how many, SISKIN_SEED which.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { startRedis } from "../browser/redis.mjs";
import { importModule } from "../clients/module.mjs";
import { sleep, startSiskin, waitFor } from "../harness.mjs";
import { Editor, makeNote, random, savedText } from "./editor.mjs";
import { Own } from "./own.mjs";
import { Page } from "./page.mjs";

const OPERATIONS = Number(process.env.SISKIN_OPERATIONS ?? 10_000);
/** Of one note. */
const ROUND = 1000;
const USERS = ["ann", "bob", "cleo", "dan", "eve", "fay", "gil", "hal", "ian"];

let module, redis;
const houses = [];
const end = [];
before(async () => {
  redis = await startRedis({ after: (step) => end.unshift(step) });
  const alone = { SISKIN_EVENTS_PER_SECOND: "0" };
  const shared = { ...alone, WEBSOCKET_MANAGER: "redis", WEBSOCKET_REDIS_URL: redis.url };
  for (const env of [[alone], [shared, shared]]) {
    const house = await Promise.all(env.map((env) => startSiskin({ env })));
    for (const siskin of house) end.unshift(() => siskin.close());
    houses.push(house);
  }
  module = await importModule(houses[0][0]);
});
after(async () => {
  for (const step of end) await step();
});

const ready = (siskin) => waitFor(async () => (await fetch(`${siskin.url}/ready`).catch(() => ({}))).ok, { seconds: 30, what: "readiness" });
const snapshot = (editor) => Editor.prototype.snapshot.call(editor);

/** What is known of an editor, where something failed. */
function says({ user, constructor, online, flying, provider, client, socket, errors }) {
  const state = provider ? `${provider.status}, ${provider.reason}` : `${flying} on their way`;
  const { connected } = client?.socket ?? socket;
  return `${user} ${constructor.name}, ${connected ? "" : "not "}connected, ${online ? "on" : "off"}line, ${state}, told ${errors.at(-1)}`;
}

class Round {
  constructor(number, house) {
    this.next = random(7_000 + number);
    this.id = `model-${number}`;
    this.house = house;
    this.out = new Set();
    this.slow = new Set();
    this.done = [];
  }

  below(end) {
    return Math.floor(this.next() * end);
  }

  async begin() {
    await this.share(USERS);
    const count = 3 + this.below(7);
    this.editors = USERS.slice(0, count).map((user, n) => {
      const siskin = this.house[n % this.house.length];
      if (this.below(2)) return new Own(module, siskin, user, `note:${this.id}`, { clientId: n + 1 });
      return new Page(siskin, user, `note:${this.id}`, { clientId: n + 1, dataEvery: 1 });
    });
    for (const editor of this.editors) await editor.open();
  }

  /** These may write it. */
  async share(writers) {
    for (const siskin of this.house) await makeNote(siskin, this.id, { owner: "owner", writers, readers: USERS });
  }

  async operate() {
    const editor = this.editors[this.below(this.editors.length)];
    const dice = this.next();
    if (this.slow.has(editor)) return;
    const here = !this.out.has(editor);
    if (dice < 0.01 && here) await this.cut(editor);
    else if (dice < 0.015 && !here && editor instanceof Page) await this.backSlowly(editor);
    else if (dice < 0.02 && !here) await this.back(editor);
    else if (dice < 0.024 && here) await this.lose(editor);
    else if (dice < 0.026 && here) this.spoil(editor);
    else if (dice < 0.0265 && here) await this.deny(editor);
    else if (dice < 0.0266 && here && editor instanceof Own) await this.paste(editor);
    else if (dice < 0.0274) await this.kill(this.below(this.house.length));
    else Editor.prototype.edit.call(editor, this.next);
    if (here && editor.room) await editor.room();
  }

  async cut(editor) {
    this.done.push(`${editor.user} is cut`);
    this.out.add(editor);
    await editor.cut();
  }

  /** Some come back while others go on, or come back. */
  async back(...editors) {
    this.done.push(`${editors.map(({ user }) => user).join(", ")} back`);
    await Promise.all(editors.map((editor) => editor.back()));
    for (const editor of editors) this.out.delete(editor);
  }

  /** A page comes back over a slow link: it hears of a change before it has the state, and nobody can type there meanwhile. */
  async backSlowly(editor) {
    this.done.push(`${editor.user} back slowly`);
    this.out.delete(editor);
    this.slow.add(editor);
    await editor.connect();
    editor.hold();
    const joined = editor.join();
    const pause = 200 + this.below(1500);
    const held = waitFor(() => editor.held.length, { what: "the state" });
    held.catch(() => {}).then(() => setTimeout(() => editor.release(), pause));
    joined.catch(() => {}).then(() => this.slow.delete(editor));
  }

  /** Those who come back slowly have come. */
  async arrived() {
    await waitFor(() => this.slow.size === 0, { what: "those who come back slowly" });
  }

  /** An update is lost on its way. That of the page is seen to be missing when more is written. */
  async lose(editor) {
    this.done.push(`${editor.user} loses`);
    await editor.lose(() => editor.text.insert(0, "lost "));
    editor.text.insert(0, "found ");
  }

  /** What is no update is refused, and changes nothing. */
  spoil(editor) {
    const { socket } = editor.client ?? editor;
    socket.emit("ydoc:document:update", { document_id: `note:${this.id}`, update: [9, 9, 9] });
  }

  /** Somebody may not write for a while, writes all the same, and is told so; then opens it again. */
  async deny(editor) {
    this.done.push(`${editor.user} may not write`);
    const told = editor.errors.length;
    await this.share(USERS.filter((user) => user !== editor.user));
    editor.text.insert(0, "denied ");
    await waitFor(() => editor.errors.length > told, { what: "the refusal" });
    await this.share(USERS);
    await this.cut(editor);
    await this.back(editor);
  }

  /** Somebody pastes too much, is told so, and takes it back. */
  async paste(editor) {
    this.done.push(`${editor.user} pastes`);
    editor.text.insert(0, "x".repeat(2_200_000));
    await waitFor(() => editor.provider.status === "unsaved" || !editor.online, { what: "the refusal" });
    editor.text.delete(0, 2_200_000);
    await waitFor(() => editor.saved || !editor.online, { seconds: 40, what: "what is saved" });
  }

  /** An instance is killed; its editors come back at the same moment, when it is up again. */
  async kill(n) {
    await this.arrived();
    this.done.push(`instance ${n} is killed`);
    const siskin = this.house[n];
    const lost = this.editors.filter((editor) => editor.siskin === siskin && !this.out.has(editor));
    await siskin.kill();
    for (const editor of lost) await this.cut(editor);
    await siskin.start();
    await ready(siskin);
    for (const other of this.house) await ready(other);
    await this.back(...lost);
  }

  /** What others write while a page comes back slowly is the last that anybody writes. */
  async lastWord(writer, page) {
    await this.cut(page);
    writer.text.insert(0, "without you ");
    await this.backSlowly(page);
    await waitFor(() => page.held.length, { what: "the state" });
    writer.text.insert(0, "seen ");
    await this.arrived();
  }

  async finish() {
    await this.arrived();
    await this.back(...this.out);
    for (const editor of this.editors) editor.text.insert(0, `${editor.user} `);
    const [first] = this.editors;
    const last = this.editors.findLast((editor) => editor instanceof Page);
    if (last && last !== first) await this.lastWord(first, last);
    const late = new Page(this.house.at(-1), "ian", `note:${this.id}`);
    await late.open();
    const all = [...this.editors, late];
    const same = () => all.every((editor) => isDeepStrictEqual(snapshot(editor), snapshot(first)));
    await waitFor(same, { seconds: 40, what: "common end" }).catch(() => {});
    for (const editor of all) assert.deepEqual(snapshot(editor), snapshot(first), `${editor.user}, ${editor.constructor.name}`);
    const own = this.editors.filter((editor) => editor instanceof Own);
    await waitFor(() => own.every((editor) => editor.saved), { seconds: 30, what: "what is saved" });
    const text = first.text.toString();
    const saved = async () => {
      const texts = await Promise.all(this.house.map((siskin) => savedText(siskin, this.id)));
      return texts.includes(text);
    };
    await waitFor(saved, { seconds: 30, what: "the saved text" }).catch(async () => {
      const notes = await Promise.all(this.house.map((siskin) => siskin.api("GET", `/notes/${this.id}`)));
      for (const { updated_by, data } of notes) console.error(`saved by ${updated_by}: ${data.content?.md.slice(0, 80)}`);
      for (const { data } of notes) assert.equal(data.content?.md, text);
    });
    for (const editor of all) editor.close();
  }
}

const PLACES = ["one instance", "two instances"];

describe("everything at once", { concurrency: 2 }, () => {
  for (const [at, place] of PLACES.entries()) {
    describe(place, { concurrency: false }, () => {
      for (let number = at; number * ROUND < OPERATIONS; number += PLACES.length) {
        test(`${ROUND} operations, round ${number}`, { timeout: 300_000 }, () => play(new Round(number, houses[at])));
      }
    });
  }
});

async function play(round) {
  for (const siskin of round.house) await ready(siskin);
  try {
    await round.begin();
    for (let i = 0; i < ROUND; i += 1) {
      await round.operate();
      if (i % 10 === 0) await sleep(1);
    }
    await round.finish();
  } catch (error) {
    console.error(`after: ${round.done.slice(-30).join("; ")}`);
    console.error(`editors: ${(round.editors ?? []).map((editor) => says(editor)).join("; ")}`);
    throw error;
  } finally {
    for (const editor of round.editors ?? []) editor.close();
  }
}
