"""The binaries for ARM, and RISC-V, under qemu: the protocol, real clients, the store and a SIGKILL, Redis, the processors, the year 2038.

Some flows of each by default; all of the conformance and client tests with SISKIN_ARM=full, and ARMv6 and
RISC-V with SISKIN_TARGETS=all (`make test-arm`).
"""

import datetime
import os
import re
import shutil
import subprocess
import sys

import pytest
import requests
import socketio

import cross
import siskin as harness
from siskin import ROOT, Siskin

FULL = os.environ.get("SISKIN_ARM") == "full"
pytestmark = pytest.mark.timeout(7200 if FULL else 1800)  # The first one builds.
PYTEST = [sys.executable, "-m", "pytest", "-c", "tests/pytest.ini", "--rootdir", "tests"]
# Also what is told of a Redis that is away: a compiler's flags had made wrong code of it on RISC-V.
REDIS = "an_entry_lives or revoked_tokens or cannot_be_stored or malformed_messages"
FAKETIME = {
    "LD_PRELOAD": "/usr/$LIB/faketime/libfaketimeMT.so.1",
    "FAKETIME": "@2039-03-01 00:00:00",
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    "TZ": "UTC",
}
ARMV7 = "armv7-unknown-linux-musleabihf"
ARMV6 = cross.RARE[0]
# Those whose clock has 32 bits in C.
ARM32 = [target for target in cross.ARM if target in (ARMV7, ARMV6)]


@pytest.fixture(scope="module", params=cross.ARM)
def target(request):
    cross.build(request.param)
    return request.param


@pytest.fixture
def arm(target, monkeypatch):
    """From here on instances are of this target."""
    monkeypatch.setattr(harness, "BINARY", str(cross.build(target)))
    monkeypatch.setattr(harness, "RUNNER", cross.runner(target))


def environment(target):
    return {
        **os.environ,
        "SISKIN_RUNNER": " ".join(cross.runner(target)),
        "SISKIN_BIN": str(cross.build(target)),
        "CONFORMANCE_BIN": str(cross.conformance(target)),
    }


def test_protocol_conforms(target):
    some = [] if FULL else ["-k", "opens or upgrade or ack or binary"]
    said = cross.run(*PYTEST, "tests/conformance", *some, env=environment(target))
    assert re.search(r"\d+ passed", said), said


@pytest.mark.parametrize("file", ["echo", "siskin"])
def test_socket_io_client_is_served(target, file):
    some = [] if FULL else ["--test-name-pattern", "^(websocket|polling): (signs in|arguments come back|comes back)"]
    said = cross.run("node", "--test", "--test-reporter=tap", *some, f"tests/clients/{file}.test.mjs", env=environment(target))
    passed = re.search(r"^# pass (\d+)", said, re.M)
    assert passed and int(passed[1]) >= 2, said


def test_redis_is_shared(target):
    some = ["--ignore", "tests/redis/test_tls.py"] if FULL else ["-k", REDIS]
    said = cross.run(*PYTEST, "tests/redis", *some, env=environment(target))
    assert re.search(r"\d+ passed", said), said


@pytest.mark.skipif(not FULL, reason="a build with TLS takes minutes: make test-arm")
def test_redis_is_shared_over_tls(target):
    """With each suite and kind of certificate, Sentinel and Cluster; and each refusal is told."""
    if target in cross.RARE:
        pytest.skip("not released with TLS")
    made = {**environment(target), "SISKIN_TLS_BIN": str(cross.build_tls(target))}
    said = cross.run(*PYTEST, "tests/redis/test_tls.py", env=made)
    assert re.search(r"\d+ passed", said), said


def test_store_survives_a_kill(arm, start_siskin):
    siskin = start_siskin()
    for n in range(20):
        siskin.api("PUT", f"/users/u{n}", {"name": f"User {n}"})
    siskin.kill()
    siskin.start()
    for n in range(20):
        assert siskin.api("GET", f"/users/u{n}").json()["name"] == f"User {n}"
    assert "damaged" not in siskin.log()


