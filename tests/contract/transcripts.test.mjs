// Plays every transcript with socket.io-client.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { io } from "socket.io-client";
import { startSiskin } from "../harness.mjs";
import { Names, nameAndArgs, read, rows, values } from "./transcript.mjs";

const patience = 5000;
const marker = "transcript:marker";

/** Fails when it takes too long. */
const soon = async (promise, what) => {
  const late = new AbortController();
  const alarm = sleep(patience, null, { signal: late.signal }).then(
    () => Promise.reject(new Error(`${what}\nnothing came`)),
    () => {},
  );
  return Promise.race([promise, alarm]).finally(() => late.abort());
};

/** What has come and nobody has looked at yet. */
class Queue {
  items = [];
  waiting = [];
  put(item) {
    const next = this.waiting.shift();
    if (next) next(item);
    else this.items.push(item);
  }
  get() {
    return this.items.length ? Promise.resolve(this.items.shift()) : new Promise((next) => this.waiting.push(next));
  }
}

class Client {
  came = new Queue();
  constructor(url, auth) {
    // Its default transports: polling first, then the upgrade, in the middle of what is played.
    this.io = io(url, { path: "/ws/socket.io", reconnection: false, forceNew: true, auth });
    this.gone = new Promise((resolve) => this.io.on("disconnect", resolve));
    this.connected = new Promise((resolve, reject) => this.io.on("connect", resolve).on("connect_error", reject));
    this.io.onAny((name, ...args) => {
      const answer = typeof args.at(-1) === "function" ? args.pop() : null;
      this.came.put({ name, args, answer });
    });
  }
}

class Play {
  clients = new Map();
  requests = [];

  constructor(siskin) {
    this.siskin = siskin;
    this.names = new Names((who) => siskin.token(who), (who) => this.clients.get(who).io.id);
  }

  async run(steps) {
    try {
      for (const { line, causes } of steps) {
        await this.send(line);
        for (const cause of causes) await soon(this.expect(cause), cause.text);
        await this.nothingElse(line);
      }
      assert.equal(this.requests.length, 0, "a request was never answered in the transcript");
    } finally {
      for (const { io } of this.clients.values()) io.disconnect();
    }
  }

  async send(line) {
    const client = this.clients.get(line.who);
    if (line.mark === "wait") return sleep(Number(line.rest) * 1000);
    if (line.who === "api") return this.request(line);
    if (line.mark === "+") {
      const [given] = values(line.rest);
      const own = { token: this.siskin.token(line.who.split("/")[0]) };
      const next = new Client(this.siskin.url, given === undefined ? own : this.names.fill(given));
      next.signedIn = given === undefined;
      this.clients.set(line.who, next);
      return soon(next.connected, line.text);
    }
    if (line.mark === "-") {
      client.io.disconnect();
      return this.clients.delete(line.who);
    }
    if (line.mark === "=>") return client.asked(...this.names.fill(values(line.rest)));
    const [name, args] = nameAndArgs(line);
    if (line.mark === ">") return client.io.emit(name, ...this.names.fill(args));
    client.acked = null;
    client.ack = new Promise((resolve) =>
      client.io.emit(name, ...this.names.fill(args), (...came) => resolve((client.acked = came))),
    );
  }

  request(line) {
    const [, method, path, body] = /^(\S+) ((?:\{sid \S+\}|[^\s{])+)\s*(.*)$/s.exec(line.rest);
    const filled = path.replace(/\{sid (\S+)\}/, (_, who) => this.clients.get(who).io.id);
    const json = body ? JSON.stringify(this.names.fill(JSON.parse(body))) : undefined;
    this.requests.push(this.fetch(method, "/api/v1" + filled, json));
  }

  async fetch(method, path, body) {
    const headers = { authorization: `Bearer ${this.siskin.apiKey}`, "content-type": "application/json" };
    const response = await fetch(this.siskin.url + path, { method, headers, body });
    const text = await response.text();
    return [response.status, text ? JSON.parse(text) : null];
  }

  async expect(line) {
    const client = this.clients.get(line.who);
    const differs = (came) => `${line.text}\ncame ${JSON.stringify(came)}`;
    if (line.who === "api") {
      const [status, body] = await this.requests.shift();
      if (line.rest === "ok") return assert.ok(status < 300, differs([status, body]));
      const [said, ...rest] = values(line.rest);
      assert.equal(status, said, differs(body));
      return assert.ok(!rest.length || this.names.fits(rest[0], body), differs(body));
    }
    if (line.mark === "!") {
      await client.gone;
      return this.clients.delete(line.who);
    }
    if (line.mark === "=" && line.rest === "never") {
      await this.nothingElse(line);
      return assert.equal(client.acked, null, differs(client.acked));
    }
    if (line.mark === "=") {
      const came = await client.ack;
      return assert.ok(this.names.fits(values(line.rest), came), differs(came));
    }
    const { name, args, answer } = await client.came.get();
    const said = nameAndArgs(line);
    assert.ok(name === said[0] && this.names.fits(said[1], args), differs([name, ...args]));
    assert.equal(answer !== null, line.mark === "<?", `${line.text}\nthe ack is ${answer ? "" : "not "}asked for`);
    client.asked = answer;
  }

  /** Sends a marker to everybody; what comes before it should have been in the transcript. */
  async nothingElse(line) {
    const sender = this.clients.get(line.who);
    // The events of a client are handled in order: after this ack the one before is done with.
    if (sender?.signedIn) await soon(sender.io.emitWithAck("heartbeat", {}), line.text);
    for (const client of this.clients.values()) {
      const body = JSON.stringify({ session_id: client.io.id, event: marker });
      const [status, told] = await this.fetch("POST", "/api/v1/emit", body);
      assert.deepEqual(told, { delivered: 1 }, `${line.text}\nno marker: ${status}`);
    }
    for (const [who, client] of this.clients) {
      const { name, args } = await soon(client.came.get(), `${line.text}\nmarker for ${who}`);
      assert.equal(name, marker, `${line.text}\nbut ${who} also received ${name} ${JSON.stringify(args)}`);
    }
  }
}

for (const row of rows) {
  test(`socket.io-client: ${row}`, async () => {
    const siskin = await startSiskin();
    try {
      await new Play(siskin).run(read(row));
    } finally {
      await siskin.close();
    }
  });
}
