// siskin on an emulated Pi: installed as README says it, used by real clients, upgraded, its plug pulled while it saves; and what it takes there.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { io } from "socket.io-client";
import * as awareness from "y-protocols/awareness";
import * as Y from "yjs";
import { importModule } from "../clients/module.mjs";
import { makeNote, random, savedText } from "../documents/editor.mjs";
import { sleep, waitFor } from "../harness.mjs";
import { figure, print } from "./figures.mjs";
import { LONG, Pi, machineName, release, root } from "./machine.mjs";

const PULLS = Number(process.env.PULLS ?? 10);
const MINUTES = Number(process.env.MINUTES ?? 10);
const version = /^version = "(.+)"/m.exec(readFileSync(join(root, "Cargo.toml"), "utf8"))[1];
const options = { timeout: 3 * 3600_000 };
const path = "/ws/socket.io";
const browser = { "Sec-Fetch-Mode": "websocket" };

const pi = new Pi("pi");
let module;
before(() => pi.start(), options);
after(async () => {
  print();
  await pi.close();
});

/** The commands under a heading of README, and what it shows of their answers. */
function readme(heading) {
  const [, commands, answers] = /```\n(.*?)```.*?```\n(.*?)```/s.exec(readFileSync(join(root, "README.md"), "utf8").split(heading)[1]);
  return [commands.trimEnd().split("\n"), answers.trimEnd().split("\n")];
}

/** The package with an older version's number: an upgrade is one from it. */
function older(file) {
  const folder = mkdtempSync(join(tmpdir(), "siskin-older-"));
  execFileSync("dpkg-deb", ["-R", file, join(folder, "package")]);
  execFileSync("sed", ["-i", `s/^Version: .*/Version: ${version}~older/`, join(folder, "package/DEBIAN/control")]);
  const made = join(folder, `siskin_${version}_arm64.deb`);
  execFileSync("dpkg-deb", ["--root-owner-group", "-b", join(folder, "package"), made], { stdio: "ignore" });
  return [made, () => rmSync(folder, { recursive: true })];
}

test("README's five commands install it", options, async () => {
  const files = readdirSync(release).filter((name) => /SHA256SUMS|_arm64\.deb$/.test(name));
  await pi.copy(files.map((name) => join(release, name)), "siskin");
  const [commands, answers] = readme("**Raspberry Pi OS, Debian, Ubuntu**");
  assert.equal(commands.length, 5);
  const said = await pi.run(commands.map((command) => `${command} && echo`).join(" && "));
  const [ready, , poll] = said.trimEnd().split("\n").slice(-3);
  assert.equal(ready, answers[0]);
  const shape = (text) => text.replace(/"sid":"[\w-]{20}"/, "");
  assert.equal(shape(poll), shape(answers[1]));
  figure("Machine", `${machineName}, ${(await pi.run("uname -r; nproc; free -m | awk '/Mem/ {print $2}'")).trim().split("\n").join(", ")} MiB`);
});

test("systemd finds it well, and starts it quickly", options, async () => {
  await pi.open();
  const starts = [];
  for (let n = 0; n < 3; n += 1) {
    await pi.run("sudo systemctl restart siskin");
    const [from, to] = [await pi.property("ExecMainStartTimestampMonotonic"), await pi.property("ActiveEnterTimestampMonotonic")];
    starts.push((to - from) / 1000);
  }
  figure("From its start to ready", `${Math.min(...starts).toFixed(0)} ms, at most ${Math.max(...starts).toFixed(0)} of 3`);
  const security = await pi.run("systemd-analyze security --no-pager siskin | tail -1");
  figure("`systemd-analyze security`", /([\d.]+) (\w+)/.exec(security)?.[0]);
  assert.ok(Number(/([\d.]+) \w+/.exec(security)[1]) <= 1.5, security);
  assert.equal(await pi.run("systemctl show -P Result siskin"), "success\n");
});

/** socket.io-client, signed in. */
async function connect(user, more = {}) {
  const socket = io(pi.url, { path, auth: { token: pi.token(user) }, forceNew: true, reconnectionDelay: 100, extraHeaders: browser, timeout: LONG * 1000, ...more });
  socket.heard = [];
  socket.on("news", (data) => socket.heard.push(data));
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("connect_error", reject));
  await socket.timeout(LONG * 1000).emitWithAck("user-join", { auth: { token: pi.token(user) } });
  return socket;
}

