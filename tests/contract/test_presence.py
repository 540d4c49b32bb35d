"""Who is present in a chat, by the clock. Apart from the other sessions' tests: each waits for the check that comes every 30 seconds."""

import asyncio

from siskin import wait_for
from test_sessions import PATIENCE, Client


class Clock:
    """The time of day as an instance sees it, ahead of ours; how fast time passes for its timers stays as it is."""

    def __init__(self, folder):
        self.file = folder / "clock"
        self.put_ahead(0)
        self.settings = {
            "LD_PRELOAD": "/usr/$LIB/faketime/libfaketimeMT.so.1",
            "FAKETIME_TIMESTAMP_FILE": self.file,
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def put_ahead(self, seconds):
        fresh = self.file.with_suffix(".new")
        fresh.write_text(f"+{seconds}\n")
        fresh.replace(self.file)


def test_who_sends_no_heartbeat_is_no_longer_present(start_siskin, tmp_path):
    """After 120 seconds, seen at the check that comes every 30; the socket itself stays."""
    clock = Clock(tmp_path)
    siskin = start_siskin(**clock.settings)

    async def play():
        grants = [{"principal_type": "user", "principal_id": "*", "permission": "read"}]
        chat = {"user_id": "ann", "title": "Plans", "access_grants": grants}
        await asyncio.to_thread(siskin.api, "PUT", "/chats/chat1", chat)
        ann, bob, cleo, dora = people = [await Client.connect(siskin, siskin.token(who)) for who in ("ann", "bob", "cleo", "dora")]
        join = {"chat_id": "chat1", "data": {"type": "join"}}
        for client in people:
            assert await client.io.call("events:chat", join, timeout=PATIENCE) is True
        for ahead, client in ((140, cleo), (200, ann)):
            clock.put_ahead(ahead)
            await client.io.call("heartbeat", {}, timeout=PATIENCE)

        def present():
            return [[user["id"] for user in heard["data"]["data"]["users"]] for _, heard in ann.heard]

        await asyncio.to_thread(wait_for, lambda: len(present()) > 4, 45, "news of who is present")
        # Bob and Dora leave in one go, and that is said once.
        assert present() == [["ann"], ["ann", "bob"], ["ann", "bob", "cleo"], ["ann", "bob", "cleo", "dora"], ["ann", "cleo"]]
        await bob.io.call("heartbeat", {}, timeout=PATIENCE)
        assert await bob.io.call("events:chat", join, timeout=PATIENCE) is True
        for client in people:
            assert not client.gone.is_set()
            await client.io.disconnect()

    asyncio.run(play())
