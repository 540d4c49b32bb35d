"""python-socketio's managers and siskin are one server, in both channel modes and both directions."""

import asyncio
import json
import time

import pytest
from parts import Api, PythonServer, clients, settings, until, writer
from redis.asyncio import Redis

BYTES = bytes(range(256)) * 5


@pytest.fixture(params=[True, False], ids=["room-channels", "one-channel"])
def mode(request):
    return request.param


async def seen(client, event, count=1):
    """Waits for so many events of a name; their first arguments."""
    await until(lambda: len(client.events(event)) >= count, what=f"{event} at {client.user}")
    return client.events(event)


def scene(test):
    """Runs a test with siskin `a`, a python-socketio server `p`, a write-only manager, and one client on each server."""

    def run(mode, start_siskin, redis_server):
        async def body():
            a = start_siskin(**settings(redis_server.url, mode))
            async with Api(a) as api, PythonServer(redis_server.url, mode) as p, writer(redis_server.url, mode) as w:
                await until(lambda: _ready(api), what="readiness")
                async with clients((a, "ann"), (p, "bob")) as (ann, bob):
                    await _sign_in(redis_server.url, bob)
                    await test(api, p, w, ann, bob)

        asyncio.run(body())

    run.__doc__, run.__name__ = test.__doc__, test.__name__
    return run


async def _ready(api):
    return (await api.ready())["ready"]


async def _sign_in(url, client):
    """What Open WebUI does for a socket of its own."""
    user = {"id": client.user, "name": client.user, "role": "user", "last_seen_at": int(time.time()) + 600}
    async with Redis.from_url(url) as redis:
        await redis.hset("open-webui:session_pool", client.sid, json.dumps(user))


@scene
async def test_python_emits_to_siskin(api, p, w, ann, bob):
    """To a room, a user's room, a sid, everybody; with skip; arguments as they were."""
    await api.enter("r", "ann")
    await p.io.enter_room(bob.sid, "r")
    for emit in (p.io.emit, w.emit):
        ann.received.clear()
        bob.received.clear()
        await emit("room", {"n": 1}, room="r")
        await emit("user", "ü", room="user:ann")
        await emit("sid", 0, room=ann.sid)
        await emit("many", (1, "two", [3]), room="r")
        await emit("skip", 1, room="r", skip_sid=ann.sid)
        await emit("skips", 1, room="r", skip_sid=[bob.sid, "nobody"])
        await emit("all", 1)
        await seen(ann, "all")
        await seen(bob, "all")
        assert ann.received == [
            ("room", ({"n": 1},)), ("user", ("ü",)), ("sid", (0,)), ("many", (1, "two", [3])), ("skips", (1,)), ("all", (1,)),
        ]  # fmt: skip
        assert [event for event, _ in bob.received] == ["room", "many", "skip", "all"]


@scene
async def test_siskin_emits_to_python(api, p, w, ann, bob):
    """To a room, a user's room and a sid of the other server; with skip."""
    await api.enter("r", "ann")
    await p.io.enter_room(bob.sid, "r")
    await api.emit("room", {"n": 1}, room="r")
    await api.emit("user", "ü", user_id="bob")
    await api.emit("sid", 0, session_id=bob.sid)
    await api.emit("skip", 1, room="r", skip_sid=bob.sid)
    await api.emit("skips", 1, room="r", skip_sid=[ann.sid])
    await seen(bob, "skips")
    await seen(ann, "skip")
    assert bob.received == [("room", ({"n": 1},)), ("user", ("ü",)), ("sid", (0,)), ("skips", (1,))]
    assert ann.received == [("room", ({"n": 1},)), ("skip", (1,))]


@scene
async def test_typing_crosses(api, p, w, ann, bob):
    """What a client of siskin types in a channel reaches the channel's members on the other server."""
    await api("PUT", "/channels/c", {"name": "C", "members": ["ann"]})
    await api.enter("channel:c", "ann")
    await p.io.enter_room(bob.sid, "channel:c")
    await ann.io.emit("events:channel", {"channel_id": "c", "data": {"type": "typing", "data": {"typing": True}}})
    for client in (ann, bob):
        (event,) = await seen(client, "events:channel")
        assert event["data"] == {"type": "typing", "data": {"typing": True}} and event["user"]["id"] == "ann"


@scene
async def test_binary_crosses(api, p, w, ann, bob):
    """Bytes from python-socketio arrive as bytes, however deep they lie."""
    for emit in (p.io.emit, w.emit):
        ann.received.clear()
        await emit("plain", BYTES, room="user:ann")
        await emit("deep", ({"a": [b"\x00", {"b": BYTES}], "c": "text"}, b""), room="user:ann")
        await emit("end", 1, room="user:ann")
        await seen(ann, "end")
        assert ann.received[:2] == [("plain", (BYTES,)), ("deep", ({"a": [b"\x00", {"b": BYTES}], "c": "text"}, b""))]


