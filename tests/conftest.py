"""Fixtures for all Python tests."""

import pathlib
import sys

import pytest

# The package must be there before pytest makes one of the folder of the same name.
import redis  # noqa: F401

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from siskin import RedisServer, Siskin  # noqa: E402


@pytest.fixture
def start_siskin():
    """Starts instances with settings of the test's choice."""
    running = []

    def start(**settings):
        running.append(Siskin(**settings))
        return running[-1]

    yield start
    for instance in running:
        instance.close()


@pytest.fixture
def siskin(start_siskin):
    """An instance with default settings; users are taken from their tokens."""
    return start_siskin()


@pytest.fixture
def start_redis():
    """Starts Redis servers."""
    running = []

    def start(*arguments, **more):
        running.append(RedisServer(*arguments, **more))
        return running[-1]

    yield start
    for server in running:
        server.close()


@pytest.fixture
def redis_server(start_redis):
    """A Redis server."""
    return start_redis()
