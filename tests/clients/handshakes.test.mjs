// Clients that are no browsers, with the requests and packets that their libraries send: byte for byte they get with recovery what
// they get without it.

import assert from "node:assert/strict";
import { connect } from "node:net";
import { test } from "node:test";
import { startSiskin, waitFor } from "../harness.mjs";

const KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
const HOST = "Host: $HOST";
const LENGTH = "Content-Length: $LENGTH";
const sorted = (transport, sid) => `EIO=4&sid=${sid}&transport=${transport}`;
const usual = (transport, sid) => `EIO=4&transport=${transport}${sid && `&sid=${sid}`}`;

/**
 * What each sends, read in its source: the query, the heads of a poll, a post and a websocket's handshake in their order, CONNECT's
 * packet. Without one it does not use that.
 */
const clients = {
  // socketio/socket.io-client-java 2.1.2 on engine.io-client 2.1.0 (a HashMap's order; PollingXHR, WebSocket) and OkHttp 3.12.12 (BridgeInterceptor).
  "Java": {
    query: usual,
    poll: ["Accept: */*", HOST, "Connection: Keep-Alive", "Accept-Encoding: gzip", "User-Agent: okhttp/3.12.12"],
    post: ["Accept: */*", "Content-Type: text/plain;charset=UTF-8", LENGTH, HOST, "Connection: Keep-Alive", "Accept-Encoding: gzip", "User-Agent: okhttp/3.12.12"],
    websocket: ["Upgrade: websocket", "Connection: Upgrade", KEY, "Sec-WebSocket-Version: 13", HOST, "Accept-Encoding: gzip", "User-Agent: okhttp/3.12.12"],
  },
  // socketio/socket.io-client-swift 16.1.1 (SocketEngine.createURLs, SocketManager.connectSocket) on Starscream 4.0.8 (HTTPWSHeader). What URLSession
  // adds to a poll is no open source: that is from memory.
  "Swift": {
    query: (transport, sid) => `transport=${transport}${transport === "polling" ? "&b64=1" : ""}&EIO=4${sid && `&sid=${sid}`}`,
    poll: [HOST, "Accept: */*", "User-Agent: Chat/1 CFNetwork/1474 Darwin/23.0.0", "Accept-Language: en-GB,en;q=0.9", "Accept-Encoding: gzip, deflate", "Connection: keep-alive"],
    post: [HOST, "Content-Type: text/plain; charset=UTF-8", "Accept: */*", "User-Agent: Chat/1 CFNetwork/1474 Darwin/23.0.0", LENGTH, "Accept-Encoding: gzip, deflate", "Connection: keep-alive"],
    websocket: ["Origin: ws://$HOST", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", KEY, HOST],
    packet: (type, data = "") => `4${type}/,${data}`,
  },
  // socketio/socket.io-client-cpp 3.1.0 (client_impl::connect_impl) on WebSocket++ 0.8.2, whose heads are a sorted map.
  "C++": {
    query: (transport) => `EIO=4&transport=${transport}&t=1764201600`,
    websocket: ["Connection: Upgrade", HOST, KEY, "Sec-WebSocket-Version: 13", "Upgrade: websocket", "User-Agent: WebSocket++/0.8.2"],
  },
  // rikulo/socket.io-client-dart 3.1.6, which beside a browser has websockets alone (Transport.createUri), on dart:io (websocket_impl.dart). It takes part
  // in recovery when it is given a private id, and sends an offset of null until it has one.
  "Dart": {
    query: usual,
    websocket: ["user-agent: Dart/3.4 (dart:io)", "connection: Upgrade", "cache-control: no-cache", "accept-encoding: gzip", "content-length: 0", "sec-websocket-version: 13", "host: $HOST", "sec-websocket-extensions: permessage-deflate; client_max_window_bits", KEY.toLowerCase().replace(/dgh.*/, KEY.slice(19)), "upgrade: websocket"],
  },
  // maldikhan/go.socket.io 0.1.1 (buildHttpUrl, whose first sid is empty; buildWsUrl) on net/http and golang.org/x/net/websocket (hybiClientHandshake).
  "Go": {
    query: sorted,
    poll: [HOST, "User-Agent: Go-http-client/1.1", "Accept-Encoding: gzip"],
    post: [HOST, "User-Agent: Go-http-client/1.1", LENGTH, "Accept-Encoding: gzip"],
    websocket: [HOST, "Upgrade: websocket", "Connection: Upgrade", KEY, "Origin: http://$HOST/ws/socket.io/", "Sec-WebSocket-Version: 13"],
  },
  // 1c3t3a/rust-socketio 0.6.0 (Client::handshake_with_transport, PollingTransport) on reqwest 0.12 and tungstenite 0.21 (generate_request).
  "Rust": {
    query: (transport, sid) => (sid ? sorted(transport, sid) : usual(transport, "")),
    poll: ["accept: */*", "host: $HOST"],
    post: ["accept: */*", "host: $HOST", "content-length: $LENGTH"],
    websocket: [HOST, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", KEY],
  },
  // miguelgrinberg/python-engineio; with the real one: test_python.py.
  "Python (aiohttp)": {
    query: (transport, sid) => `transport=${transport}&EIO=4${sid && `&sid=${sid}`}`,
    poll: [HOST, "Accept: */*", "Accept-Encoding: gzip, deflate", "User-Agent: Python/3.11 aiohttp/3.9.5"],
    post: [HOST, "Content-Type: text/plain", "Accept: */*", "Accept-Encoding: gzip, deflate", "User-Agent: Python/3.11 aiohttp/3.9.5", LENGTH],
    websocket: [HOST, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", KEY, "Accept: */*", "Accept-Encoding: gzip, deflate", "User-Agent: Python/3.11 aiohttp/3.9.5"],
  },
  "Python (websocket-client)": {
    query: (transport, sid) => `transport=${transport}&EIO=4${sid && `&sid=${sid}`}`,
    websocket: ["Upgrade: websocket", HOST, "Origin: http://$HOST", KEY, "Sec-WebSocket-Version: 13", "Connection: Upgrade"],
  },
};
const plain = (type, data = "") => `4${type}${data}`;

/** A connection whose every byte is kept. */
class Raw {
  constructor(port) {
    this.got = "";
    this.port = port;
    this.socket = connect(port, "127.0.0.1").on("data", (data) => (this.got += data.toString("latin1"))).on("error", () => {});
  }

  /** Sends a request, and waits until `has` is in what comes. */
  async ask(method, query, head, has, body = "") {
    const lines = head.join("\r\n").replaceAll("$HOST", `127.0.0.1:${this.port}`).replace("$LENGTH", body.length);
    this.socket.write(`${method} /ws/socket.io/?${query} HTTP/1.1\r\n${lines}\r\n\r\n${body}`);
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

async function poll(siskin, { query, poll, post, packet = plain }) {
  const raw = new Raw(siskin.port);
  await raw.ask("GET", query("polling", ""), poll, /\}$/);
  const sid = /"sid":"([\w-]{20})"/.exec(raw.got)[1];
  await raw.ask("POST", query("polling", sid), post, /ok$/, packet(0, `{"token":"${siskin.token("ann")}"}`));
  await raw.ask("GET", query("polling", sid), poll, /40\{.*\}$/);
  await signedIn(siskin);
  await tell(siskin);
  await raw.ask("GET", query("polling", sid), poll, /42\[.*\]$/);
  await raw.ask("POST", query("polling", sid), post, /ok$/, packet(1));
  raw.socket.destroy();
  return raw.got;
}

/** Signs in over a websocket, hears something and goes. */
async function talk(siskin, raw, packet) {
  raw.say(packet(0, `{"token":"${siskin.token("ann")}"}`));
  await raw.hears(/40\{.*\}$/);
  await signedIn(siskin);
  await tell(siskin);
  await raw.hears(/42\[.*\]$/);
  raw.say(packet(1));
}

async function websocket(siskin, { query, websocket, packet = plain }) {
  const raw = new Raw(siskin.port);
  await raw.ask("GET", query("websocket", ""), websocket, /maxPayload.*\}$/);
  await talk(siskin, raw, packet);
  raw.socket.destroy();
  return raw.got;
}

/** By polling first, as all who can do both begin. */
async function both(siskin, { query, poll, websocket, packet = plain }) {
  const [first, raw] = [new Raw(siskin.port), new Raw(siskin.port)];
  await first.ask("GET", query("polling", ""), poll, /\}$/);
  const sid = /"sid":"([\w-]{20})"/.exec(first.got)[1];
  await raw.ask("GET", query("websocket", sid), websocket, /\r\n\r\n$/);
  raw.say("2probe");
  await raw.hears(/3probe$/);
  raw.say("5");
  await talk(siskin, raw, packet);
  for (const { socket } of [first, raw]) socket.destroy();
  return first.got + raw.got;
}

/** What differs from run to run. */
const masked = (text) => text.replace(/[\w-]{20}(?=")/g, "sid").replace(/date: [^\r]*/gi, "date").replace(/127\.0\.0\.1:\d+/g, "host");

test("with recovery they get what they get without it, byte for byte", async (t) => {
  const start = (SISKIN_RECOVERY) => startSiskin({ env: { SISKIN_RECOVERY } });
  const [on, off] = [await start("browsers"), await start("off")];
  t.after(() => Promise.all([on.close(), off.close()]));
  for (const [name, client] of Object.entries(clients)) {
    const ways = { poll: client.poll && poll, websocket, both: client.poll && both };
    for (const [way, play] of Object.entries(ways)) {
      if (!play) continue;
      const seen = [];
      for (const siskin of [on, off]) {
        seen.push(masked(await play(siskin, client)));
        await waitFor(async () => (await siskin.api("GET", "/sessions")).sessions.length === 0, { what: "its end" });
      }
      assert.equal(seen[0], seen[1], `${name}, ${way}`);
      assert.ok(seen[0].includes('40{"sid":"sid"}') && seen[0].includes('42["news",{"text":"Ã©"}]'), `${name}, ${way}: ${seen[0]}`);
    }
  }
});
