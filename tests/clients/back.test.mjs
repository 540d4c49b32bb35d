// The client module when its connection was lost: it says whether anything may be missing, reads anew what is shown if so, and
// answers a question that is asked again once.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startSiskin, waitFor } from "../harness.mjs";
import { layCable } from "./cable.mjs";
import { heard, importModule } from "./module.mjs";

let siskin, module;
before(async () => {
  siskin = await startSiskin();
  module = await importModule(siskin);
});
after(() => siskin.close());

/** A client over a cable; online when it is returned. */
async function client(t, user, { at = siskin, ...options } = {}) {
  const cable = await layCable(t, at.port);
  const client = module.connect({ url: cable.url, token: at.token(user), reconnectionDelay: 20, reconnectionDelayMax: 50, ...options });
  t.after(() => client.close());
  if (!client.online) await heard(client, "online");
  return [client, cable];
}

async function cutDuring(client, cable, meanwhile = () => {}) {
  const [gone, back] = [heard(client, "state", (state) => state === "offline"), heard(client, "state", (state) => state === "online")];
  cable.broken = true;
  cable.cut();
  await gone;
  await meanwhile();
  cable.broken = false;
  return (await back).slice(2);
}

const says = (chat_id, content, at = siskin) =>
  at.api("POST", "/chat/event", { user_id: "ann", chat_id, message_id: "m", save: chat_id === "saved", event: { type: "message", data: { content } } });
/** Ends what may come back, so that nothing does. */
const forget = async (user) => {
  const away = async () => Number((await (await fetch(`${siskin.url}/metrics`)).text()).match(/^siskin_away_sessions (\d+)/m)[1]);
  // A ping that has no answer tells it at the latest.
  await waitFor(away, { seconds: 90, what: "somebody away" }).catch(async (error) => {
    const sessions = await Promise.all(["", "?gone=true"].map((which) => siskin.api("GET", `/sessions${which}`)));
    throw new Error(`${error.message}: ${JSON.stringify(sessions)}`);
  });
  await siskin.api("DELETE", `/users/${user}/sessions`);
};

test("the state says whether anything may be missing; the first time there is nothing to say", async (t) => {
  const seen = [];
  const [ann, cable] = await client(t, "ann", { read: { chat: () => assert.fail("nothing is missed") } });
  assert.equal(ann.state, "online");
  const chat = ann.chats.open("local:c");
  chat.on("message", ({ content }) => seen.push(content));
  ann.on("online", (user, recovered) => seen.push([user.id, recovered]));
  ann.on("refresh", (what) => seen.push(what));
  const { id } = ann;
  assert.deepEqual(await cutDuring(ann, cable, () => says("local:c", "missed")), [true]);
  assert.equal(ann.id, id);
  assert.deepEqual(seen, ["missed", ["ann", true]]);
  assert.deepEqual(await cutDuring(ann, cable, () => forget("ann")), [false]);
  await waitFor(() => seen.length === 6, { what: "lists" });
  assert.deepEqual(seen.slice(2), [["ann", false], "chats", "tags", "channels"]);
});

test("what is shown is read anew, and what comes meanwhile follows it", async (t) => {
  await siskin.api("PUT", "/chats/saved", { user_id: "ann", title: "S" });
  await siskin.api("PUT", "/chats/saved/messages/m", { content: "" });
  const asked = [];
  let go;
  const gone = new Promise((resolve) => (go = resolve));
  const read = {
    chat: async (id) => {
      asked.push(id);
      const { content } = await siskin.api("GET", `/chats/${id}/messages/m`);
      await gone;
      return content;
    },
    channel: (id) => asked.push(id),
  };
  const [ann, cable] = await client(t, "ann", { read });
  const [chat, channel] = [ann.chats.open("saved"), ann.channels.open("c")];
  ann.chats.open("closed").close();
  let text = "";
  chat.on("message", ({ content }) => (text += content));
  chat.on("reload", (content) => (text = content));
  const reloaded = heard(channel, "reload");
  await says("saved", "one ");
  await waitFor(() => text === "one ", { what: "one" });
  assert.deepEqual(await cutDuring(ann, cable, async () => (await forget("ann"), await says("saved", "two "))), [false]);
  await waitFor(() => asked.length === 2, { what: "both read" });
  assert.deepEqual(asked.sort(), ["c", "saved"]);
  const three = heard(ann.chats, "message");
  await says("saved", "three");
  await three;
  assert.equal(text, "one ");
  go();
  await waitFor(() => text === "one two three", { what: "all of it" });
  await reloaded;
});

test("what can't be read is tried again, and told in the end; who closes it is asked no more", async (t) => {
  let tries = 0;
  const read = { chat: async () => assert.ok(++tries > 2, "away"), channel: () => assert.fail("broken") };
  const [ann, cable] = await client(t, "ann", { read });
  const [chat, channel] = [ann.chats.open("local:c"), ann.channels.open("gone")];
  const [reloaded, told] = [heard(chat, "reload"), []];
  ann.on("error", (message) => told.push(message));
  await cutDuring(ann, cable, () => forget("ann"));
  channel.close();
  await reloaded;
  assert.deepEqual([tries, told], [3, []]);
});

test("one loss that was not made good is told, though the next one is", async (t) => {
  const [ann, cable] = await client(t, "ann");
  // Whoever signs in slowly loses the connection again before.
  const slow = () => heard(ann, "online").then(([, recovered]) => recovered);
  const answers = slow();
  ann.socket.once("connect", () => cable.cut());
  assert.deepEqual(await cutDuring(ann, cable, () => forget("ann")), [false]);
  assert.equal(await answers, false);
});

test("a question that is asked again has one answer, whether it was given before or is given after", async (t) => {
  await siskin.api("PUT", "/chats/saved", { user_id: "ann", title: "S" });
  const [ann, cable] = await client(t, "ann");
  const asked = [];
  ann.calls.register("confirmation", (data, { signal }) => new Promise((answer) => asked.push({ answer, signal })));
  const ask = () => siskin.api("POST", "/chat/call", { user_id: "ann", session_id: ann.id, chat_id: "saved", event: { type: "confirmation", data: {} }, timeout: 15 });
  const after = ask();
  await waitFor(() => asked.length === 1, { what: "a question" });
  await cutDuring(ann, cable);
  asked[0].answer("after");
  assert.deepEqual(await after, { answer: "after" });
  const before = ask();
  await waitFor(() => asked.length === 2, { what: "another one" });
  await cutDuring(ann, cable, () => asked[1].answer("before"));
  assert.deepEqual(await before, { answer: "before" });
  await cutDuring(ann, cable);
  assert.deepEqual(asked.map(({ signal }) => signal.aborted), [false, false]);
});
