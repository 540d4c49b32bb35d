"""What siskin may cost at rest, measured on the release's binary as `make size` does it."""

import re
import sys

import pytest

import cross
from release import X86
from siskin import ROOT

pytestmark = pytest.mark.timeout(1800)  # It builds.
MIB = 1 << 20


def test_at_rest_it_costs_next_to_nothing():
    """2.5 MiB with its store, 3 MiB with Redis, 3 KiB for each idle websocket; alone no wakeup and no byte written."""
    said = cross.run(sys.executable, ROOT / "cross/memory.py", cross.build(X86), 10)
    print(said)
    number = lambda pattern: int(re.search(pattern, said)[1].replace(",", ""))  # noqa: E731
    assert number(r"at rest with its store: ([\d,]+) bytes of RSS") <= 2.5 * MIB, said
    assert number(r"at rest with its store and Redis: ([\d,]+) bytes of RSS") <= 3 * MIB, said
    assert number(r"websockets: .* ([\d,]+) each") <= 3 * 1024, said
    assert "  10 s of it: 0 wakeups, 0.0 ms of CPU, 0 bytes written\n" in said, said
