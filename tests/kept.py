"""A service manager's store of sockets (FDSTORE=1 of sd_notify(3)), for tests that restart siskin.

    kept.py hold FOLDER            keeps what is sent to FOLDER/notify, until it is ended
    kept.py start FOLDER COMMAND   becomes the command, with what is kept (LISTEN_FDS)
"""

import array
import os
import pathlib
import selectors
import socket
import sys


def bound(path):
    path.unlink(missing_ok=True)
    at = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    at.bind(str(path))
    return at


def hold(folder):
    notify, asked = bound(folder / "notify"), bound(folder / "asked")
    waiting = selectors.DefaultSelector()
    for each in (notify, asked):
        waiting.register(each, selectors.EVENT_READ)
    print("holds", flush=True)
    kept = []
    while True:
        ready = [key.fileobj for key, _ in waiting.select()]
        # What was said before somebody asks counts.
        if notify in ready:
            said, files, *_ = socket.recv_fds(notify, 4096, 8)
            lines = said.decode().split("\n")
            if "FDSTORE=1" in lines:
                kept += files
            elif "FDSTOREREMOVE=1" in lines:
                while kept:
                    os.close(kept.pop())
        else:
            _, address = asked.recvfrom(16)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", kept))] if kept else []
            asked.sendmsg([b"%d" % len(kept)], rights, 0, address)


def start(folder, command):
    mine = bound(folder / f"asks-{os.getpid()}")
    mine.settimeout(30)
    mine.sendto(b"?", str(folder / "asked"))
    count, files, *_ = socket.recv_fds(mine, 16, 8)
    (folder / f"asks-{os.getpid()}").unlink()
    mine.close()
    if int(count):
        for place, file in enumerate(files, 3):
            os.dup2(file, place)
        os.environ.update(LISTEN_FDS=count.decode(), LISTEN_PID=str(os.getpid()))
    os.environ["NOTIFY_SOCKET"] = str(folder / "notify")
    os.execvp(command[0], command)


if __name__ == "__main__":
    what, folder, *command = sys.argv[1:]
    hold(pathlib.Path(folder)) if what == "hold" else start(pathlib.Path(folder), command)
