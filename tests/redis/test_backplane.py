"""Instances reach each other's sockets, and those of python-socketio's own AsyncRedisManager, in both channel modes."""

import asyncio
import contextlib
import json
import threading
import time

import pytest
import redis
import socketio
from aiohttp import web
from parts import manager_class
from siskin import free_port, token, wait_for

MODES = pytest.mark.parametrize("room_channels", [False, True], ids=["one-channel", "room-channels"])


class Python:
    """A python-socketio server on the same Redis, in a thread of its own."""

    def __init__(self, url, room_channels):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.loop = asyncio.new_event_loop()
        self.room_channels, self.redis_url = room_channels, url
        self.sids = []
        started = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self.thread.start()
        started.wait(10)

    def _run(self, started):
        asyncio.set_event_loop(self.loop)
        self.server = socketio.AsyncServer(async_mode="aiohttp", client_manager=manager_class(self.room_channels)(self.redis_url))
        self.server.on("connect", lambda sid, *_: self.sids.append(sid))
        app = web.Application()
        self.server.attach(app, socketio_path="/ws/socket.io")

        async def start():
            runner = web.AppRunner(app)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", self.port).start()
            started.set()

        self.loop.run_until_complete(start())
        self.loop.run_forever()

    def do(self, coroutine):
        """Runs a coroutine there."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)


class Client:
    """A client that keeps what came."""

    def __init__(self, url, user=None):
        self.got = []
        self.answer = lambda *args: None
        self.socket = socketio.Client(reconnection=False)
        self.socket.on("*", self._event)
        auth = {"token": token(user)} if user else None
        self.socket.connect(url, auth=auth, socketio_path="/ws/socket.io", transports=["websocket"])
        if user:
            assert self.socket.call("user-join", {"auth": auth})["id"] == user

    @property
    def sid(self):
        return self.socket.get_sid()

    def _event(self, name, *args):
        self.got.append((name, *args))
        return self.answer(*args)

    def named(self, name):
        return [list(event[1:]) for event in self.got if event[0] == name]

    def expect(self, name, *args):
        wait_for(lambda: list(args) in self.named(name), what=f"{name} {args} in {self.got}")


@pytest.fixture
def house(start_siskin, redis_server):
    """Starts instances and clients that share one Redis."""
    with contextlib.ExitStack() as stack:

        class House:
            url = redis_server.url
            server = redis_server

            def siskin(self, room_channels, **more):
                instance = start_siskin(
                    WEBSOCKET_MANAGER="redis",
                    WEBSOCKET_REDIS_URL=redis_server.url,
                    WEBSOCKET_REDIS_ROOM_CHANNELS=str(room_channels).lower(),
                    **more,
                )
                wait_for(lambda: '"ready":true' in instance_ready(instance), what="readiness")
                return instance

            def python(self, room_channels):
                server = Python(redis_server.url, room_channels)
                stack.callback(server.close)
                return server

            def client(self, url, user=None):
                client = Client(url, user)
                stack.callback(client.socket.disconnect)
                return client

        yield House()


def instance_ready(instance):
    import requests

    return requests.get(f"{instance.url}/ready", timeout=10).text.replace(" ", "")


@MODES
def test_two_instances_are_one(house, room_channels):
    a, b = house.siskin(room_channels), house.siskin(room_channels)
    ann, bob, eve = house.client(a.url, "ann"), house.client(b.url, "bob"), house.client(b.url, "eve")

    a.api("POST", "/emit", {"user_id": "bob", "event": "x", "data": {"n": 1}})
    bob.expect("x", {"n": 1})
    a.api("POST", "/emit", {"session_id": eve.sid, "event": "x", "data": {"n": 2}})
    eve.expect("x", {"n": 2})
    assert bob.named("x") == [[{"n": 1}]]
    assert ann.named("x") == []


@MODES
def test_a_flood_keeps_its_order(house, room_channels):
    a, b = house.siskin(room_channels), house.siskin(room_channels)
    bob = house.client(b.url, "bob")
    for number in range(300):
        a.api("POST", "/emit", {"user_id": "bob", "event": "x", "data": number})
    wait_for(lambda: len(bob.named("x")) == 300, what="300 events")
    assert [args[0] for args in bob.named("x")] == list(range(300))


@MODES
def test_a_backend_asks_a_browser_of_another_instance(house, room_channels):
    a, b = house.siskin(room_channels), house.siskin(room_channels)
    bob = house.client(b.url, "bob")
    bob.answer = lambda payload: {"said": payload["data"]["type"]}
    question = {
        "user_id": "bob",
        "session_id": bob.sid,
        "chat_id": "c",
        "message_id": "m",
        "event": {"type": "execute:python", "data": {"code": "1"}},
    }
    b.api("POST", "/chat/call", question)
    answer = wait_for(lambda: (r := a.api("POST", "/chat/call", question, ok=False)).status_code == 200 and r, what="an answer")
    assert answer.json()["answer"] == {"said": "execute:python"}


@MODES
def test_a_call_ends_when_the_instance_of_its_browser_dies(house, room_channels):
    a, b = house.siskin(room_channels), house.siskin(room_channels)
    bob = house.client(b.url, "bob")
    bob.answer = lambda *_: time.sleep(60)
    question = {"user_id": "bob", "session_id": bob.sid, "chat_id": "c", "event": {"type": "execute:python", "data": {}}}
    answers = []

    def ask():
        wait_for(lambda: a.api("POST", "/chat/call", {**question, "timeout": 0.01}, ok=False).status_code != 404)
        answers.append(a.api("POST", "/chat/call", question, ok=False).status_code)

    asking = threading.Thread(target=ask)
    asking.start()
    # Both questions have arrived, and their instance has said that it has the browser.
    spoken = 'siskin_backplane_messages_total{direction="in"}'
    wait_for(lambda: len(bob.named("events")) >= 2 and a.metric(spoken) >= 2, what="the questions")
    b.kill()
    asking.join(20)
    assert answers == [410], answers


@MODES
def test_python_and_siskin_reach_each_other(house, room_channels):
    siskin, python = house.siskin(room_channels), house.python(room_channels)
    here, there = house.client(siskin.url, "ann"), house.client(python.url)
    # It subscribes with its first client.
    admin = redis.Redis.from_url(house.url)
    wait_for(lambda: admin.pubsub_numpat() + admin.pubsub_numsub("socketio")[0][1] == 2, what="two subscribers")
    python.do(python.server.enter_room(python.sids[0], "user:ann"))

    siskin.api("POST", "/emit", {"room": "user:ann", "event": "a", "data": {"n": 1}})
    for client in (here, there):
        client.expect("a", {"n": 1})
    python.do(python.server.emit("b", ({"n": 2}, "ä\"\\"), room="user:ann"))
    for client in (here, there):
        client.expect("b", {"n": 2}, "ä\"\\")
    python.do(python.server.emit("c", {"blob": b"\x00\xff", "more": [b"x"]}, to=here.sid))
    here.expect("c", {"blob": b"\x00\xff", "more": [b"x"]})
    python.do(python.server.emit("d", 1, room="user:ann", skip_sid=here.sid))
    there.expect("d", 1)
    python.do(python.server.emit("e"))
    here.expect("e")
    assert not here.named("d")

    here.answer = lambda *args: ("yes", 2)
    assert python.do(python.server.call("ask", "?", to=here.sid, timeout=10)) == ("yes", 2)

    python.do(python.server.enter_room(here.sid, "den"))
    wait_for(lambda: "den" in siskin.api("GET", f"/sessions/{here.sid}").json()["rooms"], what="den")
    python.do(python.server.leave_room(here.sid, "den"))
    wait_for(lambda: "den" not in siskin.api("GET", f"/sessions/{here.sid}").json()["rooms"], what="no den")
    python.do(python.server.close_room("user:ann"))
    wait_for(lambda: "user:ann" not in siskin.api("GET", f"/sessions/{here.sid}").json()["rooms"], what="no room")
    python.do(python.server.disconnect(here.sid))
    wait_for(lambda: not here.socket.connected, what="the end")


@MODES
def test_an_emitting_only_manager(house, room_channels):
    siskin = house.siskin(room_channels)
    ann = house.client(siskin.url, "ann")
    emitter = manager_class(room_channels)(house.url, write_only=True)

    async def emit():
        await emitter.emit("x", {"n": 1}, room="user:ann")
        await emitter.emit("x", {"n": 2}, room=["user:ann", "user:bob"])
        await emitter.emit("x", {"n": 3})
        await emitter.redis.aclose()

    asyncio.run(emit())
    wait_for(lambda: len(ann.named("x")) == 3, what="three events")
    assert [args[0]["n"] for args in ann.named("x")] == [1, 2, 3] or room_channels


@MODES
def test_malformed_messages_are_skipped_and_counted(house, room_channels):
    siskin = house.siskin(room_channels)
    ann = house.client(siskin.url, "ann")
    client = redis.Redis.from_url(house.url)
    for wrong in [b"", b"\xff\xfe", b"{", b"[]", b'{"method":"emit","host_id":"h"}', b'{"method":"x"}']:
        client.publish("socketio", wrong)
    client.publish("socketio", json.dumps({"method": "emit", "event": "x", "data": [1], "room": "user:ann", "host_id": "h"}))
    ann.expect("x", 1)
    assert siskin.metric('siskin_refused_total{reason="backplane message"}') == 6
    assert siskin.log().count("is skipped") == 1


def test_room_channels_come_and_go_with_members(house):
    siskin = house.siskin(True)
    client = redis.Redis.from_url(house.url)
    channels = lambda: {name.decode() for name in client.pubsub_channels("socketio#/#*")}  # noqa: E731
    assert channels() == set()
    ann = house.client(siskin.url, "ann")
    assert channels() == {"socketio#/#user:ann", f"socketio#/#{ann.sid}"}
    ann.socket.disconnect()
    wait_for(lambda: channels() == set(), what="unsubscription")


@MODES
def test_after_an_outage_all_is_as_before(house, room_channels):
    a, b = house.siskin(room_channels), house.siskin(room_channels)
    ann, bob = house.client(a.url, "ann"), house.client(b.url, "bob")
    house.server.stop()
    wait_for(lambda: "is away (" in a.log(), what="the outage")
    a.api("POST", "/emit", {"user_id": "ann", "event": "x", "data": 1})
    ann.expect("x", 1)
    house.server.start()
    for instance in (a, b):
        wait_for(lambda: '"ready":true' in instance_ready(instance), 40, what="readiness")  # noqa: B023
    a.api("POST", "/emit", {"user_id": "bob", "event": "x", "data": 2})
    bob.expect("x", 2)
    assert ann.socket.connected and bob.socket.connected


def test_a_deaf_subscriber_is_noticed(house):
    siskin = house.siskin(True)
    ann = house.client(siskin.url, "ann")
    client = redis.Redis.from_url(house.url)
    (subscriber,) = [c for c in client.client_list() if c["name"] == "siskin-subscriber"]
    client.client_kill_filter(_id=subscriber["id"])
    wait_for(lambda: "connects again" in siskin.log(), what="a log line")
    wait_for(lambda: '"ready":true' in instance_ready(siskin), what="readiness")
    client.publish("socketio", json.dumps({"method": "emit", "event": "x", "data": [1], "host_id": "h"}))
    ann.expect("x", 1)


def test_a_stream_reaches_the_instance_that_has_it_open(house):
    a, b = house.siskin(True), house.siskin(True)
    bob = house.client(b.url, "bob")
    name = f"bob:{bob.sid}:r1"
    a.api("PUT", f"/streams/{name}")
    for number in range(20):
        bob.socket.emit(name, {"n": number})
    got = []

    def all_of_them():
        got.extend(a.api("GET", f"/streams/{name}?wait=1").json()["events"])
        return len(got) == 20

    wait_for(all_of_them, what="20 events")
    assert [event["n"] for event in got] == list(range(20))
