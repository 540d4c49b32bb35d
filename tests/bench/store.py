"""The store: events a second that are persisted with group commit, what a commit writes, and that idle writes nothing.

Run by `make bench`, or alone: `tests/.venv/bin/python tests/bench/store.py [--idle SECONDS]`. Needs a release build.
"""

import argparse
import http.client
import json
import os
import pathlib
import tempfile
import threading
import time

from bench import API_KEY, Client, Siskin

HEADERS = {"Authorization": f"Bearer {API_KEY}"}
WRITERS = 16
EVENTS = 1000
LINES = 20_000


def ask(connection, method, path, body=None):
    """One request on a connection that stays open; text is lines of JSON."""
    lines = isinstance(body, str)
    headers = {**HEADERS, "Content-Type": "application/x-ndjson" if lines else "application/json"}
    connection.request(method, "/api/v1" + path, body if lines else json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status < 300, (answer.status, text)
    return json.loads(text) if text else None


def prepare(peer):
    connection = http.client.HTTPConnection("127.0.0.1", peer.port)
    ask(connection, "PUT", "/users/bench", {"name": "bench"})
    ask(connection, "PUT", "/chats/c", {"user_id": "bench"})
    for number in range(WRITERS):
        ask(connection, "PUT", f"/chats/c/messages/m{number}", {"content": ""})
    return connection


def place(number):
    return {"user_id": "bench", "chat_id": "c", "message_id": f"m{number}"}


def written(peer):
    """Bytes that the kernel sent to the disk for it."""
    for line in pathlib.Path(f"/proc/{peer.process.pid}/io").read_text().splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])


def figures(peer, work, events):
    """Seconds, CPU microseconds an event, bytes written an event, of `work`."""
    began, cpu, wrote = time.perf_counter(), peer.cpu_ns(), written(peer)
    work()
    seconds = time.perf_counter() - began
    return seconds, (peer.cpu_ns() - cpu) / events / 1000, (written(peer) - wrote) / events


def acknowledged(peer):
    """Writers that each wait for the disk before the next event: they share commits."""

    def write(number):
        connection = http.client.HTTPConnection("127.0.0.1", peer.port)
        for _ in range(EVENTS):
            event = {"type": "message", "data": {"content": "token "}}
            assert ask(connection, "POST", "/chat/event", {**place(number), "event": event})["saved"] == "yes"

    def all_write():
        writers = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()

    return figures(peer, all_write, WRITERS * EVENTS)


def streamed(peer, connection):
    """One answer of many tokens, acknowledged at its end."""
    line = json.dumps({"type": "message", "data": {"content": "token "}})
    body = "\n".join([line] * LINES)

    def write():
        told = ask(connection, "POST", "/chat/stream?user_id=bench&chat_id=c&message_id=m0", body)
        assert told["saved"] == LINES, told

    return figures(peer, write, LINES)


def one_sync():
    """Milliseconds of an fsync of a page on this disk."""
    with tempfile.TemporaryFile(dir=tempfile.gettempdir()) as file:
        began = time.perf_counter()
        for _ in range(100):
            os.pwrite(file.fileno(), os.urandom(4096), 0)
            os.fdatasync(file.fileno())
        return (time.perf_counter() - began) * 10


def idle(peer, seconds):
    """Bytes written while signed-in sockets are open and nothing happens."""
    clients = [Client(peer) for _ in range(20)]
    time.sleep(3)
    before = written(peer)
    time.sleep(seconds)
    after = written(peer)
    for client in clients:
        client.close()
    return after - before


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--idle", type=int, default=60)
    args = parser.parse_args()
    print(f"one fdatasync of a page: {one_sync():.2f} ms")
    peer = Siskin()
    connection = prepare(peer)
    for name, count, (seconds, cpu, wrote) in [
        (f"{WRITERS} writers, each event acknowledged as saved", WRITERS * EVENTS, acknowledged(peer)),
        ("one stream, acknowledged at its end", LINES, streamed(peer, connection)),
    ]:
        print(f"{name}: {count / seconds:.0f} events/s, {cpu:.0f} us of CPU and {wrote:.0f} bytes written an event")
    print(f"20 sockets at rest: {idle(peer, args.idle)} bytes written in {args.idle} s")
    peer.close()


if __name__ == "__main__":
    began = time.monotonic()
    main()
    print(f"{time.monotonic() - began:.0f} s")
