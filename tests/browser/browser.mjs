// A real browser for tests: Debian's Chromium, one for a file; a person is a context of its own with one page.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";
import { waitFor } from "../harness.mjs";

const QUIET = ["quic", "background-networking", "component-update", "sync", "gpu"].map((what) => `--disable-${what}`);
const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

/** Tells of each breach of the page's policy, from before its first script on. */
const WATCH = () => addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => globalThis.breach(`${violatedDirective}: ${blockedURI}`));

export const launch = () => chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--no-first-run", ...QUIET] });

/** Somebody with the console open. `wrong` collects script errors, breaches of the page's policy, and requests to other hosts. */
export async function visit(t, browser, url, options = {}) {
  const context = await browser.newContext(options);
  t.after(() => context.close());
  const wrong = [];
  await context.exposeBinding("breach", (_, what) => wrong.push(what));
  await context.addInitScript(WATCH);
  const page = await context.newPage();
  page.on("pageerror", (error) => wrong.push(error.message));
  page.on("console", (message) => message.text().includes("Content Security Policy") && wrong.push(message.text()));
  page.on("request", (request) => request.url().startsWith(url) || wrong.push(request.url()));
  await page.goto(`${url}/`);
  const text = (id) => page.textContent(`#${id}`);
  const says = (id, what) => waitFor(async () => (await text(id)).includes(what), { what: `${what} in #${id}` });
  const signIn = async (secret) => (await page.fill("#secret", secret), await page.click("#sign-in button"));
  return { page, wrong, text, says, signIn };
}

/** What axe finds that is serious or worse, as text. It comes past the page's policy, which stays as it is. */
export async function barriers(page) {
  const session = await page.context().newCDPSession(page);
  await session.send("Runtime.evaluate", { expression: readFileSync(AXE, "utf8") });
  await session.detach();
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  const bad = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  return bad.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(" ")}`);
}