test("a client hears an answer that is streamed", options, async () => {
  for (const user of ["ann", "bob"]) await pi.api("PUT", `/users/${user}`, { name: user });
  await pi.api("PUT", "/chats/c1", { user_id: "ann", title: "Birds" });
  await pi.api("PUT", "/chats/c1/messages/m1", { role: "assistant", content: "" });
  const socket = await connect("ann");
  const words = "The siskin is a small bird that lives in the tops of conifers".split(" ").map((word) => `${word} `);
  let text = "";
  socket.on("events", ({ data }) => (text += data.type === "message" ? data.data.content : ""));
  const lines = words.map((content) => JSON.stringify({ type: "message", data: { content } })).join("\n");
  const answer = await pi.api("POST", "/chat/stream?user_id=ann&chat_id=c1&message_id=m1", `${lines}\n`);
  assert.equal(answer.saved, words.length);
  await waitFor(() => text === words.join(""), { seconds: LONG, what: `the answer, not ${text}` });
  assert.equal((await pi.api("GET", "/chats/c1/messages/m1")).content, words.join(""));
  socket.disconnect();
});

const content = (doc) => ({ content: { md: doc.getText("text").toString(), html: "", json: null } });
const seed = (doc, data) => data.md && doc.getText("text").insert(0, data.md);

/** A page with a note open. */
class Page {
  constructor(user, id) {
    this.id = id;
    this.client = module.connect({ url: pi.url, token: pi.token(user), reconnection: false });
    this.doc = new Y.Doc();
    this.text = this.doc.getText("text");
    this.provider = new module.SiskinProvider(this.client, `note:${id}`, this.doc, { Y, awareness, seed, content });
  }

  /** Waits until it has the note open, also after its connection was lost. */
  opened() {
    const { socket } = this.client;
    const isOpen = () => this.provider.status === "synced" || void (socket.io._readyState === "closed" && socket.connect());
    return waitFor(isOpen, { seconds: LONG, what: "a note that is open" });
  }

  /** Waits until its text is what the API says of the note, which is on the card. Or until `isOver`. */
  saved(isOver = () => false) {
    const isThere = async () => isOver() || (await savedText(pi, this.id)) === this.text.toString() || sleep(200);
    return waitFor(isThere, { seconds: LONG, what: "a save" });
  }

  close() {
    this.provider.destroy();
    this.client.close();
  }
}

async function edit(user, id) {
  module ??= await importModule(pi);
  const page = new Page(user, id);
  await page.opened();
  return page;
}

test("two edit a note, and it is saved", options, async () => {
  const id = await makeNote(pi, "birds", { writers: ["bob"] });
  const [ann, bob] = [await edit("ann", id), await edit("bob", id)];
  ann.text.insert(0, "siskin ");
  await waitFor(() => bob.text.toString() === "siskin ", { seconds: LONG, what: "Ann's word at Bob's" });
  bob.text.insert(7, "goldfinch ");
  await waitFor(async () => (await savedText(pi, id)) === "siskin goldfinch ", { seconds: LONG, what: "the text saved" });
  ann.close();
  bob.close();
});

/** What siskin's process and the whole card have done so far: KiB resident, of these its own and not the binary's, wakeups, ms of CPU, bytes that the process, and that all had written. */
const COUNT = `pid=$(systemctl show -P MainPID siskin)
count() {
  awk '/^VmRSS/ {print $2}' /proc/$pid/status
  awk '/^RssAnon/ {print $2}' /proc/$pid/status
  cat /proc/$pid/task/*/status | awk '/ctxt_switches/ {sum += $2} END {print sum}'
  awk '{print int(($14 + $15) * 10)}' /proc/$pid/stat
  awk '/^write_bytes/ {print $2}' /proc/$pid/io
  awk '{print $7 * 512}' /sys/block/${machineName === "virt" ? "vda" : "mmcblk0"}/stat
}
sync; count; sleep SECONDS; sync; count
`;

/** The same over so many minutes, a minute. */
async function counted(minutes) {
  const said = await pi.run("sudo sh", { input: COUNT.replace("SECONDS", String(minutes * 60)) });
  const numbers = said.trim().split("\n").map(Number);
  const [rss, own, ...more] = numbers.slice(6);
  const [wakeups, cpu, bytes, card] = more.map((number, n) => (number - numbers[n + 2]) / minutes);
  const mib = (kib) => (kib / 1024).toFixed(2);
  return { rss: `${mib(rss)} MiB (${mib(own)} beside the binary)`, wakeups, cpu, bytes, card };
}

