// An answer that is read over HTTP, as server-sent events: so far, live, cut, resumed, done.

import assert from "node:assert/strict";
import { request } from "node:http";
import { connect } from "node:net";
import { test } from "node:test";
import { io } from "socket.io-client";
import { startRedis } from "../browser/redis.mjs";
import { apiKey, sleep, startSiskin, waitFor } from "../harness.mjs";

async function start(t, env) {
  const siskin = await startSiskin({ env });
  t.after(() => siskin.close());
  return siskin;
}

const chat = async (siskin, id = "c1", more = {}) => {
  await siskin.api("PUT", `/chats/${id}`, { user_id: "ann", title: "T", ...more });
  await siskin.api("PUT", `/chats/${id}/messages/m1`, { role: "assistant", content: "" });
};
const says = (siskin, content, more = {}) => emits(siskin, { type: "message", data: { content } }, more);
const emits = (siskin, event, more = {}) => siskin.api("POST", "/chat/event", { user_id: "ann", chat_id: "c1", message_id: "m1", event, ...more });
const done = { type: "chat:completion", data: { done: true } };
const path = (query = {}) => `/api/v1/chat/stream?${new URLSearchParams({ chat_id: "c1", message_id: "m1", ...query })}`;

/** Reads until the server ends it or `close()`; `events` as they came, `text`: the answer as a page would show it. */
async function read(t, siskin, { query, token = apiKey, last } = {}) {
  const headers = { authorization: `Bearer ${token}`, ...(last && { "last-event-id": last }) };
  const asked = request(siskin.url + path(query), { headers, agent: false });
  const reader = { events: [], text: "", comments: 0, last, ended: false };
  reader.close = () => asked.destroy();
  t.after(reader.close);
  asked.on("error", () => {}).end();
  const answer = await new Promise((resolve) => asked.on("response", resolve));
  Object.assign(reader, { status: answer.statusCode, headers: answer.headers, answer });
  let rest = "";
  answer.setEncoding("utf8").on("error", () => {}).on("close", () => (reader.ended = true));
  answer.on("data", (data) => {
    const parts = (rest + data).split("\n\n");
    rest = parts.pop();
    for (const part of parts) take(reader, part);
  });
  if (reader.status === 200) await waitFor(() => reader.events.length, { what: "a beginning" });
  return reader;
}

function take(reader, part) {
  if (part.startsWith(":")) return (reader.comments += 1);
  const fields = Object.fromEntries(part.split("\n").map((line) => line.split(/: (.*)/s)));
  const event = { name: fields.event ?? "message", id: fields.id, data: JSON.parse(fields.data) };
  reader.last = event.id ?? reader.last;
  reader.events.push(event);
  const say = ({ type, data }) => {
    if (type === "message") reader.text += data.content;
    if (type === "replace") reader.text = data.content;
  };
  if (event.name === "message") say(event.data);
  if (event.name === "start" && !event.data.resumed) {
    reader.text = event.data.message?.content ?? "";
    event.data.events.forEach(say);
  }
}

const has = (reader, text) => waitFor(() => reader.text === text, { what: `"${text}", not "${reader.text}"` });
const over = (reader) => waitFor(() => reader.ended, { what: "the end" });
const end = (reader) => reader.events.at(-1);

test("what is saved so far, then each event, until it is done; then there is nothing more", async (t) => {
  const siskin = await start(t);
  await chat(siskin);
  await says(siskin, "One ");
  const reader = await read(t, siskin);
  assert.deepEqual([reader.headers["content-type"], reader.headers["cache-control"], reader.headers["x-accel-buffering"]], ["text/event-stream", "no-store", "no"]);
  assert.deepEqual(reader.events[0].data.message, { id: "m1", role: "assistant", content: "One " });
  await says(siskin, "two\nlines \u2028");
  await emits(siskin, { type: "status", data: { description: "s" } });
  await says(siskin, "other", { message_id: "m2" });
  await has(reader, "One two\nlines \u2028");
  await waitFor(() => reader.events.length === 3, { what: "the status" });
  await emits(siskin, done);
  await over(reader);
  assert.deepEqual(end(reader), { name: "end", id: undefined, data: { reason: "done" } });
  assert.equal((await read(t, siskin, { last: reader.last })).status, 204);
  const late = await read(t, siskin);
  await over(late);
  assert.deepEqual([late.text, end(late).name], ["One two\nlines \u2028", "end"]);
});

