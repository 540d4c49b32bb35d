// Real pages through what happens to their user and to Open WebUI: another role, a revoked note, a restart, an update.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { launch } from "../browser/browser.mjs";
import { waitFor } from "../harness.mjs";
import { open, startHouse } from "./real.mjs";

let browser, house, root, ann, bob;
const end = [];
const atTheEnd = { after: (step) => end.unshift(step) };
before(async () => {
  const model = await startModel();
  const webui = {
    ENABLE_OPENAI_API: "true",
    OPENAI_API_BASE_URL: model,
    OPENAI_API_KEY: "none",
    BYPASS_MODEL_ACCESS_CONTROL: "true",
    // What is answered is then known to the process alone, and with it nobody says that it goes on.
    REDIS_URL: "",
  };
  [browser, house] = await Promise.all([launch(), startHouse(atTheEnd, { webui })]);
  root = await house.webui.signUp("root");
  [ann, bob] = [await house.webui.signUp("ann"), await house.webui.signUp("bob")];
  house.delay = 300;
});
after(async () => {
  await browser.close();
  for (const step of end) await step();
});

/** A model that never comes to the end of an answer. */
async function startModel() {
  const server = createServer((asked, answer) => {
    if (asked.method === "GET") return answer.setHeader("content-type", "application/json").end(JSON.stringify({ object: "list", data: [{ id: "finch", object: "model" }] }));
    asked.resume();
    const choices = [{ delta: { content: "half an answer " }, index: 0 }];
    answer.setHeader("content-type", "text/event-stream");
    answer.write(`data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", model: "finch", choices })}\n\n`);
  });
  await new Promise((listens) => server.listen(0, "127.0.0.1", listens));
  end.push(() => (server.closeAllConnections(), new Promise((closed) => server.close(closed))));
  return `http://127.0.0.1:${server.address().port}/v1`;
}

const api = (...request) => house.webui.api(...request);

/** The roles of a user's signed-in sockets. */
async function roles(user) {
  const { sessions } = await house.siskin.api("GET", "/sessions");
  return sessions.filter((session) => session.user?.id === user.id).map((session) => session.user.role);
}

test("a role that changes twice is right when the page is back, and each change costs one connection", async (t) => {
  const page = await open(t, browser, house, bob, "/");
  await waitFor(async () => (await roles(bob)).length, { what: "bob's socket", seconds: 40 });
  const before = page.sockets.length;
  const become = (role) => api(root, "POST", `/users/${bob.id}/update`, { role, name: "bob", email: "bob@example.com", profile_image_url: "/user.png" });
  await become("admin");
  await waitFor(async () => page.sockets.length > before && (await roles(bob)).length, { what: "bob's page back" });
  assert.deepEqual(await roles(bob), ["admin"]);
  await become("user");
  await waitFor(async () => page.sockets.length > before + 1 && (await roles(bob)).length, { what: "bob's page back" });
  assert.deepEqual(await roles(bob), ["user"]);
  await become("pending");
  await waitFor(async () => page.sockets.length > before + 2, { what: "bob's page back" });
  await waitFor(() => house.siskin.log().includes("not let in yet"), { what: "a refusal" });
  assert.deepEqual(await roles(bob), []);
  assert.equal(page.sockets.length, before + 3);
  await become("user");
});

const refusals = () => house.siskin.log().split("Open WebUI refuses the token").length - 1;

const another = "another long enough word";
for (const [name, what, change] of [
  ["cid", "who has another password", (user) => api(user, "POST", "/auths/update/password", { password: "a long enough word for cid", new_password: another })],
  ["dan", "who is given another password", ({ id }) => api(root, "POST", `/users/${id}/update`, { role: "user", name: "dan", email: "dan@example.com", profile_image_url: "/user.png", password: another })],
  ["eve", "who is deleted", ({ id }) => api(root, "DELETE", `/users/${id}`)],
]) {
  test(`the page of somebody ${what} is out when it is back`, async (t) => {
    const user = await house.webui.signUp(name);
    const page = await open(t, browser, house, user, "/");
    await waitFor(async () => (await roles(user)).length, { what: `${name}'s socket`, seconds: 40 });
    const [sockets, before] = [page.sockets.length, refusals()];
    await change(user);
    // It shows its token again, unless something else has told it first that it is good no more: then it may be out without that.
    const isRefused = () => page.sockets.length > sockets && refusals() > before;
    const state = () => `${page.sockets.length} sockets after ${sockets}, ${refusals()} refusals after ${before}, ${page.page.url()}\n${house.siskin.log()}`;
    const isOut = async () => (isRefused() || page.page.url().includes("/auth")) && (await roles(user)).length === 0;
    await waitFor(isOut, { what: "a page that is out", seconds: 90 }).catch(async (error) => assert.fail(`${error.message}: ${state()}`));
    if (name === "eve") return;
    const again = await api(null, "POST", "/auths/signin", { email: `${name}@example.com`, password: another });
    await open(t, browser, house, again, "/");
    await waitFor(async () => (await roles(user)).length, { what: `${name}'s new socket`, seconds: 40 });
    assert.deepEqual(await roles(user), ["user"]);
  });
}

test("who is made to leave a note can't open it again", async (t) => {
  const { id } = await api(root, "POST", "/notes/create", { title: "Birds", data: { content: { md: "finch" } }, access_grants: [] });
  const grants = ["read", "write"].map((permission) => ({ principal_type: "user", principal_id: ann.id, permission }));
  await api(root, "POST", `/notes/${id}/access/update`, { access_grants: grants });
  const page = await open(t, browser, house, ann, `/notes/${id}`);
  const rooms = async () => (await house.siskin.api("GET", `/rooms/doc_note:${id}`)).sessions.length;
  await waitFor(async () => (await rooms()) === 1, { what: "ann in the note", seconds: 40 });
  await api(root, "POST", `/notes/${id}/access/update`, { access_grants: [] });
  await waitFor(async () => (await rooms()) === 0, { what: "an empty room" });
  const states = page.events("ydoc:document:state").length;
  // The page tries as soon as it is connected anew.
  await house.siskin.api("DELETE", `/users/${ann.id}/sessions`);
  await waitFor(() => /ydoc:document:join of \S+ is ignored: Denied/.test(house.siskin.log()), { what: "a refusal" });
  assert.equal(page.events("ydoc:document:state").length, states);
  assert.equal(await rooms(), 0);
});

test("a dead answer ends with the restart that killed it", async (t) => {
  const { page } = await open(t, browser, house, ann, "/");
  await page.waitForSelector("#chat-input", { timeout: 60_000 });
  await page.click("#chat-input");
  await page.keyboard.type("hello");
  await page.keyboard.press("Enter");
  const stop = page.getByRole("button", { name: "Stop" });
  await waitFor(async () => (await page.getByText("half an answer").count()) && (await stop.count()), { what: "half an answer", seconds: 40 });
  await house.webui.stop();
  await house.webui.start();
  await waitFor(async () => !(await stop.count()), { what: "an end", seconds: 40 });
});

test("an updated Open WebUI reloads its pages", async (t) => {
  const { page } = await open(t, browser, house, ann, "/");
  await waitFor(async () => (await roles(ann)).length, { what: "ann's socket", seconds: 40 });
  await page.evaluate(() => (window.isOld = true));
  await house.webui.stop();
  await house.webui.start({ DEPLOYMENT_ID: "2" });
  const isNew = () => page.evaluate(() => !window.isOld && document.readyState === "complete").catch(() => false);
  await waitFor(isNew, { what: "a new page", seconds: 60 });
});
