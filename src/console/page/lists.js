// Who is connected and what there is: one list at a time, at most a hundred rows of it.

import { $, h } from "./dom.js";

const MOST = 100;

const ago = (seconds) => {
  const passed = Math.max(0, Math.round(Date.now() / 1000 - seconds));
  return passed < 90 ? `${passed} s ago` : `${Math.round(passed / 60)} min ago`;
};

/** How each list is asked for: where, its total and rows, and the columns; a row's last cell is a number. */
const LISTS = {
  sessions: {
    path: `/sessions?limit=${MOST}`,
    columns: ["Who", "From", "Seen", "Rooms"],
    read: ({ total, sessions }) => [total, sessions.map(session)],
  },
  rooms: { path: `/rooms?limit=${MOST}`, columns: ["Room", "Sessions"], read: rooms },
  models: { path: "/models", columns: ["Model"], read: ({ models }) => [models.length, models.slice(0, MOST).map((model) => [model])] },
  documents: { path: `/rooms?prefix=doc_&limit=${MOST}`, columns: ["Document", "Sessions"], read: rooms },
};

function session({ sid, user, address, last_seen_at, rooms }) {
  return [user ? user.name || user.id : "nobody yet", address ?? sid, last_seen_at ? ago(last_seen_at) : "", rooms.length];
}

function rooms({ total, rooms }) {
  return [total, rooms.map(({ room, sessions }) => [room.replace(/^doc_/, ""), sessions])];
}

export class Lists {
  #api;
  #current = "sessions";
  #shown = "";
  #tabs = [...$("tabs").children];
  #listening = new AbortController();

  constructor(api) {
    this.#api = api;
    const { signal } = this.#listening;
    $("tabs").addEventListener("click", ({ target }) => target.dataset.list && this.#open(target), { signal });
    $("tabs").addEventListener("keydown", (event) => this.#move(event), { signal });
    this.#mark();
  }

  stop() {
    this.#listening.abort();
  }

  async refresh() {
    const current = this.#current;
    const { path, columns, read } = LISTS[current];
    const [total, rows] = read(await this.#api.get(path));
    const shown = JSON.stringify([current, total, rows]);
    if (current !== this.#current || shown === this.#shown) return;
    this.#shown = shown;
    $("list").replaceChildren(rows.length ? table(columns, rows) : h("p", { class: "quiet" }, "None at the moment."));
    if (total > rows.length) $("list").append(h("p", { class: "quiet" }, `${rows.length} of ${total.toLocaleString("en")} are shown.`));
  }

  #open(tab) {
    this.#current = tab.dataset.list;
    this.#mark();
    // What went wrong shows with the next poll.
    this.refresh().catch(() => {});
  }

  #mark() {
    for (const tab of this.#tabs) {
      const selected = tab.dataset.list === this.#current;
      tab.setAttribute("aria-selected", selected);
      tab.tabIndex = selected ? 0 : -1;
      if (selected) $("list").setAttribute("aria-labelledby", tab.id);
    }
  }

  #move({ key, target }) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (!step) return;
    const next = this.#tabs.at((this.#tabs.indexOf(target) + step) % this.#tabs.length);
    next.focus();
    this.#open(next);
  }
}

function table(columns, rows) {
  const kind = (row, at) => (typeof row[at] === "number" ? { class: "number" } : {});
  const head = columns.map((name, at) => h("th", { scope: "col", ...kind(rows[0], at) }, name));
  const body = rows.map((row) => h("tr", {}, ...row.map((cell, at) => h("td", kind(row, at), String(cell)))));
  return h("table", {}, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...body));
}
