"""A full disk and a read-only one: clear errors, live events go on, and nothing is lost when it can be written again."""

import contextlib
import os
import pathlib
import queue
import resource
import subprocess
import time

import pytest
import requests
import socketio
from disks import break_down, breakable, fill, frozen, read_only, small
from image import NAME
from siskin import BINARY, Siskin, wait_for

NOTE = {"document_id": "note:n"}
# A Yjs update: the first client writes "a" in the text named "text".
TYPED = [1, 1, 1, 0, 4, 1, 4, *b"text", 1, *b"a", 0]


class Browser:
    """A user with a note open, who hears of its saves."""

    def __init__(self, siskin, user):
        self.heard = queue.Queue()
        self.io = socketio.Client(reconnection=False)
        self.io.on("*", lambda name, *data: self.heard.put((name, *data)))
        auth = {"token": siskin.token(user)}
        self.io.connect(siskin.url, auth=auth, socketio_path="/ws/socket.io", transports=["websocket"])
        assert self.io.call("user-join", {"auth": auth}, timeout=10)["id"] == user
        self.io.emit("join-note", {"auth": auth, "note_id": "n"})
        self.io.emit("ydoc:document:join", NOTE)
        self.until("ydoc:document:state")

    def until(self, name, seconds=60):
        """The next event of this name."""
        while True:
            heard, *data = self.heard.get(timeout=seconds)
            if heard == name:
                return data[0]

    def write(self, text):
        """A change of the note, saved a moment later."""
        self.io.emit("ydoc:document:update", {**NOTE, "data": {"content": {"md": text}}})

    def type(self):
        """A change of its document alone."""
        self.io.emit("ydoc:document:update", {**NOTE, "update": TYPED})

    def told(self):
        """Why what was brought of the note can't be taken, as often as it was said since this was asked last."""
        heard = [self.heard.get_nowait() for _ in range(self.heard.qsize())]
        return [data[0]["reason"] for name, *data in heard if name == "error" and data[0]["document_id"] == "note:n"]

    def close(self):
        self.io.disconnect()


@pytest.fixture
def disks():
    """Disks of a test, mounted until what runs on them has ended."""
    with contextlib.ExitStack() as stack:
        yield stack.enter_context


@pytest.fixture
def start(disks):
    """Starts instances and browsers; ends them, whatever the disk does."""
    running, browsers = [], []

    def run(folder, **settings):
        running.append(Siskin(data_dir=folder, **settings))
        return running[-1]

    def browse(siskin, user):
        browsers.append(Browser(siskin, user))
        return browsers[-1]

    run.browse = browse
    yield run
    for browser in browsers:
        browser.close()
    for siskin in running:
        siskin.close()


def prepare(siskin):
    siskin.api("PUT", "/users/ann", {"name": "Ann"})
    siskin.api("PUT", "/notes/n", {"user_id": "ann", "data": {"content": {"md": "before"}}})
    siskin.api("PUT", "/chats/c", {"user_id": "ann"})
    siskin.api("PUT", "/chats/c/messages/m", {"content": "before"})


def ready(siskin):
    """The status of /ready, and its reasons."""
    well, reasons = siskin.ready()
    return 200 if well else 503, " ".join(reasons)


def problem(answer, status):
    """A problem of this status; its detail."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    return answer.json()["detail"]


def put_large(siskin):
    """More than fits into what the file has free."""
    return siskin.api("PUT", "/users/bob", {"name": "Bob", "filler": "x" * 3_000_000}, ok=False)


def live_events_go_on(siskin, browser, start, saved):
    """A chat's events arrive, and whoever comes now signs in."""
    event = {"type": "message", "data": {"content": "+"}}
    body = {"user_id": "ann", "chat_id": "c", "message_id": "m", "event": event}
    assert siskin.api("POST", "/chat/event", body).json() == {"delivered": 1, "saved": saved}
    assert browser.until("events")["data"] == event
    newcomer = start.browse(siskin, "ann")
    assert siskin.api("POST", "/emit", {"user_id": "ann", "event": "news", "data": 1}).json() == {"delivered": 2}
    assert browser.until("news") == newcomer.until("news") == 1
    newcomer.close()


