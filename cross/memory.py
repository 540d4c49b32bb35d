#!/usr/bin/env python3
"""memory.py BINARY [SECONDS]: what a running siskin costs: memory at rest and for each websocket, wakeups, CPU and bytes written at rest.

Once on its own with its store, once connected to a Redis, too (redis-server, started here, if it is installed).
Needs a kernel that runs the binary (no qemu), and nothing but Python.
"""

import contextlib
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

WEBSOCKETS = 2000
UPGRADE = (
    "GET /ws/socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
# The Socket.IO packet that connects to the main namespace, as a masked frame with a mask of zeros.
CONNECT = b"\x81\x82\0\0\0\x0040"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def rss(pid):
    pages = pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def activity(pid):
    """Context switches of all threads, milliseconds of CPU, bytes written to files."""
    switches, nanoseconds = 0, 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        lines = [line for line in (task / "status").read_text().splitlines() if "ctxt_switches" in line]
        switches += sum(int(line.split()[1]) for line in lines)
        nanoseconds += int((task / "schedstat").read_text().split()[0])
    io = dict(line.split(": ") for line in pathlib.Path(f"/proc/{pid}/io").read_text().splitlines())
    return switches, nanoseconds / 1e6, int(io["wchar"])


def open_websocket(port):
    stream = socket.create_connection(("127.0.0.1", port))
    stream.sendall(UPGRADE.encode() + CONNECT)
    stream.settimeout(10)
    got = b""
    while b'40{"sid"' not in got:
        more = stream.recv(4096)
        assert more, got
        got += more
    return stream


@contextlib.contextmanager
def siskin(binary, **more):
    """A server; its process and its port."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "WEBUI_SECRET_KEY": "0123456789abcdef0123456789abcdef",
            "SISKIN_DATA_DIR": folder,
            "SISKIN_LISTEN": f"127.0.0.1:{port}",
            "SISKIN_MAX_CONNECTIONS_PER_ADDRESS": "100000",
            # No heartbeat while it is measured.
            "WEBSOCKET_SERVER_PING_INTERVAL": "600",
            **{name: value for name, value in os.environ.items() if name.startswith("SISKIN_")},
            **more,
        }
        server = subprocess.Popen([binary, "serve"], env=environment, stderr=subprocess.PIPE)
        try:
            print(server.stderr.readline().decode().strip())
            yield server, port
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)


@contextlib.contextmanager
def redis():
    """The URL of an empty Redis."""
    port = free_port()
    quiet = ["--save", "", "--appendonly", "no", "--loglevel", "warning"]
    server = subprocess.Popen(["redis-server", "--port", str(port), *quiet], stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(30)


def settle(pid):
    """Waits until a start is over: nothing happens for a while, or it never ceases to."""
    for _ in range(10):
        before = activity(pid)
        time.sleep(1)
        if activity(pid) == before:
            return


def at_rest(server, seconds, how):
    settle(server.pid)
    print(f"at rest {how}: {rss(server.pid):,} bytes of RSS = {rss(server.pid) / 2**20:.2f} MiB")
    before = activity(server.pid)
    time.sleep(seconds)
    switches, cpu, written = (after - before for before, after in zip(before, activity(server.pid)))
    print(f"  {seconds} s of it: {switches} wakeups, {cpu:.1f} ms of CPU, {written} bytes written")


def with_websockets(server, port):
    first, base = open_websocket(port), rss(server.pid)
    streams = [first, *(open_websocket(port) for _ in range(WEBSOCKETS))]
    full = rss(server.pid)
    print(f"{WEBSOCKETS} websockets: {full:,} bytes of RSS, {(full - base) / WEBSOCKETS:,.0f} each")
    for stream in streams:
        stream.close()
    time.sleep(2)
    print(f"after they left: {rss(server.pid):,} bytes of RSS")


def main(binary, seconds):
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with siskin(binary) as (server, port):
        at_rest(server, seconds, "with its store")
        with_websockets(server, port)
    if not shutil.which("redis-server"):
        return print("with Redis: not measured, there is no redis-server")
    with redis() as url, siskin(binary, WEBSOCKET_MANAGER="redis", WEBSOCKET_REDIS_URL=url) as (server, port):
        at_rest(server, seconds, "with its store and Redis")


if len(sys.argv) < 2:
    sys.exit(__doc__)
main(os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 60)
