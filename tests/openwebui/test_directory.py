"""Beside the real Open WebUI, over its REST alone: each asks the other nothing else."""

import asyncio
import time
import uuid

import pytest
from client import MOMENT, PATIENCE, Client, ready
from real import OpenWebui
from siskin import Siskin, has_token, token, wait_for

# A Yjs update that writes "hello"; made with Yjs.
HELLO = [1, 1, 1, 0, 4, 1, 1, 116, 5, 104, 101, 108, 108, 111, 0]
# The check of every session comes each 30 s.
CHECKED = 45


@pytest.fixture(scope="module")
def webui():
    server = OpenWebui()
    server.users = {name: server.sign_up(name) for name in ["ann", "bob", "eve"]}
    for user in ["bob", "eve"]:
        assert server.users[user]["role"] == "user"
    yield server
    server.close()


@pytest.fixture(scope="module")
def siskin(webui):
    instance = Siskin(SISKIN_DIRECTORY=webui.url, SISKIN_LOG="debug")
    yield instance
    instance.close()
    # Neither a token nor a part of one, however much is logged.
    assert not has_token(instance.log())


@pytest.fixture
def ann(webui):
    return webui.users["ann"]


@pytest.fixture
def bob(webui):
    return webui.users["bob"]


async def joined(siskin, *users):
    clients = [await Client(siskin, user["token"]).connect() for user in users]
    for client, user in zip(clients, users):
        assert await client.join() == {"id": user["id"], "name": user["name"]}
    return clients


async def left(*clients):
    for client in clients:
        await client.io.disconnect()


async def soon(condition, what):
    return await asyncio.to_thread(wait_for, condition, PATIENCE, what)


def test_who_is_let_in(siskin, webui, ann):
    async def play():
        stranger = token(ann["id"])  # signed with the right key, by nobody whom Open WebUI knows
        for wrong in [stranger, ann["token"][:-2] + "xx", "", "x.y.z"]:
            client = await Client(siskin, wrong).connect()
            assert await client.join(MOMENT) is None
            await left(client)
        clients = await joined(siskin, ann)
        await left(*clients)

    asyncio.run(play())


def test_channels(siskin, webui, ann, bob):
    channel = webui.api(
        ann["token"],
        "POST",
        "/channels/create",
        {"name": "general", "type": "group", "user_ids": [ann["id"], bob["id"]]},
    )["id"]

    def unread():
        found = webui.api(bob["token"], "GET", "/channels/")
        return next(each["unread_count"] for each in found if each["id"] == channel)

    async def play():
        a, b, e = await joined(siskin, ann, bob, webui.users["eve"])
        typing = {"channel_id": channel, "data": {"type": "typing", "data": {"typing": True}}}
        await e.io.emit("events:channel", typing)
        await a.io.emit("events:channel", typing)
        await b.hears(lambda name, *args: name == "events:channel" and args[0]["user"]["id"] == ann["id"])
        assert len([heard for heard in b.heard if heard[0] == "events:channel"]) == 1
        assert not [heard for heard in e.heard if heard[0] == "events:channel"]
        # What only Open WebUI's own socket can do.
        webui.api(ann["token"], "POST", f"/channels/{channel}/messages/post", {"content": "hello"})
        assert unread() == 1
        for _ in range(20):
            await b.io.emit("events:channel", {"channel_id": channel, "data": {"type": "last_read_at"}})
        await soon(lambda: unread() == 0, "read receipt")
        await left(a, b, e)

    asyncio.run(play())


