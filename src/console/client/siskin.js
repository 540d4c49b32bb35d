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
import { HEARTBEAT } from "./settings.js";

export { SiskinProvider } from "./provider.js";

/** A server that takes the token says so within this time; one that doesn't says nothing. */
const JOIN_TIMEOUT = 5_000;
/** Clocks differ by so much. */
const SKEW = 60;
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
  #joining;
  #reason = "";
  #told = "";
  #again = false;
  #missed = false;

  constructor({ url, token, io = vendored, path = "/ws/socket.io", isFocused = visible, read, ...more }) {
    super();
    this.#token = token;
    this.read = read;
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
      auth: (give) => give({ token: this.#token, recover: true }),
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
    if (!this.online) this.#become("connecting");
    if (this.socket.connected) return this.#join();
    this.socket.connect();
  }

  /** Emits and waits for the ack. Rejects when there is none in time: that is how a server refuses. */
  ask(event, payload, timeout = 10_000) {
    return this.socket.timeout(timeout).emitWithAck(event, payload);
  }

  /**
   * Emits and waits until the server has dealt with it: a list with its answer, an empty one if it refused, since it takes
   * events in their order and answers the next one. Rejects when there is no telling; an answer that comes after all goes to `late`.
   */
  async tell(event, payload, late) {
    const answer = [];
    let waits = true;
    this.socket.emit(event, payload, (value) => (waits ? (answer[0] = value) : late?.(value)));
    await this.ask("heartbeat", {}).finally(() => (waits = false));
    return answer;
  }

  /** Enters the rooms of all channels of the user, after one was made. */
  joinChannels() {
    this.socket.emit("join-channels", { auth: { token: this.#token } });
  }

  /** Hears of a note's changes from outside its document. Returns a function that ends it. */
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
    socket.on("error", (error) => this.#error(String(error?.message ?? error)));
  }

  #error(message) {
    if (!this.online) this.#told = message;
    this.emit("error", message);
  }

  #connected() {
    this.#stop();
    this.#heartbeat = setInterval(() => this.#beat(), HEARTBEAT);
    this.#again = false;
    // One loss that was not made good stays so, however often it comes back before it is signed in.
    this.#missed ||= this.user !== null && !this.socket.recovered;
    this.#join();
  }

  #beat() {
    if (this.online) this.socket.emit("heartbeat", {});
    else if (this.socket.connected) this.#join();
  }

  /** Signs in. Who is not accepted hears nothing; who is accepted late, is. */
  #join() {
    const { socket } = this;
    const { id } = socket;
    const here = (then) => (user) => socket.connected && socket.id === id && then(user);
    clearTimeout(this.#joining);
    this.#told = "";
    // A server that can't tell at the moment says so; the heartbeat asks it again.
    const silent = () => (this.#told ? this.#become("offline", this.#told) : this.#refused());
    this.#joining = setTimeout(here(silent), JOIN_TIMEOUT);
    socket.emit("user-join", { auth: { token: this.#token } }, here((user) => this.#accepted(user)));
  }

  #accepted(user) {
    if (!user?.id) return this.#refused();
    clearTimeout(this.#joining);
    const back = this.state !== "online" && this.user ? [!this.#missed] : [];
    this.#missed = false;
    this.user = user;
    this.#become("online", "", back);
    this.emit("online", user, ...back);
    if (back[0] === false) for (const what of ["chats", "tags", "channels"]) this.emit("refresh", what);
  }

  #refused() {
    const why = expired(this.#token) ? "the token has expired" : "the server did not accept the token";
    this.#become("refused", why);
  }

  #disconnected(reason) {
    this.#stop();
    if (reason === "io client disconnect") return;
    if (reason !== "io server disconnect") return this.#become("offline", reason);
    if (expired(this.#token)) return this.#refused();
    if (!this.#again) return this.#become("ended", reason);
    setTimeout(() => this.state === "offline" && this.socket.connect(), COME_BACK);
    this.#become("offline", reason);
  }

  #stop() {
    clearInterval(this.#heartbeat);
    clearTimeout(this.#joining);
  }

  #become(state, reason = "", more = []) {
    if (this.state === state && this.#reason === reason) return;
    [this.state, this.#reason] = [state, reason];
    this.emit("state", state, reason, ...more);
  }
}

/** Is the token's time over, as far as this browser knows? */
function expired(token) {
  try {
    const [, claims] = token.split(".");
    const { exp } = JSON.parse(atob(claims.replace(/-/g, "+").replace(/_/g, "/")));
    return exp <= Date.now() / 1000 + SKEW;
  } catch {
    return false;
  }
}
