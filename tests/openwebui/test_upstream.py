"""An upstream that misbehaves: a clear line in the log, no panic, no token in it, and nobody loses their socket."""

import asyncio
import pathlib
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from client import MOMENT, PATIENCE, Client, ready
from siskin import free_port, has_token, wait_for
from stranger import until
from upstream import CHAT, NOTE, Upstream
from wire import WebSocket


SAYS = {
    "html": "is answered with 200 without a token: is this Open WebUI?",
    "500": "is answered with 500",
    "redirect": "is answered with 307, and redirects are not followed",
    "half": "",
    "endless": "is answered with 200",
    "garbage": "it does not speak HTTP",
    "closed": "",
    "late": "no answer within 5 s",
    "truncated": "is answered with 200",
}


async def outage(beside, upstream, mode):
    """Ann is here when it begins, Bob comes while it lasts."""
    ann = await Client(beside, beside.token("ann")).connect()
    assert await ann.join() == {"id": "ann", "name": "ann"}
    assert await ann.call("events:chat", {"chat_id": CHAT, "data": {"type": "join"}}) is True
    wait_for(lambda: ready(beside)[0], what="readiness")

    upstream.mode = mode
    bob = await Client(beside, beside.token("bob")).connect()
    await asyncio.to_thread(wait_for, lambda: not ready(beside)[0], what="a reason in /ready")
    away = [reason for reason in ready(beside)[1] if "Open WebUI" in reason]
    assert len(away) == 1 and SAYS[mode] in away[0], away
    # New ones are told that it is tried again; who is here keeps the socket and what was known.
    await bob.hears(lambda name, *args: name == "error")
    assert await bob.call("events:chat", {"chat_id": CHAT, "data": {"type": "join"}}, MOMENT) is None
    assert await ann.call("events:chat", {"chat_id": CHAT, "data": {"type": "typing", "data": {"typing": True}}}) is True
    assert await ann.join() == {"id": "ann", "name": "ann"}
    assert ann.io.connected and bob.io.connected

    upstream.mode = "fine"
    upstream.hang.set()
    await asyncio.to_thread(wait_for, lambda: ready(beside)[0], what="readiness")
    if mode == "closed":
        # Nobody was there, so this is another process now: both connect anew.
        for client in (ann, bob):
            await asyncio.to_thread(wait_for, lambda: not client.io.connected, what="a disconnect")
        assert await (await ann.connect()).join() == {"id": "ann", "name": "ann"}
        await bob.connect()
    assert await bob.join() == {"id": "bob", "name": "bob"}
    assert await bob.call("events:chat", {"chat_id": CHAT, "data": {"type": "join"}}) is True
    for client in (ann, bob):
        await client.io.disconnect()


@pytest.mark.parametrize("modes", [list(SAYS)[:5], list(SAYS)[5:]], ids=" ".join)
def test_upstreams_that_answer_nonsense(start_siskin, modes):
    """Side by side, since each is mostly waiting."""

    def play(mode):
        upstream = Upstream()
        try:
            siskin = start_siskin(SISKIN_DIRECTORY=upstream.url, SISKIN_LOG="debug")
            asyncio.run(outage(siskin, upstream, mode))
        finally:
            upstream.close()
        wait_for(lambda: "is back after" in siskin.log(), what="the line that it is back")
        log = siskin.log()
        assert log.count("is away:") == 1 and log.count("is back after") == 1, log
        assert not has_token(log), "a token in the log"
        assert not [path for _, path, _ in upstream.asked if path == "/elsewhere"]

    with ThreadPoolExecutor() as pool:
        played = {mode: pool.submit(play, mode) for mode in modes}
    failed = {mode: future.exception() for mode, future in played.items() if future.exception()}
    assert not failed


