"""Two instances and a python-socketio server are one server, in both channel modes and all directions."""

import asyncio
import json

from parts import Client, clients, pool, scene, seen, until

# Of 20 kB each: a little less than may wait for Redis.
EVENTS = 350
BYTES = bytes(range(256)) * 5


@scene
async def test_python_emits_to_siskin(s):
    """To a room, a user's room, a sid, several rooms, everybody; with skip; arguments as they were."""
    await s.a.enter("r", "ann")
    await s.p.io.enter_room(s.pam.sid, "r")
    for emit in (s.p.io.emit, s.w.emit):
        for client in s.everybody:
            client.received.clear()
        await emit("room", {"n": 1}, room="r")
        await emit("user", 'ü"\\', room="user:ann")
        await emit("sid", 0, room=s.ann.sid)
        await emit("many", (1, "two", [3]), room="r")
        await emit("none", None, room="r")
        await emit("rooms", 1, room=["r", "user:ann", "user:bob"])
        await emit("skip", 1, room="r", skip_sid=s.ann.sid)
        await emit("skips", 1, room="r", skip_sid=[s.pam.sid, "nobody"])
        await emit("all", 1)
        for client in s.everybody:
            await seen(client, "all")
        assert s.ann.received == [
            ("room", ({"n": 1},)), ("user", ('ü"\\',)), ("sid", (0,)), ("many", (1, "two", [3])), ("none", ()),
            ("rooms", (1,)), ("skips", (1,)), ("all", (1,)),
        ]  # fmt: skip
        assert s.bob.received == [("rooms", (1,)), ("all", (1,))]
        assert [event for event, _ in s.pam.received] == ["room", "many", "none", "rooms", "skip", "all"]


@scene
async def test_siskin_emits_to_others(s):
    """To a room, a user's room and a sid of the other instance and of python-socketio; with skip."""
    await s.a.enter("r", "ann")
    await s.b.enter("r", "bob")
    await s.p.io.enter_room(s.pam.sid, "r")
    for client in (s.bob, s.pam):
        await s.a.emit("room", {"n": 1}, room="r")
        await s.a.emit("user", "ü", user_id=client.user)
        await s.a.emit("sid", 0, session_id=client.sid)
        await s.a.emit("skip", 1, room="r", skip_sid=client.sid)
        await s.a.emit("skips", 1, room="r", skip_sid=[s.ann.sid])
        await seen(client, "skips")
        await seen(s.ann, "skip")
        assert client.received == [("room", ({"n": 1},)), ("user", ("ü",)), ("sid", (0,)), ("skips", (1,))]
        assert s.ann.received == [("room", ({"n": 1},)), ("skip", (1,))]
        for one in s.everybody:
            await seen(one, "room")
            one.received.clear()
        # What the others have not yet got of this would be taken for something of the next.
        await s.a.emit("end", 1, room="r")
        for one in s.everybody:
            await seen(one, "end")
            one.received.clear()


@scene
async def test_a_flood_keeps_its_order(s):
    await s.b.enter("r", "bob")
    await s.p.io.enter_room(s.pam.sid, "r")
    for number in range(300):
        await s.a.emit("x", number, room="r")
    for client in (s.bob, s.pam):
        assert await seen(client, "x", 300) == list(range(300))


@scene
async def test_what_is_large_keeps_its_place(s):
    """It is read beside the thread; what was said before and after it, too, comes before and after it."""
    await s.a.enter("r", "ann")
    await s.b.enter("r", "bob")
    await s.p.io.enter_room(s.pam.sid, "r")
    sizes = [10, 700_000, 20, 30, 3_000_000, 40]
    for emit in (s.a.emit, s.p.io.emit):
        for size in sizes:
            await emit("big", "x" * size, room="r")
        await emit("end", 1, room="r")
        for client in s.everybody:
            await seen(client, "end")
            assert [len(args[0]) for event, args in client.received if event == "big"] == sizes
            client.received.clear()


