"""Lets the tests of this folder import their neighbours; the seed of random choices."""

import os
import pathlib
import random
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))


@pytest.fixture
def chance():
    """Random choices; its seed is printed."""
    seed = int(os.environ.get("SISKIN_SEED") or time.time_ns())
    print(f"SISKIN_SEED={seed}")
    return random.Random(seed)
