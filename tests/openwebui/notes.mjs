// Notes of the real Open WebUI, and pages that have them open.

import assert from "node:assert/strict";
import { sleep, waitFor } from "../harness.mjs";
import { open } from "./real.mjs";

/** A note of `owner` that these may write. */
export async function newNote({ webui }, owner, writers, md) {
  const { id } = await webui.api(owner, "POST", "/notes/create", { title: "Birds", data: { content: { md } }, access_grants: [] });
  const grants = writers.flatMap(({ id }) => ["read", "write"].map((permission) => ({ principal_type: "user", principal_id: id, permission })));
  await webui.api(owner, "POST", `/notes/${id}/access/update`, { access_grants: grants });
  return id;
}

/** The text of each line, without the cursors of others in it. */
function texts(lines) {
  return lines.map((line) => {
    const copy = line.cloneNode(true);
    copy.querySelectorAll(".ProseMirror-widget, [class*=yjs-cursor]").forEach((cursor) => cursor.remove());
    return copy.textContent.trim();
  });
}

/** Somebody with the note open, who sees this text. */
export async function openNote(t, browser, house, user, note, text, prepare) {
  const opened = await open(t, browser, house, user, `/notes/${note}`, prepare);
  const lines = opened.page.locator(".ProseMirror > p");
  const read = async () => (await lines.evaluateAll(texts)).join("\n");
  const shows = (text, what = text) => waitFor(async () => (await read()) === text, { seconds: 40, what: `${JSON.stringify(what)} on ${user.name}'s page` });
  await shows(text).catch(async (error) => assert.fail(`${error.message}: ${JSON.stringify(await read())}`));
  const type = async (line, words, pause) => {
    const there = (at) => document.querySelectorAll(".ProseMirror > p")[at].contains(getSelection().anchorNode);
    const click = async () => {
      await lines.nth(line).click();
      await opened.page.keyboard.press("End");
      // The editor takes the caret over in a moment.
      await sleep(200);
      return opened.page.evaluate(there, line);
    };
    await waitFor(click, { what: "the caret in its line" });
    for (const word of words) {
      await opened.page.keyboard.type(word);
      await sleep(pause);
    }
  };
  return { ...opened, read, shows, type };
}

export const savedNote = async ({ webui }, owner, note) => (await webui.api(owner, "GET", `/notes/${note}`)).data.content.md.trim().replace(/\n+/g, "\n");

/** Whoever looks sees this: these pages, and whoever opens the note later. */
export async function agreeOn(house, owner, note, text, ...editors) {
  for (const someone of editors) await someone.shows(text).catch(async (error) => assert.fail(`${error.message}: ${JSON.stringify(await someone.read())}`));
  const saved = () => savedNote(house, owner, note);
  await waitFor(async () => (await saved()) === text, { what: "the note in the database" }).catch(async () => assert.equal(await saved(), text));
}
