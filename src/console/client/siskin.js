// The browser's half of a chat application's live connection: one socket, and what arrives on it, sorted.
//
//   import { connect } from "/client/siskin.js";
//   const client = connect({ token });
//   client.chats.open("chat-id").on("message", ({ content }) => append(content));
//
// Types and their meaning are in siskin.d.ts.

import { io as vendored } from "./socket.io.js";
import { Calls } from "./calls.js";
import { Channels } from "./channels.js";
import { Chats } from "./chats.js";
import { Emitter } from "./emitter.js";

export { SiskinProvider } from "./provider.js";

const HEARTBEAT = 30_000;
/** A server that takes the token says so within this time; one that doesn't says nothing. */
const JOIN_TIMEOUT = 5_000;
const USAGE = 1_000;
const COME_BACK = 1_000;

/** Opens the connection. It comes back by itself until `close()`. */
export function connect(options) {
  return new Client(options);
}

const visible = () => typeof document === "undefined" || document.visibilityState === "visible";

class Client extends Emitter {
  /** @type {"connecting" | "online" | "offline" | "refused" | "ended"} */
  state = "connecting";
  user = null;
  #token;
  #heartbeat;
  #again = false;

  constructor({ url, token, io = vendored, path = "/ws/socket.io", isFocused = visible, ...more }) {
    super();
    this.#token = token;
    this.isFocused = isFocused;
    this.socket = io(url, {
      path,
      transports: ["websocket", "polling"],
      tryAllTransports: true,
      reconnection: true,
      reconnectionDelay: 1000,
      reconnectionDelayMax: 5000,
      randomizationFactor: 0.5,
      forceNew: true,
      ...more,
      auth: (give) => give({ token: this.#token }),
    });
    this.calls = new Calls(this);
    this.chats = new Chats(this);
    this.channels = new Channels(this);
    this.#listen();
  }

  get id() {
    return this.socket.id;
  }

  get online() {
    return this.state === "online";
  }

  /** Shows another token, after the first one was refused or has expired. */
  signIn(token) {
    this.#token = token;
    if (this.socket.connected) return this.#join();
    this.socket.connect();
  }

  /** Emits and waits for the ack. Rejects when there is none in time: that is how a server refuses. */
  ask(event, payload, timeout = 10_000) {
    return this.socket.timeout(timeout).emitWithAck(event, payload);
  }

  /** Enters the rooms of all channels of the user, after one was made. */
  joinChannels() {
    this.socket.emit("join-channels", { auth: { token: this.#token } });
  }

  /** Hears of a note's saves. Returns a function that ends it. */
  watchNote(id, listener) {
    const join = () => this.socket.emit("join-note", { auth: { token: this.#token }, note_id: id });
    const heard = (note) => note?.id === id && listener(note);
    const stop = this.on("online", join);
    this.socket.on("events:note", heard);
    if (this.online) join();
    return () => (stop(), this.socket.off("events:note", heard));
  }

  /** Tells that a model is in use, until the returned function is called. */
  useModel(model) {
    const ping = () => this.online && this.socket.emit("usage", { model });
    ping();
    const timer = setInterval(ping, USAGE);
    return () => clearInterval(timer);
  }

  close() {
    this.#stop();
    this.socket.disconnect();
    this.#become("ended", "closed here");
  }

  #listen() {
    const { socket } = this;
    socket.on("connect", () => this.#connected());
    socket.on("disconnect", (reason) => this.#disconnected(reason));
    socket.on("connect_error", (error) => this.#become(socket.active ? "offline" : "ended", error.message));
    socket.on("access:updated", () => (this.#again = true));
    socket.on("error", (error) => this.emit("error", String(error?.message ?? error)));
  }

  #connected() {
    this.#stop();
    this.#heartbeat = setInterval(() => this.#beat(), HEARTBEAT);
    this.#again = false;
    return this.#join();
  }

  #beat() {
    if (this.online) this.socket.emit("heartbeat", {});
    else if (this.socket.connected) this.#join();
  }

  async #join() {
    const { socket } = this;
    const { id } = socket;
    try {
      const user = await this.ask("user-join", { auth: { token: this.#token } }, JOIN_TIMEOUT);
      if (socket.id !== id) return;
      this.user = user;
      this.#become("online");
      this.emit("online", user);
    } catch {
      if (socket.id === id && socket.connected) this.#become("refused", "the server did not accept the token");
    }
  }

  #disconnected(reason) {
    this.#stop();
    if (reason === "io client disconnect") return;
    const final = reason === "io server disconnect";
    if (final && this.#again) setTimeout(() => this.socket.connect(), COME_BACK);
    this.#become(final && !this.#again ? "ended" : "offline", reason);
  }

  #stop() {
    clearInterval(this.#heartbeat);
  }

  #become(state, reason = "") {
    if (this.state === "ended" && reason === "io client disconnect") return;
    this.state = state;
    this.emit("state", state, reason);
  }
}
