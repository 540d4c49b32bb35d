"""What Open WebUI says over Redis about a user counts at once: nothing that was known before, and no answer that is on its way.
And a new channel, of which it says too little and too early."""

import asyncio
import json
import threading

import pytest
import redis
from client import MOMENT, Client
from siskin import RedisServer, Siskin, wait_for
from test_directory import HELLO
from upstream import NOTE


class House:
    """Two instances beside one upstream, and the process that tells them what changes."""

    def __init__(self, upstream):
        self.server = RedisServer()
        shared = {"WEBSOCKET_MANAGER": "redis", "WEBSOCKET_REDIS_URL": self.server.url, "WEBSOCKET_REDIS_ROOM_CHANNELS": "false"}
        self.upstream = upstream
        self.one, self.two = (Siskin(SISKIN_DIRECTORY=upstream.url, SISKIN_LOG="debug", **shared) for _ in range(2))
        self.redis = redis.Redis(port=self.server.port)
        wait_for(lambda: self.redis.pubsub_numsub("socketio") == [(b"socketio", 2)], what="two instances that listen")

    def pool(self):
        return {sid.decode(): json.loads(entry) for sid, entry in self.redis.hgetall("open-webui:session_pool").items()}

    def disconnect(self, user_id):
        """As Open WebUI does it: each sid of the user that is in the pool."""
        sids = [sid for sid, entry in self.pool().items() if entry["id"] == user_id]
        for sid in sids:
            self.publish("disconnect", sid)
        return sids

    def publish(self, method, sid=None, **more):
        message = {"method": method, "sid": sid, "namespace": "/", "host_id": "process", **more}
        assert self.redis.publish("socketio", json.dumps(message)) == 2

    def role(self, siskin, client):
        return siskin.api("GET", f"/sessions/{client.io.get_sid()}").json()["user"]["role"]

    def close(self):
        for part in (self.one, self.two, self.server):
            part.close()


@pytest.fixture
def house(upstream):
    house = House(upstream)
    yield house
    house.close()


async def joined(siskin, name="ann", *how):
    client = await Client(siskin, siskin.token(name)).connect(*how)
    assert await client.join() == {"id": name, "name": name}
    return client


async def soon(condition, what):
    return await asyncio.to_thread(wait_for, condition, what=what)


def test_nothing_is_remembered_of_a_user_whose_rights_changed(house):
    async def play():
        before = await joined(house.two)
        await before.io.disconnect()
        ann = await joined(house.one)
        for role in ["admin", "user", "admin"]:
            assert house.role(house.one, ann) != role
            house.upstream.roles["ann"] = role
            await soon(lambda: list(house.pool()) == [ann.io.get_sid()], "ann alone in the pool")
            assert house.disconnect("ann")
            await soon(lambda: not ann.io.connected, "disconnect")
            # Back at once, at either instance.
            for siskin in (house.two, house.one):
                ann = await joined(siskin)
                assert house.role(siskin, ann) == role
                if siskin is house.two:
                    await ann.io.disconnect()
        house.upstream.roles["ann"] = "pending"
        await soon(lambda: list(house.pool()) == [ann.io.get_sid()], "ann alone in the pool")
        house.disconnect("ann")
        await soon(lambda: not ann.io.connected, "disconnect")
        for siskin in (house.two, house.one):
            ann = await Client(siskin, siskin.token("ann")).connect()
            assert await ann.join(MOMENT) is None
            await ann.io.disconnect()

    asyncio.run(play())
    assert not house.pool()


