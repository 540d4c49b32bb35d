"""Load that must leave no trace: churn, a slow reader, a flood of pings, a drain."""

import json
import os
import select
import signal
import threading
import time

from siskin import token, wait_for
from wire import PATH, Raw, WebSocket


def test_ten_thousand_connections_leave_no_memory_behind(siskin):
    def churn(rounds):
        for _ in range(rounds):
            batch = [WebSocket(siskin) for _ in range(100)]
            for ws in batch:
                ws.text("40" + json.dumps({"token": token("ann")}))
            for n, ws in enumerate(batch):
                assert ws.recv_text().startswith("0{")
                assert ws.recv_text().startswith("40{")
                # Half say goodbye, half just go.
                if n % 2:
                    ws.text("41")
                    ws.send(ws.frame(0x88, b"\x03\xe8"))
                ws.close()
        wait_for(lambda: siskin.metric('siskin_sessions{transport="websocket"}') == 0, what="everybody gone")

    churn(10)
    before = siskin.rss()
    churn(90)
    after = siskin.rss()
    print(f"RSS after 1,000 connections {before}, after 10,000 {after} bytes")
    assert siskin.metric("siskin_sockets") == 0 and siskin.metric("siskin_rooms") == 0
    assert after - before < 1 << 20


def test_a_slow_reader_is_closed_and_nobody_else_waits(siskin):
    """64 MiB go to a room; one member stops reading."""
    message, count = "x" * (256 * 1024), 256
    slow = WebSocket(siskin, timeout=60)
    slow_sid = slow.join("zoe")
    readers = [WebSocket(siskin, timeout=60) for _ in range(3)]
    for ws in readers:
        ws.join("zoe")
    received = [0] * len(readers)

    def read(n):
        while received[n] < count:
            name, data = readers[n].recv_event()
            assert (name, data["text"], data["n"]) == ("big", message, received[n])
            received[n] += 1

    threads = [threading.Thread(target=read, args=(n,), daemon=True) for n in range(len(readers))]
    for thread in threads:
        thread.start()
    for n in range(count):
        # At the pace of those who read: the room's slowest reader that does read sets it.
        wait_for(lambda n=n: min(received) >= n - 2, seconds=60, what="readers")
        siskin.api("POST", "/emit", json={"user_id": "zoe", "event": "big", "data": {"n": n, "text": message}})
    for thread in threads:
        thread.join(60)
    assert received == [count] * len(readers)
    assert siskin.metric("siskin_outbox_overflows_total") == 1
    wait_for(lambda: siskin.metric("siskin_sockets") == 3, what="the slow reader's end")
    assert slow_sid not in [s["sid"] for s in siskin.api("GET", "/sessions").json()["sessions"]]
    assert siskin.rss() < 200 << 20


def test_pings_without_reading_are_bounded(start_siskin):
    """A client that sends pings and reads no pong is not read any more, and closed when it misses a heartbeat."""
    siskin = start_siskin(WEBSOCKET_SERVER_PING_INTERVAL=2, WEBSOCKET_SERVER_PING_TIMEOUT=3)
    ws = WebSocket(siskin)
    ws.connect("mallory")
    flood = ws.frame(0x89, b"x" * 125) * 1000
    ws.socket.setblocking(False)
    end, sent, ended = time.monotonic() + 30, 0, False
    try:
        while time.monotonic() < end:
            _, writable, _ = select.select([], [ws.socket], [], 1)
            if writable:
                sent += ws.socket.send(flood)
    except (BrokenPipeError, ConnectionResetError):
        ended = True
    # What the system's buffers hold in both directions, and no more.
    assert ended and sent < 64 << 20
    assert siskin.metric("siskin_outbox_overflows_total") == 0
    assert siskin.rss() < 50 << 20


def flood(ws, data, answers):
    """Sends this again and again until the connection is ended; meanwhile `answers` must go on being true."""
    ended = threading.Event()

    def send():
        try:
            while True:
                ws.socket.sendall(data)
        except OSError:
            ended.set()

    ws.socket.settimeout(60)
    threading.Thread(target=send, daemon=True).start()
    while not ended.is_set():
        assert answers()
        # The witness asks less often than the limit of events allows.
        time.sleep(0.02)
    assert answers()


