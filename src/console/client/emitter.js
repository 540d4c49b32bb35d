// Listeners by name, and who types at the moment.

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
