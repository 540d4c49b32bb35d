"""Saves that come to nothing: nobody hears of siskin's own, and who may only read from now on is soon refused."""

import asyncio
import json
import threading

import pytest
from client import MOMENT
from siskin import wait_for
from test_identity import House, joined
from upstream import NOTE, Upstream

DOCUMENT = f"note:{NOTE}"


class Teller(Upstream):
    """Tells of each save over Redis, as Open WebUI does; `lost` answers get lost after that, or before. Some may only read."""

    def __init__(self):
        super().__init__()
        self.lost, self.late = 0, 0
        self.readers = set()
        self.tell = lambda note: None

    def answer(self, method, path, token, body):
        reads = token and self.user(token)["id"] in self.readers
        if reads and method == "POST":
            return 403, {"detail": "403"}
        status, answer = super().answer(method, path, token, body)
        if reads and path == f"/api/v1/notes/{NOTE}":
            answer["write_access"] = False
        if method != "POST" or status != 200:
            return status, answer
        self.content = self.saved[-1].get("content", self.content)
        answer["updated_at"] = len(self.saves)
        # Before its answer, or after.
        threading.Timer(self.late, self.tell, [answer]).start() if self.late else self.tell(answer)
        if self.lost:
            self.lost -= 1
            raise ConnectionError("the answer is lost")
        return status, answer


@pytest.fixture
def house():
    upstream = Teller()
    house = House(upstream)
    upstream.tell = lambda note: house.publish("emit", event="events:note", data=[note], room=f"note:{NOTE}")
    yield house
    house.close()
    upstream.close()


async def writer(siskin, name, *how):
    client = await joined(siskin, name, *how)
    await client.call("join-note", {"auth": {"token": client.token}, "note_id": NOTE})
    await client.call("ydoc:document:join", {"document_id": DOCUMENT})
    client.heard.clear()
    return client


async def types(client, text):
    await client.call("ydoc:document:update", {"document_id": DOCUMENT, "data": {"content": {"md": text}}})


def heard(client, name):
    return [args[0] for event, *args in client.heard if event == name]


@pytest.mark.parametrize("late", [0, 0.2], ids=["before", "after"])
@pytest.mark.parametrize("lost", [1, 2])
def test_a_save_whose_answer_is_lost_is_silent_all_the_same(house, lost, late):
    """Each try has its echo. A request is sent once: a connection that ends without an answer is no reason to send it again."""
    house.upstream.lost, house.upstream.late = lost, late

    async def play():
        ann, bob = await writer(house.one, "ann"), await writer(house.two, "bob")
        await types(ann, "one")
        await asyncio.to_thread(wait_for, lambda: len(house.upstream.saves) > lost, 30, what="the last try")
        await asyncio.sleep(MOMENT)
        assert [data for _, _, data in house.upstream.saves] == [{"content": {"md": "one"}}] * (lost + 1)
        # What is written outside is heard.
        await asyncio.to_thread(house.upstream.tell, {"id": NOTE, "updated_at": 99, "data": {"content": {"md": "outside"}}})
        for client in (ann, bob):
            await client.hears(lambda name, *args: name == "events:note")
            assert [note["updated_at"] for note in heard(client, "events:note")] == [99]
            await client.io.disconnect()

    asyncio.run(play())


def test_who_may_only_read_from_now_on_is_refused_after_the_first_save(house):
    """Open WebUI says nothing of it, but refuses what is saved."""

    async def play():
        ann, bob = await writer(house.one, "ann"), await writer(house.one, "bob")
        await types(bob, "mine")
        await asyncio.to_thread(wait_for, lambda: house.upstream.saves, what="a save")
        house.upstream.readers.add("bob")
        asked = lambda: [path for _, path, _ in list(house.upstream.asked)].count(f"/api/v1/notes/{NOTE}")  # noqa: E731
        before = asked()
        await types(bob, "mine, too")
        await bob.hears(lambda name, *args: name == "error" and "not saved" in args[0]["message"])
        # The save has told that; nobody was asked for it.
        assert asked() == before
        await bob.call("ydoc:document:update", {"document_id": DOCUMENT, "update": [1, 1, 1, 0, 4, 1, 1, 116, 1, 120, 0]}, MOMENT)
        await asyncio.to_thread(wait_for, lambda: "no write access to the note" in house.one.log().split("is not saved")[-1].partition("\n")[2], what="a refusal")
        assert not heard(ann, "ydoc:document:update") and len(house.upstream.saves) == 1
        for client in (ann, bob):
            await client.io.disconnect()

    asyncio.run(play())


