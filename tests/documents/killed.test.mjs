// SIGKILL while several edit a note, one of them offline: whoever comes back first, the text stands there once, and nothing is lost.

import assert from "node:assert/strict";
import test from "node:test";
import * as awareness from "y-protocols/awareness";
import * as Y from "yjs";
import { heard, importModule } from "../clients/module.mjs";
import { sleep, startSiskin, waitFor } from "../harness.mjs";
import { makeNote, random, savedText } from "./editor.mjs";

const KILLS = Number(process.env.SISKIN_DOCUMENT_KILLS ?? 6);
const USERS = ["ann", "bob", "cleo", "dan"];

const seed = (doc, { md }) => md && doc.getText("text").insert(0, md);
const content = (doc) => ({ content: { md: doc.getText("text").toString(), html: "", json: null } });

/** A tab with the note open. It comes back when it is told to. */
class Tab {
  constructor(module, siskin, user, id) {
    this.client = module.connect({ url: siskin.url, token: siskin.token(user), reconnection: false });
    this.doc = new Y.Doc();
    this.text = this.doc.getText("text");
    this.user = user;
    this.provider = new module.SiskinProvider(this.client, id, this.doc, { Y, awareness, seed, content });
    this.words = [];
    this.first = heard(this.provider, "synced");
  }

  /** Writes a word that nobody else writes, between words. */
  write(next) {
    const word = `[${this.user}${this.words.length}]`;
    const ends = [0, ...[...this.text.toString().matchAll(/\]/g)].map(({ index }) => index + 1)];
    this.text.insert(ends[Math.floor(next() * ends.length)], word);
    this.words.push(word);
  }

  async leave() {
    this.client.socket.io.engine?.close();
    await this.gone();
  }

  gone() {
    return waitFor(() => this.provider.status !== "synced", { what: `${this.user} offline` });
  }

  async comeBack() {
    const { socket } = this.client;
    // An attempt of before may still be about to fail.
    const isBack = () => this.provider.synced || void (socket.io._readyState === "closed" && socket.connect());
    await waitFor(isBack, { what: `${this.user} back` });
  }

  close() {
    this.provider.destroy();
    this.client.close();
  }
}

/** They type until the server dies: some all the time, one offline, or before anybody has the note open. */
async function typeAndKill(siskin, tabs, next) {
  const [ann, bob, cleo] = tabs;
  if (next() < 0.2) {
    await sleep(next() * 30);
    return siskin.kill();
  }
  await Promise.all(tabs.map((tab) => tab.first));
  cleo.write(next);
  if (next() < 0.5) await sleep(next() * 900);
  await cleo.leave();
  for (let i = 0; i < 3; i += 1) cleo.write(next);
  const end = Date.now() + next() * 1200;
  while (Date.now() < end) {
    (next() < 0.5 ? ann : bob).write(next);
    await sleep(next() * 60);
  }
  const killed = siskin.kill();
  bob.write(next);
  return killed;
}

async function round(module, siskin, number, next) {
  const id = await makeNote(siskin, `killed-${number}`, { writers: USERS.slice(1), data: { content: { md: "[saved]", html: "", json: null } } });
  const open = (user) => new Tab(module, siskin, user, `note:${id}`);
  const tabs = USERS.slice(0, 3).map(open);
  await typeAndKill(siskin, tabs, next);
  for (const tab of tabs) await tab.gone();
  for (const tab of tabs) if (tab.text.length) tab.write(next);
  await siskin.start();
  const order = [...tabs, null].map((tab) => ({ tab, place: next() })).sort((a, b) => a.place - b.place);
  const all = [];
  for (const { tab } of order) {
    const coming = tab ?? open("dan");
    await (tab ? tab.comeBack() : coming.first);
    all.push(coming);
    if (next() < 0.5) coming.write(next);
    if (next() < 0.3) await sleep(next() * 700);
  }
  const words = ["[saved]", ...all.flatMap((tab) => tab.words)].sort();
  const whole = (text) => JSON.stringify((text.match(/\[\w+\]/g) ?? []).sort()) === JSON.stringify(words);
  const [first] = all;
  const same = () => all.every((tab) => tab.text.toString() === first.text.toString() && whole(tab.text.toString()));
  const told = () => `round ${number}, ${order.map(({ tab }) => tab?.user ?? "dan")}: ${all.map((tab) => tab.text)}, not ${words}`;
  await waitFor(same, { what: "common text" }).catch(() => assert.fail(told()));
  await waitFor(async () => (await savedText(siskin, id)) === first.text.toString(), { what: "the save" });
  for (const tab of all) tab.close();
}

test(`${KILLS} times killed, the text is there once`, { timeout: 30_000 + KILLS * 10_000 }, async (t) => {
  const siskin = await startSiskin();
  t.after(() => siskin.close());
  const module = await importModule(siskin);
  const next = random(KILLS);
  for (let number = 0; number < KILLS; number += 1) await round(module, siskin, number, next);
  assert.ok(!siskin.log().includes("stored updates"), siskin.log());
});