def test_a_change_while_nobody_of_the_user_is_here_counts_for_whoever_comes(house):
    """Nobody of hers can be disconnected for it, so nothing is said of it."""

    async def play():
        house.upstream.roles["ann"] = "admin"
        # Another instance's socket changes nothing; another user's doesn't, either.
        others = [await joined(house.two), await joined(house.one, "bob")]
        tokens = [house.one.token("ann", jti=jti) for jti in ("one", "other")]
        for token in tokens:
            ann = await Client(house.one, token).connect()
            assert await ann.join() and house.role(house.one, ann) == "admin"
            await ann.io.disconnect()
        await others[0].io.disconnect()
        await soon(lambda: {entry["id"] for entry in house.pool().values()} == {"bob"}, "bob alone in the pool")
        house.upstream.roles["ann"] = "user"
        assert not house.disconnect("ann")
        asked = lambda: [path for _, path, _ in list(house.upstream.asked)].count("/api/v1/auths/")  # noqa: E731
        before = asked()
        back = []
        for token in tokens:
            back.append(await Client(house.one, token).connect())
            assert await back[-1].join() and house.role(house.one, back[-1]) == "user"
        # Once a token; while she is here no more.
        assert asked() == before + 2
        ann = await Client(house.one, tokens[0]).connect()
        assert await ann.join() and house.role(house.one, ann) == "user" and asked() == before + 2
        for client in (ann, *back):
            await client.io.disconnect()
        await soon(lambda: {entry["id"] for entry in house.pool().values()} == {"bob"}, "bob alone in the pool")
        house.upstream.roles["ann"] = "pending"
        for token in tokens:
            ann = await Client(house.one, token).connect()
            assert await ann.join(MOMENT) is None
            await ann.io.disconnect()
        await others[1].io.disconnect()

    asyncio.run(play())


def test_a_change_wins_over_an_answer_that_is_on_its_way(house):
    who = "/api/v1/auths/"

    async def play():
        house.upstream.made[who] = gate = threading.Event()
        ann = await Client(house.one, house.one.token("ann")).connect()
        await asyncio.to_thread(house.upstream.holds.wait, 15)
        # The old role is on its way; whoever changes it finds the socket all the same.
        await soon(lambda: [entry["id"] for entry in house.pool().values()] == ["ann"], "ann in the pool")
        house.upstream.roles["ann"] = "admin"
        house.disconnect("ann")
        await soon(lambda: not ann.io.connected, "disconnect")
        house.upstream.made.clear()
        ann = await joined(house.one)
        gate.set()
        assert house.role(house.one, ann) == "admin"

        # Another one's answer is on its way when the first one is disconnected.
        house.upstream.made[who] = gate = threading.Event()
        house.upstream.holds.clear()
        other = await Client(house.one, house.one.token("ann", jti="other")).connect()
        await asyncio.to_thread(house.upstream.holds.wait, 15)
        house.upstream.roles["ann"] = "user"
        house.publish("disconnect", ann.io.get_sid())
        await soon(lambda: not ann.io.connected, "disconnect")
        house.upstream.made.clear()
        gate.set()
        assert await other.join() == {"id": "ann", "name": "ann"}
        assert house.role(house.one, other) == "user"
        await other.io.disconnect()

    asyncio.run(play())


def test_who_is_made_to_leave_a_note_does_not_come_back(house):
    async def play():
        ann = await joined(house.one)
        auth = {"token": ann.token}

        async def open():
            await ann.call("join-note", {"auth": auth, "note_id": NOTE})
            await ann.call("ydoc:document:join", {"document_id": f"note:{NOTE}"})
            rooms = house.one.api("GET", f"/sessions/{ann.io.get_sid()}").json()["rooms"]
            return [room for room in rooms if NOTE in room]

        assert len(await open()) == 2
        house.upstream.strangers.add("ann")
        for room in (f"note:{NOTE}", f"doc_note:{NOTE}"):
            house.publish("leave_room", ann.io.get_sid(), room=room)
        await ann.call("heartbeat", {})
        await soon(lambda: not house.one.api("GET", f"/rooms/note:{NOTE}").json()["sessions"], "an empty room")
        assert await open() == []
        await ann.io.disconnect()

    asyncio.run(play())


