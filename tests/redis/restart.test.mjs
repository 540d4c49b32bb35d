// An instance on Redis goes down and comes back, or doesn't: its clients take their sessions up with all that was emitted
// meanwhile, here or at another instance, or there is an honest no.

import assert from "node:assert/strict";
import { connect } from "node:net";
import { test } from "node:test";
import { random } from "../documents/editor.mjs";
import { manager, sleep, waitFor } from "../harness.mjs";
import { heardAll, lose, metric, open, start, startEmitter, tell } from "./site.mjs";

const ROUNDS = Number(process.env.SISKIN_ROUNDS ?? 4);

for (const channels of ["true", "false"]) {
  test(`restarted ${ROUNDS} times while others emit, with room channels ${channels}`, async (t) => {
    const site = await start(t, channels, {}, [await manager(t)]);
    const { redis, one, two } = site;
    const dice = random(16);
    const [socket, other] = [await open(t, site), await open(t, site, { transports: ["polling", "websocket"], user: "bob" })];
    const { id: sid } = socket;
    const elsewhere = startEmitter(t, redis);
    const told = { one: 0, two: 0, three: 0 };
    let goesOn = true;
    const emit = async (name, say) => {
      while (goesOn) {
        // While it goes down or comes up nobody knows whether it did what it was asked.
        if (name !== "one" || one.accepts) await say([name, ++told[name], "x".repeat(dice() < 0.1 ? 30_000 : 10)], told[name] % 3 ? "user" : "sid");
        await sleep(dice() < 0.5 ? 0 : dice() * 20);
      }
    };
    const to = (room) => (room === "user" ? { user_id: "ann" } : { session_id: sid });
    const busy = {};
    one.accepts = true;
    const emitters = [
      emit("one", (data, room) => (busy.one = tell(one, data, to(room)))),
      emit("two", (data, room) => tell(two, data, to(room))),
      emit("three", (data, room) => elsewhere(data, room === "user" ? "user:ann" : sid)),
    ];
    try {
      for (let round = 1; round <= ROUNDS; round++) {
        await sleep(dice() * 50);
        one.accepts = false;
        await busy.one;
        const { connects } = socket;
        await one.stop();
        await sleep(dice() * 100);
        await one.start();
        one.accepts = true;
        await waitFor(() => socket.connects > connects && socket.connected && other.connected, { what: "the clients back" });
        assert.deepEqual([round, socket.recovered, other.recovered, socket.id], [round, true, true, sid], one.log());
      }
    } finally {
      goesOn = false;
    }
    await Promise.all(emitters);
    const count = await heardAll(socket, told);
    t.diagnostic(`${count} events`);
  });
}

test("what may have been missed is an honest no: its connection was cut meanwhile, or nobody kept it", async (t) => {
  const { forget, ...how } = await manager(t);
  const site = await start(t, "true", {}, [how]);
  const { redis, one, two } = site;
  const socket = await open(t, site);
  const again = async (meanwhile) => {
    const { connects, id } = socket;
    await one.stop();
    await meanwhile();
    await one.start();
    await waitFor(() => socket.connects > connects, { what: "the client back" });
    const was = [socket.recovered, socket.id === id];
    await socket.timeout(5000).emitWithAck("user-join", { auth: { token: one.token("ann") } });
    return was;
  };
  assert.deepEqual(await again(() => tell(two, "missed")), [true, true]);
  await waitFor(() => socket.news.length === 1, { what: "what it missed" });
  // Its end waits in the socket behind what came before it.
  const deafen = async () => {
    await tell(two, "lost");
    const [, port] = /:(\d+)\//.exec(redis.url);
    const say = connect(Number(port), "127.0.0.1");
    await new Promise((done) => (say.once("data", done), say.write("CLIENT KILL TYPE pubsub\r\n")));
    say.destroy();
  };
  assert.deepEqual(await again(deafen), [false, false]);
  await waitFor(async () => (await fetch(`${one.url}/ready`)).ok, { what: "a subscriber" });
  assert.deepEqual(await again(forget), [false, false]);
  assert.match(one.log(), /what an earlier siskin left of its sessions is ignored: what is emitted elsewhere meanwhile may be lost/);
  assert.deepEqual(await again(() => tell(two, "missed again")), [true, true]);
  assert.equal(one.log().match(/\d+ sessions of before can be taken up again/g).length, 3, one.log());
});

test("restarted again before it has heard anything", async (t) => {
  const site = await start(t, "true", {}, [await manager(t)]);
  const { redis, one, two } = site;
  const socket = await open(t, site);
  const { id, connects } = socket;
  await one.stop();
  await tell(two, "first");
  redis.signal("SIGSTOP");
  await one.start();
  const down = one.stop();
  await waitFor(() => /going down/.test(one.log().split("listens on").at(-1)), { what: "its end" });
  await sleep(100);
  redis.signal("SIGCONT");
  await down;
  await tell(two, "second");
  await one.start();
  await waitFor(() => socket.connects > connects && socket.connected, { what: "the client back" });
  assert.deepEqual([socket.recovered, socket.id], [true, id], one.log());
  await waitFor(() => socket.news.length === 2, { what: "what it missed" });
  assert.deepEqual(socket.news, ["first", "second"]);
});

test("its clients go to another instance, and it goes once they have", async (t) => {
  const site = await start(t);
  const { one, two, cable } = site;
  const sockets = [await open(t, site), await open(t, site, { transports: ["polling"], user: "bob" })];
  const sids = sockets.map(({ id }) => id);
  const down = [];
  await lose(cable, sockets[0], async () => {
    cable.broken = false;
    cable.to = two.port;
    await tell(one, "before");
    down.push(one.stop());
    await tell(two, "meanwhile");
    await tell(two, "bobs", { user_id: "bob" });
  });
  await Promise.all(down);
  await waitFor(() => sockets.every(({ connected }) => connected), { what: "both" });
  assert.deepEqual(sockets.map(({ recovered }) => recovered), [true, true]);
  assert.deepEqual(sockets.map(({ id }) => id), sids);
  await tell(two, "after");
  await waitFor(() => sockets[0].news.length === 3 && sockets[1].news.length === 1, { what: "all of it" });
  assert.deepEqual([sockets[0].news, sockets[1].news], [["before", "meanwhile", "after"], ["bobs"]]);
  assert.equal(await metric(two, "siskin_away_sessions"), 0);
});
