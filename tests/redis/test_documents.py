"""Documents in Redis: what Open WebUI's processes find there, locks that everybody respects, save tasks."""

import asyncio
import contextlib
import json
import socket
import threading
import time

import requests
from proxy import Proxy
from redis import Redis
from redis.lock import Lock
from shared import eventually
from siskin import chance, wait_for
from stranger import varint
from wire import WebSocket


def typed(client, clock, text="x"):
    """The update of somebody who types on: an insertion after the last one."""
    text = text.encode()
    where = b"\x84" + varint(client) + varint(clock - 1) if clock else b"\x04\x01\x01t"
    return b"\x01\x01" + varint(client) + varint(clock) + where + varint(len(text)) + text + b"\x00"


class Editor(WebSocket):
    """A session with one document open."""

    def __init__(self, siskin, user, document):
        super().__init__(siskin, timeout=60)
        self.sid = self.join(user)
        self.document = document
        self.acks = 0
        self.heard = []

    def ask(self, event, **payload):
        """An event and the arguments of its ack; other events are kept."""
        self.acks += 1
        self.event(event, {"document_id": self.document, **payload}, ack=self.acks)
        head = f"43{self.acks}["
        while not (text := self.recv_text()).startswith(head):
            if text.startswith("42"):
                self.heard.append(json.loads(text[2:]))
        return json.loads(text[len(head) - 1 :])

    def open(self):
        """The state that came with joining."""
        self.ask("ydoc:document:join")
        return next(event for name, event in reversed(self.heard) if name == "ydoc:document:state")

    def update(self, update, **more):
        return self.ask("ydoc:document:update", update=list(update), **more)

    def named(self, name):
        return [event for heard, event in self.heard if heard == name]


def test_the_reference_finds_what_it_would_have_written(start, reference):
    siskin = start()
    reference.add_user("board", "p" * 20)
    reference.append("board", typed(7, 0, "from python"))
    ann = Editor(siskin, "ann", "board")
    state = ann.open()
    assert bytes(state["state"]) == typed(7, 0, "from python")
    assert sorted(state["sessions"]) == sorted([ann.sid, "p" * 20])
    ann.update(typed(8, 0, "from siskin"))
    assert reference.updates("board") == [typed(7, 0, "from python"), typed(8, 0, "from siskin")]
    assert reference.redis.lindex(reference.document("board", "updates"), 1) == json.dumps(list(typed(8, 0, "from siskin")), separators=(",", ":"))
    assert reference.size("board") == sum(map(len, reference.updates("board")))
    assert reference.users("board") == {ann.sid, "p" * 20}
    assert reference.redis.smembers(reference.key(f"ydoc:documents:session:{ann.sid}:documents")) == {"board"}
    # The first one wins, wherever.
    answer = ann.update(typed(9, 0, "seed"), initialize=True)
    assert len(reference.updates("board")) == 2 and len(answer[0]) > 20
    # While somebody has it open elsewhere it stays; the last one out clears it.
    ann.ask("ydoc:document:leave")
    assert len(reference.updates("board")) == 2
    ann.open()
    reference.remove_user("board", "p" * 20)
    ann.close()
    eventually(lambda: reference.redis.keys(reference.key("ydoc:*")), [])


def test_nobody_changes_a_document_that_is_locked(start, reference):
    siskin = start()
    ann = Editor(siskin, "ann", "board")
    ann.open()
    with reference.lock("board"):
        ann.event("ydoc:document:update", {"document_id": "board", "update": list(typed(7, 0))}, ack=99)
        # Other events of other sessions don't wait.
        Editor(siskin, "bob", "other").open()
        time.sleep(0.3)
        assert reference.updates("board") == []
        reference.append("board", typed(9, 0))
    eventually(lambda: reference.updates("board"), [typed(9, 0), typed(7, 0)])
    eventually(lambda: reference.redis.get(reference.document("board", "lock")), None)


