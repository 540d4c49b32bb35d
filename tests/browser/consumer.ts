// What a frontend in TypeScript does with the client module. Only compiled: every line must pass, or fail where it says so.

import { io } from "socket.io-client";
import * as awareness from "y-protocols/awareness";
import * as Y from "yjs";
import { connect, SiskinProvider, type ChatContext, type Client, type Person, type ProviderStatus, type State } from "../../src/console/client/siskin.js";

const client: Client = connect({ url: "https://chat.example", token: "t", io, isFocused: () => true, transports: ["websocket"], read: { chat: async (id) => id.length } });
const words: Record<State, string> = { connecting: "", online: "", offline: "", refused: "", ended: "" };
const stop: () => void = client.on("state", (state, reason, recovered) => console.log(words[state], reason.length, recovered === false));
client.on("notify", ({ kind, title, content, context }) => console.log(kind === "chat", title, content, context.focused));
client.on("unread", (id, count) => console.log(id, count + 1));
client.on("refresh", (what) => console.log(what === "chats"));
const user: Person | null = client.user;
const sid: string | undefined = client.id;

const chat = client.chats.open("c");
chat.on("message", ({ content }, { message_id, here, own }) => console.log(content, message_id, here && own));
chat.on("*", (type, data, context: ChatContext) => console.log(type, data, context.event));
const people: readonly Person[] = chat.presence;
const names: string[] = chat.typists.list.map(({ name }) => name);
chat.typing(true);
chat.on("reload", (all) => console.log(all.messages));

const channel = client.channels.open("ch");
channel.typing(true, "thread");
client.channels.on("message", (message, { channel_id, user, own }) => console.log(message, channel_id, user?.name, own));
const unread: number | undefined = client.channels.unread.get("ch");

const unregister: () => void = client.calls.register("execute:tool", async (data, { signal, send }) => {
  send({ done: false });
  return signal.aborted ? null : { result: data.x };
});
const done: () => void = client.useModel("llama3");

const provider = new SiskinProvider(client, "note:n1", new Y.Doc(), {
  Y,
  awareness,
  user: { name: "Ann", color: "#123456" },
  seed: (doc: Y.Doc, { md }) => doc.getText("text").insert(0, md),
  content: (doc: Y.Doc) => ({ content: { md: doc.getText("text").toString(), html: "", json: null } }),
});
const status: ProviderStatus = provider.status;
provider.on("joined", ({ user_name }) => console.log(user_name));
provider.awareness.setLocalStateField("cursor", { anchor: 1 });
const told: Promise<[any?]> = client.tell("ydoc:document:state", { document_id: "d" });
client.socket.emit("mine", 1);

// @ts-expect-error a token must be given
connect({});
// @ts-expect-error no such event
client.on("nothing", () => {});
// @ts-expect-error the user is read only
client.user = null;
// @ts-expect-error what a model's use returns takes nothing
done(1);
// @ts-expect-error yjs must be given
new SiskinProvider(client, "d", new Y.Doc(), {});

export { channel, names, people, provider, sid, status, stop, told, unread, unregister, user };
