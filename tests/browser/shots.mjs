// Takes the page's pictures: siskin with people, channels, streamed answers and a note, watched for as long as its graph reaches back.

import { join } from "node:path";
import { io } from "socket.io-client";
import { apiKey, sleep, startSiskin, waitFor } from "../harness.mjs";
import { launch, visit } from "./browser.mjs";
import { startRedis } from "./redis.mjs";

const SECONDS = Number(process.env.SISKIN_SHOT_SECONDS ?? 240);
const PEOPLE = { bob: "Bob", cleo: "Cleo", dora: "Dora Nilsson", emil: "Emil", fatima: "Fatima", goran: "Goran", hana: "Hana Sato", ivo: "Ivo" };
const MODELS = { bob: "llama3.2:3b", dora: "qwen3:8b", hana: "gemma3:4b" };
const CHANNELS = { general: "General", garden: "Garden", birds: "Birds at the feeder" };
const ANSWER = "The siskin is a small finch that lives in the tops of conifers and comes to feeders in winter . ".repeat(2).split(/(?<= )/);
const NOTE = "# Feeder, this week\n\n- sunflower hearts: two bags left\n- nyjer: order more\n- clean on Saturday (Cleo)\n\nSiskins since Tuesday, seven at once on Thursday.";

const [out] = process.argv.slice(2);
const ends = [];
const end = { after: (work) => ends.unshift(work) };

/** The same numbers between 0 and 1 each time. */
let seed = 7;
const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
const pick = (list) => list[Math.floor(random() * list.length)];

async function signedIn(siskin, id, name, transports) {
  const token = siskin.token(id, name);
  const socket = io(siskin.url, { path: "/ws/socket.io", auth: { token }, transports, forceNew: true });
  end.after(() => socket.close());
  await waitFor(() => socket.connected, { what: name });
  await socket.emitWithAck("user-join", { auth: { token } });
  return socket;
}

/** Streams an answer to somebody, a word at a time. */
async function stream(siskin, user_id) {
  for (const content of ANSWER) {
    const event = { type: "message", data: { content } };
    await Promise.all([siskin.api("POST", "/chat/event", { user_id, chat_id: "c", message_id: "m", save: false, event }), sleep(20 + 120 * random())]);
  }
}

/** What people do: they type, their models answer. Quieter and busier by turns. */
async function live(siskin, sockets) {
  const ids = Object.keys(PEOPLE);
  let going = true;
  end.after(() => (going = false));
  while (going) {
    const busy = 1 + Math.sin(Date.now() / 14_000) + (random() < 0.15 ? 2 : 0);
    for (let n = 0; n < busy * 2; n += 1) {
      const channel_id = pick(Object.keys(CHANNELS));
      sockets[pick(ids)].emit("events:channel", { channel_id, data: { type: "typing", data: { typing: random() < 0.7 } } });
    }
    if (random() < 0.06 * busy) stream(siskin, pick(ids)).catch(() => {});
    await sleep(200);
  }
}

async function people(siskin) {
  for (const [id, name] of Object.entries(CHANNELS)) await siskin.api("PUT", `/channels/${id}`, { name, members: Object.keys(PEOPLE) });
  const sockets = {};
  for (const [id, name] of Object.entries(PEOPLE)) sockets[id] = await signedIn(siskin, id, name, [id === "emil" ? "polling" : "websocket"]);
  const use = setInterval(() => Object.entries(MODELS).forEach(([id, model]) => sockets[id].emit("usage", { model })), 1000);
  const stay = setInterval(() => Object.values(sockets).forEach((socket) => socket.emit("heartbeat", {})), 30_000);
  end.after(() => [use, stay].forEach(clearInterval));
  return sockets;
}

/** Fills in what can be tried. */
async function tryAll(siskin, { page, says }, cleo) {
  const member = (id) => siskin.api("PUT", `/channels/console/members/${id}`);
  await Promise.all([member("bob"), member("cleo")]);
  const write = (id, content) =>
    siskin.api("POST", "/emit", { room: "channel:console", event: "events:channel", data: { channel_id: "console", message_id: null, data: { type: "message", data: { content } }, user: { id, name: PEOPLE[id] } } });
  await write("cleo", "Seven siskins at the feeder!");
  await write("bob", "All at once? Take a picture.");
  await page.fill("#channel-text", "On my way.");
  await page.click("#channel-form button");
  await page.fill("#note-text", NOTE);
  await cleo.says("note-status", "everybody");
  await page.fill("#chat-text", "What do you do?");
  await page.click("#chat-form button");
  await says("chat-log", "arrive in both.");
}

async function shoot() {
  const redis = await startRedis(end);
  const siskin = await startSiskin({ env: { WEBSOCKET_MANAGER: "redis", WEBSOCKET_REDIS_URL: redis.url } });
  end.after(() => siskin.close());
  const browser = await launch();
  end.after(() => browser.close());
  const sockets = await people(siskin);
  const ann = await visit(end, browser, siskin.url, { viewport: { width: 1280, height: 900 } });
  await ann.signIn(apiKey);
  await ann.says("health", "Ready");
  live(siskin, sockets);
  await sleep(SECONDS * 900);
  // For the log: Redis goes, and comes back.
  await redis.stop();
  await ann.says("health", "Not ready");
  await redis.start();
  await ann.says("health", "Ready");
  await sleep(SECONDS * 100);
  await ann.signIn(siskin.token("ann", "Ann"));
  await ann.says("note-status", "everybody");
  const cleo = await visit(end, browser, siskin.url);
  await cleo.signIn(siskin.token("cleo", PEOPLE.cleo));
  await tryAll(siskin, ann, cleo);
  await cleo.says("channel-log", "On my way.");
  await cleo.page.fill("#channel-text", "Look");
  await ann.says("channel-typing", "Cleo is typing");
  await ann.page.evaluate(() => document.activeElement.blur());
  await ann.page.mouse.move(0, 0);
  await take(ann.page);
  if (ann.wrong.length) throw new Error(ann.wrong.join("\n"));
}

async function take(page) {
  await page.screenshot({ path: join(out, "light.png"), fullPage: true });
  await page.emulateMedia({ colorScheme: "dark" });
  await page.screenshot({ path: join(out, "dark.png"), fullPage: true });
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 375, height: 1400 });
  await page.evaluate(() => (scrollTo(0, 0), document.querySelectorAll(".log").forEach((log) => (log.scrollTop = log.scrollHeight))));
  await page.screenshot({ path: join(out, "phone.png") });
}

try {
  await shoot();
} finally {
  for (const work of ends) await work();
}
