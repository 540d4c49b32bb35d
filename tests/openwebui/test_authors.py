"""Two writers of one note: what each changed is saved with that writer's token, and with no other's."""

import asyncio

import pytest
from client import Client
from siskin import wait_for
from upstream import NOTE

DOCUMENT = f"note:{NOTE}"


async def writers(beside):
    """Ann, who owns the note, and Bob, who may write it; both have it open."""
    both = []
    for name in ("ann", "bob"):
        client = await Client(beside, beside.token(name)).connect()
        await client.join()
        await client.call("ydoc:document:join", {"document_id": DOCUMENT})
        both.append(client)
    return both


async def change(client, **data):
    await client.call("ydoc:document:update", {"document_id": DOCUMENT, "data": data})


def by_author(upstream):
    """The last value of each field that each token saved."""
    saved = {}
    for user, token, data in upstream.saves:
        assert upstream.user(token)["id"] == user
        saved.setdefault(user, {}).update(data)
    return saved


PRIVATE = [{"id": "a-file-of-ann"}]
TYPED = {"md": "ann typed"}


async def play(beside, upstream, between):
    """Ann types, Bob puts a file of Ann's into the note, Ann types again; `between` happens before it is saved."""
    ann, bob = await writers(beside)
    await change(ann, content=TYPED)
    await change(bob, files=PRIVATE)
    await change(ann, content={"md": "ann typed more"}, title_hint="t")
    await between(ann, bob)
    return ann, bob


def right(upstream):
    return by_author(upstream) == {
        "ann": {"content": {"md": "ann typed more"}, "title_hint": "t"},
        "bob": {"files": PRIVATE},
    }


def check(upstream):
    wait_for(lambda: right(upstream), what=f"each author's own fields, not {upstream.saves}")
    assert not [data for user, _, data in upstream.saves if user == "ann" and "files" in data]
    assert not [data for user, _, data in upstream.saves if user == "bob" and "content" in data]


async def nothing(ann, bob):
    pass


async def leave(ann, bob):
    for client in (ann, bob):
        await client.call("ydoc:document:leave", {"document_id": DOCUMENT})


async def vanish(ann, bob):
    for client in (ann, bob):
        await client.io.disconnect()


@pytest.mark.parametrize("between", [nothing, leave, vanish], ids=lambda between: between.__name__)
def test_each_author_is_saved_as_itself(beside, upstream, between):
    asyncio.run(play(beside, upstream, between))
    check(upstream)


def test_a_failed_save_is_tried_again_under_its_author(beside, upstream):
    async def fail(ann, bob):
        upstream.mode = "500"
        await asyncio.to_thread(wait_for, lambda: "is not saved yet" in beside.log(), what="a failed save")
        await change(bob, files=PRIVATE)
        upstream.mode = "fine"

    asyncio.run(play(beside, upstream, fail))
    check(upstream)


def test_a_drain_saves_each_author_as_itself(beside, upstream):
    async def drain(ann, bob):
        await asyncio.to_thread(beside.stop)

    asyncio.run(play(beside, upstream, drain))
    check(upstream)


def test_the_store_names_the_author_who_saved_last(start_siskin):
    siskin = start_siskin()
    grants = [{"principal_type": "user", "principal_id": "bob", "permission": "write"}]
    siskin.api("PUT", f"/notes/{NOTE}", {"user_id": "ann", "title": "T", "access_grants": grants})

    async def one_after_the_other():
        ann, bob = await writers(siskin)
        for name, client, text in (("ann", ann, "a"), ("bob", bob, "b"), ("ann", ann, "c")):
            await change(client, content={"md": text})

            def saved():
                note = siskin.api("GET", f"/notes/{NOTE}").json()
                return note["data"].get("content") == {"md": text} and note["updated_by"] == name

            await asyncio.to_thread(wait_for, saved, what=f"the save of {name}")

    asyncio.run(one_after_the_other())

