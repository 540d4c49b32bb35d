"""What has begun and is not finished has one bound for all, and those who have signed in don't notice who is over it."""

import base64
import json
import os
import threading
import time

import pytest
from siskin import wait_for
from stranger import Stranger, polling, post, until
from wire import PATH, Raw, WebSocket

MiB = 1 << 20
BUDGET = 8 * MiB
MANY = 1000
# What a connection and its session cost beside what it sends; an unoptimized build costs more.
EACH = (40 if "/debug/" in os.environ.get("SISKIN_BIN", "/debug/") else 24) << 10
LARGE = 900_000
ATTACHED = '451-["x",{"_placeholder":true,"num":0}]'


@pytest.fixture
def small(start_siskin):
    return start_siskin(SISKIN_INPUT_BYTES=BUDGET, SISKIN_EVENTS_PER_SECOND="0", SISKIN_MAX_CONNECTIONS_PER_ADDRESS="5000")


def anonymous(siskin):
    ws = WebSocket(siskin, timeout=60)
    ws.connect()
    return ws


def half_a_frame(siskin):
    ws = anonymous(siskin)
    ws.send(ws.frame(0x81, b"x" * 50_000, length=60_000))
    return ws


def fragments(siskin):
    ws = anonymous(siskin)
    for n in range(25):
        ws.send(ws.frame(0x00 if n else 0x01, b"x" * 2000))
    return ws