def test_machine_code_is_for_any_armv7():
    """No NEON, and none of the registers that an ARMv7 without NEON doesn't have."""
    cross.build(ARMV7)
    binary = ROOT / "target" / ARMV7 / "release/siskin"
    attributes = cross.run("arm-linux-gnueabihf-readelf", "-A", binary)
    assert "Tag_CPU_arch: v7\n" in attributes and "Tag_Advanced_SIMD_arch" not in attributes
    code = cross.run("arm-linux-gnueabihf-objdump", "-d", "--no-show-raw-insn", binary)
    assert len(re.findall(r"\bvldr\b", code)) > 5, "this is no disassembly"
    wrong = re.findall(r"^.*\b(?:q\d+|d1[6-9]|d2\d|d3[01])\b.*$", code, re.M)
    assert not wrong, wrong[:10]


@pytest.mark.skipif(ARMV6 not in cross.ARM, reason="ARMv6's binary takes minutes: make test-arm")
def test_machine_code_is_for_a_pi_zero():
    """Nothing of ARMv7, but for what the C library takes instead where it finds one."""
    cross.build(ARMV6)
    binary = ROOT / "target" / ARMV6 / "release/siskin"
    attributes = cross.run("arm-linux-gnueabihf-readelf", "-A", binary)
    assert re.search(r"Tag_CPU_arch: v6(K|KZ)?\n", attributes) and "Tag_FP_arch: VFPv2\n" in attributes, attributes
    code = cross.run("arm-linux-gnueabihf-objdump", "-d", "--no-show-raw-insn", binary)
    assert len(re.findall(r"\tldrex\b", code)) > 5, "this is no disassembly"
    for function in re.split(r"\n(?=[0-9a-f]{8} <)", code):
        wrong = re.findall(r"\t(?:movw|movt|dmb|dsb|isb|udiv|sdiv|bfi|bfc|ubfx|sbfx|mls|rbit)\b.*$", function, re.M)
        assert not wrong or re.match(r"[0-9a-f]{8} <__a_\w+_v7>", function), (function.split("\n")[0], wrong[:10])


def test_each_target_is_known_to_the_scripts():
    """Those too that are not built here: where their C library is, how they are run, what they are called."""
    for target in cross.ALL:
        assert cross.c_library(target).name == "libc.a"
        cross.runner(target)
        for script in ["build.sh", "image.py", "size.py", "dist.sh"]:
            assert target in (ROOT / "cross" / script).read_text(), (target, script)
    assert cross.runner(ARMV6) == ["qemu-arm-static", "-cpu", "arm1176"]


@pytest.mark.parametrize("target", ARM32)
def test_clock_goes_on_after_2038(monkeypatch, start_siskin, target):
    """With 32-bit seconds the first look at the clock would end the process. The clock is that of qemu, moved by faketime."""
    monkeypatch.setattr(harness, "BINARY", str(cross.build(target)))
    monkeypatch.setattr(harness, "RUNNER", ["qemu-arm", *cross.runner(target)[1:]])
    siskin = start_siskin(**FAKETIME)
    answer = requests.get(f"{siskin.url}/health", timeout=30)
    assert answer.status_code == 200 and " 2039 " in answer.headers["date"]
    assert siskin.log().startswith("2039-03-01T")
    made = siskin.api("PUT", "/users/ann", {"name": "Ann"}).json()
    assert made.get("created_at", 2**31) >= 2**31, made
    day = lambda year: int(datetime.datetime(year, 1, 1, tzinfo=datetime.timezone.utc).timestamp())  # noqa: E731
    assert signs_in(siskin, siskin.token("ann", exp=day(2040))), siskin.log()
    assert not signs_in(siskin, siskin.token("ann", exp=day(2038) + 40 * 86400))


def signs_in(siskin, token):
    with socketio.SimpleClient() as client:
        client.connect(siskin.url, socketio_path="/ws/socket.io", auth={"token": token}, transports=["websocket"])
        try:
            return bool(client.call("user-join", {"auth": {"token": token}}, timeout=5))
        except socketio.exceptions.TimeoutError:
            return False


def test_the_tools_are_here():
    """A missing one must not look like a passed test."""
    for tool in ["qemu-aarch64-static", "qemu-arm-static", "qemu-riscv64-static", "qemu-arm", "arm-linux-gnueabihf-objdump", "clang"]:
        assert shutil.which(tool), f"{tool} is missing: bash tests/install.sh"
    wrong = subprocess.run([*cross.runner(ARMV7), shutil.which("true")], capture_output=True)
    assert wrong.returncode != 0, "an x86-64 program ran where ARM ones should"