def test_chats(siskin, webui, ann, bob):
    form = {"chat": {"title": "A chat", "messages": [], "history": {"messages": {}, "currentId": None}}}
    chat = webui.api(bob["token"], "POST", "/chats/new", form)["id"]
    read = webui.api(bob["token"], "POST", f"/chats/{chat}/unread")["last_read_at"]
    assert read == 0

    async def play():
        b, b2, e = await joined(siskin, bob, bob, webui.users["eve"])
        join = {"chat_id": chat, "data": {"type": "join"}}
        assert await e.call("events:chat", join) is False
        assert await b.call("events:chat", join) is True
        assert await b2.call("events:chat", join) is True
        typing = {"chat_id": chat, "data": {"type": "typing", "data": {"typing": True}}}
        assert await b.call("events:chat", typing) is True
        await b2.hears(lambda name, *args: name == "events" and args[0]["data"]["type"] == "typing")
        await b.hears(lambda name, *args: name == "events" and args[0]["data"]["type"] == "chat:presence")
        # What only Open WebUI's own socket can do; what it says about it reaches all of the user's sockets.
        await b.io.emit("events:chat", {"chat_id": chat, "data": {"type": "last_read_at"}})

        def listed(name, *args):
            return name == "events" and args[0]["chat_id"] == chat and args[0]["data"]["type"] == "chat:list"

        for client in (b, b2):
            await client.hears(listed)
        [(_, event)] = [heard for heard in b2.heard if listed(*heard)]
        assert event["data"]["data"]["last_read_at"] >= int(time.time()) - 60
        assert event["data"]["data"]["folder_unread_counts"] == {}
        assert not [heard for heard in e.heard if heard[0] == "events"]
        await left(b, b2, e)

    asyncio.run(play())
    [listed] = [each for each in webui.api(bob["token"], "GET", "/chats/") if each["id"] == chat]
    assert listed["last_read_at"] > 0


def test_a_backend_streams_into_a_chat(siskin, webui, bob):
    """The emitter saves through Open WebUI's own, with the token that the user's session brought."""
    answer = str(uuid.uuid4())
    message = {"id": answer, "parentId": None, "childrenIds": [], "role": "assistant", "content": "", "model": "m"}
    form = {"chat": {"title": "A chat", "messages": [], "history": {"messages": {answer: message}, "currentId": answer}}}
    chat = webui.api(bob["token"], "POST", "/chats/new", form)["id"]
    place = {"user_id": bob["id"], "chat_id": chat, "message_id": answer}

    def emit(type, **data):
        told = siskin.api("POST", "/chat/event", {**place, "event": {"type": type, "data": data}}).json()
        return told["delivered"], told["saved"]

    async def play():
        assert await asyncio.to_thread(emit, "message", content="lost") == (0, "failed")
        (b,) = await joined(siskin, bob)
        assert await asyncio.to_thread(emit, "message", content="Hello, ") == (1, "yes")
        assert await asyncio.to_thread(emit, "message", content="world") == (1, "yes")
        assert await asyncio.to_thread(emit, "status", description="done", done=True) == (1, "yes")
        assert await asyncio.to_thread(emit, "chat:title", title="no") == (1, "no")
        place["message_id"] = "../x"
        assert await asyncio.to_thread(emit, "message", content="nowhere") == (1, "no such message")
        await b.hears(lambda name, *args: name == "events" and args[0]["message_id"] == "../x")
        assert len([heard for heard in b.heard if heard[0] == "events"]) == 5
        await left(b)

    asyncio.run(play())
    saved = webui.api(bob["token"], "GET", f"/chats/{chat}")["chat"]["history"]["messages"][answer]
    assert saved["content"] == "Hello, world" and saved["statusHistory"] == [{"description": "done", "done": True}]


def make_note(webui, owner, reader):
    note = {
        "title": "Shopping",
        "data": {"content": {"md": "milk", "html": "<p>milk</p>", "json": None}},
        "access_grants": [],
    }
    id = webui.api(owner["token"], "POST", "/notes/create", note)["id"]
    grant = {"principal_type": "user", "principal_id": reader["id"], "permission": "read"}
    webui.api(owner["token"], "POST", f"/notes/{id}/access/update", {"access_grants": [grant]})
    return id


def content(webui, user, note):
    return webui.api(user["token"], "GET", f"/notes/{note}")["data"]["content"]["md"]


def update(note, text, update=HELLO):
    return {"document_id": f"note:{note}", "update": update, "data": {"content": {"md": text, "html": f"<p>{text}</p>"}}}


