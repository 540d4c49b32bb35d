"""A poll that waits has no more than its socket, and is answered as any other request."""

import json
import threading

import pytest
from siskin import BINARY, wait_for
from test_turns import polling
from wire import PATH, Raw


def member(siskin):
    """A polling member's connection, with nothing left to be polled, and the request of its next poll."""
    raw, sid = polling(siskin, "ann")
    poll = f"GET {PATH}polling&sid={sid} HTTP/1.1\r\nHost: x\r\n".encode()
    raw.send(poll + b"\r\n")
    assert raw.answer()[1].startswith(b"40")
    wait_for(lambda: siskin.api("GET", "/sessions").json()["sessions"], what="the session")
    return raw, poll


def emit(siskin, data):
    siskin.api("POST", "/emit", json={"user_id": "ann", "event": "news", "data": data})


def event(body):
    packets = body.decode().split("\x1e")
    return [json.loads(packet[2:])[1] for packet in packets if packet.startswith("42")]


# For a moment hyper stays, in case the answer is near.
SHORT, LONG = 0.02, 0.5


def waits(raw, seconds=LONG):
    """Nothing comes for so long."""
    raw.socket.settimeout(seconds)
    with pytest.raises(TimeoutError):
        raw.socket.recv(1)
    raw.socket.settimeout(30)


def test_a_waited_answer_looks_like_any_other(siskin):
    raw, poll = member(siskin)
    origin = b"Origin: http://page.example\r\n"
    emit(siskin, 1)
    raw.send(poll + origin + b"\r\n")
    status, at_once = raw.head()
    assert status == 200 and event(raw.read(int(at_once["content-length"]))) == [1]
    for n, seconds in enumerate([LONG, SHORT, SHORT, LONG, LONG]):
        raw.send(poll + origin + b"\r\n")
        waits(raw, seconds)
        emit(siskin, n)
        status, waited = raw.head()
        assert status == 200 and event(raw.read(int(waited["content-length"]))) == [n]
        changes = ("date", "content-length")
        assert waited.keys() == at_once.keys()
        assert all(waited[name] == at_once[name] for name in waited if name not in changes)
        assert waited["date"].endswith(" GMT") and len(waited["date"]) == len(at_once["date"])


@pytest.mark.parametrize("seconds", [SHORT, LONG])
@pytest.mark.parametrize(
    "version, says, line, stays",
    [
        ("1.1", "", None, True),
        ("1.1", "Connection: close\r\n", "close", False),
        ("1.1", "Connection: TE, Close\r\n", "close", False),
        ("1.0", "", None, False),
        ("1.0", "Connection: Keep-Alive\r\n", "keep-alive", True),
    ],
)
def test_a_connection_stays_as_its_request_says(siskin, version, says, line, stays, seconds):
    raw, poll = member(siskin)
    raw.send(poll.replace(b"HTTP/1.1", f"HTTP/{version}".encode()) + says.encode() + b"\r\n")
    waits(raw, seconds)
    emit(siskin, "x")
    first = wait_for(lambda: raw.socket.recv(65536), what="the answer")
    raw.buffer = first
    assert first.startswith(f"HTTP/{version} 200 OK\r\n".encode())
    status, headers = raw.head()
    assert headers.get("connection") == line
    assert event(raw.read(int(headers["content-length"]))) == ["x"]
    if stays:
        raw.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert raw.answer()[0] == 200
    else:
        assert raw.ended() == b""


@pytest.mark.parametrize("seconds", [SHORT, LONG])
@pytest.mark.parametrize("cut", [0, 1, 20, 46])
def test_requests_behind_one_that_waits_are_answered_after_it(siskin, cut, seconds):
    raw, poll = member(siskin)
    after = b"GET /health HTTP/1.1\r\nHost: x\r\nX-More: yes\r\n\r\n"
    raw.send(poll + b"\r\n" + after + after[:cut])
    waits(raw, seconds)
    emit(siskin, "x")
    assert event(raw.answer()[1]) == ["x"]
    assert raw.answer() == (200, b'{"status":"ok"}\n')
    raw.send(after[cut:])
    assert raw.answer() == (200, b'{"status":"ok"}\n')
    # And more of them than hyper reads at once.
    raw.send(poll + b"\r\n" + after * 1000)
    waits(raw, seconds)
    emit(siskin, "y")
    assert event(raw.answer()[1]) == ["y"]
    assert all(raw.answer()[0] == 200 for _ in range(1000))


def test_a_websocket_may_follow_on_the_connection_of_a_poll(siskin):
    raw, poll = member(siskin)
    raw.send(poll + b"\r\n")
    waits(raw)
    upgrade = (
        f"GET {PATH}websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
    # With its first frame, and all of it while the poll waits.
    raw.send(upgrade + b"\x81\x82\0\0\0\x0040")
    waits(raw)
    emit(siskin, "x")
    assert event(raw.answer()[1]) == ["x"]
    assert raw.head()[0] == 101
    got = raw.buffer
    while b'40{"sid"' not in got:
        got += raw.socket.recv(65536)


def test_a_large_answer_to_a_slow_reader_is_whole_and_what_follows_too(siskin):
    raw, poll = member(siskin)
    raw.send(poll + b"\r\n")
    waits(raw)
    text = "x" * 12_000_000
    threading.Thread(target=emit, args=(siskin, text), daemon=True).start()
    wait_for(lambda: raw.socket.recv(1, 2), what="the answer")
    # Its rest waits for us; the next request comes before it is written.
    raw.send(poll + b"\r\n")
    assert event(raw.answer()[1]) == [text]
    emit(siskin, "y")
    assert event(raw.answer()[1]) == ["y"]


def test_who_waits_is_told_when_siskin_goes_down(siskin):
    raw, poll = member(siskin)
    raw.send(poll + b"\r\n")
    waits(raw)
    idle = Raw(siskin)
    idle.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert idle.answer()[0] == 200
    siskin.process.terminate()
    status, headers = raw.head()
    assert (status, headers["connection"]) == (200, "close")
    assert idle.ended() == b""
    assert siskin.process.wait(12) == 0


def test_waiting_polls_and_idle_connections_cost_little(start_siskin):
    siskin = start_siskin(SISKIN_MAX_CONNECTIONS_PER_ADDRESS="5000", WEBSOCKET_SERVER_PING_INTERVAL="600")
    first = [polling(siskin) for _ in range(20)]
    before, held = siskin.rss(), []
    for _ in range(400):
        raw, sid = polling(siskin)
        raw.send(f"GET {PATH}polling&sid={sid} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        held.append(raw)
    wait_for(lambda: siskin.metric('siskin_sessions{transport="polling"}') == 420, what="all")
    waits(held[-1])
    each = (siskin.rss() - before) / len(held)
    print(f"{each / 1024:.1f} KiB a waiting poll")
    # An unoptimized build has the C library's allocator, which seldom gives back.
    assert each < 8192 or "/debug/" in BINARY
    del first
