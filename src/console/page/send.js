// The form that sends a test event to a user, a room or a session.

import { $, say } from "./dom.js";

const EXAMPLE = `{
 "chat_id": "local:console",
 "message_id": "m1",
 "data": {"type": "message", "data": {"content": "Hello from the console"}}
}`;

/** `to` is whom it goes to, unless something was typed already. */
export function startSending(api, to) {
  const data = $("send-data");
  if (!data.value) data.value = EXAMPLE;
  if (!$("send-to").value && to) $("send-to").value = to;
  $("send").onsubmit = async (event) => {
    event.preventDefault();
    ["send-done", "send-error"].forEach((id) => say($(id), ""));
    const read = parse(data.value);
    data.setAttribute("aria-invalid", read.error !== undefined);
    if (read.error) return say($("send-error"), `The data is not JSON: ${read.error}`);
    const target = { [$("send-kind").value]: $("send-to").value.trim() };
    try {
      const { delivered } = await api.post("/emit", { ...target, event: $("send-event").value.trim(), data: read.json });
      say($("send-done"), got(delivered));
    } catch (problem) {
      say($("send-error"), problem.message);
    }
  };
}

function got(sockets) {
  if (sockets === 0) return "Nobody is there to get it.";
  return sockets === 1 ? "One socket got it." : `${sockets.toLocaleString("en")} sockets got it.`;
}

function parse(text) {
  try {
    return { json: text.trim() ? JSON.parse(text) : null };
  } catch (error) {
    return { error: error.message };
  }
}
