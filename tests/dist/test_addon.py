"""Home Assistant's add-on: what it promises, what its options become, and the archive of it."""

import json
import os
import re
import subprocess
import tarfile

import pytest
import yaml

import cross
from release import ARCHITECTURES, digest, one
from siskin import BINARY, ROOT

FOLDER = ROOT / "cross/home-assistant"
ADDON = yaml.safe_load((FOLDER / "config.yaml").read_text())
VERSION = re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]
pytestmark = pytest.mark.timeout(1800)  # The first one builds.


def start(tmp_path, options):
    """What siskin is started with: run.sh with a data folder of the test's, and a `su` that tells."""
    data, tools = tmp_path / "data", tmp_path / "tools"
    for folder in (data, tools):
        folder.mkdir(exist_ok=True)
    (data / "options.json").write_text(json.dumps({**ADDON["options"], **options}))
    for name, does in {"su": f'env -0 >{tmp_path}/env; echo "su $*" >&2', "chown": 'echo "chown $*" >&2'}.items():
        (tools / name).write_text(f"#!/bin/sh\n{does}\n")
        (tools / name).chmod(0o755)
    script = (FOLDER / "run.sh").read_text().replace("data=/data\n", f"data={data}\n")
    done = subprocess.run(["sh", "-c", script], env={"PATH": f"{tools}:{os.environ['PATH']}"}, capture_output=True, text=True)
    assert done.returncode == 0, done
    pairs = (tmp_path / "env").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair), done.stdout, done.stderr


def test_options_become_settings_that_siskin_takes(tmp_path):
    evil = f"$(touch {tmp_path}/evaluated)"
    options = {
        "webui_secret_key": "0123456789abcdef'\"" + evil,
        "directory": "http://homeassistant.local:8080",
        "redis_url": "redis://core-redis:6379/0",
        "log": "debug",
        "settings": ["SISKIN_RECOVERY=off", 'WEBSOCKET_REDIS_OPTIONS={"socket_timeout": 5}', f"SISKIN_API_KEY={evil}"],
    }
    given, _, said = start(tmp_path, options)
    assert given["WEBUI_SECRET_KEY"] == options["webui_secret_key"] and given["SISKIN_API_KEY"] == evil
    assert (given["WEBSOCKET_MANAGER"], given["SISKIN_RECOVERY"], given["SISKIN_LOG"]) == ("redis", "off", "debug")
    assert "su -s /bin/sh -c exec /usr/bin/siskin serve siskin" in said and not (tmp_path / "evaluated").exists()
    checked = cross.run(BINARY, "check", env=given)
    assert "The settings are fine." in checked and "is no setting" not in checked, checked


def test_secrets_are_made_once_and_the_key_is_told_once(tmp_path):
    given, first, _ = start(tmp_path, {})
    keys = {path.name: path.read_text() for path in (tmp_path / "data/credentials").iterdir()}
    assert keys.keys() == {"WEBUI_SECRET_KEY", "SISKIN_API_KEY"} and all(re.fullmatch("[0-9a-f]{64}", key) for key in keys.values())
    assert keys["SISKIN_API_KEY"] in first and keys["WEBUI_SECRET_KEY"] not in first
    again, second, _ = start(tmp_path, {})
    assert {path.name: path.read_text() for path in (tmp_path / "data/credentials").iterdir()} == keys and not second
    assert cross.run(BINARY, "check", env={**again, "PATH": os.environ["PATH"]}).count("The settings are fine.") == 1


def architectures():
    """Home Assistant's names, and the binary that its image takes for each."""
    return dict(re.findall(r"(\w+)\) target=(\S+) ;;", (FOLDER / "Dockerfile").read_text()))


