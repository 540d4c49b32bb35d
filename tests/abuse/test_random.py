"""Packets, payloads and requests at random, most of them nearly good: no panic, nothing left, and a witness who notices nothing.

Ten seconds by default, SISKIN_FUZZ_SECONDS=300 for longer; SISKIN_SEED for other packets.
"""

import base64
import json
import os
import socket
import threading
import time

import pytest
import requests

from siskin import API_KEY, chance, token, wait_for
from wire import PATH, Raw, WebSocket

SECONDS = float(os.environ.get("SISKIN_FUZZ_SECONDS", "10"))
ENDED = (EOFError, OSError)
pytestmark = pytest.mark.timeout(SECONDS + 120)

CHAT = {"chat_id": "chat1", "data": {"type": "join"}}
EVENTS = [
    ["user-join", {"auth": {"token": token("mallory")}}],
    ["join-channels", {"auth": {"token": token("mallory")}}],
    ["join-note", {"auth": {"token": token("mallory")}, "note_id": "n1"}],
    ["heartbeat", {}],
    ["usage", {"model": "m1"}],
    ["events:channel", {"channel_id": "c1", "message_id": "m", "data": {"type": "typing", "data": {"typing": True}}}],
    ["events:channel", {"channel_id": "c1", "data": {"type": "last_read_at"}}],
    ["events:chat", CHAT],
    ["events:chat", {"chat_id": "chat1", "data": {"type": "typing", "data": {"typing": True}}}],
    ["events:chat", {"chat_id": "chat1", "data": {"type": "last_read_at"}}],
    ["ydoc:document:join", {"document_id": "note:n1", "user_color": "#000"}],
    ["ydoc:document:join", {"document_id": "d1"}],
    ["ydoc:document:state", {"document_id": "d1"}],
    ["ydoc:document:update", {"document_id": "d1", "update": [1, 1, 7, 0, 4, 1, 1, 116, 2, 104, 105, 0], "initialize": True}],
    ["ydoc:document:update", {"document_id": "note:n1", "update": [0, 0], "data": {"content": {"md": "x"}}}],
    ["ydoc:document:leave", {"document_id": "d1"}],
    ["ydoc:awareness:update", {"document_id": "d1", "update": {"_placeholder": True, "num": 0}}],
    ["mallory:s:r", {"choices": [1]}],
    ["é🦜\u0000", None, [[[[]]]], 1e308, "\ud83e\udd9c"],
]
PACKETS = [b"40", b"41", b"2", b"3", b"6", b"1", b"40/x,{}", b"430[1]", b'4/a?b=c,["x"]', b"461-1[{}]"] + [
    head + json.dumps(event).encode() for event in EVENTS for head in (b"42", b"427", b"451-", b"452-/x,9")
]
EVENT = {"type": "message", "data": {"content": "x"}}
PLACE = {"user_id": "mallory", "chat_id": "chat1", "message_id": "m1"}
REQUESTS = [
    ("POST", "/emit", {"event": "e", "data": [1], "user_id": "mallory", "skip_sid": ["x"]}),
    ("POST", "/chat/event", {**PLACE, "event": EVENT}),
    ("POST", "/chat/stream?user_id=mallory&chat_id=chat1&message_id=m1", EVENT),
    ("POST", "/chat/call", {**PLACE, "session_id": "x" * 20, "event": {"type": "input"}, "timeout": 0.01}),
    ("GET", "/rooms?prefix=doc&after=a&limit=3", None),
    ("GET", "/sessions?user_id=mallory", None),
    ("PUT", "/users/mallory", {"name": "M", "role": "user"}),
    ("PUT", "/channels/c1", {"name": "C", "members": ["mallory"]}),
    ("PUT", "/channels/c1/members/mallory", None),
    ("PUT", "/notes/n1", {"user_id": "mallory", "data": {"content": {"md": "x"}}}),
    ("PATCH", "/notes/n1", {"title": "T", "data": {"content": {"json": {"type": "doc"}}}}),
    ("GET", "/notes/n1/versions", None),
    ("POST", "/notes/n1/versions/1/restore", None),
    ("PUT", "/chats/chat1", {"user_id": "mallory", "access_grants": []}),
    ("PUT", "/chats/chat1/messages/m1", {"content": "x"}),
    ("GET", "/chats/chat1/messages?limit=1", None),
    ("DELETE", "/chats/chat1", None),
    ("DELETE", "/notes/n1", None),
    ("GET", "/streams/mallory:s:r?wait=0", None),
    ("PUT", "/streams/mallory:s:r", None),
    ("GET", "/status", None),
    ("GET", "/log?after=1", None),
]
SPICE = [b"\x00", b"\xff", b"\x1e", b'"', b"\\", b"\\ud800", b"[", b"]", b"{", b"}", b"-", b"%", b"%00", b"9" * 20, b"1e999", b"[" * 200, b"\xf0\x9f\xa6\x9c", b":"]


def spoil(chance, data):
    """Often as it was, else with a few bytes changed, gone, doubled, moved, or added."""
    data = bytearray(data)
    for _ in range(chance.choice([0, 0, 1, 1, 2, 5])):
        at, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
        match chance.randrange(6):
            case 0:
                data[at:at] = chance.choice(SPICE)
            case 1 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = data[at:end]
            case 4:
                data[at:end] = chance.choice(SPICE)
            case _:
                data[at : at + 1] = chance.randbytes(chance.randrange(4))
    return bytes(data)


