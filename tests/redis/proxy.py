"""A TCP proxy before Redis that the test owns, to break what lies between: cut, stall, halve, damage, refuse, deafen."""

import asyncio
import contextlib

from siskin import free_port

SUBSCRIBING = {b"SUBSCRIBE", b"SSUBSCRIBE", b"PSUBSCRIBE"}


def commands(buffer):
    """The whole commands (arrays of bulk strings) at the head of a buffer, and what is left of it."""
    found = []
    while True:
        try:
            words, at = [], buffer.index(b"\r\n") + 2
            for _ in range(int(buffer[1 : at - 2])):
                end = buffer.index(b"\r\n", at)
                size = int(buffer[at + 1 : end])
                words.append(buffer[end + 2 : end + 2 + size])
                at = end + 2 + size + 2
        except ValueError:
            return found, buffer
        if len(buffer) < at:
            return found, buffer
        found.append(words)
        buffer = buffer[at:]


class Link:
    """One connection through the proxy."""

    def __init__(self, near, far):
        self.near, self.far = near, far
        self.subscriber = False
        self.requests = b""

    def close(self):
        for writer in (self.near, self.far):
            with contextlib.suppress(RuntimeError):
                writer.transport.abort()


class Proxy:
    """`async with Proxy(port) as proxy`: connect to `proxy.url`."""

    def __init__(self, target):
        self.target, self.port = target, free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.links = set()
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.halve = self.damage = self.deaf = False
        self.error = None
        # How many seconds what is sent to Redis is kept back.
        self.delay = None
        self.refused = self.accepted = 0
        self.tasks = set()

    async def __aenter__(self):
        await self.open()
        return self

    async def __aexit__(self, *_):
        await self.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def open(self):
        """Accepts connections."""
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=1 << 20)

    async def close(self):
        """Accepts none, and ends those that are."""
        self.server.close()
        self.cut()

    def cut(self):
        """Ends all connections."""
        for link in list(self.links):
            link.close()

    def stall(self):
        """Connections stay, nothing passes."""
        self.flowing.clear()

    def flow(self):
        """All passes again."""
        self.flowing.set()
        self.halve, self.damage, self.deaf, self.error = False, False, False, None

    def _accept(self, reader, writer):
        # Kept, so that no task is collected while it runs.
        task = asyncio.ensure_future(self._serve(reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _serve(self, reader, writer):
        self.accepted += 1
        try:
            upstream, far = await asyncio.open_connection("127.0.0.1", self.target, limit=1 << 20)
        except OSError:
            return writer.transport.abort()
        link = Link(writer, far)
        self.links.add(link)
        try:
            await asyncio.gather(self._requests(link, reader), self._replies(link, upstream))
        except OSError:
            pass
        finally:
            link.close()
            self.links.discard(link)

    async def _requests(self, link, reader):
        while data := await reader.read(1 << 16):
            await self.flowing.wait()
            if self.delay:
                await asyncio.sleep(self.delay(data))
            link.subscriber = link.subscriber or any(word in data.upper() for word in SUBSCRIBING)
            if self.error:
                data = self._refuse(link, data)
            link.far.write(data)
            await link.far.drain()
        raise ConnectionResetError

    def _refuse(self, link, data):
        """What is to be passed on. In place of a command that the error is for, one that Redis answers with it in its turn."""
        found, link.requests = commands(link.requests + data)
        passed = b""
        for words in found:
            error = self.error(words[0].upper().decode())
            if error:
                self.refused += 1
                words = [b"EVAL", b"return redis.error_reply(ARGV[1])", b"0", error.encode()]
            passed += b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        return passed

    async def _replies(self, link, upstream):
        while data := await upstream.read(1 << 16):
            await self.flowing.wait()
            if self.deaf and link.subscriber:
                continue
            if self.halve:
                link.near.write(data[: max(1, len(data) // 2)])
                await link.near.drain()
                break
            link.near.write(data[:-1] + bytes([data[-1] ^ 1]) if self.damage else data)
            await link.near.drain()
        raise ConnectionResetError
