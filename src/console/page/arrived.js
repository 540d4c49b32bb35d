// The last events that came to this socket, a line each.

import { $, append, h, say } from "./dom.js";

const MOST = 50;
/** At most so often is it drawn, whatever arrives. */
const DRAW = 250;
const LONG = 60;

export function watchArrivals({ socket }) {
  let count = 0;
  let waiting = [];
  let timer;
  const draw = () => {
    timer = undefined;
    say($("arrived-count"), count.toLocaleString("en"));
    append($("arrived"), waiting.map(line), MOST);
    waiting = [];
  };
  $("arrived").replaceChildren();
  socket.onAny((name, payload) => {
    count += 1;
    waiting.push([name, payload]);
    if (waiting.length > MOST) waiting.shift();
    timer ??= setTimeout(draw, DRAW);
  });
}

const line = ([name, payload]) => h("li", {}, `${name} ${brief(payload)}`);

/** The payload as JSON, long texts and lists cut. */
function brief(payload) {
  const cut = (_, value) => {
    if (typeof value === "string" && value.length > LONG) return `${value.slice(0, LONG)}…`;
    return Array.isArray(value) && value.length > 8 ? [...value.slice(0, 8), "…"] : value;
  };
  return JSON.stringify(payload, cut)?.slice(0, 400) ?? "";
}
