"""What one client or backend sends that is large, or costs much, beside a stranger who asks every 50 ms."""

import base64
import contextlib
import json
import os
import threading
import time

import pytest
import requests
from siskin import API_KEY, token, wait_for
from stranger import (
    UNOPTIMIZED,
    WORST,
    Stranger,
    document,
    insertion,
    open_document,
    polling,
    post,
    send_update,
    until,
    varint,
)
from wire import WebSocket

MIB = 1 << 20


def member(siskin, user="mallory"):
    ws = WebSocket(siskin, timeout=60)
    ws.join(user)
    return ws


def done(ws):
    """Waits until all that was sent is handled."""
    ws.event("heartbeat", {}, ack=999)
    until(ws, "43999")


def in_words(siskin):
    """Text whose characters take three bytes each, which is slow to check."""
    ws = member(siskin)
    for _ in range(3):
        ws.text('42["mine","' + "€" * (5 * MIB - 20) + '"]')
    done(ws)


def in_fragments(siskin):
    """A message in a million fragments, and one in a few large ones."""
    ws = member(siskin)
    body = b'42["heartbeat","' + b"x" * (12 * MIB) + b'"]'
    ws.send(ws.frame(0x01, body[:16]) + ws.frame(0x00, b"x" * 16) * 300_000 + ws.frame(0x80, b'"]'))
    ws.send(ws.frame(0x01, body[: 6 * MIB]) + ws.frame(0x80, body[6 * MIB :]))
    done(ws)


def in_depth(siskin):
    ws = member(siskin)
    for body in (b"[" * (12 * MIB), b'["x",' + b"[" * 400 + b"[]," * (3 * MIB) + b"0" + b"]" * 401):
        ws.send(ws.frame(0x81, b"42" + body[: 15 * MIB]))
        with contextlib.suppress(EOFError, ConnectionError):
            done(ws)
        ws = member(siskin)


def in_fields(siskin):
    """Objects of a million fields, for events that want two of them."""
    ws = member(siskin)
    fields = ",".join(f'"{n}":{n}' for n in range(900_000))
    for name in ("usage", "events:chat", "events:channel", "join-channels", "ydoc:awareness:update", "user-join"):
        ws.text(f'42["{name}",{{{fields}}}]')
    done(ws)


def in_attachments(siskin):
    ws = member(siskin)
    places = ",".join('{"_placeholder":true,"num":%d}' % n for n in range(64))
    for _ in range(3):
        ws.text(f'4564-["x",{places}]')
        for _ in range(64):
            ws.send(ws.frame(0x82, bytes(200_000)))
    done(ws)


def in_placeholders(siskin):
    ws = member(siskin)
    ws.text('451-["x","' + '\\"_placeholder' * 900_000 + '",{"_placeholder":true,"num":0}]')
    ws.send(ws.frame(0x82, b"x"))
    done(ws)


def in_base64(siskin):
    raw, sid = polling(siskin, "mallory")
    body = b'451-["x",{"_placeholder":true,"num":0}]\x1eb' + base64.b64encode(bytes(11 * MIB))
    for _ in range(3):
        post(raw, sid, body)
        assert raw.answer()[0] == 200


def in_payload(siskin):
    """A body of packets that are large, but not each large enough."""
    raw, sid = polling(siskin, "mallory")
    packet = b'42["heartbeat",' + b"[]," * 80_000 + b"0]"
    for _ in range(2):
        post(raw, sid, b"\x1e".join([packet] * 60))
        assert raw.answer()[0] == 200


def in_blocks(siskin):
    """Updates of 100,000 blocks, which takes a merge long; then the state, again and again."""
    ws = open_document(siskin, "mallory")
    for n in range(4):
        # Each character has the one before it as its left neighbour, and so is a block of its own.
        blocks = b"\1" + varint(24_000) + varint(n + 1) + b"\0" + b"\4\1\1t\1x" + b"".join(
            b"\x84" + varint(n + 1) + varint(clock) + b"\1x" for clock in range(23_999)
        )
        send_update(ws, blocks + b"\0", n + 2)
        until(ws, f"43{n + 2}")
    for n in range(6):
        ws.event("ydoc:document:state", {"document_id": "big"}, ack=10 + n)
        until(ws, f"43{10 + n}")
    late = [open_document(siskin, f"late{n}") for n in range(3)]
    assert late


