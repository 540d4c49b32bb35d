// The page of Open WebUI, unchanged, is cut off in the middle of a streamed answer: the text is whole when it is back, with the
// same sid and without a reload.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { launch } from "../browser/browser.mjs";
import { layCable } from "../clients/cable.mjs";
import { sleep, waitFor } from "../harness.mjs";
import { open, startHouse } from "./real.mjs";

const WORDS = Array.from({ length: 60 }, (_, n) => `word${n}`);
const WHOLE = WORDS.join(" ");
// After how many words the connection is lost.
const MOMENTS = (process.env.SISKIN_MOMENTS ?? "0 7 25").split(" ").map(Number);
const AWAY = 3000;

let browser, house, cable, ann;
const end = [];
const atTheEnd = { after: (step) => end.unshift(step) };
before(async () => {
  const webui = { ENABLE_OPENAI_API: "true", OPENAI_API_BASE_URL: await startModel(), OPENAI_API_KEY: "none", BYPASS_MODEL_ACCESS_CONTROL: "true" };
  [browser, house] = await Promise.all([launch(), startHouse(atTheEnd, { webui })]);
  cable = await layCable(atTheEnd, house.siskin.port);
  house.socketPort = cable.ownPort;
  await house.webui.signUp("root");
  ann = await house.webui.signUp("ann");
});
after(async () => {
  await browser.close();
  for (const step of end) await step();
});

/** A model whose answer takes six seconds. */
async function startModel() {
  const server = createServer(async (asked, answer) => {
    if (asked.method === "GET") return answer.setHeader("content-type", "application/json").end(JSON.stringify({ object: "list", data: [{ id: "finch", object: "model" }] }));
    asked.resume();
    answer.setHeader("content-type", "text/event-stream");
    const say = (delta, finish_reason = null) =>
      answer.write(`data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", model: "finch", choices: [{ delta, index: 0, finish_reason }] })}\n\n`);
    for (const [n, word] of WORDS.entries()) {
      say({ content: n ? ` ${word}` : word });
      await sleep(100);
    }
    say({}, "stop");
    answer.end("data: [DONE]\n\n");
  });
  await new Promise((listens) => server.listen(0, "127.0.0.1", listens));
  end.push(() => (server.closeAllConnections(), new Promise((closed) => server.close(closed))));
  return `http://127.0.0.1:${server.address().port}/v1`;
}

async function sids() {
  const { sessions } = await house.siskin.api("GET", "/sessions");
  return sessions.filter((session) => session.user?.id === ann.id).map((session) => session.sid);
}

for (const moment of MOMENTS) {
  test(`cut for 3 s after ${moment} words of an answer`, async (t) => {
    const { page } = await open(t, browser, house, ann, "/");
    await waitFor(async () => (await sids()).length === 1, { what: "ann's socket", seconds: 40 });
    const [sid] = await sids();
    await page.evaluate(() => (window.isOld = true));
    await page.waitForSelector("#chat-input", { timeout: 60_000 });
    await page.click("#chat-input");
    await page.keyboard.type("hello");
    await page.keyboard.press("Enter");
    const text = () => page.evaluate(() => document.body.innerText.replace(/\s+/g, " "));
    if (moment) await waitFor(async () => (await text()).includes(`word${moment - 1}`), { what: "the first words", seconds: 40 });
    else await sleep(200);
    cable.broken = true;
    cable.cut();
    await sleep(AWAY);
    cable.broken = false;
    await waitFor(async () => (await sids()).length === 1, { what: "ann back", seconds: 20 });
    assert.deepEqual(await sids(), [sid]);
    await waitFor(async () => (await text()).includes(WHOLE), { what: "the whole answer", seconds: 20 });
    assert.ok(await page.evaluate(() => window.isOld), "no reload");
    assert.equal((await text()).split("word0 ").length, 2, "once");
  });
}