def test_a_long_list_is_squashed_and_a_full_document_is_full(start, reference):
    siskin = start()
    ann = Editor(siskin, "ann", "board")
    ann.open()
    for clock in range(499):
        reference.append("board", typed(7, clock))
    ann.update(typed(8, 0, "last"))
    eventually(lambda: reference.redis.llen(reference.document("board", "updates")), 251)
    first, *rest = reference.updates("board")
    assert first == typed(7, 0, "x" * 250)
    assert rest == [*(typed(7, clock) for clock in range(250, 499)), typed(8, 0, "last")]
    # The size follows the list.
    eventually(lambda: reference.size("board"), sum(map(len, reference.updates("board"))))
    assert b"x" * 499 in bytes(ann.open()["state"])
    # Full: squashed whole to make room, which is not enough.
    reference.redis.set(reference.document("board", "size"), 2 << 20)
    ann.update(typed(8, 4))
    assert ann.named("error") == []
    assert reference.redis.llen(reference.document("board", "updates")) == 2
    reference.redis.set(reference.document("board", "size"), 2 << 20)
    ann.update(typed(8, 5))
    refused = {"message": "The document is too large. It may take more once everybody has closed it", "document_id": "board", "reason": "too large"}
    assert ann.named("error") == [refused]
    assert reference.redis.llen(reference.document("board", "updates")) == 2


def test_a_large_state_is_read_once_while_nothing_changes(start, reference):
    one, other = start(), start()
    ann, bob = Editor(one, "ann", "board"), Editor(other, "bob", "board")
    ann.open()
    ann.update(typed(7, 0, "x" * 1_000_000))
    assert len(bob.open()["state"]) > 1_000_000
    sent = lambda: reference.redis.info("stats")["total_net_output_bytes"]
    newcomers = [Editor(one, f"new{n}", "board") for n in range(6)]
    before = sent()
    for newcomer in newcomers:
        assert len(newcomer.open()["state"]) > 1_000_000
    # As numbers it is 4 MB.
    assert sent() - before < 6_000_000
    # What has come since is in it, whoever stored it.
    reference.append("board", typed(8, 0, "from python"))
    bob.update(typed(9, 0, "from bob"))
    before = sent()
    for newcomer in newcomers:
        newcomer.ask("ydoc:document:state")
        state = bytes(newcomer.named("ydoc:document:state")[-1]["state"])
        assert b"from python" in state and b"from bob" in state and len(state) > 1_000_000
    assert sent() - before < 1_000_000
    # And what somebody made of it who squashed it, or began it anew, though it is as long then.
    updates = reference.updates("board")
    reference.redis.delete(reference.document("board", "updates"))
    for update in [typed(7, 0, "y" * 500_000), typed(8, 0, "z"), typed(10, 0, "anew")][: len(updates)]:
        reference.append("board", update)
    for editor in [*newcomers, bob]:
        editor.ask("ydoc:document:state")
        state = bytes(editor.named("ydoc:document:state")[-1]["state"])
        assert b"anew" in state and b"from" not in state


def test_what_is_no_update_in_redis_is_left_out_and_kills_nobody(start, reference):
    siskin = start()
    # Arrays in arrays: yrs would go as deep as they are. A number of clients for which it would take half a gigabyte.
    nested = b"\x01\x01\x07\x00\x08\x01\x01t\x01" + b"u\x01" * 200_000 + b"x\x00"
    deleted = b"\x00\x01\x09" + varint(100_001) + b"".join(varint(2 * clock) + b"\x01" for clock in range(100_001))
    # One letter that builds on itself: Yjs would throw in each editor.
    itself = b"\x01\x01\x1a\x00\x84\x1a\x00\x01y\x00"
    bad = [nested, b"\xff\xff\xff\x7f", b"", b"\x09\x09\x09", deleted, itself]
    before = siskin.metric("process_resident_memory_bytes")
    for index, update in enumerate(bad):
        reference.append("board", typed(7, index))
        reference.append("board", update)
    reference.redis.rpush(reference.document("board", "updates"), "[1,", "{}", "null")
    ann = Editor(siskin, "ann", "board")
    for _ in range(2):
        state = bytes(ann.open()["state"])
        assert b"x" * len(bad) in state and b"y" not in state and len(state) < 100
    ann.update(typed(8, 0, "on"))
    bob = Editor(siskin, "bob", "board")
    assert b"on" in bytes(bob.open()["state"])
    assert siskin.metric("process_resident_memory_bytes") < before + (64 << 20)
    assert siskin.metric('siskin_refused_total{reason="stored update"}') == len(bad) + 3
    # A long list of which some can't be read is not squashed: somebody else may know better. And it is said once.
    for clock in range(500):
        ann.update(typed(8, 2 + clock))
    assert len(reference.redis.lrange(reference.document("board", "updates"), 0, -1)) == 504 + 2 * len(bad)
    assert siskin.log().count("are none, and left out") == 1
    reference.redis.delete(reference.document("board", "updates"))


