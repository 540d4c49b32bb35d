"""Plays every transcript with python-socketio's client."""

import asyncio
import json
import re

import aiohttp
import pytest
import socketio

from transcript import ROWS, Names, read, values

PATIENCE = 5
MARKER = "transcript:marker"


class Client:
    """One connection, and what came over it that nobody has looked at yet."""

    def __init__(self, url, auth, transport):
        self.url, self.auth, self.transport = url, auth, transport
        self.signed_in = False
        self.io = socketio.AsyncClient(reconnection=False)
        self.came = asyncio.Queue()
        self.gone = asyncio.Event()
        self.ack = None
        self.asked = None
        self.io.on("*", self.receive)
        self.io.on("disconnect", self.disconnected)

    async def receive(self, name, *args):
        answer = asyncio.get_running_loop().create_future()
        await self.came.put((name, list(args), answer))
        return await answer

    async def disconnected(self, reason):
        self.gone.set()

    async def connect(self):
        await self.io.connect(
            self.url,
            auth=self.auth,
            socketio_path="/ws/socket.io",
            transports=[self.transport],
            wait_timeout=PATIENCE,
        )

    @property
    def sid(self):
        return self.io.get_sid()


class Play:
    def __init__(self, siskin, transport):
        self.siskin, self.transport = siskin, transport
        self.clients = {}
        self.requests = []
        self.names = Names(lambda who: siskin.token(who), lambda who: self.clients[who].sid)

    async def run(self, steps):
        headers = {"Authorization": f"Bearer {self.siskin.api_key}"}
        async with aiohttp.ClientSession(self.siskin.url, headers=headers) as self.http:
            try:
                for step in steps:
                    await self.send(step.line)
                    for line in step.causes:
                        await asyncio.wait_for(self.expect(line), PATIENCE)
                    await self.nothing_else(step.line)
                assert not self.requests, "a request was never answered in the transcript"
            finally:
                for request in self.requests:
                    request.cancel()
                for client in self.clients.values():
                    await client.io.disconnect()

    async def send(self, line):
        client = self.clients.get(line.who)
        if line.mark == "wait":
            await asyncio.sleep(float(line.rest))
        elif line.who == "api":
            await self.request(line)
        elif line.mark == "+":
            given = values(line.rest)
            own = {"token": self.siskin.token(line.who.split("/")[0])}
            auth = self.names.fill(given[0]) if given else own
            client = self.clients[line.who] = Client(self.siskin.url, auth, self.transport)
            await client.connect()
            client.signed_in = not given
        elif line.mark == "-":
            await client.io.disconnect()
            del self.clients[line.who]
        elif line.mark == "=>":
            args = self.names.fill(values(line.rest))
            client.asked.set_result(args[0] if len(args) == 1 else tuple(args))
        else:
            name, args = line.name_and_args()
            args = tuple(self.names.fill(args))
            if line.mark == ">?":
                client.ack = asyncio.get_running_loop().create_future()
                await client.io.emit(name, args, callback=self.acked(client.ack))
            else:
                await client.io.emit(name, args)

    def acked(self, future):
        return lambda *args: future.done() or future.set_result(list(args))

    async def request(self, line):
        method, path, body = re.match(r"(\S+) ((?:\{sid \S+\}|[^\s{])+)\s*(.*)", line.rest, re.S).groups()
        path = re.sub(r"\{sid (\S+)\}", lambda match: self.clients[match[1]].sid, path)
        body = self.names.fill(json.loads(body)) if body else None
        request = asyncio.create_task(self.fetch(method, "/api/v1" + path, body))
        self.requests.append(request)
        await asyncio.sleep(0)

    async def fetch(self, method, path, body):
        async with self.http.request(method, path, json=body) as response:
            text = await response.text()
            return response.status, json.loads(text) if text else None

    async def expect(self, line):
        client = self.clients.get(line.who)
        if line.who == "api":
            status, body = await self.requests.pop(0)
            if line.rest == "ok":
                assert status < 300, f"{line}\ncame {status}: {body}"
                return
            said, *rest = values(line.rest)
            assert said == status, f"{line}\ncame {status}: {body}"
            assert not rest or self.names.fits(rest[0], body), f"{line}\ncame {body}"
        elif line.mark == "!":
            await client.gone.wait()
            del self.clients[line.who]
        elif line.mark == "=" and line.rest == "never":
            await self.nothing_else(line)
            assert not client.ack.done(), f"{line}\ncame {client.ack.result()}"
        elif line.mark == "=":
            came = await client.ack
            assert self.names.fits(values(line.rest), came), f"{line}\ncame {came}"
        else:
            name, args, answer = await client.came.get()
            said = line.name_and_args()
            assert name == said[0] and self.names.fits(said[1], args), f"{line}\ncame {name} {json.dumps(args)}"
            if line.mark == "<?":
                client.asked = answer
            else:
                answer.set_result(None)

    async def nothing_else(self, line):
        """Sends a marker to everybody; what comes before it should have been in the transcript."""
        sender = self.clients.get(line.who)
        if sender and sender.signed_in:
            # The events of a client are handled in order: after this ack the one before is done with.
            await asyncio.wait_for(sender.io.call("heartbeat", {}), PATIENCE)
        for client in self.clients.values():
            body = {"session_id": client.sid, "event": MARKER}
            status, told = await self.fetch("POST", "/api/v1/emit", body)
            assert told == {"delivered": 1}, f"{line}\nno marker: {status} {told}"
        for who, client in self.clients.items():
            name, args, answer = await asyncio.wait_for(client.came.get(), PATIENCE)
            assert name == MARKER, f"{line}\nbut {who} also received {name} {json.dumps(args)}"
            answer.set_result(None)


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("path", ROWS, ids=lambda path: path.stem)
def test_python_socketio(path, transport, siskin):
    asyncio.run(Play(siskin, transport).run(read(path)))
