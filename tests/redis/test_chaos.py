"""Redis goes wrong in every way; sockets stay, events among local sockets flow, and afterwards all is as it should be.

The commands' deadline is 5 s, so a stall of a minute is beyond everything that waits; it lasts beside the other tests.
"""

import asyncio
import concurrent.futures
import contextlib
import json
import re
import time

import pytest
from parts import Api, Client, clients, pool, settings, until, writer
from proxy import Proxy
from redis.asyncio import Redis
from shared import Reference

from siskin import RedisServer, Siskin

STALL = 60
OUTAGE = 4
WRITES = {"HSET", "HDEL", "SET", "DEL", "EVAL", "EVALSHA", "SADD", "SREM", "RPUSH", "INCRBY", "PEXPIRE", "EXPIRE"}


class Stage:
    """An instance behind a proxy, ten sockets in one room, and an event to that room every 50 ms for as long as it lasts."""

    def __init__(self, instance, api, proxy, admin, far, sockets):
        self.instance, self.api, self.proxy, self.admin, self.far = instance, api, proxy, admin, far
        # Those that come and go stand at the end.
        self.sockets, self.steady = sockets, sockets[:-1]
        self.sent = 0
        self.slowest = 0.0
        self.came = 0

    async def local_events(self):
        """What siskin's own sockets send each other, throughout."""
        while True:
            began = time.monotonic()
            self.sent += 1
            number = self.sent
            await self.api.emit("local", number, room="room")
            await until(lambda n=number: all(client.events("local")[-1:] == [n] for client in self.steady), 5, "local event")
            self.slowest = max(self.slowest, time.monotonic() - began)
            await asyncio.sleep(0.05)

    async def is_ready(self):
        return (await self.api.ready())["ready"]

    async def changes(self, name):
        """While Redis is away: one socket comes, one goes, one enters a room, one signs in; all of it is answered."""
        gone = self.sockets.pop()
        await gone.close()
        self.came += 1
        new = Client(self.instance, f"new{self.came}")
        self.sockets.append(new)
        await new.connect()
        await asyncio.wait_for(self.api.enter("room", new.user), 30)
        await asyncio.wait_for(self.api.enter(f"late:{name}", self.sockets[0].user), 30)
        await new.io.call("heartbeat", {}, timeout=30)
        await new.io.emit("usage", {"model": f"model:{name}"})

    async def reconciled(self, name):
        """Ready; the pool is the living sockets; events from elsewhere reach old and new rooms."""
        await until(self.is_ready, 45, f"readiness after {name}")
        living = {client.sid for client in self.sockets}
        await until(lambda: self._pool_is(living), 20, f"session pool of living sockets after {name}")
        for room, members in (("room", self.sockets), (f"late:{name}", self.sockets[:1])):
            mark = f"{room} after {name}"
            await self.far.emit("far", mark, room=room)
            await until(lambda m=members, mark=mark: all(c.events("far").count(mark) == 1 for c in m), 10, f"event to {mark}")

        # One connection for commands, one that listens: nothing of what was given up hangs on.
        await until(lambda: len(self.proxy.links) == 2, 20, f"two connections after {name}")

    async def _pool_is(self, living):
        return await pool(f"redis://127.0.0.1:{self.proxy.target}/0") == living


@contextlib.asynccontextmanager
async def stage(start_siskin, redis_server, mode=True):
    async with Proxy(redis_server.port) as proxy, Redis.from_url(redis_server.url) as admin, writer(redis_server.url, mode) as far:
        instance = start_siskin(**settings(proxy.url, mode))
        async with Api(instance) as api, clients(*((instance, f"u{n}") for n in range(10))) as sockets:
            here = Stage(instance, api, proxy, admin, far, sockets)
            await until(here.is_ready, what="readiness")
            await api.enter("room", *(client.user for client in sockets))
            events = asyncio.ensure_future(here.local_events())
            yield here
            assert not events.done(), events.exception()
            events.cancel()
            assert not any(client.lost for client in sockets), "a socket was lost"


async def cut(stage):
    """Every connection ends, and for a while there is nobody to connect to."""
    await stage.proxy.close()
    yield OUTAGE
    await stage.proxy.open()


async def stall(stage):
    """Connections stay, nothing comes."""
    stage.proxy.stall()
    yield STALL
    stage.proxy.flow()


async def halve(stage):
    """Each reply stops in its middle."""
    stage.proxy.halve = True
    yield OUTAGE
    stage.proxy.flow()