const kib = (bytes) => `${(bytes / 1024).toFixed(0)} KiB`;

test("idle it rests", options, async () => {
  await pi.run("sudo systemctl restart siskin");
  await pi.isReady();
  const { rss, wakeups, cpu, bytes, card } = await counted(MINUTES);
  figure("RSS at rest, with its store", rss);
  figure(`Wakeups a minute, idle (${MINUTES} min; the watchdog's and the status line's)`, `${wakeups.toFixed(1)}, ${cpu.toFixed(1)} ms of CPU`);
  figure("Written to the card an hour, idle", `${kib(bytes * 60)} by siskin; ${kib(card * 60)} by the whole system`);
  assert.equal(bytes, 0);
});

test("what one who types writes", options, async () => {
  const id = await makeNote(pi, "typed");
  const ann = await edit("ann", id);
  ann.text.insert(0, "x".repeat(10_000));
  await ann.saved();
  const minutes = Math.max(1, MINUTES / 2);
  const counting = counted(minutes);
  const over = counting.then(() => true);
  // Five characters a second for four seconds, then a second of rest.
  for (let n = 0; !(await Promise.race([over, sleep(n % 20 === 19 ? 1000 : 200)])); n += 1) ann.text.insert(ann.text.length, "y");
  const { rss, wakeups, bytes, card } = await counting;
  figure("RSS while one types in a note of 10 kB", `${rss}, ${wakeups.toFixed(0)} wakeups a minute`);
  figure(`Written to the card an hour while one types (${minutes} min)`, `${((bytes * 60) / 2 ** 20).toFixed(1)} MiB by siskin; ${((card * 60) / 2 ** 20).toFixed(1)} MiB with the file system's journal and all others`);
  ann.close();
});

test("the watchdog is content under load", options, async () => {
  const [restarts, ping] = [await pi.property("NRestarts"), Number(await pi.property("WatchdogTimestampMonotonic"))];
  const sockets = await Promise.all(Array.from({ length: 8 }, (_, n) => connect(`user${n}`)));
  // Two busy programs for each of its four processors, and clients who never pause.
  const load = pi.run("for n in 1 2 3 4 5 6 7 8; do timeout 90 sh -c 'while :; do :; done' & done; wait; true");
  let [isOver, echoes, longest] = [false, 0, 0];
  const flood = async (socket) => {
    while (!isOver) {
      const began = Date.now();
      await socket.timeout(LONG * 1000).emitWithAck("user-join", { auth: { token: socket.auth.token } });
      longest = Math.max(longest, Date.now() - began);
      echoes += 1;
    }
  };
  const flooding = sockets.map(flood);
  await load;
  isOver = true;
  await Promise.all(flooding);
  const later = Number(await pi.property("WatchdogTimestampMonotonic"));
  figure("Under load for 90 s: 8 busy programs on 4 processors, 8 clients", `watchdog alive, ${(echoes / 90).toFixed(0)} joins/s, the longest ${longest} ms`);
  assert.ok(later - ping >= 45e6, `the watchdog heard nothing for ${(later - ping) / 1e6} s`);
  assert.equal(await pi.property("NRestarts"), restarts);
  for (const socket of sockets) socket.disconnect();
});

test("an upgrade with sockets open loses nothing", options, async () => {
  const now = join(release, `siskin_${version}_arm64.deb`);
  const [before, remove] = process.env.OLD ? [process.env.OLD, () => {}] : older(now);
  await pi.copy([before], "older");
  await pi.run("sudo dpkg -i --force-downgrade older/*.deb");
  await pi.isReady();
  remove();
  const was = await pi.run("dpkg-query -W siskin");
  const sockets = [await connect("ann", { transports: ["websocket"] }), await connect("ann", { transports: ["polling"] })];
  const ids = sockets.map((socket) => socket.id);
  let isOver = false;
  const said = [];
  const telling = (async () => {
    for (let n = 0; !isOver; n += 1) {
      await waitFor(() => pi.api("POST", "/emit", { event: "news", data: n, user_id: "ann" }).then(() => true, () => sleep(100)), { seconds: LONG });
      said.push(n);
    }
  })();
  await waitFor(() => said.length > 5, { seconds: LONG });
  await pi.run("sudo dpkg -i siskin/*_arm64.deb");
  await pi.isReady();
  const count = said.length;
  await waitFor(() => said.length > count + 5, { seconds: LONG });
  isOver = true;
  await telling;
  assert.notEqual(await pi.run("dpkg-query -W siskin"), was);
  for (const [n, socket] of sockets.entries()) {
    await waitFor(() => socket.heard.length >= said.length, { seconds: LONG, what: `all news: ${socket.heard} of ${said}` });
    assert.deepEqual([socket.id, socket.recovered, [...new Set(socket.heard)]], [ids[n], true, said]);
    socket.disconnect();
  }
  figure("Upgrade with a websocket and a poller open", `both sessions went on, ${said.length} events in order`);
});