@scene
async def test_typing_crosses(s):
    """What a client types in a channel reaches the channel's members everywhere."""
    await s.a("PUT", "/channels/c", {"name": "C", "members": ["ann"]})
    await s.b.enter("channel:c", "bob")
    await s.p.io.enter_room(s.pam.sid, "channel:c")
    await s.ann.io.emit("events:channel", {"channel_id": "c", "data": {"type": "typing", "data": {"typing": True}}})
    for client in s.everybody:
        (event,) = await seen(client, "events:channel")
        assert event["data"] == {"type": "typing", "data": {"typing": True}} and event["user"]["id"] == "ann"


@scene
async def test_binary_crosses(s):
    """Bytes from python-socketio arrive as bytes, however deep they lie."""
    for emit in (s.p.io.emit, s.w.emit):
        s.ann.received.clear()
        await emit("plain", BYTES, room="user:ann")
        await emit("deep", ({"a": [b"\x00", {"b": BYTES}], "c": "text"}, b""), room="user:ann")
        await emit("end", 1, room="user:ann")
        await seen(s.ann, "end")
        assert s.ann.received[:2] == [("plain", (BYTES,)), ("deep", ({"a": [b"\x00", {"b": BYTES}], "c": "text"}, b""))]


@scene
async def test_awareness_crosses(s):
    """Bytes of a client reach members elsewhere as numbers, which all editors take."""
    await s.p.io.enter_room(s.pam.sid, "doc_free")
    for client in (s.bob, s.ann):
        await client.io.emit("ydoc:document:join", {"document_id": "free"})
        await seen(client, "ydoc:document:state")
    await seen(s.pam, "ydoc:user:joined", 2)
    await s.ann.io.emit("ydoc:awareness:update", {"document_id": "free", "update": BYTES})
    for client in (s.bob, s.pam):
        (got,) = await seen(client, "ydoc:awareness:update")
        assert bytes(got["update"]) == BYTES and got["user_id"] == "ann"


@scene
async def test_python_asks_a_browser_on_siskin(s):
    """An ack goes back to the server that asked, with several arguments or none."""
    s.ann.answer = ("yes", {"n": 2})
    assert await s.p.io.call("ask", {"q": 1}, to=s.ann.sid, timeout=20) == ("yes", {"n": 2})
    s.ann.answer = None
    answers = []
    await s.p.io.emit("ask", 1, to=s.ann.sid, callback=lambda *args: answers.append(args))
    await until(lambda: answers, what="ack")
    assert answers[0] in ((), (None,))


def question(client):
    """What a backend asks this browser."""
    event = {"type": "execute:python", "data": {"code": "1"}}
    return {"user_id": client.user, "session_id": client.sid, "chat_id": "local:x", "event": event}


@scene
async def test_siskin_asks_a_browser_elsewhere(s):
    """The API of one instance asks a socket of the other and of python-socketio and gets its ack; only its own user's."""
    for client in (s.bob, s.pam):
        client.answer = {"from": client.user}
        assert (await s.a("POST", "/chat/call", question(client)))["answer"] == {"from": client.user}
        refused = await s.a("POST", "/chat/call", {**question(client), "user_id": "ann"}, ok=False)
        assert refused["status"] == 403
        assert len(client.events("events")) == 1


async def never(*_):
    await asyncio.Event().wait()


async def asked(s, client):
    """A question that nobody answers has arrived, and its server, if it is siskin, has said so."""
    client.answer = never
    before = await s.a.metric('siskin_backplane_messages_total{direction="in"}')
    asking = asyncio.ensure_future(s.a("POST", "/chat/call", question(client), ok=False))
    await seen(client, "events")
    if client is not s.pam:
        await until(lambda: _more(s.a, before), what="word of who has the browser")
    assert not asking.done()
    return asking


async def _more(api, before):
    return await api.metric('siskin_backplane_messages_total{direction="in"}') > before


