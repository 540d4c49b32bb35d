// The last events that came to this socket, a line each.

import { $, Feed, cut, h, say } from "./dom.js";

const MOST = 50;
/** At most so often is it drawn, whatever arrives. */
const DRAW = 250;
const LONG = 60;
const WIDE = 12;

export function watchArrivals({ socket }) {
  const feed = new Feed($("arrived"), MOST, h("li", { class: "none" }, "Nothing yet. Ask something above, or send yourself a test event."));
  let count = 0;
  let waiting = [];
  let timer;
  const draw = () => {
    timer = undefined;
    say($("arrived-count"), count.toLocaleString("en"));
    feed.add(...waiting.map(line));
    waiting = [];
  };
  say($("arrived-count"), "0");
  socket.onAny((name, payload) => {
    count += 1;
    waiting.push([name, payload]);
    if (waiting.length > MOST) waiting.shift();
    timer ??= setTimeout(draw, DRAW);
  });
}

const line = ([name, payload]) => h("li", {}, cut(name, LONG), h("span", { class: "data" }, brief(payload)));

/** The payload as JSON, long texts, lists and objects cut. */
function brief(payload) {
  const short = (_, value) => {
    if (typeof value === "string") return cut(value, LONG);
    if (Array.isArray(value)) return value.length > WIDE ? [...value.slice(0, WIDE), "…"] : value;
    return value && typeof value === "object" ? Object.fromEntries(first(value)) : value;
  };
  return cut(JSON.stringify(payload, short), 400);
}

/** The first entries of an object, without making a list of all of them. */
function* first(value) {
  let left = WIDE;
  for (const key in value) {
    if (left-- === 0) return yield ["…", ""];
    yield [cut(key, LONG), value[key]];
  }
}
