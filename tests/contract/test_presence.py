"""Who is present in a chat, by the clock. Apart from the other sessions' tests: each waits for the check that comes every 30 seconds."""

import asyncio
import time

import pytest
from siskin import wait_for
from test_sessions import PATIENCE, Client


class Clock:
    """The time of day as an instance sees it, ahead of ours; how fast time passes for it stays as it is."""

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
        fresh.write_text(f"{seconds:+}\n")
        fresh.replace(self.file)


def test_who_sends_no_heartbeat_is_no_longer_present(siskin):
    """After 120 seconds, seen at the check that comes every 30; the socket itself stays. No clock can be moved for it: this
    is measured by the one that nobody sets."""

    async def play():
        grants = [{"principal_type": "user", "principal_id": "*", "permission": "read"}]
        chat = {"user_id": "ann", "title": "Plans", "access_grants": grants}
        await asyncio.to_thread(siskin.api, "PUT", "/chats/chat1", chat)
        ann, bob, cleo, dora = people = [await Client.connect(siskin, siskin.token(who)) for who in ("ann", "bob", "cleo", "dora")]
        join = {"chat_id": "chat1", "data": {"type": "join"}}
        for client in people:
            assert await client.io.call("events:chat", join, timeout=PATIENCE) is True
        # Both in the middle between two checks, so that one check sees them go.
        await asyncio.sleep(10)
        for client in (bob, dora):
            await client.io.call("heartbeat", {}, timeout=PATIENCE)
        for client in (cleo, ann):
            await asyncio.sleep(40)
            await client.io.call("heartbeat", {}, timeout=PATIENCE)

        def present():
            return [[user["id"] for user in heard["data"]["data"]["users"]] for _, heard in ann.heard]

        await asyncio.to_thread(wait_for, lambda: len(present()) > 4, 75, "news of who is present")
        # Bob and Dora leave in one go, and that is said once.
        assert present() == [["ann"], ["ann", "bob"], ["ann", "bob", "cleo"], ["ann", "bob", "cleo", "dora"], ["ann", "cleo"]]
        await bob.io.call("heartbeat", {}, timeout=PATIENCE)
        assert await bob.io.call("events:chat", join, timeout=PATIENCE) is True
        for client in people:
            assert not client.gone.is_set()
            await client.io.disconnect()

    asyncio.run(play())


@pytest.mark.parametrize("days", [30, -30])
def test_a_clock_that_is_set_ends_no_session_and_keeps_nothing_alive(start_siskin, tmp_path, days):
    clock = Clock(tmp_path)
    siskin = start_siskin(**clock.settings)

    async def play():
        chat = {"user_id": "ann", "title": "Plans", "access_grants": [{"principal_type": "user", "principal_id": "*", "permission": "write"}]}
        await asyncio.to_thread(siskin.api, "PUT", "/chats/chat1", chat)
        now = int(time.time())
        claims = {"exp": now + 86_400, "nbf": now - 10, "iat": now - 10}
        brief = await Client.connect(siskin, siskin.token("cleo", **{**claims, "exp": now + 20}))
        ann, bob = people = [await Client.connect(siskin, siskin.token(who, **claims)) for who in ("ann", "bob")]
        for client in people:
            assert await client.io.call("events:chat", {"chat_id": "chat1", "data": {"type": "join"}}, timeout=PATIENCE) is True
            await client.io.emit("usage", {"model": "left"})
            await client.io.emit("usage", {"model": "used"})
        await asyncio.sleep(0.2)
        clock.put_ahead(days * 86_400)

        def models():
            return siskin.api("GET", "/models").json()["models"]

        assert await asyncio.to_thread(models) == ["left", "used"]
        end = time.monotonic() + 35
        while time.monotonic() < end:
            for client in people:
                await client.io.call("heartbeat", {}, timeout=PATIENCE)
                await client.io.emit("usage", {"model": "used"})
            await asyncio.sleep(1)
        assert await asyncio.to_thread(models) == ["used"]
        assert brief.gone.is_set(), "a token's time passes as before"
        for who, client in zip(("ann", "bob"), people, strict=True):
            assert not client.gone.is_set()
            # The token that it showed when it came is as good as it was.
            auth = {"auth": {"token": siskin.token(who, **claims)}}
            assert (await client.io.call("user-join", auth, timeout=PATIENCE))["id"] == who
        typing = {"chat_id": "chat1", "data": {"type": "typing", "data": {"typing": True}}}
        assert await bob.io.call("events:chat", typing, timeout=PATIENCE) is True
        present = [heard["data"]["data"]["users"] for _, heard in ann.heard if "users" in heard["data"].get("data", {})]
        assert [user["id"] for user in present[-1]] == ["ann", "bob"]
        for client in people:
            await client.io.disconnect()

    asyncio.run(play())
    assert "no heartbeat" not in siskin.log() and siskin.log().count("has expired") == 1
