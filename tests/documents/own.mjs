// An editor with the client module's provider, with the handles that tests need: cut, come back, lose what is sent.

import * as awareness from "y-protocols/awareness";
import * as Y from "yjs";
import { waitFor } from "../harness.mjs";

const seed = (doc, { md }) => md && doc.getText("text").insert(0, md);
const content = (doc) => ({ content: { md: doc.getText("text").toString(), html: "", json: null } });

export class Own {
  /** `module` is the client module; `user` edits `documentId` at `siskin`. */
  constructor(module, siskin, user, documentId, { clientId } = {}) {
    Object.assign(this, { module, siskin, user, documentId, errors: [] });
    this.doc = new Y.Doc();
    if (clientId) this.doc.clientID = clientId;
  }

  get text() {
    return this.doc.getText("text");
  }

  get online() {
    return this.provider?.synced === true;
  }

  /** In step with the server, and all of it saved there. */
  get saved() {
    return this.provider.status === "synced";
  }

  async open() {
    const { module, siskin, user } = this;
    this.client = module.connect({ url: siskin.url, token: siskin.token(user), reconnection: false });
    this.client.socket.on("error", ({ message }) => this.errors.push(message));
    this.provider = new module.SiskinProvider(this.client, this.documentId, this.doc, { Y, awareness, seed, content });
    await this.synced();
    return this;
  }

  synced() {
    return waitFor(() => this.online, { seconds: 30, what: `${this.user} in step` });
  }

  /** The connection is lost, and does not come back before `back()`. */
  cut() {
    this.client.socket.io.engine.close();
    return waitFor(() => !this.client.online, { what: "offline" });
  }

  async back() {
    this.client.socket.connect();
    await this.synced();
  }

  /** What `work` sends is lost on its way: that is what is sent next, a moment later; with `questions`, so are the next ones for the state. */
  async lose(work, questions = 0) {
    const { socket } = this.client;
    const left = { "ydoc:document:update": 1, "ydoc:document:state": questions };
    socket.emit = (name, ...rest) => {
      const lost = left[name] > 0 && (rest[0].update || rest[0].vector);
      if (!lost) return Object.getPrototypeOf(socket).emit.call(socket, name, ...rest);
      left[name] -= 1;
      if (!Object.values(left).some(Boolean)) delete socket.emit;
      return socket;
    };
    work();
  }

  /** What was to be lost is. */
  lost() {
    return waitFor(() => !Object.hasOwn(this.client.socket, "emit"), { what: "what is lost" });
  }

  close() {
    this.provider?.destroy();
    this.client?.close();
  }
}