def test_an_upstream_that_is_not_there(start_siskin):
    port = free_port()
    siskin = start_siskin(SISKIN_DIRECTORY=f"http://127.0.0.1:{port}", SISKIN_LOG="debug")
    wait_for(lambda: not ready(siskin)[0], what="a reason in /ready")
    assert f"Open WebUI at http://127.0.0.1:{port} is away: Connection refused" in ready(siskin)[1][0]

    async def play():
        ann = await Client(siskin, siskin.token("ann")).connect()
        await ann.hears(lambda name, *args: name == "error")
        upstream = Upstream(port)
        try:
            async def joined():
                while await ann.join(MOMENT) is None:
                    pass

            await asyncio.wait_for(joined(), PATIENCE)
        finally:
            upstream.close()
        await ann.io.disconnect()

    asyncio.run(play())
    wait_for(lambda: "is back after" in siskin.log(), what="the line that it is back")
    assert siskin.log().count("is away:") == 1


def test_a_refused_token_is_refused(beside, upstream):
    async def play():
        mallory = await Client(beside, beside.token("refused")).connect()
        assert await mallory.join(MOMENT) is None
        assert not [heard for heard in mallory.heard if heard[0] == "error"]
        await mallory.io.disconnect()

    asyncio.run(play())
    assert ready(beside)[0]


def test_a_wait_holds_up_its_own_thing_alone(beside, upstream):
    """A chat is being opened, and Open WebUI does not answer."""
    ws = WebSocket(beside, timeout=30)
    ws.join("ann")
    upstream.mode = "late"
    ws.event("events:chat", {"chat_id": CHAT, "data": {"type": "join"}}, ack=1)
    ws.event("usage", {"model": "m"}, ack=2)
    assert until(ws, "43").startswith("432")
    # What is about the same chat waits, and all that comes after it.
    ws.event("events:chat", {"chat_id": CHAT, "data": {"type": "leave"}}, ack=3)
    ws.event("usage", {"model": "m"}, ack=4)
    upstream.mode = "fine"
    upstream.hang.set()
    answers = [until(ws, "43")]
    while not answers[-1].startswith("434"):
        answers.append(until(ws, "43"))
    assert answers[-2:] == ["433[true]", "434[]"], answers
    assert set(answers[:-2]) <= {"431[true]"}


WRONG_IDS = [
    "all",
    "list",
    "pinned",
    "..",
    ".",
    f"../notes/{NOTE}",
    f"{CHAT}/messages",
    f"{CHAT}%2Fmessages",
    f"{CHAT}?x=1",
    f"{CHAT}#x",
    f"{CHAT}\n",
    "*",
    "a:b",
    "ü" * 36,
    "x" * 10_000,
]


def test_ids_reach_no_other_path(beside, upstream):
    async def play():
        ann = await Client(beside, beside.token("ann")).connect()
        await ann.join()
        upstream.asked.clear()
        auth = {"token": ann.token}
        for id in WRONG_IDS:
            await ann.io.emit("events:chat", {"chat_id": id, "data": {"type": "join"}})
            await ann.io.emit("join-note", {"auth": auth, "note_id": id})
            await ann.io.emit("ydoc:document:join", {"document_id": f"note:{id}"})
            await ann.io.emit("ydoc:document:update", {"document_id": f"note:{id}", "update": [0, 0], "data": {"content": None}})
        assert await ann.call("events:chat", {"chat_id": CHAT, "data": {"type": "join"}}) is True
        await ann.io.disconnect()

    asyncio.run(play())
    assert {path for _, path, _ in upstream.asked} <= {f"/api/v1/chats/{CHAT}", "/api/v1/auths/", "/api/version"}


def test_connections_are_kept(beside, upstream):
    """Forty people sign in over the few connections that there may be."""

    async def play():
        clients = [await Client(beside, beside.token(f"u{n}")).connect() for n in range(40)]
        assert all(await asyncio.gather(*(client.join() for client in clients)))
        for client in clients:
            await client.io.disconnect()

    asyncio.run(play())
    assert len(upstream.asked) >= 80 and upstream.connections <= 9, (len(upstream.asked), upstream.connections)
    tokens = {token for _, path, token in upstream.asked if path == "/api/v1/channels/"}
    assert len(tokens) == 40


