"""Direct connections: a client streams a provider's answer to Open WebUI, line by line, over Redis."""

import asyncio
import json
import os
import signal
import time

from client import Client
from process import Process
from redis.asyncio import Redis

LINES = 4000
LATE = 60
CHANNEL = "open-webui:direct_completion"


def stall(redis, seconds):
    """Redis answers nobody for a while, and loses nothing."""
    os.kill(redis.process.pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(redis.process.pid, signal.SIGCONT)


async def lines(pubsub, name):
    """What Open WebUI's listener takes, until the end."""
    taken = []
    async for message in pubsub.listen():
        if message["type"] == "message":
            event = json.loads(message["data"])
            assert event["channel"] == name
            taken.append(event["data"])
            if event["data"] == {"done": True}:
                return taken


async def stream(start_siskin, redis, stalled=0, filler="", **settings):
    """4,000 lines in about 4 s; Redis is stalled for some seconds in the middle of it."""
    async with Process(redis.url) as process:
        siskin = await asyncio.to_thread(
            lambda: start_siskin(SISKIN_DIRECTORY=process.url, WEBSOCKET_MANAGER="redis", WEBSOCKET_REDIS_URL=redis.url, **settings)
        )
        ann = await Client(siskin, siskin.token("ann")).connect()
        assert await ann.join()
        name = f"ann:{ann.io.get_sid()}:a-request"
        connection = Redis.from_url(redis.url)
        async with connection.pubsub() as pubsub:
            await pubsub.subscribe(CHANNEL)
            taking = asyncio.ensure_future(lines(pubsub, name))
            began = time.monotonic()
            for number in range(LINES):
                await ann.io.emit(name, f"data: {number}{filler}")
                if number % 100 == 0:
                    await asyncio.sleep(max(0, began + number / 1000 - time.monotonic()))
                if stalled and number == LINES // 2:
                    asyncio.ensure_future(asyncio.to_thread(stall, redis, stalled))
            await ann.io.emit(name, {"done": True})
            taken = await asyncio.wait_for(taking, LATE)
        assert taken == [*(f"data: {number}{filler}" for number in range(LINES)), {"done": True}]
        assert ann.io.connected
        assert not process.relays, "what goes over Redis went over a relay, too"
        await ann.io.disconnect()
        await connection.aclose()


def test_all_lines_arrive_in_order(start_siskin, redis_server):
    asyncio.run(stream(start_siskin, redis_server))


def test_all_lines_arrive_though_redis_is_slow(start_siskin, redis_server):
    """32 MB of lines, four times what may wait for Redis, which stops for some seconds."""
    asyncio.run(stream(start_siskin, redis_server, stalled=3, filler="x" * 8192, SISKIN_EVENTS_PER_SECOND=0))
