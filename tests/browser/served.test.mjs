// What the console and the client module are over HTTP: types, policy, caches, and what is left when they are switched off.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { request } from "node:http";
import { after, before, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { startSiskin } from "../harness.mjs";

const SOURCES = new URL("../../src/console/", import.meta.url);
const KINDS = { html: "text/html; charset=utf-8", css: "text/css; charset=utf-8", js: "text/javascript; charset=utf-8", svg: "image/svg+xml", ts: "text/plain; charset=utf-8", txt: "text/plain; charset=utf-8" };

/** Every file with the path that it is served at. */
const FILES = Object.entries({ page: "/console/", client: "/client/", vendor: "/client/" }).flatMap(([folder, prefix]) =>
  readdirSync(new URL(folder, SOURCES)).map((name) => ({
    path: name === "index.html" ? "/" : prefix + name,
    kind: KINDS[name.split(".").at(-1)],
    source: readFileSync(new URL(`${folder}/${name}`, SOURCES)),
  })),
);

let siskin;
before(async () => (siskin = await startSiskin()));
after(() => siskin.close());

/** A request without a browser's or fetch's own headers; the path goes out as it is written. */
function ask(path, headers = {}, { method = "GET", url = siskin.url } = {}) {
  return new Promise((resolve, reject) => {
    const asked = request(url, { path, method, headers }, async (answer) => {
      const chunks = [];
      for await (const chunk of answer) chunks.push(chunk);
      resolve({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(chunks) });
    });
    asked.on("error", reject).end();
  });
}

test("each file is served packed and plain, with its type and the policy", async () => {
  assert.ok(FILES.length > 20);
  for (const { path, kind, source } of FILES) {
    const [plain, packed] = [await ask(path), await ask(path, { "accept-encoding": "gzip, br" })];
    for (const { status, headers } of [plain, packed]) {
      assert.equal(status, 200, path);
      assert.equal(headers["content-type"], kind, path);
      assert.equal(headers["x-content-type-options"], "nosniff");
      assert.equal(headers["cache-control"], "no-cache");
      assert.equal(headers.vary, "Accept-Encoding");
      assert.match(headers["content-security-policy"], /^default-src 'none'; script-src 'self'; style-src 'self';/);
      assert.doesNotMatch(headers["content-security-policy"], /unsafe|\*|data:|http/);
      assert.equal(headers["access-control-allow-origin"], path.startsWith("/client/") ? "*" : undefined);
    }
    assert.equal(plain.headers["content-encoding"], undefined);
    assert.ok(plain.body.equals(source), path);
    assert.equal(packed.headers["content-encoding"], "gzip");
    assert.ok(gunzipSync(packed.body).equals(source), path);
  }
});

test("the page and all that it may load are at most 82 KiB", async () => {
  const read = FILES.filter(({ kind }) => kind !== KINDS.txt);
  const sizes = await Promise.all(read.map(async ({ path }) => (await ask(path, { "accept-encoding": "gzip" })).body.length));
  const sum = sizes.reduce((sum, size) => sum + size);
  assert.ok(sum <= 82 * 1024, `${sum} bytes`);
});

test("what a browser has is not sent again, and HEAD sends nothing", async () => {
  for (const path of ["/", "/client/siskin.js", "/client/yjs.js"]) {
    const whole = await ask(path, { "accept-encoding": "gzip" });
    const known = await ask(path, { "if-none-match": whole.headers.etag });
    assert.deepEqual([known.status, known.body.length, known.headers.etag], [304, 0, whole.headers.etag]);
    assert.equal((await ask(path, { "if-none-match": 'W/"0000000000000000"' })).status, 200);
    const head = await ask(path, { "accept-encoding": "gzip" }, { method: "HEAD" });
    assert.deepEqual([head.status, head.body.length, head.headers["content-type"], head.headers.etag], [200, 0, whole.headers["content-type"], whole.headers.etag]);
    assert.equal(head.headers["content-length"], String(whole.body.length));
  }
});

/** Refused with problem details (RFC 9457). */
function refused({ status, headers, body }, code) {
  assert.equal(status, code);
  assert.equal(headers["content-type"], "application/problem+json");
  assert.equal(JSON.parse(body).status, code);
}

test("nothing else is there, and nothing can be written", async () => {
  for (const path of ["/index.html", "/console/", "/console/index.html", "/client", "/client/siskin", "/client/../siskin.js", "/client/%2e%2e/page/console.js"]) {
    refused(await ask(path), 404);
  }
  refused(await ask("/", {}, { method: "POST" }), 405);
  refused(await ask("/client/siskin.js", {}, { method: "DELETE" }), 405);
});

test("SISKIN_CONSOLE=off takes the page away; the module that frontends import stays", async (t) => {
  const other = await startSiskin({ env: { SISKIN_CONSOLE: "off" } });
  t.after(() => other.close());
  for (const { path, source } of FILES) {
    const answer = await ask(path, {}, { url: other.url });
    if (path.startsWith("/client/")) assert.ok(answer.body.equals(source), path);
    else refused(answer, 404);
  }
  assert.equal((await ask("/health", {}, { url: other.url })).status, 200);
});