def everything_is_there(siskin, note, message):
    """After a kill, too."""
    for _ in range(2):
        assert siskin.api("GET", "/notes/n").json()["data"]["content"]["md"] == note
        assert siskin.api("GET", "/chats/c/messages/m").json()["content"] == message
        assert siskin.api("GET", "/users/ann").json()["name"] == "Ann"
        siskin.kill()
        check = [BINARY, "check", "--store", str(pathlib.Path(siskin.data_dir, NAME))]
        assert subprocess.run(check, capture_output=True, timeout=60).returncode == 0
        siskin.start()


def survives_a_full_disk(siskin, start, make_full, make_room):
    prepare(siskin)
    ann = start.browse(siskin, "ann")
    make_full()
    assert "the disk is full" in problem(put_large(siskin), 507)
    status, reasons = ready(siskin)
    assert status == 503 and "the disk is full: nothing is saved until there is space" in reasons
    live_events_go_on(siskin, ann, start, "failed")
    ann.write("while it was full")
    assert requests.get(siskin.url + "/health", timeout=10).status_code == 200
    # What is on disk can be read all the while.
    assert siskin.api("GET", "/users/ann").json()["name"] == "Ann"
    make_room()
    text = lambda: siskin.api("GET", "/notes/n").json()["data"]["content"]["md"]  # noqa: E731
    wait_for(lambda: text() == "while it was full", 40, "the save")
    wait_for(lambda: ready(siskin) == (200, ""), 40, "readiness")
    wait_for(lambda: "the disk takes writes again" in siskin.log(), what="a log line")
    assert siskin.log().count("store: can't save") == 1
    ann.close()
    everything_is_there(siskin, "while it was full", "before+")


def test_a_full_disk_is_told_and_lived_through(start, disks):
    folder = disks(small(8))
    siskin = start(folder)
    filler = []
    survives_a_full_disk(siskin, start, lambda: filler.append(fill(folder)), lambda: filler.pop().unlink())
    siskin.stop()


def test_editors_are_told_once_that_what_they_bring_is_not_on_disk(start, disks):
    folder = disks(small(32))
    siskin = start(folder)
    prepare(siskin)
    grant = lambda user, permission: {"principal_type": "user", "principal_id": user, "permission": permission}
    siskin.api("PATCH", "/notes/n", {"access_grants": [grant("bob", "write"), grant("cat", "read")]})
    ann, bob, cat = (start.browse(siskin, user) for user in ("ann", "bob", "cat"))
    filler = fill(folder)
    problem(put_large(siskin), 507)
    told = lambda: [ann.told(), bob.told(), cat.told()]
    # The document alone; it is tried again meanwhile, and nobody hears of that.
    ann.type()
    time.sleep(12)
    assert told() == [["unavailable"], ["unavailable"], []]
    # The note's content. Bob was told.
    ann.write("while it was full")
    time.sleep(12)
    assert told() == [["unavailable"], [], []]
    filler.unlink()
    wait_for(lambda: ready(siskin) == (200, ""), 40, "readiness")
    text = lambda: siskin.api("GET", "/notes/n").json()["data"]["content"]["md"]
    wait_for(lambda: text() == "while it was full", 40, "the save")
    time.sleep(6)
    # The next time all are told anew.
    filler = fill(folder)
    problem(put_large(siskin), 507)
    ann.write("full again")
    time.sleep(8)
    assert told() == [["unavailable"], ["unavailable"], []]
    filler.unlink()
    wait_for(lambda: ready(siskin) == (200, ""), 40, "readiness")
    for browser in (ann, bob, cat):
        browser.close()
    everything_is_there(siskin, "full again", "before")
    siskin.stop()


def test_a_limit_of_the_files_size_is_a_full_disk_too(start, tmp_path):
    # Python ignores SIGXFSZ, and so does who is started by it like this: then it is an error to write more.
    siskin = start(tmp_path)
    siskin.kill()
    siskin.process = subprocess.Popen(
        [BINARY, "serve"], env=siskin.environment, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, restore_signals=False
    )
    wait_for(lambda: answers(siskin), what="listening siskin")
    limit = lambda bytes: resource.prlimit(siskin.pid, resource.RLIMIT_FSIZE, (bytes, resource.RLIM_INFINITY))
    prepare(siskin)
    limit(os.path.getsize(tmp_path / NAME))
    assert "the disk is full" in problem(put_large(siskin), 507)
    assert ready(siskin)[0] == 503
    limit(resource.RLIM_INFINITY)
    wait_for(lambda: ready(siskin) == (200, ""), 40, "readiness")
    everything_is_there(siskin, "before", "before")


