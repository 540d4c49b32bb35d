"""Readers who are slow, and those who have stopped: the first get everything that is not volatile, the others are closed, alone."""

import json
import os
import threading
import time

import pytest
from siskin import wait_for
from stranger import document, insertion, open_document, poll, polling, post, send_update, until
from wire import Raw, WebSocket

KiB = 1 << 10

# What belongs to a link of 1 Mbit/s and pings as they are by default, all of it so many times as quick.
TIMES = int(os.environ.get("SISKIN_TIMES", 10))
MBIT = 125_000 * TIMES
PINGS = {"WEBSOCKET_SERVER_PING_INTERVAL": str(max(3, 25 // TIMES)), "WEBSOCKET_SERVER_PING_TIMEOUT": str(max(3, 20 // TIMES))}


class Link:
    """A client behind a link of so many bytes a second from `start` on, with a small buffer at its end."""

    def __init__(self, siskin, rate):
        self.rate, self.slow, self.free = None, rate, 0
        super().__init__(siskin, timeout=120, receive=16 * KiB)

    def start(self):
        self.rate, self.free = self.slow, time.monotonic()

    def read(self, size):
        rate, parts = self.rate, []
        if not rate:
            return super().read(size)
        while size:
            part = super().read(min(size, 8 * KiB))
            size -= len(part)
            parts.append(part)
            self.free = max(self.free, time.monotonic() - 0.1) + len(part) / rate
            time.sleep(max(0, self.free - time.monotonic()))
        return b"".join(parts)


class Slow(Link, WebSocket):
    pass


class SlowRaw(Link, Raw):
    pass


def send_cursor(ws, update):
    """An awareness update, as an attachment."""
    payload = {"document_id": "big", "update": {"_placeholder": True, "num": 0}}
    ws.text("451-" + json.dumps(["ydoc:awareness:update", payload]))
    ws.send(ws.frame(0x82, update))


def emit(siskin, event, data):
    siskin.api("POST", "/emit", json={"user_id": "zoe", "event": event, "data": data})


def waiting(siskin):
    """Bytes that wait in all outboxes, beside what the kernel holds."""
    return siskin.api("GET", "/status").json()["outbox"]["waiting_bytes"]


def overflows(siskin):
    return siskin.metric("siskin_outbox_overflows_total")


@pytest.mark.parametrize("bound", ["1 MiB", "64 KiB"])
def test_a_large_event_and_what_follows_it_arrive(start_siskin, bound):
    siskin = start_siskin(SISKIN_OUTBOX_BYTES=bound)
    ws = Slow(siskin, None)
    ws.join("zoe")
    raw, sid = polling(siskin, "zoe")
    sent = [["events", {"data": {"type": "files", "data": {"files": "x" * 1_100_000}}}]]
    sent += [["news", {"n": n, "text": "y" * KiB}] for n in range(30)]
    for name, data in sent:
        emit(siskin, name, data)
    # Nobody has read anything yet.
    assert [ws.recv_event() for _ in sent] == sent
    polled = []
    while len(polled) < len(sent):
        polled += [json.loads(packet[2:]) for packet in poll(raw, sid) if packet.startswith("42")]
    assert polled == sent
    assert overflows(siskin) == 0


def test_a_state_arrives_over_a_slow_link_while_others_type(start_siskin):
    """The largest document, whose state is a hundred times as large as the outbox; 1 Mbit/s would take it a minute."""
    size = 2_000_000
    siskin = start_siskin(SISKIN_OUTBOX_BYTES="64 KiB", SISKIN_EVENTS_PER_SECOND="0")
    writer, slow = document(siskin, "ann", size), Slow(siskin, 1_000_000)
    slow.join("zoe")
    slow.start()
    slow.event("ydoc:document:join", {"document_id": "big"}, ack=1)
    wait_for(lambda: waiting(siskin) > 64 * KiB, what="a state that waits")
    typed, ended = [], threading.Event()

    def type_on():
        while not ended.is_set():
            n = len(typed)
            send_cursor(writer, bytes([n % 256]) * 300)
            send_update(writer, insertion(1, clock=size + n), 100 + n)
            until(writer, f"43{100 + n}")
            typed.append(n)
            time.sleep(0.05)

    thread = threading.Thread(target=type_on, daemon=True)
    thread.start()
    name, state = slow.recv_event()
    assert name == "ydoc:document:state"
    ended.set()
    thread.join()
    assert len(typed) > 20
    # What was typed since comes after it.
    updates, cursor = 0, None
    while updates < len(typed) or cursor != (len(typed) - 1) % 256:
        name, *args = slow.recv_event()
        updates += name == "ydoc:document:update"
        cursor = args[0]["update"][0] if name == "ydoc:awareness:update" else cursor
    assert bytes(state["state"]).count(b"x") >= size
    assert overflows(siskin) == 0


def test_a_state_that_takes_longer_than_pongs_are_waited_for_keeps_its_connection_and_is_there_once(start_siskin):
    """For several who open the largest document at once, each over a link of 1 Mbit/s."""
    size = 2_000_000
    siskin = start_siskin(**PINGS, SISKIN_EVENTS_PER_SECOND="0")
    writer = document(siskin, "ann", size)
    readers = [Slow(siskin, MBIT) for _ in range(12)]
    for reader in readers:
        reader.join("zoe")
    # What it takes to write it once, for somebody quick.
    open_document(siskin, "bob").close()
    before = siskin.rss()
    for reader in readers:
        reader.start()
        reader.event("ydoc:document:join", {"document_id": "big"}, ack=1)
    wait_for(lambda: waiting(siskin) > len(readers) * 1.5 * size, what="states that wait")
    # One state, as JSON four times as long, for all of them, though each is told as well who was there before. What it took to write
    # it the allocator keeps for each thread that did: three times as much as the state has been seen, where a state for each takes twelve.
    assert siskin.rss() - before < len(readers) * 4 * size / 2
    heard, typed = [], 40

    def read(reader):
        updates = 0
        while updates < typed:
            name, *args = reader.recv_event()
            updates += name == "ydoc:document:update"
        heard.append(reader)

    threads = [threading.Thread(target=read, args=(reader,), daemon=True) for reader in readers]
    for thread in threads:
        thread.start()
    for n in range(typed):
        send_update(writer, insertion(1, clock=size + n), 100 + n)
        until(writer, f"43{100 + n}")
    for thread in threads:
        thread.join(120)
    assert len(heard) == len(readers)
    assert overflows(siskin) == 0


def test_a_state_that_is_polled_for_takes_as_long_and_keeps_its_session(start_siskin):
    size = 2_000_000
    siskin = start_siskin(**PINGS, SISKIN_EVENTS_PER_SECOND="0")
    writer = document(siskin, "ann", size)
    raw, sid = polling(siskin, "zoe", SlowRaw(siskin, MBIT))
    post(raw, sid, b'421["ydoc:document:join",{"document_id":"big"}]')
    assert raw.answer() == (200, b"ok")
    raw.start()
    wait_for(lambda: waiting(siskin) > size, what="a state that waits")
    typed, events = 40, []
    for n in range(typed):
        send_update(writer, insertion(1, clock=size + n), 100 + n)
        until(writer, f"43{100 + n}")
    while sum(name == "ydoc:document:update" for name, *_ in events) < typed:
        for packet in poll(raw, sid):
            assert packet[0] in "24", packet
            if packet == "2":
                post(raw, sid, b"3")
                assert raw.answer() == (200, b"ok")
            elif packet.startswith("42"):
                events.append(json.loads(packet[2:]))
    name, state = next(event for event in events if event[0].startswith("ydoc"))
    assert name == "ydoc:document:state" and bytes(state["state"]).count(b"x") >= size
    assert overflows(siskin) == 0


def test_who_polls_over_the_connection_that_it_posts_over_is_answered_first(start_siskin):
    """A small client has one connection: it can't take what waits before it has the answer to its post."""
    size = 2_000_000
    siskin = start_siskin(SISKIN_EVENTS_PER_SECOND="0")
    writer = document(siskin, "ann", size)
    raw, sid = polling(siskin, "zoe")
    post(raw, sid, b'421["ydoc:document:join",{"document_id":"big"}]')
    assert raw.answer() == (200, b"ok")
    wait_for(lambda: waiting(siskin) > size, what="a state that waits")
    post(raw, sid, b'422["heartbeat",{}]')
    assert raw.answer() == (200, b"ok")
    packets = []
    while not any(packet.startswith("432") for packet in packets):
        packets += poll(raw, sid)
    assert any(len(packet) > size for packet in packets)
    writer.close()


def test_a_reader_of_16_mbit_survives_typing_and_cursors(start_siskin):
    siskin = start_siskin(SISKIN_EVENTS_PER_SECOND="0")
    siskin.api("PUT", "/channels/c", json={"name": "C", "members": ["zoe"]})
    writers, slow = [open_document(siskin, "ann"), open_document(siskin, "bob")], Slow(siskin, 2_000_000)
    slow.join("zoe")
    slow.event("ydoc:document:join", {"document_id": "big"}, ack=1)
    until(slow, "431")
    typist = WebSocket(siskin, timeout=60)
    typist.join("zoe")
    slow.start()
    typing = {"channel_id": "c", "data": {"type": "typing", "data": {"typing": True}}}
    readers = [threading.Thread(target=until, args=(ws, "439"), daemon=True) for ws in [typist, *writers]]
    for reader in readers:
        reader.start()
    for n in range(1500):
        typist.event("events:channel", typing)
        if n % 25 == 0:
            for k, writer in enumerate(writers):
                send_cursor(writer, bytes([k, n // 25]) * (32 * KiB))
    for ws in [typist, *writers]:
        ws.event("heartbeat", {}, ack=9)
    emit(siskin, "last", 1)
    names, cursors = [], {0: [], 1: []}
    while "last" not in names or any(59 not in seen for seen in cursors.values()):
        name, *args = slow.recv_event()
        names.append(name)
        if name == "ydoc:awareness:update":
            writer, number = args[0]["update"][:2]
            cursors[writer].append(number)
    # In their order, and not each of them: a sender may fill no link with what is soon old.
    assert all(seen == sorted(set(seen)) and len(seen) < 40 for seen in cursors.values())
    assert siskin.metric('siskin_refused_total{reason="bytes of news"}') > 10
    for reader in readers:
        reader.join(60)
    assert overflows(siskin) == 0


def test_cursors_are_limited_for_each_sender_and_not_sent_for_who_has_left(start_siskin):
    siskin = start_siskin(SISKIN_EVENTS_PER_SECOND="0")
    ann, bob, reader = (open_document(siskin, user) for user in ("ann", "bob", "zoe"))
    for n in range(30):
        send_cursor(ann, bytes([n]) * (64 * KiB))
    send_cursor(bob, b"\xff")
    ann.event("ydoc:document:leave", {"document_id": "big"}, ack=2)
    until(ann, "432")
    names, numbers = [], []
    while "ydoc:user:left" not in names or 0xFF not in numbers:
        name, *args = reader.recv_event()
        names.append(name)
        if name == "ydoc:awareness:update":
            numbers.append(args[0]["update"][0])
    assert [number for number in numbers if number != 0xFF][:5] == [0, 1, 2, 3, 4] and 29 not in numbers
    # Her time has come, and nothing of hers with it.
    time.sleep(2)
    send_cursor(bob, b"\xfe")
    assert reader.recv_event()[1]["update"] == [0xFE]


def test_who_has_stopped_is_closed_and_nobody_else(start_siskin):
    """Not at once: a link may pause. After 20 s in which nothing was taken, with more than the bound behind it."""
    siskin = start_siskin(SISKIN_OUTBOX_BYTES="64 KiB", SISKIN_OUTBOX_MOST_BYTES="64 MiB")
    stopped, slow, reads = Slow(siskin, None), Slow(siskin, 2_000_000), WebSocket(siskin, timeout=60)
    for ws in (stopped, slow, reads):
        ws.join("zoe")
    slow.start()
    got, sent = [], 0

    def read():
        while not got or got[-1] != "last":
            got.append(slow.recv_event()[1])

    thread = threading.Thread(target=read, daemon=True)
    thread.start()

    def news(data):
        nonlocal sent
        emit(siskin, "news", data)
        sent += 1
        assert reads.recv_event() == ["news", data]

    # The kernel holds some megabytes.
    while waiting(siskin) < 200_000:
        news("x" * 50_000)
        wait_for(lambda: len(got) > sent - 2, seconds=30, what="the slow one")
    time.sleep(5)
    news("z")
    assert overflows(siskin) == 0

    def closed():
        news("y")
        time.sleep(0.5)
        return overflows(siskin)

    wait_for(closed, seconds=60, what="the end of who has stopped")
    wait_for(lambda: siskin.metric("siskin_sockets") == 2, what="its socket's end")
    news("last")
    thread.join(60)
    assert len(got) == sent
    assert overflows(siskin) == 1
    wait_for(lambda: len(siskin.api("GET", "/sessions").json()["sessions"]) == 2, what="its end")


@pytest.mark.parametrize("most", [1 << 20, 4 << 20])
def test_who_reads_has_a_bound_of_its_own(start_siskin, most):
    siskin = start_siskin(SISKIN_OUTBOX_BYTES="64 KiB", SISKIN_OUTBOX_MOST_BYTES=most)
    slow, other = Slow(siskin, 100_000), WebSocket(siskin, timeout=60)
    for ws in (slow, other):
        ws.join("zoe")
    slow.start()
    ended = threading.Thread(target=slow.close_code, daemon=True)
    ended.start()
    waited = 0
    for n in range(1000):
        emit(siskin, "news", "x" * 50_000)
        assert other.recv_event() == ["news", "x" * 50_000]
        if overflows(siskin):
            break
        waited = max(waited, waiting(siskin))
    # Beside its largest.
    assert most - 60_000 < waited <= most + 60_000
    wait_for(lambda: len(siskin.api("GET", "/sessions").json()["sessions"]) == 1, what="its end")
    emit(siskin, "news", n)
    assert other.recv_event() == ["news", n]
    # The kernel's part still comes.
    slow.rate = None
    ended.join(60)


MIB = 1 << 20


def tell(siskin, user, data):
    siskin.api("POST", "/emit", json={"user_id": user, "event": "news", "data": data})


def test_what_waits_for_all_together_has_a_bound(start_siskin):
    """Over it those go for whom most waits, and nobody else."""
    siskin = start_siskin(SISKIN_OUTBOXES_BYTES="8 MiB")
    reads, waits = WebSocket(siskin, timeout=60), Slow(siskin, None)
    reads.join("zoe")
    waits.join("wim")
    tell(siskin, "wim", "w" * 100_000)
    stopped = [Slow(siskin, None) for _ in range(16)]
    for n, ws in enumerate(stopped):
        ws.join(f"stopped{n}")
    before, most = siskin.rss(), 0
    for n in range(16 * 6):
        tell(siskin, f"stopped{n % 16}", "x" * 900_000)
        tell(siskin, "zoe", n)
        assert reads.recv_event() == ["news", n]
        most = max(most, waiting(siskin))
    # The kernel holds some megabytes of each; so much more went to them.
    assert overflows(siskin) > 0 and 6 * MIB < most < 10 * MIB, (overflows(siskin), most)
    assert siskin.rss() - before < 20 * MIB
    tell(siskin, "wim", "still here")
    assert waits.recv_event() == ["news", "w" * 100_000] and waits.recv_event() == ["news", "still here"]


def test_what_many_wait_for_counts_once(start_siskin):
    siskin = start_siskin(SISKIN_OUTBOXES_BYTES="16 MiB")
    readers = [Slow(siskin, None) for _ in range(24)]
    for ws in readers:
        ws.join("zoe")
    sent = [f"{n}" * 1_000_000 for n in range(6)]
    for data in sent:
        emit(siskin, "news", data)
    assert waiting(siskin) > 32 * MIB and overflows(siskin) == 0
    for ws in readers:
        assert [ws.recv_event() for _ in sent] == [["news", data] for data in sent]
