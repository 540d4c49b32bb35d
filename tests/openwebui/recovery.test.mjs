// The page of Open WebUI, unchanged, loses its connection in the middle of a streamed answer, for 3 s or since siskin is restarted; alone,
// and with two instances behind nginx: the text is whole when it is back, with the same sid and without a reload. SISKIN_MOMENTS is
// at how many moments of an answer, of each kind; SISKIN_PAGES so many pages at a time.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { launch } from "../browser/browser.mjs";
import { layCable } from "../clients/cable.mjs";
import { manager, sleep, waitFor } from "../harness.mjs";
import { startNginx } from "./nginx.mjs";
import { open, startHouse } from "./real.mjs";

const WORDS = Array.from({ length: 60 }, (_, n) => `word${n}`);
const WHOLE = WORDS.join(" ");
const PAUSE = 100;
const MOMENTS = Number(process.env.SISKIN_MOMENTS ?? 0);
const PAGES = Number(process.env.SISKIN_PAGES ?? 3);
const AWAY = 3000;
/** So many moments, after how many words each, from the question to a sixth before the answer's end. */
const moments = (count) => Array.from({ length: count }, (_, n) => Math.floor((n * 50) / count));

let browser, house, another, nginx;
const end = [];
const atTheEnd = { after: (step) => end.unshift(step) };
before(async () => {
  const webui = { ENABLE_OPENAI_API: "true", OPENAI_API_BASE_URL: await startModel(), OPENAI_API_KEY: "none", BYPASS_MODEL_ACCESS_CONTROL: "true" };
  const { env, ...how } = await manager(atTheEnd);
  [browser, house] = await Promise.all([launch(), startHouse(atTheEnd, { webui, siskin: env, ...how })]);
  another = await house.another(await manager(atTheEnd, { listens: false }));
  nginx = await startNginx(atTheEnd, [house.siskin.port, another.siskin.port], house.webui.port);
  await house.webui.signUp("root");
});
after(async () => {
  await browser.close();
  for (const step of end) await step();
});

/** A model whose answer takes six seconds. What it has said is known by the question. */
const said = new Map();
async function startModel() {
  const server = createServer(async (asked, answer) => {
    if (asked.method === "GET") return answer.setHeader("content-type", "application/json").end(JSON.stringify({ object: "list", data: [{ id: "finch", object: "model" }] }));
    const question = /hello \w+/.exec(Buffer.concat(await asked.toArray()))?.[0];
    answer.setHeader("content-type", "text/event-stream");
    const say = (delta, finish_reason = null) =>
      answer.write(`data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", model: "finch", choices: [{ delta, index: 0, finish_reason }] })}\n\n`);
    for (const [n, word] of WORDS.entries()) {
      say({ content: n ? ` ${word}` : word });
      said.set(question, n + 1);
      await sleep(PAUSE);
    }
    say({}, "stop");
    answer.end("data: [DONE]\n\n");
  });
  await new Promise((listens) => server.listen(0, "127.0.0.1", listens));
  end.push(() => (server.closeAllConnections(), new Promise((closed) => server.close(closed))));
  return `http://127.0.0.1:${server.address().port}/v1`;
}

/** Those of both instances, as far as they are up. */
async function sids(user) {
  const each = [house, another].map(({ siskin }) => siskin.api("GET", "/sessions").catch(() => ({ sessions: [] })));
  const sessions = (await Promise.all(each)).flatMap(({ sessions }) => sessions);
  return [...new Set(sessions.filter((session) => session.user?.id === user.id).map((session) => session.sid))];
}

/** A user whose page's socket goes over a cable of its own. */
async function lane(name, port) {
  const [user, cable] = [await house.webui.signUp(name), await layCable(atTheEnd, port)];
  return { user, cable, url: await house.by(cable.ownPort) };
}