def over_websocket(siskin, chance):
    ws = WebSocket(siskin, timeout=40)
    if chance.random() < 0.9:
        ws.text("40" + json.dumps({"token": token("mallory")}) if chance.random() < 0.9 else "40")
    for _ in range(chance.randrange(1, 40)):
        packet = spoil(chance, chance.choice(PACKETS))
        kind = chance.choices([0x81, 0x82, 0x01, 0x80, 0x88, 0x89, chance.randrange(256)], [60, 8, 3, 3, 1, 3, 1])[0]
        frame = ws.frame(kind, packet)
        ws.send(spoil(chance, frame) if chance.random() < 0.02 else frame)
    if chance.random() < 0.5:
        # Whatever came is read, and whatever was sent is handled or refused.
        ws.send(ws.frame(0x88, b"\x03\xe8"))
        ws.ended()
    ws.close()


def over_polling(siskin, chance):
    with requests.Session() as http:
        url = siskin.url + PATH + "polling"
        opened = http.get(url, timeout=40)
        url += "&sid=" + json.loads(opened.text.split("\x1e")[0][1:])["sid"]
        for _ in range(chance.randrange(1, 6)):
            packets = [chance.choice(PACKETS) for _ in range(chance.randrange(1, 8))]
            packets.append(b"b" + base64.b64encode(chance.randbytes(9)))
            answer = http.post(url, data=spoil(chance, b"\x1e".join(packets)), timeout=40)
            assert answer.status_code in (200, 400), answer.text
            if answer.status_code == 400:
                return
        http.get(url, timeout=40)


def over_api(siskin, chance):
    raw = Raw(siskin, timeout=5)
    for _ in range(chance.randrange(1, 5)):
        method, path, body = chance.choice(REQUESTS)
        path = spoil(chance, path.encode()).translate(None, b" \r\n") or b"/"
        body = b"" if body is None else spoil(chance, json.dumps(body).encode())
        lines = [
            method.encode() + b" /api/v1" + path + b" HTTP/1.1",
            b"Host: x",
            b"Authorization: Bearer " + API_KEY.encode(),
            b"Content-Length: %d" % len(body),
        ]
        raw.send(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        status, headers = raw.head()
        assert 200 <= status < 500 or status in (503, 504), (status, method, path, body)
        if "content-length" in headers:
            raw.read(int(headers["content-length"]))
        if headers.get("connection") == "close":
            break
    raw.close()


def over_tcp(siskin, chance):
    raw = Raw(siskin, timeout=40)
    head = f"GET {PATH}polling HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4\r\nOrigin: http://x\r\nContent-Length: 3\r\n\r\n40\r"
    raw.send(spoil(chance, spoil(chance, head.encode())))
    raw.socket.shutdown(socket.SHUT_WR)
    raw.ended()
    raw.close()


class Witness:
    """Gets numbered events and an ack for each of its own; nothing else may come."""

    def __init__(self, siskin):
        self.siskin, self.number = siskin, 0
        self.ws = WebSocket(siskin, timeout=30)
        self.ws.join("witness")

    def look(self):
        self.number += 1
        self.siskin.api("POST", "/emit", {"user_id": "witness", "event": "tick", "data": self.number})
        assert self.ws.recv_text() == f'42["tick",{self.number}]'
        self.ws.event("user-join", {"auth": {"token": token("witness")}}, ack=self.number)
        assert self.ws.recv_text().startswith(f"43{self.number}[")


def test_at_random(start_siskin):
    # Whoever sends half a frame is gone after ten seconds.
    beat = {"WEBSOCKET_SERVER_PING_INTERVAL": "2", "WEBSOCKET_SERVER_PING_TIMEOUT": "8"}
    siskin = start_siskin(SISKIN_EVENTS_PER_SECOND="0", SISKIN_LOG="error", **beat)
    witness = Witness(siskin)
    faults, done = [], dict.fromkeys((over_websocket, over_polling, over_api, over_tcp), 0)
    end = time.monotonic() + SECONDS

    def work(way):
        choices = chance(way.__name__)
        while time.monotonic() < end and not faults:
            try:
                way(siskin, choices)
            except (TimeoutError, requests.Timeout):
                # A question to a browser, or a stream, may be one that waits for long.
                if way is not over_api:
                    faults.append(f"{way.__name__} {done[way]}: no answer")
            except ENDED:
                pass
            except BaseException as fault:
                faults.append(f"{way.__name__} {done[way]}: {fault!r}")
                raise
            done[way] += 1

    threads = [threading.Thread(target=work, args=(way,)) for way in done]
    for thread in threads:
        thread.start()
    halfway = None
    while any(thread.is_alive() for thread in threads):
        witness.look()
        if halfway is None and time.monotonic() > end - SECONDS / 2:
            halfway = siskin.rss()
    print({way.__name__: count for way, count in done.items()}, "RSS", halfway, siskin.rss())
    assert not faults, faults
    assert min(done.values()) > 0
    for session in siskin.api("GET", "/sessions?limit=10000").json()["sessions"]:
        if session["user"] is None or session["user"]["id"] != "witness":
            siskin.api("DELETE", f"/sessions/{session['sid']}", ok=False)
    wait_for(lambda: siskin.metric("siskin_sockets") == 1, what="a lonely witness")
    status = lambda: siskin.api("GET", "/status").json()  # noqa: E731
    wait_for(lambda: (status()["documents"], status()["models"], status()["rooms"]) == (0, 0, 1), what="an empty house")
    witness.look()
    assert siskin.rss() < 100 << 20
