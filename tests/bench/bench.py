"""`make bench`: siskin beside its peers, each with the same tiny contract, in one run on one machine.

siskin is the binary of SISKIN_BIN (`make bench`: the static one, as it is released). CPU is what the kernel accounts
to the server's threads (schedstat, ns); memory is RSS. The load comes from this process. Figures are comparable
within one run only.
"""

import argparse
import json
import os
import pathlib
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from siskin import API_KEY, SECRET, free_port, token  # noqa: E402

ROOT = HERE.parent.parent
TARGET = pathlib.Path(os.environ.get("BENCH_TARGET", ROOT / "target"))
BINARY = os.environ.get("SISKIN_BIN", str(TARGET / "release/siskin"))
TEXT = "x" * 200
HANDSHAKE = (
    "GET {path}?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def frame(text):
    """A client's text frame; its mask is zero, which is allowed and cheap."""
    data = text.encode()
    if len(data) < 126:
        return bytes([0x81, 0x80 | len(data)]) + bytes(4) + data
    if len(data) < 65536:
        return bytes([0x81, 0xFE]) + len(data).to_bytes(2, "big") + bytes(4) + data
    return bytes([0x81, 0xFF]) + len(data).to_bytes(8, "big") + bytes(4) + data


class Client:
    """One websocket, read in bulk."""

    def __init__(self, peer):
        self.socket = socket.create_connection(("127.0.0.1", peer.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(HANDSHAKE.format(path=peer.path).encode())
        self.until(b"maxPayload")
        self.socket.sendall(frame("40" + peer.auth))
        self.until(b'{"sid"', skip=1)
        for packet, answer in peer.joined:
            self.socket.sendall(frame(packet))
            self.until(answer)

    def until(self, mark, skip=0):
        """Reads until `mark` has arrived once."""
        data = b""
        while mark not in data:
            more = self.socket.recv(65536)
            assert more, data
            data += more
        return data

    def send(self, text):
        self.socket.sendall(frame(text))

    def close(self):
        self.socket.close()


class Peer:
    """A server under measurement."""

    path = "/socket.io/"
    auth = ""
    joined = ()

    def __init__(self, name, command, cwd=None, env=None):
        self.name, self.port = name, free_port()
        self.command = [part.replace("PORT", str(self.port)) for part in command]
        began = time.perf_counter()
        environment = {**os.environ, **{k: v.replace("PORT", str(self.port)) for k, v in (env or {}).items()}}
        self.process = subprocess.Popen(
            self.command, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                break
            except OSError:
                assert self.process.poll() is None, f"{name} ended"
                time.sleep(0.0005)
        self.start_ms = (time.perf_counter() - began) * 1000

    def cpu_ns(self):
        """Nanoseconds that its threads have run."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks)

    def rss(self):
        pages = int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def switches(self):
        total = 0
        for status in pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/status"):
            total += sum(int(line.split()[1]) for line in status.read_text().splitlines() if "ctxt_switches" in line)
        return total

    def broadcast(self, clients, rounds):
        for _ in range(rounds):
            clients[0].send(f'42["broadcast","{TEXT}"]')
            yield

    def stream(self, client, count):
        client.send(f'42["stream",{count},"{TEXT}"]')

    echo = f'42{{id}}["echo","{TEXT}"]'
    # Enters a room; with siskin this is signing in again with the same token.
    join = '42{id}["join","another"]'

    def close(self):
        self.process.kill()
        self.process.wait()


class Siskin(Peer):
    path = "/ws/socket.io/"
    auth = json.dumps({"token": token("bench")})

    def __init__(self, **more):
        env = {
            "WEBUI_SECRET_KEY": SECRET, "SISKIN_API_KEY": API_KEY, "SISKIN_LISTEN": "127.0.0.1:PORT", "SISKIN_LOG": "warn",
            "SISKIN_DATA_DIR": str(TARGET / "bench-data/PORT"), "SISKIN_TRUST_TOKEN_CLAIMS": "true", "SISKIN_EVENTS_PER_SECOND": "0",
        }  # fmt: skip
        super().__init__("siskin", [BINARY, "serve"], env={**env, **more})

    # It has no echo: a heartbeat of the same size comes in, is noted, and is acked with nothing.
    echo = f'42{{id}}["heartbeat",{{{{"x":"{TEXT}"}}}}]'
    join = '42{id}["user-join",{{"auth":' + auth.replace("{", "{{").replace("}", "}}") + "}}]"

    def post(self, path, body, method="POST"):
        headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/api/v1{path}", body, headers, method=method)
        return urllib.request.urlopen(request).read()

    def broadcast(self, clients, rounds):
        body = json.dumps({"user_id": "bench", "event": "msg", "data": TEXT}).encode()
        for _ in range(rounds):
            self.post("/emit", body)
            yield

    def stream(self, client, count):
        line = json.dumps({"type": "x", "data": TEXT}).encode() + b"\n"
        head = (
            f"POST /api/v1/chat/stream?user_id=bench&chat_id=local:x&message_id=m HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
            f"Authorization: Bearer {API_KEY}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        self.backend = socket.create_connection(("127.0.0.1", self.port))
        self.backend.sendall(head.encode())
        chunk = line * 10
        chunk = f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n"
        self.backend.sendall(chunk * (count // 10) + b"0\r\n\r\n")


class Bare:
    """The write(2) loop."""

    command = [str(TARGET / "release/examples/bare")]

    def __init__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    cpu_ns = Peer.cpu_ns
    close = Peer.close


class BareEcho(Bare):
    """The bare epoll loop (echo.c), with the bytes of siskin's echo."""

    command = [str(ROOT / "target/bench-echo")]
    echo = Siskin.echo


class BareClient:
    """A connection to it, which is a websocket from the start."""

    def __init__(self, bare):
        self.socket = socket.create_connection(("127.0.0.1", bare.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    send = Client.send
    until = Client.until


def drain(sockets, size, seconds=120):
    """Reads `size` bytes from each socket."""
    left = {s.fileno(): size for s in sockets}
    by_fd = {s.fileno(): s for s in sockets}
    poll = select.epoll()
    for fd in left:
        poll.register(fd, select.EPOLLIN)
    end = time.monotonic() + seconds
    pending = len(left)
    while pending:
        assert time.monotonic() < end, f"{pending} sockets are still waiting"
        for fd, _ in poll.poll(1):
            left[fd] -= len(by_fd[fd].recv(1 << 20))
            if left[fd] <= 0:
                poll.unregister(fd)
                pending -= 1
    poll.close()


def bare_broadcast(sockets_wanted, rounds, size):
    bare = Bare()
    sockets = []
    for _ in range(sockets_wanted):
        s = socket.create_connection(("127.0.0.1", bare.port))
        s.sendall(b"hello\n")
        sockets.append(s)
    control = socket.create_connection(("127.0.0.1", bare.port))
    before = bare.cpu_ns()
    control.sendall(f"GO {rounds} {size}\n".encode())
    for _ in range(rounds):
        drain(sockets, size)
        control.sendall(b"next\n")
    time.sleep(0.2)
    used = bare.cpu_ns() - before
    bare.close()
    return used / rounds / sockets_wanted / 1000


def broadcast(peer, clients, rounds):
    size = len(f'42["msg","{TEXT}"]') + 4
    sockets = [c.socket for c in clients]
    for _ in peer.broadcast(clients, 3):
        drain(sockets, size)
    before = peer.cpu_ns()
    for _ in peer.broadcast(clients, rounds):
        drain(sockets, size)
    return (peer.cpu_ns() - before) / rounds / len(clients) / 1000


def bare_echo(sockets, rounds):
    bare = BareEcho()
    used = echo(bare, [BareClient(bare) for _ in range(sockets)], rounds)
    bare.close()
    return used


def echo(peer, clients, rounds, message=None):
    message = message or peer.echo
    before = peer.cpu_ns()
    for n in range(rounds):
        for client in clients:
            client.send(message.format(id=n))
        for client in clients:
            client.until(f"43{n}[".encode())
    return (peer.cpu_ns() - before) / rounds / len(clients) / 1000


def stream(peer, client, count):
    peer.stream(client, 100)
    seen = 0
    seen = count_events(client, 100)
    assert seen == 100, seen
    time.sleep(0.1)
    before = peer.cpu_ns()
    peer.stream(client, count)
    assert count_events(client, count) == count
    return (peer.cpu_ns() - before) / count / 1000


def count_events(client, count):
    seen, tail = 0, b""
    while seen < count:
        data = client.socket.recv(1 << 20)
        assert data
        tail += data
        seen += tail.count(b'["events"')
        tail = tail[-8:]
    return seen


def connect(peer, count):
    return [Client(peer) for _ in range(count)]


def settle(peer):
    """RSS once it has stopped moving."""
    last = peer.rss()
    for _ in range(20):
        time.sleep(0.25)
        now = peer.rss()
        if abs(now - last) < 32768:
            return now
        last = now
    return last


def idle_memory(peer, count):
    """KiB a websocket, idle and after a 16 KB message each; KiB a waiting poll."""
    empty = settle(peer)
    clients = connect(peer, count)
    idle = settle(peer)
    for client in clients:
        client.send('42["x","' + "y" * 16000 + '"]')
    time.sleep(1)
    used = settle(peer)
    for client in clients:
        client.close()
    time.sleep(1)
    before = settle(peer)
    polls = []
    for _ in range(500):
        s = socket.create_connection(("127.0.0.1", peer.port))
        s.sendall(f"GET {peer.path}?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        data = b""
        while b"maxPayload" not in data:
            data += s.recv(65536)
        sid = data.partition(b'"sid":"')[2].partition(b'"')[0].decode()
        s.sendall(f"GET {peer.path}?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        polls.append(s)
    waiting = settle(peer)
    for s in polls:
        s.close()
    per = lambda bytes_, n: round(bytes_ / n / 1024, 2)  # noqa: E731
    return empty, per(idle - empty, count), per(used - empty, count), per(waiting - before, 500)


def peers(wanted):
    here = HERE / "peers"
    table = {
        "siskin": Siskin,
        "socketioxide": lambda: Peer("socketioxide", [str(here / "socketioxide/target/release/socketioxide-peer"), "PORT"]),
        "node": lambda: Peer("node", ["node", "node_peer.mjs", "PORT"], cwd=here),
        "python": lambda: Peer(
            "python",
            [str(here / ".venv/bin/uvicorn"), "python_peer:app", "--port", "PORT", "--log-level", "error", "--no-access-log"],
            cwd=here,
        ),
    }
    return {name: make for name, make in table.items() if name in wanted}


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--sockets", type=int, default=1000)
    arguments.add_argument("--rounds", type=int, default=50)
    arguments.add_argument("--idle", type=int, default=2000)
    arguments.add_argument("--only", default="siskin,socketioxide,node,python")
    arguments.add_argument("--quiet-seconds", type=int, default=20)
    options = arguments.parse_args()
    size = len(f'42["msg","{TEXT}"]') + 4
    floor = statistics.median(bare_broadcast(options.sockets, options.rounds, size) for _ in range(3))
    print(f"bare write(2) loop: {floor:.2f} us of CPU a message of {size} bytes to {options.sockets} sockets")
    echo_floor = statistics.median(bare_echo(50, 100) for _ in range(15))
    print(f"bare epoll loop in C: {echo_floor:.2f} us of CPU an echo, 50 sockets\n")
    print("| server | broadcast us | x bare | echo with ack us | x bare | join with ack us | streamed event us | start ms | RSS MiB | KiB/websocket | after 16 KB | KiB/poll |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for name, make in peers(options.only.split(",")).items():
        peer = make()
        start = statistics.median([peer.start_ms] + [restart_ms(make) for _ in range(4)])
        try:
            clients = connect(peer, options.sockets)
            rounds = options.rounds if name != "python" else max(5, options.rounds // 5)
            sent = statistics.median(broadcast(peer, clients, rounds) for _ in range(3))
            echoed = statistics.median(echo(peer, clients[:50], 100) for _ in range(15))
            joined = statistics.median(echo(peer, clients[:50], 100, peer.join) for _ in range(15))
            for client in clients[1:]:
                client.close()
            time.sleep(0.5)
            streamed = statistics.median(stream(peer, clients[0], 5000) for _ in range(5))
            clients[0].close()
        finally:
            peer.close()
        peer = make()
        empty, idle, used, poll = idle_memory(peer, options.idle)
        peer.close()
        print(
            f"| {name} | {sent:.2f} | {sent / floor:.2f} | {echoed:.1f} | {echoed / echo_floor:.2f} | {joined:.1f} | {streamed:.2f} | {start:.1f} | {empty / 1048576:.2f} | {idle} | {used} | {poll} |",
            flush=True,
        )
    if "siskin" in options.only:
        print()
        joined_writes()
        system_calls(1, 1000)
        system_calls(50, 40)
        quiet(0, options.quiet_seconds)
        quiet(100, options.quiet_seconds)


def restart_ms(make):
    peer = make()
    peer.close()
    return peer.start_ms


def quiet(sockets, seconds):
    """Wake-ups and bytes written while so many websockets idle and no heartbeat is due."""
    peer = Siskin()
    clients = connect(peer, sockets)
    time.sleep(2)
    io = lambda: int(pathlib.Path(f"/proc/{peer.process.pid}/io").read_text().split("write_bytes: ")[1].split()[0])  # noqa: E731
    before, written = peer.switches(), io()
    time.sleep(seconds)
    print(f"idle, {sockets} websockets, {seconds} s: {peer.switches() - before} context switches, {io() - written} bytes written to disk")
    for client in clients:
        client.close()
    peer.close()


def system_calls(sockets, rounds):
    """How many system calls an echo costs, as strace counts them in all threads."""
    if not shutil.which("strace"):
        return print("system calls an echo: not counted, since there is no strace")
    peer = Siskin()
    clients = connect(peer, sockets)
    echo(peer, clients, 1)
    with tempfile.NamedTemporaryFile("r") as log:
        command = ["strace", "-f", "-c", "-o", log.name, "-p", str(peer.process.pid)]
        strace = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        strace.stderr.readline()
        echo(peer, clients, rounds)
        peer.close()
        strace.wait(10)
        total = next(line for line in log.read().splitlines() if line.endswith("total"))
    # Percent, seconds, microseconds a call, calls, and errors if there were any.
    print(f"system calls an echo, {sockets} websockets: {int(total.split()[3]) / rounds / sockets:.2f}")


def joined_writes():
    """How many writes ten events of one turn cost, as strace sees it."""
    if not shutil.which("strace"):
        return print("ten events of one turn: not counted, since there is no strace")
    peer = Siskin()
    client = connect(peer, 1)[0]
    with tempfile.NamedTemporaryFile("r") as log:
        command = ["strace", "-f", "-e", "trace=write,writev,sendto,sendmsg", "-o", log.name, "-p", str(peer.process.pid)]
        strace = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        strace.stderr.readline()
        peer.stream(client, 10)
        assert count_events(client, 10) == 10
        peer.close()
        strace.wait(10)
        # A websocket's text frame begins with the byte 0x81, octal 201.
        writes = sum("\\201" in line for line in log.read().splitlines())
    print(f"ten events of one turn: {writes} write")


if __name__ == "__main__":
    main()
