"""The real parts beside siskin: python-socketio servers and managers, their clients, the HTTP API from a loop."""

import asyncio
import contextlib
import json
import time

import aiohttp
import socketio
from aiohttp import web
from redis.asyncio import Redis

from siskin import API_KEY, free_port, token

PATH = "/ws/socket.io"


class RoomChannels(socketio.AsyncRedisManager):
    """python-socketio's manager with a channel for each room, as Open WebUI runs it.

    An event to a room goes to `channel#namespace#room`; a server subscribes to the rooms that it has members in, and a
    socket has entered a room only when the subscriber's PONG says that Redis has the subscription.
    """

    name = "roomchannels"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._turn = asyncio.Lock()
        self._pongs = {}

    def channel_of(self, namespace, room):
        return f"{self.channel}#{namespace}#{room}"

    async def _publish(self, data):
        channel = self.channel
        if data["method"] == "emit" and isinstance(data["room"], str):
            channel = self.channel_of(data["namespace"], data["room"])
        if not self.connected:
            self._redis_connect()
        return await self.redis.publish(channel, self.json.dumps(data))

    def basic_enter_room(self, sid, namespace, room, eio_sid=None):
        super().basic_enter_room(sid, namespace, room, eio_sid=eio_sid)
        asyncio.ensure_future(self._settle())

    def basic_leave_room(self, sid, namespace, room):
        super().basic_leave_room(sid, namespace, room)
        asyncio.ensure_future(self._settle())

    async def connect(self, eio_sid, namespace):
        sid = await super().connect(eio_sid, namespace)
        await self._settle()
        return sid

    async def enter_room(self, sid, namespace, room, eio_sid=None):
        await super().enter_room(sid, namespace, room, eio_sid=eio_sid)
        if self.is_connected(sid, namespace):
            await self._settle()

    async def _settle(self):
        """Subscribes to what is wanted and no more; returns when Redis has done so."""
        async with self._turn:
            rooms = ((nsp, room) for nsp, rooms in self.rooms.items() for room in rooms if room is not None)
            wanted = {self.channel.encode()} | {self.channel_of(*room).encode() for room in rooms}
            if added := wanted - self.pubsub.channels.keys():
                await self.pubsub.subscribe(*added)
            if removed := self.pubsub.channels.keys() - wanted:
                await self.pubsub.unsubscribe(*removed)
            serial = str(time.monotonic_ns())
            pong = self._pongs[serial] = asyncio.get_running_loop().create_future()
            await self.pubsub.ping(serial)
            await asyncio.wait_for(pong, 10)
            del self._pongs[serial]

    async def _listen(self):
        async for message in self._redis_listen_with_retries():
            if message["type"] == "pong":
                if waiting := self._pongs.get(message["data"].decode()):
                    waiting.set_result(None)
            elif message["type"] == "message":
                yield message["data"]


def manager_class(room_channels):
    return RoomChannels if room_channels else socketio.AsyncRedisManager


@contextlib.asynccontextmanager
async def writer(url, room_channels):
    """A manager that only emits, as a process without sockets uses it."""
    manager = manager_class(room_channels)(url, write_only=True)
    manager._redis_connect()
    yield manager
    await manager.redis.aclose()


class PythonServer:
    """A python-socketio server in this process. A client's user is what its auth says."""

    def __init__(self, redis_url, room_channels):
        self.manager = manager_class(room_channels)(redis_url)
        self.io = socketio.AsyncServer(async_mode="aiohttp", client_manager=self.manager, ping_interval=25)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.app = web.Application()
        self.io.attach(self.app, socketio_path=PATH)
        self.io.on("connect", self._connect)
        self.gone = []
        self.io.on("disconnect", lambda sid, reason: self.gone.append(sid))

    async def _connect(self, sid, _environ, auth):
        await self.io.enter_room(sid, f"user:{auth['user']}")

    async def __aenter__(self):
        self.runner = web.AppRunner(self.app)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port).start()
        # The listener starts with the first socket; until it has subscribed nobody can be told anything.
        self.io.manager_initialized = True
        self.io.manager.initialize()
        await until(lambda: self.manager.pubsub and self.manager.pubsub.subscribed, what="subscriber of python-socketio")
        return self

    async def __aexit__(self, *_):
        self.manager.thread.cancel()
        await asyncio.gather(self.manager.thread, return_exceptions=True)
        await self.runner.cleanup()
        await self.manager.pubsub.aclose()
        await self.manager.redis.aclose()

    def members(self, room):
        return set(self.manager.rooms.get("/", {}).get(room, ()))


