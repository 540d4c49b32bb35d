"""Open WebUI's REST takes its time: what was asked for happens when the answer comes, and nobody else waits for it."""

import asyncio
import threading

import pytest
from client import MOMENT, PATIENCE, Client
from siskin import wait_for
from upstream import CHAT, NOTE

# Longer than a request is waited for at first.
LONG = 6
LATE = 60


async def until(condition, what, seconds=LATE):
    return await asyncio.to_thread(wait_for, condition, seconds, what)


def hold(upstream, path):
    """Requests for this path wait until the event is set."""
    gate = threading.Event()
    upstream.held = lambda asked, token: gate if asked.startswith(path) and token else None
    return gate


async def typing(to, by):
    """Somebody in the channel hears who types there."""
    await by.io.emit("events:channel", {"channel_id": "c1", "data": {"type": "typing", "data": {"typing": True}}})
    return any(name == "events:channel" for name, *_ in to.heard)


JOINS = {
    "channels": ("/api/v1/channels/", "user-join", lambda client: {"auth": {"token": client.token}}, {"id": "ann", "name": "ann"}),
    "chat": (f"/api/v1/chats/{CHAT}", "events:chat", lambda client: {"chat_id": CHAT, "data": {"type": "join"}}, True),
    "note": (f"/api/v1/notes/{NOTE}", "join-note", lambda client: {"auth": {"token": client.token}, "note_id": NOTE}, None),
    "document": (f"/api/v1/notes/{NOTE}", "ydoc:document:join", lambda client: {"document_id": f"note:{NOTE}"}, None),
}


@pytest.mark.parametrize("what", JOINS)
@pytest.mark.parametrize("how", ["slow", "lost"])
def test_a_join_happens_when_the_answer_comes(beside, upstream, what, how):
    """`slow`: each answer takes longer than a request is waited for; `lost`: the first ones never come."""
    path, event, payload, answer = JOINS[what]

    async def play():
        ann = await Client(beside, beside.token("ann")).connect()
        bob = await Client(beside, beside.token("bob")).connect()
        assert await bob.join()
        gate = hold(upstream, path)
        answered = asyncio.ensure_future(ann.call(event, payload(ann), LATE))
        await until(lambda: upstream.answering, "the request")
        await asyncio.sleep(LONG)
        assert not answered.done()
        # Meanwhile the page's other events are handled, and others are served.
        assert await bob.call("user-join", {"auth": {"token": bob.token}}, MOMENT) if what != "channels" else True
        await ann.io.emit("usage", {"model": "m"})
        await until(lambda: beside.metric('siskin_events_total{event="usage"}') == 1, "usage")
        if how == "lost":
            upstream.held = lambda asked, token: None
        else:
            gate.set()
        assert await asyncio.wait_for(answered, LATE) == answer
        gate.set()
        match what:
            case "channels":
                while not await typing(ann, bob):
                    await asyncio.sleep(0.1)
            case "document":
                await ann.hears(lambda name, *args: name == "ydoc:document:state" and args[0]["content"] == {"md": "saved"})
                assert len([name for name, *_ in ann.heard if name == "ydoc:document:state"]) == 1
        for client in (ann, bob):
            await client.io.disconnect()

    asyncio.run(play())


def test_who_leaves_before_the_answer_is_not_in(beside, upstream):
    async def play():
        ann = await Client(beside, beside.token("ann")).connect()
        bob = await Client(beside, beside.token("bob")).connect()
        for client in (ann, bob):
            assert await client.join()
        assert await bob.call("events:chat", {"chat_id": CHAT, "data": {"type": "join"}}) is True
        gate = hold(upstream, f"/api/v1/chats/{CHAT}")
        joining = asyncio.ensure_future(ann.call("events:chat", {"chat_id": CHAT, "data": {"type": "join"}}, LONG + PATIENCE))
        await until(lambda: upstream.answering, "the request")
        # A join is waited for for 5 s, but not by what ends it.
        assert await ann.call("events:chat", {"chat_id": CHAT, "data": {"type": "leave"}}, 4) is True
        gate.set()
        await asyncio.sleep(MOMENT * 3)
        present = [args[0]["data"]["data"]["users"] for name, *args in bob.heard if name == "events"]
        assert all(user["id"] == "bob" for users in present for user in users), present
        joining.cancel()
        for client in (ann, bob):
            await client.io.disconnect()

    asyncio.run(play())


def test_channels_that_were_known_are_entered_at_once_and_the_new_one_later(beside, upstream):
    async def play():
        ann = await Client(beside, beside.token("ann")).connect()
        assert await ann.join()
        upstream.mode = "500"
        again = await Client(beside, ann.token).connect()
        assert await again.join() == {"id": "ann", "name": "ann"}
        assert len(upstream.channels) == 1
        upstream.channels.append({"id": "c2"})
        upstream.mode = "fine"
        bob = await Client(beside, beside.token("bob")).connect()

        async def heard():
            await bob.join()
            while not any(name == "events:channel" for name, *_ in again.heard):
                await bob.io.emit("events:channel", {"channel_id": "c2", "data": {"type": "typing", "data": {}}})
                await asyncio.sleep(0.2)

        await asyncio.wait_for(heard(), LATE)
        for client in (ann, again, bob):
            await client.io.disconnect()

    asyncio.run(play())


def test_one_user_has_two_places_of_eight(beside, upstream):
    """Ann opens a hundred chats that are answered late; Bob does not notice."""

    async def play():
        anns = [await Client(beside, beside.token("ann")).connect() for _ in range(10)]
        bob = await Client(beside, beside.token("bob")).connect()
        for client in (*anns, bob):
            assert await client.join()
        gate, token = threading.Event(), beside.token("ann")
        upstream.held = lambda path, asked: gate if asked == token else None
        most = 0
        for number, ann in enumerate(anns):
            chat = f"{number:08x}-4f0e-4226-a020-88ae45f5f7e3"
            await ann.io.emit("events:chat", {"chat_id": chat, "data": {"type": "join"}})
        await until(lambda: upstream.answering == 2, "two requests")
        for _ in range(20):
            assert await bob.call("events:chat", {"chat_id": CHAT, "data": {"type": "join"}}, PATIENCE) is True
            assert await bob.join(PATIENCE)
            most = max(most, upstream.answering)
        assert most == 2
        upstream.held = lambda path, asked: None
        gate.set()
        for client in (*anns, bob):
            await client.io.disconnect()

    asyncio.run(play())
