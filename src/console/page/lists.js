// Who is connected and what there is: one list at a time, at most a hundred rows of it, filtered by what is typed.

import { $, cut, framed, h, say } from "./dom.js";

const MOST = 100;

/** Coarse, so that a list at rest stays as it is. */
function ago(seconds) {
  const minutes = Math.floor((Date.now() / 1000 - seconds) / 60);
  if (minutes < 1) return "now";
  return minutes < 90 ? `${minutes} min ago` : `${Math.round(minutes / 60)} h ago`;
}

const asked = (name, words) => (words ? `&${name}=${encodeURIComponent(words)}` : "");

/** How each list is asked for: where, its total and rows, the columns (a number's cell is a number), and what it is filtered by. */
const LISTS = {
  sessions: {
    path: (words) => `/sessions?limit=${MOST}${asked("user_id", words)}`,
    columns: ["Who", "From", "Seen", "Rooms"],
    read: ({ total, sessions }) => [total, sessions.map(session)],
    filter: "Filter by a user's id",
    none: "Nobody is connected. A browser that opens the chat shows up here.",
  },
  gone: {
    path: (words) => `/sessions?gone=true&limit=${MOST}${asked("user_id", words)}`,
    columns: ["Who", "When", "Why"],
    read: ({ total, sessions }) => [total, sessions.map(gone)],
    filter: "Filter by a user's id",
    none: "Nobody has gone since siskin was started.",
  },
  rooms: {
    path: (words) => `/rooms?limit=${MOST}${asked("prefix", words)}`,
    columns: ["Room", "Sessions"],
    read: rooms,
    filter: "Filter by how it begins, as channel:",
    none: "No room has anybody in it. Whoever signs in enters the rooms of their channels.",
  },
  models: {
    path: () => "/models",
    columns: ["Model"],
    read: ({ models }, words) => models_of(models, words),
    filter: "Filter by name",
    none: "No model is in use. Clients say so with “usage” while an answer is written.",
  },
  documents: {
    path: (words) => `/rooms?limit=${MOST}&prefix=${encodeURIComponent(`doc_${words}`)}`,
    columns: ["Document", "Sessions"],
    read: rooms,
    filter: "Filter by how it begins, as note:",
    none: "No document is open. A note that somebody edits shows up here.",
  },
};

function session({ sid, user, address, last_seen_at, rooms }) {
  return [user ? user.name || user.id : "nobody yet", address ?? sid, last_seen_at ? ago(last_seen_at) : "", rooms.length];
}

function gone({ user, gone: { at, why } }) {
  return [user ? user.name || user.id : "nobody yet", ago(at), why];
}

function rooms({ total, rooms }) {
  return [total, rooms.map(({ room, sessions }) => [room.replace(/^doc_/, ""), sessions])];
}

function models_of(models, words) {
  const found = models.filter((model) => model.includes(words));
  return [found.length, found.slice(0, MOST).map((model) => [model])];
}

export class Lists {
  #api;
  #fail;
  #current = "sessions";
  #shown = "";
  #tabs = [...$("tabs").children];
  #listening = new AbortController();
  #soon = framed(() => this.refresh().catch(this.#fail));

  /** `fail` hears of a problem with what was asked between two polls. */
  constructor(api, fail) {
    this.#api = api;
    this.#fail = fail;
    const { signal } = this.#listening;
    $("tabs").addEventListener("click", ({ target }) => target.dataset.list && this.#open(target), { signal });
    $("tabs").addEventListener("keydown", (event) => this.#move(event), { signal });
    $("filter").addEventListener("input", this.#soon, { signal });
    this.#mark();
  }

  stop() {
    this.#listening.abort();
    $("filter").value = "";
  }

  async refresh() {
    const [current, words] = [this.#current, $("filter").value.trim()];
    const { path, columns, read, none } = LISTS[current];
    const [total, rows] = read(await this.#api.get(path(words)), words);
    const shown = JSON.stringify([current, words, total, rows]);
    if (this.#listening.signal.aborted || current !== this.#current || words !== $("filter").value.trim() || shown === this.#shown) return;
    this.#shown = shown;
    const empty = words ? `Nothing here fits “${cut(words, 60)}”.` : none;
    $("list").replaceChildren(rows.length ? table(columns, rows) : h("p", { class: "quiet" }, empty));
    const more = total - rows.length;
    say($("list-more"), more > 0 ? `${rows.length} are shown, ${more.toLocaleString("en")} more are not. Filter to find them.` : "");
  }

  #open(tab) {
    if (tab.dataset.list === this.#current) return;
    this.#current = tab.dataset.list;
    $("filter").value = "";
    this.#mark();
    this.#soon();
  }

  #mark() {
    for (const tab of this.#tabs) {
      const selected = tab.dataset.list === this.#current;
      tab.setAttribute("aria-selected", selected);
      tab.tabIndex = selected ? 0 : -1;
      if (selected) $("list").setAttribute("aria-labelledby", tab.id);
    }
    $("filter").placeholder = LISTS[this.#current].filter;
  }

  /** The keys of a list of tabs, as ARIA's patterns have them. */
  #move(event) {
    const [at, most] = [this.#tabs.indexOf(event.target), this.#tabs.length];
    const next = { ArrowRight: (at + 1) % most, ArrowLeft: (at - 1 + most) % most, Home: 0, End: most - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    this.#tabs[next].focus();
    this.#open(this.#tabs[next]);
  }
}

function table(columns, rows) {
  const kind = (row, at) => (typeof row[at] === "number" ? { class: "number" } : {});
  const head = columns.map((name, at) => h("th", { scope: "col", ...kind(rows[0], at) }, name));
  const body = rows.map((row) => h("tr", {}, ...row.map((cell, at) => h("td", kind(row, at), typeof cell === "number" ? cell.toLocaleString("en") : cut(cell)))));
  return h("table", {}, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...body));
}
