"""The file stays bounded and whole: 100,000 rewrites, a rewrite of the file under load, backups under load."""

import asyncio
import json
import os
import pathlib
import random
import subprocess
import time

import socketio
from image import NAME, On
from load import Load, session
from siskin import BINARY, wait_for

MESSAGES = 100
REWRITES = 1000
BACKUPS = 5


def size(siskin):
    return os.path.getsize(pathlib.Path(siskin.data_dir, NAME))


def test_100000_rewrites_of_the_same_messages_keep_the_file_small(siskin):
    siskin.api("PUT", "/chats/c", {"user_id": "ann"})
    sizes = []

    async def rewrite(http, number):
        place = f"user_id=ann&chat_id=c&message_id=m{number}"
        texts = (f"{number} {turn} " + "x" * (turn * 37 % 1500) for turn in range(REWRITES))
        lines = "\n".join(json.dumps({"type": "replace", "data": {"content": text}}) for text in texts)
        async with http.post(f"/api/v1/chat/stream?{place}", data=lines) as answer:
            told = await answer.json()
            assert (told["saved"], told["not_saved"]) == (REWRITES, 0), told
        sizes.append(size(siskin))

    async def rewrite_all():
        async with session(siskin) as http:
            http.headers["Content-Type"] = "application/x-ndjson"
            for first in range(0, MESSAGES, 5):
                await asyncio.gather(*(rewrite(http, number) for number in range(first, first + 5)))

    asyncio.run(rewrite_all())
    print(f"{MESSAGES * REWRITES} rewrites: {max(sizes)} bytes at most, {sizes[-1]} in the end")
    assert max(sizes) < 4 << 20
    for number in (0, MESSAGES - 1):
        content = siskin.api("GET", f"/chats/c/messages/m{number}").json()["content"]
        assert content.startswith(f"{number} {REWRITES - 1} ")


def test_the_file_is_rewritten_while_it_is_written_and_read(siskin, chance):
    load = Load(chance, pause=0.05)
    siskin.api("PUT", "/users/large", {"name": "0", "filler": "x" * 5_000_000})
    asyncio.run(load.prepare(siskin))
    wait_for(lambda: "store: rewrote" in siskin.log(), 30, "a rewritten file")
    sizes = []

    def grow():
        """One large record again and again: whether the file is rewritten once more is a matter of the moment."""
        try:
            for _ in range(30):
                siskin.api("PUT", "/users/large", {"name": "0", "filler": "x" * 3_000_000})
                sizes.append(size(siskin))
        finally:
            siskin.process.kill()

    load.run_beside(siskin, grow)
    assert max(sizes) < 64 << 20
    siskin.start()
    asyncio.run(load.verify(siskin))


def test_backups_under_load_restore_to_all_that_was_acknowledged(siskin, chance, tmp_path):
    load = Load(chance)
    asyncio.run(load.prepare(siskin))
    backups = []

    def take():
        for number in range(BACKUPS):
            time.sleep(0.3)
            known, file = load.known(), tmp_path / f"{number}.redb"
            done = subprocess.run([BINARY, "backup", str(file)], env=siskin.environment, capture_output=True, text=True, timeout=60)
            backups.append((load.until_now(known), file, done))
            if done.returncode != 0:
                break
        siskin.process.kill()

    load.run_beside(siskin, take)
    assert len(backups) == BACKUPS
    for known, file, done in backups:
        assert done.returncode == 0, done
        on = On(file.read_bytes())
        whole, words = on.check()
        assert whole and "It was not closed" not in words, words
        with on as restored:
            asyncio.run(known.verify(restored))
            restored.api("PUT", "/users/new", {"name": "New"})
    assert os.listdir(siskin.data_dir) == [NAME]


def test_what_a_killed_backup_leaves_is_removed(siskin):
    siskin.api("PUT", "/users/ann", {"name": "Ann", "filler": "x" * 3_000_000})
    backup = subprocess.Popen([BINARY, "backup", "/dev/null/nowhere"], env=siskin.environment, stderr=subprocess.DEVNULL)
    parts = lambda: list(pathlib.Path(siskin.data_dir).glob("backup-*"))
    wait_for(parts, 30, "part of a backup")
    siskin.kill()
    backup.wait(30)
    assert parts()
    siskin.start()
    assert siskin.api("GET", "/users/ann").json()["name"] == "Ann"
    assert parts() == []


def test_rest_writes_nothing(siskin):
    """Sockets are open, a note is being edited by nobody: not a byte goes to the disk."""
    load = Load(random.Random(1))
    asyncio.run(load.prepare(siskin))

    async def rest():
        io = socketio.AsyncClient(reconnection=False)
        token = siskin.token("ann")
        await io.connect(siskin.url, auth={"token": token}, socketio_path="/ws/socket.io", transports=["websocket"])
        await io.call("user-join", {"auth": {"token": token}})
        await io.emit("join-note", {"auth": {"token": token}, "note_id": "n0"})
        await io.emit("ydoc:document:join", {"document_id": "note:n0"})
        await io.emit("ydoc:document:update", {"document_id": "note:n0", "data": {"content": {"md": "1"}}})
        text = lambda: siskin.api("GET", "/notes/n0").json()["data"]["content"]["md"]
        await asyncio.to_thread(wait_for, lambda: text() == "1", 30, "the save")
        # Durable once it is answered, and so is what came before it.
        await asyncio.to_thread(siskin.api, "PUT", "/users/ann", {"name": "Ann"})
        before = written(siskin)
        await asyncio.sleep(5)
        after = written(siskin)
        await io.disconnect()
        return before, after

    before, after = asyncio.run(rest())
    assert siskin.api("GET", "/notes/n0").json()["data"]["content"]["md"] == "1"
    assert before == after


def written(siskin):
    """What it has written to disks so far."""
    path = pathlib.Path(f"/proc/{siskin.pid}/io")
    return [line for line in path.read_text().splitlines() if line.startswith("write_bytes")]