# What Home Assistant reads of config.yaml, as its developers' documentation and its Supervisor have it (2026): a field of another name is
# ignored, one wrong value, and the add-on is in no list. Those that are needed, then those that may be there and are used here.
NEEDED = {"name": str, "version": r"[\w.+-]+", "slug": r"[-_.A-Za-z0-9]+", "description": str, "arch": ["aarch64|amd64|armv7|armhf|i386"]}
MAY_BE = {
    "startup": "initialize|system|services|application|once",
    "init": bool,
    "backup": "hot|cold",
    "timeout": range(10, 301),
    "watchdog": r"(https?|tcp|\[PROTO:\w+\])://\[HOST\]:(\[PORT:\d+\]|\d+).*",
    "ingress": bool,
    "ingress_port": range(65536),
    "ingress_stream": bool,
    "panel_icon": "mdi:[a-z-]+",
    "ports": {r"\d+(/(tcp|udp))?": range(1, 65536)},
    "ports_description": {r"\d+(/(tcp|udp))?": str},
    "options": dict,
    "schema": dict,
}
OPTION = r"((bool|email|url|port|device(\(subsystem=[a-z]+\))?)|(str|password)(\(\d*,\d*\))?|(int|float)(\(-?[\d.]*,-?[\d.]*\))?|match\(.*\)|list\(.+\))\??"


def fits(value, wanted):
    """Whether a value is of a type, in a range, matches a pattern as a whole; a list's, or a mapping's, each. Null is a port's that is closed."""
    if isinstance(wanted, type):
        return isinstance(value, wanted)
    if isinstance(wanted, range):
        return value is None or value in wanted
    if isinstance(wanted, list):
        return isinstance(value, list) and all(fits(one, wanted[0]) for one in value)
    if isinstance(wanted, dict):
        ((key, each),) = wanted.items()
        return isinstance(value, dict) and all(fits(name, key) and fits(one, each) for name, one in value.items())
    return isinstance(value, str) and re.fullmatch(wanted, value) is not None


def test_its_description_is_one_that_home_assistant_reads():
    assert NEEDED.keys() <= ADDON.keys() <= NEEDED.keys() | MAY_BE.keys()
    for name, value in ADDON.items():
        assert fits(value, {**NEEDED, **MAY_BE}[name]), (name, value)
    for name, kind in ADDON["schema"].items():
        assert fits(kind, [OPTION] if isinstance(kind, list) else OPTION), (name, kind)
    # What has no default must not be needed, or the add-on can't start before somebody fills it in.
    assert {name for name, kind in ADDON["schema"].items() if not str(kind).endswith("?")} == ADDON["options"].keys()
    # Home Assistant kills it after this; it saves within 10 s.
    assert ADDON["timeout"] > 10
    # None of these fits: the table is none that takes everything.
    for name, wrong in {"arch": ["riscv64"], "startup": "before", "watchdog": "http://localhost:8380", "timeout": 5, "init": "no"}.items():
        assert not fits(wrong, {**NEEDED, **MAY_BE}[name]), name
    assert not fits("str=one", OPTION) and not fits("text", OPTION)


def test_its_description_is_whole():
    """Each option has a kind, ingress leads to the port, each architecture has its binary, the version is siskin's."""
    assert ADDON["version"] == VERSION and ADDON["options"].keys() <= ADDON["schema"].keys()
    assert ADDON["ingress"] and f"{ADDON['ingress_port']}/tcp" in ADDON["ports"] and "SISKIN_LISTEN=0.0.0.0:8380" in (FOLDER / "run.sh").read_text()
    options = set(re.findall(r"^set_to \S+ (\S+)$", (FOLDER / "run.sh").read_text(), re.M))
    assert options | {"settings"} == set(ADDON["schema"])
    assert architectures().keys() == set(ADDON["arch"]) and set(architectures().values()) <= set(cross.ALL)
    pattern = ADDON["schema"]["settings"][0].removeprefix("match(").removesuffix(")")
    assert re.match(pattern, "SISKIN_LOG=debug") and not re.match(pattern, "log=debug")


def test_its_archive_holds_the_binaries(release, tmp_path):
    with tarfile.open(one(release, "*-home-assistant.tar.gz")) as archive:
        archive.extractall(tmp_path)
    names = {path.name for path in (tmp_path / "siskin").iterdir()}
    assert {"config.yaml", "Dockerfile", "run.sh", "DOCS.md", "LICENSE"} < names
    assert not [name for name in names if "riscv64" in name], "Home Assistant has none for it"
    for target in ARCHITECTURES.keys() & set(architectures().values()):
        name = f"siskin-{VERSION}-{target}.tar.gz"
        assert digest(tmp_path / "siskin" / name) == digest(release / name)