/** All users' names by their ids. */
async function everybody() {
  const users = new Map();
  for (let after = ""; ; ) {
    const page = (await pi.api("GET", `/users?limit=1000${after}`)).users;
    for (const user of page) users.set(user.id, user.name);
    if (page.length === 0) return users;
    after = `&after=${page.at(-1).id}`;
  }
}

/** Adds users and words to a note until `isOn()` is false; `kept` gets what was acknowledged, `note.saved` the text that the API has shown. */
function write(pull, page, kept, note, isOn) {
  const add = async (writer) => {
    for (let n = 0; isOn(); n += 1) {
      const user = `w${pull}-${writer}-${n}`;
      await pi.api("PUT", `/users/${user}`, { name: `${pull} ${n}` }).then(() => kept.set(user, `${pull} ${n}`), () => {});
    }
  };
  const type = async () => {
    for (let n = 1; isOn(); n += 1) {
      note.typed += `[${pull}.${n}]`;
      page.text.insert(page.text.length, `[${pull}.${n}]`);
      // Whoever types on without a rest waits for no save.
      if (n % 8) await sleep(100);
      else await page.saved(() => !isOn()).then(() => isOn() && (note.saved = note.typed), () => {});
    }
  };
  return Promise.all([add(0), add(1), type()]);
}

test(`what was acknowledged outlives ${PULLS} pulls of the plug`, options, async () => {
  const next = random(PULLS);
  const id = await makeNote(pi, "plug", { writers: ["bob"] });
  const kept = new Map();
  const note = { typed: "", saved: "" };
  const starts = [];
  // Open all the time; others come anew and find what is on the card.
  const ann = await edit("ann", id);
  for (let pull = 1; pull <= PULLS; pull += 1) {
    let isOn = true;
    const [least, before] = [kept.size + 20, note.saved];
    const writing = write(pull, ann, kept, note, () => isOn);
    await waitFor(() => kept.size > least && note.saved !== before, { seconds: LONG, what: "writes" });
    await sleep(next() * 3000);
    const pulled = pi.pull();
    isOn = false;
    ann.client.socket.io.engine?.close();
    await pulled;
    await writing;
    await pi.start();
    await pi.isReady();
    starts.push(Number(await pi.property("ActiveEnterTimestampMonotonic")) / 1e6);
    const users = await everybody();
    const lost = [...kept].filter(([user, name]) => users.get(user) !== name);
    assert.deepEqual(lost, [], `pull ${pull}`);
    const found = await savedText(pi, id);
    assert.ok(found.startsWith(note.saved) && note.typed.startsWith(found), `pull ${pull}: ${found} of ${note.typed}, saved ${note.saved}`);
    const bob = await edit("bob", id);
    const opened = bob.text.toString();
    assert.ok(opened.startsWith(found) && note.typed.startsWith(opened), `pull ${pull}: ${opened} is in the document, ${found} in the note`);
    // The page that was open all the time has the rest of it, and nothing stands there twice.
    await ann.opened();
    await waitFor(() => bob.text.toString() === note.typed, { seconds: LONG, what: `${note.typed} at Bob's` });
    assert.equal(ann.text.toString(), note.typed);
    await ann.saved();
    note.saved = note.typed;
    bob.close();
    const log = await pi.run("sudo journalctl -o cat --no-pager -b -u siskin");
    assert.ok(!/damaged|panic|stored updates/.test(log), log);
    console.log(`# plug pulled ${pull} times, ${kept.size} acknowledged writes and ${note.typed.length} characters so far`);
  }
  ann.close();
  figure(`Plug pulled ${PULLS} times while it saved`, `${kept.size} acknowledged writes and a note of ${note.typed.length} characters, none lost`);
  figure("From the kernel's start to siskin ready", `${starts.sort((a, b) => a - b)[starts.length >> 1].toFixed(0)} s (emulated)`);
});