async def is_gone(asking):
    """The call ends, long before its time of 300 s, since nobody is there to answer."""
    answer = await asyncio.wait_for(asking, 60)
    assert answer["status"] == 410, answer


@scene
async def test_a_call_ends_with_its_browser(s):
    """Whether that was on the other instance, which lives on, or on python-socketio, which says nothing."""
    asking = await asked(s, s.bob)
    await s.bob.close()
    await is_gone(asking)
    asking = await asked(s, s.pam)
    sid = s.pam.sid
    await s.pam.close()
    await s.redis.hdel("open-webui:session_pool", sid)
    await is_gone(asking)


@scene
async def test_a_call_ends_with_an_instance_that_is_killed(s):
    asking = await asked(s, s.bob)
    await asyncio.to_thread(s.b.instance.kill)
    await is_gone(asking)


@scene
async def test_a_call_ends_when_its_instance_goes_down(s):
    """At once: while that one still answers a request of its own, and listens."""
    asking = await asked(s, s.bob)
    (reader, writer), lines = await asyncio.open_connection("127.0.0.1", s.b.instance.port), b"Transfer-Encoding: chunked\r\n\r\n"
    key = f"Authorization: Bearer {s.b.instance.api_key}\r\n".encode()
    writer.write(b"POST /api/v1/chat/stream?user_id=bob&chat_id=local:x HTTP/1.1\r\nHost: x\r\n" + key + lines)
    event = json.dumps({"type": "status", "data": {}}) + "\n"
    writer.write(f"{len(event):x}\r\n{event}\r\n".encode())
    await seen(s.bob, "events", 2)
    stopping = asyncio.ensure_future(asyncio.to_thread(s.b.instance.stop))
    await is_gone(asking)
    assert not stopping.done()
    writer.write(b"0\r\n\r\n")
    assert b" 200 " in await reader.readline()
    writer.close()
    await stopping


@scene
async def test_python_moves_sockets_of_siskin(s):
    """The other server and a write-only manager move sockets in and out of rooms, and close rooms."""
    for far in (s.p.manager, s.w):
        await far.enter_room(s.ann.sid, "/", "far")
        await s.all_in("far", s.ann)
        await far.leave_room(s.ann.sid, "/", "far")
        await s.all_in("far")
        await s.a.enter("closing", "ann")
        await far._publish({"method": "close_room", "room": "closing", "namespace": "/", "host_id": "somebody"})
        await s.all_in("closing")


@scene
async def test_siskin_moves_sockets_of_others(s):
    """Enter, leave and close, given to one instance, reach sockets of the other one and of python-socketio."""
    await s.a.enter("r", "ann", "bob", "pam")
    await s.all_in("r", *s.everybody)
    await s.a.emit("all", 1, room="r")
    for client in s.everybody:
        assert await seen(client, "all") == [1]
    await s.a.leave("r", "bob", "pam")
    await s.all_in("r", s.ann)
    await s.a.emit("one", 1, room="r")
    for client in s.everybody:
        await s.a.emit("end", 1, user_id=client.user)
        await seen(client, "end")
    assert [client.events("one") for client in s.everybody] == [[1], [], []]
    await s.a.enter("r", "ann", "bob", "pam")
    await s.all_in("r", *s.everybody)
    await s.a("DELETE", "/rooms/r")
    await s.all_in("r")


@scene
async def test_each_disconnects_sockets_of_others(s):
    """The transport ends, the session is gone from the pool."""
    async with clients((s.ann.server, "cid"), (s.ann.server, "bob"), (s.bob.server, "dan")) as (cid, bob2, dan):
        await s.known(bob2, dan)
        gone, pams = dan.sid, s.pam.sid
        await s.p.io.disconnect(s.ann.sid)
        await s.w.can_disconnect(cid.sid, "/")
        await s.a("DELETE", f"/sessions/{dan.sid}")
        await s.a("DELETE", f"/sessions/{s.pam.sid}")
        # All of a user's, who is told first; asked of the instance that has one of the two.
        assert await s.a("DELETE", "/users/bob/sessions") == {"disconnected": 2}
        await until(lambda: all(client.lost for client in (*s.everybody, cid, bob2, dan)), what="disconnects")
        assert s.bob.events("access:updated") == bob2.events("access:updated") == [{}]
    assert s.p.gone
    await until(lambda: _pool_is(s.server.url, {pams}), what="end of sessions")
    unknown = await s.a("DELETE", f"/sessions/{gone}", ok=False)
    assert unknown["status"] == 404


