"""A user's connection to siskin, and what it hears."""

import asyncio

import socketio

PATIENCE = 15
# How long an answer is waited for that should not come.
MOMENT = 0.7


class Client:
    def __init__(self, siskin, token):
        self.siskin, self.token = siskin, token
        self.io = socketio.AsyncClient(reconnection=False)
        self.heard = []
        self.io.on("*", lambda name, *args: self.heard.append((name, *args)))

    async def connect(self, transport="websocket"):
        await self.io.connect(
            self.siskin.url, auth={"token": self.token}, socketio_path="/ws/socket.io", transports=[transport]
        )
        return self

    async def join(self, timeout=PATIENCE):
        """The answer to `user-join`; `None` when there is none in time."""
        return await self.call("user-join", {"auth": {"token": self.token}}, timeout)

    async def call(self, event, payload, timeout=PATIENCE):
        try:
            return await self.io.call(event, payload, timeout=timeout)
        except socketio.exceptions.TimeoutError:
            return None

    async def hears(self, condition):
        async def look():
            while not any(condition(*heard) for heard in self.heard):
                await asyncio.sleep(0.02)

        await asyncio.wait_for(look(), PATIENCE)


def ready(siskin):
    return siskin.ready()
