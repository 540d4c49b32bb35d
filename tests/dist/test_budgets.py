"""What siskin may cost at rest, measured on the release's binary as `make size` does it."""

import re
import shutil
import sys

import pytest

import cross
from release import X86
from siskin import ROOT

pytestmark = pytest.mark.timeout(1800)  # It builds.
MIB = 1 << 20


def test_at_rest_it_costs_next_to_nothing(tmp_path):
    """2.3 MiB with its store, 3.25 MiB with Redis, 3 KiB for each idle websocket; alone no wakeup and no byte written."""
    # As it is installed: of a file that was linked a moment ago the kernel maps up to 0.4 MiB more.
    binary = shutil.copy(cross.build(X86), tmp_path)
    said = cross.run(sys.executable, ROOT / "cross/memory.py", binary, 10)
    print(said)
    number = lambda pattern: int(re.search(pattern, said)[1].replace(",", ""))  # noqa: E731
    assert number(r"at rest with its store: ([\d,]+) bytes of RSS") <= 2.3 * MIB, said
    assert number(r"at rest with its store and Redis: ([\d,]+) bytes of RSS") <= 3.25 * MIB, said
    assert number(r"websockets: .* ([\d,]+) each") <= 3 * 1024, said
    assert "  10 s of it: 0 wakeups, 0.0 ms of CPU, 0 bytes written\n" in said, said
