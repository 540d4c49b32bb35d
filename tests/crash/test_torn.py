"""The file as a power cut leaves it: the commit that was under way in any part, its end cut or grown."""

import asyncio
import itertools
import json
import pathlib
import threading
import time

import requests
from image import NAME, On, image, torn
from load import Load
from siskin import wait_for
from stranger import insertion
from wire import WebSocket

COMMITS = 12
TORN = 4
COPIES = 20


def test_a_torn_commit_is_there_whole_or_not_at_all(siskin, chance):
    sectors = 0
    siskin.api("GET", "/channels")
    path, tried = pathlib.Path(siskin.data_dir, NAME), 0
    for commit in range(1, COMMITS + 1):
        before, file = image(siskin), path.stat()
        writing = threading.Thread(target=write, args=(siskin, commit, chance.random()))
        writing.start()
        while path.stat().st_mtime_ns == file.st_mtime_ns and writing.is_alive():
            pass
        time.sleep(chance.uniform(0, 0.004))
        after = image(siskin)
        writing.join()
        if path.stat().st_ino != file.st_ino or len(after) < len(before):
            # Rewritten or cut meanwhile, which are syncs of their own.
            continue
        tried += 1
        for _ in range(TORN):
            left, changed = torn(before, after, chance)
            sectors += changed
            on = On(left)
            whole, words = on.check()
            assert whole, words
            with on as survivor:
                found = state(survivor)
            assert found in (commit - 1, commit), f"{found} is there, {commit} was being written"
    print(f"{tried * TORN} torn files, {sectors // tried // TORN} sectors in flight each")
    assert sectors > 0 and tried > COMMITS // 2


def write(siskin, commit, dice):
    """One commit: a channel with many members, or a large record. Together they grow the file."""
    if dice < 0.5:
        members = [f"u{number}" for number in range(300)]
        siskin.api("PUT", "/channels/c", {"name": str(commit), "members": members[: 300 * commit // COMMITS]})
    else:
        siskin.api("PUT", "/channels/c", {"name": str(commit), "filler": "x" * 700_000})


def state(siskin):
    """Which commit is there; its parts fit together."""
    assert requests.get(siskin.url + "/ready", timeout=10).status_code == 200, siskin.log()
    answer = siskin.api("GET", "/channels/c", ok=False)
    return int(answer.json()["name"]) if answer.ok else 0


def test_a_copy_at_a_random_moment_holds_all_that_was_acknowledged(siskin, chance):
    load = Load(chance)
    asyncio.run(load.prepare(siskin))
    copies = []

    def take():
        for _ in range(COPIES):
            time.sleep(chance.uniform(0.01, 0.15))
            known = load.known()
            content = image(siskin)
            copies.append((load.until_now(known), content))
        siskin.process.kill()

    load.run_beside(siskin, take)
    assert len(copies) == COPIES
    for expected, content in copies:
        with On(content) as survivor:
            asyncio.run(expected.verify(survivor))


class Editor(WebSocket):
    """Somebody with a note open who says nothing that is to be saved in it."""

    def __init__(self, siskin):
        super().__init__(siskin, timeout=60)
        self.join("ann")
        self.states = []

    def ask(self, ack, event, **payload):
        self.event(event, {"document_id": "note:n", **payload}, ack=ack)
        while not (text := self.recv_text()).startswith(f"43{ack}["):
            if text.startswith('42["ydoc:document:state"'):
                self.states.append(json.loads(text[2:])[1]["state"])


def test_what_is_typed_on_and_on_is_on_disk_before_there_is_a_rest(siskin):
    siskin.api("PUT", "/notes/n", {"user_id": "ann"})
    over = threading.Event()

    def type_on():
        editor = Editor(siskin)
        editor.ask(1, "ydoc:document:join")
        for number in itertools.count(2):
            if over.wait(0.05):
                return editor.close()
            editor.ask(number, "ydoc:document:update", update=list(insertion(1, number)))

    def is_there():
        with On(image(siskin)) as survivor:
            editor = Editor(survivor)
            editor.ask(1, "ydoc:document:join")
            editor.close()
            # More than the first words, which may not wait.
            return len(editor.states[0]) > 60

    typing = threading.Thread(target=type_on)
    typing.start()
    try:
        wait_for(is_there, seconds=60, what="text on disk")
    finally:
        over.set()
        typing.join()


def test_bytes_behind_the_end_do_no_harm(siskin, chance):
    siskin.api("PUT", "/channels/c", {"name": "1"})
    content = image(siskin)
    for behind in (b"x", bytes(4096), chance.randbytes(chance.randrange(1, 9000)), chance.randbytes(1 << 20)):
        on = On(content + behind)
        assert on.check()[0]
        with on as survivor:
            assert state(survivor) == 1


def test_a_file_that_lost_pages_opens_and_says_so(siskin, chance):
    """What is missing may be free: nothing is lost. Or not: the rest is kept beside, and an empty store says why."""
    siskin.api("PUT", "/channels/c", {"name": "1", "filler": "x" * 3_000_000})
    siskin.stop()
    content = pathlib.Path(siskin.data_dir, NAME).read_bytes()
    lost = 0
    for _ in range(10):
        left = content[: chance.randrange(len(content))]
        on = On(left)
        whole, words = on.check()
        with on as survivor:
            if whole:
                assert state(survivor) == 1
                continue
            lost += 1
            assert "damaged" in words, words
            ready, reasons = survivor.ready()
            assert not ready and "the store was damaged" in reasons[0]
            [aside] = pathlib.Path(survivor.data_dir).glob(f"{NAME}.damaged-*")
            assert left.startswith(aside.read_bytes()[: len(left)])
            survivor.api("PUT", "/channels/c", {"name": "2"})
            survivor.restart()
            assert state(survivor) == 2
    assert lost > 0


def test_a_running_store_that_loses_pages_opens_with_an_earlier_state(siskin, chance):
    """Confirmed pages that a disk forgets look like a commit that was torn: it goes back one, or says that it is damaged."""
    siskin.api("PUT", "/channels/c", {"name": "1"})
    siskin.api("PUT", "/channels/c", {"name": "2", "filler": "x" * 3_000_000})
    content = image(siskin)
    for _ in range(10):
        with On(content[: chance.randrange(len(content))]) as survivor:
            if requests.get(survivor.url + "/ready", timeout=10).status_code == 200:
                assert state(survivor) in (1, 2)
            else:
                assert state_of_damaged(survivor) == 404


def state_of_damaged(siskin):
    return siskin.api("GET", "/channels/c", ok=False).status_code
