// A network between a page and siskin that the test owns: it can stall both ways, and be cut.

import { connect, createServer } from "node:net";

export async function startProxy(port) {
  const pairs = new Set();
  let state = "flows";
  const server = createServer((near) => {
    if (state === "cut") return near.on("error", () => {}).resetAndDestroy();
    const far = connect(port, "127.0.0.1");
    const pair = [near, far];
    pairs.add(pair);
    const end = () => (pairs.delete(pair), pair.forEach((socket) => socket.destroy()));
    pair.forEach((socket) => socket.on("error", end).on("close", end));
    if (state === "flows") near.pipe(far).pipe(near);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const url = `http://127.0.0.1:${server.address().port}`;
  const stop = ([near, far]) => (near.unpipe(far).pause(), far.unpipe(near).pause());
  return {
    url,
    /** Nothing passes any more, in either direction; connections stay open. */
    stall: () => ((state = "stalls"), pairs.forEach(stop)),
    cut: () => ((state = "cut"), pairs.forEach((pair) => pair.forEach((socket) => socket.resetAndDestroy()))),
    heal: () => (state = "flows"),
    close: () => (pairs.forEach((pair) => pair.forEach((socket) => socket.destroy())), new Promise((closed) => server.close(closed))),
  };
}