@scene
async def test_awareness_crosses(api, p, w, ann, bob):
    """Bytes of a client of siskin reach a member on the other server, as numbers, which all editors take."""
    await p.io.enter_room(bob.sid, "doc_free")
    await ann.io.emit("ydoc:document:join", {"document_id": "free"})
    await seen(ann, "ydoc:document:state")
    await seen(bob, "ydoc:user:joined")
    await ann.io.emit("ydoc:awareness:update", {"document_id": "free", "update": BYTES})
    (got,) = await seen(bob, "ydoc:awareness:update")
    assert bytes(got["update"]) == BYTES and got["user_id"] == "ann"


@scene
async def test_python_asks_a_browser_on_siskin(api, p, w, ann, bob):
    """An ack goes back to the server that asked, with binary and with several arguments."""
    ann.answer = ("yes", {"n": 2})
    assert await p.io.call("ask", {"q": 1}, to=ann.sid, timeout=10) == ("yes", {"n": 2})
    ann.answer = None
    answers = []
    await p.io.emit("ask", 1, to=ann.sid, callback=lambda *args: answers.append(args))
    await until(lambda: answers, what="ack")
    assert answers[0] in ((), (None,))


@scene
async def test_siskin_asks_a_browser_on_python(api, p, w, ann, bob):
    """The HTTP API asks a socket of the other server and gets what it acknowledged; only its own user's."""
    bob.answer = {"ok": True}
    call = {"user_id": "bob", "session_id": bob.sid, "chat_id": "local:x", "event": {"type": "execute:python", "data": {"code": "1"}}}
    assert (await api("POST", "/chat/call", call))["answer"] == {"ok": True}
    refused = await api("POST", "/chat/call", {**call, "user_id": "ann"}, ok=False)
    assert refused["status"] >= 400
    assert len(bob.events("events")) == 1


@scene
async def test_rooms_by_message(api, p, w, ann, bob):
    """The other server and a write-only manager move sockets of siskin in and out of rooms, and close rooms."""
    for far in (p.manager, w):
        await far.enter_room(ann.sid, "/", "far")
        await until(lambda: _is_in(api, "far", ann.sid), what="member")
        await far.leave_room(ann.sid, "/", "far")
        await until(lambda: _is_out(api, "far", ann.sid), what="end of membership")
        await api.enter("closing", "ann")
        await far._publish({"method": "close_room", "room": "closing", "namespace": "/", "host_id": "somebody"})
        await until(lambda: _is_out(api, "closing", ann.sid), what="closed room")


@scene
async def test_siskin_closes_rooms_everywhere(api, p, w, ann, bob):
    await api.enter("r", "ann")
    await p.io.enter_room(bob.sid, "r")
    await api("DELETE", "/rooms/r")
    await until(lambda: not p.members("r"), what="closed room")
    assert await api.members("r") == set()


@scene
async def test_disconnect_by_message(api, p, w, ann, bob):
    """Each side ends a socket of the other: the transport ends, the session is gone from the pool."""
    async with clients((ann.server, "cid")) as (cid,):
        await p.io.disconnect(ann.sid)
        await w.can_disconnect(cid.sid, "/")
        await until(lambda: ann.lost and cid.lost, what="disconnects")
    await until(lambda: _no_sessions(api), what="end of sessions")
    await api("DELETE", f"/sessions/{bob.sid}", ok=False)
    await until(lambda: bob.lost, what="disconnect of bob")
    assert p.gone


@scene
async def test_own_and_malformed_messages(api, p, w, ann, bob):
    """An event comes once; a malformed message is skipped and the next one arrives."""
    await api.enter("r", "ann")
    async with Redis.from_url(p.manager.redis_url) as redis:
        for bad in MALFORMED:
            await redis.publish("socketio", bad)
            await redis.publish("socketio#/#r", bad)
    await api.emit("once", 1, room="r")
    await w.emit("last", 1, room="r")
    await seen(ann, "last")
    assert ann.received == [("once", (1,)), ("last", (1,))]


MALFORMED = [
    b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe", b"{}", b'{"method":1}', b'{"method":"emit"}', b'{"method":"nonsense","host_id":"x"}',
    b'{"method":"emit","event":1,"data":[],"room":"r","namespace":"/"}',
    b'{"method":"emit","event":"e","data":"text","room":{"a":1},"namespace":"/","host_id":"x"}',
    b'{"method":"emit","event":"e","data":[[{"_placeholder":true,"num":0}],"no base64!"],"binary":true,"room":"r","namespace":"/","host_id":"x"}',
    b'{"method":"emit","event":"e","data":[1],"room":"r","namespace":"/none","host_id":"x"}',
    b'{"method":"callback","host_id":"x","sid":"y","namespace":"/","id":"z","args":1}',
    b'{"method":"disconnect","sid":1}', b'{"method":"enter_room","sid":"none","room":null}', b'{"method":"close_room"}',
    b"[" * 5000,
]  # fmt: skip


async def _is_in(api, room, sid):
    return sid in await api.members(room)


async def _is_out(api, room, sid):
    return sid not in await api.members(room)


async def _no_sessions(api):
    return not (await api("GET", "/sessions"))["sessions"]