class Client:
    """A Socket.IO client that keeps what it receives: (event, arguments). Its `answer` is what it acknowledges, or a function."""

    def __init__(self, server, user):
        self.server, self.user = server, user
        self.received = []
        self.lost = 0
        self.answer = None
        self.io = socketio.AsyncClient(reconnection=False)
        self.io.on("*", self._event)
        self.io.on("disconnect", self._lost)

    async def _event(self, event, *args):
        self.received.append((event, args))
        return await self.answer(*args) if callable(self.answer) else self.answer

    async def _lost(self, *_):
        self.lost += 1

    async def connect(self):
        """Connected and in the room of its user."""
        auth = {"token": token(self.user), "user": self.user}
        await self.io.connect(self.server.url, auth=auth, socketio_path=PATH, transports=["websocket"], wait_timeout=20)
        # siskin looks up who it is after the connection is there.
        if not isinstance(self.server, PythonServer):
            assert (await self.io.call("user-join", {"auth": auth}, timeout=20))["id"] == self.user
        return self

    @property
    def sid(self):
        return self.io.get_sid()

    def events(self, name):
        """The first argument of each event of this name."""
        return [args[0] if args else None for event, args in self.received if event == name]

    async def close(self):
        await self.io.disconnect()


@contextlib.asynccontextmanager
async def clients(*wanted):
    """Connected clients: (server, user) each; closed in the end."""
    made = [Client(*one) for one in wanted]
    try:
        await asyncio.gather(*(client.connect() for client in made))
        yield made
    finally:
        await asyncio.gather(*(client.close() for client in made), return_exceptions=True)


class Api:
    """An instance's HTTP API without blocking the loop; `path` follows /api/v1."""

    def __init__(self, instance):
        self.instance = instance

    async def __aenter__(self):
        headers = {"Authorization": f"Bearer {API_KEY}"}
        self.session = aiohttp.ClientSession(self.instance.url, headers=headers, timeout=aiohttp.ClientTimeout(60))
        return self

    async def __aexit__(self, *_):
        await self.session.close()

    async def __call__(self, method, path, body=None, ok=True):
        async with self.session.request(method, "/api/v1" + path, json=body) as answer:
            text = await answer.text()
            assert answer.ok or not ok, f"{method} {path}: {answer.status} {text}"
            return (await answer.json()) if answer.ok and text else {"status": answer.status, "text": text}

    async def emit(self, event, data, **target):
        return await self("POST", "/emit", {"event": event, "data": data, **target})

    async def enter(self, room, *users):
        return await self("POST", f"/rooms/{room}/enter", {"user_ids": list(users)})

    async def leave(self, room, *users):
        return await self("POST", f"/rooms/{room}/leave", {"user_ids": list(users)})

    async def members(self, room):
        return set((await self("GET", f"/rooms/{room}"))["sessions"])

    async def ready(self):
        """Whether it is ready, and why not."""
        async with self.session.get("/ready") as answer:
            return await answer.json()

    async def metric(self, name):
        async with self.session.get("/metrics") as answer:
            for line in (await answer.text()).splitlines():
                if line.rpartition(" ")[0] == name:
                    return float(line.rpartition(" ")[2])
        return 0.0


