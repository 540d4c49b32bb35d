// watch.mjs URL TOKEN: prints what a user's socket receives, until an answer is done.

import { io } from "socket.io-client";

const [url, token] = process.argv.slice(2);
const socket = io(url, { path: "/ws/socket.io", auth: { token } });
const giveUp = setTimeout(() => fail("nothing arrived in 20 s"), 20_000);

function fail(why) {
  console.error(why);
  process.exit(1);
}

socket.on("connect_error", (error) => fail(`can't connect: ${error.message}`));
socket.on("connect", async () => {
  const user = await socket.emitWithAck("user-join", { auth: { token } });
  console.log(`connected as ${user.name} over ${socket.io.engine.transport.name}, socket ${socket.id}`);
});
socket.on("events", ({ data }) => {
  if (data.type === "message") process.stdout.write(data.data.content);
  if (data.type !== "chat:completion" || !data.data.done) return;
  console.log("\n(done)");
  clearTimeout(giveUp);
  socket.disconnect();
});