test("the end of the request that streams an answer is its end; so is a message that is saved as done", async (t) => {
  const siskin = await start(t);
  await chat(siskin);
  const reader = await read(t, siskin);
  const lines = ["a", "b", "c"].map((content) => JSON.stringify({ type: "message", data: { content } }));
  const url = `${siskin.url}/api/v1/chat/stream?user_id=ann&chat_id=c1&message_id=m1`;
  const headers = { authorization: `Bearer ${apiKey}`, "content-type": "application/x-ndjson" };
  assert.ok((await fetch(url, { method: "POST", headers, body: lines.join("\n") })).ok);
  await over(reader);
  assert.deepEqual([reader.text, end(reader).name], ["abc", "end"]);
  await siskin.api("PUT", "/chats/c1/messages/m2", { content: "all", done: true });
  const saved = await read(t, siskin, { query: { message_id: "m2" } });
  await over(saved);
  assert.deepEqual([saved.text, end(saved).name], ["all", "end"]);
});

for (const kept of [true, false]) {
  test(`cut at any moment and resumed: no gap, no double (${kept ? "from the ring" : "without it"})`, async (t) => {
    const siskin = await start(t, kept ? {} : { SISKIN_RECOVERY: "off" });
    await chat(siskin);
    let [reader, whole, resumed] = [await read(t, siskin), "", 0];
    for (let round = 0; round < 30; round++) {
      const [before, during] = [`${round}.`, `(${round})`];
      for (const word of [before, "x".repeat(round * 40)]) await says(siskin, word);
      whole += before + "x".repeat(round * 40);
      if (round % 3 === 0) await has(reader, whole);
      reader.close();
      if (round % 2) await says(siskin, during);
      whole += round % 2 ? during : "";
      const { text, last } = reader;
      const again = await read(t, siskin, { last });
      const { resumed: goesOn } = again.events[0].data;
      resumed += goesOn;
      if (goesOn) again.text = text + again.text;
      reader = again;
      await has(reader, whole);
    }
    assert.equal(resumed, kept ? 30 : 0);
    await emits(siskin, done);
    await over(reader);
    assert.equal((await siskin.api("GET", "/chats/c1/messages/m1")).content, whole);
  });
}

test("what was missed may be more than may wait for who is slow", async (t) => {
  const siskin = await start(t, { SISKIN_OUTBOX_BYTES: "64 KiB" });
  await chat(siskin);
  const reader = await read(t, siskin);
  await says(siskin, "one ");
  await has(reader, "one ");
  reader.close();
  for (let n = 0; n < 10; n++) await says(siskin, "x".repeat(50_000));
  const next = await read(t, siskin, { last: reader.last });
  await has(next, "x".repeat(500_000));
  assert.equal(next.events[0].data.resumed, true);
});

test("where it was is told by `after`, too; what can't be gone on from begins anew", async (t) => {
  const siskin = await start(t, { SISKIN_RECOVERY_BYTES: "64 KiB" });
  await chat(siskin);
  const reader = await read(t, siskin);
  await says(siskin, "one ");
  await has(reader, "one ");
  reader.close();
  await says(siskin, "two ");
  const next = await read(t, siskin, { query: { after: reader.last } });
  assert.deepEqual([next.events[0].data, await has(next, "two ").then(() => next.text)], [{ resumed: true }, "two "]);
  next.close();
  for (let n = 0; n < 20; n++) await says(siskin, "x".repeat(10_000));
  for (const last of [next.last, "AAAAAAAB", "no number"]) {
    const anew = await read(t, siskin, { last });
    assert.equal(anew.events[0].data.resumed, false);
    await has(anew, `one two ${"x".repeat(200_000)}`);
    anew.close();
  }
});

