// A chat that streams: with the API key the page is its own backend, and sends an answer word by word.

import { $, Feed, Prose, cut, h, names, say, typing } from "./dom.js";

const MOST = 200;
const PACE = 60;
const ANSWER =
  "You wrote “$”. This answer came to siskin over its HTTP API, an event a word, and from there to every tab that you have open. " +
  "Open this page in a second window to see it arrive in both.";

/** @returns what ends it */
export function startChat(client, api) {
  const demo = new ChatDemo(client, api);
  demo.open();
  return () => demo.end();
}

class ChatDemo {
  #client;
  #api;
  #chat = null;
  #feed;
  #answers = new Map();
  #stops = [];
  #ended = false;

  constructor(client, api) {
    this.#client = client;
    this.#api = api;
  }

  get #id() {
    return `console-${this.#client.user.id}`;
  }

  async open() {
    this.#hint();
    $("chat-form").onsubmit = (event) => (event.preventDefault(), this.#send());
    $("chat-text").disabled = !this.#api;
    $("chat-form").querySelector("button").disabled = !this.#api;
    try {
      const mine = { user_id: this.#client.user.id, title: "Console" };
      await this.#api?.ensure(`/chats/${encodeURIComponent(this.#id)}`, mine);
    } catch (problem) {
      this.#fail(problem);
    }
    if (!this.#ended) this.#listen();
  }

  end() {
    this.#ended = true;
    this.#stops.forEach((stop) => stop());
    this.#chat?.close();
    for (const id of ["chat-people", "chat-typing", "chat-error"]) say($(id), "");
  }

  #listen() {
    const chat = this.#client.chats.open(this.#id);
    this.#chat = chat;
    this.#stops = [
      chat.on("console:question", ({ text, from }) => this.#say(text, from)),
      chat.on("message", (data, { message_id }) => this.#answer(message_id).prose.add(String(data?.content ?? ""))),
      chat.on("replace", (data, { message_id }) => this.#answer(message_id).prose.set(String(data?.content ?? ""))),
      chat.on("status", (data, { message_id }) => say(this.#answer(message_id).status, cut(data?.description))),
      chat.on("chat:completion", (data, { message_id }) => data?.done && this.#answer(message_id).item.removeAttribute("aria-busy")),
      chat.on("chat:presence", () => say($("chat-people"), people(chat.presence))),
      chat.on("typists", (list) => say($("chat-typing"), typing(list))),
      this.#client.calls.register("confirmation", (data, { signal }) => this.#ask(data, signal, ["Yes", true], ["No", false])),
    ];
    $("chat-text").oninput = () => chat.typing($("chat-text").value !== "");
  }

  #hint() {
    const how = this.#api ? "Ask something: the answer streams in." : "Whatever a backend streams to you shows here. Paste the API key, too, and this page answers you itself.";
    this.#feed = new Feed($("chat-log"), MOST, h("li", { class: "hint" }, how));
  }

  /** Somebody's question, in this tab or another of the same user. */
  #say(text, from) {
    this.#feed.add(h("li", { class: from === this.#client.user.id ? "mine" : "" }, cut(text, Prose.SHOWN)));
  }

  /** The answer of this message, with what shows it. */
  #answer(id) {
    const known = this.#answers.get(id);
    if (known) return known;
    const prose = new Prose(this.#feed);
    const status = h("span", { class: "by" });
    const item = h("li", { "aria-busy": true }, status, ...prose.nodes);
    this.#feed.add(item);
    const answer = { item, prose, status };
    this.#answers.set(id, answer);
    if (this.#answers.size > MOST) this.#answers.delete(this.#answers.keys().next().value);
    return answer;
  }

  /** A question of a backend to this browser; it goes when it is answered elsewhere. */
  #ask(data, signal, ...choices) {
    return new Promise((answer) => {
      const close = (value) => (this.#feed.remove(item), answer(value));
      const buttons = choices.map(([label, value]) => h("button", { type: "button", onclick: () => close(value) }, label));
      const item = h("li", { class: "question" }, h("span", {}, cut(data?.message ?? data?.title, 2000)), h("span", { class: "row" }, ...buttons));
      signal.addEventListener("abort", () => close(null));
      this.#feed.add(item);
    });
  }

  async #send() {
    const text = $("chat-text").value.trim();
    if (!text) return;
    $("chat-text").value = "";
    this.#chat?.typing(false);
    say($("chat-error"), "");
    const done = this.#client.useModel("siskin-console");
    try {
      await this.#stream(text);
    } catch (problem) {
      this.#fail(problem);
    }
    done();
  }

  async #stream(text) {
    const message_id = crypto.randomUUID?.() ?? String(performance.now());
    const from = this.#client.user.id;
    const emit = (type, data) =>
      this.#api.post("/chat/event", { user_id: from, chat_id: this.#id, message_id, save: false, event: { type, data } });
    await emit("console:question", { text, from });
    await emit("status", { description: "thinking", done: false });
    for (const word of ANSWER.replace("$", () => text).split(/(?<= )/)) {
      if (this.#ended) return;
      await Promise.all([emit("message", { content: word }), new Promise((go) => setTimeout(go, PACE))]);
    }
    await emit("status", { description: "", done: true });
    await emit("chat:completion", { done: true });
  }

  #fail(problem) {
    if (this.#ended) return;
    this.#answers.forEach(({ item }) => item.removeAttribute("aria-busy"));
    say($("chat-error"), problem.message);
  }
}

const people = (presence) => (presence.length ? `Here: ${names(presence)}` : "");
