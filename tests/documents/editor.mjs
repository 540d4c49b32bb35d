// An editor of a shared document as browsers have it: a Yjs document behind a socket.

import { io } from "socket.io-client";
import * as Y from "yjs";
import { token, waitFor } from "../harness.mjs";

/** Random numbers from 0 to 1 (mulberry32): the same in every run, others with each SISKIN_SEED. */
export function random(what) {
  let seed = (what + 1000 * (process.env.SISKIN_SEED ?? 0)) | 0;
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** As many updates of one editor may be on their way. */
const WINDOW = 100;

export class Editor {
  /** `user` edits `documentId`; the constructor does not connect yet. `binary`: updates are sent as attachments. */
  constructor(siskin, user, documentId, { clientId, binary = false, dataEvery = 0 } = {}) {
    Object.assign(this, { siskin, user, documentId, binary, dataEvery });
    this.doc = new Y.Doc();
    if (clientId) this.doc.clientID = clientId;
    this.online = false;
    this.sent = 0;
    this.flying = 0;
    this.states = [];
    this.errors = [];
    this.notes = [];
    this.doc.on("update", (update, origin) => {
      if (origin !== this && this.online) this.send(update);
    });
  }

  /** Connects and signs in, but opens nothing. */
  async connect() {
    const auth = { token: token(this.user) };
    this.socket = io(this.siskin.url, { path: "/ws/socket.io", transports: ["websocket"], auth, forceNew: true, reconnection: false });
    this.socket.on("ydoc:document:state", (state) => this.states.push(state));
    this.socket.on("ydoc:document:update", ({ update }) => Y.applyUpdate(this.doc, Uint8Array.from(update), this));
    this.socket.on("error", ({ message }) => this.errors.push(message));
    this.socket.on("events:note", (note) => this.notes.push(note));
    await new Promise((resolve, reject) => this.socket.once("connect", resolve).once("connect_error", reject));
    await this.ask("user-join", { auth });
    return this;
  }

  /** An event and its ack. */
  ask(event, payload) {
    return this.socket.timeout(60_000).emitWithAck(event, payload);
  }

  /** Opens the document: takes its state, sends what it lacks. Returns the state as it came. */
  async join() {
    const before = this.states.length;
    await this.ask("ydoc:document:join", { document_id: this.documentId, user_color: "#123456" });
    const state = await waitFor(() => this.states[before], { what: "state" });
    const theirs = Uint8Array.from(state.state);
    Y.applyUpdate(this.doc, theirs, this);
    this.online = true;
    const missing = Y.encodeStateAsUpdate(this.doc, Y.encodeStateVectorFromUpdate(theirs));
    if (missing.length > 2) this.send(missing);
    return state;
  }

  async open() {
    await this.connect();
    return this.join();
  }

  /** What the note's saved `data` would be. */
  data() {
    const md = this.text.toString();
    return { content: { md, html: `<p>${md}</p>`, json: null } };
  }

  get text() {
    return this.doc.getText("text");
  }

  send(update, more = {}) {
    this.sent += 1;
    const payload = { document_id: this.documentId, update: this.binary ? Buffer.from(update) : Array.from(update) };
    if (this.dataEvery && this.sent % this.dataEvery === 0) payload.data = this.data();
    Object.assign(payload, more);
    this.flying += 1;
    this.socket.emit("ydoc:document:update", payload, () => (this.flying -= 1));
  }

  /** Waits until not too much is on its way. */
  async room() {
    if (this.flying >= WINDOW) await waitFor(() => this.flying < WINDOW / 2, { seconds: 60, what: "acks" });
  }

  /** Waits until the server has handled everything. */
  async settled() {
    await waitFor(() => this.flying === 0, { seconds: 60, what: "acks" });
  }

  close() {
    this.online = false;
    this.flying = 0;
    this.socket.disconnect();
  }

  /** Everything in the document, to be compared. */
  snapshot() {
    return { text: this.text.toDelta(), page: this.doc.getXmlFragment("prosemirror").toString(), meta: this.doc.getMap("meta").toJSON() };
  }

  /** One random edit. */
  edit(next) {
    const text = this.text;
    const page = this.doc.getXmlFragment("prosemirror");
    const below = (end) => Math.floor(next() * end);
    // As an editor's cursor, never inside of a character of two units.
    const plain = text.toString();
    const whole = (at) => (/[\uDC00-\uDFFF]/.test(plain.charAt(at)) ? at - 1 : at);
    const dice = next();
    if (dice < 0.5 || text.length < 10) {
      text.insert(whole(below(text.length + 1)), ["a", "word ", "ä€", "\u{1F600}", "\n"][below(5)]);
    } else if (dice < 0.7) {
      const at = whole(below(text.length - 5));
      text.delete(at, whole(at + 1 + below(5)) - at);
    } else if (dice < 0.75) {
      const at = whole(below(text.length - 5));
      text.format(at, whole(at + 3) - at, { bold: below(2) === 1 || null });
    } else if (dice < 0.8) {
      this.doc.getMap("meta").set(`k${below(8)}`, { n: below(100), list: [1, null, "x"] });
    } else if (dice < 0.9 || page.length < 2) {
      const paragraph = new Y.XmlElement("paragraph");
      paragraph.insert(0, [new Y.XmlText(`line ${below(1000)}`)]);
      page.insert(below(page.length + 1), [paragraph]);
    } else if (dice < 0.97) {
      page.get(below(page.length)).get(0).insert(0, "more ");
    } else {
      page.delete(below(page.length), 1);
    }
  }
}

/** A note of `owner` that `writers` may write and `readers` read. */
export async function makeNote(siskin, id, { owner = "ann", writers = [], readers = [], data = {} } = {}) {
  const grant = (permission) => (user) => ({ principal_type: "user", principal_id: user, permission });
  const access_grants = [...writers.map(grant("write")), ...readers.map(grant("read"))];
  await siskin.api("PUT", `/notes/${id}`, { user_id: owner, title: id, data, access_grants });
  return id;
}

export async function savedText(siskin, id) {
  const note = await siskin.api("GET", `/notes/${id}`);
  return note.data?.content?.md;
}

/** Resident memory of a process in KiB. */
export async function residentKiB(pid) {
  const { readFile } = await import("node:fs/promises");
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+)/.exec(status)[1]);
}
