// A chat application for tests: a page at an origin of its own, on the client module that siskin serves.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { waitFor } from "../harness.mjs";

const APP = await readFile(new URL("app.js", import.meta.url));

/** Serves the application; `scripts` are further ones by path, `/` loads `/app.js`, `/?script` loads `/script`. */
export async function startFrontend(siskin, scripts = {}) {
  const files = { "/app.js": APP, ...scripts };
  const imports = JSON.stringify({ imports: { siskin: `${siskin.url}/client/siskin.js`, yjs: `${siskin.url}/client/yjs.js` } });
  const server = createServer(({ url }, answer) => {
    const script = files[url];
    answer.setHeader("content-type", script ? "text/javascript" : "text/html");
    answer.end(script ?? page(imports, new URL(url, "http://x").searchParams.keys().next().value ?? "app.js"));
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const close = () => (server.closeAllConnections(), new Promise((closed) => server.close(closed)));
  return { url: `http://127.0.0.1:${server.address().port}`, close };
}

const page = (imports, script) => `<!doctype html><html lang="en"><meta charset="utf-8"><title>A chat application</title>
<link rel="icon" href="data:,"><script type="importmap">${imports}</script><script type="module" src="/${script}"></script></html>`;

const HOUR = 3_600_000;

/** Opens a page of it in a browser of its own. `wrong` collects script errors, `sent` what goes over its websockets. `clock`: its time stands still. */
export async function open(t, browser, url, { clock = false, ...options } = {}) {
  const context = await browser.newContext(options);
  t.after(() => context.close());
  const page = await context.newPage();
  const [wrong, sent] = [[], []];
  page.on("pageerror", (error) => wrong.push(error.message));
  page.on("websocket", (socket) => socket.on("framesent", ({ payload }) => sent.push(String(payload))));
  const time = Date.now();
  if (clock) await page.clock.install({ time });
  await page.goto(url);
  if (clock) await page.clock.pauseAt(time + HOUR);
  const run = (work, argument) => page.evaluate(work, argument);
  /** What it heard of these kinds, in order. */
  const heard = (...kinds) => run((kinds) => window.heard.filter(([kind]) => kinds.includes(kind)), kinds);
  const hears = async (what, count, ...kinds) => {
    let all;
    await waitFor(async () => (all = await heard(...kinds)).length >= count, { what });
    return all;
  };
  return { page, run, heard, hears, wrong, sent };
}

/** Somebody who is signed in there. */
export async function enter(t, browser, { url }, siskin, user, { at = siskin.url, token = siskin.token(user), ...options } = {}) {
  const person = await open(t, browser, url, options);
  await waitFor(() => person.run(() => "enter" in window), { what: "the application" });
  await person.run((options) => window.enter(options), { url: at, token });
  return person;
}

/** Makes a note of Ann's that everybody may read or write, with a text that was saved. */
export function makeNote(siskin, id, permission, md) {
  const access_grants = [{ principal_type: "user", principal_id: "*", permission }];
  const content = md ? { md, html: "", json: null } : null;
  return siskin.api("PUT", `/notes/${id}`, { user_id: "ann", title: id, data: { content }, access_grants });
}
