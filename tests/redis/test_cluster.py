"""A Redis Cluster: what is shared is on three masters, slots move, nodes die, all of it goes away and comes back."""

import asyncio
import os
import signal
import time

import pytest
from load import back, load
from parts import Api, Client, PythonServer, clients, settings, until, writer
from shared import Reference, eventually
from siskin import wait_for
from test_documents import Editor, typed
from topology import Cluster
from wire import WebSocket

POOL = "open-webui:session_pool"
UPDATES = "open-webui:ydoc:documents:board:updates"


@pytest.fixture(scope="module")
def servers():
    made = Cluster()
    yield made
    made.close()


@pytest.fixture
def cluster(servers):
    """All of its nodes live, and it is empty."""
    for node in servers.nodes:
        if node.process.poll() is not None:
            node.start()
    servers.wait()
    for master in servers.masters().values():
        servers.at(master).flushall()
    return servers


@pytest.fixture
def reference(cluster):
    """Open WebUI's own process on the Cluster."""
    process = Reference(redis=cluster.client())
    yield process
    process.close()


def at(node):
    """What an instance is told that knows this node."""
    return {"redis_url": node.url, "WEBSOCKET_REDIS_CLUSTER": "true"}


def redirects(siskin, kind):
    return siskin.metric(f'siskin_redis_redirects_total{{kind="{kind}"}}')


class Writer:
    """Two sessions on two instances have a document open, and one of them writes into it without a pause."""

    def __init__(self, writer, reader):
        self.writer, self.reader = writer, reader
        self.stored = self.refused = 0
        self.goes, self.writing = False, None

    async def open(self):
        for client in (self.writer, self.reader):
            await client.io.call("ydoc:document:join", {"document_id": "board"}, timeout=20)
        self.goes = True
        self.writing = asyncio.ensure_future(self.write())

    async def write(self):
        """What is refused, which its sender is told, is sent again."""
        while self.goes:
            update = list(typed(7, self.stored))
            await self.writer.io.call("ydoc:document:update", {"document_id": "board", "update": update}, timeout=30)
            errors = len(self.writer.events("error"))
            self.stored += errors == self.refused
            self.refused = errors

    async def goes_on(self):
        stored = self.stored
        await until(lambda: self.stored > stored + 20, 30, "updates")

    async def stop(self):
        """Ends with the answer. A task that is cancelled when an answer comes goes on: asyncio's wait_for takes the answer for it."""
        self.goes = False
        await self.writing

    async def check(self):
        """What was acknowledged is stored, and has reached the other one in order; what is new was not stored by mistake."""
        await self.reader.io.call("ydoc:document:state", {"document_id": "board"}, timeout=20)
        state = bytes(self.reader.events("ydoc:document:state")[-1]["state"])
        assert b"x" * self.stored in state and b"x" * (self.stored + 2) not in state
        await until(lambda: self.heard()[-1:] >= [self.stored - 1], what="last update")
        order = self.heard()
        assert order == sorted(order)
        print(f"{self.stored} updates stored, {self.refused} refused, {len(set(order))} passed on")
        return set(range(self.stored)) - set(order)

    def heard(self):
        """The numbers of the updates that the reader got."""
        clocks = {typed(7, clock): clock for clock in range(self.stored + 1)}
        return [clocks[bytes(event["update"])] for event in self.reader.events("ydoc:document:update")]


