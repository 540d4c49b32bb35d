"""The same source gives the same binary, wherever it lies. A second build of everything takes minutes: `make dist-check`."""

import os
import pathlib
import shutil

import pytest

import cross
from release import digest
from siskin import ROOT


def checkout(folder):
    """The project as it is here, without what was built."""
    names = cross.run("git", "ls-files", "-co", "--exclude-standard", "-z").split("\0")
    for name in names:
        if name and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


TARGET = os.environ.get("SISKIN_DIST_TARGET")


@pytest.mark.skipif(not TARGET, reason="a second build of everything takes minutes: make dist-check")
@pytest.mark.timeout(7200)  # Two builds of everything, which take long beside other work.
def test_same_source_gives_the_same_bytes_in_another_folder(tmp_path):
    here = cross.build(TARGET)
    folder = checkout(tmp_path / "a folder of another name")
    environment = {k: v for k, v in os.environ.items() if k != "CARGO_TARGET_DIR"}
    there = cross.run("bash", "cross/build.sh", TARGET, "--bin", "siskin", cwd=folder, env=environment).strip()
    assert there != str(here)
    assert digest(pathlib.Path(there)) == digest(here)
