"""Who sends too much, or what costs too much, is read more slowly; nothing is lost."""

import json
import time

from siskin import wait_for
from stranger import document, insertion, open_document, poll, polling, post, send_update, until
from wire import WebSocket


def slow(start_siskin):
    """Fifty a second of a session, and 500 at once; four times as many of a user."""
    return start_siskin(SISKIN_EVENTS_PER_SECOND="50")


def test_acks_are_paid_for(start_siskin):
    """Also those that nobody waits for."""
    ws = WebSocket(slow(start_siskin), timeout=60)
    ws.join("mallory")
    began = time.monotonic()
    ws.send(ws.frame(0x81, b"4317[]") * 700)
    ws.event("heartbeat", {}, ack=1)
    until(ws, "431")
    assert time.monotonic() - began > 3


def test_the_sockets_of_a_user_share_a_budget(start_siskin):
    """Each of them keeps to its own: all together don't."""
    siskin = slow(start_siskin)
    sockets = [WebSocket(siskin, timeout=60) for _ in range(8)]
    for ws in sockets:
        ws.join("mallory")
    other = WebSocket(siskin, timeout=60)
    other.join("ann")
    began = time.monotonic()
    for ws in sockets:
        ws.send(ws.frame(0x81, b'42["heartbeat",{}]') * 400)
        ws.event("heartbeat", {}, ack=1)
    other.event("heartbeat", {}, ack=1)
    until(other, "431")
    assert time.monotonic() - began < 3
    for ws in sockets:
        until(ws, "431")
    # 3,200 events, 2,000 at once, then 200 a second.
    assert time.monotonic() - began > 4


def test_the_answer_to_a_post_waits_for_the_budget(start_siskin):
    siskin = slow(start_siskin)
    raw, sid = polling(siskin, "mallory")
    began = time.monotonic()
    post(raw, sid, b"\x1e".join([b'42["heartbeat",{}]'] * 700 + [b'421["heartbeat",{}]']))
    assert raw.answer() == (200, b"ok")
    assert time.monotonic() - began > 3
    got = []
    while "431[]" not in got:
        got += poll(raw, sid)


def test_the_state_of_a_large_document_is_paid_for_by_its_bytes(start_siskin):
    siskin = start_siskin(SISKIN_EVENTS_PER_SECOND="20")
    ws = document(siskin, "mallory", 2_000_000)
    began, asked = time.monotonic(), 14

    # One after the other: who asks again before the state was taken gets no second one.
    for n in range(asked):
        ws.event("ydoc:document:state", {"document_id": "big"}, ack=10 + n)
        left = {"ydoc:document:state", f"43{10 + n}"}
        while left:
            text = ws.recv_text()
            left = {mark for mark in left if mark not in text[:60]}
    # Each is 8 MB as numbers, 122 times an event: 800 at once, then 80 a second.
    assert time.monotonic() - began > 6


def test_what_many_get_is_paid_for_by_their_number(start_siskin):
    siskin = slow(start_siskin)
    siskin.api("PUT", "/channels/c", json={"name": "C", "members": ["mallory", "ann"]})
    readers = [WebSocket(siskin, timeout=60) for _ in range(48)]
    for ws in readers:
        ws.join("ann")
    ws = WebSocket(siskin, timeout=60)
    ws.join("mallory")
    began = time.monotonic()
    typing = {"channel_id": "c", "data": {"type": "typing", "data": {"typing": True}}}
    for _ in range(450):
        ws.event("events:channel", typing)
    ws.event("heartbeat", {}, ack=1)
    until(ws, "431")
    # Each costs seven events, and 2,000 are at hand.
    assert time.monotonic() - began > 4
    names = 0
    while names < 450:
        names += readers[0].recv_event()[0] == "events:channel"


def test_updates_of_large_and_small_keep_their_order(start_siskin):
    """What is worked on beside the thread comes out in the order in which it came in."""
    siskin = start_siskin(SISKIN_EVENTS_PER_SECOND="0")
    ws, reader = open_document(siskin, "ann"), open_document(siskin, "bob")
    sizes = [200_000, 5, 100_000, 7, 20_000, 3]
    clock = 0
    for n, size in enumerate(sizes):
        send_update(ws, insertion(size, clock=clock), n + 2)
        clock += size
    for n in range(len(sizes)):
        until(ws, f"43{n + 2}")
    got = []
    while len(got) < len(sizes):
        name, *args = reader.recv_event()
        if name == "ydoc:document:update":
            got.append(bytes(args[0]["update"]).count(b"x"))
    assert got == sizes
    # All of it is one text.
    late = WebSocket(siskin, timeout=60)
    late.join("eve")
    late.event("ydoc:document:join", {"document_id": "big"})
    name, state = late.recv_event()
    assert name == "ydoc:document:state" and bytes(state["state"]).count(b"x") == sum(sizes)
    # A seed comes too late, and learns what there is, with numbers of millions of digits.
    seed = {"document_id": "big", "update": list(insertion(100_000, client=9)), "initialize": True}
    late.event("ydoc:document:update", seed, ack=7)
    assert json.loads(until(late, "437")[3:])[0] == state["state"]
    wait_for(lambda: siskin.metric("siskin_sockets") == 3, what="everybody there")