def answers(siskin):
    try:
        return requests.get(siskin.url + "/health", timeout=1).ok
    except requests.ConnectionError:
        return False


def test_a_full_disk_at_start(start, disks):
    folder = disks(small(8))
    siskin = start(folder)
    prepare(siskin)
    siskin.stop()
    filler = fill(folder)
    siskin.start()
    ann = start.browse(siskin, "ann")
    live_events_go_on(siskin, ann, start, "failed")
    assert "the disk is full" in problem(put_large(siskin), 507)
    filler.unlink()
    wait_for(lambda: ready(siskin) == (200, ""), 40, "readiness")
    ann.close()
    everything_is_there(siskin, "before", "before+")
    siskin.stop()


def test_no_room_even_for_an_empty_store(start, disks):
    folder = disks(small(1))
    fill(folder)
    siskin = start(folder)
    status, reasons = ready(siskin)
    assert status == 503 and "can't be written to" in reasons
    problem(siskin.api("PUT", "/users/ann", {"name": "Ann"}, ok=False), 507)
    siskin.stop()


def test_a_read_only_disk(start, disks, tmp_path):
    siskin = start(tmp_path)
    prepare(siskin)
    siskin.stop()
    before = tmp_path.joinpath(NAME).read_bytes()
    folder = disks(read_only(tmp_path))
    siskin = start(folder)
    status, reasons = ready(siskin)
    assert status == 503 and "can't be written to" in reasons and "Read-only file system" in reasons
    assert "read-only" in problem(siskin.api("PUT", "/users/ann", {"name": "Ann 2"}, ok=False), 503)
    assert siskin.api("GET", "/users/ann").json()["name"] == "Ann"
    ann = start.browse(siskin, "ann")
    live_events_go_on(siskin, ann, start, "failed")
    ann.close()
    siskin.stop()
    assert tmp_path.joinpath(NAME).read_bytes() == before


def test_a_disk_that_turns_read_only(start, disks):
    folder = disks(breakable(16))
    siskin = start(folder)
    prepare(siskin)
    ann = start.browse(siskin, "ann")
    break_down(folder)
    assert "Not saved" in problem(siskin.api("PUT", "/users/bob", {"name": "Bob"}, ok=False), 503)
    status, reasons = ready(siskin)
    assert status == 503 and "nothing is saved" in reasons, reasons
    live_events_go_on(siskin, ann, start, "failed")
    assert siskin.api("GET", "/users/ann").json()["name"] == "Ann"
    assert siskin.api("GET", "/chats/c/messages/m").json()["content"] == "before+"
    ann.close()
    siskin.stop()


def test_what_its_asker_gives_up_is_done_all_the_same(start, disks):
    """A backend waits until its change is on disk, and that of a note until its editors' last one is; on a slow disk it may
    lose patience."""
    folder = disks(breakable(16))
    siskin = start(folder)
    prepare(siskin)
    siskin.api("PUT", "/channels/c", {"members": ["ann"]})
    ann = start.browse(siskin, "ann")
    in_channel = lambda: siskin.api("GET", "/rooms/channel:c").json()["sessions"]  # noqa: E731
    assert in_channel()

    def give_up(method, path, **more):
        headers = {"Authorization": f"Bearer {siskin.api_key}"}
        with pytest.raises(requests.Timeout):
            requests.request(method, siskin.url + "/api/v1" + path, headers=headers, timeout=1, **more)

    with frozen(folder):
        ann.write("typed")
        wait_for(lambda: siskin.metric('siskin_events_total{event="ydoc:document:update"}') == 1, what="the change")
        give_up("PATCH", "/notes/n", json={"title": "T"})
        give_up("DELETE", "/channels/c/members/ann")
        ann.write("typed on")
    wait_for(lambda: not in_channel(), what="an empty channel")
    wait_for(lambda: siskin.api("GET", "/notes/n").json()["data"]["content"]["md"].startswith("typed"), what="the save")
    ann.write("typed on and on")
    wait_for(lambda: siskin.api("GET", "/notes/n").json()["data"]["content"]["md"] == "typed on and on", what="the last change")
    wait_for(lambda: siskin.api("GET", "/notes/n").json()["title"] == "T", what="the title")
    ann.close()
    siskin.stop()
