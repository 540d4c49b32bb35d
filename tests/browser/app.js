// The script of a chat application's page, for tests: signs in on the client module, and keeps what it hears.

import { connect, SiskinProvider } from "siskin";
import * as Y from "yjs";

Object.assign(window, { connect, SiskinProvider, Y, heard: [], looking: true });

/** Signs in; resolves once it is in. */
window.enter = (options) =>
  new Promise((entered) => {
    const client = connect({ isFocused: () => window.looking, ...options });
    const keep = (...what) => window.heard.push(JSON.parse(JSON.stringify(what)));
    client.on("online", entered);
    for (const name of ["state", "refresh", "unread", "error"]) client.on(name, (...args) => keep(name, ...args));
    client.on("notify", ({ kind, title, content }) => keep("notify", kind, title, content));
    client.chats.on("*", (type, data, { event, ...context }) => keep("chat", type, data, context));
    client.channels.on("*", (type, data, { event, ...context }) => keep("channel", type, data, context));
    window.client = client;
  });

/** Shows a chat or a channel; what its own listeners hear is kept as `open`. */
window.show = (of, id) => {
  window.shown = window.client[of].open(id);
  window.shown.on("*", (type) => window.heard.push(["open", id, type]));
  window.shown.on("typists", (list) => window.heard.push(["typists", list.map(({ name }) => name)]));
};

/** Opens a document with a text in it. */
window.edit = (id, options = {}) => {
  const doc = new Y.Doc();
  const provider = new SiskinProvider(window.client, id, doc, { Y, awareness: Y.awareness, ...options });
  Object.assign(window, { provider, text: doc.getText("text") });
};