def in_updates(siskin):
    """As long a document as there may be, each piece of which goes to everybody who has it open."""
    ws = open_document(siskin, "mallory")
    readers = [open_document(siskin, f"ann{n}") for n in range(10)]
    for n in range(4):
        send_update(ws, insertion(450_000, client=n + 1), n + 2)
    for reader in readers:
        reader.socket.settimeout(60)
    until(ws, "435")


def in_numbers(siskin):
    """The same as an array of numbers, with content to be saved."""
    ws = open_document(siskin, "mallory")
    update = list(insertion(1_500_000))
    content = {"md": "x" * 100, "more": list(range(500_000))}
    for n in range(3):
        ws.event("ydoc:document:update", {"data": {"content": content}, "update": update, "document_id": "big"}, ack=n + 2)
    until(ws, "434")


def in_seeds(siskin):
    ws = document(siskin, "mallory", 1_900_000)
    for n in range(3):
        send_update(ws, insertion(1_900_000, client=7), 10 + n, initialize=True)
    until(ws, "4312")


def in_joins(siskin):
    """Many open a large document at once, and don't read."""
    document(siskin, "mallory", 1_900_000)
    sockets = [member(siskin, f"u{n}") for n in range(60)]
    for ws in sockets:
        ws.event("ydoc:document:join", {"document_id": "big"})
    time.sleep(6)


def in_cursors(siskin):
    """The largest cursor, for many."""
    ws = open_document(siskin, "mallory")
    readers = [open_document(siskin, f"ann{n}") for n in range(150)]
    for _ in range(20):
        ws.event("ydoc:awareness:update", {"document_id": "big", "update": [255] * 65536})
    done(ws)
    assert readers


def in_connects(siskin):
    """CONNECT with as much as there may be, and for namespaces without end."""
    ws = member(siskin)
    ws.text("40/x," + json.dumps({"token": "x" * 200_000}))
    for n in range(20_000):
        ws.send(ws.frame(0x81, b"40/%d," % n))
        if n % 100 == 99:
            done(ws)
    big = member(siskin)
    big.text("40/y," + json.dumps({"token": "x" * (15 * MIB)}))
    with contextlib.suppress(EOFError, ConnectionError):
        done(big)


def over_the_api(siskin):
    """A backend's large bodies and long lines."""
    ws = member(siskin, "zoe")
    numbers = list(range(1_500_000))
    siskin.api("POST", "/emit", json={"user_id": "zoe", "event": "files", "data": numbers})
    headers = {"Authorization": f"Bearer {API_KEY}"}
    answer = requests.post(f"{siskin.url}/api/v1/emit", data="[" * (12 * MIB), headers=headers, timeout=60)
    assert answer.status_code == 400 or answer.status_code == 422
    assert ws.recv_event()[0] == "files"


def in_lines(siskin):
    """A backend's lines and events of many MB, in words and in numbers, to who hears them with a number, too."""
    ws = member(siskin, "zoe")
    again = WebSocket(siskin, timeout=60)
    again.text("40" + json.dumps({"token": token("zoe"), "recover": True}))
    assert "pid" in until(again, "40")
    got = {reader: [] for reader in (ws, again)}

    def read(reader):
        while len(got[reader]) < 5:
            got[reader].append(reader.recv_event()[1]["data"])

    readers = [threading.Thread(target=read, args=(reader,)) for reader in got]
    for thread in readers:
        thread.start()
    events = [{"type": "x", "data": "w" * (12 * MIB)}, {"type": "x", "data": list(range(1_500_000))}]

    def heard(count):
        wait_for(lambda: all(len(those) == count for those in got.values()), seconds=60, what="the event")

    def lines():
        for n, event in enumerate(events):
            yield json.dumps(event).encode() + b"\n"
            heard(n + 1)
        yield b"[" * (12 * MIB) + b"\n" + json.dumps(events[0]).encode()

    headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/x-ndjson"}
    url = f"{siskin.url}/api/v1/chat/stream?user_id=zoe&chat_id=local:x&message_id=m"
    answer = requests.post(url, data=lines(), headers=headers, timeout=120).json()
    assert (answer["emitted"], answer["delivered"], answer["bad"], answer["lines"]) == (3, 6, 1, 4), answer
    assert answer["bad_lines"] == [{"line": 3, "detail": "nested too deep"}]
    for n, event in enumerate(events):
        heard(n + 3)
        message = {"user_id": "zoe", "chat_id": "local:x", "message_id": "m", "event": event}
        assert siskin.api("POST", "/chat/event", json=message).json()["delivered"] == 2
    for thread in readers:
        thread.join(60)
    assert list(got.values()) == [[*events, events[0], *events]] * 2


