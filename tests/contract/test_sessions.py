"""How sessions end, and what they may not exceed."""

import asyncio
import time

import pytest
import requests
import socketio
from siskin import wait_for

PATIENCE = 15


class Client:
    """A connection, what it received, and when it was disconnected."""

    def __init__(self):
        self.io = socketio.AsyncClient(reconnection=False)
        self.heard = []
        self.gone = asyncio.Event()
        self.io.on("*", self.hear)
        self.io.on("disconnect", self.disconnected)

    async def hear(self, name, *args):
        """A question gets no answer."""
        self.heard.append((name, *args))
        await self.gone.wait()

    async def disconnected(self, reason):
        self.gone.set()

    @classmethod
    async def connect(cls, siskin, token):
        client = cls()
        await client.io.connect(siskin.url, auth={"token": token}, socketio_path="/ws/socket.io", transports=["websocket"])
        return client


def test_a_session_ends_with_its_token(siskin):
    """At its next event, or at the check that comes every 30 seconds."""

    async def play():
        exp = int(time.time()) + 3
        speaks = await Client.connect(siskin, siskin.token("ann", exp=exp))
        silent = await Client.connect(siskin, siskin.token("ann", exp=exp, jti="another"))
        stays = await Client.connect(siskin, siskin.token("ann"))
        future = await Client.connect(siskin, siskin.token("ann", nbf=exp + 120))
        await speaks.io.call("heartbeat", {}, timeout=PATIENCE)
        await asyncio.sleep(exp + 1 - time.time())
        assert not speaks.gone.is_set() and not silent.gone.is_set()
        await speaks.io.emit("heartbeat", {})
        await asyncio.wait_for(speaks.gone.wait(), PATIENCE)
        with pytest.raises(socketio.exceptions.TimeoutError):
            await future.io.call("heartbeat", {}, timeout=0.3)
        await asyncio.wait_for(silent.gone.wait(), 35)
        await stays.io.call("heartbeat", {}, timeout=PATIENCE)
        assert not stays.gone.is_set()
        for client in (stays, future):
            await client.io.disconnect()

    asyncio.run(play())


def test_a_user_who_loses_a_role_or_goes_is_disconnected_at_once(siskin):
    async def play():
        siskin.api("PUT", "/users/ann", {"name": "Ann", "role": "admin"})
        siskin.api("PUT", "/users/bob", {"name": "Bob"})
        ann = await Client.connect(siskin, siskin.token("ann"))
        bob = await Client.connect(siskin, siskin.token("bob"))
        await asyncio.to_thread(siskin.api, "PUT", "/users/ann", {"name": "Ann", "role": "user"})
        await asyncio.wait_for(ann.gone.wait(), PATIENCE)
        assert ann.heard == [("access:updated", {})]
        await asyncio.to_thread(siskin.api, "PUT", "/users/bob", {"name": "Bob", "role": "pending"})
        await asyncio.wait_for(bob.gone.wait(), PATIENCE)
        pending = await Client.connect(siskin, siskin.token("bob"))
        with pytest.raises(socketio.exceptions.TimeoutError):
            await pending.io.call("heartbeat", {}, timeout=0.3)
        await pending.io.disconnect()

    asyncio.run(play())


def test_too_many_events_are_slowed_down_and_told_once(start_siskin):
    siskin = start_siskin(SISKIN_EVENTS_PER_SECOND="50")

    async def play():
        loud = await Client.connect(siskin, siskin.token("ann"))
        other = await Client.connect(siskin, siskin.token("bob"))
        acks, began = [], time.monotonic()
        for _ in range(650):
            await loud.io.emit("heartbeat", {}, callback=lambda: acks.append(1))
        for _ in range(10):
            await other.io.call("heartbeat", {}, timeout=PATIENCE)
        await loud.io.call("heartbeat", {}, timeout=PATIENCE)
        # Ten seconds' worth at once, then at the rate; nothing is lost.
        assert len(acks) == 650 and time.monotonic() - began > 2
        assert loud.heard == [("error", {"message": "Too many events, they are handled more slowly"})]
        assert other.heard == []
        for client in (loud, other):
            await client.io.disconnect()

    asyncio.run(play())
    assert siskin.metric('siskin_refused_total{reason="event rate"}') >= 1


def test_a_session_is_in_so_many_rooms_and_no_more(start_siskin):
    siskin = start_siskin(SISKIN_MAX_ROOMS="3")

    async def play():
        for number in range(5):
            chat = {"user_id": "ann", "title": f"Chat {number}"}
            await asyncio.to_thread(siskin.api, "PUT", f"/chats/{number}", chat)
        ann = await Client.connect(siskin, siskin.token("ann"))
        joins = []
        for number in range(5):
            payload = {"chat_id": str(number), "data": {"type": "join"}}
            await ann.io.emit("events:chat", payload, callback=lambda answer: joins.append(answer))
        await ann.io.call("heartbeat", {}, timeout=PATIENCE)
        # Her own room is one of the three.
        assert joins == [True, True]
        again = {"chat_id": "0", "data": {"type": "join"}}
        assert await ann.io.call("events:chat", again, timeout=PATIENCE) is True
        await ann.io.call("events:chat", {"chat_id": "0", "data": {"type": "leave"}}, timeout=PATIENCE)
        other = {"chat_id": "3", "data": {"type": "join"}}
        assert await ann.io.call("events:chat", other, timeout=PATIENCE) is True
        # Who is a member of more channels than that still signs in.
        for number in range(3):
            await asyncio.to_thread(siskin.api, "PUT", f"/channels/{number}", {"name": "C", "members": ["bob"]})
        bob = await Client.connect(siskin, siskin.token("bob"))
        joined = await bob.io.call("user-join", {"auth": {"token": siskin.token("bob")}}, timeout=PATIENCE)
        assert joined == {"id": "bob", "name": "bob"}
        rooms = await asyncio.to_thread(lambda: siskin.api("GET", f"/sessions/{bob.io.get_sid()}").json()["rooms"])
        assert len(rooms) == 3
        await bob.io.disconnect()
        await ann.io.disconnect()

    asyncio.run(play())


def test_a_question_ends_when_the_backend_gives_up(siskin):
    async def play():
        ann = await Client.connect(siskin, siskin.token("ann"))
        event = {"type": "input", "data": {"title": "Name?"}}
        question = {"user_id": "ann", "session_id": ann.io.get_sid(), "chat_id": "c", "message_id": "m", "event": event}
        url, headers = f"{siskin.url}/api/v1/chat/call", {"Authorization": f"Bearer {siskin.api_key}"}
        with pytest.raises(requests.Timeout):
            await asyncio.to_thread(requests.post, url, json=question, headers=headers, timeout=0.5)
        end = time.monotonic() + PATIENCE
        while len(ann.heard) < 2 and time.monotonic() < end:
            await asyncio.sleep(0.01)
        asked, done = (heard["data"] for _, heard in ann.heard)
        assert done == {
            "type": "request:interaction:done",
            "data": {"interaction_id": asked["data"]["interaction_id"]},
        }
        await ann.io.disconnect()

    asyncio.run(play())
