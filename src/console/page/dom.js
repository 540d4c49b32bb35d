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

/** Runs `change`, and stays at the bottom of `list` if that is where the reader was. */
export function stick(list, change) {
  const there = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  change();
  if (there) list.scrollTop = list.scrollHeight;
}

/** Appends to a list that keeps its last `most` entries. */
export function append(list, items, most) {
  stick(list, () => {
    list.append(...items);
    while (list.children.length > most) list.firstElementChild.remove();
  });
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

const UNITS = ["B", "KiB", "MiB", "GiB"];

/** 5 MiB, 1.4 KiB. */
export function size(bytes) {
  let unit = 0;
  for (; bytes >= 1000 && unit < UNITS.length - 1; unit += 1) bytes /= 1024;
  return `${bytes < 10 && unit ? bytes.toFixed(1) : Math.round(bytes)} ${UNITS[unit]}`;
}

/** A text that grows, drawn once a frame, of which at most so much is shown. */
export class Prose {
  static SHOWN = 20_000;
  #text = document.createTextNode("");
  #rest = h("span", { class: "by" });
  #waiting = "";
  #length = 0;
  #draw;

  /** `list` is the scrolling list around it. */
  constructor(list) {
    this.nodes = [this.#text, this.#rest];
    this.#draw = framed(() => stick(list, () => this.#flush()));
  }

  add(text) {
    const room = Prose.SHOWN - this.#length;
    if (room > 0) this.#waiting += text.slice(0, room);
    this.#length += text.length;
    this.#draw();
  }

  set(text) {
    this.#text.data = "";
    this.#waiting = "";
    this.#length = 0;
    this.add(text);
  }

  #flush() {
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

/** "Ann is typing", "Ann and Bob are typing", "3 people are typing", or nothing. */
export function typing(people) {
  const names = people.map(({ name, id }) => name || id);
  if (names.length === 0) return "";
  if (names.length > 2) return `${names.length} people are typing`;
  return `${names.join(" and ")} ${names.length > 1 ? "are" : "is"} typing`;
}