async def client_kill(stage):
    """Redis ends all connections again and again."""
    for _ in range(10):
        for kind in ("normal", "pubsub"):
            await stage.admin.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        await asyncio.sleep(0.2)
    yield 0


async def oom(stage):
    """Redis has no memory left for what is written."""
    await stage.admin.config_set("maxmemory", 1)
    yield OUTAGE
    await stage.admin.config_set("maxmemory", 0)


async def readonly(stage):
    """The master has become a replica, of nobody."""
    await stage.admin.replicaof("127.0.0.1", 1)
    yield OUTAGE
    await stage.admin.replicaof("NO", "ONE")


async def loading(stage):
    """Redis has just been started and still reads its data."""
    stage.proxy.error = lambda command: "LOADING Redis is loading the dataset in memory"
    stage.proxy.cut()
    yield OUTAGE
    stage.proxy.flow()


async def moved(stage):
    """Somebody put a Cluster there."""
    stage.proxy.error = lambda command: "MOVED 1234 127.0.0.1:1" if command in WRITES else None
    yield OUTAGE
    stage.proxy.flow()


FAULTS = [cut, halve, client_kill, oom, readonly, loading, moved]


async def suffer(stage, fault):
    """A fault, changes in its middle, and the end of it; what that was like. `fault` yields how many seconds it lasts."""
    name = fault.__name__
    async for seconds in fault(stage):
        began = time.monotonic()
        await stage.changes(name)
        await asyncio.sleep(max(0, began + seconds - time.monotonic()))
    began = time.monotonic()
    await stage.reconciled(name)
    took, slowest, stage.slowest = time.monotonic() - began, stage.slowest * 1000, 0
    return f"{name}: reconciled {took:.1f} s after it, slowest local event {slowest:.0f} ms, {stage.instance.rss() / 2**20:.1f} MiB"


@pytest.fixture(scope="module")
def stalled():
    """A stall of a minute, on a stage of its own in the background: what that was like and the instance's log."""
    with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor(1) as thread:

        def start(**more):
            stack.callback((instance := Siskin(**more)).close)
            return instance

        async def body():
            stack.callback((server := RedisServer()).close)
            async with stage(start, server) as here:
                before = here.instance.rss()
                said = await suffer(here, stall)
                assert here.instance.rss() < before + (16 << 20)
                return said, here.instance.log()

        yield thread.submit(asyncio.run, body())


def test_sockets_outlive_every_fault(mode, start_siskin, redis_server, stalled):
    faults = FAULTS if mode else [cut, client_kill]

    async def body():
        async with stage(start_siskin, redis_server, mode) as here:
            before = here.instance.rss()
            for fault in faults:
                print(await suffer(here, fault))
            print(f"{here.sent} local events; RSS {before / 2**20:.1f} MiB before, {here.instance.rss() / 2**20:.1f} MiB after")
            assert here.instance.rss() < before + (32 << 20)

    asyncio.run(body())


def test_writes_for_a_lost_redis_take_no_room(start_siskin, redis_server):
    """Redis answers nothing while events and writes pour in: what waits for it is bounded, the oldest events are dropped,
    which is said once and counted, and the newest arrive."""

    async def body():
        async with stage(start_siskin, redis_server) as here, here.admin.pubsub() as listener:
            before, log = here.instance.rss(), here.instance.log
            await listener.subscribe("socketio#/#nobody")
            here.proxy.stall()
            for number in range(MANY):
                await here.api.emit("far", {"n": number, "more": "x" * 100_000}, room="nobody")
            for number in range(MANY):
                for client in here.sockets:
                    await client.io.emit("usage", {"model": f"model:{number % 7}"})
                    await client.io.emit("heartbeat", {})
            await here.sockets[0].io.call("heartbeat", {}, timeout=20)
            await until(lambda: "is away (a command was not answered in time)" in log(), what="end of the commands' patience")
            print(f"RSS {before / 2**20:.1f} MiB before, {here.instance.rss() / 2**20:.1f} MiB after 6,000 writes and 30 MB of events for nobody")
            assert here.instance.rss() < before + (24 << 20)
            assert (await here.api.metric(LOST)) > MANY // 2
            here.proxy.cut()
            here.proxy.flow()
            await asyncio.wait_for(here.api.enter("late:writes", "u0"), 40)
            await here.reconciled("writes")
            await until(lambda: " messages to other instances were lost in all" in log(), what="word of the end")
            (said,) = re.findall("messages to other instances are lost: .*", log())
            (count,) = re.findall("([0-9]+) messages to other instances were lost in all", log())
            assert "more than 8 MiB wait for Redis" in said and int(count) == await here.api.metric(LOST)
            arrived = [await _number(listener)]
            while arrived[-1] < MANY - 1:
                arrived.append(await _number(listener))
            print(f"{count} lost, the {len(arrived)} newest of {MANY} arrived")
            assert len(arrived) > 50 and arrived == list(range(arrived[0], MANY))

    asyncio.run(body())