def test_instances_are_one_server(start_siskin, cluster, reference):
    """Each is told another node, one of them a replica, as are two of python-socketio's."""

    async def body():
        master, replica = next(iter(cluster.masters().values())), cluster.replica()
        a, b = start_siskin(**settings(**at(master))), start_siskin(**settings(**at(replica)))
        other = cluster.nodes[1].url
        async with Api(a) as at_a, Api(b) as at_b, PythonServer(other, True) as p, writer(cluster.nodes[4].url, True) as w:
            await until(lambda: a.ready()[0] and b.ready()[0], what="readiness")
            async with clients((a, "ann"), (b, "bob"), (p, "cleo")) as everybody:
                ann, bob, cleo = everybody
                await at_a.enter("room", "ann")
                await at_b.enter("room", "bob")
                await p.io.enter_room(cleo.sid, "room")
                for emit in (at_a.emit, p.io.emit, w.emit):
                    await emit("event", {"n": 1}, room="room")
                await until(lambda: all(len(client.events("event")) == 3 for client in everybody), what="each event at each client")
                # Its instance listens at a replica, and takes longer than those who look after it.
                bob.answer = {"said": 1}
                call = {"user_id": "bob", "session_id": bob.sid, "chat_id": "c", "event": {"type": "execute:python", "data": {}}}
                assert (await at_a("POST", "/chat/call", call))["answer"] == {"said": 1}
                never = asyncio.Event()

                async def silent(*_):
                    await never.wait()

                bob.io.on("*", silent)
                calling = asyncio.ensure_future(at_a("POST", "/chat/call", call, ok=False))
                await asyncio.sleep(4)
                assert not calling.done(), await calling
                await bob.io.emit("usage", {"model": "m"})
                await until(lambda: set(reference.pool("session_pool")) == {ann.sid, bob.sid}, what="session pool")
                await until(lambda: set(reference.get("usage_pool", "m") or ()) == {bob.sid}, what="usage pool")
                b.kill()
                assert (await calling)["status"] == 410
                never.set()

    asyncio.run(body())
    # Keys are spread, so this was about several masters.
    sizes = [cluster.at(master).dbsize() for master in cluster.masters().values()]
    assert sum(sizes) and len(sizes) == 3, sizes


def test_documents_are_everybodys(start_siskin, cluster, reference):
    a, b = (start_siskin(**settings(**at(node))) for node in cluster.nodes[:2])
    wait_for(lambda: a.ready()[0] and b.ready()[0], what="readiness")
    ann, bob = Editor(a, "ann", "board"), Editor(b, "bob", "board")
    ann.open()
    bob.open()
    ann.update(typed(7, 0, "from a"))
    with reference.lock("board"):
        reference.append("board", typed(8, 0, "from python"))
    bob.update(typed(9, 0, "from b"))
    assert reference.updates("board") == [typed(7, 0, "from a"), typed(8, 0, "from python"), typed(9, 0, "from b")]
    state = bytes(ann.open()["state"])
    assert all(text in state for text in (b"from a", b"from python", b"from b"))
    assert reference.users("board") == {ann.sid, bob.sid}
    # Squashed in steps, since list, counter and lock are on different masters.
    for clock in range(1, 499):
        reference.append("board", typed(7, clock + 5))
    bob.update(typed(9, 6, "last"))
    eventually(lambda: reference.redis.llen(UPDATES) < 400, True)
    assert b"from python" in bytes(bob.open()["state"])
    for editor in (ann, bob):
        editor.close()
    eventually(lambda: [key for key in reference.redis.scan_iter("open-webui:ydoc:*")], [])


def test_slots_move_under_load(start_siskin, cluster, reference):
    """Key by key, with the redirects that belong to it; no event is lost, no update refused."""

    async def body():
        async with load(start_siskin, **at(cluster.nodes[0])) as here:
            first = here.sockets[0]
            document = Writer(first, here.sockets[1])
            await document.open()
            beating = asyncio.ensure_future(beat(here.sockets[2]))
            await document.goes_on()
            began = time.monotonic()
            for key, instance in ((UPDATES, first.server), (POOL, here.sockets[2].server)):
                before = redirects(instance, "ask")
                asked = lambda instance=instance, before=before: redirects(instance, "ask") > before
                before = redirects(instance, "moved")
                await asyncio.to_thread(cluster.migrate, key, asked)
                await until(lambda: redirects(instance, "moved") > before, what="redirect after the slot has moved")
            await back(here, began, "slots moved")
            assert here.missed() == 0, "a slot that moves is no reason to lose an event"
            await document.goes_on()
            beating.cancel()
            await document.stop()
            await until(lambda: set(reference.pool("session_pool")) == {client.sid for client in here.sockets}, what="session pool")
            assert not await document.check() and document.refused == 0
            for api in here.apis:
                assert "not whole" not in api.instance.log(), api.instance.log()

    asyncio.run(body())


