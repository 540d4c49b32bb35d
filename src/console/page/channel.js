// A channel: who is let in sees the others type and write. Messages come from a backend, which this page is with the API key.

import { $, Feed, cut, framed, h, say, typing } from "./dom.js";

const ID = "console";
const MOST = 200;
const LONGEST = 20_000;

/** @returns what ends it */
export function startChannel(client, api) {
  const demo = new ChannelDemo(client, api);
  demo.open();
  return () => demo.end();
}

class ChannelDemo {
  #client;
  #api;
  #channel;
  #feed;
  #stops = [];
  #ended = false;

  constructor(client, api) {
    this.#client = client;
    this.#api = api;
  }

  async open() {
    const hint = this.#api ? "Let somebody in by their id, and write to each other." : "A backend sends the messages of a channel. Paste the API key, too, and this page is one; typing needs no key.";
    this.#feed = new Feed($("channel-log"), MOST, h("li", { class: "hint" }, hint));
    $("member-form").hidden = !this.#api;
    $("channel-form").querySelector("button").disabled = !this.#api;
    $("channel-form").onsubmit = (event) => (event.preventDefault(), this.#try(() => this.#send()));
    $("member-form").onsubmit = (event) => (event.preventDefault(), this.#try(() => this.#letIn($("member").value.trim())));
    this.#listen();
    if (this.#api) await this.#try(() => this.#enter());
  }

  end() {
    this.#ended = true;
    this.#stops.forEach((stop) => stop());
    this.#channel.close();
    for (const id of ["channel-typing", "channel-unread", "channel-error"]) say($(id), "");
  }

  #listen() {
    const channel = this.#client.channels.open(ID);
    this.#channel = channel;
    this.#stops = [
      channel.on("message", (data, context) => this.#show(data, context)),
      channel.on("typists", (list) => say($("channel-typing"), typing(list))),
      this.#client.on("unread", framed(() => this.#ended || say($("channel-unread"), unread(this.#client.channels.unread)))),
    ];
    $("channel-text").oninput = () => channel.typing($("channel-text").value !== "");
  }

  #show(data, { user, own }) {
    const by = h("span", { class: "by" }, cut(user?.name || user?.id || "somebody"));
    this.#feed.add(h("li", { class: own ? "mine" : "" }, by, cut(data?.content, LONGEST)));
  }

  async #enter() {
    await this.#api.ensure(`/channels/${ID}`, { name: "Console" });
    await this.#letIn(this.#client.user.id);
  }

  async #letIn(id) {
    if (!id) return;
    await this.#api.put(`/channels/${ID}/members/${encodeURIComponent(id)}`);
    $("member").value = "";
  }

  async #send() {
    const content = $("channel-text").value.trim();
    if (!content) return;
    const { id, name } = this.#client.user;
    const data = { channel_id: ID, message_id: null, data: { type: "message", data: { content } }, user: { id, name } };
    await this.#api.post("/emit", { room: `channel:${ID}`, event: "events:channel", data });
    $("channel-text").value = "";
    this.#channel.typing(false);
  }

  /** Does something; what goes wrong shows below the channel. */
  async #try(work) {
    say($("channel-error"), "");
    try {
      await work();
    } catch (problem) {
      if (!this.#ended) say($("channel-error"), problem.message);
    }
  }
}

function unread(counts) {
  const sum = [...counts.values()].reduce((sum, count) => sum + count, 0);
  return sum ? `${sum.toLocaleString("en")} unread elsewhere` : "";
}
