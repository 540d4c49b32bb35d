// The page: whoever pasted the API key sees how the server is doing, whoever pasted a token tries what clients do.

import { connect } from "../client/siskin.js";
import { Api } from "./api.js";
import { watchArrivals } from "./arrived.js";
import { startChannel } from "./channel.js";
import { startChat } from "./chat.js";
import { $, cut, h, say } from "./dom.js";
import { startNote } from "./note.js";
import { startSending } from "./send.js";
import { Server } from "./server.js";

const KEY = "siskin.key";
const TOKEN = "siskin.token";

/** What the form says while this is missing: its title, its label, what for. */
const FORM = {
  either: ["Look inside", "API key or a user's token", ""],
  key: ["This server", "API key", "Paste the API key, too, to see how this siskin is doing, and to let this page answer you."],
  fresh: ["Sign in again", "A user's token", "Paste a fresh token to go on."],
  token: ["Try it", "A user's token", "Paste a user's token, too, to try what its clients can do: a chat that streams, a channel, a note."],
};

/** What is signed in: the API and its view of the server, the client and what ends its demos. */
let api = null;
let server = null;
let client = null;
let demos = [];
/** Was what is being tried pasted just now, by somebody who reads on from there? */
let pasted = false;

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  pasted = true;
  const secret = $("secret").value.trim();
  if (secret) signIn(secret);
  else refuse("Paste an API key or a token first.");
});

showWho();
for (const name of [KEY, TOKEN]) {
  const secret = sessionStorage.getItem(name);
  if (secret) signIn(secret);
}

/** A JWT has three parts and begins with a JSON object; everything else is tried as the API key. */
function signIn(secret) {
  say($("sign-in-error"), "");
  return /^eyJ[\w-]*\.[\w-]+\.[\w-]+$/.test(secret) ? openClient(secret) : openServer(secret);
}

async function openServer(key) {
  const trial = new Api(key);
  try {
    await trial.get("/status");
  } catch (problem) {
    return refuse(problem.status === 401 ? "This is not the API key. Paste what SISKIN_API_KEY was set to." : problem.message);
  }
  closeServer();
  sessionStorage.setItem(KEY, key);
  api = trial;
  server = new Server(api, () => (closeServer(), refuse("The API key is no longer the right one. Paste the new one.")));
  startSending(api, client?.user?.id);
  taken("Signed in with the API key.", "server-title");
  startDemos();
}

function openClient(token) {
  // The same person goes on where the last token ended.
  if (client?.user && client.user.id === bearer(token)) {
    sessionStorage.setItem(TOKEN, token);
    return client.signIn(token);
  }
  closeClient();
  sessionStorage.setItem(TOKEN, token);
  // Beside the page, wherever a proxy has put it.
  const mine = connect({ token, path: new URL("ws/socket.io", document.baseURI).pathname });
  client = mine;
  watchArrivals(mine);
  mine.on("state", (state, reason, recovered) => client === mine && showState(state, reason, recovered));
  mine.on("online", welcome);
  mine.on("error", (message) => say($("try-error"), cut(message)));
  showWho();
}

/** Whose token it is, as far as it can be read. */
function bearer(token) {
  try {
    return JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"))).id;
  } catch {
    return null;
  }
}

/** Signed in. When the connection comes back, what was being typed goes on. */
function welcome(user) {
  if (pasted || demos.length === 0) taken(`Signed in as ${cut(user.name || user.id, 60)}.`, "try-title");
  if (demos.length === 0) startDemos();
  if (!$("send-to").value) $("send-to").value = user.id;
}

/** What became of the connection, in words. */
function showState(state, reason, recovered) {
  showWho();
  if (recovered !== undefined) say($("news"), recovered ? "Connected again: nothing was missed." : "Connected again: something may have been missed.");
  const why = words(state, reason);
  say($("try-error"), why);
  if (state === "offline" && !client.user) say($("sign-in-error"), "siskin can't be reached. It is tried again.");
  if (!isOut()) return;
  sessionStorage.removeItem(TOKEN);
  refuse(`${why} Paste a fresh token, or make one with “siskin token”.`);
}

function words(state, reason) {
  if (state === "offline") return "The connection is lost. It comes back by itself.";
  if (state === "ended") return "The server has closed this session.";
  if (state !== "refused") return "";
  if (reason.includes("expired")) return "This token has expired.";
  return "The server does not accept this token: it has expired, was signed with another secret, or its user is unknown here.";
}

/** Is there nothing to be done but to show another token? */
function isOut() {
  return client?.state === "refused" || client?.state === "ended";
}

function startDemos() {
  if (!client?.online) return;
  endDemos();
  $("try").hidden = false;
  demos = [startChat(client, api), startChannel(client, api), startNote(client, api)];
}

function endDemos() {
  demos.forEach((end) => end());
  demos = [];
}

function closeServer() {
  server?.stop();
  const had = api !== null;
  [api, server] = [null, null];
  sessionStorage.removeItem(KEY);
  showWho();
  // What is left has no backend any more.
  if (had) startDemos();
}

function closeClient() {
  endDemos();
  const gone = client;
  client = null;
  gone?.close();
  sessionStorage.removeItem(TOKEN);
  $("try").hidden = true;
  showWho();
}

/** Says who was let in. Where the form is gone, reading goes on at the `title`. */
function taken(news, title) {
  $("secret").value = "";
  $("secret").removeAttribute("aria-invalid");
  say($("sign-in-error"), "");
  say($("news"), news);
  showWho();
  if (pasted && $("sign-in").hidden) setTimeout(() => $(title).focus());
  pasted = false;
}

function refuse(why) {
  $("secret").setAttribute("aria-invalid", "true");
  say($("sign-in-error"), why);
  // Whoever types elsewhere goes on there.
  if (document.activeElement === document.body || $("sign-in").contains(document.activeElement)) $("secret").focus();
}

/** Who is signed in, with a way out of each; the form asks for what is still missing. */
function showWho() {
  const chips = [];
  if (api) chips.push(chip("API key", "online", closeServer));
  if (client) chips.push(chip(cut(client.user?.name || client.user?.id || client.state, 60), client.state, closeClient));
  $("who").replaceChildren(...chips);
  if (!api) say($("where"), "");
  showForm();
}

/** Where the section is that the missing secret would open. */
function showForm() {
  const form = $("sign-in");
  const [title, label, about] = FORM[isOut() ? "fresh" : api ? "token" : client ? "key" : "either"];
  form.hidden = Boolean(api && client) && !isOut();
  form.classList.toggle("more", Boolean(api || client?.user));
  $("sign-in-what").hidden = Boolean(api || client);
  say($("sign-in-title"), title);
  say($("secret-label"), label);
  say($("sign-in-about"), about);
  const below = Boolean(api) || isOut();
  if (below === Boolean(form.previousElementSibling?.matches("#server"))) return;
  const typing = document.activeElement === $("secret");
  if (below) $("server").after(form);
  else $("server").before(form);
  if (typing) $("secret").focus();
}

function chip(text, state, close) {
  const leave = () => (close(), say($("news"), `Signed out: ${text}.`), $("secret").focus());
  const out = h("button", { type: "button", class: "plain", "aria-label": `Sign out: ${text}`, onclick: leave }, "Sign out");
  return h("li", { class: "chip" }, h("span", { class: `dot ${state}`, title: state }), h("span", { class: "name" }, text), out);
}
