// Listeners by name, what is shown and may have to be read anew, and who types at the moment.

/** Calls listeners by name. A listener that throws is reported and stops nobody else. */
export class Emitter {
  #listeners = new Map();

  /** @returns a function that takes the listener away again */
  on(name, listener) {
    const those = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, those.add(listener));
    return () => those.delete(listener);
  }

  emit(name, ...args) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        listener(...args);
      } catch (error) {
        report(error);
      }
    }
  }
}

/** What a page shows: a chat or a channel. Read anew when something was missed, it hands out `reload` before what comes meanwhile. */
export class Shown extends Emitter {
  static HOLD = 10_000;
  static MOST = 10_000;
  static PAUSES = [0, 1000, 2000, 4000, 8000];
  #held = null;
  #turn = 0;

  /** Hands an event out, or keeps it for when it is read. */
  give(...event) {
    if (this.#held?.push(event) < Shown.MOST) return;
    if (this.#held) return this.#release();
    this.#tell(event);
  }

  /** `read` brings what there is; it is tried again when it fails. `failed` is told when that was in vain. */
  async readAnew(read, failed) {
    const turn = ++this.#turn;
    const held = (this.#held ??= []);
    const release = () => this.#held === held && this.#release();
    const late = setTimeout(release, Shown.HOLD);
    let problem = null;
    for (const pause of Shown.PAUSES) {
      if (pause) await new Promise((resolve) => setTimeout(resolve, pause));
      if (turn !== this.#turn) break;
      try {
        const all = await read();
        problem = null;
        if (turn === this.#turn) this.emit("reload", all);
        break;
      } catch (error) {
        problem = error;
      }
    }
    clearTimeout(late);
    if (turn !== this.#turn) return;
    release();
    if (problem) failed(problem);
  }

  /** Nothing is read any more, and nothing handed out. */
  forget() {
    this.#turn += 1;
    this.#held = null;
  }

  #release() {
    const held = this.#held;
    this.#held = null;
    held.forEach((event) => this.#tell(event));
  }

  #tell([type, data, context]) {
    this.emit(type, data, context);
    this.emit("*", type, data, context);
  }
}

/** An error of the application's own code: the page's `error` event, or the console. */
export function report(error) {
  (globalThis.reportError ?? console.error)(error);
}

/** Who types: each person for five seconds after the last sign of it. */
export class Typists {
  static EXPIRY = 5000;
  #people = new Map();
  #changed;

  constructor(changed) {
    this.#changed = changed;
  }

  /** @returns {{id: string, name: string}[]} */
  get list() {
    return [...this.#people.values()].map(({ user }) => user);
  }

  set(user, typing) {
    if (!user?.id) return;
    const known = this.#people.get(user.id);
    clearTimeout(known?.timer);
    if (typing) {
      const timer = setTimeout(() => this.set(user, false), Typists.EXPIRY);
      this.#people.set(user.id, { user, timer });
    } else {
      this.#people.delete(user.id);
    }
    if (Boolean(known) !== Boolean(typing)) this.#changed(this.list);
  }

  clear() {
    for (const user of this.list) this.set(user, false);
  }
}
