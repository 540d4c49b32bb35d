"""Nobody's input costs others more than its share of time: attacks beside a stranger who asks every 50 ms."""

import json
import socket
import threading
import time

import pytest
from siskin import wait_for
from stranger import UNOPTIMIZED, WORST, Stranger, document, poll, polling, post
from wire import WebSocket

@pytest.fixture
def attacked(start_siskin):
    siskin = start_siskin(SISKIN_EVENTS_PER_SECOND="0")
    return siskin, Stranger(siskin)


@pytest.mark.parametrize("packets", [b"41\x1e40", b'42["x"]', b"40\x1e41", b"6", b"40/a,", b"3"])
def test_a_payload_of_millions_of_packets_holds_nobody_up(attacked, packets):
    siskin, stranger = attacked
    raw, sid = polling(siskin, "mallory")
    count = (15 << 20) // (len(packets) + 1)
    post(raw, sid, b"\x1e".join([packets] * count))
    time.sleep(4)
    raw.close()
    stranger.worst()


def test_frames_without_end_hold_nobody_up(attacked):
    siskin, stranger = attacked
    ends = [WebSocket(siskin, timeout=2) for _ in range(4)]
    for ws in ends:
        ws.join("mallory")
    flood = ends[0].frame(0x81, b'42["heartbeat",{}]') * 5000
    end = time.monotonic() + 4

    def send(ws):
        try:
            while time.monotonic() < end:
                ws.socket.sendall(flood)
        except OSError:
            pass

    threads = [threading.Thread(target=send, args=(ws,)) for ws in ends]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stranger.worst()


def test_states_that_nobody_reads_hold_nobody_up(start_siskin):
    siskin = start_siskin(SISKIN_EVENTS_PER_SECOND="0")
    ws = document(siskin, "mallory", 2_000_000)
    before, stranger = siskin.rss(), Stranger(siskin)
    asked = 200
    ws.send(b"".join(ws.frame(0x81, f'42{n}["ydoc:document:state",{{"document_id":"big"}}]'.encode()) for n in range(asked)))
    time.sleep(4)
    # One state is one message: an unoptimized build writes its numbers slowly.
    stranger.worst(2 if UNOPTIMIZED else WORST)
    assert siskin.rss() - before < 64 << 20
    # Whoever reads is answered: all that was asked before a state was sent is answered by that.
    states = answers = 0
    ws.socket.settimeout(120)
    while answers < asked:
        text = ws.recv_text()
        states += text.startswith('42["ydoc:document:state"')
        answers += text.startswith("43")
    assert 0 < states < 5


def test_a_large_change_of_who_may_not_holds_nobody_up(attacked):
    siskin, stranger = attacked
    ws = WebSocket(siskin, timeout=60)
    ws.join("mallory")
    data = {"document_id": "note:x", "data": {"content": {"md": "x" * 100, "numbers": list(range(1_700_000))}}}
    body = f'42["ydoc:document:update",{json.dumps(data)}]'.encode()
    assert 13 << 20 < len(body) < 16 << 20
    before = siskin.rss()
    for _ in range(2):
        ws.send(ws.frame(0x81, body))
    ws.event("heartbeat", {}, ack=7)
    wait_for(lambda: ws.recv_text().startswith("437"), what="its turn")
    stranger.worst(5 if UNOPTIMIZED else WORST)
    assert siskin.rss() - before < 64 << 20


def test_an_urgent_byte_loses_no_edge(siskin):
    """A read stops short at it: what follows comes without another edge."""
    ws = WebSocket(siskin)
    ws.join("ann")
    for n in range(200):
        event = ws.frame(0x81, f'42{n}["heartbeat",{{}}]'.encode())
        cut = n % len(event)
        ws.send(event[:cut])
        # It goes beside the stream, which is not changed by it.
        ws.socket.send(b"!", socket.MSG_OOB)
        ws.send(event[cut:])
        assert ws.recv_text() == f"43{n}[]"


def test_what_comes_with_the_end_is_handled(start_siskin):
    """Data and FIN may be one event; the answers still come."""
    siskin = start_siskin(SISKIN_EVENTS_PER_SECOND="0")
    for count in (1, 70, 500, 3000):
        ws = WebSocket(siskin)
        ws.join("ann")
        events = b"".join(ws.frame(0x81, f'42{n}["heartbeat",{{}}]'.encode()) for n in range(count))
        ws.send(events)
        ws.socket.shutdown(socket.SHUT_WR)
        got = sum(ws.recv_text().startswith("43") for _ in range(count))
        assert got == count
        ws.close()


def test_who_does_not_read_is_not_read_and_gets_everything_later(start_siskin):
    siskin = start_siskin(SISKIN_EVENTS_PER_SECOND="0")
    ws = WebSocket(siskin, timeout=60)
    ws.join("ann")
    large = "x" * 200
    count, sent = 30_000, threading.Event()

    def send():
        for n in range(count):
            ws.event("events:chat", {"chat_id": "local:" + large, "data": {"type": "leave"}}, ack=n)
        sent.set()

    threading.Thread(target=send, daemon=True).start()
    time.sleep(1)
    answers = 0
    while answers < count:
        assert ws.recv_text().startswith(f"43{answers}[")
        answers += 1
    assert sent.is_set()
    assert siskin.metric("siskin_outbox_overflows_total") == 0


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_a_large_event_and_others_after_it_arrive(siskin, transport):
    text = "x" * 1_100_000
    if transport == "websocket":
        ws = WebSocket(siskin, timeout=30)
        ws.join("ann")
    else:
        raw, sid = polling(siskin, "ann")
        assert poll(raw, sid)[0].startswith("40")
    wait_for(lambda: siskin.api("GET", "/sessions").json()["sessions"], what="the session")
    siskin.api("POST", "/emit", json={"user_id": "ann", "event": "files", "data": text})
    for n in range(5):
        siskin.api("POST", "/emit", json={"user_id": "ann", "event": "next", "data": n})
    wanted = ["files", *["next"] * 5]
    if transport == "websocket":
        assert [ws.recv_event()[0] for _ in wanted] == wanted
        return
    got = []
    while len(got) < len(wanted):
        got += [json.loads(packet[2:])[0] for packet in poll(raw, sid) if packet.startswith("42")]
    assert got == wanted
