"""A process of Open WebUI of the test's own: a little REST, and python-socketio as Open WebUI has it."""

import asyncio
import contextlib
import json
import pathlib
import sys

import socketio
from aiohttp import web
from redis.asyncio import Redis
from siskin import free_port
from upstream import claims

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "redis"))

from parts import RoomChannels  # noqa: E402

POOL = "open-webui:session_pool"


class Process:
    """Knows everybody by their token. Takes events of any name: keeps them, answers with what `answers` has for the name."""

    def __init__(self, redis_url=None, websockets=True, version="0.12.4"):
        self.redis_url = redis_url
        self.version = version
        # Older ones hear Redis after the first connection to their socket.
        self.sleeps = tuple(map(int, version.split("."))) < (0, 12)
        self.redis = Redis.from_url(redis_url) if redis_url else None
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.io = socketio.AsyncServer(
            async_mode="aiohttp",
            always_connect=True,
            client_manager=RoomChannels(redis_url) if redis_url else None,
            transports=["websocket"] if websockets else ["polling"],
            cors_allowed_origins="*",
            ping_interval=0.5,
            max_http_buffer_size=1 << 24,
        )
        self.took, self.joined, self.gone, self.answers = [], [], [], {}
        self.environ = {}
        self.users = {}
        # The connections that show a token at once are relays; those that deliver receipts join.
        self.relays = []
        app = web.Application()
        app.router.add_get("/api/v1/auths/", self.who)
        app.router.add_get("/api/v1/channels/", self.channels)
        app.router.add_get("/api/version", self.tell_version)
        self.io.attach(app, socketio_path="/ws/socket.io")
        self.app = app
        self.io.on("connect", self.connect)
        self.io.on("user-join", self.join)
        self.io.on("heartbeat", lambda sid, data: None)
        self.io.on("disconnect", self.left)
        self.io.on("*", self.take)

    async def who(self, request):
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not token:
            return web.json_response({"detail": "Not authenticated"}, status=401)
        user = claims(token)
        return web.json_response({"id": user["id"], "name": user["name"], "role": user["role"]})

    async def channels(self, request):
        return web.json_response([{"id": "c1"}])

    async def tell_version(self, request):
        return web.json_response({"version": self.version, "deployment_id": ""})

    async def connect(self, sid, environ, auth):
        self.environ[sid] = environ
        if not auth:
            return
        # As slow as a look into a database.
        await asyncio.sleep(0.05)
        user = claims(auth["token"])
        self.users[sid] = user["id"]
        if self.redis:
            await self.redis.hset(POOL, sid, json.dumps({"id": user["id"], "last_seen_at": 1 << 40}))
        await self.io.enter_room(sid, f"user:{user['id']}")
        self.relays.append(sid)

    async def join(self, sid, data):
        if token := (data.get("auth") or {}).get("token"):
            user = claims(token)
            self.joined.append(sid)
            await self.io.enter_room(sid, f"user:{user['id']}")
            return {"id": user["id"], "name": user["name"]}

    async def left(self, sid, reason):
        self.gone.append(sid)
        if self.redis:
            await self.redis.hdel(POOL, sid)

    async def take(self, event, sid, *args):
        if event == "disconnect":
            return None
        self.took.append((event, self.users.get(sid), *args))
        answer = self.answers.get(event)
        return await answer(sid, *args) if callable(answer) else answer

    def members(self, room):
        return set(self.io.manager.rooms.get("/", {}).get(room, ()))

    async def __aenter__(self):
        self.runner = web.AppRunner(self.app, shutdown_timeout=1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port).start()
        if self.redis and not self.sleeps:
            self.io.manager_initialized = True
            self.io.manager.initialize()
            while not (self.io.manager.pubsub and self.io.manager.pubsub.subscribed):
                await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *_):
        for sid in [*self.members(None)]:
            with contextlib.suppress(Exception):
                await self.io.disconnect(sid)
        await self.runner.cleanup()
        if self.redis and self.io.manager_initialized:
            self.io.manager.thread.cancel()
            await asyncio.gather(self.io.manager.thread, return_exceptions=True)
            await self.io.manager.pubsub.aclose()
            await self.io.manager.redis.aclose()
            await self.redis.aclose()
