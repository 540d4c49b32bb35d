"""The package's whole life beside a real systemd: installed, sandboxed, restarted, upgraded, hung, killed, purged; then the installer's (inside.sh)."""

import os
import pathlib
import shutil
import signal
import subprocess

import pytest

import cross
from siskin import wait_for

HERE = pathlib.Path(__file__).resolve().parent
pytestmark = pytest.mark.timeout(1800)  # It builds.
TARGET = "x86_64-unknown-linux-musl"
OKS = 9


def test_package_lives_with_systemd(tmp_path):
    assert os.getuid() == 0, "systemd is booted in namespaces of its own, which needs root"
    cross.build(TARGET)
    (tmp_path / "payload").mkdir()
    (tmp_path / "layers").mkdir()
    only = {**os.environ, "TARGETS": TARGET, "BUILT": "yes"}
    cross.run("bash", "cross/dist.sh", tmp_path / "payload/release", env=only)
    shutil.copy(HERE / "inside.sh", tmp_path / "payload")
    spaces = ["--mount", "--pid", "--fork", "--ipc", "--uts", "--net", "--cgroup", "--kill-child=KILL"]
    with open(tmp_path / "boot.log", "w") as log:
        command = ["unshare", *spaces, "bash", str(HERE / "boot.sh"), str(tmp_path)]
        boot = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    code, said = tmp_path / "code", tmp_path / "said"
    try:
        wait_for(lambda: boot.poll() is not None or (code.exists() and code.read_text()), 240, "end of inside.sh")
    finally:
        os.killpg(boot.pid, signal.SIGKILL)
        boot.wait(30)
    text = said.read_text() if said.exists() else (tmp_path / "boot.log").read_text()
    print(text)
    assert code.exists() and code.read_text() == "0\n", text
    assert len([line for line in text.splitlines() if line.startswith("ok ")]) == OKS, text
