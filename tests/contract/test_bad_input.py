"""Every field of every payload of the contract, spoilt: nothing happens, nobody else notices, the server stays well.

Mallory is signed in and a member of nothing. Ann and Bob have all that Mallory names: a channel, a chat, a note, an open document,
a stream. Whatever Mallory sends, she hears nothing but `error`, they hear nothing, and all that the backend can see is as before.
"""

import asyncio
import json

import aiohttp
import pytest
import socketio

from scene import prepare

MISSING = object()

# A good payload of each row, as Ann could send it, and the fields that may be left out.
ROWS = {
    "user-join": ({"auth": {"token": "ANN"}}, []),
    "join-channels": ({"auth": {"token": "ANN"}}, []),
    "join-note": ({"auth": {"token": "MALLORY"}, "note_id": "n1"}, []),
    "usage": ({"model": "m1"}, []),
    "events:channel": ({"channel_id": "c1", "message_id": "m", "data": {"type": "typing", "data": {"typing": True}}}, []),
    "events:channel read": ({"channel_id": "c1", "data": {"type": "last_read_at"}}, []),
    "events:chat join": ({"chat_id": "chat1", "data": {"type": "join"}}, []),
    "events:chat leave": ({"chat_id": "chat1", "data": {"type": "leave"}}, []),
    "events:chat typing": ({"chat_id": "chat1", "data": {"type": "typing", "data": {"typing": True}}}, []),
    "events:chat read": ({"chat_id": "chat1", "data": {"type": "last_read_at"}}, []),
    "ydoc:document:join": (
        {"document_id": "note:n1", "user_id": "ann", "user_name": "Ann", "user_color": "#000"},
        ["user_id", "user_name", "user_color"],
    ),
    "ydoc:document:state": ({"document_id": "note:n1"}, []),
    "ydoc:document:update": (
        {"document_id": "note:n1", "user_id": "ann", "update": [0, 0], "data": {"content": {"md": "spoilt"}}, "initialize": True},
        [],
    ),
    "ydoc:document:leave": ({"document_id": "note:n1", "user_id": "ann"}, []),
    "ydoc:awareness:update": ({"document_id": "note:n1", "user_id": "ann", "update": [1, 2, 3]}, []),
    "ann:s:r": ({"choices": [{"delta": {"content": "spoilt"}}]}, []),
}

SPOILT = [
    MISSING,
    None,
    True,
    -1,
    1e308,
    10**40,
    "",
    [],
    {},
    ["x"],
    {"token": "ANN"},
    [[[[1]]]],
    "x" * 300,
    "x" * 10_000,
    {"x": ["y" * 100_000]},
    "n1/../n1",
    "../../../etc/passwd",
    "..",
    "/",
    ":",
    "::::",
    "*",
    "n*",
    "note:*",
    "local:x",
    "channel:c1",
    "c1\n",
    "c1\r\nPUBLISH x y",
    "\u0000",
    "n1\u0000",
    "\u202en1",
    "ünïcödé 🦜",
    "\ud800".encode("utf-16", "surrogatepass").decode("utf-16", "replace"),
    "ann",
    "SID",
]

WHOLE = [MISSING, None, 1, "text", True, [], [1], {}, [{}], "x" * 10_000, {"a": {"b": {"c": 1}}}]


def fields(payload, above=()):
    """The path of each field, the inner ones too."""
    for key, value in payload.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from fields(value, (*above, key))


def spoil(payload, path, value):
    """A copy with this field changed."""
    copy = json.loads(json.dumps(payload))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    if value is MISSING:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return copy


def cases(row):
    """The spoilt payloads of a row: the good one in Mallory's hands, each field spoilt, the whole replaced, two of them."""
    payload, _ = ROWS[row]
    yield (payload,)
    for path in fields(payload):
        for value in SPOILT:
            yield (spoil(payload, path, value),)
    for value in WHOLE:
        yield () if value is MISSING else (value,)
    yield (payload, payload, None)
    yield (None, payload)


def filled(value, names):
    if isinstance(value, dict):
        return {key: filled(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, names) for inner in value]
    return names.get(value, value) if isinstance(value, str) else value


class Client:
    def __init__(self, io):
        self.io, self.heard = io, []
        io.on("*", lambda name, *args: self.heard.append((name, args)))

    @classmethod
    async def connect(cls, siskin, who):
        client = cls(socketio.AsyncClient(reconnection=False))
        await client.io.connect(
            siskin.url, auth={"token": siskin.token(who)}, socketio_path="/ws/socket.io", transports=["websocket"]
        )
        await client.io.call("user-join", {"auth": {"token": siskin.token(who)}})
        return client

    async def settled(self):
        """All that was sent to this client before has arrived, all that it sent was handled."""
        await self.io.call("heartbeat", {})
        heard, self.heard[:] = list(self.heard), []
        return heard


