// A note that several windows edit at once: the text area is a view of a Yjs document.

import { SiskinProvider } from "../client/siskin.js";
import * as Y from "../client/yjs.js";
import { $, color, cut, h, say } from "./dom.js";

const ID = "console";
/** Every user may write it. */
const NOTE = { title: "Console", access_grants: [{ principal_type: "user", principal_id: "*", permission: "write" }] };
const WORDS = {
  connecting: "Opening …",
  synced: "In step with everybody.",
  unsaved: "Not saved: ",
  readonly: "You may read this note, not write it.",
  denied: "There is no such note yet, or you may not read it. Sign in with the API key once, in any window, to make it.",
  offline: "Offline. What you type is merged when the connection is back.",
};

/** @returns what ends it */
export function startNote(client, api) {
  const demo = new NoteDemo(client, api);
  demo.open();
  return () => demo.end();
}

class NoteDemo {
  #client;
  #api;
  #doc;
  #text;
  #provider = null;
  #mayWrite = true;
  #ended = false;

  constructor(client, api) {
    this.#client = client;
    this.#api = api;
  }

  async open() {
    say($("note-error"), "");
    try {
      await this.#api?.ensure(`/notes/${ID}`, { user_id: this.#client.user.id, ...NOTE });
    } catch (problem) {
      say($("note-error"), problem.message);
    }
    if (!this.#ended) this.#start();
  }

  end() {
    this.#ended = true;
    this.#provider?.destroy();
    this.#doc?.destroy();
    $("note-text").oninput = null;
    $("note-text").disabled = true;
    $("note-people").replaceChildren();
    say($("note-status"), "");
  }

  #start() {
    const { user } = this.#client;
    const person = { id: user.id, name: user.name || user.id, color: color(user.id) };
    const more = this.#mayWrite ? { seed, content } : {};
    this.#doc = new Y.Doc();
    this.#text = this.#doc.getText("text");
    const provider = new SiskinProvider(this.#client, `note:${ID}`, this.#doc, { Y, awareness: Y.awareness, user: person, ...more });
    this.#provider = provider;
    provider.awareness.setLocalStateField("user", person);
    provider.awareness.on("change", () => this.#people());
    provider.on("status", (status) => (status === "readonly" ? this.#onlyRead() : this.#status(status)));
    provider.on("synced", () => this.#onlyShow());
    this.#text.observe((event) => event.transaction.local || this.#show(event.delta));
    $("note-text").value = this.#text.toString();
    $("note-text").oninput = () => this.#typed($("note-text").value);
    $("note-text").readOnly = !this.#mayWrite;
    this.#status(provider.status);
    this.#people();
  }

  #status(status) {
    const why = status === "unsaved" ? `${this.#provider.reason}.` : "";
    say($("note-status"), WORDS[status === "synced" && !this.#mayWrite ? "readonly" : status] + why);
    $("note-text").disabled = (status === "connecting" && this.#mayWrite) || status === "denied";
  }

  /** A change was refused. The note is opened again, as everybody else sees it. */
  #onlyRead() {
    if (this.#ended || !this.#mayWrite) return;
    this.#mayWrite = false;
    this.#provider.destroy();
    this.#doc.destroy();
    this.#start();
  }

  /** Nobody who may write is here: what was saved is shown. */
  #onlyShow() {
    const saved = this.#provider.content?.md;
    if (!this.#mayWrite && saved && this.#text.length === 0) $("note-text").value = saved;
  }

  /** The one stretch between what is the same before and behind becomes the edit. */
  #typed(now) {
    const before = this.#text.toString();
    let start = 0;
    while (start < before.length && start < now.length && before[start] === now[start]) start += 1;
    let same = 0;
    const most = Math.min(before.length, now.length) - start;
    while (same < most && before.at(-1 - same) === now.at(-1 - same)) same += 1;
    this.#doc.transact(() => {
      this.#text.delete(start, before.length - same - start);
      this.#text.insert(start, now.slice(start, now.length - same));
    });
  }

  /** Somebody else's edit: shown, with the cursor where it was in the text. */
  #show(delta) {
    const area = $("note-text");
    const [start, end] = [shifted(area.selectionStart, delta), shifted(area.selectionEnd, delta)];
    area.value = this.#text.toString();
    if (document.activeElement === area) area.setSelectionRange(start, end);
  }

  /** Who has it open; somebody in several windows once. */
  #people() {
    const windows = new Map();
    for (const { user } of this.#provider.awareness.getStates().values()) {
      if (user) windows.set(cut(user.name, 40), (windows.get(cut(user.name, 40)) ?? 0) + 1);
    }
    const chips = [...windows].slice(0, 6).map(([name, count]) => h("span", { class: "chip person" }, count > 1 ? `${name} ×${count}` : name));
    if (windows.size > chips.length) chips.push(h("span", { class: "chip person" }, `${windows.size - chips.length} more`));
    $("note-people").replaceChildren(...chips);
  }
}

/** Where a place in the text is after an edit. */
function shifted(place, delta) {
  let at = 0;
  for (const { retain = 0, insert = "", delete: gone = 0 } of delta) {
    at += retain;
    if (at > place) break;
    if (insert) [at, place] = [at + insert.length, place + insert.length];
    place -= Math.min(gone, Math.max(0, place - at));
  }
  return place;
}

const seed = (doc, { md }) => md && doc.getText("text").insert(0, md);
const content = (doc) => ({ content: { md: doc.getText("text").toString(), html: "", json: null } });
