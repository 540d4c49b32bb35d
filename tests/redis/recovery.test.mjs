// Sessions that lose their connection, with several instances: what the others emit meanwhile is not missed (who comes back at
// another one: moving.test.mjs).

import assert from "node:assert/strict";
import { connect } from "node:net";
import { test } from "node:test";
import { io } from "socket.io-client";
import { startRedis } from "../browser/redis.mjs";
import { layCable } from "../clients/cable.mjs";
import { startSiskin, waitFor } from "../harness.mjs";

async function redisCommand(url, command) {
  const { port } = new URL(url);
  const connection = connect(Number(port), "127.0.0.1", () => connection.write(`${command}\r\n`));
  await new Promise((resolve, reject) => connection.once("data", resolve).once("error", reject));
  connection.destroy();
}

for (const channels of ["true", "false"]) {
  test(`with room channels ${channels}`, async (t) => {
    const redis = await startRedis(t);
    const env = { WEBSOCKET_MANAGER: "redis", WEBSOCKET_REDIS_URL: redis.url, WEBSOCKET_REDIS_ROOM_CHANNELS: channels };
    const [one, two] = [await startSiskin({ env }), await startSiskin({ env })];
    t.after(() => Promise.all([one.close(), two.close()]));
    const cable = await layCable(t, one.port);
    const options = { path: "/ws/socket.io", transports: ["websocket"], auth: { token: one.token("ann"), recover: true }, reconnectionDelay: 20, reconnectionDelayMax: 50, forceNew: true };
    const socket = io(cable.url, options);
    t.after(() => socket.disconnect());
    const news = [];
    socket.on("news", (data) => news.push(data));
    await new Promise((resolve) => socket.once("connect", resolve));
    let sid = socket.id;
    await socket.timeout(5000).emitWithAck("user-join", { auth: { token: one.token("ann") } });
    const tell = (at, data, to = { user_id: "ann" }) => at.api("POST", "/emit", { event: "news", data, ...to });
    // What is published first and what is published second may come over two channels.
    let told = 0;
    const hears = async () => {
      const which = ++told;
      await tell(two, which, which % 2 ? { user_id: "ann" } : { session_id: sid });
    };
    await hears();
    await waitFor(() => news.length === 1, { what: "news from the other" });
    const lose = async (meanwhile) => {
      const [gone, back] = ["disconnect", "connect"].map((event) => new Promise((resolve) => socket.once(event, resolve)));
      cable.broken = true;
      cable.cut();
      await gone;
      await waitFor(async () => (await one.api("GET", "/sessions")).sessions.length === 0, { what: "its end" });
      await meanwhile();
      cable.broken = false;
      await back;
    };
    for (const round of [1, 2]) {
      await lose(async () => {
        for (let n = 0; n < 4; n++) await hears();
      });
      assert.deepEqual([round, socket.recovered, socket.id], [round, true, sid]);
      await waitFor(() => news.length === told, { what: "all news" });
      assert.deepEqual([...news].sort((a, b) => a - b), Array.from({ length: told }, (_, n) => n + 1));
      await hears();
      await waitFor(() => news.length === told, { what: "what follows" });
    }
    // What nobody heard nobody can be told: an honest no, and all is heard again.
    const subscribers = async () => {
      await redisCommand(redis.url, "CLIENT KILL TYPE pubsub");
      for (const each of [one, two]) await waitFor(async () => (await fetch(`${each.url}/ready`)).status === 503, { what: "a deaf subscriber" });
    };
    await lose(async () => {
      await subscribers();
      await hears();
      for (const each of [one, two]) await waitFor(async () => (await fetch(`${each.url}/ready`)).ok, { what: "subscribers" });
    });
    assert.deepEqual([socket.recovered, socket.id === sid], [false, false]);
    sid = socket.id;
    await socket.timeout(5000).emitWithAck("user-join", { auth: { token: one.token("ann") } });
    told = news.length;
    await lose(async () => {
      for (let n = 0; n < 4; n++) await hears();
    });
    assert.deepEqual([socket.recovered, socket.id], [true, sid]);
    await waitFor(() => news.length === told, { what: "all news" });
    await lose(() => (cable.to = two.port));
    assert.deepEqual([socket.recovered, socket.id], [true, sid]);
  });
}
