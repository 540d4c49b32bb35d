"""siskin without systemd: its life beside a real OpenRC and a real runit, OpenWrt's script, and how they all read settings."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import cross
from booted import lives
from siskin import ROOT

HERE = pathlib.Path(__file__).resolve().parent
pytestmark = pytest.mark.timeout(1800)  # It builds.
PACKAGES = {"openrc": "openrc librc1 libeinfo1 busybox", "runit": "runit", "busybox": "busybox"}
BOOT = {
    # Of this machine's own services none is there.
    "openrc": r"rm -f /etc/init.d/*; printf '#!/sbin/openrc-run\nstart() { :; }\n' >/etc/init.d/localmount; chmod +x /etc/init.d/localmount;"
    " : >/etc/insserv.conf; openrc sysinit; openrc boot; openrc default\n",
    "runit": "ln -s default /etc/runit/runsvdir/current; runsvdir -P /etc/service >/dev/null 2>&1 &\n",
}


def debian(name):
    """Debian's packages of an init system for this machine, unpacked and not installed."""
    folder = ROOT / f"target/cross/init-{name}"
    if not folder.exists():
        architecture = cross.run("dpkg", "--print-architecture").strip()
        cross.run("bash", "cross/fetch-deb.sh", PACKAGES[name], architecture, folder)
    return folder


@pytest.mark.parametrize("name,oks", [("openrc", 6), ("runit", 6)])
def test_it_lives_beside(tmp_path, name, oks):
    shutil.copytree(debian(name), tmp_path / "system", symlinks=True)
    (tmp_path / "system/boot.sh").write_text(BOOT[name])
    (tmp_path / "inside.sh").write_text((HERE / f"{name}.sh").read_text())
    lives(tmp_path, [tmp_path / "inside.sh", HERE / "adduser"], oks)


SHELLS = {"dash": ["dash"], "busybox": None, "bash": ["bash", "--posix"]}


def shell(name):
    """OpenWrt's and Alpine's is busybox's."""
    return SHELLS[name] or [debian("busybox") / "bin/busybox", "ash"]


@pytest.mark.parametrize("name", SHELLS)
def test_settings_are_read_and_never_run(tmp_path, name):
    """Quotes, JSON, comments, lines that go on, names that the script itself uses. That systemd reads them so, tests/systemd shows."""
    text = (ROOT / "cross/init/run").read_text()
    odd = (ROOT / "tests/systemd/odd.env").read_bytes().replace(b"/tmp/evaluated", str(tmp_path / "evaluated").encode())
    (tmp_path / "odd.env").write_bytes(odd)
    mine = text.replace("/etc/siskin/siskin.env", str(tmp_path / "odd.env")).replace("exec /usr/bin/siskin", "exec")
    assert mine.count(str(tmp_path)) > 0 and "exec /usr" not in mine
    (tmp_path / "run").write_text(mine)
    show = "import json, os, sys; print(json.dumps([dict(os.environ), sys.argv[1:]]))"
    command = [*shell(name), tmp_path / "run", sys.executable, "-c", show, "serve", "two  words", ""]
    said = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, check=True, text=True)
    got, words = json.loads(said.stdout)
    assert words == ["serve", "two  words", ""] and not said.stderr
    evil = f"touch {tmp_path}/evaluated"
    wanted = {
        "PLAIN": "one",
        "INDENTED": "spaces around",
        "JSON": '{"a": [1, "two"], "b": "it\'s"}',
        "EMPTY": "",
        "QUOTED": "two  words ",
        "SINGLE": ' $HOME `id` "x" ',
        "DOLLAR": f"$HOME `{evil}` $({evil}); {evil}",
        "ESCAPED": "a b\\c$d ",
        "INSIDE": 'a"b\\c$d`e\\x',
        "JOINED": 'a bc de"f"',
        "AFTER": "quoted",
        "HASH": "a#b # not a comment",
        "CONTINUED": "one   two",
        "LINES": "first\nsecond third",
        "LATE": "second",
        "IFS": "abc",
        "rest": "kept",
        "count": "7",
        "value": "own",
        "UMLAUT": "Zaunkönig",
        "LAST": "no newline",
        "CRLF": "windows",
        "END": "here",
        "CREDENTIALS_DIRECTORY": "/etc/siskin/credentials",
        "STATE_DIRECTORY": "/var/lib/siskin",
    }
    assert {key: got.get(key) for key in wanted} == wanted
    assert not {"another", "WRONG", "9DIGIT", "export WRONG"} & set(got) and not (tmp_path / "evaluated").exists()


PROCD = """
procd_open_instance() { echo open; }
procd_set_param() { echo "$@"; }
procd_close_instance() { echo close; }
chown() { echo chown "$@"; }
"""


def procd(tmp_path, code, says=""):
    """What OpenWrt's script asks procd for, when `siskin check` ends so."""
    check = tmp_path / "run"
    check.write_text(f"#!/bin/sh\ncat <<'SAYS'\n{says}\nSAYS\nexit {code}\n")
    check.chmod(0o755)
    script = (ROOT / "cross/init/procd").read_text().replace("/usr/lib/siskin/run", str(check)).replace("/srv/siskin", str(tmp_path / "store"))
    script = script.replace("/var/run/siskin", str(tmp_path / "run.d"))
    (tmp_path / "script").write_text(PROCD + script + "\nstart_service\n")
    return subprocess.run([*shell("busybox"), tmp_path / "script"], capture_output=True, text=True)


def test_procd_is_told_what_siskin_needs(tmp_path):
    done = procd(tmp_path, 0)
    said = done.stdout.splitlines()
    assert done.returncode == 0 and (said[1], said[-1]) == ("open", "close"), done
    assert {
        f"command {tmp_path}/run serve",
        f"env STATE_DIRECTORY={tmp_path}/store RUNTIME_DIRECTORY={tmp_path}/run.d",
        "user siskin",
        "group siskin",
        "limits nofile=65536 65536 core=0",
        "respawn 10 1 10",
        "stderr 1",
    } <= set(said), done
    assert [(tmp_path / folder).stat().st_mode & 0o777 for folder in ("store", "run.d")] == [0o700, 0o700]


def test_procd_is_told_nothing_of_wrong_settings(tmp_path):
    done = procd(tmp_path, 2, "SISKIN_LOG loud\n\nmistake: SISKIN_LOG: that is wrong")
    assert done.returncode == 1 and "open" not in done.stdout and done.stderr == "mistake: SISKIN_LOG: that is wrong\n", done
    assert procd(tmp_path, 1, "the store is damaged").returncode == 0, "serve knows better what to do with that"
