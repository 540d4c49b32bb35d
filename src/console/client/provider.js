// A Yjs provider: keeps a Y.Doc and its awareness in step with everybody who has the document open.

import { Emitter } from "./emitter.js";

/** Local edits are collected for so long before they are sent. */
const GATHER = 40;
/** A note's content is sent so long after the last edit. */
const SAVE = 300;
/** What did not change for so long has been saved. */
const SETTLED = 2_000;
/** An update that says nothing. */
const EMPTY = 2;

export class SiskinProvider extends Emitter {
  /** @type {"connecting" | "synced" | "offline" | "denied" | "readonly"} */
  status = "connecting";
  /** What the server keeps of the note, as it was when the document was opened. */
  content = null;
  /** Sids that have it open. */
  sessions = [];
  #client;
  #Y;
  #protocol;
  #options;
  #pending = [];
  /** Updates that the server has not taken yet; when the document changed last; whether all of it was saved when the connection was lost. */
  #sending = 0;
  #changed = 0;
  #settled = false;
  #timers = {};
  #stops = [];
  #destroyed = false;

  /** `Y` is yjs, `awareness` is y-protocols/awareness: they must be those that the editor uses. */
  constructor(client, id, doc, { Y, awareness, ...options }) {
    super();
    Object.assign(this, { id: id.replace(/^note_/, "note:"), doc });
    this.#client = client;
    this.#Y = Y;
    this.#protocol = awareness;
    this.#options = options;
    this.awareness = new awareness.Awareness(doc);
    this.#listen();
    if (client.online) this.#join();
  }

  get synced() {
    return this.status === "synced" || this.status === "readonly";
  }

  /** Leaves the document. What was typed is sent before. */
  destroy() {
    this.#flush();
    this.#save();
    this.awareness.setLocalState(null);
    if (this.#client.online) this.#client.socket.emit("ydoc:document:leave", { document_id: this.id });
    this.#stops.forEach((stop) => stop());
    Object.values(this.#timers).forEach(clearTimeout);
    this.awareness.destroy();
    this.#destroyed = true;
  }

  #listen() {
    const { socket } = this.#client;
    const here = (name, take) => {
      const listener = (event) => event?.document_id === this.id && take(event);
      socket.on(name, listener);
      this.#stops.push(() => socket.off(name, listener));
    };
    here("ydoc:document:state", (event) => this.#state(event));
    here("ydoc:document:update", ({ update }) => this.#apply(update));
    here("ydoc:awareness:update", ({ update }) => this.#protocol.applyAwarenessUpdate(this.awareness, bytes(update), this));
    here("ydoc:user:joined", (event) => (this.emit("joined", event), this.#greet()));
    here("ydoc:user:left", (event) => this.emit("left", event));
    const edited = (update, origin) => ((this.#changed = Date.now()), origin !== this && this.#edited(update));
    const moved = ({ added, updated, removed }, origin) => origin !== this && this.#sendAwareness([...added, ...updated, ...removed]);
    this.doc.on("update", edited);
    this.awareness.on("update", moved);
    const hidden = () => this.#part();
    globalThis.addEventListener?.("pagehide", hidden);
    this.#stops.push(
      () => this.doc.off("update", edited),
      () => this.awareness.off("update", moved),
      () => globalThis.removeEventListener?.("pagehide", hidden),
      this.#client.on("online", () => this.#join()),
      this.#client.on("state", (state) => state !== "online" && this.#offline()),
    );
  }

  #become(status) {
    if (this.status === status || this.#destroyed) return;
    this.status = status;
    this.emit("status", status);
  }

  /** The server answers a join with the state; it says nothing to who may not read. */
  async #join() {
    const { name, color } = this.#options.user ?? {};
    const join = { document_id: this.id, user_id: this.#client.user?.id, user_name: name, user_color: color };
    const answer = await this.#client.tell("ydoc:document:join", join).catch(() => null);
    if (answer?.length === 0 && !this.synced) this.#become("denied");
  }

  #offline() {
    if (this.synced) this.#settled = this.#isSettled();
    if (this.status !== "denied") this.#become("offline");
    const others = [...this.awareness.getStates().keys()].filter((id) => id !== this.doc.clientID);
    this.#protocol.removeAwarenessStates(this.awareness, others, this);
  }

  /** What they have is taken, what they lack is sent. An empty document gets its first content from us, if nobody is faster. */
  async #state({ state, sessions, content }) {
    const theirs = bytes(state);
    this.sessions = sessions ?? [];
    if (content !== undefined) this.content = content;
    if (this.synced) this.#settled = this.#isSettled();
    const old = this.#take(theirs);
    this.#become("synced");
    const missing = this.#lackedBy(theirs);
    if (missing && !old) this.#saveLater();
    if (theirs.length <= EMPTY) await this.#seed(missing ?? this.#firstContent());
    else if (missing) this.#send(missing);
    this.#greet();
    this.emit("synced");
  }

  /**
   * Takes what they have. While we were away everybody left, or the server died, and somebody began the document anew from
   * what was saved: there all that we have would stand twice. Ours goes, unless something in it may not have been saved.
   * Whether it went.
   */
  #take(theirs) {
    const Y = this.#Y;
    const known = Y.decodeStateVector(Y.encodeStateVectorFromUpdate(theirs));
    const ours = Y.decodeStateVector(Y.encodeStateVector(this.doc));
    const old = this.#settled && known.size > 0 && ours.size > 0 && ![...ours.keys()].some((client) => known.has(client));
    if (known.size) this.#settled = false;
    if (old) this.doc.transact(() => this.doc.share.forEach(empty), this);
    this.#apply(theirs);
    return old;
  }

  #isSettled() {
    return !this.#pending.length && !this.#sending && !this.#timers.save && Date.now() - this.#changed > SETTLED;
  }

  /** What is in our document and not in this state, as an update; `null` if nothing is. */
  #lackedBy(theirs) {
    const Y = this.#Y;
    const other = new Y.Doc();
    Y.applyUpdate(other, theirs);
    const same = Y.equalSnapshots(Y.snapshot(other), Y.snapshot(this.doc));
    const update = same ? null : Y.encodeStateAsUpdate(this.doc, Y.encodeStateVector(other));
    other.destroy();
    return update;
  }

  async #seed(first) {
    const won = first && (await this.#send(first, { initialize: true }));
    if (!won) return;
    this.#take(bytes(won));
    const missing = this.#lackedBy(bytes(won));
    if (missing) this.#send(missing);
  }

  #firstContent() {
    const { seed } = this.#options;
    if (!seed || this.content === null) return null;
    const doc = new this.#Y.Doc();
    seed(doc, this.content);
    const update = this.#Y.encodeStateAsUpdate(doc);
    return update.length > EMPTY ? update : null;
  }

  #apply(update) {
    this.#Y.applyUpdate(this.doc, bytes(update), this);
  }

