// The client module as it is served, for node: fetched into a folder and imported from there.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { io } from "socket.io-client";

const FILES = ["siskin.js", "calls.js", "channels.js", "chats.js", "emitter.js", "provider.js", "settings.js", "socket.io.js"];

/** Imports what `siskin` serves. node brings no websocket of its own, so `connect` gets the client for node. */
export async function importModule(siskin) {
  const folder = mkdtempSync(join(tmpdir(), "siskin-module-"));
  writeFileSync(join(folder, "package.json"), '{"type": "module"}');
  for (const file of FILES) {
    const answer = await fetch(`${siskin.url}/client/${file}`);
    if (!answer.ok) throw new Error(`${file}: ${answer.status}`);
    writeFileSync(join(folder, file), await answer.text());
  }
  const module = await import(pathToFileURL(join(folder, "siskin.js")));
  rmSync(folder, { recursive: true });
  const connect = (options) => module.connect({ url: siskin.url, io, ...options });
  return { ...module, connect };
}

/** Resolves when `name` is emitted with arguments that `fits`. */
export function heard(emitter, name, fits = () => true) {
  return new Promise((resolve) => {
    const stop = emitter.on(name, (...args) => fits(...args) && (stop(), resolve(args)));
  });
}
