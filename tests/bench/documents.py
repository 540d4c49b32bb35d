"""Documents: CPU of a relayed update beside a plain broadcast of the same size, and the memory of open documents.

Run by `make bench`, or alone: `tests/.venv/bin/python tests/bench/documents.py [--rounds N]`. Needs a release build.
"""

import argparse
import json
import time
import urllib.request

from bench import API_KEY, Client, Siskin, settle
from stranger import varint

EDITORS = 8
UPDATE_BYTES = 100
DOCUMENTS = 1000
DOCUMENT_BYTES = 10_000


def update(client, clock, size):
    """A Yjs update of `size` bytes that appends text to what its client typed before, and the clock after it."""
    origin = [4, 1, 1, 116] if clock == 0 else [0x84, *varint(client), *varint(clock - 1)]
    head = [1, 1, *varint(client), *varint(clock), *origin]
    length = size - len(head) - 2
    assert 0 < length < 128
    return [*head, length, *([120] * length), 0], clock + length


def emit(*args):
    return "42" + json.dumps(args, separators=(",", ":"))


def relayed(peer, editors, document, rounds):
    """us of CPU for an update that all others get, then for a plain event of the same size."""
    for editor in editors:
        editor.send(emit("ydoc:document:join", {"document_id": document}))
        editor.until(b'"ydoc:document:state"')
    # Its own typing comes back to the sender: so one socket less gives as many receivers.
    for editor in editors[:-1]:
        editor.send('421["user-join",{"auth":' + peer.auth + "}]")
        editor.until(b"431[")
    clock, updates = 0, []
    for _ in range(rounds + 50):
        ints, clock = update(7, clock, UPDATE_BYTES)
        updates.append(emit("ydoc:document:update", {"document_id": document, "update": ints}))
    typing = emit("events:channel", {"channel_id": "bench", "data": {"type": "typing", "data": "x" * (len(updates[-1]) - 100)}})
    sender = editors[0]
    return cpu(peer, sender, editors[1:], updates), cpu(peer, sender, editors[:-1], [typing] * len(updates))


def cpu(peer, sender, receivers, packets):
    """All receivers take each packet before the next is sent."""
    before = 0
    for index, packet in enumerate(packets):
        if index == 50:
            before = peer.cpu_ns()
        sender.send(packet)
        for receiver in receivers:
            assert receiver.socket.recv(65536)
    used = peer.cpu_ns() - before
    return used / (len(packets) - 50) / 1000


def relay(rounds):
    peer = Siskin()
    put(peer, "/channels/bench", {"name": "bench", "members": ["bench"]})
    put(peer, "/notes/bench", {"user_id": "bench", "title": "bench"})
    results = {}
    for document in ["board", "note:bench"]:
        editors = [Client(peer) for _ in range(EDITORS)]
        results[document] = relayed(peer, editors, document, rounds)
        for editor in editors:
            editor.close()
    peer.close()
    return results


def put(peer, path, body):
    head = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{peer.port}/api/v1{path}", json.dumps(body).encode(), head, method="PUT")
    urllib.request.urlopen(request).read()


def memory(kind):
    """RSS in all with the documents open, each made of updates of 100 bytes; and without them, sockets open."""
    peer = Siskin()
    for index in range(DOCUMENTS if kind == "note:" else 0):
        put(peer, f"/notes/document-{index}", {"user_id": "bench", "title": "bench"})
    clients = [Client(peer) for _ in range(DOCUMENTS // 20)]
    empty = settle(peer)
    for index in range(DOCUMENTS):
        client = clients[index // 20]
        name = f"{kind}document-{index}"
        client.send(emit("ydoc:document:join", {"document_id": name}))
        clock = 0
        for _ in range(DOCUMENT_BYTES // UPDATE_BYTES):
            ints, clock = update(7, clock, UPDATE_BYTES)
            client.send(emit("ydoc:document:update", {"document_id": name, "update": ints}))
        client.send('421["heartbeat",{}]')
        client.until(b"431[")
    full = settle(peer)
    peer.close()
    return empty, full


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3000)
    args = parser.parse_args()
    for document, (document_us, plain_us) in relay(args.rounds).items():
        print(
            f"{document}: {document_us:.1f} us of CPU for a relayed update ({EDITORS} editors, {UPDATE_BYTES} bytes), "
            f"{plain_us:.1f} us for a plain event of its size: {document_us / plain_us:.2f} x"
        )
    for kind, what in [("", "documents"), ("note:", "documents of notes")]:
        empty, full = memory(kind)
        print(f"{DOCUMENTS} open {what} of {DOCUMENT_BYTES} bytes: {full / 2**20:.1f} MiB RSS in all, {empty / 2**20:.1f} MiB before")


if __name__ == "__main__":
    began = time.monotonic()
    main()
    print(f"{time.monotonic() - began:.0f} s")
