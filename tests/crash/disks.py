"""Disks that are full or read-only, real ones: small file systems that are mounted for a test."""

import contextlib
import os
import pathlib
import subprocess
import tempfile

import pytest

SUDO = [] if os.geteuid() == 0 else ["sudo", "-n"]


def run(*command):
    """A command as root; whether it worked."""
    done = subprocess.run([*SUDO, *command], capture_output=True, text=True, timeout=30)
    return done.returncode == 0


@contextlib.contextmanager
def mounted(*options, of):
    """A folder with a file system mounted; skips the test where that isn't allowed."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="siskin-disk-"))
    try:
        if not run("mount", *options, str(of), str(folder)):
            pytest.skip("mounting is not allowed here")
        try:
            run("chmod", "1777", str(folder))
            yield folder
        finally:
            assert run("umount", str(folder))
    finally:
        folder.rmdir()


def small(megabytes):
    """A disk of this size."""
    return mounted("-t", "tmpfs", "-o", f"size={megabytes}m", of="tmpfs")


def read_only(folder):
    """A folder as it looks on a disk that is mounted read-only."""
    return mounted("--bind", "-o", "ro", of=folder)


@contextlib.contextmanager
def breakable(megabytes):
    """An ext4 disk that can be made to fail: then the kernel makes it read-only, as it does with a worn SD card."""
    with tempfile.NamedTemporaryFile(prefix="siskin-disk-") as image:
        image.truncate(megabytes << 20)
        if not run("mkfs.ext4", "-q", "-F", image.name):
            pytest.skip("no ext4 can be made here")
        with mounted("-o", "loop,errors=remount-ro", of=image.name) as folder:
            yield folder


def break_down(folder):
    """The disk fails."""
    assert run("mount", "-o", "remount,abort", str(folder))
    with contextlib.suppress(OSError):
        folder.joinpath("last").write_text("x")


@contextlib.contextmanager
def frozen(folder):
    """The disk answers nothing that is to be written, for as long as this lasts."""
    if not run("fsfreeze", "--freeze", str(folder)):
        pytest.skip("freezing is not allowed here")
    try:
        yield
    finally:
        assert run("fsfreeze", "--unfreeze", str(folder))


def fill(folder):
    """Leaves no room at all; returns the file to remove."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
    return filler
