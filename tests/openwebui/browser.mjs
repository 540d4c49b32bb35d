// A page of a user, as far as its socket goes: says what it hears, one JSON line each, and emits what it is told.

import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const [url, token] = process.argv.slice(2);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const socket = io(url, { path: "/ws/socket.io", transports: ["websocket"], auth: { token }, reconnection: false });

socket.on("connect", () => say(["connect", socket.id]));
socket.on("connect_error", (error) => say(["connect_error", error.message]));
socket.on("disconnect", (reason) => say(["disconnect", reason]));
const questions = [];
socket.onAny((name, ...args) => {
  if (typeof args.at(-1) !== "function") return say(["heard", name, ...args]);
  questions.push(args.pop());
  say(["asked", questions.length - 1, name, ...args]);
});

// A line is [id, event, ...args]; the answer to it is ["ack", id, answer]. [{number}, answer] answers what was asked.
for await (const line of createInterface({ input: process.stdin })) {
  const [id, event, ...args] = JSON.parse(line);
  if (typeof id === "object" && id !== null) {
    questions[id.number](event);
    continue;
  }
  const answer = id === null ? undefined : (...answer) => say(["ack", id, ...answer]);
  socket.emit(event, ...args, ...(answer ? [answer] : []));
}
socket.close();