async def _pool_is(url, sids):
    return await pool(url) == sids


@scene
async def test_who_is_told_of_a_new_channel_enters_it(s):
    """By a process of Open WebUI, or by another instance's API: all local sockets of that user, if the directory agrees."""
    for id, members in (("mine", ["bob"]), ("theirs", ["ann"])):
        await s.b("PUT", f"/channels/{id}", {"name": id, "members": members})
    async with clients((s.bob.server, "bob")) as (bob2,):
        for number, emit in enumerate((s.p.io.emit, s.w.emit, s.a.emit)):
            # As it was before somebody made the channel: no socket is in its room.
            await s.b.leave("channel:mine", "bob")
            await s.all_in("channel:mine")
            for id in ("theirs", "mine"):
                payload = {"channel_id": id, "data": {"type": "channel:created"}, "user": {"id": "ann"}, "channel": {"id": id}}
                target = {"user_id": "bob"} if emit == s.a.emit else {"room": "user:bob"}
                await emit("events:channel", payload, **target)
            await s.all_in("channel:mine", s.bob, bob2)
            for id in ("theirs", "mine"):
                message = {"channel_id": id, "data": {"type": "message", "data": {"n": number}}}
                await s.w.emit("events:channel", message, room=f"channel:{id}")
            for client in (s.bob, bob2):
                told = await seen(client, "events:channel", 3)
                assert [(event["channel_id"], event["data"]["type"]) for event in told] == [
                    ("theirs", "channel:created"), ("mine", "channel:created"), ("mine", "message"),
                ]  # fmt: skip
                client.received.clear()


def joined(chat):
    return "events:chat", {"chat_id": chat, "data": {"type": "join"}}


def present(client):
    """Who has the chat open, as this client was told last."""
    told = [event["data"]["data"]["users"] for event in client.events("events") if event["data"]["type"] == "chat:presence"]
    return [user["id"] for user in told[-1]] if told else None


@scene
async def test_who_is_put_out_of_a_chat_does_not_come_back(s):
    """By a process of Open WebUI that knows of the end of an access, or by a backend: out of the room, the pool, presence."""
    for api in (s.a, s.b):
        await api("PUT", "/chats/c", {"user_id": "ann", "title": "c", "chat": {}, "access_grants": [GRANT]})
    for put_out in (lambda: s.w.leave_room(s.bob.sid, "/", "chat:c"), lambda: s.a("DELETE", "/rooms/chat:c")):
        for client in (s.ann, s.bob):
            assert await client.io.call(*joined("c"), timeout=20)
        await until(lambda: present(s.ann) == ["ann", "bob"], what="both in the chat")
        await put_out()
        await until(lambda: _has_open(s, s.bob, []), what="end of the chat in the pool")
        await s.redis.hset("open-webui:session_pool", s.bob.sid, json.dumps({**await _entry(s, s.bob), "last_seen_at": 1}))
        await s.bob.io.call("heartbeat", {}, timeout=20)
        await until(lambda: _is_seen(s, s.bob), what="heartbeat")
        assert (await _entry(s, s.bob))["chat_ids"] == []
        assert await s.ann.io.call(*joined("c"), timeout=20)
        await until(lambda: present(s.ann) == ["ann"], what="one in the chat")


GRANT = {"principal_type": "user", "principal_id": "bob", "permission": "read"}


