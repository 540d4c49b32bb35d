"""Lets the tests of this folder import their neighbours; an upstream of the test's own, and siskin beside it."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from upstream import Upstream  # noqa: E402


@pytest.fixture
def upstream():
    server = Upstream()
    yield server
    server.close()


@pytest.fixture
def beside(start_siskin, upstream):
    """siskin with this upstream as its directory."""
    return start_siskin(SISKIN_DIRECTORY=upstream.url, SISKIN_LOG="debug")
