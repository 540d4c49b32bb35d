"""variants.py NAME=BINARY...: builds of siskin beside each other in one run: bytes, CPU of the server, memory after 10,000 websockets.

For a change of compiler flags, allocator or library whose price is to be known. The first one is what the others are
compared with; the builds take turns, and the median of the turns counts, so that a busy machine is unfair to all alike.
"""

import argparse
import pathlib
import resource
import statistics
import sys
import time

import bench

# In a room, each to be sent 200 bytes; of them this many echo.
SOCKETS = 200
ECHOING = 50
EVENTS = 5000
# Websockets that come and go.
AT_ONCE = 1000
IN_ALL = 10_000


def speed(binary):
    """Microseconds of CPU: a broadcast message to a socket, an echo, a streamed event."""
    bench.BINARY = binary
    peer = bench.Siskin()
    try:
        clients = bench.connect(peer, SOCKETS)
        sent = bench.broadcast(peer, clients, 100)
        echoed = bench.echo(peer, clients[:ECHOING], 60)
        for client in clients[1:]:
            client.close()
        time.sleep(0.3)
        streamed = bench.stream(peer, clients[0], EVENTS)
        clients[0].close()
    finally:
        peer.close()
    return sent, echoed, streamed


def memory(binary):
    """MiB of RSS at rest, with 1,000 websockets, and after 10,000 have come and gone."""
    bench.BINARY = binary
    peer = bench.Siskin()
    try:
        rest, most = bench.settle(peer), 0
        for _ in range(IN_ALL // AT_ONCE):
            clients = bench.connect(peer, AT_ONCE)
            most = max(most, peer.rss())
            for client in clients:
                client.close()
        time.sleep(1)
        return [bytes_ / 2**20 for bytes_ in (rest, most, bench.settle(peer))]
    finally:
        peer.close()


def medians(measure, builds, turns):
    """The median of each figure, by build."""
    taken = {name: [] for name in builds}
    for _ in range(turns):
        for name, binary in builds.items():
            taken[name].append(measure(binary))
    return {name: [statistics.median(kind) for kind in zip(*figures)] for name, figures in taken.items()}


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("builds", nargs="+", metavar="NAME=BINARY")
    arguments.add_argument("--turns", type=int, default=9)
    arguments.add_argument("--memory-turns", type=int, default=3)
    options = arguments.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    builds = dict(build.split("=", 1) for build in options.builds)
    speeds = medians(speed, builds, options.turns)
    memories = medians(memory, builds, options.memory_turns)
    first = next(iter(speeds.values()))
    print("| build | bytes | broadcast us | echo us | streamed event us | RSS MiB at rest | with 1,000 websockets | after 10,000 |")
    print("|---|---|---|---|---|---|---|---|")
    for name, binary in builds.items():
        cells = [f"{pathlib.Path(binary).stat().st_size:,}"]
        cells += [f"{value:.2f} ({value / base:.2f} x)" for value, base in zip(speeds[name], first)]
        cells += [f"{value:.2f}" for value in memories.get(name, ())]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    sys.exit(main())
