// An editor as Open WebUI's page is one: what it was told to do at a state, and nothing else. It does not send what a state lacks.

import * as Y from "yjs";
import { waitFor } from "../harness.mjs";
import { Editor } from "./editor.mjs";

export class Page extends Editor {
  constructor(...args) {
    super(...args);
    // Who types has the cursor in the text.
    this.doc.on("update", (_, origin) => (this.typed ||= origin !== this));
  }

  /** As its `Collaboration.ts` takes a state; its editor shows the text `text`. */
  take(said) {
    try {
      this.#take(said);
      this.taken += 1;
      this.synced = true;
    } catch {
      // It takes nothing that is typed until the next state.
      this.synced = false;
      this.socket.emit("ydoc:document:state", { document_id: this.documentId });
    }
  }

  #take({ state, content }) {
    const theirs = Uint8Array.from(state);
    if (theirs.length === 2 && theirs[0] === 0 && theirs[1] === 0) {
      if (this.text.length > 0) super.send(Y.encodeStateAsUpdate(this.doc), { data: undefined });
      else if (content) this.seed(content);
    } else {
      Y.applyUpdate(this.doc, theirs, this);
    }
  }

  seed({ md }) {
    const doc = new Y.Doc();
    doc.getText("text").insert(0, md);
    this.seeds += 1;
    const payload = { document_id: this.documentId, update: Array.from(Y.encodeStateAsUpdate(doc)), initialize: true };
    this.socket.emit("ydoc:document:update", payload, (state) => state && Y.applyUpdate(this.doc, Uint8Array.from(state), this));
  }

  async connect() {
    Object.assign(this, { taken: 0, seeds: 0 });
    await super.connect();
    // What others write is in the note's content, too, half a second later.
    const { socket } = this;
    socket.on("ydoc:document:update", () => {
      clearTimeout(this.snapshots);
      this.snapshots = setTimeout(() => socket.emit("ydoc:document:update", { document_id: this.documentId, data: this.data() }), 500);
    });
    this.socket.on("ydoc:document:state", (state) => this.take(state));
    return this;
  }

  /** What it does whenever its socket is connected: joins, and shows its cursor. */
  async join() {
    this.online = true;
    this.socket.emit("ydoc:document:join", { document_id: this.documentId, user_color: "#123456" });
    const cursor = this.typed && { anchor: null, head: null };
    const shown = JSON.stringify({ [this.doc.clientID]: { user: { name: this.user }, ...(cursor && { cursor }) } });
    this.socket.emit("ydoc:awareness:update", { document_id: this.documentId, update: Array.from(Buffer.from(shown)) });
    await waitFor(() => this.taken > 0, { what: "state" });
  }

  send(update, more) {
    clearTimeout(this.snapshots);
    super.send(update, more);
  }

  /** Over a slow link: the state that comes and what follows it wait until `release()`, while the update that was sent before them is heard. */
  hold() {
    const { transport } = this.socket.io.engine;
    const deliver = (data) => Object.getPrototypeOf(transport).onData.call(transport, data);
    let heard = false;
    this.held = [];
    transport.onData = (data) => {
      const passes = !heard && data.includes("ydoc:document:update");
      heard ||= passes;
      const waits = this.held.length > 0 || data.includes("ydoc:document:state");
      if (waits && !passes) this.held.push(data);
      else deliver(data);
    };
    this.release = () => (delete transport.onData, this.held.forEach(deliver));
  }

  /** Waits until little is on its way. */
  async room() {
    if (this.flying >= 20) await waitFor(() => this.flying < 10 || !this.online, { seconds: 60, what: "acks" });
  }

  cut() {
    this.close();
  }

  close() {
    clearTimeout(this.snapshots);
    super.close();
  }

  async back() {
    await this.open();
  }

  /** What `work` sends is lost on its way. */
  async lose(work) {
    this.send = () => {};
    work();
    delete this.send;
  }

  async lost() {}
}

/** A page that is cut off without a word. */
export class Tab extends Page {
  async cut() {
    this.online = false;
    this.flying = 0;
    clearTimeout(this.snapshots);
    const gone = new Promise((resolve) => this.socket.once("disconnect", resolve));
    this.socket.io.engine.close();
    await gone;
  }

  async leave() {
    await this.ask("ydoc:document:leave", { document_id: this.documentId });
    this.close();
  }
}