def test_notes(siskin, webui, ann, bob):
    note = make_note(webui, ann, bob)

    async def play():
        a, b, e = await joined(siskin, ann, bob, webui.users["eve"])
        for client in (a, b, e):
            await client.io.emit("join-note", {"auth": {"token": client.token}, "note_id": note})
            await client.io.emit("ydoc:document:join", {"document_id": f"note:{note}"})
        for client in (a, b):
            await client.hears(lambda name, *args: name == "ydoc:document:state" and args[0]["content"]["md"] == "milk")
        # An empty editor does not empty the note, a reader does not write it.
        await a.io.emit("ydoc:document:update", update(note, "", [0, 0]))
        await a.hears(lambda name, *args: name == "error" and "empty document" in args[0]["message"])
        await b.io.emit("ydoc:document:update", update(note, "from a reader"))
        await e.io.emit("ydoc:document:update", update(note, "from a stranger"))
        await a.io.emit("ydoc:document:update", update(note, "hello"))
        await b.hears(lambda name, *args: name == "ydoc:document:update" and args[0]["update"] == HELLO)
        await soon(lambda: content(webui, ann, note) == "hello", "saved note")
        assert not [heard for client in (a, b) for heard in client.heard if heard[0] == "events:note"]
        assert webui.api(ann["token"], "GET", f"/notes/{note}")["title"] == "Shopping"
        assert not [heard for heard in e.heard if heard[0].startswith(("ydoc", "events"))]
        await left(a, b, e)

    asyncio.run(play())


def test_heartbeats_make_active(siskin, webui, ann, bob):
    def active():
        users = webui.api(ann["token"], "GET", "/users/")["users"]
        return next(user["last_active_at"] for user in users if user["id"] == bob["id"])

    async def play():
        (b,) = await joined(siskin, bob)
        await b.io.emit("heartbeat", {})
        await soon(lambda: active() >= int(time.time()) - 60, "last_active_at")
        await left(b)

    asyncio.run(play())


def test_who_is_deleted_is_disconnected(siskin, webui, ann):
    gone = webui.sign_up("gone")

    async def play():
        (client,) = await joined(siskin, gone)
        webui.api(ann["token"], "DELETE", f"/users/{gone['id']}")
        await asyncio.to_thread(wait_for, lambda: not client.io.connected, CHECKED, "disconnect")
        again = await Client(siskin, gone["token"]).connect()
        assert await again.join(MOMENT) is None
        await left(again)

    asyncio.run(play())


def test_open_webui_goes_and_comes_back(siskin, webui, ann, bob):
    note = make_note(webui, ann, bob)
    newcomer = webui.sign_up("newcomer")

    async def play():
        a, b = await joined(siskin, ann, bob)
        for client in (a, b):
            await client.io.emit("ydoc:document:join", {"document_id": f"note:{note}"})
            await client.hears(lambda name, *args: name == "ydoc:document:state")
        await a.io.emit("ydoc:document:update", update(note, "before"))
        await soon(lambda: content(webui, ann, note) == "before", "saved note")
        await asyncio.to_thread(webui.stop)
        # Those who are here go on.
        await a.io.emit("ydoc:document:update", update(note, "while it was away"))
        await b.hears(lambda name, *args: name == "ydoc:document:update")
        await soon(lambda: not ready(siskin)[0], "a reason in /ready")
        new = await Client(siskin, newcomer["token"]).connect()
        await new.hears(lambda name, *args: name == "error" and "tried again" in args[0]["message"])
        await left(b)
        await asyncio.to_thread(webui.start)
        await soon(lambda: content(webui, ann, note) == "while it was away", "saved note")
        await soon(lambda: ready(siskin)[0], "readiness")
        # Pages repair themselves when they connect: so they do.
        for client in (a, new):
            await soon(lambda: not client.io.connected, "a disconnect")
        await new.connect()
        assert await new.join() == {"id": newcomer["id"], "name": "newcomer"}
        await left(new)

    asyncio.run(play())
