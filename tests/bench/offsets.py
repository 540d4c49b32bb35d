"""offsets.py [TURNS]: what recovery costs a broadcast: microseconds of CPU a socket, of 1,000, when nobody, half of them, or all are told an event's
number; against the same with recovery off. All four live at once and take turns of a few broadcasts, and each turn is compared with the same turn
of recovery off: the median counts."""

import json
import statistics
import sys

import bench

SOCKETS, ROUNDS = 1000, 10
PLAIN = f'42["msg","{bench.TEXT}"]'
NUMBERED = PLAIN[:-1] + ',"12345678"]'


def length(text):
    """Of a server's frame."""
    return len(text) + (2 if len(text) < 126 else 4)


class House:
    """An instance with its clients, some of which are told numbers."""

    def __init__(self, numbered, **settings):
        # Its clients answer no pings.
        self.peer = bench.Siskin(WEBSOCKET_SERVER_PING_INTERVAL="3600", **settings)
        plain = self.peer.auth
        with_number = json.dumps({**json.loads(plain), "recover": True})
        self.clients = []
        for number in range(SOCKETS):
            self.peer.auth = with_number if number < SOCKETS * numbered else plain
            self.clients.append(bench.Client(self.peer))
        sockets = [client.socket for client in self.clients]
        told = int(SOCKETS * numbered)
        self.parts = [(sockets[:told], NUMBERED), (sockets[told:], PLAIN)]
        self.took = []

    def turn(self):
        before = self.peer.cpu_ns()
        for _ in self.peer.broadcast(self.clients, ROUNDS):
            for sockets, text in self.parts:
                if sockets:
                    bench.drain(sockets, length(text))
        self.took.append((self.peer.cpu_ns() - before) / ROUNDS / SOCKETS / 1000)


def main():
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    houses = {"recovery off": House(0, SISKIN_RECOVERY="off"), "nobody": House(0), "half": House(0.5), "all": House(1)}
    try:
        for turn in range(turns):
            # Each is as often the one after any other.
            order = list(houses.values())
            for house in order[turn % 4 :] + order[: turn % 4]:
                house.turn()
    finally:
        for house in houses.values():
            house.peer.close()
    off = houses["recovery off"].took
    for name, house in houses.items():
        ratios = [us / than for us, than in zip(house.took, off, strict=True)]
        least, median = 100 * (min(house.took) / min(off) - 1), 100 * (statistics.median(ratios) - 1)
        print(f"{name}: {statistics.median(house.took):.3f} us, {median:+.1f} % (least {min(house.took):.3f} us, {least:+.1f} %)")


main()
