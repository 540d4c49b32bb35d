"""A service manager's store of sockets (FDSTORE=1 of sd_notify(3)), for tests that restart siskin.

    kept.py hold FOLDER [PORT]     keeps what is sent to FOLDER/notify, and a socket that listens on this port
    kept.py forget FOLDER          lets what was sent go
    kept.py start FOLDER COMMAND   becomes the command, with all of that (LISTEN_FDS)
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


def hold(folder, port=None):
    always = [socket.create_server(("127.0.0.1", int(port)), backlog=128).detach()] if port else []
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
            files = array.array("i", always + kept)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)] if files else []
            asked.sendmsg([b"%d" % len(files)], rights, 0, address)


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


def forget(folder):
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"FDSTOREREMOVE=1", str(folder / "notify"))


if __name__ == "__main__":
    what, folder, *more = sys.argv[1:]
    folder = pathlib.Path(folder)
    if what == "start":
        start(folder, more)
    else:
        {"hold": hold, "forget": forget}[what](folder, *more)
