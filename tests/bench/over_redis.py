"""Redis: CPU of an event that crosses it, on each side, beside one between two sockets of one instance.

Run by `make bench`, or alone: `tests/.venv/bin/python tests/bench/over_redis.py [--rounds N]`. Needs a release build (or SISKIN_BIN) and redis-server.
"""

import argparse
import json
import time

from bench import Client, Siskin

from siskin import RedisServer

BURST = 50
TYPING = "42" + json.dumps(["events:channel", {"channel_id": "bench", "data": {"type": "typing", "data": "x" * 200}}], separators=(",", ":"))
MARK = b'["events:channel"'


def member(peer):
    """A socket in the channel's room."""
    client = Client(peer)
    client.send('421["user-join",{"auth":' + peer.auth + "}]")
    client.until(b"431[")
    return client


def take(client, count):
    """Reads so many events."""
    seen, tail = 0, b""
    while seen < count:
        data = client.socket.recv(1 << 20)
        assert data
        tail += data
        seen += tail.count(MARK)
        tail = tail[-len(MARK) + 1 :]
    assert seen == count


def cpu(servers, sender, receiver, rounds, burst):
    """us of CPU of each server for an event; all of a burst have arrived before the next is sent."""
    for _ in range(20):
        events(sender, receiver, burst)
    before = [server.cpu_ns() for server in servers]
    for _ in range(rounds):
        events(sender, receiver, burst)
    time.sleep(0.05)
    return [(server.cpu_ns() - used) / rounds / burst / 1000 for server, used in zip(servers, before)]


def events(sender, receiver, burst):
    for _ in range(burst):
        sender.send(TYPING)
    take(sender, burst)
    take(receiver, burst)
    # A sender's typing beyond 256 KiB a second is left out.
    time.sleep(burst * len(TYPING) / (128 << 10))


class Redis(RedisServer):
    cpu_ns = Siskin.cpu_ns


def instance(**more):
    peer = Siskin(**more)
    peer.post("/channels/bench", json.dumps({"name": "Bench", "members": ["bench"]}).encode(), "PUT")
    return peer


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=2000)
    options = arguments.parse_args()
    print("\n| events | channels | local us | sender us | x local | receiver us | x local | Redis us |")
    print("|---|---|---|---|---|---|---|---|")
    for burst, rounds in ((1, options.rounds), (BURST, options.rounds // BURST * 4)):
        alone = instance()
        (local,) = cpu([alone], member(alone), member(alone), rounds, burst)
        alone.close()
        for room_channels in ("true", "false"):
            redis = Redis()
            where = {"WEBSOCKET_MANAGER": "redis", "WEBSOCKET_REDIS_URL": redis.url, "WEBSOCKET_REDIS_ROOM_CHANNELS": room_channels}
            a, b = instance(**where), instance(**where)
            sent, received, between = cpu([a, b, redis], member(a), member(b), rounds, burst)
            a.close(), b.close(), redis.close()
            name = "one at a time" if burst == 1 else f"{burst} at once"
            channels = "of rooms" if room_channels == "true" else "one"
            print(
                f"| {name} | {channels} | {local:.1f} | {sent:.1f} | {sent / local:.2f} | {received:.1f} | {received / local:.2f} | {between:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