def in_saves(siskin):
    """A backend's events of many MB to a message that is saved and that others watch: read, copied and saved."""
    siskin.api("PUT", "/users/zoe", json={"name": "zoe"})
    siskin.api("PUT", "/chats/c", json={"user_id": "zoe"})
    siskin.api("PUT", "/chats/c/messages/m", json={"role": "assistant", "content": ""})
    ws = member(siskin, "zoe")
    numbers, words = list(range(500_000)), "w" * (3 * MIB)
    events = [
        ("message", {"content": words}, "yes"),
        ("files", {"files": [{"id": "f", "numbers": numbers}]}, "yes"),
        # A small one finds a large message.
        ("status", {"description": "done"}, "yes"),
        ("chat:completion", {"content": words, "sources": numbers}, "no"),
        ("response:completion", {"type": "response.completed", "response": {"output": [{"text": words}]}}, "no"),
    ]
    for kind, data, saved in events:
        message = {"user_id": "zoe", "chat_id": "c", "message_id": "m", "event": {"type": kind, "data": data}}
        assert siskin.api("POST", "/chat/event", json=message).json() == {"delivered": 1, "saved": saved}, kind
        assert ws.recv_event()[1]["data"] == message["event"]


def in_notes(siskin):
    """Events about notes and channels that are far larger than any note: nobody here has a use for what they say."""
    ws = member(siskin, "zoe")
    numbers = {"id": "x", "data": {"type": "x", "content": list(range(1_500_000))}}
    for name in ("events:note", "note-events", "events:channel"):
        for to in ({"room": "note:x"}, {"room": "channel:x"}, {"user_id": "zoe"}):
            siskin.api("POST", "/emit", json={**to, "event": name, "data": numbers})
        assert ws.recv_event()[0] == name


def to_thousands(siskin):
    """A large event for many."""
    sockets = [member(siskin, "zoe") for _ in range(1500)]
    ended = threading.Event()

    def read(some):
        while not ended.is_set():
            for ws in some:
                ws.socket.setblocking(False)
                with contextlib.suppress(OSError):
                    while ws.socket.recv(1 << 20):
                        pass
            time.sleep(0.01)

    thread = threading.Thread(target=read, args=(sockets,), daemon=True)
    thread.start()
    for _ in range(10):
        siskin.api("POST", "/emit", json={"user_id": "zoe", "event": "files", "data": "x" * 20_000})
    time.sleep(2)
    ended.set()
    thread.join()


ATTACKS = [
    in_words,
    in_fragments,
    in_depth,
    in_fields,
    in_attachments,
    in_placeholders,
    in_base64,
    in_payload,
    in_blocks,
    in_updates,
    in_numbers,
    in_seeds,
    in_joins,
    in_cursors,
    in_connects,
    over_the_api,
    in_lines,
    in_saves,
    in_notes,
    to_thousands,
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_nobody_is_held_up(start_siskin, attack):
    siskin = start_siskin(SISKIN_EVENTS_PER_SECOND="0", SISKIN_LOG=os.environ.get("SISKIN_LOG", "info"))
    stranger = Stranger(siskin)
    attack(siskin)
    # So that there is something to compare, if it was over soon.
    time.sleep(1)
    # One large message or document takes an unoptimized build long, wherever it is worked on.
    stranger.worst(2 if UNOPTIMIZED else WORST)
    for line in siskin.lines:
        if "everybody else waited" in line:
            print(line)
