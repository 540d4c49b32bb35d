"""Runs a script of a test as root beside an init system, over a throw-away copy of this machine's file system (systemd/boot.sh)."""

import contextlib
import os
import shutil
import signal
import subprocess

import cross
from siskin import ROOT, wait_for

TARGET = "x86_64-unknown-linux-musl"
SPACES = ["--mount", "--pid", "--fork", "--ipc", "--uts", "--net", "--cgroup", "--kill-child=KILL"]


def lives(folder, payload, oks):
    """Boots with a release and these files, one of them inside.sh; all of its `oks` lines of something that held must come."""
    assert os.getuid() == 0, "an init system is booted in namespaces of its own, which needs root"
    cross.build(TARGET)
    (folder / "payload").mkdir()
    (folder / "layers").mkdir()
    only = {**os.environ, "TARGETS": TARGET, "BUILT": "yes"}
    cross.run("bash", "cross/dist.sh", folder / "payload/release", env=only)
    for file in [*payload, ROOT / "tests/systemd/said.sh"]:
        shutil.copy(file, folder / "payload")
    with open(folder / "boot.log", "w") as log:
        command = ["unshare", *SPACES, "bash", str(ROOT / "tests/systemd/boot.sh"), str(folder)]
        boot = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    code, said = folder / "code", folder / "said"
    try:
        wait_for(lambda: boot.poll() is not None or (code.exists() and code.read_text()), 240, "end of inside.sh")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(boot.pid, signal.SIGKILL)
        boot.wait(30)
    text = said.read_text() if said.exists() else (folder / "boot.log").read_text()
    print(text)
    assert code.exists() and code.read_text() == "0\n", text
    assert len([line for line in text.splitlines() if line.startswith("ok ")]) == oks, text
