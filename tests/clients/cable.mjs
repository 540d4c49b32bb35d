// A cable between clients and siskin that can be cut, be dead without anybody noticing, or break after so many bytes.

import { connect, createServer } from "node:net";

/** Listens on a port of its own and hands everything on to `port`. */
export async function layCable(t, port) {
  const cable = new Cable(port);
  await new Promise((resolve) => cable.server.listen(0, "127.0.0.1", resolve));
  t.after(() => (cable.cut(), cable.server.close()));
  cable.ownPort = cable.server.address().port;
  cable.url = `http://127.0.0.1:${cable.ownPort}`;
  return cable;
}

class Cable {
  constructor(port) {
    this.pairs = new Set();
    this.broken = false;
    // Bytes that still pass to the clients, of all connections that are made from now on together.
    this.left = Infinity;
    // Where it leads.
    this.to = port;
    this.server = createServer((client) => {
      if (this.broken) return client.destroy();
      this.#join(client, connect(this.to, "127.0.0.1"));
    });
  }

  #join(client, server) {
    const pair = { client, server, dead: false };
    this.pairs.add(pair);
    const end = () => {
      this.pairs.delete(pair);
      if (!pair.dead) (client.destroy(), server.destroy());
    };
    for (const socket of [client, server]) socket.on("error", () => {}).on("close", end).setNoDelay(true);
    client.on("data", (data) => pair.dead || server.write(data));
    server.on("data", (data) => pair.dead || this.#pass(pair, data));
  }

  #pass(pair, data) {
    pair.client.write(data.subarray(0, this.left));
    this.left -= Math.min(this.left, data.length);
    if (this.left === 0) pair.client.end(() => this.cut());
  }

  /** Nothing passes to the clients for a while, or does again. */
  stall(stalled) {
    for (const { server } of this.pairs) stalled ? server.pause() : server.resume();
  }

  /** Nothing passes in either direction for a while, or does again. */
  hold(held) {
    this.stall(held);
    for (const { client } of this.pairs) held ? client.pause() : client.resume();
  }

  /** Ends all connections. */
  cut() {
    for (const { client, server } of this.pairs) (client.destroy(), server.destroy());
  }

  /** The client's side ends; the server hears nothing of it. */
  halve() {
    for (const pair of this.pairs) {
      pair.dead = true;
      pair.client.destroy();
    }
  }
}