def test_what_cannot_be_stored_is_not_passed_on(start, redis_server, reference):
    siskin = start()
    ann, bob = Editor(siskin, "ann", "board"), Editor(siskin, "bob", "board")
    ann.open()
    bob.open()
    redis_server.stop()
    ann.update(typed(7, 0))
    refused = {"message": "The document can't be changed at the moment", "document_id": "board", "reason": "unavailable"}
    assert ann.named("error") == [refused]
    bob.ask("ydoc:awareness:update", update=[1])
    assert bob.named("ydoc:document:update") == []
    redis_server.start()
    wait_for(lambda: reference.users("board") == {ann.sid, bob.sid}, seconds=40, what="sessions in the document")
    ann.update(typed(7, 0))
    bob.ask("ydoc:awareness:update", update=[1])
    assert len(bob.named("ydoc:document:update")) == 1
    # Whoever left while Redis was away has left when it is back.
    redis_server.stop()
    bob.close()
    redis_server.start()
    wait_for(lambda: reference.users("board") == {ann.sid}, seconds=40, what="the one who stayed")


def note(siskin, id="n"):
    siskin.api("PUT", f"/notes/{id}", {"user_id": "ann", "title": id, "data": {}})
    return f"note:{id}"


def test_saving_is_a_task_of_the_document(start, reference):
    siskin = start(REDIS_TASK_TTL=40)
    id = note(siskin)
    ann = Editor(siskin, "ann", id)
    ann.open()
    listener = reference.redis.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(reference.key("tasks:commands"))
    listener.get_message(timeout=5)
    # Somebody else is about to save something older: it is told not to.
    theirs = reference.create_task(id)
    ann.update(typed(7, 0), data={"content": {"md": "newer"}})
    (ours,) = reference.tasks(id)
    assert ours != theirs and reference.redis.hgetall(reference.key("tasks")) == {ours: id}
    assert 0 < reference.redis.ttl(reference.key(f"tasks:{ours}")) <= 40
    message = wait_for(lambda: listener.get_message(timeout=1), what="command")
    assert json.loads(message["data"]) == {"action": "stop", "task_id": theirs}
    ann.update(typed(7, 1), data={"content": {"md": "newest"}})
    assert reference.tasks(id) == {ours}
    eventually(lambda: siskin.api("GET", "/notes/n").json()["data"], {"content": {"md": "newest"}})
    eventually(lambda: reference.redis.keys(reference.key("tasks*")), [])
    # A document that somebody else is about to save is not cleared.
    theirs = reference.create_task(id)
    ann.ask("ydoc:document:leave")
    assert len(reference.updates(id)) == 2
    listener.close()