test("a chat that is not saved: what is kept of it, for its user alone", async (t) => {
  const siskin = await start(t);
  const more = { chat_id: "temporary:1" };
  const query = { ...more, user_id: "ann" };
  const token = siskin.token("ann");
  const socket = io(siskin.url, { path: "/ws/socket.io", auth: { token, recover: true }, transports: ["websocket"], forceNew: true });
  t.after(() => socket.close());
  await new Promise((resolve) => socket.on("connect", resolve));
  await socket.timeout(5000).emitWithAck("user-join", { auth: { token } });
  await says(siskin, "kept ", more);
  const readers = await Promise.all([read(t, siskin, { query }), read(t, siskin, { query: more, token })]);
  const bob = await read(t, siskin, { query: more, token: siskin.token("bob") });
  await says(siskin, "live", more);
  for (const reader of readers) await has(reader, "kept live");
  assert.deepEqual([bob.text, bob.events.length], ["", 1]);
});

test("who may read: the key, the owner, whom the chat is shared with; until they may not", async (t) => {
  const siskin = await start(t);
  const shared = { access_grants: [{ principal_type: "user", principal_id: "bob", permission: "read" }] };
  await chat(siskin, "c1", shared);
  const [ann, bob] = await Promise.all(["ann", "bob"].map((user) => read(t, siskin, { token: siskin.token(user) })));
  assert.equal((await read(t, siskin, { token: siskin.token("eve") })).status, 404);
  const status = { type: "status", data: { description: "s" } };
  await emits(siskin, status);
  for (const reader of [ann, bob]) await waitFor(() => reader.events.length === 2, { what: "a status" });
  assert.deepEqual(ann.events[1].data, bob.events[1].data);
  await siskin.api("PUT", "/chats/c1", { user_id: "ann", title: "T" });
  await over(bob);
  assert.equal((await read(t, siskin, { token: siskin.token("bob") })).status, 404);
  await siskin.api("DELETE", "/users/ann/sessions");
  await over(ann);
  assert.equal(end(ann).name, "message");
});

test("what is not as it should be is refused in words, as everywhere", async (t) => {
  const siskin = await start(t);
  await chat(siskin);
  const ask = async (method, where, token = apiKey) => {
    const answer = await fetch(siskin.url + where, { method, headers: token ? { authorization: `Bearer ${token}` } : {} });
    const kind = answer.headers.get("content-type");
    if (method !== "HEAD") assert.equal(kind, "application/problem+json", where);
    return [answer.status, method === "HEAD" ? "" : (await answer.json()).detail];
  };
  const wrong = [
    ["HEAD", path(), 405], ["PUT", path(), 405], ["GET", path({ x: 1 }), 422], ["GET", path({ after: "x" }), 422], ["GET", path({ message_id: "" }), 422],
    ["GET", "/api/v1/chat/stream?chat_id=c1", 422], ["GET", path({ chat_id: "channel:c" }), 422], ["GET", path({ chat_id: "nowhere" }), 404], ["GET", path({ chat_id: "local:x" }), 422],
    ["GET", path(), 401, ""], ["GET", path(), 401, "nonsense"], ["GET", path({ user_id: "bob" }), 422, siskin.token("ann")],
    ["GET", path(), 401, siskin.token("ann", "ann", "pending")], ["GET", path(), 401, siskin.token("ann", "ann", "user", { exp: 1 })],
  ];
  for (const [method, where, status, token] of wrong) assert.deepEqual([where, (await ask(method, where, token))[0]], [where, status]);
});

test("a page of another origin may read as it may connect", async (t) => {
  const siskin = await start(t, { CORS_ALLOW_ORIGIN: "https://chat.example" });
  await chat(siskin);
  const ask = async (origin, method = "GET") => {
    const headers = { origin, authorization: `Bearer ${siskin.token("ann")}`, "access-control-request-headers": "authorization" };
    const answer = await fetch(siskin.url + path(), { method, headers });
    await answer.body?.cancel();
    return [answer.status, answer.headers.get("access-control-allow-origin"), answer.headers.get("access-control-allow-headers")];
  };
  assert.deepEqual(await ask("https://chat.example"), [200, "https://chat.example", null]);
  assert.deepEqual(await ask("https://chat.example", "OPTIONS"), [204, "https://chat.example", "authorization"]);
  assert.deepEqual((await ask("https://else.example")).slice(1), [null, null]);
});

