// Small helpers for the page. Whatever arrives is shown as text: nothing here reads markup.

/** @returns {HTMLElement} the element with this id */
export const $ = (id) => document.getElementById(id);

/** Makes an element of attributes (`onclick` and the like are functions) and children. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Sets a text, without touching the page when it is there already. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A text of somebody else, of which at most so many characters are shown. */
export function cut(text, most = 200) {
  const all = String(text ?? "");
  return all.length > most ? `${all.slice(0, most)}…` : all;
}

/** Ann, Bob and 3 others; at most `most` are named. */
export function names(people, most = 4) {
  const shown = people.slice(0, most).map(({ name, id }) => cut(name || id, 40));
  const rest = people.length - shown.length;
  if (rest > 0) shown.push(rest > 1 ? `${rest} others` : "1 other");
  return new Intl.ListFormat("en-GB").format(shown);
}

/** Runs `change`, and stays at the bottom of `list` if that is where the reader was. */
export function stick(list, change) {
  const there = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  change();
  if (there) list.scrollTop = list.scrollHeight;
}

/** `flush` runs once in the next frame, however often this is called before. */
export function framed(flush) {
  let due = false;
  return () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => ((due = false), flush()));
  };
}

/** A list that keeps its last `most` items. What comes appears with the next frame, so that a flood costs one layout each. */
export class Feed {
  #list;
  #most;
  #waiting = [];
  #grown = new Set();
  #draw;

  /** `first` is there from the beginning. */
  constructor(list, most, ...first) {
    this.#list = list;
    this.#most = most;
    this.#draw = framed(() => stick(list, () => this.#flush()));
    list.replaceChildren(...first);
  }

  add(...items) {
    this.#waiting.push(...items);
    if (this.#waiting.length > 2 * this.#most) this.#waiting.splice(0, this.#waiting.length - this.#most);
    this.#draw();
  }

  remove(item) {
    this.#waiting = this.#waiting.filter((other) => other !== item);
    item.remove();
  }

  /** A text in this list has more to show. */
  grows(prose) {
    this.#grown.add(prose);
    this.#draw();
  }

  #flush() {
    for (const prose of this.#grown) prose.flush();
    this.#grown.clear();
    this.#list.append(...this.#waiting.slice(-this.#most));
    this.#waiting = [];
    while (this.#list.children.length > this.#most) this.#list.firstElementChild.remove();
  }
}

const UNITS = ["B", "KiB", "MiB", "GiB"];

/** 5 MiB, 1.4 KiB. */
export function size(bytes) {
  let unit = 0;
  for (; bytes >= 1000 && unit < UNITS.length - 1; unit += 1) bytes /= 1024;
  return `${bytes < 10 && unit ? bytes.toFixed(1) : Math.round(bytes)} ${UNITS[unit]}`;
}

/** A text that grows in a feed, of which at most so much is shown. */
export class Prose {
  static SHOWN = 20_000;
  #feed;
  #text = document.createTextNode("");
  #rest = h("span", { class: "by" });
  #waiting = "";
  #length = 0;

  constructor(feed) {
    this.#feed = feed;
    this.nodes = [this.#text, this.#rest];
  }

  add(text) {
    const room = Prose.SHOWN - this.#length;
    if (room > 0) this.#waiting += text.slice(0, room);
    this.#length += text.length;
    this.#feed.grows(this);
  }

  set(text) {
    this.#text.data = "";
    this.#waiting = "";
    this.#length = 0;
    this.add(text);
  }

  flush() {
    if (this.#waiting) this.#text.appendData(this.#waiting);
    this.#waiting = "";
    const more = this.#length - Prose.SHOWN;
    say(this.#rest, more > 0 ? `… and ${more.toLocaleString("en")} characters more, not shown` : "");
  }
}

const COLORS = ["#b5482a", "#2a6fb5", "#7a4fb0", "#2f7d4f", "#a83a78", "#7a6a10"];

/** A colour for a person, always the same one. */
export function color(id) {
  const sum = [...String(id)].reduce((sum, letter) => sum * 31 + letter.codePointAt(0), 7);
  return COLORS[sum % COLORS.length];
}

/** "Ann is typing", "Ann and Bob are typing", or nothing. */
export function typing(people) {
  if (people.length === 0) return "";
  return `${names(people)} ${people.length > 1 ? "are" : "is"} typing`;
}
