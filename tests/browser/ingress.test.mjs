// The console below a path and in a frame of its own origin, as Home Assistant's ingress shows an add-on's page.

import assert from "node:assert/strict";
import { createServer, request } from "node:http";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { apiKey, startSiskin } from "../harness.mjs";
import { launch, visit } from "./browser.mjs";

const BELOW = "/api/hassio_ingress/a-token";

/** Takes requests below the path to siskin, without it, websockets, too; everything else is a page with the console in a frame. */
async function startIngress(port) {
  const inside = (url) => (url.startsWith(`${BELOW}/`) ? url.slice(BELOW.length) : null);
  const server = createServer((asked, answer) => {
    const path = inside(asked.url);
    if (!path) return answer.setHeader("content-type", "text/html").end(`<iframe src="${BELOW}/" width="900" height="700"></iframe>`);
    const { method, headers } = asked;
    const on = request({ port, host: "127.0.0.1", path, method, headers }, (got) => got.pipe(answer.writeHead(got.statusCode, got.headers)));
    asked.pipe(on.on("error", () => answer.destroy()));
  });
  server.on("upgrade", (asked, near, head) => {
    const far = connect(port, "127.0.0.1");
    const lines = asked.rawHeaders.reduce((text, word, n) => text + word + (n % 2 ? "\r\n" : ": "), "");
    far.write(`GET ${inside(asked.url)} HTTP/1.1\r\n${lines}\r\n`);
    far.write(head);
    for (const [one, other] of [[near, far], [far, near]]) one.pipe(other).on("error", () => one.destroy());
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const close = () => (server.closeAllConnections(), new Promise((closed) => server.close(closed)));
  return { url: `http://127.0.0.1:${server.address().port}`, close };
}

let browser, siskin, ingress;
before(async () => {
  [browser, siskin] = await Promise.all([launch(), startSiskin()]);
  ingress = await startIngress(siskin.port);
});
after(async () => {
  await browser.close();
  await ingress.close();
  await siskin.close();
});

test("below a path all of it works, and nothing is asked for outside of it", async (t) => {
  const { says, signIn, wrong } = await visit(t, browser, `${ingress.url}${BELOW}`);
  await signIn(apiKey);
  await says("news", "Signed in with the API key");
  await signIn(siskin.token("ann", "Ann"));
  await says("chat-people", "Ann");
  await says("note-status", "everybody");
  assert.deepEqual(wrong, []);
});

test("a page of its own origin may frame it, one of another may not", async (t) => {
  const page = await browser.newPage();
  t.after(() => page.close());
  await page.goto(ingress.url);
  await page.frameLocator("iframe").locator("#sign-in-title").waitFor();
  const elsewhere = createServer((_, answer) => answer.setHeader("content-type", "text/html").end(`<iframe src="${siskin.url}/"></iframe>`));
  await new Promise((listening) => elsewhere.listen(0, "127.0.0.1", listening));
  t.after(() => elsewhere.close());
  const refused = page.waitForEvent("console", (line) => line.text().includes("frame-ancestors"));
  await page.goto(`http://127.0.0.1:${elsewhere.address().port}`);
  await refused;
});
