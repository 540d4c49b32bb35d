"""Events between two instances, as many as there are, while Redis loses what it has."""

import asyncio
import contextlib
import time

from parts import Api, clients, settings, until


class Load:
    """Two instances with five sockets each in one room; each instance emits to it every 20 ms."""

    def __init__(self, apis, sockets):
        self.apis, self.sockets = apis, sockets
        self.sent = {api: 0 for api in apis}

    async def emit(self, number, api):
        while True:
            self.sent[api] += 1
            await api.emit(f"from{number}", self.sent[api], room="room")
            await asyncio.sleep(0.02)

    async def all_ready(self):
        return all([(await api.ready())["ready"] for api in self.apis])

    async def crosses(self, seconds=30):
        """Waits until something sent from now on by each instance has reached every socket."""
        marks = list(self.sent.values())
        await until(lambda: self._past(marks), seconds, "events across instances")

    def _past(self, marks):
        return all(client.events(f"from{n}")[-1:] > [mark] for n, mark in enumerate(marks) for client in self.sockets)

    def check(self):
        """Own events are complete, the other's are in order and never twice. What was sent while Redis was away is lost."""
        for client in self.sockets:
            for number, api in enumerate(self.apis):
                got = client.events(f"from{number}")
                if client.server is api.instance:
                    assert got == list(range(1, len(got) + 1)), f"{client.user}: local events missing"
                assert all(a < b for a, b in zip(got, got[1:])), f"{client.user}: out of order or twice"
            assert not client.lost, f"{client.user} was disconnected"

    def missed(self):
        """How many events are missing among those that came."""
        got = [client.events(f"from{number}") for client in self.sockets for number in range(len(self.apis))]
        return sum(events[-1] - events[0] + 1 - len(events) for events in got if events)

    def lost(self):
        """How many events of the other instance the worst socket did not get."""
        return max(
            self.sent[api] - len(client.events(f"from{number}"))
            for client in self.sockets
            for number, api in enumerate(self.apis)
            if client.server is not api.instance
        )


@contextlib.asynccontextmanager
async def load(start_siskin, **more):
    a, b = start_siskin(**settings(**more)), start_siskin(**settings(**more))
    async with Api(a) as at_a, Api(b) as at_b, clients(*(((a, b)[n % 2], f"u{n}") for n in range(10))) as sockets:
        here = Load([at_a, at_b], sockets)
        await until(here.all_ready, what="readiness")
        for api in here.apis:
            await api.enter("room", *(client.user for client in sockets))
        emitting = [asyncio.ensure_future(here.emit(n, api)) for n, api in enumerate(here.apis)]
        try:
            await here.crosses()
            yield here
            assert not any(task.done() for task in emitting)
        finally:
            for task in emitting:
                task.cancel()
        here.check()


async def back(here, began, what):
    await until(here.all_ready, 60, f"readiness after {what}")
    await here.crosses()
    print(f"{what}: events cross again {time.monotonic() - began:.1f} s after it, at most {here.lost()} lost so far")
