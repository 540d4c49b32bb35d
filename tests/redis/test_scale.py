"""Much at once: large messages, many rooms, everybody back after a restart, and nothing for who has no part in it."""

import asyncio
import json
import pathlib
import time

from parts import Api, clients, pool, settings, until, writer
from redis.asyncio import Redis
from wire import WebSocket

from siskin import token

MIB = 1 << 20
COMERS = 2000
ROOMS = 10_000
HANDSHAKE = (
    "GET /ws/socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def is_ready(api):
    return (await api.ready())["ready"]


def cpu(instance):
    """Seconds of CPU that it has used."""
    tasks = pathlib.Path(f"/proc/{instance.pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def wakes(instance):
    """How often its threads went to sleep: once for each time they woke."""
    lines = pathlib.Path(f"/proc/{instance.pid}/task").glob("*/status")
    return sum(int(line.split()[1]) for status in lines for line in status.read_text().splitlines() if line.startswith("voluntary_ctxt"))


def peak(instance):
    """The most resident bytes so far."""
    (line,) = (one for one in pathlib.Path(f"/proc/{instance.pid}/status").read_text().splitlines() if one.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def emission(room, data, event="large"):
    message = {"method": "emit", "event": event, "data": [data], "binary": False, "namespace": "/", "room": room}
    return json.dumps({**message, "skip_sid": None, "callback": None, "host_id": "somebody"})


def test_messages_of_64_mib(start_siskin, start_redis):
    """They arrive, and others' events do between them. The rate is printed for each size."""
    server = start_redis("--client-output-buffer-limit", "pubsub 0 0 0")
    siskin = start_siskin(**settings(server.url))

    async def body():
        async with Api(siskin) as api, Redis.from_url(server.url) as redis, clients((siskin, "small")) as (small,):
            await until(lambda: is_ready(api), what="readiness")
            large = WebSocket(siskin, timeout=120)
            await asyncio.to_thread(large.join, "large")
            for size in (8, 16, 32, 64):
                before, began = cpu(siskin), time.monotonic()
                reading = asyncio.ensure_future(asyncio.to_thread(large.recv_event))
                await redis.publish("socketio#/#user:large", emission("user:large", "x" * (size * MIB)))
                await api.emit("small", size, user_id="small")
                event, data = await reading
                used = cpu(siskin) - before
                assert event == "large" and data == "x" * (size * MIB)
                print(f"{size} MiB: {time.monotonic() - began:.2f} s, {used:.2f} s of CPU, {size / used:.0f} MiB/s of CPU, RSS {siskin.rss() / MIB:.0f} MiB, at most {peak(siskin) / MIB:.0f}")
                await until(lambda: small.events("small")[-1:] == [size], what="small event")
            assert not small.lost and await is_ready(api)
            large.close()

    asyncio.run(body())


def test_redis_cuts_a_subscriber_off(start_siskin, redis_server):
    """A message over Redis's own limit (32 MiB for a subscriber) ends the subscription: it is renewed, nothing stays deaf."""
    siskin = start_siskin(**settings(redis_server.url))

    async def body():
        async with Api(siskin) as api, Redis.from_url(redis_server.url) as redis, clients((siskin, "ann")) as (ann,):
            await until(lambda: is_ready(api), what="readiness")
            await api.enter("room", "ann")
            await redis.publish("socketio", emission("room", "x" * (40 * MIB)))
            await until(lambda: _reaches(redis, ann), 30, "event after the cut")
            await until(lambda: is_ready(api), what="readiness")
            assert not ann.lost

    asyncio.run(body())


async def _reaches(redis, client):
    await redis.publish("socketio#/#room", emission("room", "y", "after"))
    await asyncio.sleep(0.1)
    return client.events("after")


class Comer:
    """A client that comes back by itself, with as little of its own as can be."""

    def __init__(self, port, user):
        self.port, self.user = port, user
        self.refused = 0

    async def come(self):
        """Connected and signed in; tries until nobody listens no more."""
        while True:
            try:
                self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.1)
                continue
            self.writer.write(HANDSHAKE.encode())
            status = await self.reader.readuntil(b"\r\n\r\n")
            if b" 101 " not in status:
                self.refused += 1
                return
            auth = f'{{"token":"{token(self.user)}"}}'
            self.writer.write(_frame("40" + auth) + _frame(f'420["user-join",{{"auth":{auth}}}]'))
            await self.reader.readuntil(b"430[")
            return

    async def gone(self):
        while await self.reader.read(65536):
            pass


def _frame(text):
    """A client's text frame; its mask is zero."""
    data = text.encode()
    size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return b"\x81" + size + bytes(4) + data


def test_everybody_comes_back_after_a_restart(start_siskin, redis_server):
    """Two thousand clients, none refused; the pool has those and no others."""
    siskin = start_siskin(**settings(redis_server.url, SISKIN_MAX_CONNECTIONS_PER_ADDRESS=COMERS + 100))

    async def body():
        async with Api(siskin) as api:
            await until(lambda: is_ready(api), what="readiness")
            comers = [Comer(siskin.port, f"u{n}") for n in range(COMERS)]
            await asyncio.wait_for(asyncio.gather(*(comer.come() for comer in comers)), 120)
            await until(lambda: _pool_size(redis_server.url, COMERS), 30, "session pool")
            gone = asyncio.gather(*(comer.gone() for comer in comers))
            await asyncio.to_thread(siskin.restart)
            await asyncio.wait_for(gone, 30)
            began = time.monotonic()
            await asyncio.wait_for(asyncio.gather(*(comer.come() for comer in comers)), 120)
            print(f"{COMERS} clients are back in {time.monotonic() - began:.2f} s, RSS {siskin.rss() / MIB:.1f} MiB")
            assert not sum(comer.refused for comer in comers)
            await until(lambda: is_ready(api), what="readiness")
            await until(lambda: _pool_is(redis_server.url, api), 30, "session pool of those who are back")
            for comer in comers:
                comer.writer.close()

    asyncio.run(body())


async def _pool_size(url, size):
    return len(await pool(url)) == size


async def _pool_is(url, api):
    sids, after = [], ""
    while page := (await api("GET", f"/sessions?limit=1000{after}"))["sessions"]:
        sids += [session["sid"] for session in page]
        after = f"&after={sids[-1]}"
    return await pool(url) == set(sids)


def test_ten_thousand_rooms(start_siskin, redis_server):
    """Each has its channel; a lost subscriber gets all of them back."""
    siskin = start_siskin(**settings(redis_server.url))
    users = [f"u{n}" for n in range(20)]

    async def body():
        async with Api(siskin) as api, Redis.from_url(redis_server.url) as redis, clients(*((siskin, user) for user in users)) as sockets:
            await until(lambda: is_ready(api), what="readiness")
            before, rss, began = await _channels(redis), siskin.rss(), time.monotonic()
            lanes = [_enter(api, user, range(n, ROOMS, len(users))) for n, user in enumerate(users)]
            await asyncio.gather(*lanes)
            took = time.monotonic() - began
            assert await _channels(redis) == before + ROOMS
            print(f"{ROOMS} rooms entered by {ROOMS} requests in {took:.1f} s: {(siskin.rss() - rss) / ROOMS:.0f} bytes of RSS a room, {siskin.rss() / MIB:.1f} MiB")
            await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            began = time.monotonic()
            await until(lambda: _has_channels(redis, before + ROOMS), 45, "all subscriptions")
            print(f"all subscribed again {time.monotonic() - began:.2f} s after the subscriber was killed")
            async with writer(redis_server.url, True) as far:
                await far.emit("far", 1, room=f"room:{ROOMS - 1}")
            await until(lambda: sum(len(client.events("far")) for client in sockets) == 1, what="event to the last room")

    asyncio.run(body())


async def _enter(api, user, numbers):
    for number in numbers:
        await api.enter(f"room:{number}", user)


async def _channels(redis):
    return len(await redis.pubsub_channels("socketio*"))


async def _has_channels(redis, count):
    return await _channels(redis) >= count


def test_who_has_no_member_does_not_wake(start_siskin, redis_server):
    """Events for a room go past an instance without a member of it: counted in its context switches."""
    settings_ = settings(redis_server.url)
    a, b = start_siskin(**settings_), start_siskin(**settings_)

    async def body():
        async with Api(a) as at_a, Api(b) as at_b, writer(redis_server.url, True) as far, Redis.from_url(redis_server.url) as redis:
            async with clients((a, "ann"), (b, "bob")) as (ann, bob):
                for api in (at_a, at_b):
                    await until(lambda api=api: is_ready(api), what="readiness")
                await at_a.enter("room", "ann")
                assert dict(await redis.pubsub_numsub("socketio#/#room")) == {b"socketio#/#room": 1}
                before = wakes(a), wakes(b)
                for number in range(1000):
                    await far.emit("far", number, room="room")
                await until(lambda: ann.events("far") == list(range(1000)), what="events")
                woken = wakes(a) - before[0], wakes(b) - before[1]
                print(f"1,000 events to a room: {woken[0]} wake-ups where its member is, {woken[1]} on the other instance")
                assert woken[1] < 100 and not bob.events("far")
                await at_a.leave("room", "ann")
                await until(lambda: _is_empty(redis, "socketio#/#room"), what="end of the subscription")

    asyncio.run(body())


async def _is_empty(redis, channel):
    return not (await redis.pubsub_numsub(channel))[0][1]