MANY = 300
LOST = 'siskin_refused_total{reason="backplane message lost"}'


async def _number(listener):
    """That of the next event."""
    while message := await listener.get_message(timeout=20):
        if message["type"] == "message":
            return json.loads(message["data"])["data"][0]["n"]
    raise AssertionError("no more events after 20 s")


def test_a_silent_connection_is_asked_whether_it_lives(start_siskin, redis_server):
    """health_check_interval: an instance with nothing to say to Redis finds out all the same that it does not answer."""
    # Others clean up, so that nothing else has to be done.
    for lock in ("usage_cleanup_lock", "session_cleanup_lock"):
        Reference(redis_server.url).take(lock)

    async def body():
        async with Proxy(redis_server.port) as proxy:
            options = json.dumps({"health_check_interval": 1, "socket_timeout": 2})
            instance = start_siskin(**settings(proxy.url, WEBSOCKET_REDIS_OPTIONS=options))
            async with Api(instance) as api:
                await until(lambda: _is_ready(api), what="readiness")
                proxy.stall()
                # Without it that takes 30 s: then the subscriber looks whether it still hears.
                await until(lambda: "is away (a command was not answered in time)" in instance.log(), what="word of the end")
                proxy.flow()
                await until(lambda: _is_ready(api), 45, what="readiness")

    asyncio.run(body())


async def _is_ready(api):
    return (await api.ready())["ready"]


def test_a_deaf_subscriber_is_noticed(start_siskin, redis_server):
    """Nothing arrives and nothing fails while events flow: not ready within seconds (what is published is missed for 5 s),
    one line in the log, a new connection, ready again."""

    async def body():
        async with stage(start_siskin, redis_server) as here:
            lines, accepted = len(here.instance.lines), here.proxy.accepted
            here.proxy.deaf = True
            began = time.monotonic()
            await until(lambda: _not_ready(here), 20, "doubt of readiness")
            print(f"not ready {time.monotonic() - began:.1f} s after it went deaf")
            here.proxy.flow()
            await until(here.is_ready, 45, "readiness")
            assert here.proxy.accepted > accepted
            await here.api.enter("late:deaf", "u0")
            await here.reconciled("deaf")
            said = [line for line in here.instance.lines[lines:] if " WARN " in line or " ERROR " in line or "warn" in line.lower()]
            print("\n".join(here.instance.lines[lines:]))
            assert len(said) == 1 and "hears nothing" in said[0], said

    asyncio.run(body())


def test_a_subscription_that_is_not_confirmed_is_noticed(start_siskin, redis_server):
    """No event flows; who comes needs a subscription, which the deaf connection doesn't confirm."""

    async def body():
        async with Proxy(redis_server.port) as proxy:
            instance = start_siskin(**settings(proxy.url, True))
            async with Api(instance) as api, clients((instance, "ann")) as (ann,):

                async def is_ready():
                    return (await api.ready())["ready"]

                async def is_not_ready():
                    return not await is_ready()

                await until(is_ready, what="readiness")
                proxy.deaf = True
                await api.enter("room", ann.user)
                await until(is_not_ready, 20, "doubt of readiness")
                proxy.flow()
                await until(is_ready, 45, "readiness")
                async with writer(redis_server.url, True) as far:
                    await far.emit("far", 1, room="room")
                    await until(lambda: ann.events("far") == [1], 10, "event to the room")

    asyncio.run(body())


async def _not_ready(stage):
    return not await stage.is_ready()


def test_sockets_outlive_a_stall_of_a_minute(stalled):
    """Found out by the commands' deadline; said once that Redis is away and once that it is back, most of a minute later."""
    said, log = stalled.result(200)
    print(said)
    assert log.count("is away (") == log.count("is away (a command was not answered in time)") == 1, log
    (seconds,) = re.findall("is back after ([0-9.]+) s", log)
    assert float(seconds) > STALL - 20
