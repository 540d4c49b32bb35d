// Documents of several instances on one Redis: whoever is killed, and whenever, all editors end with the same document.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { isDeepStrictEqual, promisify } from "node:util";
import * as awareness from "y-protocols/awareness";
import * as Y from "yjs";
import { heard, importModule } from "../clients/module.mjs";
import { Editor, makeNote, random } from "../documents/editor.mjs";
import { freePort, startSiskin, waitFor } from "../harness.mjs";

const OPERATIONS = 1500;
const USERS = Array.from({ length: 9 }, (_, n) => `u${n}`);
const UPDATES = "open-webui:ydoc:documents:note:n:updates";
const run = promisify(execFile);

const url = (port) => `redis://127.0.0.1:${port}/0`;

/** Whether somebody listens on the port. */
function answers(port) {
  return new Promise((resolve) => {
    const probe = connect(port, "127.0.0.1", () => (probe.destroy(), resolve(true))).on("error", () => resolve(false));
  });
}

/** A redis-server of the test's own. Returns its port. */
async function startRedis(t) {
  const [port, dir] = [await freePort(), mkdtempSync(join(tmpdir(), "siskin-redis-"))];
  const server = spawn("redis-server", ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", dir], { stdio: "ignore" });
  const ended = new Promise((resolve) => server.once("exit", resolve));
  t.after(async () => (server.kill("SIGKILL"), await ended, rmSync(dir, { recursive: true, force: true })));
  await waitFor(() => answers(port), { what: "redis-server" });
  return port;
}

/** The updates of the note's document as Redis has them. */
async function stored(port) {
  const { stdout } = await run("redis-cli", ["-p", String(port), "--raw", "LRANGE", UPDATES, "0", "-1"], { maxBuffer: 1 << 26 });
  const lines = stdout.split("\n").filter(Boolean);
  return lines.map((line) => Uint8Array.from(JSON.parse(line)));
}

/** Instances that share a Redis, each by the port that it reaches it at; all know the note `n`. */
async function startInstances(t, ports) {
  const instances = [];
  for (const port of ports) {
    const env = { WEBSOCKET_MANAGER: "redis", WEBSOCKET_REDIS_URL: url(port), SISKIN_EVENTS_PER_SECOND: "0" };
    const siskin = await startSiskin({ env });
    t.after(() => siskin.close());
    await waitFor(async () => (await fetch(`${siskin.url}/ready`)).ok, { what: "readiness" });
    await makeNote(siskin, "n", { writers: USERS });
    instances.push(siskin);
  }
  return instances;
}

const open = (siskin, n) => new Editor(siskin, USERS[n], "note:n", { clientId: n + 1 });

test("nine editors on three instances, one of which is killed", { timeout: 200_000 }, async (t) => {
  const port = await startRedis(t);
  const instances = await startInstances(t, [port, port, port]);
  const editors = USERS.map((_, n) => open(instances[n % 3], n));
  for (const editor of editors) await editor.open();
  const next = random(9);
  const edit = async (count) => {
    for (let i = 0; i < count; i += 1) {
      const editor = editors[Math.floor(next() * 9)];
      editor.edit(next);
      if (editor.online) await editor.room();
      if (i % 20 === 0) await new Promise(setImmediate);
    }
  };
  await edit(OPERATIONS / 2);
  // In the middle: what its editors sent last may have come or not.
  const lost = editors.filter((editor) => editor.siskin === instances[2]);
  assert.ok(lost.some((editor) => editor.flying > 0));
  await instances[2].kill();
  for (const editor of lost) editor.close();
  await edit(OPERATIONS / 4);
  for (const [n, editor] of lost.entries()) {
    editor.siskin = instances[n % 2];
    await editor.open();
  }
  await edit(OPERATIONS / 4);
  for (const editor of editors) await editor.settled();
  const inRedis = new Editor(undefined, "redis", "note:n");
  for (const update of await stored(port)) Y.applyUpdate(inRedis.doc, update);
  const same = () => editors.every((editor) => isDeepStrictEqual(editor.snapshot(), inRedis.snapshot()));
  await waitFor(same, { seconds: 30, what: "common end" }).catch(() => {});
  for (const editor of editors) {
    assert.deepEqual(editor.snapshot(), inRedis.snapshot(), editor.user);
    assert.deepEqual(editor.errors, [], editor.user);
  }
  assert.ok(inRedis.text.length > 300);
  for (const editor of editors) editor.close();
});

/** A way to Redis that can be cut and opened again; no answer comes back any more once `holds()`. */
async function startWay(t, port, holds = async () => false) {
  const ends = new Set();
  let held = false;
  const server = createServer((near) => {
    const far = connect(port, "127.0.0.1");
    for (const [end, other] of [[near, far], [far, near]]) {
      ends.add(end);
      end.on("error", () => {});
      end.on("close", () => (ends.delete(end), other.destroy()));
    }
    near.pipe(far);
    let last = Promise.resolve();
    far.on("data", (data) => {
      last = last.then(async () => {
        // At the end of the test there may be no Redis to ask any more.
        held ||= await holds().catch(() => true);
        if (!held) near.write(data);
      });
    });
  });
  const way = {
    open: () => new Promise((resolve) => server.listen(way.port ?? 0, "127.0.0.1", resolve)),
    cut: () => (server.close(), ends.forEach((end) => end.destroy())),
  };
  await way.open();
  way.port = server.address().port;
  t.after(() => way.cut());
  return way;
}

test("an instance that is killed before it learns that an update is stored has told the others", { timeout: 60_000 }, async (t) => {
  const port = await startRedis(t);
  let typing = false;
  const way = await startWay(t, port, async () => typing && (await stored(port)).length > 0);
  const [near, far] = await startInstances(t, [way.port, port]);
  const [ann, bob] = [open(near, 0), open(far, 1)];
  await ann.open();
  await bob.open();
  typing = true;
  ann.text.insert(0, "typed");
  await waitFor(async () => (await stored(port)).length > 0, { what: "stored update" });
  await near.kill();
  assert.equal(ann.flying, 1, "the instance knew");
  await waitFor(() => bob.text.toString() === "typed", { what: "the update at the other instance" });
  ann.close();
  bob.close();
});

test("what an instance missed or refused while Redis was away comes when it is back", { timeout: 100_000 }, async (t) => {
  const port = await startRedis(t);
  const way = await startWay(t, port);
  const [near, far] = await startInstances(t, [port, way.port]);
  const module = await importModule(near);
  const editors = [near, far].map((siskin, n) => {
    const client = module.connect({ url: siskin.url, token: siskin.token(USERS[n]) });
    const doc = new Y.Doc();
    const provider = new module.SiskinProvider(client, "note:n", doc, { Y, awareness });
    t.after(() => (provider.destroy(), client.close()));
    return { doc, provider, client, text: doc.getText("text") };
  });
  const [ann, bob] = editors;
  await Promise.all(editors.map(({ provider }) => heard(provider, "synced")));
  const says = (editor, text) => waitFor(() => editor.text.toString() === text, { seconds: 40, what: text });
  ann.text.insert(0, "-");
  await says(bob, "-");
  way.cut();
  await waitFor(async () => !(await fetch(`${far.url}/ready`)).ok, { what: "doubt of readiness" });
  const refused = new Promise((resolve) => bob.client.socket.once("error", resolve));
  bob.text.insert(1, "refused");
  await refused;
  ann.text.insert(0, "missed");
  await waitFor(async () => (await stored(port)).length === 2, { what: "what ann typed" });
  assert.equal(bob.text.toString(), "-refused");
  await way.open();
  for (const editor of editors) await says(editor, "missed-refused");
});
