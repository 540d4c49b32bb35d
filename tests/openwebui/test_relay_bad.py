"""A socket of Open WebUI's that misbehaves: bounded, said once, and the page keeps what works."""

import asyncio
import base64
import contextlib
import hashlib
import json
import time

import pytest
from client import MOMENT, PATIENCE, Client
from siskin import free_port, has_token, wait_for
from upstream import claims

MILLION = 1_000_000
OPEN = '0{"sid":"e","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'


def frame(data, opcode=None):
    """An unmasked websocket frame."""
    payload = data.encode() if isinstance(data, str) else data
    head = bytes([0x80 | (opcode or (1 if isinstance(data, str) else 2))])
    size = len(payload)
    length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2) if size < 1 << 16 else b"\x7f" + size.to_bytes(8)
    return head + length + payload


def spoken(data):
    """The whole texts in a client's masked frames."""
    texts = []
    while len(data) >= 14:
        length, at = data[1] & 0x7F, 2
        if length > 125:
            size = 2 if length == 126 else 8
            length, at = int.from_bytes(data[2 : 2 + size]), 2 + size
        mask, payload = data[at : at + 4], data[at + 4 : at + 4 + length]
        if len(payload) < length:
            break
        wide = int.from_bytes((mask * (length // 4 + 1))[:length])
        texts.append((int.from_bytes(payload) ^ wide).to_bytes(length).decode())
        data = data[at + 4 + length :]
    return texts


class Raw:
    """REST as it should be; `play(reader, writer, answered)` is the socket's part, after its handshake unless `mode` breaks that."""

    def __init__(self, mode="fine", script=()):
        self.mode, self.script = mode, script
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.handshakes = 0
        # What clients said over it, a list a connection.
        self.said = []
        self.paths = set()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def serve(self, reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                path = head.split(" ")[1]
                self.paths.add(path.split("?")[0])
                if path.startswith("/ws/socket.io"):
                    await self.socket(head, reader, writer)
                    break
                token = head.partition("Bearer ")[2].partition("\r\n")[0]
                user = claims(token) if token else {}
                answer = [{"id": "c1"}] if "channels" in path else {key: user.get(key) for key in ("id", "name", "role")}
                body = json.dumps(answer).encode()
                status = "200 OK" if token else "401 Unauthorized"
                writer.write(f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        with contextlib.suppress(OSError):
            writer.close()

    async def socket(self, head, reader, writer):
        self.handshakes += 1
        plain = lambda status, body="", more="": f"HTTP/1.1 {status}\r\n{more}content-length: {len(body)}\r\n\r\n{body}".encode()  # noqa: E731
        match self.mode:
            case "hang":
                await reader.read()
                return
            case "html":
                return writer.write(plain("200 OK", "<!doctype html>" * 100))
            case "500":
                return writer.write(plain("500 Internal Server Error"))
            case "redirect":
                return writer.write(plain("307 Temporary Redirect", more=f"location: {self.url}/elsewhere\r\n"))
            case "no websocket":
                return writer.write(plain("403 Forbidden"))
            case "half":
                return writer.write(b"HTTP/1.1 101 Switching")
            case "garbage":
                return writer.write(b"\x00\xffSSH-2.0-nonsense\r\n\r\n")
        key = head.lower().partition("sec-websocket-key: ")[2]
        key = head[len(head) - len(key) :].partition("\r\n")[0].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key).digest()).decode()
        writer.write(f"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n".encode())
        # One connection may have another part than the next.
        script = self.script(self.handshakes) if callable(self.script) else self.script
        for part in script:
            if callable(part):
                await part(writer)
            elif part is not None:
                writer.write(frame(part))
                await writer.drain()
            else:
                return
        self.said.append(b"")
        while data := await reader.read(1 << 16):
            self.said[-1] += data


UNREACHABLE = ["hang", "html", "500", "redirect", "no websocket", "half", "garbage"]
HELLO = (OPEN, '40{"sid":"r"}')


async def deep(writer):
    writer.write(frame('42["x",' + "[" * 500_000 + "]" * 500_000 + "]"))
    await writer.drain()


async def endless(writer):
    writer.write(frame('4530-["x"' + ',{"_placeholder":true,"num":0}' * 30 + "]"))
    for _ in range(30):
        writer.write(frame(b"x" * (1 << 20)))
        await writer.drain()


BROKEN = {
    "closes at once": (None,),
    "closes after its hello": (*HELLO, None),
    "no Engine.IO": ("hello", None),
    "no open packet": ("0[]",),
    "no connect": (OPEN, "40[]"),
    "a refused connect": (OPEN, '44{"message":"no"}'),
    "a disconnect": (*HELLO, "41"),
    "no JSON": (*HELLO, "42[x"),
    "no name": (*HELLO, "42[{}]"),
    "a reserved name": (*HELLO, '42["disconnect"]'),
    "an ack of nothing": (*HELLO, "43[]"),
    "bytes of nothing": (*HELLO, b"123"),
    "text instead of bytes": (*HELLO, '451-["x",{"_placeholder":true,"num":0}]', "42[]"),
    "placeholders of nothing": (*HELLO, '451-["x",{"_placeholder":true,"num":7}]', b"1"),
    "bytes without an end": (*HELLO, endless),
}


async def pages(siskin, *names):
    clients = [await Client(siskin, siskin.token(name)).connect() for name in names]
    for client in clients:
        assert await client.join()
    return clients


async def works(ann, bob):
    """What needs no relay goes on."""
    ann.heard.clear()
    await bob.io.emit("events:channel", {"channel_id": "c1", "data": {"type": "typing", "data": {"typing": True}}})
    await ann.hears(lambda name, *args: name == "events:channel")
    assert ann.io.connected and bob.io.connected


@pytest.mark.parametrize("mode", [*UNREACHABLE, *BROKEN])
def test_a_bad_socket_costs_the_page_nothing(start_siskin, mode):
    async def play():
        script = BROKEN.get(mode, ())
        async with Raw(mode if mode in UNREACHABLE else "fine", script) as raw:
            siskin = await asyncio.to_thread(lambda: start_siskin(SISKIN_DIRECTORY=raw.url, SISKIN_LOG="debug"))
            ann, bob = await pages(siskin, "ann", "bob")
            for _ in range(200):
                await ann.io.emit("invented:ask", {"x": 1})
            await works(ann, bob)
            if mode != "hang":
                said = "no relay for" if mode in UNREACHABLE or len(script) < 2 or script[1] != HELLO[1] else "the relay of"
                await asyncio.to_thread(wait_for, lambda: said in siskin.log(), PATIENCE, f"line {said!r}")
            await works(ann, bob)
            # Not one attempt an event.
            assert raw.handshakes <= 4, raw.handshakes
            assert "/elsewhere" not in raw.paths
            for client in (ann, bob):
                await client.io.disconnect()
            await asyncio.to_thread(siskin.stop)
            log = siskin.log()
            warnings = [line for line in log.splitlines() if " WARN " in line and "Open WebUI at" in line]
            assert len(warnings) == (0 if mode in ("hang", "a disconnect") else 1), warnings
            assert not has_token(log), "a token in the log"
            if mode == "no websocket":
                assert "takes no websocket (403)" in warnings[0]

    asyncio.run(play())


async def million(writer):
    """As much as the other side takes."""
    event = frame('42["invented:flood",{"x":"' + "x" * 50 + '"}]') * 1000
    for _ in range(MILLION // 1000):
        writer.write(event)
        await writer.drain()


def test_a_flood_over_a_relay_is_as_slow_as_its_reader(start_siskin):
    """A million events for a page that reads nothing for a while: bounded memory, and others notice nothing."""

    async def play():
        async with Raw("fine", (*HELLO, million)) as raw:
            siskin = await asyncio.to_thread(lambda: start_siskin(SISKIN_DIRECTORY=raw.url))
            ann, bob, eve = await pages(siskin, "ann", "bob", "eve")
            before = siskin.rss()
            # Ann's page stops to read.
            ann.io.eio.ws._response.connection.transport.pause_reading()
            await ann.io.emit("invented:ask", 1)
            most = 0
            for _ in range(20):
                await works(bob, eve)
                most = max(most, siskin.rss())
                await asyncio.sleep(MOMENT / 5)
            assert most - before < 24 << 20, (before, most)
            ann.io.eio.ws._response.connection.transport.resume_reading()
            await ann.hears(lambda name, *args: name == "invented:flood")
            await works(bob, eve)
            for client in (ann, bob, eve):
                await client.io.disconnect()

    asyncio.run(play())


def test_a_socket_that_is_silent_is_taken_for_dead(start_siskin):
    quick = OPEN.replace("25000", "300").replace("20000", "200")

    async def play():
        async with Raw("fine", (quick, HELLO[1])) as raw:
            siskin = await asyncio.to_thread(lambda: start_siskin(SISKIN_DIRECTORY=raw.url, SISKIN_LOG="debug"))
            [ann] = await pages(siskin, "ann")
            await ann.io.emit("invented:ask", 1)
            began = time.monotonic()
            await asyncio.to_thread(wait_for, lambda: "the relay of" in siskin.log(), PATIENCE, "the relay's end")
            assert time.monotonic() - began < PATIENCE and ann.io.connected
            await ann.io.disconnect()

    asyncio.run(play())


def test_what_waits_for_a_relay_that_breaks_off_goes_over_the_next(start_siskin):
    """The first connection takes nothing and ends; the page learns that something may be lost, and what waits arrives."""

    async def play():
        cut = asyncio.Event()

        async def until_cut(writer):
            await cut.wait()

        def script(connection):
            return (*HELLO, until_cut, None) if connection == 1 else HELLO

        async with Raw("fine", script) as raw:
            siskin = await asyncio.to_thread(lambda: start_siskin(SISKIN_DIRECTORY=raw.url, SISKIN_LOG="debug"))
            [ann] = await pages(siskin, "ann")
            # More than sockets hold.
            for _ in range(40):
                await ann.io.emit("invented:fill", "x" * 200_000)
            await asyncio.sleep(MOMENT)
            cut.set()
            await ann.hears(lambda name, *args: name == "error" and "may not have arrived" in args[0]["message"])
            await ann.io.emit("invented:last", 1)
            last = '42["invented:last",1]'
            await asyncio.to_thread(wait_for, lambda: raw.said and last in spoken(raw.said[-1]), PATIENCE, "what waited")
            assert raw.handshakes == 2 and sum("invented:fill" in said for said in spoken(raw.said[-1])) > 1
            await ann.io.disconnect()

    asyncio.run(play())


@pytest.mark.parametrize("mode", ["500", "half"])
def test_an_event_that_comes_to_nothing_is_an_error(start_siskin, mode):
    async def play():
        async with Raw(mode) as raw:
            siskin = await asyncio.to_thread(lambda: start_siskin(SISKIN_DIRECTORY=raw.url, SISKIN_LOG="debug"))
            [ann] = await pages(siskin, "ann")
            lost = lambda: [args[0]["message"] for name, *args in ann.heard if name == "error"]  # noqa: E731
            await ann.io.emit("invented:ask", 1)
            await asyncio.to_thread(wait_for, lambda: len(lost()) == 1, PATIENCE, "an error")
            # Nobody tries again for a while.
            await ann.io.emit("invented:ask", 2)
            await asyncio.to_thread(wait_for, lambda: len(lost()) == 2, PATIENCE, "another")
            assert all("can't be handed to Open WebUI" in message for message in lost()) and raw.handshakes == 1
            await ann.io.disconnect()

    asyncio.run(play())
