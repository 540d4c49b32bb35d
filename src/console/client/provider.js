// A Yjs provider: keeps a Y.Doc and its awareness in step with everybody who has the document open.

import { Emitter } from "./emitter.js";

/** Local edits are collected for so long before they are sent. */
const GATHER = 40;
/** A note's content is sent so long after the last edit. */
const SAVE = 300;
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
  #timers = {};
  #stops = [];

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
    here("ydoc:user:joined", (event) => (this.emit("joined", event), this.#sendAwareness([this.doc.clientID])));
    here("ydoc:user:left", (event) => this.emit("left", event));
    const edited = (update, origin) => origin !== this && this.#edited(update);
    const moved = ({ added, updated, removed }, origin) => origin !== this && this.#sendAwareness([...added, ...updated, ...removed]);
    this.doc.on("update", edited);
    this.awareness.on("update", moved);
    this.#stops.push(
      () => this.doc.off("update", edited),
      () => this.awareness.off("update", moved),
      this.#client.on("online", () => this.#join()),
      this.#client.on("state", (state) => state !== "online" && this.#offline()),
    );
  }

  #become(status) {
    if (this.status === status) return;
    this.status = status;
    this.emit("status", status);
  }

  /** The server answers a join with the state; it says nothing to who may not read. */
  async #join() {
    const { name, color } = this.#options.user ?? {};
    const join = { document_id: this.id, user_id: this.#client.user?.id, user_name: name, user_color: color };
    try {
      await this.#client.ask("ydoc:document:join", join);
    } catch {
      if (this.#client.online && !this.synced) this.#become("denied");
    }
  }

  #offline() {
    if (this.status !== "denied") this.#become("offline");
    const others = [...this.awareness.getStates().keys()].filter((id) => id !== this.doc.clientID);
    this.#protocol.removeAwarenessStates(this.awareness, others, this);
  }

  /** What they have is taken, what they lack is sent. An empty document gets its first content from us, if nobody is faster. */
  async #state({ state, sessions, content }) {
    const Y = this.#Y;
    const theirs = bytes(state);
    this.sessions = sessions ?? [];
    if (content !== undefined) this.content = content;
    this.#apply(theirs);
    const mine = Y.encodeStateAsUpdate(this.doc, Y.encodeStateVectorFromUpdate(theirs));
    this.#become("synced");
    if (theirs.length <= EMPTY) await this.#seed(mine);
    else if (mine.length > EMPTY) this.#send(mine);
    this.#sendAwareness([this.doc.clientID]);
    this.emit("synced");
  }

  async #seed(mine) {
    const first = mine.length > EMPTY ? mine : this.#firstContent();
    if (!first) return;
    const won = await this.#send(first, { initialize: true });
    if (!won) return;
    this.#apply(won);
    const more = this.#Y.encodeStateAsUpdate(this.doc, this.#Y.encodeStateVectorFromUpdate(bytes(won)));
    if (more.length > EMPTY) this.#send(more);
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
    this.#timers.gather ??= setTimeout(() => this.#flush(), GATHER);
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

  /** Sends an update, and learns whether it was taken: the next event is answered, a refused one never. */
  async #send(update, more = {}) {
    const { socket } = this.#client;
    let answer;
    const payload = { document_id: this.id, update: Array.from(update), ...more };
    socket.emit("ydoc:document:update", payload, (taken) => (answer = { taken }));
    await this.#sendAwareness([this.doc.clientID]);
    if (!this.synced) return;
    this.#become(answer ? "synced" : "readonly");
    return answer?.taken;
  }

  /** Resolves when the server has handled it; also when the connection is lost first. */
  async #sendAwareness(clients) {
    if (!this.synced) return;
    const update = Array.from(this.#protocol.encodeAwarenessUpdate(this.awareness, clients));
    await this.#client.ask("ydoc:awareness:update", { document_id: this.id, update }).catch(() => {});
  }
}

/** Bytes as they come: a list of numbers, or an attachment. */
function bytes(data) {
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  return data instanceof Uint8Array ? data : Uint8Array.from(data ?? []);
}