def about_her_own(args):
    """A document that is no note is anybody's: there she may be answered."""
    payload = args[0] if args else None
    document = payload.get("document_id") if isinstance(payload, dict) else None
    return isinstance(document, str) and not document.startswith(("note:", "note_"))


async def backend_view(http, sids):
    """All that the backend can see, but the times of heartbeats."""
    view = {}
    for path in ("rooms", "sessions", "users", "channels/c1/members", "chats/chat1", "notes/n1", "notes/n1/versions"):
        async with http.get("/api/v1/" + path) as response:
            assert response.status == 200, path
            view[path] = await response.text()
    return {path: scrub(json.loads(text), sids) for path, text in view.items()}


def scrub(value, sids):
    """Without times, which heartbeats change, and without the documents that Mallory may open (and how many rooms that makes)."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if k not in ("last_seen_at", "last_active_at", "document_ids", "total")}
        return {k: scrub(v, sids) for k, v in kept.items()}
    if isinstance(value, list):
        kept = [v for v in value if not hers(v)]
        return [scrub(v, sids) for v in kept]
    return value


def hers(value):
    room = value.get("room", "") if isinstance(value, dict) else value
    return isinstance(room, str) and room.startswith("doc_") and room != "doc_note:n1"


@pytest.mark.parametrize("row", ROWS)
def test_spoilt_payloads_change_nothing(start_siskin, row):
    asyncio.run(play(start_siskin(SISKIN_EVENTS_PER_SECOND="0"), row))


async def play(siskin, row):
    headers = {"Authorization": f"Bearer {siskin.api_key}"}
    async with aiohttp.ClientSession(siskin.url, headers=headers) as http:
        await prepare(http)
        people = [await Client.connect(siskin, who) for who in ("ann", "bob")]
        mallory = await Client.connect(siskin, "mallory")
        for person in people:
            await person.io.call("events:chat", {"chat_id": "chat1", "data": {"type": "join"}})
            await person.io.emit("join-note", {"auth": {"token": siskin.token("ann")}, "note_id": "n1"})
            await person.io.emit("ydoc:document:join", {"document_id": "note:n1"})
        for person in [*people, *people]:
            await person.settled()
        names = {"ANN": siskin.token("ann"), "MALLORY": siskin.token("mallory"), "SID": people[0].io.get_sid()}
        before = await backend_view(http, names)
        event = row.split(" ")[0]
        acks = []
        for args in cases(row):
            args = tuple(filled(list(args), names))
            answered = lambda *came, args=args: acks.append((args, came))
            await mallory.io.emit(event, args, callback=answered)
            if len(acks) % 8 == 0:
                await asyncio.sleep(0)
        told = await mallory.settled()
        wrong = [name for name, came in told if name != "error" and not (name == "ydoc:document:state" and about_her_own(came))]
        assert not wrong, told
        for args, came in acks:
            # Leaving what one is not in is no fault, as with the reference.
            fine = not any(came) or about_her_own(args) or row == "events:chat leave" and came == (True,)
            assert fine, f"{event} {str(args)[:300]} was answered with {came}"
        for person in people:
            assert await person.settled() == []
        assert await backend_view(http, names) == before
        for client in [*people, mallory]:
            assert client.io.connected
            await client.io.disconnect()


def test_an_anonymous_socket_is_in_nothing(siskin):
    asyncio.run(play_anonymous(siskin))


async def play_anonymous(siskin):
    bad = [None, {}, {"token": None}, {"token": ""}, {"token": "a.b.c"}, {"token": 1}, {"token": ["x"]}, {"x": 1}, {"token": siskin.token("ann") + "x"}]
    headers = {"Authorization": f"Bearer {siskin.api_key}"}
    async with aiohttp.ClientSession(siskin.url, headers=headers) as http:
        await prepare(http)
        for auth in bad:
            client = Client(socketio.AsyncClient(reconnection=False))
            await client.io.connect(siskin.url, auth=auth, socketio_path="/ws/socket.io", transports=["websocket"])
            acks = []
            for row, (payload, _) in ROWS.items():
                if row == "user-join":
                    continue
                payload = filled(payload, {"ANN": siskin.token("ann"), "MALLORY": siskin.token("mallory")})
                await client.io.emit(row.split(" ")[0], payload, callback=lambda *came: acks.append(came))
            # Its last event is one that is answered: all before it were handled.
            joined = await client.io.call("user-join", {"auth": {"token": siskin.token("mallory")}})
            assert joined["id"] == "mallory"
            assert acks == [] and client.heard == [], (acks, client.heard)
            await client.io.disconnect()