  #edited(update) {
    this.#pending.push(update);
    this.#settled = false;
    this.#timers.gather ??= setTimeout(() => this.#flush(), GATHER);
    this.#saveLater();
  }

  #saveLater() {
    clearTimeout(this.#timers.save);
    this.#timers.save = setTimeout(() => this.#save(), SAVE);
  }

  /** Offline nothing is kept to be sent: coming back sends whatever the server lacks. */
  #flush() {
    clearTimeout(this.#timers.gather);
    this.#timers.gather = undefined;
    const updates = this.#pending.splice(0);
    if (updates.length && this.synced) this.#send(this.#Y.mergeUpdates(updates));
  }

  #save() {
    clearTimeout(this.#timers.save);
    if (!this.#timers.save || !this.synced || !this.#options.content) return;
    this.#timers.save = undefined;
    this.#client.socket.emit("ydoc:document:update", { document_id: this.id, data: this.#options.content(this.doc) });
  }

  /** Sends an update, and learns whether it was taken. Resolves to the answer. */
  async #send(update, more = {}) {
    const payload = { document_id: this.id, update: Array.from(update), ...more };
    this.#sending += 1;
    const answer = await this.#client.tell("ydoc:document:update", payload).catch(() => null);
    this.#sending -= 1;
    if (!this.synced || this.#destroyed) return;
    if (answer === null) return this.#compare();
    this.#become(answer.length ? "synced" : (await this.#isOpen()) ? "readonly" : "denied");
    return answer[0];
  }

  /** The connection stalls. Once it flows again, the state comes, and shows what is missing where. */
  #compare() {
    this.#client.socket.emit("ydoc:document:state", { document_id: this.id });
  }

  /** Shows who is here to those who came, or came back: they take only what is newer than what they knew. */
  #greet() {
    this.awareness.setLocalState(this.awareness.getLocalState());
  }

  /** The page goes: what was typed is sent, and nobody shall see a cursor there any more. */
  #part() {
    this.#flush();
    this.#save();
    this.#sendAwareness([this.doc.clientID], new Map());
  }

  /** Whether the server still lets us read. */
  async #isOpen() {
    const payload = { document_id: this.id, update: Array.from(this.#protocol.encodeAwarenessUpdate(this.awareness, [])) };
    const answer = await this.#client.tell("ydoc:awareness:update", payload).catch(() => null);
    return answer?.length !== 0;
  }

  #sendAwareness(clients, states) {
    const update = Array.from(this.#protocol.encodeAwarenessUpdate(this.awareness, clients, states));
    if (this.synced) this.#client.socket.emit("ydoc:awareness:update", { document_id: this.id, update });
  }
}

/** Takes everything out of a shared type. */
function empty(type) {
  if (type.clear) type.clear();
  else if (type.length) type.delete?.(0, type.length);
}

/** Bytes as they come: a list of numbers, or an attachment. */
function bytes(data) {
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  return data instanceof Uint8Array ? data : Uint8Array.from(data ?? []);
}