def test_a_flood_that_never_ends_holds_nobody_up(siskin):
    """Where siskin reads what it doesn't want: in a probe, and after the end."""
    witness = WebSocket(siskin, timeout=8)
    witness.connect("ann")

    def answers():
        witness.event("user-join", {"auth": {"token": token("ann")}}, ack=1)
        return witness.recv_text().startswith("431[")

    polling = Raw(siskin)
    polling.send(f"GET {PATH}polling HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    sid = polling.answer()[1].split(b'"')[3].decode()
    probe = WebSocket(siskin, query="&sid=" + sid)
    flood(probe, probe.frame(0x89, b"x" * 20) * 40_000, answers)
    gone = WebSocket(siskin)
    gone.connect("mallory")
    gone.send(gone.frame(0x83, b"x"))
    flood(gone, bytes(1 << 20), answers)


def test_a_flood_of_events_is_slowed_down(start_siskin):
    siskin = start_siskin(SISKIN_EVENTS_PER_SECOND="200")
    ws = WebSocket(siskin, timeout=60)
    ws.join("mallory")
    began = time.monotonic()
    for n in range(3000):
        ws.event("heartbeat", {}, ack=n)
    answers, events = set(), []
    while len(answers) < 3000:
        text = ws.recv_text()
        if text.startswith("42"):
            events.append(text)
        else:
            answers.add(text)
    # Ten seconds' worth at once, then at its rate: none is lost.
    assert answers == {f"43{n}[]" for n in range(3000)}
    assert time.monotonic() - began > 4
    assert events == ['42["error",{"message":"Too many events, they are handled more slowly"}]']
    other = WebSocket(siskin)
    other.join("ann")
    assert siskin.metric('siskin_refused_total{reason="event rate"}') >= 1


def test_a_new_namespace_does_not_refill_the_budget(start_siskin):
    """The budget is the session's: DISCONNECT and CONNECT cost as much as an event."""
    siskin = start_siskin(SISKIN_EVENTS_PER_SECOND="50")
    ws = WebSocket(siskin, timeout=60)
    ws.connect("mallory")
    began = time.monotonic()
    for _ in range(350):
        ws.text("41")
        ws.text("40")
    for _ in range(350):
        while not ws.recv_text().startswith("40{"):
            pass
    assert time.monotonic() - began > 3


def test_sigterm_tells_everybody_and_ends_with_0(siskin):
    sockets = [WebSocket(siskin) for _ in range(50)]
    for ws in sockets:
        ws.connect("ann")
    os.kill(siskin.pid, signal.SIGTERM)
    assert [ws.close_code() for ws in sockets] == [1001] * 50
    for ws in sockets:
        ws.close()
    assert siskin.process.wait(12) == 0
    wait_for(lambda: "going down (SIGTERM): 50 sessions" in siskin.log(), what="its last words")


def test_sigterm_does_not_wait_for_those_who_stay(siskin):
    sockets = [WebSocket(siskin) for _ in range(3)]
    for ws in sockets:
        ws.connect("ann")
    os.kill(siskin.pid, signal.SIGTERM)
    assert siskin.process.wait(12) == 0


def test_sigterm_leaves_no_request_without_its_answer(siskin):
    siskin.api("PUT", "/chats/c1", {"user_id": "ann"})
    for n in range(16):
        siskin.api("PUT", f"/chats/c1/messages/m{n}", {"role": "user", "content": "x" * 900_000})
    # Its answer is more than the system's buffers take, and it does not read yet.
    slow = Raw(siskin, receive=4096)
    slow.send(f"GET /api/v1/chats/c1/messages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {siskin.api_key}\r\n\r\n".encode())
    assert select.select([slow.socket], [], [], 10)[0]
    # One that has not yet asked, one that never will, one between two requests.
    late, silent, kept = Raw(siskin), Raw(siskin), Raw(siskin)
    kept.send(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
    assert kept.answer()[0] == 200
    os.kill(siskin.pid, signal.SIGTERM)
    wait_for(lambda: "going down (SIGTERM)" in siskin.log(), what="the drain")
    late.send(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
    status, headers = late.head()
    assert (status, headers["connection"]) == (200, "close")
    assert kept.ended() == silent.ended() == b""
    status, body = slow.answer()
    assert status == 200 and len(json.loads(body)["messages"]) == 16
    assert siskin.process.wait(12) == 0


def test_attachments_of_one_packet_are_a_message_together(siskin):
    """Sixty-four attachments of the largest size each would be a gigabyte that waits for the last one."""
    ws = WebSocket(siskin, timeout=60)
    ws.join("ann")
    placeholders = [{"_placeholder": True, "num": n} for n in range(64)]
    ws.text(f'4564-["e",{json.dumps(placeholders)}]')
    before, large = siskin.rss(), ws.frame(0x82, bytes(15 << 20))
    try:
        for _ in range(63):
            ws.send(large)
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert siskin.rss() - before < 64 << 20
    wait_for(lambda: siskin.metric("siskin_sockets") == 0, what="its end")
    assert siskin.metric('siskin_refused_total{reason="attachments"}') == 1


def test_a_slow_reader_that_reads_on_gets_everything(siskin):
    """Six times the bound waits for it at times: it is slow, but it has not stopped."""
    slow = WebSocket(siskin, timeout=60)
    slow.join("zoe")
    text, count = "x" * 200_000, 30
    for n in range(count):
        siskin.api("POST", "/emit", json={"user_id": "zoe", "event": "big", "data": {"n": n, "text": text}})
    got, events = bytearray(), 0
    while events < count:
        # 1 MB a second: 16 Mbit/s with what the machine's buffers took at once.
        got += slow.socket.recv(20_000)
        time.sleep(0.02)
        events = got.count(b'42["big"')
    assert siskin.metric("siskin_outbox_overflows_total") == 0


def test_news_that_would_be_old_are_left_out_for_who_is_behind(start_siskin):
    siskin = start_siskin(SISKIN_EVENTS_PER_SECOND="0")
    slow, writer = WebSocket(siskin, timeout=60), WebSocket(siskin, timeout=60)
    slow.join("zoe")
    writer.join("ann")
    for ws in (slow, writer):
        ws.event("ydoc:document:join", {"document_id": "shared"}, ack=1)
        while not ws.recv_text().startswith("431"):
            pass
    # More than the system's buffers take.
    siskin.api("POST", "/emit", json={"user_id": "zoe", "event": "files", "data": "x" * 12_000_000})
    for n in range(300):
        update = [n % 256] * 16_000
        writer.event("ydoc:awareness:update", {"document_id": "shared", "update": update}, ack=n)
        while not writer.recv_text().startswith(f"43{n}["):
            pass
    siskin.api("POST", "/emit", json={"user_id": "zoe", "event": "last", "data": 1})
    names, cursors = [], []
    while "last" not in names or not cursors or cursors[-1] != 299 % 256:
        name, *args = slow.recv_event()
        names.append(name)
        if name == "ydoc:awareness:update":
            cursors.append(args[0]["update"][0])
    assert "files" in names and len(cursors) < 100
    assert siskin.metric("siskin_outbox_overflows_total") == 0