def test_saves_answer_whether_somebody_may_write(house):
    """While somebody's saves are taken nobody is asked."""

    async def play():
        ann = await writer(house.one, "ann")
        asked = lambda: [path for _, path, _ in list(house.upstream.asked)].count(f"/api/v1/notes/{NOTE}")  # noqa: E731
        before = asked()
        for n in range(1, 5):
            await types(ann, str(n))
            await asyncio.to_thread(wait_for, lambda n=n: len(house.upstream.saves) == n, what="a save")
        assert asked() == before, json.dumps(house.upstream.asked)
        await ann.io.disconnect()

    asyncio.run(play())


def test_connections_that_carried_a_save_are_not_kept_for_ever(house):
    """Each save has its own; this upstream closes none."""

    async def play():
        ann = await writer(house.one, "ann")
        for n in range(1, 15):
            await types(ann, str(n))
            await asyncio.to_thread(wait_for, lambda n=n: len(house.upstream.saves) == n, what="a save")
        # Eight at most are kept, by each of two instances.
        await asyncio.to_thread(wait_for, lambda: house.upstream.open <= 8 + 2, what="few open connections")
        await ann.io.disconnect()

    asyncio.run(play())


@pytest.mark.parametrize("elsewhere", [False, True], ids=["nobody", "somebody-elsewhere"])
def test_what_waits_when_its_author_leaves_gives_way_to_what_is_written_outside(house, elsewhere):
    async def play():
        ann = await writer(house.one, "ann")
        bob = await writer(house.two, "bob") if elsewhere else None
        await types(ann, "typed")
        await ann.io.disconnect()
        await asyncio.to_thread(house.upstream.tell, {"id": NOTE, "updated_at": 99, "data": {"content": {"md": "outside"}}})
        await asyncio.sleep(3 * MOMENT)
        assert house.upstream.saves == []
        if bob:
            await bob.io.disconnect()

    asyncio.run(play())


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_what_came_before_the_end_is_saved_though_it_waits(house, transport):
    """A save is in flight; somebody's change waits to hear whether she may write, others of hers behind it. SIGTERM comes before all of that is answered."""
    note, gates = f"/api/v1/notes/{NOTE}", {}
    house.upstream.held = lambda path, token: gates.get((path, token and house.upstream.user(token)["id"]))

    async def play():
        ann = await writer(house.one, "ann")
        bob = await writer(house.one, "bob", transport)
        # From now on nothing is known of bob's access.
        house.publish("leave_room", bob.io.get_sid(), room=f"note:{NOTE}")
        outside = {"id": NOTE, "updated_at": 99, "data": {"content": {"md": "outside"}}}
        await asyncio.to_thread(house.upstream.tell, outside)
        await ann.hears(lambda name, *args: name == "events:note")
        saving = gates[note + "/update", "ann"] = threading.Event()
        asking = gates[note, "bob"] = threading.Event()
        await types(ann, "ann's")
        await asyncio.to_thread(wait_for, lambda: house.upstream.answering == 1, what="a save in flight")
        for n in range(1, 4):
            await bob.io.emit("ydoc:document:update", {"document_id": DOCUMENT, "data": {"content": {"md": f"bob's {n}"}}})
        await asyncio.to_thread(wait_for, lambda: house.upstream.answering == 2, what="a question about access")
        if transport == "websocket":
            await asyncio.wait_for(bob.io.eio.queue.join(), 15)
        end = asyncio.create_task(asyncio.to_thread(house.one.stop))
        await asyncio.to_thread(wait_for, lambda: "going down" in house.one.log(), what="the end")
        for gate in (asking, saving):
            gate.set()
        await end
        assert [(who, data["content"]["md"]) for who, _, data in house.upstream.saves] == [("ann", "ann's"), ("bob", "bob's 3")]
        for client in (ann, bob):
            await client.io.disconnect()

    asyncio.run(play())