/** An answer during which a page loses its connection. How long it took, in ms, from the page's return to all that was said by then. */
async function play(t, { user, cable, url }, moment, harm) {
  const { page } = await open(t, browser, { url }, user, "/");
  const only = async () => {
    const all = await sids(user);
    return all.length === 1 && all[0];
  };
  const its = (what) => waitFor(only, { what, seconds: 60 });
  await its(`the socket of ${user.name}`);
  await page.evaluate(() => (window.isOld = true));
  await page.waitForSelector("#chat-input", { timeout: 60_000 });
  const question = `hello ${user.name}x${moment}x${Math.floor(Date.now() / 1000)}`;
  await page.click("#chat-input");
  await page.keyboard.type(question);
  await page.keyboard.press("Enter");
  const text = () => page.evaluate(() => document.body.innerText.replace(/\s+/g, " "));
  const shows = (count) => async () => (await text()).includes(WORDS.slice(0, count).join(" "));
  if (moment) await waitFor(shows(moment), { what: "the first words", seconds: 60 });
  else await sleep(200);
  // Others may restart siskin while the page is still loading, before it knows its session.
  const sid = await its("the socket of a page that shows an answer");
  const lost = async () => !(await only());
  await harm(cable, lost);
  await its(`${user.name} back`);
  const [back, count] = [Date.now(), said.get(question) ?? 0];
  await waitFor(shows(count), { what: `${count} words`, seconds: 20 });
  const took = Date.now() - back;
  assert.equal(await its("the same socket"), sid);
  await waitFor(shows(WORDS.length), { what: "the whole answer", seconds: 30 });
  assert.ok(await page.evaluate(() => window.isOld), "no reload");
  assert.equal((await text()).split("word0 ").length, 2, "once");
  await page.context().close();
  return took;
}

/** Plays all moments, a few pages at a time where they don't concern each other. */
async function playAll(t, lanes, all, harm) {
  const [waiting, took] = [[...all], []];
  const one = async (lane) => {
    for (let moment; (moment = waiting.shift()) !== undefined; ) took.push(await play(t, lane, moment, harm));
  };
  await Promise.all(lanes.map(one)).finally(() => {
    const refused = (siskin) => siskin.log().match(/.*not (taken up|left to).*/g) ?? [];
    refused(house.siskin).concat(refused(another.siskin)).forEach((line) => t.diagnostic(line));
    t.diagnostic(`${took.length} moments of ${all.length}; after the return the text was whole within ${Math.max(...took)} ms`);
  });
  if (MOMENTS) assert.ok(Math.max(...took) <= 2000, `${took}`);
}

async function cut(cable, lost) {
  cable.broken = true;
  cable.cut();
  await waitFor(lost, { what: "its loss" });
  await sleep(AWAY);
  cable.broken = false;
}

/** One restart at a time: other pages that are in the middle of an answer see it, too. */
let restarted = Promise.resolve();
function restart(siskin) {
  const again = async () => {
    await siskin.stop();
    await siskin.start();
  };
  return (restarted = restarted.then(again));
}

const lanes = (names, port) => Promise.all(names.map((name) => lane(name, port)));
const few = (prefix) => Array.from({ length: PAGES }, (_, n) => `${prefix}${n}`);

test("cut for 3 s", async (t) => {
  await playAll(t, await lanes(few("ann"), house.siskin.port), moments(MOMENTS || 3), cut);
});

test("siskin is restarted", async (t) => {
  await playAll(t, await lanes(MOMENTS ? few("bob") : ["bob"], house.siskin.port), MOMENTS ? moments(MOMENTS) : [25], () => restart(house.siskin));
});

test("cut for 3 s, with two instances behind nginx", async (t) => {
  await playAll(t, await lanes(few("carl"), nginx.port), moments(MOMENTS || 2), cut);
});

test("an instance of two behind nginx is restarted", async (t) => {
  const [dora] = await lanes(["dora"], nginx.port);
  const isThere = async () => /^siskin_sockets [1-9]/m.test(await (await fetch(`${another.siskin.url}/metrics`)).text());
  await playAll(t, [dora], moments(MOMENTS || 1).map((moment) => moment || 10), async (cable) => {
    // It refuses connections from then on, and waits until its clients have gone to the other one.
    while (!(await isThere())) {
      cable.cut();
      await waitFor(async () => (await sids(dora.user)).length === 0, { what: "its loss" });
      await waitFor(async () => (await sids(dora.user)).length === 1, { what: "dora back" });
    }
    await restart(another.siskin);
  });
});