async def _entry(s, client):
    return json.loads(await s.redis.hget("open-webui:session_pool", client.sid))


async def _has_open(s, client, chats):
    return (await _entry(s, client))["chat_ids"] == chats


async def _is_seen(s, client):
    return (await _entry(s, client))["last_seen_at"] > 1


@scene
async def test_what_was_said_before_the_end_is_heard(s):
    """An instance goes down while Redis is slow: its last events arrive, and others see who left with it."""
    for api in (s.a, s.b):
        await api("PUT", "/chats/c", {"user_id": "ann", "title": "c", "chat": {}, "access_grants": [GRANT]})
    for client in (s.ann, s.bob):
        assert await client.io.call(*joined("c"), timeout=20)
    await until(lambda: present(s.ann) == ["ann", "bob"], what="both in the chat")
    async with s.redis.pubsub() as listener:
        await listener.subscribe(s.channel("far") if s.mode else "socketio")
        await s.redis.execute_command("CLIENT", "PAUSE", 1000, "ALL")
        for number in range(EVENTS):
            await s.b.emit("x", {"n": number, "more": "x" * 20_000}, room="far")
        await asyncio.to_thread(s.b.instance.stop)
        for number in range(EVENTS):
            assert (await published(listener, "x"))["n"] == number
    await until(lambda: present(s.ann) == ["ann"], what="end of bob's presence")


async def published(listener, event):
    """The data of the next event of this name on a channel."""
    while message := await listener.get_message(timeout=20):
        content = json.loads(message["data"]) if message["type"] == "message" else {}
        if content.get("event") == event:
            return content["data"][0]
    raise AssertionError(f"no more {event} after 20 s")


# What is skipped with a word, and what is passed over: it means nobody here.
MALFORMED = [
    b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe", b"{}", b'{"method":1}', b'{"method":"emit"}', b'{"method":"nonsense","host_id":"x"}',
    b'{"method":"emit","event":1,"data":[],"room":"r","namespace":"/"}',
    b'{"method":"emit","event":"e","data":[[{"_placeholder":true,"num":0}],"no base64!"],"binary":true,"room":"r","namespace":"/","host_id":"x"}',
    b'{"method":"disconnect","sid":1}', b'{"method":"enter_room","sid":"none","room":null}', b'{"method":"close_room"}',
    b"[" * 5000,
]  # fmt: skip
FOREIGN = [
    b'{"method":"emit","event":"e","data":"text","room":{"a":1},"namespace":"/","host_id":"x"}',
    b'{"method":"emit","event":"e","data":[1],"room":"r","namespace":"/none","host_id":"x"}',
    b'{"method":"callback","host_id":"x","sid":"y","namespace":"/","id":"z","args":1}',
]


@scene
async def test_own_and_malformed_messages(s):
    """An event comes once; a malformed message is skipped and counted, said once, and the next one arrives."""
    await s.a.enter("r", "ann")
    for message in MALFORMED + FOREIGN:
        await s.redis.publish("socketio", message)
        await s.redis.publish(s.channel("r"), message)
    await s.a.emit("once", 1, room="r")
    await s.w.emit("last", 1, room="r")
    await seen(s.ann, "last")
    assert s.ann.received == [("once", (1,)), ("last", (1,))]
    skipped = await s.a.metric('siskin_refused_total{reason="backplane message"}')
    assert skipped == len(MALFORMED) * (2 if s.mode else 1)
    await until(lambda: "is skipped" in s.a.instance.log(), what="a log line")
    assert s.a.instance.log().count("is skipped") == 1


@scene
async def test_channels_come_and_go_with_members(s):
    """With room channels: one of each room and of each socket, as long as it is here."""

    async def channels():
        return {name.decode() for name in await s.redis.pubsub_channels(s.channel("*"))}

    before = await channels()
    zoe = await Client(s.ann.server, "zoe").connect()
    assert await channels() - before == ({s.channel("user:zoe"), s.channel(zoe.sid)} if s.mode else set())
    await zoe.close()
    await until(lambda: _same(channels, before), what="unsubscription")


