"""Writes over the API and over sockets, and remembers what was acknowledged.

Every value is a number that only grows. So after a crash each must be one that was sent, and none before the last one that
was acknowledged.
"""

import asyncio
import copy
import threading

import aiohttp
import socketio

PEOPLE = 6
MESSAGES = 3
NOTES = 2
CHATS = 3
# A larger value now and then.
LARGE = 150_000
# Seconds of load beside other work, should that never end it.
LONGEST = 120


class Count:
    """A value: the last number sent, the last one acknowledged."""

    def __init__(self):
        self.sent = self.acked = 0

    def next(self):
        self.sent += 1
        return self.sent

    def found(self, what, number):
        """After a start; later rounds go on from there."""
        assert self.acked <= number <= self.sent, f"{what} is {number}: {self.acked} was acknowledged, {self.sent} sent"
        self.sent = self.acked = number


class Load:
    """The writers of one store, through all its crashes."""

    def __init__(self, chance, grows=False, pause=0):
        self.chance, self.grows, self.pause = chance, grows, pause
        self.people = [Count() for _ in range(PEOPLE)]
        self.messages = [Count() for _ in range(MESSAGES)]
        self.notes = [Count() for _ in range(NOTES)]
        self.chats = [Count() for _ in range(CHATS)]
        self.acks = 0

    async def prepare(self, siskin):
        """What the writers need, acknowledged before the first crash."""
        async with session(siskin) as http:
            await put(http, "/chats/talk", {"user_id": "ann"})
            for number in range(MESSAGES):
                await put(http, f"/chats/talk/messages/m{number}", {"role": "assistant", "content": ""})
            for number in range(NOTES):
                await put(http, f"/notes/n{number}", {"user_id": "ann", "data": {"content": {"md": "0"}}})

    async def run(self, siskin, seconds):
        """Everybody writes; after this time the server is killed, with all of them in the middle of it."""
        async with session(siskin) as http:
            writers = [self.person(http, number) for number in range(PEOPLE)]
            writers += [self.message(http, number) for number in range(MESSAGES)]
            writers += [self.chat(http, number) for number in range(CHATS)]
            writers += [self.note(http, siskin, number) for number in range(NOTES)]
            writers += [self.junk(http)] if self.grows else []
            tasks = [asyncio.create_task(writer) for writer in writers]
            await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
            siskin.process.kill()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            wrong = [end for end in ended if not isinstance(end, (aiohttp.ClientError, ConnectionError))]
            assert not wrong, wrong

    async def person(self, http, number):
        """One record after another, each replacing the one before."""
        count = self.people[number]
        while True:
            value = count.next()
            filler = "x" * (LARGE if self.chance.random() < 0.02 else self.chance.randrange(500))
            await put(http, f"/users/p{number}", {"name": str(value), "filler": filler})
            self.acked(count, value)
            await asyncio.sleep(self.pause)

    def run_beside(self, siskin, work):
        """Everybody writes while `work` runs in a thread of its own, which ends with killing the server."""
        thread = threading.Thread(target=work)
        thread.start()
        asyncio.run(self.run(siskin, LONGEST))
        thread.join()
        siskin.kill()

    def known(self):
        """A copy: what is acknowledged now. What was sent is taken over from here later, by `until_now`."""
        return copy.deepcopy(self)

    def until_now(self, known):
        """In the copy, what was sent by now."""
        for count, now in zip(known.counts(), self.counts()):
            count.sent = now.sent
        return known

    def counts(self):
        return [*self.people, *self.messages, *self.notes, *self.chats]

    async def message(self, http, number):
        """Tokens of an answer, each acknowledged as saved."""
        count = self.messages[number]
        place = {"user_id": "ann", "chat_id": "talk", "message_id": f"m{number}"}
        while True:
            value = count.next()
            event = {"type": "message", "data": {"content": f"{value},"}}
            async with http.post("/api/v1/chat/event", json={**place, "event": event}) as answer:
                assert (await answer.json())["saved"] == "yes"
            self.acked(count, value)
            await asyncio.sleep(self.pause)

    async def chat(self, http, number):
        """A chat that changes hands: two tables change together."""
        count = self.chats[number]
        while True:
            value = count.next()
            await put(http, f"/chats/c{number}", {"user_id": ["ann", "bob"][value % 2], "title": str(value)})
            self.acked(count, value)
            await asyncio.sleep(self.pause)

    async def junk(self, http):
        """Much, and then nothing of it: the file is mostly free, and rewritten."""
        while True:
            for number in range(15):
                await put(http, f"/users/junk{number}", {"name": "0", "filler": "x" * self.chance.randrange(500_000)})
            for number in range(15):
                async with http.delete(f"/api/v1/users/junk{number}") as answer:
                    assert answer.status == 204, await answer.text()

    async def note(self, http, siskin, number):
        """An editor, and a backend whose change of the note is answered once what the editor did before is on disk."""
        count, id = self.notes[number], f"n{number}"
        io, gone = socketio.AsyncClient(reconnection=False), asyncio.Event()
        io.on("disconnect", lambda reason: gone.set())
        token = siskin.token("ann")
        try:
            await io.connect(siskin.url, auth={"token": token}, socketio_path="/ws/socket.io", transports=["websocket"])
            await io.emit("join-note", {"auth": {"token": token}, "note_id": id})
            await io.emit("ydoc:document:join", {"document_id": f"note:{id}"})
            while not gone.is_set():
                value = count.next()
                await io.emit("ydoc:document:update", {"document_id": f"note:{id}", "data": {"content": {"md": str(value)}}})
                await asyncio.sleep(0.02)
                if value % 4 == 0:
                    async with http.patch(f"/api/v1/notes/{id}", json={"meta": {"number": value}}) as answer:
                        assert answer.status == 200, await answer.text()
                        self.acked(count, int((await answer.json())["data"]["content"]["md"]))
                    # A pause lets it be saved without being asked for, too.
                    await asyncio.sleep(0.55)
        except socketio.exceptions.SocketIOError as error:
            raise ConnectionError from error
        finally:
            await io.disconnect()
        raise ConnectionError

    def acked(self, count, value):
        count.acked = max(count.acked, value)
        self.acks += 1

    async def verify(self, siskin):
        """Nothing that was acknowledged is missing, nothing is there by half."""
        async with session(siskin) as http:
            async with http.get("/ready") as ready:
                assert ready.status == 200, await ready.text()
            users = {user["id"]: user for user in (await get(http, "/users"))["users"]}
            for number, count in enumerate(self.people):
                count.found(f"p{number}", int(users.get(f"p{number}", {"name": 0})["name"]))
            for number, count in enumerate(self.messages):
                content = (await get(http, f"/chats/talk/messages/m{number}"))["content"]
                tokens = content.split(",")[:-1]
                assert tokens == [str(token) for token in range(1, len(tokens) + 1)], content
                count.found(f"m{number}", len(tokens))
            for number, count in enumerate(self.notes):
                count.found(f"n{number}", int((await get(http, f"/notes/n{number}"))["data"]["content"]["md"]))
            await self.verify_chats(http)

    async def verify_chats(self, http):
        chats = {chat["id"]: chat for chat in (await get(http, "/chats"))["chats"]}
        for number, count in enumerate(self.chats):
            count.found(f"c{number}", int(chats.get(f"c{number}", {"title": 0})["title"]))
        for owner in ("ann", "bob"):
            theirs = [chat["id"] for chat in (await get(http, f"/chats?user_id={owner}"))["chats"]]
            assert theirs == [id for id, chat in chats.items() if chat["user_id"] == owner]


def session(siskin):
    """Requests to an instance, as a backend."""
    return aiohttp.ClientSession(siskin.url, headers={"Authorization": f"Bearer {siskin.api_key}"})


async def put(http, path, body):
    async with http.put("/api/v1" + path, json=body) as answer:
        assert answer.status in (200, 201), f"{path}: {answer.status} {await answer.text()}"


async def get(http, path):
    async with http.get("/api/v1" + path) as answer:
        assert answer.status == 200, f"{path}: {answer.status} {await answer.text()}"
        return await answer.json()
