// `events`: what happens in chats, by type; presence and typing in the open one.

import { Emitter, Shown, Typists } from "./emitter.js";

/** Every event of every chat, by its type; `*` hears all of them, unknown types too. */
export class Chats extends Emitter {
  /** The chat that the page shows. */
  current = null;
  #client;
  #open = new Map();

  constructor(client) {
    super();
    this.#client = client;
    client.socket.on("events", (event, ack) => this.#event(event, ack));
    client.on("online", (_, recovered) => this.#open.forEach((chat) => chat.back(recovered)));
  }

  /** Shows a chat: its events come to the returned object, and others see who is here. */
  open(id) {
    this.current = id;
    const chat = this.#open.get(id) ?? new Chat(this.#client, id, () => this.#forget(id));
    this.#open.set(id, chat);
    return chat;
  }

  #forget(id) {
    this.#open.delete(id);
    if (this.current === id) this.current = null;
  }

  #event(event, ack) {
    const type = event?.data?.type;
    if (typeof type !== "string") return;
    const data = event.data.data ?? null;
    const context = this.#context(event, data);
    if (this.#isMine(type, event)) return;
    if (typeof ack === "function") return this.#client.calls.answer(type, data, context, ack);
    if (type === "request:interaction:done") this.#client.calls.done(data?.interaction_id);
    this.#open.get(event.chat_id)?.take(type, data, context);
    this.emit(type, data, context);
    this.emit("*", type, data, context);
    this.#tell(type, data, context);
  }

  /** A copy for the others who have the chat open, of what all pages of this user get anyway. */
  #isMine(type, { shared, user_id }) {
    return shared === true && user_id === this.#client.user?.id && type !== "chat:messages" && type !== "typing";
  }

  #context(event, data) {
    const client = this.#client;
    return {
      chat_id: event.chat_id ?? null,
      message_id: event.message_id ?? null,
      here: event.chat_id === this.current,
      focused: client.isFocused(),
      own: data?.session_id === undefined || data.session_id === client.id,
      event,
    };
  }

  /** What the page around the chat does: tell of a finished answer that nobody looks at, refresh its lists. */
  #tell(type, data, context) {
    const looking = (context.here && context.focused) || context.event.shared === true;
    if (type === "chat:completion" && data?.done && !looking) {
      this.#client.emit("notify", { kind: "chat", title: data.title ?? "", content: data.content ?? "", context });
    }
    if (type === "chat:title" || type === "chat:list") this.#client.emit("refresh", "chats");
    if (type === "chat:tags") this.#client.emit("refresh", "tags");
  }
}

/** One open chat. */
class Chat extends Shown {
  /** Everybody who has it open, on any instance. */
  presence = [];
  /** Whether the server let us in; `null` while it is asked, or when the chat is not a saved one. */
  joined = null;
  typists = new Typists((people) => this.emit("typists", people));
  #client;
  #closed;

  constructor(client, id, closed) {
    super();
    this.id = id;
    this.#client = client;
    this.#closed = closed;
    if (client.online) this.join();
  }

  get #saved() {
    return !["temporary:", "local:", "channel:"].some((start) => this.id.startsWith(start));
  }

  async join() {
    if (!this.#saved) return;
    const answer = await this.#client.tell("events:chat", this.#payload("join")).catch(() => null);
    // Lost on the way: coming back asks again.
    if (answer === null) return;
    this.joined = answer[0] ?? false;
    this.emit("joined", this.joined);
  }

  /** The connection is back; where something may be missed, it is read anew once the server has let us in. */
  back(recovered) {
    const joined = this.join();
    const { read } = this.#client;
    if (recovered !== false || !read?.chat) return;
    this.readAnew(() => joined.then(() => read.chat(this.id)), (error) => this.#client.emit("error", String(error?.message ?? error)));
  }

  /** Tells the others whether the user types. */
  typing(typing) {
    if (this.#saved && this.#client.online) this.#client.socket.emit("events:chat", this.#payload("typing", { typing }));
  }

  /** The user has read it up to now. */
  read() {
    if (this.#saved) this.#client.socket.emit("events:chat", this.#payload("last_read_at"));
  }

  close() {
    this.#closed();
    this.forget();
    this.typists.clear();
    // Also while the connection is lost: who comes back is in it again.
    if (this.#saved) this.#client.socket.emit("events:chat", this.#payload("leave"));
  }

  take(type, data, context) {
    if (type === "chat:presence") this.presence = data?.users ?? [];
    if (type === "typing") this.typists.set(context.event.user, data?.typing);
    this.give(type, data, context);
  }

  #payload(type, data) {
    return { chat_id: this.id, data: { type, data } };
  }
}
