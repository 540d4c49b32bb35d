// node's socket.io (with bufferutil) with the bench's contract.

import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http, { pingInterval: 25000, pingTimeout: 60000, cors: { origin: "*" } });

io.on("connection", (socket) => {
  socket.join("all");
  socket.on("echo", (...args) => args.pop()(...args));
  socket.on("join", (room, ack) => {
    socket.join(room);
    ack();
  });
  socket.on("broadcast", (text) => io.to("all").emit("msg", text));
  socket.on("stream", async (count, text) => {
    for (let n = 0; n < count; n++) {
      socket.emit("events", text);
      // One event a turn, as a backend's stream comes.
      if (n % 10 === 9) await new Promise(setImmediate);
    }
  });
});
http.listen(Number(process.argv[2]), "127.0.0.1");
