"""The package's whole life beside a real systemd: installed, sandboxed, restarted, upgraded, hung, killed, purged; then the installer's (inside.sh).
What `run` makes of a settings file is what systemd makes of it."""

import pathlib

import pytest

from booted import lives

HERE = pathlib.Path(__file__).resolve().parent
pytestmark = pytest.mark.timeout(1800)  # It builds.
OKS = 11


def test_package_lives_with_systemd(tmp_path):
    lives(tmp_path, [HERE / "inside.sh", HERE / "odd.env", HERE / "client.py"], OKS)
