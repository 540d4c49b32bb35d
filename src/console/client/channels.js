// `events:channel`: messages, reactions and typing in channels; unread counts and read receipts.

import { Emitter, Shown, Typists } from "./emitter.js";

/** Every event of every channel, by its type; `*` hears all of them, unknown types too. */
export class Channels extends Emitter {
  /** The channel that the page shows. */
  current = null;
  /** Messages of others that nobody looked at, by channel id. */
  unread = new Map();
  /** Ids of channels that are quiet: only a message that names the user is told of. */
  muted = new Set();
  #client;
  #open = new Map();

  constructor(client) {
    super();
    this.#client = client;
    client.socket.on("events:channel", (event) => this.#event(event));
    client.on("online", (_, recovered) => this.#open.forEach((channel) => channel.back(recovered)));
    if (typeof document !== "undefined") document.addEventListener("visibilitychange", () => this.#look());
  }

  /** Shows a channel: its events come to the returned object, and it counts as read. */
  open(id) {
    this.current = id;
    const channel = this.#open.get(id) ?? new Channel(this.#client, id, () => this.#forget(id));
    this.#open.set(id, channel);
    this.#look();
    return channel;
  }

  /** A channel becomes quiet, or tells again: for what a page knows from the channel's list. The server's word comes by itself. */
  mute(id, muted = true) {
    if (muted) this.muted.add(id);
    else this.muted.delete(id);
  }

  #forget(id) {
    this.#open.delete(id);
    if (this.current === id) this.current = null;
  }

  /** Whoever looks at a channel has read it. */
  #look() {
    const { current } = this;
    if (current === null || !this.#client.isFocused()) return;
    this.#open.get(current)?.read();
    this.#count(current, 0);
  }

  #count(id, count) {
    if ((this.unread.get(id) ?? 0) === count) return;
    if (count) this.unread.set(id, count);
    else this.unread.delete(id);
    this.#client.emit("unread", id, count);
  }

  #event(event) {
    const type = event?.data?.type;
    if (typeof type !== "string") return;
    const data = event.data.data ?? null;
    const context = this.#context(event);
    this.#open.get(event.channel_id)?.take(type, data, context);
    this.emit(type, data, context);
    this.emit("*", type, data, context);
    if (type === "message" && !context.own) this.#message(data, context);
    if (type === "channel:mute") this.mute(event.channel_id, Boolean(data?.is_channel_muted));
    if (type === "channel:created") {
      this.#client.joinChannels();
      this.#client.emit("refresh", "channels");
    }
  }

  #context(event) {
    const client = this.#client;
    return {
      channel_id: event.channel_id ?? null,
      message_id: event.message_id ?? null,
      user: event.user ?? null,
      channel: event.channel ?? null,
      here: event.channel_id === this.current,
      focused: client.isFocused(),
      own: client.user !== null && event.user?.id === client.user.id,
      event,
    };
  }

  /** Somebody else's message is read at once where it is looked at; elsewhere it counts, and the page tells of it. */
  #message(data, context) {
    if (context.here && context.focused) return this.#look();
    const id = context.channel_id;
    this.#count(id, (this.unread.get(id) ?? 0) + 1);
    if (this.muted.has(id) && !names(data?.content, this.#client.user?.id)) return;
    const title = context.channel?.name ?? context.user?.name ?? "";
    this.#client.emit("notify", { kind: "channel", title, content: data?.content ?? "", context });
  }
}

/** Does a message name the user, as `<@U:id>` or `<@U:id|name>`? */
function names(content, id) {
  return [...String(content ?? "").matchAll(/<@U:([^|>]+)(?:\|[^>]+)?>/g)].some(([, user]) => user === id);
}

/** One open channel. */
class Channel extends Shown {
  static RECEIPTS = 1000;
  typists = new Typists((people) => this.emit("typists", people));
  #client;
  #closed;
  #receipt;

  constructor(client, id, closed) {
    super();
    this.id = id;
    this.#client = client;
    this.#closed = closed;
  }

  /** The connection is back; where something may be missed, it is read anew. */
  back(recovered) {
    const { read } = this.#client;
    if (recovered !== false || !read?.channel) return;
    this.readAnew(async () => read.channel(this.id), (error) => this.#client.emit("error", String(error?.message ?? error)));
  }

  /** Tells everybody in the channel whether the user types; with a message id: in its thread. */
  typing(typing = true, messageId = null) {
    if (this.#client.online) this.#client.socket.emit("events:channel", this.#payload("typing", { typing }, messageId));
  }

  /** The user has read it up to now. At most one receipt a second is sent, and never none for the last message. */
  read() {
    this.#receipt ??= setTimeout(() => {
      this.#receipt = undefined;
      this.#client.socket.emit("events:channel", this.#payload("last_read_at"));
    }, Channel.RECEIPTS);
  }

  close() {
    this.#closed();
    this.forget();
    this.typists.clear();
    clearTimeout(this.#receipt);
  }

  take(type, data, context) {
    // The server tells the sender, too.
    if (type === "typing" && !context.own) this.typists.set(context.user, data?.typing);
    if (type === "message") this.typists.set(context.user, false);
    this.give(type, data, context);
  }

  #payload(type, data = {}, messageId = null) {
    return { channel_id: this.id, message_id: messageId, data: { type, data } };
  }
}