test("a user reads so many at a time, and whoever goes makes room at once", async (t) => {
  const siskin = await start(t);
  await chat(siskin);
  const token = siskin.token("ann");
  const readers = await Promise.all(Array.from({ length: 16 }, () => read(t, siskin, { token })));
  const refused = await read(t, siskin, { token });
  assert.deepEqual([refused.status, refused.headers["retry-after"]], [429, "5"]);
  assert.equal((await read(t, siskin)).status, 200);
  readers[0].close();
  await waitFor(async () => (await read(t, siskin, { token })).status === 200, { what: "room" });
});

test("who reads too slowly is cut off, costs nobody else, and may go on", async (t) => {
  const siskin = await start(t, { SISKIN_OUTBOX_BYTES: "64 KiB" });
  await chat(siskin);
  const fast = await read(t, siskin);
  const slow = connect(siskin.port, "127.0.0.1");
  t.after(() => slow.destroy());
  slow.write(`GET ${path()} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${apiKey}\r\n\r\n`);
  await new Promise((resolve) => slow.once("data", resolve));
  slow.pause();
  let whole = "";
  for (let n = 0; n < 300; n++) {
    const word = `${n} ${"x".repeat(40_000)}`;
    await says(siskin, word, { save: false });
    whole += word;
  }
  await has(fast, whole);
  let came = 0;
  slow.on("data", (data) => (came += data.length)).resume();
  await new Promise((resolve) => slow.on("end", resolve));
  assert.ok(came < whole.length, `${came} of ${whole.length}`);
});

test("a server that goes down lets readers go at once; the next one begins anew, with what is saved", async (t) => {
  const siskin = await start(t);
  await chat(siskin);
  await says(siskin, "one");
  const reader = await read(t, siskin);
  const began = Date.now();
  await siskin.stop();
  await over(reader);
  assert.ok(Date.now() - began < 8000, "before all the time is over");
  await siskin.start();
  const next = await read(t, siskin, { last: reader.last });
  await has(next, "one");
});

test("HTTP/1.0, and a connection that waited before: what comes is the same", async (t) => {
  const siskin = await start(t);
  await chat(siskin);
  await says(siskin, "old");
  const socket = connect(siskin.port, "127.0.0.1");
  t.after(() => socket.destroy());
  let came = "";
  socket.on("data", (data) => (came += data));
  socket.write(`GET ${path()} HTTP/1.0\r\nAuthorization: Bearer ${apiKey}\r\n\r\n`);
  await waitFor(() => came.includes("\n\n"), { what: "a beginning" });
  await emits(siskin, done);
  await new Promise((resolve) => socket.on("end", resolve));
  assert.ok(came.endsWith('event: end\ndata: {"reason":"done"}\n\n'), came);
  assert.ok(!came.includes("chunked"));
});

test("over Redis: an answer that another instance streams, for a user without a socket here, and its end", async (t) => {
  const redis = await startRedis(t);
  const env = { WEBSOCKET_MANAGER: "redis", WEBSOCKET_REDIS_URL: redis.url };
  const [one, two] = [await start(t, env), await start(t, env)];
  const more = { chat_id: "local:1" };
  const readers = [await read(t, two, { query: { ...more, user_id: "ann" } }), await read(t, two, { query: more, token: two.token("ann") })];
  await sleep(300);
  await says(one, "from ", more);
  for (const reader of readers) await has(reader, "from ");
  readers[0].close();
  await says(one, "afar", more);
  const again = await read(t, two, { query: { ...more, user_id: "ann" }, last: readers[0].last });
  await has(again, "afar");
  const url = `${one.url}/api/v1/chat/stream?user_id=ann&chat_id=local:1&message_id=m1`;
  const body = JSON.stringify({ type: "message", data: { content: "!" } });
  await fetch(url, { method: "POST", headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/x-ndjson" }, body });
  for (const reader of [again, readers[1]]) await over(reader);
  assert.deepEqual([again.text, readers[1].text], ["afar!", "from afar!"]);
});
