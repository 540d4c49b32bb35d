"""What brought down others: advisories of socket.io, engine.io, ws and their like, each by its number. README.md has the table."""

import asyncio
import json
import os
import pickle
import re
import struct

import pytest
import redis
import requests

from siskin import token, wait_for
from wire import PATH, Raw, WebSocket

MIB = 1 << 20


@pytest.fixture
def witness(siskin):
    """Somebody who must not notice, and a process that must not grow."""
    other = WebSocket(siskin, timeout=30)
    other.connect("witness")
    yield siskin
    other.event("user-join", {"auth": {"token": token("witness")}}, ack=1)
    assert other.recv_text().startswith("431[")
    assert siskin.rss() < 100 * MIB


def opened(siskin):
    """A raw connection with a polling session: the connection and the session's query."""
    raw = Raw(siskin)
    raw.send(f"GET {PATH}polling HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return raw, f"{PATH}polling&sid=" + json.loads(raw.answer()[1][1:])["sid"]


def refused(siskin, packet, *attachments):
    """A member sends a packet: it is ended for that, with the code for a breach."""
    ws = WebSocket(siskin)
    ws.join("mallory")
    ws.text(packet)
    for data in attachments:
        ws.send(ws.frame(0x82, data))
    assert ws.close_code() == 1002, packet


def test_cve_2017_16031_sids_can_not_be_guessed(witness):
    sids = [requests.get(witness.url + PATH + "polling", timeout=10).text.split('"')[3] for _ in range(50)]
    assert len(set(sids)) == 50 and all(re.fullmatch(r"[A-Za-z0-9_-]{20}", sid) for sid in sids)
    assert all(len({sid[place] for sid in sids}) > 15 for place in range(19)), "each place of it is random"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_cve_2019_13611_and_cve_2020_28481_pages_of_other_origins_are_kept_out(start_siskin, method):
    siskin = start_siskin(CORS_ALLOW_ORIGIN="https://ours.example")
    for transport in ("polling", "websocket"):
        answer = requests.request(method, siskin.url + PATH + transport, headers={"Origin": "https://evil.example"}, timeout=10)
        assert answer.status_code == 400 and "access-control-allow-origin" not in answer.headers


def test_cve_2020_36048_a_large_post_of_a_stranger_is_refused_by_its_length(witness):
    for body in ("Content-Length: 100000000\r\n", "Transfer-Encoding: chunked\r\n"):
        raw, session = opened(witness)
        raw.send(f"POST {session} HTTP/1.1\r\nHost: x\r\n{body}\r\n".encode())
        if "chunked" in body:
            with pytest.raises(OSError):
                for _ in range(2000):
                    raw.send(b"10000\r\n" + b"4" * 65536 + b"\r\n")
        else:
            assert raw.head()[0] == 413
        raw.close()


@pytest.mark.parametrize("packet", ["451-" * 3, "45" + "9" * 40 + '-["x"]', '4' + '5' * 10_000, '42["' + '\\' * 10_001])
def test_cve_2020_36049_a_packet_that_is_read_slowly_elsewhere_is_refused_at_once(witness, packet):
    refused(witness, packet)


@pytest.mark.parametrize(
    "placeholder",
    ['{"_placeholder":true,"num":"splice"}', '{"_placeholder":true,"num":"__proto__"}', '{"_placeholder":true,"num":-1}', '{"_placeholder":true,"num":1e9}', '{"_placeholder":true}'],
)
def test_cve_2022_2421_placeholders_name_attachments_by_number(witness, placeholder):
    ws = WebSocket(witness)
    ws.join("mallory")
    ws.text('451-7["usage",{"model":%s}]' % placeholder)
    ws.send(ws.frame(0x82, b"x"))
    # It is refused, or its value is nothing to anybody.
    ws.text("2")
    assert ws.close_code() == 1002
    assert witness.api("GET", "/models").json()["models"] == []


@pytest.mark.parametrize("name", ["null", "true", "{}", "[]", '{"toString":"x"}', '"connect"', '"disconnecting"', '"newListener"'])
def test_cve_2023_32695_and_cve_2024_38355_event_names_are_text_and_not_socket_ios_own(witness, name):
    refused(witness, f"42[{name},1]")


def test_cve_2023_32695_an_event_name_may_be_a_number(witness):
    ws = WebSocket(witness)
    ws.join("mallory")
    ws.text("42[1]")
    ws.event("user-join", {"auth": {"token": token("mallory")}}, ack=5)
    assert ws.recv_text().startswith("435[")


@pytest.mark.parametrize("sid", ["__proto__", "constructor", "toString", "hasOwnProperty", "%00", "../../x", "x" * 8000])
@pytest.mark.parametrize("transport", ["polling", "websocket", "webtransport"])
def test_cve_2026_59724_and_cve_2026_102600_names_of_properties_are_no_sessions(witness, sid, transport):
    for headers in ({}, {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}):
        answer = requests.get(f"{witness.url}{PATH}{transport}&sid={sid}", headers=headers, timeout=10)
        assert answer.status_code == 400, answer.text


@pytest.mark.parametrize(
    "query, headers",
    [
        ("polling&j=0", ""),
        ("polling&j=__proto__&b64=1", ""),
        ("polling", "Connection: Upgrade\r\nUpgrade: websocket\r\n"),
        ("websocket", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n"),
        ("websocket", "Connection: keep-alive, Upgrade\r\nUpgrade: h2c, foo/2\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"),
        ("__proto__", ""),
        ("", ""),
    ],
)
def test_cve_2022_21676_and_cve_2022_41940_no_request_brings_it_down(witness, query, headers):
    raw = Raw(witness)
    raw.send(f"GET {PATH}{query} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
    assert raw.head()[0] in (200, 400)
    raw.close()


def test_cve_2022_41940_who_hangs_up_within_an_upgrade_brings_it_down_no_more(witness):
    for cut in range(40, 200, 20):
        raw, session = opened(witness)
        upgrade = f"GET {session.replace('polling', 'websocket')} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        raw.send(upgrade.encode()[:cut])
        raw.socket.setsockopt(1, 13, struct.pack("ii", 1, 0))
        raw.close()


def test_cve_2023_31125_a_post_for_a_websockets_session_is_refused(witness):
    ws = WebSocket(witness)
    sid = json.loads(ws.recv_text()[1:])["sid"]
    for method in ("GET", "POST", "PUT", "OPTIONS"):
        answer = requests.request(method, f"{witness.url}{PATH}polling&sid={sid}", data="40", timeout=10)
        assert answer.status_code == (204 if method == "OPTIONS" else 400)
    ws.text("40")
    assert ws.recv_text().startswith("40{")


@pytest.mark.parametrize("count", [65, 1000, 2**31, 2**53, 10**30])
def test_cve_2026_33151_attachments_are_few(witness, count):
    refused(witness, '45%d-["x",{"_placeholder":true,"num":0}]' % count)


@pytest.mark.parametrize("packet", ['450-["x"]', '450-["x",{"_placeholder":true,"num":0}]', "460-1[]"])
def test_cve_2026_69185_a_binary_packet_without_attachments_waits_for_none(witness, packet):
    ws = WebSocket(witness)
    ws.join("mallory")
    ws.text(packet)
    # It is refused, or whole: an attachment would be one of nothing.
    ws.send(ws.frame(0x82, b"x"))
    assert ws.close_code() == 1002


def test_cve_2026_48804_what_waits_for_attachments_goes_with_its_client_and_is_bounded(witness):
    before = witness.rss()
    for n in range(60):
        ws = WebSocket(witness)
        if n % 2:
            ws.join("mallory")
        else:
            ws.connect()
        ws.text('452-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
        ws.send(ws.frame(0x82, b"x" * (1 * MIB if n % 2 else 60_000)))
        ws.close()
    wait_for(lambda: witness.metric("siskin_input_bytes") == 0, what="an empty budget")
    assert witness.rss() - before < 40 * MIB


def test_cve_2026_48802_pongs_start_nothing(witness):
    threads = len(os.listdir(f"/proc/{witness.pid}/task"))
    ws = WebSocket(witness)
    ws.connect()
    ws.send(ws.frame(0x81, b"3") * 1000)
    ws.event("user-join", {"auth": {"token": token("mallory")}}, ack=1)
    assert ws.recv_text().startswith("431[")
    assert len(os.listdir(f"/proc/{witness.pid}/task")) <= threads + 4


@pytest.mark.parametrize("kind", ["application/octet-stream", "text/plain;charset=UTF-8", "__proto__"])
@pytest.mark.parametrize("body", [b"\xff\xfe", b"b!!", b"4\x1e\x1e", b""])
def test_cve_2026_59725_a_bad_post_is_answered_and_holds_no_connection(witness, kind, body):
    raw, session = opened(witness)
    raw.send(f"POST {session} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    assert raw.answer()[0] == 400
    raw.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert raw.answer()[0] == 200
    raw.close()


def test_cve_2025_61765_what_comes_over_redis_is_json_and_never_code(start_siskin, redis_server):
    siskin = start_siskin(WEBSOCKET_MANAGER="redis", WEBSOCKET_REDIS_URL=redis_server.url)
    wait_for(lambda: siskin.ready()[0], what="readiness")
    ann = WebSocket(siskin, timeout=30)
    ann.join("ann")
    bus = redis.Redis.from_url(redis_server.url)
    message = {"method": "emit", "event": "x", "data": [1], "namespace": "/", "room": "user:ann", "host_id": "h"}
    for evil in (pickle.dumps(message), b"\x80\x04\x95", b"cos\nsystem\n(S'true'\ntR.", b"!!python/object/apply:os.system ['true']"):
        bus.publish("socketio", evil)
        bus.publish("socketio#/#user:ann", evil)
    bus.publish("socketio#/#user:ann", json.dumps(message))
    assert ann.recv_event() == ["x", 1]
    wait_for(lambda: siskin.metric('siskin_refused_total{reason="backplane message"}') >= 4, what="refusals")


def test_cve_2016_10518_a_pong_holds_what_its_ping_held_and_no_more(witness):
    ws = WebSocket(witness)
    ws.connect()
    for size in (0, 1, 125):
        ws.send(ws.frame(0x89, b"p" * size))
        assert ws.recv() == (0x8A, b"p" * size)
    ws.send(ws.frame(0x89, b"p", length=125))
    ws.send(b"q" * 124)
    first, pong = ws.recv()
    assert first == 0x8A and len(pong) == 125


@pytest.mark.parametrize("length", [2**63 - 1, 2**40, 2**32, 16 * MIB + 1])
def test_cve_2016_10542_and_cve_2020_7662_a_frame_that_is_announced_too_large_takes_no_memory(witness, length):
    ws = WebSocket(witness)
    ws.join("mallory")
    ws.send(ws.frame(0x82, b"", length=length))
    assert ws.close_code() == 1009


@pytest.mark.parametrize("name", ["Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol", "Sec-WebSocket-Key", "Upgrade"])
@pytest.mark.parametrize("value", ["constructor", "__proto__;a=__proto__", "b" + " " * 12_000 + "x", '"' + "\\" * 12_000, ";,=" * 4000])
def test_cve_2021_32640_and_ghsa_5v72_xg48_5rpm_header_values_cost_nothing(witness, name, value):
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", name: value}
    raw = Raw(witness)
    raw.send((f"GET {PATH}websocket HTTP/1.1\r\nHost: x\r\n" + "".join(f"{key}: {text}\r\n" for key, text in headers.items()) + "\r\n").encode())
    status, answered = raw.head()
    assert status in (101, 400, 431) and "sec-websocket-extensions" not in answered
    raw.close()


@pytest.mark.parametrize("lines", [101, 2001])
def test_cve_2024_37890_more_header_lines_than_there_may_be_are_refused(witness, lines):
    raw = Raw(witness)
    raw.send((f"GET {PATH}websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" + "a: b\r\n" * lines + "\r\n").encode())
    try:
        assert raw.head()[0] == 431
    except (EOFError, ConnectionError):
        pass


def test_cve_2026_45736_a_close_says_no_more_than_its_reason(witness):
    ws = WebSocket(witness)
    ws.join("mallory")
    ws.text("42[]")
    while (frame := ws.recv())[0] != 0x88:
        pass
    assert len(frame[1]) == 2 + len(frame[1][2:].decode()) <= 125


def test_cve_2026_48779_tiny_fragments_cost_their_bytes(witness):
    before, flood = witness.rss(), 200_000
    ws = WebSocket(witness, timeout=60)
    ws.join("mallory")
    ws.send(ws.frame(0x01, b"4"))
    ws.send(ws.frame(0x00, b"x") * flood)
    ws.send(ws.frame(0x89, b"there?"))
    while ws.recv() != (0x8A, b"there?"):
        pass
    assert witness.rss() - before < 16 * MIB
    for _ in range(2):
        ws.send(ws.frame(0x00, b"") * flood)
    ws.send(ws.frame(0x89, b"still?"))
    while ws.recv() != (0x8A, b"still?"):
        pass
    assert witness.rss() - before < 16 * MIB
    ws.close()


def test_cve_2023_43669_a_long_head_is_read_once(witness):
    """It cost minutes of CPU to whom it came in many pieces."""
    raw = Raw(witness, timeout=30)
    raw.send(f"GET {PATH}websocket HTTP/1.1\r\nHost: x\r\nX: ".encode())
    try:
        for _ in range(20_000):
            raw.send(b"y" * 50)
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert not (ended := raw.ended()) or ended.startswith(b"HTTP/1.1 431")


# hyper: what one reader of HTTP takes in another way than the next.


@pytest.mark.parametrize(
    "lines",
    [
        "Content-Length: +3",  # RUSTSEC-2021-0078, CVE-2021-32715
        "Content-Length: 3, 4",
        "Content-Length: 0x3",
        "Content-Length : 3",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",  # RUSTSEC-2021-0020, CVE-2021-21299
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: \x0bchunked",
    ],
)
def test_rustsec_2021_0020_and_2021_0078_a_length_that_can_be_read_in_two_ways_is_refused(witness, lines):
    raw, session = opened(witness)
    raw.send(f"POST {session} HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n3\r\n4xx\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n".encode("latin-1"))
    answer = raw.ended()
    assert answer.count(b"HTTP/1.1 ") <= 1 and b'"status":"ok"' not in answer
    assert not answer or answer.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("size", ["ffffffffffffffff3", "10000000000000003", "-3", "0x3"])
def test_rustsec_2021_0079_a_chunks_size_does_not_overflow(witness, size):
    raw, session = opened(witness)
    raw.send(f"POST {session} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\n4xx\r\n0\r\n\r\n".encode())
    assert not (ended := raw.ended()) or ended.startswith(b"HTTP/1.1 400")


def test_rustsec_2020_0008_a_get_with_a_body_is_one_request(witness):
    raw = Raw(witness)
    inner = b"GET /api/v1/status HTTP/1.1\r\nHost: x\r\n\r\n"
    raw.send(b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(inner) + inner)
    raw.send(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = raw.ended()
    assert b"401" not in answer and 1 <= answer.count(b'"status":"ok"') <= 2


def test_rustsec_2017_0002_no_value_of_a_client_makes_a_header_line(witness):
    raw = Raw(witness)
    lines = "Origin: http://a\xe9: b\r\nAccess-Control-Request-Headers: x, y\tz: \xff"
    raw.send(f"OPTIONS {PATH}polling HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n".encode("latin-1"))
    head = raw.socket.recv(65536).split(b"\r\n\r\n")[0].decode("latin-1")
    names = {line.partition(":")[0].lower() for line in head.split("\r\n")[1:]}
    assert names <= {"vary", "date", *(f"access-control-{what}" for what in ("allow-origin", "allow-credentials", "allow-methods", "allow-headers", "max-age"))}
    raw.close()


def test_cve_2023_28858_an_answer_of_redis_is_for_who_asked(start_siskin, redis_server):
    """A question that is given up must not leave its answer to the next one (redis-py, cancelled requests)."""
    siskin = start_siskin(WEBSOCKET_MANAGER="redis", WEBSOCKET_REDIS_URL=redis_server.url)
    wait_for(lambda: siskin.ready()[0], what="readiness")

    async def play():
        def one(n):
            ws = WebSocket(siskin, timeout=30)
            ws.connect()
            ws.event("user-join", {"auth": {"token": token(f"user{n}", jti=f"j{n}")}}, ack=n)
            if n % 3 == 0:
                # It leaves while its token is looked up.
                return ws.close()
            assert json.loads(ws.recv_text().removeprefix(f"43{n}")) == [{"id": f"user{n}", "name": f"user{n}"}]
            return ws.close()

        await asyncio.gather(*(asyncio.to_thread(one, n) for n in range(60)))

    asyncio.run(play())
