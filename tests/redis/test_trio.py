"""Two instances and a python-socketio server on one Redis: thirty clients, ten thousand random operations, one model.

Rounds: first the members of some rooms change while events go to the other rooms, then a fence. A fence is an event of
each sender to everybody: who has all fences has, in each sender's order, all that was sent before. So between two
fences the model knows exactly who must get what, and anything too much or too little, or in another order, is seen.
"""

import asyncio
import time
from collections import defaultdict

from parts import Api, Client, PythonServer, settings, until, writer
from siskin import chance

CLIENTS = 30
# About a hundred operations each.
ROUNDS = 100
EVENTS = 88
CHANGES = 15
ROOMS = [f"room:{n}" for n in range(12)]
EVERYBODY = "everybody"


class Server:
    """Where a client is, and how one there is moved."""

    def __init__(self, name, server, api=None):
        self.name, self.server, self.api = name, server, api

    async def members(self, room):
        return await self.api.members(room) if self.api else self.server.members(room)


class Trio:
    def __init__(self, chance, servers, senders, far):
        self.chance, self.servers, self.senders, self.far = chance, servers, senders, far
        self.channel_of = getattr(far[1], "channel_of", None)
        self.clients, self.homes = [], {}
        self.rooms = defaultdict(set)
        self.expected = defaultdict(lambda: defaultdict(list))
        self.serial = 0
        self.operations = 0

    async def start(self):
        for n in range(CLIENTS):
            home = self.servers[n % 3]
            self.clients.append(await Client(home.server, f"u{n}").connect())
            self.homes[self.clients[-1]] = home
            await self.change(self.clients[-1], EVERYBODY, True)

    async def change(self, client, room, enter):
        """One socket enters or leaves a room, by one of the ways; done when its server has done it."""
        home = self.homes[client]
        way = self.chance.choice(["home", "home", "python", "writer"])
        if way == "home" and home.api:
            await (home.api.enter if enter else home.api.leave)(room, client.user)
        else:
            manager = self.far[0 if way == "home" else way == "writer"]
            await (manager.enter_room if enter else manager.leave_room)(client.sid, "/", room)
            await until(lambda: self._is(home, room, client.sid, enter), what=f"{room} of {client.user} by {way}")
        (self.rooms[room].add if enter else self.rooms[room].discard)(client)
        self.operations += 1
        if self.channel_of and enter and way != "home":
            await until(lambda: self._is_subscribed(room), what=f"subscription of {home.name} to {room}")

    async def _is_subscribed(self, room):
        """Each server with a member has subscribed: who was moved by a message was not waited for."""
        ((_, servers),) = await self.far[1].redis.pubsub_numsub(self.channel_of("/", room))
        return servers >= len({self.homes[client].name for client in self.rooms[room]})

    async def _is(self, home, room, sid, member):
        return (sid in await home.members(room)) == member

    async def changes(self, rooms):
        for _ in range(CHANGES):
            room, client = self.chance.choice(rooms), self.chance.choice(self.clients)
            await self.change(client, room, client not in self.rooms[room])

    async def reconnect(self):
        """One client goes and comes back on another server."""
        client = self.chance.choice(self.clients)
        await client.close()
        home = self.homes[client] = self.chance.choice(self.servers)
        for members in self.rooms.values():
            members.discard(client)
        client.server, client.lost = home.server, 0
        await client.connect()
        await self.change(client, EVERYBODY, True)

    def target(self, rooms):
        """Where an event goes: what the sender is told, and who gets it."""
        kind = self.chance.choice(["room", "room", "room", "user", "sid"])
        client = self.chance.choice(self.clients)
        if kind == "user":
            return f"user:{client.user}", {client}
        if kind == "sid":
            return client.sid, {client}
        room = self.chance.choice(rooms)
        return room, self.rooms[room]

    async def events(self, sender, rooms, count):
        """Events of one sender, one after another; the model notes who must get each."""
        name, send = sender
        for _ in range(count):
            room, members = self.target(rooms)
            skipped = self.chance.sample(self.clients, self.chance.choice([0, 0, 1, 2]))
            self.serial += 1
            for client in members - set(skipped):
                self.expected[client][name, room].append(self.serial)
            await send(room, self.serial, [client.sid for client in skipped])
            self.operations += 1

    async def fence(self, number):
        for name, send in self.senders.items():
            self.serial += 1
            await send(EVERYBODY, self.serial, [])
            for client in self.clients:
                self.expected[client][name, EVERYBODY].append(self.serial)
        await until(self.caught_up, what=f"fence {number}")

    def caught_up(self):
        return all(len(client.received) >= self.count(client) for client in self.clients)

    def count(self, client):
        return sum(len(serials) for serials in self.expected[client].values())

    def check(self):
        """Everybody got exactly what the model says, in order per sender and room."""
        for client in self.clients:
            got = defaultdict(list)
            for event, (data,) in client.received:
                got[event, data["room"]].append(data["n"])
            assert got == self.expected[client], f"{client.user} on {self.homes[client].name}"
            client.received.clear()
        self.expected.clear()

    async def round(self, number):
        """Some rooms change while events go to the others; the next round may use them all."""
        changing = self.chance.sample(ROOMS, 3)
        still = [room for room in ROOMS if room not in changing]
        share = EVENTS // len(self.senders)
        work = [self.events(sender, still, share) for sender in self.senders.items()]
        await asyncio.gather(self.changes(changing), *work)
        await self.fence(number)
        self.check()
        if number % 10 == 0:
            await self.reconnect()


def senders(a, b, p, w):
    """Every way to send, by the event's name."""

    def api(instance, name):
        async def send(room, n, skip):
            target = {"user_id": room[5:]} if room.startswith("user:") else {"room": room}
            await instance.emit(name, {"room": room, "n": n}, skip_sid=skip, **target)

        return send

    def manager(emit, name):
        async def send(room, n, skip):
            await emit(name, {"room": room, "n": n}, room=room, skip_sid=skip)

        return send

    return {"a": api(a, "a"), "b": api(b, "b"), "python": manager(p.io.emit, "python"), "writer": manager(w.emit, "writer")}


async def run(choices, start_siskin, url, mode):
    a, b = start_siskin(**settings(url, mode)), start_siskin(**settings(url, mode))
    async with Api(a) as at_a, Api(b) as at_b, PythonServer(url, mode) as p, writer(url, mode) as w:
        for api in (at_a, at_b):
            await until(lambda api=api: _ready(api), what="readiness")
        servers = [Server("a", a, at_a), Server("b", b, at_b), Server("python", p)]
        trio = Trio(choices, servers, senders(at_a, at_b, p, w), [p.manager, w])
        began = time.monotonic()
        try:
            await trio.start()
            for number in range(1, ROUNDS + 1):
                await trio.round(number)
            assert not any(client.lost for client in trio.clients)
        finally:
            await asyncio.gather(*(client.close() for client in trio.clients), return_exceptions=True)
        print(f"{trio.operations} operations in {time.monotonic() - began:.1f} s")


async def _ready(api):
    return (await api.ready())["ready"]


def test_three_servers_are_one(mode, start_siskin, redis_server):
    asyncio.run(run(chance("trio"), start_siskin, redis_server.url, mode))
