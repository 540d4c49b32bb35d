"""siskin asks which version of Open WebUI answers, and does what that version wants."""

import asyncio

import pytest
import requests
from client import PATIENCE, Client
from process import Process
from siskin import wait_for
from upstream import NOTE

TYPED = {"md": "hello"}
GRANTS = [{"id": "g", "principal_type": "user", "principal_id": "bob", "permission": "write"}]
CONTROL = {"read": {"user_ids": ["bob"]}}
NOTES = {
    "0.12.4": {"title": "T", "access_grants": GRANTS},
    "0.12.3": {"title": "T", "access_grants": GRANTS},
    "0.11.4": {"title": "T", "access_grants": GRANTS},
    "0.10.2": {"title": "T", "access_grants": GRANTS},
    "0.6.43": {"title": "T", "access_control": CONTROL},
    "public 0.6.43": {"title": "T", "access_control": None},
}
SENT = {
    "0.12.4": [],
    "0.12.3": ["title"],
    "0.11.4": ["title"],
    "0.10.2": ["title", "access_grants"],
    "0.6.43": ["title", "access_control"],
    "public 0.6.43": ["title", "access_control"],
}


def known(siskin, version):
    wait_for(lambda: f"Open WebUI is {version}" in siskin.log(), PATIENCE, f"the line about {version}")


async def change(siskin, *contents):
    ann = await Client(siskin, siskin.token("ann")).connect()
    await ann.join()
    await ann.call("ydoc:document:join", {"document_id": f"note:{NOTE}"})
    for content in contents:
        await ann.call("ydoc:document:update", {"document_id": f"note:{NOTE}", "data": {"content": content}})
    return ann


@pytest.mark.parametrize("case", NOTES)
def test_a_note_is_saved_as_the_version_wants_it(start_siskin, upstream, case):
    version = case.split()[-1]
    upstream.version, upstream.fields, upstream.wants = {"version": version}, NOTES[case], SENT[case]
    siskin = start_siskin(SISKIN_DIRECTORY=upstream.url, SISKIN_LOG="debug")
    known(siskin, version)

    async def play():
        ann = await change(siskin, TYPED)
        await asyncio.to_thread(wait_for, lambda: upstream.saved, what="a save")
        # Somebody gives it another title meanwhile.
        upstream.fields = {**upstream.fields, "title": "Another"}
        await ann.call("ydoc:document:update", {"document_id": f"note:{NOTE}", "data": {"content": {"md": "more"}}})
        await asyncio.to_thread(wait_for, lambda: len(upstream.saved) > 1, what="another save")
        await ann.io.disconnect()

    asyncio.run(play())
    fields = {field: NOTES[case][field] for field in SENT[case]}
    assert upstream.forms[0] == {"data": {"content": TYPED}, **fields}
    again = {**fields, "title": "Another"} if fields else {}
    assert upstream.forms[1] == {"data": {"content": {"md": "more"}}, **again}
    # The version is known: nothing is tried in vain, and it isn't asked again.
    assert len(upstream.forms) == 2 and siskin.log().count("Open WebUI is ") == 1


def test_a_version_that_changes_meanwhile_is_asked_again(beside, upstream):
    known(beside, "0.12.4")
    upstream.version, upstream.wants = {"version": "0.8.12"}, ["title", "access_grants"]
    upstream.fields = {"title": "T", "access_grants": GRANTS}

    async def play():
        ann = await change(beside, TYPED)
        await asyncio.to_thread(wait_for, lambda: upstream.saved, what="a save")
        await ann.io.disconnect()
        assert not [heard for heard in ann.heard if heard[0] == "error"]

    asyncio.run(play())
    assert upstream.forms == [{"data": {"content": TYPED}}, {"data": {"content": TYPED}, **upstream.fields}]
    [line] = [line for line in beside.log().splitlines() if "Open WebUI is 0.8.12" in line]
    assert "public" in line


def test_a_version_that_comes_back_another_is_asked_again(beside, upstream):
    known(beside, "0.12.4")
    upstream.mode = "500"
    asyncio.run(change(beside))
    wait_for(lambda: "is away:" in beside.log(), what="the line that it is away")
    upstream.version, upstream.mode = {"version": "0.12.3"}, "fine"
    known(beside, "0.12.3")


def test_what_is_refused_for_another_reason_is_tried_no_second_time(beside, upstream):
    known(beside, "0.12.4")
    upstream.wants = ["something"]

    async def play():
        ann = await change(beside, TYPED)
        await ann.hears(lambda name, *args: name == "error")
        await ann.io.disconnect()

    asyncio.run(play())
    assert len(upstream.forms) == 1 and not upstream.saved


@pytest.mark.parametrize(
    "answer",
    [None, {}, [], {"version": None}, {"version": 12}, {"version": ""}, {"version": "main"}, {"version": "0.13.0-dev\n\x1b[31m" + "x" * 9999}],
    ids=lambda answer: str(answer)[:24].encode("unicode_escape").decode(),
)
def test_a_version_that_nobody_knows_counts_as_the_newest(start_siskin, upstream, answer):
    upstream.version = answer
    siskin = start_siskin(SISKIN_DIRECTORY=upstream.url, SISKIN_LOG="debug")

    async def play():
        ann = await change(siskin, TYPED)
        await asyncio.to_thread(wait_for, lambda: upstream.saved, what="a save")
        await ann.io.disconnect()

    asyncio.run(play())
    assert upstream.forms == [{"data": {"content": TYPED}}]
    assert requests.get(f"{siskin.url}/ready", timeout=10).ok
    assert "\x1b[31m" not in siskin.log() and "x" * 100 not in siskin.log()


@pytest.mark.parametrize("websockets", [True, False], ids=["websocket", "polling"])
@pytest.mark.parametrize("version", ["0.11.4", "0.6.43"])
def test_one_that_sleeps_is_woken_before_anybody_comes(start_siskin, start_redis, version, websockets):
    redis = start_redis()

    async def play():
        async with Process(redis.url, websockets=websockets, version=version) as process:
            shared = {"WEBSOCKET_MANAGER": "redis", "WEBSOCKET_REDIS_URL": redis.url}
            await asyncio.to_thread(lambda: start_siskin(SISKIN_DIRECTORY=process.url, SISKIN_LOG="debug", **shared))

            async def woken():
                while not process.io.manager_initialized:
                    await asyncio.sleep(0.01)

            await asyncio.wait_for(woken(), PATIENCE)

    asyncio.run(play())


def test_one_whose_socket_refuses_is_said_to_sleep(start_siskin, start_redis, upstream):
    upstream.version = {"version": "0.10.2"}
    shared = {"WEBSOCKET_MANAGER": "redis", "WEBSOCKET_REDIS_URL": start_redis().url}
    siskin = start_siskin(SISKIN_DIRECTORY=upstream.url, SISKIN_LOG="debug", **shared)
    wait_for(lambda: "can't be woken" in siskin.log(), PATIENCE, "the line about it")
    assert "its socket is answered with 401" in siskin.log()
