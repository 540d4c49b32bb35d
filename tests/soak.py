#!/usr/bin/env python3
"""soak.py [CONNECTIONS]: many sockets, a storm of reconnects, and so many connections that come and go (a million).

Prints what each costs; ends with an error where memory or CPU do not stay as they should: linear in the sockets that are open,
flat in those that were. SISKIN_BIN is the binary, by default the static one of this machine.
"""

import collections
import os
import pathlib
import random
import resource
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))


def static_binary():
    """Its path; it is built if it has to be."""
    built = subprocess.run(["bash", "cross/build.sh", f"{os.uname().machine}-unknown-linux-musl"], cwd=HERE.parent, stdout=subprocess.PIPE, check=True)
    return built.stdout.decode().strip()


# Before it is looked for.
if not os.environ.get("SISKIN_BIN"):
    os.environ["SISKIN_BIN"] = static_binary()

from siskin import Siskin, token  # noqa: E402
from wire import PATH  # noqa: E402

MiB = 1 << 20
# Addresses that connections come from, each with ports of its own.
ADDRESSES = [f"127.1.{a}.{b}" for a in range(4) for b in range(1, 251)]
UPGRADE = (
    f"GET {PATH}websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
).encode()
OPEN = f"GET {PATH}polling HTTP/1.1\r\nHost: x\r\n\r\n".encode()
# No reset, but gone at once.
ABRUPT = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")


def frame(text):
    """A client's frame, with a mask of zeros."""
    data = text.encode()
    size = bytes([0x80 | len(data)]) if len(data) < 126 else bytes([0xFE]) + len(data).to_bytes(2, "big")
    return b"\x81" + size + b"\0\0\0\0" + data


