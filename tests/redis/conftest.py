"""Lets the tests of this folder import their neighbours; what several of them begin with."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from shared import Reference, settings  # noqa: E402


@pytest.fixture(params=[True, False], ids=["room-channels", "one-channel"])
def mode(request):
    """Whether each room has a channel of its own."""
    return request.param


@pytest.fixture
def reference(redis_server):
    """Open WebUI's own process on the test's Redis."""
    process = Reference(redis_server.url)
    yield process
    process.close()


@pytest.fixture
def start(start_siskin, redis_server):
    """Starts instances that share the Redis server."""
    return lambda **more: start_siskin(**settings(redis_server, **more))
