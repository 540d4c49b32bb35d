"""Lets the tests of this folder import their neighbours; the release that they look at."""

import os
import pathlib
import sys

import pytest

import cross

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))


@pytest.fixture(scope="session")
def release(tmp_path_factory):
    """What `make dist` makes."""
    for target in cross.TARGETS:
        cross.build(target)
    folder = tmp_path_factory.mktemp("release")
    cross.run("bash", "cross/dist.sh", folder, env={**os.environ, **cross.BUILT})
    return folder