def attachments(siskin):
    ws = anonymous(siskin)
    ws.text('452-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
    ws.send(ws.frame(0x82, b"\4" * 50_000))
    return ws


def body_by_length(siskin):
    raw, sid = polling(siskin)
    raw.send(f"POST {PATH}polling&sid={sid} HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n".encode() + b"x" * 50_000)
    return raw


def body_in_chunks(siskin):
    raw, sid = polling(siskin)
    raw.send(f"POST {PATH}polling&sid={sid} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    raw.send(b"c350\r\n" + b"x" * 50_000)
    return raw


def head(siskin):
    raw = Raw(siskin, timeout=60)
    raw.send(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 15_000)
    return raw


KINDS = [half_a_frame, fragments, attachments, body_by_length, body_in_chunks, head]


@pytest.mark.parametrize("begin", KINDS)
def test_a_thousand_who_finish_nothing_take_no_more_than_the_budget(small, begin):
    writer = WebSocket(small, timeout=60)
    writer.join("ann")
    # A member's large message, begun before all others, and one of a polling member.
    event = writer.frame(0x81, b'427["x","' + b"y" * 3_000_000 + b'"]')
    writer.send(event[:1_000_000])
    raw, sid = polling(small, "bob")
    body = b'42["x","' + b"y" * 100_000 + b'"]'
    raw.send(f"POST {PATH}polling&sid={sid} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:50_000])
    wait_for(lambda: small.metric("siskin_input_bytes") > 1_000_000, what="the member's part")
    before, stranger = small.rss(), Stranger(small)
    held, most = [], 0
    for _ in range(MANY):
        held.append(begin(small))
        most = max(most, small.rss() - before)
    used = small.metric("siskin_input_bytes")
    print(f"{begin.__name__}: {most / MiB:.1f} MiB more at most, {used / MiB:.1f} MiB counted at the end")
    assert used <= BUDGET
    assert most < BUDGET + MANY * EACH
    stranger.worst()
    assert small.metric("siskin_input_ended_total") > 100
    # Those who have signed in finish what they have begun.
    writer.send(event[1_000_000:])
    writer.event("heartbeat", {}, ack=9)
    wait_for(lambda: writer.recv_text().startswith("439"), what="the answer")
    raw.send(body[50_000:])
    assert raw.answer() == (200, b"ok")
    for one in held:
        one.close()
    wait_for(lambda: small.metric("siskin_input_bytes") == 0, what="an empty budget")


def test_a_strangers_large_message_is_refused_at_its_head(siskin):
    ws = anonymous(siskin)
    ws.send(ws.frame(0x81, b"", length=15 * MiB))
    assert ws.close_code() == 1009
    ws = anonymous(siskin)
    ws.text(ATTACHED)
    ws.send(ws.frame(0x82, b"", length=65_537))
    assert ws.close_code() == 1009
    ws = anonymous(siskin)
    ws.send(ws.frame(0x01, b"x" * 40_000) + ws.frame(0x00, b"x" * 30_000))
    assert ws.close_code() == 1009
    ws = anonymous(siskin)
    ws.text('452-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
    ws.send(ws.frame(0x82, b"x" * 40_000) * 2)
    assert ws.close_code() == 1002
    raw, sid = polling(siskin)
    raw.send(f"POST {PATH}polling&sid={sid} HTTP/1.1\r\nHost: x\r\nContent-Length: {15 * MiB}\r\n\r\n".encode())
    assert raw.answer()[0] == 413
    raw, sid = polling(siskin)
    raw.send(f"POST {PATH}polling&sid={sid} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nf00000\r\n".encode())
    raw.send(b"x" * 70_000)
    assert raw.answer()[0] == 413


def test_who_signs_in_may_send_more_at_once(siskin):
    large = "y" * 200_000
    ws = WebSocket(siskin)
    assert ws.recv_text().startswith("0{")
    # In one write: whoever has signed in with the first is believed with the second.
    ws.send(ws.frame(0x81, f'40{{"token":"{siskin.token("ann")}"}}'.encode()) + ws.frame(0x81, f'421["x","{large}"]'.encode()))
    ws.event("heartbeat", {}, ack=2)
    wait_for(lambda: ws.recv_text().startswith("432"), what="the answer")
    # Who leaves the namespace is a stranger again.
    ws.text("41")
    ws.send(ws.frame(0x81, b"", length=100_000))
    assert ws.close_code() == 1009


def message(siskin, n):
    ws = WebSocket(siskin, timeout=60)
    ws.join(f"user{n}")
    in_steps(ws, ws.frame(0x81, b'421["x","' + b"y" * LARGE + b'"]') + ws.frame(0x81, b'422["heartbeat",{}]'))
    until(ws, "432")


def in_steps(ws, sent):
    for at in range(0, len(sent), 50_000):
        ws.send(sent[at : at + 50_000])
        time.sleep(0.01)


def large_post(siskin, n):
    raw, sid = polling(siskin, f"user{n}")
    post(raw, sid, b'42["x","' + b"y" * LARGE + b'"]')
    assert raw.answer() == (200, b"ok")


def post_of_three(siskin, n):
    """Each large alone, one of them an attachment."""
    raw, sid = polling(siskin, f"user{n}")
    text = b'42["x","' + b"y" * (LARGE // 3) + b'"]'
    packets = [text, ATTACHED.encode(), b"b" + base64.b64encode(bytes(LARGE // 4)), text]
    post(raw, sid, b"\x1e".join(packets))
    assert raw.answer() == (200, b"ok")


def gathered(siskin, n):
    """A large packet, which waits for its large attachments."""
    ws = WebSocket(siskin, timeout=60)
    ws.join(f"user{n}")
    places = ",".join('{"_placeholder":true,"num":%d}' % n for n in range(2))
    in_steps(ws, ws.frame(0x81, f'452-["x",{places},"{"y" * (LARGE // 3)}"]'.encode()))
    in_steps(ws, ws.frame(0x82, bytes(LARGE // 3)) * 2 + ws.frame(0x81, b'422["heartbeat",{}]'))
    until(ws, "432")


def api_body(siskin, n):
    answer = siskin.api("POST", "/emit", json={"user_id": f"user{n}", "event": "x", "data": "y" * LARGE})
    assert answer.status_code == 200


@pytest.mark.parametrize("kinds", [[message, message, large_post], [post_of_three], [gathered], [api_body, message]])
def test_members_wait_for_room_and_all_get_through(start_siskin, kinds):
    siskin = start_siskin(SISKIN_INPUT_BYTES=2 * MiB, SISKIN_MAX_PAYLOAD_BYTES=MiB, SISKIN_EVENTS_PER_SECOND="0")
    stranger, done = Stranger(siskin), []

    def member(n):
        kinds[n % len(kinds)](siskin, n)
        done.append(n)

    threads = [threading.Thread(target=member, args=(n,), daemon=True) for n in range(12)]
    for thread in threads:
        thread.start()
    most = 0
    while any(thread.is_alive() for thread in threads):
        most = max(most, siskin.metric("siskin_input_bytes"))
    print(f"{kinds[0].__name__}: {most / MiB:.2f} MiB at most")
    assert sorted(done) == list(range(12))
    # One message over what is shared, and one read of each.
    assert most < 2 * MiB + 12 * 64 * 1024
    stranger.worst()
    assert siskin.metric("siskin_input_ended_total") == 0
    wait_for(lambda: siskin.metric("siskin_input_bytes") == 0, what="an empty budget")


def test_what_waits_for_its_attachment_counts(siskin):
    """Also when it was read beside the thread, and nothing has come since."""
    ws = WebSocket(siskin, timeout=60)
    ws.join("ann")
    ws.text('451-["x",{"_placeholder":true,"num":0},"' + "y" * LARGE + '"]')
    wait_for(lambda: siskin.metric("siskin_input_bytes") >= LARGE, what="the packet")
    ws.event("heartbeat", {}, ack=1)
    assert ws.close_code() == 1002
    wait_for(lambda: siskin.metric("siskin_input_bytes") == 0, what="an empty budget")


def test_a_trickle_is_ended(siskin):
    """It waits for half a minute: that much a begun message may take."""
    half, attached = half_a_frame(siskin), anonymous(siskin)
    attached.text(ATTACHED)
    raw = body_by_length(siskin)
    patient = anonymous(siskin)
    ends = []

    def trickle():
        try:
            for one in [half, raw] * 60:
                one.send(b"x")
                time.sleep(0.5)
        except OSError:
            pass

    threading.Thread(target=trickle, daemon=True).start()
    for ws in (half, attached):
        ends.append(ws.close_code())
    assert ends == [1008, 1008]
    assert raw.answer()[0] == 400
    patient.text("40/other,")
    assert "Invalid namespace" in patient.recv_text()


def test_a_long_namespace_is_not_sent_back(siskin):
    ws = anonymous(siskin)
    ws.text("40/" + "n" * 50_000 + ",")
    assert ws.close_code() == 1002


def test_ipv6_counts_by_64(start_siskin):
    siskin = start_siskin(SISKIN_MAX_CONNECTIONS_PER_ADDRESS="2", SISKIN_TRUSTED_PROXIES="127.0.0.1")
    opened = []
    for address in ["2001:db8::1", "2001:db8::ffff:2", "2001:db8::3", "2001:db8:0:1::1"]:
        raw = Raw(siskin)
        raw.send(f"GET {PATH}polling HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {address}\r\n\r\n".encode())
        status, body = raw.answer()
        opened.append(status)
        assert status == 503 or json.loads(body[1:])["sid"]
    assert opened == [200, 200, 503, 200]
