// An encrypted private chat between two real pages: all of it goes over events that siskin does not know.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "../browser/browser.mjs";
import { sleep, waitFor } from "../harness.mjs";
import { open, startHouse } from "./real.mjs";

let browser, house, ann, bob;
const end = [];
before(async () => {
  const env = { ENABLE_ENCRYPTED_CHANNELS: "true", USER_PERMISSIONS_FEATURES_CHANNELS: "true", USER_PERMISSIONS_FEATURES_ENCRYPTED_CHANNELS: "true" };
  [browser, house] = await Promise.all([launch(), startHouse({ after: (step) => end.unshift(step) }, { webui: env })]);
  await house.webui.signUp("root");
  [ann, bob] = [await house.webui.signUp("ann"), await house.webui.signUp("bob")];
});
after(async () => {
  await browser.close();
  for (const step of end) await step();
});

for (const delay of [0, 300]) {
  test(`two pages hold an encrypted chat, each request takes ${delay} ms longer`, async (t) => {
    house.delay = delay;
    const { id } = await house.webui.api(ann, "POST", "/channels/create", { name: "", type: "dm", user_ids: [ann.id, bob.id] });
    const [one, two] = [await open(t, browser, house, ann, `/channels/${id}`), await open(t, browser, house, bob, `/channels/${id}`)];
    await one.page.getByRole("button", { name: "Conversation options" }).last().click();
    await one.page.getByRole("menuitem", { name: "Encrypted Chat" }).click();
    await two.page.getByRole("button", { name: "Join encrypted chat" }).click({ timeout: 30_000 });
    const editor = (page) => page.locator(".ProseMirror, textarea").last();
    const say = async (page, text) => {
      await editor(page).click({ timeout: 30_000 });
      await page.keyboard.type(text);
      await page.keyboard.press("Enter");
    };
    const shows = (page, text) => waitFor(async () => (await page.getByText(text, { exact: true }).count()) === 1, { seconds: 30, what: text });
    await shows(one.page, "bob joined");
    for (const [from, to, text] of [[one, two, "is anybody there"], [two, one, "nobody but us"], [one, two, "good"]]) {
      await say(from.page, text);
      await shows(to.page, text);
    }
    await sleep(500);
    // Each event once: their numbers have neither gaps nor doubles.
    for (const { events } of [one, two]) {
      const numbers = events("encryption:event").map(({ sequence }) => sequence);
      assert.ok(numbers.length > 3);
      assert.deepEqual(numbers, numbers.map((_, place) => place + 1));
    }
    // Who closes the page is missed at once.
    await two.page.close();
    await waitFor(() => one.events("encryption:event").some(({ kind }) => kind === "departed"), { what: "the departure" });
  });
}
