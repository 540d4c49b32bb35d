"""What an epoll of one's own must not do, seen from outside: hand its descriptors on, wake other threads, lose a full batch."""

import contextlib
import os
import pathlib
import time

from siskin import wait_for
from stranger import until
from wire import WebSocket

CLOSE_ON_EXEC = 0o2000000


def infos(siskin):
    """Number and lines of each descriptor. One may be closed while they are read."""
    for info in pathlib.Path(f"/proc/{siskin.pid}/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield int(info.name), info.read_text().splitlines()


def descriptors(siskin):
    """Number and flags of each descriptor."""
    found = {}
    for number, lines in infos(siskin):
        fields = dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("tfd"))
        found[number] = int(fields["flags"], 8)
    return found


def registered(siskin):
    """How many descriptors are in the epolls."""
    return sum(line.startswith("tfd") for _, lines in infos(siskin) for line in lines)


def test_no_descriptor_is_handed_on_or_left_behind(siskin):
    """One that a child or a copy holds stays in the epoll after it was closed."""
    before, in_epoll = len(descriptors(siskin)), registered(siskin)
    sockets = [WebSocket(siskin) for _ in range(20)]
    for ws in sockets:
        ws.join("ann")
    assert registered(siskin) == in_epoll + 20
    for number, flags in descriptors(siskin).items():
        assert number <= 2 or flags & CLOSE_ON_EXEC, (number, os.readlink(f"/proc/{siskin.pid}/fd/{number}"))
    for ws in sockets:
        ws.close()
    wait_for(lambda: registered(siskin) == in_epoll and len(descriptors(siskin)) == before, what="all closed")


def switches(siskin):
    """How often each thread but ours has gone to sleep."""
    counts = 0
    for task in pathlib.Path(f"/proc/{siskin.pid}/task").iterdir():
        if int(task.name) != siskin.pid:
            fields = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines())
            counts += int(fields["voluntary_ctxt_switches"])
    return counts


def test_messages_wake_no_other_thread(start_siskin):
    """Each new timer would wake the one that waits for timers."""
    siskin = start_siskin(SISKIN_EVENTS_PER_SECOND="0")
    ws = WebSocket(siskin)
    ws.join("ann")
    before = switches(siskin)
    for n in range(1000):
        ws.event("heartbeat", {}, ack=n)
        until(ws, f"43{n}")
    assert switches(siskin) - before < 50


def test_more_are_ready_at_once_than_one_look_takes(start_siskin):
    siskin = start_siskin(SISKIN_EVENTS_PER_SECOND="0")
    sockets = [WebSocket(siskin) for _ in range(700)]
    for ws in sockets:
        ws.join("ann")
    for n in range(3):
        os.kill(siskin.pid, 19)
        for ws in sockets:
            ws.event("heartbeat", {}, ack=n)
        time.sleep(0.05)
        os.kill(siskin.pid, 18)
        for ws in sockets:
            until(ws, f"43{n}")