async def edit(client, update, content):
    payload = {"document_id": f"note:{NOTE}", "update": update, "data": {"content": content}}
    await client.io.emit("ydoc:document:update", payload)


def test_a_save_waits_until_the_upstream_is_back(beside, upstream):
    async def play():
        ann = await Client(beside, beside.token("ann")).connect()
        await ann.join()
        await ann.io.emit("join-note", {"auth": {"token": ann.token}, "note_id": NOTE})
        await ann.io.emit("ydoc:document:join", {"document_id": f"note:{NOTE}"})
        await ann.hears(lambda name, *args: name == "ydoc:document:state" and args[0]["content"] == {"md": "saved"})
        upstream.mode = "500"
        await edit(ann, [0, 0], {"md": "written while it was away"})
        await asyncio.to_thread(wait_for, lambda: not ready(beside)[0], what="a reason in /ready")
        await ann.io.emit("ydoc:document:leave", {"document_id": f"note:{NOTE}"})
        assert upstream.saved == []
        upstream.mode = "fine"
        await asyncio.to_thread(wait_for, lambda: upstream.saved, what="the save")
        assert upstream.saved == [{"content": {"md": "written while it was away"}}]
        assert not [heard for heard in ann.heard if heard[0] == "events:note"]
        await ann.io.disconnect()

    asyncio.run(play())


def test_an_empty_document_does_not_win(beside, upstream):
    async def play():
        ann = await Client(beside, beside.token("ann")).connect()
        await ann.join()
        await ann.io.emit("ydoc:document:join", {"document_id": f"note:{NOTE}"})
        await ann.hears(lambda name, *args: name == "ydoc:document:state")
        await edit(ann, [0, 0], {"md": "", "html": "<p></p>"})
        await ann.hears(lambda name, *args: name == "error" and "empty document" in args[0]["message"])
        assert upstream.saved == []
        await ann.io.disconnect()

    asyncio.run(play())


def test_the_resources_of_the_api_are_the_upstreams(beside):
    for path in ["/users", "/channels", "/notes", "/chats"]:
        answer = beside.api("GET", path, ok=False)
        assert answer.status_code == 409 and "Open WebUI" in answer.json()["detail"], answer.text
    event = {"user_id": "ann", "chat_id": CHAT, "message_id": "m", "event": {"type": "message", "data": {"content": "x"}}}
    assert beside.api("POST", "/chat/event", event).json()["saved"] == "failed"
    assert not list(pathlib.Path(beside.data_dir).iterdir()), "a store that nobody needs"


def test_another_version_is_connected_to_anew(beside, upstream):
    """Seen twice, since two of them may answer in turn while they are exchanged; whoever comes after that stays."""

    async def play():
        ann = await Client(beside, beside.token("ann")).connect()
        await ann.join()

        def asked():
            return [path for _, path, _ in list(upstream.asked)].count("/api/version")

        await asyncio.to_thread(wait_for, lambda: asked() > 1, what="looks at the version")
        # What tells no version, or less, or more, is no other version.
        for same in [{"version": None}, {"more": [1], "deployment_id": None, "version": "0.12.4"}, {"deployment_id": "", "version": "0.12.4"}]:
            upstream.version, before = same, asked()
            await asyncio.to_thread(wait_for, lambda: asked() > before + 3, what="looks at what is no other version")
        assert "another version" not in beside.log()
        upstream.version = {"version": "0.12.4", "deployment_id": "2"}
        await asyncio.to_thread(wait_for, lambda: not ann.io.connected, what="a disconnect")
        await ann.connect()
        assert await ann.join() == {"id": "ann", "name": "ann"}
        before = asked()
        await asyncio.to_thread(wait_for, lambda: asked() > before + 2, what="more looks at the version")
        assert ann.io.connected
        await ann.io.disconnect()

    asyncio.run(play())
    assert ready(beside)[0]
    assert beside.log().count("has another version") == 1
