"""Lets the tests of this folder import their neighbours; random choices."""

import pathlib
import sys

import pytest

import siskin

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))


@pytest.fixture
def chance(request):
    """Random choices of this test."""
    return siskin.chance(request.node.name)