async def beat(client):
    while True:
        await client.io.call("heartbeat", {}, timeout=20)
        await asyncio.sleep(0.2)


def test_a_replica_takes_over_under_load(start_siskin, cluster, reference):
    """The master of the session pool dies, through which everything was published, too."""

    async def body():
        _, lost = cluster.owner(POOL)
        async with load(start_siskin, **at(lost)) as here:
            document = Writer(*here.sockets[:2])
            await document.open()
            await until(lambda: len(reference.pool("session_pool")) == 10, what="session pool")
            await document.goes_on()
            began = time.monotonic()
            lost.stop()
            away = f"127.0.0.1:{lost.port} is away"
            for api in here.apis:
                await until(lambda api=api: away in str(api.instance.ready()), what=f"{away} in /ready")
            # Somebody goes and somebody comes meanwhile.
            await here.sockets.pop().close()
            new = await Client(here.sockets[0].server, "new").connect()
            await back(here, began, "master killed")
            living = {client.sid for client in here.sockets} | {new.sid}
            await until(lambda: set(reference.pool("session_pool")) == living, what="session pool at the new master")
            await document.goes_on()
            await document.stop()
            await document.check()
            await new.close()
            for api in here.apis:
                log = api.instance.log()
                assert log.count("is not whole (") == 1 and log.count("is whole again after") == 1, log
                assert "is away (" not in log, log

    asyncio.run(body())


def test_a_node_that_stalls_is_left(start_siskin, cluster):
    """Connections to it stay and nothing comes: what is published and who listens goes to another."""

    async def body():
        stalled = cluster.replica()
        async with load(start_siskin, **at(stalled)) as here:
            assert sum(cluster.at(stalled).pubsub_numsub("socketio")[0][1:]) == 2
            began = time.monotonic()
            os.kill(stalled.process.pid, signal.SIGSTOP)
            try:
                await here.crosses()
                await back(here, began, "node stalled")
            finally:
                os.kill(stalled.process.pid, signal.SIGCONT)

    asyncio.run(body())


def test_all_of_it_goes_and_comes(start_siskin, cluster, reference):
    """One instance was there before, another starts while there is none. Nothing is left in the Cluster when it comes back."""
    replica, master = cluster.replica(), next(iter(cluster.masters().values()))
    old = start_siskin(**settings(**at(replica)))
    ann = WebSocket(old)
    here = {ann.join("ann")}
    eventually(lambda: set(reference.pool("session_pool")), here)
    for node in cluster.nodes:
        node.stop()
    new = start_siskin(**settings(**at(master)))
    for siskin in (old, new):
        reason = f"Redis Cluster at 127.0.0.1:{(replica if siskin is old else master).port} is away"
        wait_for(lambda siskin=siskin, reason=reason: reason in str(siskin.ready()), what=f"{reason} in /ready")
    bob = WebSocket(new)
    here.add(bob.join("bob"))
    new.api("POST", "/emit", {"user_id": "bob", "event": "local", "data": 1})
    assert bob.recv_event() == ["local", 1]
    # Whoever knew it before finds it without the node that it was told.
    for node in cluster.nodes:
        if node is not replica:
            node.start()
    for siskin in (old, new):
        wait_for(lambda siskin=siskin: siskin.ready()[0], 60, "readiness")
    eventually(lambda: set(reference.pool("session_pool")), here, 30)
    old.api("POST", "/emit", {"user_id": "bob", "event": "across", "data": 1})
    assert bob.recv_event() == ["across", 1]


def test_what_is_no_cluster_is_told(start_siskin, redis_server):
    siskin = start_siskin(**settings(**at(redis_server)))
    wait_for(lambda: "cluster support disabled" in str(siskin.ready()), what="the reason in /ready")