@pytest.mark.parametrize("edited", [False, True], ids=["new", "edited"])
def test_who_is_made_to_leave_a_note_before_the_answer_is_not_let_in(house, edited):
    document = {"document_id": f"note:{NOTE}"}

    async def play():
        bob, ann = await joined(house.one, "bob"), await joined(house.one)
        await bob.call("ydoc:document:join", document)
        if edited:
            await bob.call("ydoc:document:update", {**document, "update": HELLO})
        house.upstream.made[f"/api/v1/notes/{NOTE}"] = gate = threading.Event()
        for event, payload in [("ydoc:document:join", document), ("join-note", {"auth": {"token": ann.token}, "note_id": NOTE})]:
            await ann.io.emit(event, payload)
        await asyncio.to_thread(house.upstream.holds.wait, 15)
        # Open WebUI says it of all sockets of the user, wherever they are.
        house.upstream.strangers.add("ann")
        for room in (f"note:{NOTE}", f"doc_note:{NOTE}"):
            house.publish("leave_room", ann.io.get_sid(), room=room)
        await asyncio.sleep(MOMENT)
        house.upstream.made.clear()
        gate.set()
        await soon(lambda: house.one.log().count("no such note, or no access to it") == 2, "two refusals")
        await ann.call("heartbeat", {})
        rooms = house.one.api("GET", f"/sessions/{ann.io.get_sid()}").json()["rooms"]
        assert not [room for room in rooms if NOTE in room], rooms
        assert not [name for name, *_ in ann.heard if name.startswith("ydoc:")]
        for client in (ann, bob):
            await client.io.disconnect()

    asyncio.run(play())


def test_who_is_made_to_leave_a_channel_before_the_list_comes_is_not_let_in(house):
    listed = "/api/v1/channels/"

    async def play():
        ann = await Client(house.one, house.one.token("ann")).connect()
        house.upstream.made[listed] = gate = threading.Event()
        joining = asyncio.ensure_future(ann.join())
        await asyncio.to_thread(house.upstream.holds.wait, 15)
        house.upstream.channels = [{"id": "c2"}]
        house.publish("leave_room", ann.io.get_sid(), room="channel:c1")
        await asyncio.sleep(MOMENT)
        house.upstream.made.clear()
        gate.set()
        assert await joining == {"id": "ann", "name": "ann"}
        members = lambda id: house.one.api("GET", f"/rooms/channel:{id}").json()["sessions"]  # noqa: E731
        await soon(lambda: members("c2"), "ann in the other channel")
        assert not members("c1")
        await ann.io.disconnect()

    asyncio.run(play())


def test_a_new_channel_is_asked_for_until_it_is_listed(house):
    listed = "/api/v1/channels/"

    async def play():
        ann = await joined(house.one)
        asked = lambda: [path for _, path, _ in list(house.upstream.asked)].count(listed)  # noqa: E731
        members = lambda: house.one.api("GET", "/rooms/channel:c2").json()["sessions"]  # noqa: E731
        before = asked()
        created = {"data": {"type": "channel:created"}}
        house.publish("emit", event="events:channel", data=[created], room="user:ann")
        await soon(lambda: asked() > before, "a look at all channels")
        assert not members()
        house.upstream.channels.append({"id": "c2", "name": "new"})
        await soon(members, "ann in the new channel")
        # It is over then.
        before = asked()
        message = {"channel_id": "c3", "data": {"type": "message", "data": {}}}
        house.publish("emit", event="events:channel", data=[message], room="channel:c3")
        await ann.call("heartbeat", {})
        assert asked() == before and not [path for _, path, _ in house.upstream.asked if path.endswith("c3")]
        await ann.io.disconnect()

    asyncio.run(play())


def test_what_was_said_before_a_newcomer_enters_comes_before_what_is_said_then(house):
    """Whoever lets the newcomer in: here somebody over Redis, while Open WebUI is still asked."""
    channel = "2cfb530d-4f0e-4226-a020-88ae45f5f7e3"

    async def play():
        ann = await joined(house.one)
        house.upstream.made[f"/api/v1/channels/{channel}"] = gate = threading.Event()
        house.publish("emit", event="events:channel", data=[{"data": {"type": "channel:created"}}], room="user:ann")

        def say(n):
            message = {"channel_id": channel, "n": n, "data": {"type": "message", "data": {}}}
            house.publish("emit", event="events:channel", data=[message], room=f"channel:{channel}")

        await ann.hears(lambda name, *args: name == "events:channel")
        for n in range(3):
            say(n)
        assert await asyncio.to_thread(house.upstream.holds.wait, 15)
        house.publish("enter_room", ann.io.get_sid(), room=f"channel:{channel}")
        for n in range(3, 6):
            say(n)
        said = lambda: [args[0]["n"] for _, *args in ann.heard if "n" in args[0]]  # noqa: E731
        await soon(lambda: 5 in said(), "the last message")
        gate.set()
        await ann.call("heartbeat", {})
        assert said() == [*range(6)]
        await ann.io.disconnect()

    asyncio.run(play())