def connect(siskin, n):
    stream = socket.socket()
    stream.setsockopt(socket.SOL_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    stream.bind((ADDRESSES[n % len(ADDRESSES)], 0))
    stream.settimeout(30)
    stream.connect(("127.0.0.1", siskin.port))
    return stream


def until(stream, wanted):
    got = b""
    while wanted not in got:
        more = stream.recv(65536)
        assert more, got[-200:]
        got += more
    return got


def join(siskin, n):
    """A websocket that signs in and asks something; the answer is read with `answered`."""
    stream = connect(siskin, n)
    shown = TOKENS[n % len(TOKENS)]
    stream.sendall(UPGRADE + frame(f'40{{"token":"{shown}"}}') + frame('421["heartbeat",{}]'))
    return stream


def answered(stream):
    until(stream, b"431[]")
    return stream


def cpu(siskin):
    """Seconds of all its threads."""
    fields = pathlib.Path(f"/proc/{siskin.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def settle(siskin):
    """RSS once it has stopped moving."""
    last = siskin.rss()
    for _ in range(40):
        time.sleep(0.25)
        now = siskin.rss()
        if abs(now - last) < 32768:
            break
        last = now
    return now


def many(siskin):
    """Ten thousand: each thousand costs what the first did."""
    base, before, streams, costs = settle(siskin), cpu(siskin), [], []
    for step in range(4):
        streams += [answered(join(siskin, n)) for n in range(len(streams), 2500 * (step + 1))]
        rss, spent = settle(siskin), cpu(siskin)
        costs.append(((rss - base) / 2500, (spent - before) / 2500))
        base, before = rss, spent
        print(f"{len(streams)} websockets: {rss / MiB:.1f} MiB; the last 2,500: {costs[-1][0]:.0f} bytes and {costs[-1][1] * 1e6:.0f} us of CPU each")
    spent = cpu(siskin)
    time.sleep(10)
    print(f"10 s of their rest: {(cpu(siskin) - spent) * 1000:.0f} ms of CPU")
    bytes_, seconds = zip(*costs)
    assert max(bytes_[1:]) < 1.5 * bytes_[0], "memory is not linear"
    assert max(seconds[1:]) < 2 * seconds[0], "CPU is not linear"
    return streams


def storm(siskin, count=2000):
    """All are cut off at once and come back at once."""
    streams = [answered(join(siskin, n)) for n in range(count)]
    for stream in streams:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABRUPT)
        stream.close()
    began, before = time.monotonic(), cpu(siskin)
    # All have asked before the first answer is looked at.
    streams = [answered(stream) for stream in [join(siskin, n) for n in range(count)]]
    took = time.monotonic() - began
    longest = siskin.metric("siskin_longest_turn_seconds")
    print(f"{count} come back within {took:.1f} s, {(cpu(siskin) - before) / count * 1e6:.0f} us of CPU each; longest turn so far {longest * 1000:.1f} ms")
    assert took < 5, "a storm takes too long"
    return streams


def one(siskin, n, chance):
    """A connection's life: what it does, and how it ends."""
    kind = chance.randrange(6)
    if kind < 3:
        stream = answered(join(siskin, n))
        if kind == 1:
            stream.sendall(frame('42["x","' + "y" * chance.randrange(20_000) + '"]')[:-1] if chance.random() < 0.5 else frame("41"))
        if kind == 2:
            stream.sendall(b"\x88\x80\0\0\0\0")
            while stream.recv(65536):
                pass
    elif kind == 3:
        stream = connect(siskin, n)
        stream.sendall(OPEN)
        sid = until(stream, b"}").partition(b'"sid":"')[2][:20].decode()
        at = f"{PATH}polling&sid={sid} HTTP/1.1\r\nHost: x\r\n"
        body = f'40{{"token":"{TOKENS[n % len(TOKENS)]}"}}'
        stream.sendall(f"POST {at}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        until(stream, b"ok")
        stream.sendall(f"GET {at}\r\n".encode())
        until(stream, b"40{")
        if chance.random() < 0.5:
            stream.sendall(f"GET {at}\r\n".encode())
        else:
            stream.sendall(f"POST {at}Content-Length: 1\r\n\r\n1".encode())
            until(stream, b"ok")
    elif kind == 4:
        stream = connect(siskin, n)
        stream.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        until(stream, b"ok")
    else:
        stream = connect(siskin, n)
        stream.sendall(UPGRADE[: chance.randrange(len(UPGRADE))])
    if chance.random() < 0.5:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABRUPT)
    stream.close()


def churn(siskin, count):
    """Connections of all kinds come and go, a few hundred at a time are open."""
    chance = random.Random(5)
    began, marks = time.monotonic(), []
    held = collections.deque()
    for n in range(count):
        if n % 20 == 0:
            held.append(join(siskin, n))
            if len(held) > 200:
                held.popleft().close()
        one(siskin, n, chance)
        if (n + 1) % (count // 10) == 0:
            marks.append(siskin.rss())
            rate = (n + 1) / (time.monotonic() - began)
            print(f"{n + 1} connections: {marks[-1] / MiB:.2f} MiB, {rate:.0f} a second, {cpu(siskin):.0f} s of CPU", flush=True)
    for stream in held:
        stream.close()
    # What polls have left ends with its heartbeat.
    time.sleep(20)
    sessions = [siskin.metric(f'siskin_sessions{{transport="{kind}"}}') for kind in ("websocket", "polling")]
    print(f"after they left: {settle(siskin) / MiB:.2f} MiB, {sessions} sessions, {siskin.metric('siskin_input_bytes'):.0f} bytes unfinished")
    assert sessions == [0, 0] and siskin.metric("siskin_input_bytes") == 0
    assert max(marks[5:]) < max(marks[1:5]) * 1.05 + MiB, "memory grows"


TOKENS = [token(f"user{n}") for n in range(500)]


def main(count):
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    for part in (many, storm):
        siskin = Siskin(SISKIN_MAX_CONNECTIONS="20000", WEBSOCKET_SERVER_PING_INTERVAL="600")
        streams = part(siskin)
        [stream.close() for stream in streams]
        siskin.close()
    siskin = Siskin(SISKIN_MAX_CONNECTIONS="20000", WEBSOCKET_SERVER_PING_INTERVAL="5", WEBSOCKET_SERVER_PING_TIMEOUT="5")
    churn(siskin, count)
    siskin.close()


main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
