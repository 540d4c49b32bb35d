// A Yjs provider: keeps a Y.Doc and its awareness in step with everybody who has the document open.

import { Emitter } from "./emitter.js";

/** Local edits are collected for so long before they are sent. */
const GATHER = 40;
/** A note's content is sent so long after the last edit. */
const SAVE = 300;
/** Who typed so lately, or whose content is on its way, has sent it without what somebody else typed at the time, and sends it again, so long after it hears of that. */
const LATELY = 10_000;
const HEARD = 1_000;
/** What did not change for so long has been saved. */
const SETTLED = 2_000;
/** An update that says nothing; a state vector of nothing. */
const EMPTY = 2;
const NOTHING = 1;
/** What was refused is sent again so long after the last change; if it is no smaller, only so long after the last time. */
const HEAL = 500;
const HOPE = 10_000;
/** What was typed and has no answer for so long may have got lost. */
const PATIENCE = 5_000;
/** A note's content that was sent so long ago, and of which nothing was said, is kept. */
const KEPT = 5_000;
/** The state is asked for again after so long, then twice as long, and so on. */
const AGAIN = 100;
/** Of a larger update what was deleted is left out: an editor keeps it, to undo that. */
const LARGE = 1 << 20;

export class SiskinProvider extends Emitter {
  /** @type {"connecting" | "synced" | "unsaved" | "offline" | "denied" | "readonly"} */
  status = "connecting";
  /** Why what was typed is not saved, while it is not. */
  reason = null;
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
  /** What the server did not take: how many bytes, and when. */
  #refused = null;
  /** Whether the server answers every update; how often the state was asked for in vain. */
  #answers = false;
  #tries = 0;
  /** What others wrote, and came before the state. */
  #early = [];
  /** The state was asked for, and has not come. */
  #asked = false;
  /** Whether somebody typed here; why the last update was refused. */
  #changedHere = false;
  /** When that was last; contents that are on their way; whether the one that was sent last may lack something, or is lost. */
  #typed = 0;
  #saving = 0;
  #stale = false;
  /** Why the server can't keep the content that was sent last. */
  #unkept = null;
  #told = "unavailable";
  /** Which of the note's documents ours is, as the server counts them; undefined where it doesn't. */
  #epoch;
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
    return this.status === "synced" || this.status === "unsaved" || this.status === "readonly";
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
    here("ydoc:document:update", ({ update }) => (this.synced ? (this.#apply(update), this.#heard()) : this.#early.push(update)));
    here("ydoc:awareness:update", ({ update }) => this.#see(bytes(update)));
    here("error", ({ reason }) => this.#isTold(reason));
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

  /** Somebody's cursor; other programs write it in other ways. */
  #see(update) {
    try {
      this.#protocol.applyAwarenessUpdate(this.awareness, update, this);
    } catch {
      // It is not for us.
    }
  }

  #become(status) {
    if (this.status === status || this.#destroyed) return;
    this.status = status;
    this.emit("status", status);
  }

  /** The server answers a join with the state; it says nothing to who may not read. */
  async #join() {
    const { name, color } = this.#options.user ?? {};
    const vector = Array.from(this.#Y.encodeStateVector(this.doc));
    const join = { document_id: this.id, user_id: this.#client.user?.id, user_name: name, user_color: color, vector, epoch: this.#epoch ?? 0 };
    const answer = await this.#client.tell("ydoc:document:join", join).catch(() => null);
    // A join that takes longer is answered later; what follows about the document waits for it.
    if (answer?.length === 0 && !(await this.#isOpen()) && !this.synced) this.#become("denied");
  }

  #offline() {
    if (this.synced) this.#settled = this.#isSettled();
    if (this.#unkept) [this.#unkept, this.#stale] = [null, true];
    this.#early = [];
    if (this.status !== "denied") this.#become("offline");
    const others = [...this.awareness.getStates().keys()].filter((id) => id !== this.doc.clientID);
    this.#protocol.removeAwarenessStates(this.awareness, others, this);
  }

  /**
   * What they have is taken, what they lack is sent. An empty document gets its first content from us, if nobody is faster.
   * `vector` is what they have without a gap; the state is without what we said that we have. Older servers send all of it.
   */
  async #state({ state, sessions, content, vector, epoch }) {
    const Y = this.#Y;
    this.#asked = false;
    this.#stop("compare");
    const theirs = bytes(state);
    const has = vector ? bytes(vector) : Y.encodeStateVectorFromUpdate(theirs);
    if (vector) this.#answers = true;
    if (sessions) this.sessions = sessions;
    if (content !== undefined) this.content = content;
    if (this.synced) this.#settled = this.#isSettled();
    const ended = this.#end(epoch);
    const old = this.#take(theirs, has) || ended;
    const missing = this.#lackedBy(theirs, has);
    if (!missing) this.#isSaved();
    this.#settle();
    if ((missing || this.#stale) && !old) this.#saveLater();
    if (has.length <= NOTHING) await this.#seed((ended ? null : missing) ?? this.#firstContent());
    else if (missing) this.#offer(missing);
    this.#greet();
    this.emit("synced");
  }

  /**
   * Somebody else wrote the note while nobody had it open: what we have is of a document that has ended. What they wrote wins,
   * and ours becomes a version of the note, unless it was saved. Whether it is so.
   */
  #end(epoch) {
    const before = this.#epoch;
    this.#epoch = epoch ?? before;
    if (epoch === undefined || before === undefined || epoch === before) return false;
    const data = this.#options.content?.(this.doc);
    if (data) this.#client.socket.emit("ydoc:document:update", { document_id: this.id, data, epoch: before });
    [this.#pending, this.#refused, this.reason, this.#tries, this.#stale, this.#unkept] = [[], null, null, 0, false, null];
    this.#stop("save");
    this.doc.transact(() => this.doc.share.forEach(empty), this);
    this.emit("ended");
    return true;
  }

  /**
   * Takes what they have. While we were away everybody left, or the server died, and somebody began the document anew from
   * what was saved: there all that we have would stand twice. Ours goes, unless something in it may not have been saved.
   * Whether it went.
   */
  #take(theirs, has) {
    const Y = this.#Y;
    const known = Y.decodeStateVector(has);
    const ours = Y.decodeStateVector(Y.encodeStateVector(this.doc));
    const old = this.#settled && known.size > 0 && ours.size > 0 && ![...ours.keys()].some((client) => known.has(client));
    if (known.size) this.#settled = false;
    if (old) this.doc.transact(() => this.doc.share.forEach(empty), this);
    this.#apply(theirs);
    this.#early.splice(0).forEach((update) => this.#apply(update));
    return old;
  }

  #isSettled() {
    const waits = this.#pending.length || this.#sending || this.#refused || this.#timers.save || this.#saving || this.#stale;
    return !waits && Date.now() - this.#changed > SETTLED;
  }

  /** What is in our document and not in theirs, as an update; `null` if nothing is. */
  #lackedBy(theirs, has) {
    const Y = this.#Y;
    const known = Y.decodeStateVector(has);
    const ours = Y.decodeStateVector(Y.encodeStateVector(this.doc));
    const update = this.#encode(has);
    const more = [...ours].some(([client, clock]) => clock > (known.get(client) ?? 0));
    if (!more && !deletesMore(Y.decodeUpdate(update).ds, Y.decodeUpdate(theirs).ds)) return null;
    if (update.length <= LARGE) return update;
    const lean = new Y.Doc();
    Y.applyUpdate(lean, this.#encode());
    const less = Y.encodeStateAsUpdate(lean, has);
    lean.destroy();
    return less;
  }

  /** Our document, without what waits in it for something that somebody else has not sent: it is incomplete for everybody. */
  #encode(has) {
    const { store } = this.doc;
    const { pendingStructs, pendingDs } = store;
    Object.assign(store, { pendingStructs: null, pendingDs: null });
    const update = this.#Y.encodeStateAsUpdate(this.doc, has);
    Object.assign(store, { pendingStructs, pendingDs });
    return update;
  }

  /** Sends what they lack, unless they did not take as much just now. */
  #offer(missing) {
    const { size = Infinity, at = 0 } = this.#refused ?? {};
    if (missing.length < size || Date.now() - at > HOPE) return this.#send(missing);
    this.#healLater(HOPE);
  }

  async #seed(first) {
    const won = first && (await this.#send(first, { initialize: true }));
    if (!won) return;
    const has = this.#Y.encodeStateVectorFromUpdate(bytes(won));
    this.#take(bytes(won), has);
    const missing = this.#lackedBy(bytes(won), has);
    if (missing) this.#offer(missing);
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
    if (this.#waits()) this.#compareLater();
  }

  /** Whether something has come that builds on something that did not. */
  #waits() {
    const { pendingStructs, pendingDs } = this.doc.store;
    return Boolean(pendingStructs || pendingDs);
  }

  #edited(update) {
    this.#pending.push(update);
    this.#changedHere = true;
    this.#typed = Date.now();
    this.#settled = false;
    this.#stale = true;
    this.#timers.gather ??= setTimeout(() => this.#flush(), GATHER);
    this.#saveLater();
  }

  /** Somebody else typed. */
  #heard() {
    if (!this.#saving && Date.now() - this.#typed > LATELY) return;
    this.#stale = true;
    this.#timers.save ??= setTimeout(() => this.#save(), HEARD);
  }

  #saveLater() {
    clearTimeout(this.#timers.save);
    this.#timers.save = setTimeout(() => this.#save(), SAVE);
  }

  /** Offline nothing is kept to be sent: coming back sends whatever the server lacks. */
  #flush() {
    this.#stop("gather");
    const updates = this.#pending.splice(0);
    if (!updates.length || !this.synced) return;
    if (this.#refused) this.#healLater(HEAL);
    else this.#send(this.#Y.mergeUpdates(updates));
  }

  /** What can't be taken may be a note's content alone, for which there is no other answer. */
  #isTold(reason) {
    // The state comes should it be made again.
    if (reason === "removed") return this.#become("denied");
    this.#told = reason ?? "unavailable";
    if (this.synced) this.#unkept = this.#told;
    this.#stop("kept");
    if (!this.#sending && this.synced && this.status !== "readonly") this.#settle();
    const passes = reason === "unavailable" || (reason === "denied" && this.status !== "readonly");
    if (passes) this.#timers.save ??= setTimeout(() => this.#save(), HOPE);
  }

  #isKept() {
    this.#unkept = null;
    if (this.status === "unsaved" && !this.#sending) this.#settle();
  }

  /** All that was sent is answered, for better or worse. */
  #settle() {
    if (!this.#refused) this.reason = this.#unkept;
    this.#become(this.#refused || this.#unkept ? "unsaved" : "synced");
  }

  async #save() {
    clearTimeout(this.#timers.save);
    if (!this.#timers.save || !this.synced || this.#refused || !this.#options.content) return;
    this.#timers.save = undefined;
    this.#stale = false;
    const payload = { document_id: this.id, data: this.#options.content(this.doc), epoch: this.#epoch };
    this.#saving += 1;
    const answer = await this.#client.tell("ydoc:document:update", payload).catch(() => null);
    this.#saving -= 1;
    if (this.#destroyed) return;
    this.#stop("kept");
    // It is no object, or has too many fields, as was told before: the next one may be another.
    if (answer?.[0]?.stored === false) return;
    if (answer) return void (this.#timers.kept = setTimeout(() => this.#isKept(), KEPT));
    this.#stale = true;
    if (this.synced) this.#saveLater();
  }

  /** Sends an update, and learns whether it was taken. Resolves to the answer. */
  async #send(update, more = {}) {
    // Should the document end while this is on its way, it is none of the next one.
    const payload = { document_id: this.id, update: Array.from(update), epoch: this.#epoch, ...more };
    const answered = (answer) => this.#isAnswered(answer, update.length, more.initialize);
    this.#sending += 1;
    const late = setTimeout(() => this.#isLate(), PATIENCE);
    // A large one on a slow line is answered when nobody waits any more: what became of it counts all the same.
    const answer = await this.#client.tell("ydoc:document:update", payload, (late) => answered([late])).catch(() => null);
    clearTimeout(late);
    this.#sending -= 1;
    // The connection stalls; or the update was lost on its way, while the server answers each.
    if (answer === null || (!answer.length && this.#answers)) return this.#compareLater();
    return answered(answer);
  }

  /** The connection stalls, or it is a lot for it. */
  #isLate() {
    if (this.status !== "synced") return;
    this.reason = "unanswered";
    this.#become("unsaved");
  }

  async #isAnswered(answer, size, first) {
    if (!this.synced || this.#destroyed) return;
    const [taken] = answer;
    const refused = !answer.length ? "denied" : taken?.stored === false ? taken.reason : taken === null && first ? this.#told : null;
    if (refused) return this.#isRefused(refused, size, first);
    this.#isSaved();
    this.#settle();
    return taken;
  }

  #isSaved() {
    const healed = this.#refused;
    [this.#refused, this.reason] = [null, null];
    if (!this.#waits()) this.#tries = 0;
    if (healed) this.#saveLater();
  }

  /** The server did not take an update, and nothing that builds on it will count. */
  async #isRefused(reason, size, first = false) {
    // What was told meanwhile was about this.
    this.#unkept = null;
    // Who typed nothing has nothing to lose: what others deleted is not news to anybody. But who may not even begin may not write.
    if (reason === "denied" && !this.#changedHere && !first) return;
    if (reason === "denied") return this.#become((await this.#isOpen()) ? "readonly" : "denied");
    // What is incomplete is taken with what it builds on, which is more.
    this.#refused = { size: reason === "incomplete" ? Infinity : size, at: Date.now() };
    this.reason = reason;
    this.#become("unsaved");
    if (reason === "incomplete") this.#compareLater();
    else this.#healLater(HOPE);
  }

  /** Once it flows again, the state comes, and shows what is missing where. */
  async #compare() {
    if (!this.synced) return;
    const vector = Array.from(this.#Y.encodeStateVector(this.doc));
    this.#asked = true;
    await this.#client.tell("ydoc:document:state", { document_id: this.id, vector }).catch(() => null);
    // The question was lost, too, or nobody can tell now.
    if (this.#asked) this.#compareLater();
  }

  #compareLater() {
    if (this.#destroyed) return;
    this.#timers.compare ??= setTimeout(() => {
      this.#timers.compare = undefined;
      this.#compare();
    }, AGAIN * 2 ** Math.min(this.#tries++, 7));
  }

  #stop(timer) {
    clearTimeout(this.#timers[timer]);
    this.#timers[timer] = undefined;
  }

  /** The user may have undone what was too much, or there is room again. */
  #healLater(pause) {
    clearTimeout(this.#timers.heal);
    this.#timers.heal = setTimeout(() => this.#compare(), pause);
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

/** Whether some of these deletions are not among those. */
function deletesMore(these, those) {
  const sorted = (ranges) => [...(ranges ?? [])].sort((one, other) => one.clock - other.clock);
  for (const [client, ranges] of these.clients) {
    const known = sorted(those.clients.get(client));
    let next = 0;
    let covered = 0;
    for (const { clock, len } of sorted(ranges)) {
      covered = Math.max(covered, clock);
      for (; next < known.length && known[next].clock <= covered; next += 1) covered = Math.max(covered, known[next].clock + known[next].len);
      if (covered < clock + len) return true;
    }
  }
  return false;
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
