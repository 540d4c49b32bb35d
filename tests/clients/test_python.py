"""python-socketio's clients, asynchronous and threaded, over every transport."""

import asyncio
import os
import queue

import pytest
import socketio

from siskin import wait_for

PATH = "/ws/socket.io"
PATIENCE = 10
WAYS = {"websocket": ["websocket"], "polling": ["polling"], "upgrade": ["polling", "websocket"]}

each_way = pytest.mark.parametrize("transports", WAYS.values(), ids=WAYS.keys())

VALUES = [
    None,
    "grüß gott \U0001f426 \u2028 \x00 \x1e \" \\ end",
    {"deep": [[[{"a": {"b": []}}]]], "": 0, "n": [0, -1, 1.5, 1e300, True, False]},
    "x" * 300_000,
    b"",
    bytes(range(256)),
    {"a": os.urandom(70_000), "b": ["text", os.urandom(3)], "c": None},
    # Over polling this client takes sixteen packets of one payload at most.
    [bytes([n]) for n in range(15)],
]


class Threaded:
    """The threaded client, and what it heard."""

    def __init__(self, **options):
        self.io = socketio.Client(**{"reconnection": False, **options})
        self.came, self.gone = queue.Queue(), queue.Queue()
        self.io.on("*", lambda name, *args: self.came.put((name, *args)))
        self.io.on("disconnect", lambda reason: self.gone.put(reason))

    def connect(self, siskin, transports, user="ann"):
        auth = {"token": siskin.token(user)}
        self.io.connect(siskin.url, auth=auth, socketio_path=PATH, transports=transports, wait_timeout=PATIENCE)
        return self

    def join(self, siskin, user="ann"):
        return self.io.call("user-join", {"auth": {"token": siskin.token(user)}}, timeout=PATIENCE)

    def next(self):
        return self.came.get(timeout=PATIENCE)


@pytest.fixture
def threaded():
    """Makes threaded clients; they end with the test."""
    made = []

    def make(**options):
        made.append(Threaded(**options))
        return made[-1]

    yield make
    for client in made:
        client.io.disconnect()


@each_way
def test_values_come_back_the_same(conformance, transports):
    async def play():
        io = socketio.AsyncClient(reconnection=False)
        came = asyncio.Queue()

        # None as the only argument is no argument to this client.
        async def hear(value=None):
            await came.put(value)

        io.on("message-back", hear)
        await io.connect(conformance, transports=transports)
        for value in VALUES:
            await io.emit("message", value)
            assert await asyncio.wait_for(came.get(), PATIENCE) == value
            assert await io.call("message-with-ack", value, timeout=PATIENCE) == value
        await io.disconnect()

    asyncio.run(play())


@each_way
def test_events_keep_their_order(conformance, transports):
    async def play():
        io = socketio.AsyncClient(reconnection=False)
        came = asyncio.Queue()
        io.on("message-back", came.put)
        await io.connect(conformance, transports=transports)
        for n in range(500):
            await io.emit("message", n if n % 3 else n.to_bytes(4, "big"))
        got = [await asyncio.wait_for(came.get(), PATIENCE) for _ in range(500)]
        assert [int.from_bytes(n, "big") if isinstance(n, bytes) else n for n in got] == list(range(500))
        await io.disconnect()

    asyncio.run(play())


@each_way
def test_signs_in_hears_answers_and_leaves(start_siskin, threaded, transports):
    # Over polling this client sometimes ends before it has sent its last words: then the heartbeat tells.
    siskin = start_siskin(WEBSOCKET_SERVER_PING_INTERVAL="2", WEBSOCKET_SERVER_PING_TIMEOUT="6")
    ann = threaded().connect(siskin, transports)
    assert ann.join(siskin) == {"id": "ann", "name": "ann"}
    assert siskin.api("POST", "/emit", {"user_id": "ann", "event": "x", "data": {"ß": [1]}}).json() == {"delivered": 1}
    assert ann.next() == ("x", {"ß": [1]})

    ann.io.on("events", lambda body: {"result": body["data"]["data"]})
    call = {"user_id": "ann", "session_id": ann.io.get_sid(), "chat_id": "c"}
    answer = siskin.api("POST", "/chat/call", {**call, "event": {"type": "execute:tool", "data": {"x": 1}}}).json()
    assert answer == {"answer": {"result": {"x": 1}}}

    ann.io.disconnect()
    wait_for(lambda: siskin.api("GET", "/sessions").json()["total"] == 0, what="the session's end")


@each_way
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_comes_back_after_a_restart(siskin, threaded, transports, end):
    ann = threaded(reconnection=True, reconnection_delay=0.05, reconnection_delay_max=0.2)
    ann.connect(siskin, transports)
    ann.join(siskin)
    before = ann.io.get_sid()
    getattr(siskin, end)()
    assert ann.gone.get(timeout=PATIENCE) in ("transport close", "transport error", "server disconnect")
    siskin.start()
    wait_for(lambda: ann.io.connected and ann.io.get_sid() != before, what="reconnection")
    assert ann.join(siskin) == {"id": "ann", "name": "ann"}
    siskin.api("POST", "/emit", {"user_id": "ann", "event": "hello"})
    assert ann.next() == ("hello",)


@each_way
def test_the_servers_disconnect(siskin, threaded, transports):
    ann = threaded().connect(siskin, transports)
    ann.join(siskin)
    assert siskin.api("DELETE", "/users/ann/sessions").json() == {"disconnected": 1}
    assert ann.next() == ("access:updated", {})
    assert ann.gone.get(timeout=PATIENCE) == "server disconnect"


def test_a_second_transport_is_not_offered_where_only_one_is_allowed(start_siskin, threaded):
    polling = start_siskin(ENABLE_WEBSOCKET_SUPPORT="false")
    assert threaded().connect(polling, WAYS["upgrade"]).join(polling) == {"id": "ann", "name": "ann"}
    with pytest.raises(socketio.exceptions.ConnectionError):
        threaded().connect(polling, WAYS["websocket"])
    websocket = start_siskin(SISKIN_TRANSPORTS="websocket")
    assert threaded().connect(websocket, WAYS["websocket"]).join(websocket) == {"id": "ann", "name": "ann"}
    with pytest.raises(socketio.exceptions.ConnectionError):
        threaded().connect(websocket, WAYS["polling"])


def test_another_namespace_is_refused(siskin, threaded):
    io = threaded().io
    with pytest.raises(socketio.exceptions.ConnectionError):
        io.connect(siskin.url, socketio_path=PATH, namespaces=["/admin"], transports=["websocket"], wait_timeout=PATIENCE)