class Scene:
    """Two instances `a` and `b` (their APIs), a python-socketio server `p`, a manager `w` that only emits, one Redis; of the
    clients, ann is on `a`, bob on `b`, pam on `p`, signed in there as Open WebUI does it."""

    def __init__(self, mode, server, redis, a, b, p, w, everybody):
        self.mode, self.server, self.redis = mode, server, redis
        self.a, self.b, self.p, self.w = a, b, p, w
        self.everybody = self.ann, self.bob, self.pam = everybody

    def channel(self, room):
        return f"socketio#/#{room}"

    async def members(self, room):
        return await self.a.members(room) | await self.b.members(room) | self.p.members(room)

    async def all_in(self, room, *who):
        """Waits until these and no others are in a room, and their servers hear what goes there."""
        sids = {client.sid for client in who}
        await until(lambda: self._are_in(room, sids), what=f"{[client.user for client in who]} in {room}")
        servers = len({client.server for client in who})
        await until(lambda: not self.mode or self._listened(room, servers), what=f"subscription to {room}")

    async def _are_in(self, room, sids):
        return await self.members(room) == sids

    async def _listened(self, room, servers):
        return (await self.redis.pubsub_numsub(self.channel(room)))[0][1] == servers

    async def sign_in(self, client):
        user = {"id": client.user, "name": client.user, "role": "user", "last_seen_at": int(time.time()) + 600}
        await self.redis.hset("open-webui:session_pool", client.sid, json.dumps(user))

    async def known(self, *who):
        """Waits until all instances can know these clients: their entries are in the pool."""
        sids = {client.sid for client in who}
        await until(lambda: self._pool_has(sids), what="entries in the pool")

    async def _pool_has(self, sids):
        return sids <= await pool(self.server.url)

    async def ready(self):
        return (await self.a.ready())["ready"] and (await self.b.ready())["ready"]


@contextlib.asynccontextmanager
async def setting(mode, start_siskin, server):
    a, b = start_siskin(**settings(server.url, mode)), start_siskin(**settings(server.url, mode))
    async with contextlib.AsyncExitStack() as stack:
        parts = [Redis.from_url(server.url), Api(a), Api(b), PythonServer(server.url, mode), writer(server.url, mode)]
        redis, at_a, at_b, p, w = [await stack.enter_async_context(part) for part in parts]
        everybody = await stack.enter_async_context(clients((a, "ann"), (b, "bob"), (p, "pam")))
        scene = Scene(mode, server, redis, at_a, at_b, p, w, everybody)
        await scene.sign_in(scene.pam)
        await until(scene.ready, what="readiness")
        await scene.known(*everybody)
        yield scene


def scene(test):
    """Runs a test with a scene of its own."""

    def run(mode, start_siskin, redis_server):
        async def body():
            async with setting(mode, start_siskin, redis_server) as here:
                await test(here)

        asyncio.run(body())

    run.__doc__, run.__name__ = test.__doc__, test.__name__
    return run


async def seen(client, event, count=1):
    """Waits for so many events of a name; their first arguments."""
    await until(lambda: len(client.events(event)) >= count, what=f"{event} at {client.user}")
    return client.events(event)


async def until(condition, seconds=20, what="condition"):
    """Waits until `condition()`, awaited if need be, is true; returns what it returned."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if asyncio.iscoroutine(result):
            result = await result
        if result:
            return result
        assert time.monotonic() < end, f"no {what} after {seconds} s"
        await asyncio.sleep(0.02)


def settings(redis_url, room_channels=True, **more):
    """An instance's settings for this Redis."""
    return {
        "WEBSOCKET_MANAGER": "redis",
        "WEBSOCKET_REDIS_URL": redis_url,
        "WEBSOCKET_REDIS_ROOM_CHANNELS": str(room_channels).lower(),
        "SISKIN_EVENTS_PER_SECOND": "0",
        **more,
    }


async def pool(redis_url, prefix="open-webui"):
    """The sids in the session pool."""
    async with Redis.from_url(redis_url) as redis:
        return {sid.decode() for sid in await redis.hkeys(f"{prefix}:session_pool")}
