"""Typing in a note of the local directory: bytes a minute that go to the disk.

Run by `make bench`, or alone: `tests/.venv/bin/python tests/bench/keystrokes.py [--seconds N] [BINARY...]`. Needs a release build.
Somebody types five characters a second for four seconds, then rests for one, as a client that sends each as an update and the
note's content at the end of each row. Once with content, once with updates alone.
"""

import argparse
import json
import pathlib
import time
import urllib.request

import bench
from stranger import varint

TYPING, RESTING = 4, 1
SIZES = [10_000, 500_000]


def typed(clock, text):
    """A Yjs update of client 7, who types on."""
    origin = [0x84, *varint(7), *varint(clock - 1)] if clock else [4, 1, 1, 116]
    return [1, 1, *varint(7), *varint(clock), *origin, *varint(len(text)), *text.encode(), 0]


def emit(**payload):
    return "42" + json.dumps(["ydoc:document:update", {"document_id": "note:typed", **payload}])


def written(peer):
    """Bytes that the process has written to disk."""
    lines = pathlib.Path(f"/proc/{peer.process.pid}/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["write_bytes"])


def content(length):
    text = "x" * length
    return {"content": {"md": text, "html": f"<p>{text}</p>", "json": None}}


def put(peer, path, body):
    head = {"Authorization": f"Bearer {bench.API_KEY}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{peer.port}/api/v1{path}", json.dumps(body).encode(), head, method="PUT")
    urllib.request.urlopen(request).read()


def minute(size, saves, seconds):
    """Bytes a minute."""
    peer = bench.Siskin()
    try:
        put(peer, "/notes/typed", {"user_id": "bench", "title": "typed", "data": content(size)})
        client = bench.Client(peer)
        client.send('42["ydoc:document:join",{"document_id":"note:typed"}]')
        client.until(b'"ydoc:document:state"')
        client.send(emit(update=typed(0, "x" * size), initialize=True, data=content(size)))
        time.sleep(2)
        clock, before, began = size, written(peer), time.monotonic()
        while time.monotonic() - began < seconds:
            for _ in range(5 * TYPING):
                client.send(emit(update=typed(clock, "y")))
                clock += 1
                time.sleep(0.2)
            if saves:
                client.send(emit(data=content(clock)))
            time.sleep(RESTING)
        took = time.monotonic() - began
        return (written(peer) - before) * 60 / took
    finally:
        peer.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("binary", nargs="*", default=[bench.BINARY])
    args = parser.parse_args()
    for size in SIZES:
        for saves in (True, False):
            for binary in args.binary:
                bench.BINARY = binary
                what = "with its content" if saves else "updates alone"
                rate = minute(size, saves, args.seconds) / 1024
                print(f"{binary}: typing in a note of {size:,} bytes, {what}: {rate:,.0f} KiB a minute written", flush=True)


if __name__ == "__main__":
    main()
