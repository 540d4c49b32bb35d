"""Sentinel loses its master under load; nothing is restarted by hand, no socket is lost."""

import asyncio
import time

import pytest
from load import back, load
from parts import manager_class, until
from redis.asyncio import Redis
from topology import Sentinels

PREFIX = "open-webui"


@pytest.fixture
def sentinels():
    made = Sentinels()
    yield made
    made.close()


def test_sentinel_replaces_the_master(start_siskin, sentinels):
    """The master is killed under load; the replica takes over, and with it everything that is shared."""

    async def body():
        where = {"redis_url": "redis://mymaster/0", "WEBSOCKET_SENTINEL_HOSTS": sentinels.hosts}
        async with load(start_siskin, **where) as here:
            began = time.monotonic()
            sentinels.master.stop()
            await back(here, began, "master killed")
            assert sentinels.info(sentinels.replica)["role"] == "master"
            living = {client.sid for client in here.sockets}
            async with Redis(port=sentinels.replica.port, decode_responses=True) as redis:
                await until(lambda: _pool_is(redis, living), what="session pool on the new master")
            far = manager_class(True)(sentinels.python_url, write_only=True)
            await far.emit("far", 1, room="room")
            await until(lambda: all(client.events("far") == [1] for client in here.sockets), what="event of python-socketio")
            await far.redis.aclose()

    asyncio.run(body())


async def _pool_is(redis, living):
    return set(await redis.hkeys(f"{PREFIX}:session_pool")) == living
