// Clients that are no browsers, with the heads that their libraries send: byte for byte they get with recovery what they get
// without it.

import assert from "node:assert/strict";
import { connect } from "node:net";
import { test } from "node:test";
import { startSiskin, waitFor } from "../harness.mjs";

const upgrade = { Upgrade: "websocket", Connection: "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==" };
const deflate = { "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits" };

/** What each sends beside Host, as a poll and as a websocket's handshake; without one it does not use that. */
const clients = {
  "Java (OkHttp)": {
    poll: { Accept: "*/*", Connection: "Keep-Alive", "Accept-Encoding": "gzip", "User-Agent": "okhttp/3.12.12" },
    websocket: { ...upgrade, "Accept-Encoding": "gzip", "User-Agent": "okhttp/3.12.12" },
  },
  "Swift (URLSession, Starscream)": {
    poll: { Accept: "*/*", "User-Agent": "Chat/1 CFNetwork/1474 Darwin/23.0.0", "Accept-Language": "en-GB,en;q=0.9", "Accept-Encoding": "gzip, deflate", Connection: "keep-alive" },
    websocket: { ...upgrade, ...deflate, Origin: "http://127.0.0.1" },
  },
  "C++ (WebSocket++)": { websocket: { ...upgrade, "User-Agent": "WebSocket++/0.8.2" } },
  "Dart (dart:io)": {
    poll: { "User-Agent": "Dart/3.4 (dart:io)", "Accept-Encoding": "gzip", Accept: "*/*" },
    websocket: { ...upgrade, ...deflate, "User-Agent": "Dart/3.4 (dart:io)", "Cache-Control": "no-cache", "Accept-Encoding": "gzip" },
  },
  "Go (net/http, gorilla)": {
    poll: { "User-Agent": "Go-http-client/1.1", "Accept-Encoding": "gzip" },
    websocket: { ...upgrade, "User-Agent": "Go-http-client/1.1" },
  },
  "Rust (reqwest, tungstenite)": { poll: { accept: "*/*" }, websocket: upgrade },
  "Python (aiohttp)": {
    poll: { Accept: "*/*", "Accept-Encoding": "gzip, deflate", "User-Agent": "Python/3.11 aiohttp/3.9.5" },
    websocket: { ...upgrade, Accept: "*/*", "Accept-Encoding": "gzip, deflate", "User-Agent": "Python/3.11 aiohttp/3.9.5" },
  },
  "Python (websocket-client)": { websocket: { ...upgrade, Origin: "http://127.0.0.1" } },
};

/** A connection whose every byte is kept. */
class Raw {
  constructor(port) {
    this.got = "";
    this.port = port;
    this.socket = connect(port, "127.0.0.1").on("data", (data) => (this.got += data.toString("latin1"))).on("error", () => {});
  }

  /** Sends a request, and waits until `has` is in what comes. */
  async ask(method, query, head, body, has) {
    const lines = Object.entries({ Host: `127.0.0.1:${this.port}`, ...head }).map(([name, value]) => `${name}: ${value}`);
    if (body !== undefined) lines.push("Content-Type: text/plain;charset=UTF-8", `Content-Length: ${body.length}`);
    this.socket.write(`${method} /ws/socket.io/?EIO=4&${query} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n${body ?? ""}`);
    await this.hears(has);
  }

  async hears(has, from = this.from ?? 0) {
    await waitFor(() => has.test(this.got.slice(from)), { what: `${has} after ${this.got}` });
    this.from = this.got.length;
  }

  /** A text of under 64 KiB, masked with zeros. */
  say(text) {
    const length = Buffer.alloc(2);
    length.writeUInt16BE(text.length);
    this.socket.write(Buffer.concat([Buffer.from([0x81, 0xfe]), length, Buffer.alloc(4), Buffer.from(text)]));
  }
}

const tell = (siskin) => siskin.api("POST", "/emit", { event: "news", data: { text: "é" }, user_id: "ann" });
const signedIn = (siskin) => waitFor(async () => (await siskin.api("GET", "/sessions")).sessions.length === 1, { what: "a session" });

async function poll(siskin, head) {
  const raw = new Raw(siskin.port);
  await raw.ask("GET", "transport=polling", head, undefined, /\}$/);
  const sid = /"sid":"([\w-]{20})"/.exec(raw.got)[1];
  await raw.ask("POST", `transport=polling&sid=${sid}`, head, `40{"token":"${siskin.token("ann")}"}`, /ok$/);
  await raw.ask("GET", `transport=polling&sid=${sid}`, head, undefined, /40\{.*\}$/);
  await signedIn(siskin);
  await tell(siskin);
  await raw.ask("GET", `transport=polling&sid=${sid}`, head, undefined, /42\[.*\]$/);
  await raw.ask("POST", `transport=polling&sid=${sid}`, head, "41", /ok$/);
  raw.socket.destroy();
  return raw.got;
}

async function websocket(siskin, head) {
  const raw = new Raw(siskin.port);
  await raw.ask("GET", "transport=websocket", head, undefined, /maxPayload.*\}$/);
  raw.say(`40{"token":"${siskin.token("ann")}"}`);
  await raw.hears(/40\{.*\}$/);
  await signedIn(siskin);
  await tell(siskin);
  await raw.hears(/42\[.*\]$/);
  raw.say("41");
  raw.socket.destroy();
  return raw.got;
}

/** What differs from run to run. */
const masked = (text) => text.replace(/[\w-]{20}(?=")/g, "sid").replace(/date: [^\r]*/gi, "date");

test("with recovery they get what they get without it, byte for byte", async (t) => {
  const start = (SISKIN_RECOVERY) => startSiskin({ env: { SISKIN_RECOVERY } });
  const [on, off] = [await start("browsers"), await start("off")];
  t.after(() => Promise.all([on.close(), off.close()]));
  for (const [name, ways] of Object.entries(clients)) {
    for (const [way, play] of Object.entries({ poll, websocket })) {
      if (!ways[way]) continue;
      const seen = [];
      for (const siskin of [on, off]) {
        seen.push(masked(await play(siskin, ways[way])));
        await waitFor(async () => (await siskin.api("GET", "/sessions")).sessions.length === 0, { what: "its end" });
      }
      assert.equal(seen[0], seen[1], `${name}, ${way}`);
      assert.ok(seen[0].includes('40{"sid":"sid"}') && seen[0].includes('42["news",{"text":"Ã©"}]'), `${name}, ${way}: ${seen[0]}`);
    }
  }
});