@contextlib.contextmanager
def ways(server, count):
    """Ways to a Redis server that the test owns, in a thread of their own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    proxies = [Proxy(server.port) for _ in range(count)]
    try:
        for proxy in proxies:
            asyncio.run_coroutine_threadsafe(proxy.open(), loop).result(10)
        yield proxies
    finally:
        for proxy in proxies:
            asyncio.run_coroutine_threadsafe(proxy.__aexit__(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def test_two_never_hold_a_document_at_once(start, redis_server, reference):
    """Three instances and a process of Open WebUI change one document. What an instance does under the lock is often kept
    back for longer than the lock lives, and arrives when somebody else has it: nothing may come of it.
    """
    lifetime, rounds, typing = 0.2, 8500, 250
    choices = chance("lock")

    def delay(data):
        under_lock = b":lock" in data and (b":updates" in data or b":size" in data)
        return lifetime * 1.3 if under_lock and choices.random() < 0.05 else 0

    def edit(editor, client):
        for clock in range(typing):
            editor.update(typed(client, clock))

    name = reference.document("board", "lock")
    redis = Redis.from_url(redis_server.url)

    def look():
        pipe = redis.pipeline(transaction=True)
        pipe.get(name).llen(reference.document("board", "updates")).get(reference.document("board", "size"))
        return pipe.execute()

    with ways(redis_server, 3) as proxies:
        instances = [start(WEBSOCKET_REDIS_URL=proxy.url, WEBSOCKET_REDIS_LOCK_TIMEOUT=lifetime) for proxy in proxies]
        editors = [Editor(instance, f"u{n}", "board") for n, instance in enumerate(instances * 2)]
        for editor in editors:
            editor.open()
        for proxy in proxies:
            proxy.delay = delay
        threads = [threading.Thread(target=edit, args=(editor, 100 + n)) for n, editor in enumerate(editors)]
        for thread in threads:
            thread.start()
        held = own = 0
        try:
            while held < rounds or any(thread.is_alive() for thread in threads):
                lock = Lock(redis, name, timeout=lifetime, blocking_timeout=20, sleep=0.0005)
                assert lock.acquire()
                before = look()
                time.sleep(lifetime * 1.5 if held % 500 == 250 else choices.random() * 0.004)
                after = look()
                held += 1
                if before[0] == after[0] == lock.local.token:
                    assert before == after, "somebody changed what was locked"
                    own += 1
                    if own % 4 == 0:
                        reference.append("board", typed(99, own // 4 - 1))
                redis.eval("if redis.call('get', KEYS[1]) == ARGV[1] then redis.call('del', KEYS[1]) end", 1, name, lock.local.token)
                time.sleep(choices.random() * 0.002)
        finally:
            for thread in threads:
                thread.join(60)
            for proxy in proxies:
                proxy.delay = None
        lost = sum(instance.log().count("was lost in the middle") for instance in instances)
        print(f"{held} locks held here ({own} to the end), {6 * typing} updates elsewhere, {lost} locks lost in the middle")
        assert held + 6 * typing >= 10_000 and lost > 20
        assert all(editor.named("error") == [] for editor in editors)
        # What was written is there, all of it.
        state = Editor(instances[0], "late", "board").open()
        expected = [typed(100 + n, 0, "x" * typing) for n in range(6)] + [typed(99, 0, "x" * (own // 4))]
        for update in expected:
            assert update[2:-1] in bytes(state["state"])


def test_a_change_whose_client_hangs_up_is_not_half_done(start, redis_server, reference):
    """A page that closes takes its request along: the lock is not left behind, and whoever is here hears of the change."""
    with ways(redis_server, 1) as (way,):
        siskin = start(WEBSOCKET_REDIS_URL=way.url)
        ann = Editor(siskin, "ann", "board")
        ann.open()
        path = "/ws/socket.io/?EIO=4&transport=polling"
        path += "&sid=" + json.loads(requests.get(siskin.url + path, timeout=10).text[1:])["sid"]

        def post(*event):
            return ("42" + json.dumps(event)).encode()

        requests.post(siskin.url + path, ("40" + json.dumps({"token": siskin.token("bob")})).encode(), timeout=10)
        requests.post(siskin.url + path, post("ydoc:document:join", {"document_id": "board"}), timeout=10)
        assert len(reference.users("board")) == 2
        way.delay = lambda data: 0.5 if b":lock" in data and b":size" in data else 0
        update = post("ydoc:document:update", {"document_id": "board", "update": list(typed(7, 0))})
        with socket.create_connection(("127.0.0.1", siskin.port)) as client:
            client.sendall(f"POST {path} HTTP/1.1\r\nHost: siskin\r\nContent-Length: {len(update)}\r\n\r\n".encode() + update)
            wait_for(lambda: reference.redis.get(reference.document("board", "lock")), what="lock")
        eventually(lambda: reference.updates("board"), [typed(7, 0)])
        (heard,) = wait_for(lambda: (ann.ask("heartbeat"), ann.named("ydoc:document:update"))[1], what="the update")
        assert bytes(heard["update"]) == typed(7, 0)
        eventually(lambda: reference.redis.get(reference.document("board", "lock")), None, seconds=5)
