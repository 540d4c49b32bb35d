"""offsets.py [TURNS]: what recovery costs a broadcast: microseconds of CPU a socket, of 1,000, when nobody, half of them, or all are told an event's
number; against the same with recovery off. They take turns, and the least of the turns counts."""

import json
import sys

import bench

SOCKETS, ROUNDS = 1000, 40
PLAIN = f'42["msg","{bench.TEXT}"]'
NUMBERED = PLAIN[:-1] + ',"12345678"]'


def length(text):
    """Of a server's frame."""
    return len(text) + (2 if len(text) < 126 else 4)


def measure(numbered, **settings):
    peer = bench.Siskin(**settings)
    try:
        plain = peer.auth
        with_number = json.dumps({**json.loads(plain), "recover": True})
        clients = []
        for number in range(SOCKETS):
            peer.auth = with_number if number < SOCKETS * numbered else plain
            clients.append(bench.Client(peer))
        first = [client.socket for client in clients[: int(SOCKETS * numbered)]]
        rest = [client.socket for client in clients[len(first) :]]

        def tell(rounds):
            for _ in peer.broadcast(clients, rounds):
                for sockets, text in ((first, NUMBERED), (rest, PLAIN)):
                    if sockets:
                        bench.drain(sockets, length(text))

        tell(5)
        before = peer.cpu_ns()
        tell(ROUNDS)
        used = (peer.cpu_ns() - before) / ROUNDS / SOCKETS / 1000
        for client in clients:
            client.close()
        return used
    finally:
        peer.close()


def main():
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    ways = {
        "recovery off": lambda: measure(0, SISKIN_RECOVERY="off"),
        "nobody": lambda: measure(0),
        "half": lambda: measure(0.5),
        "all": lambda: measure(1),
    }
    seen = {name: [] for name in ways}
    for _ in range(turns):
        for name, way in ways.items():
            seen[name].append(way())
    least = {name: min(all_) for name, all_ in seen.items()}
    for name, us in least.items():
        print(f"{name}: {us:.3f} us, {100 * (us / least['recovery off'] - 1):+.1f} % ({', '.join(f'{each:.2f}' for each in seen[name])})")


main()