async def _same(look, expected):
    return await look() == expected


@scene
async def test_after_an_outage_all_is_as_before(s):
    await s.b.enter("r", "bob")
    await asyncio.to_thread(s.server.stop)
    await until(lambda: "is away (" in s.a.instance.log(), what="the outage")
    await s.a.emit("x", 1, user_id="ann")
    await s.a.enter("r", "ann")
    assert await seen(s.ann, "x") == [1]
    await asyncio.to_thread(s.server.start)
    await until(s.ready, 40, what="readiness")
    for api, client in ((s.a, s.bob), (s.b, s.ann)):
        await api.emit("y", client.user, room="r", skip_sid=[])
        await seen(client, "y")
    for client in (s.ann, s.bob):
        assert await seen(client, "y", 2) == ["bob", "ann"] and not client.lost


@scene
async def test_a_deaf_subscriber_is_noticed(s):
    log = s.a.instance.log
    for subscriber in await s.redis.client_list():
        if subscriber["name"] == "siskin-subscriber":
            await s.redis.client_kill_filter(_id=subscriber["id"])
    await until(lambda: "connects again" in log(), what="a log line")
    await until(s.ready, what="readiness")
    await s.redis.publish("socketio", json.dumps({"method": "emit", "event": "x", "data": [1], "host_id": "h"}))
    assert await seen(s.ann, "x") == [1]


@scene
async def test_a_stream_reaches_the_instance_that_has_it_open(s):
    name = f"bob:{s.bob.sid}:r1"
    await s.a("PUT", f"/streams/{name}")
    for number in range(20):
        await s.bob.io.emit(name, {"n": number})
    got = []

    async def all_of_them():
        got.extend((await s.a("GET", f"/streams/{name}?wait=1"))["events"])
        return len(got) == 20

    await until(all_of_them, what="20 events")
    assert [event["n"] for event in got] == list(range(20))


@scene
async def test_an_answer_is_followed_on_another_instance(s):
    """The copies for others who have a chat open cross, and the session that asked is left out wherever it is."""
    for api in (s.a, s.b):
        await api("PUT", "/chats/c", {"user_id": "ann", "title": "c", "access_grants": [GRANT]})
    for client in (s.ann, s.bob):
        assert await client.io.call(*joined("c"), timeout=20)
    await until(lambda: present(s.bob) == ["ann", "bob"], what="both in the chat")

    async def emit(api, event, **more):
        await api("POST", "/chat/event", {"user_id": "ann", "chat_id": "c", "message_id": "m", "save": False, "event": event, **more})

    def shared(client):
        return [event["data"] for event in client.events("events") if event.get("shared") and event["data"]["type"] not in ("chat:presence", "end")]

    delta = {"type": "response.output_text.delta", "item_id": "i", "delta": "Hi"}
    for api, asker in ((s.a, s.ann), (s.b, s.ann), (s.a, s.bob)):
        for client in (s.ann, s.bob):
            client.received.clear()
        await emit(api, {"type": "status", "data": {"done": False}}, session_id=asker.sid)
        await emit(api, {"type": "response:completion", "data": delta}, session_id=asker.sid)
        await emit(api, {"type": "chat:completion", "data": {"done": True, "content": "Hi"}}, session_id=asker.sid)
        await api.emit("end", 1, room="chat:c")
        for client in (s.ann, s.bob):
            await seen(client, "end")
        text = [{"type": "message", "status": "in_progress", "role": "assistant", "id": "i", "content": [{"type": "text", "text": "Hi"}]}]
        copies = [
            {"type": "status", "data": {"done": False}},
            {"type": "chat:completion", "data": {"output": text}},
            {"type": "chat:completion", "data": {"done": True, "content": "Hi", "output": text}},
        ]
        other = s.bob if asker is s.ann else s.ann
        assert (shared(other), shared(asker)) == (copies, [])
