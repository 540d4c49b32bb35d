"""The store's file as it is at one moment, while the server runs; and a server on such a file."""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

from siskin import BINARY, Siskin, wait_for

NAME = "siskin.redb"
SECTOR = 512


def image(siskin):
    """The bytes of the file, all of one moment: the server stands still meanwhile."""
    os.kill(siskin.pid, signal.SIGSTOP)
    try:
        wait_for(lambda: states(siskin.pid) == {"T"}, what="standstill")
        return pathlib.Path(siskin.data_dir, NAME).read_bytes()
    finally:
        os.kill(siskin.pid, signal.SIGCONT)


def states(pid):
    """The states of all threads."""
    stats = pathlib.Path(f"/proc/{pid}/task").glob("*/stat")
    return {stat.read_text().rpartition(")")[2].split()[0] for stat in stats}


def torn(before, after, chance):
    """What a power cut may leave between two syncs: any sectors of the change, and any part of the new length."""
    length = len(before)
    if len(after) > length:
        length = chance.choice([length, len(after), chance.randrange(length, len(after))])
    left = bytearray(before.ljust(length, b"\0")[:length])
    changed = [at for at in range(0, length, SECTOR) if before[at : at + SECTOR].ljust(SECTOR, b"\0") != after[at : at + SECTOR]]
    kept = chance.choice([0.05, 0.5, 0.95])
    for at in changed:
        if chance.random() < kept:
            left[at : at + SECTOR] = after[at : min(at + SECTOR, length)]
    return bytes(left), len(changed)


class On:
    """A server on a file with these bytes: `with On(bytes) as siskin`."""

    def __init__(self, content):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="siskin-test-"))
        self.folder.joinpath(NAME).write_bytes(content)
        self.siskin = None

    def check(self):
        """What `siskin check` says: whether the file is whole, and its words."""
        command = [BINARY, "check", "--store", str(self.folder / NAME)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode in (0, 1) and "panic" not in done.stderr, done
        return done.returncode == 0, done.stdout + done.stderr

    def __enter__(self):
        self.siskin = Siskin(data_dir=self.folder)
        return self.siskin

    def __exit__(self, *error):
        self.siskin.close()
        shutil.rmtree(self.folder, ignore_errors=True)
