"""Builds the static binaries for the tests, and says how to run those of another architecture."""

import functools
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
ARM = ["aarch64-unknown-linux-musl", "armv7-unknown-linux-musleabihf"]
# Built for releases alone, since it takes minutes: `make test-arm` and `make dist-check` say so.
RARE = ["arm-unknown-linux-musleabihf", "riscv64gc-unknown-linux-musl"]
ALL = [*ARM, "x86_64-unknown-linux-musl", *RARE]
if os.environ.get("SISKIN_TARGETS") == "all":
    ARM = [*ARM, *RARE]
TARGETS = [*ARM, "x86_64-unknown-linux-musl"]


# How dist.sh packs what is built.
BUILT = {"BUILT": "yes", "TARGETS": " ".join(TARGETS)}


def run(*command, cwd=ROOT, **more):
    """A command's output; fails with everything that it said."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, text=True, capture_output=True, **more)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def command(target):
    """What builds it. For ARM the conformance server is built along, so that everybody's build is the same one."""
    more = ["--example", "conformance"] if target in ARM else []
    return ["bash", "cross/build.sh", target, "--bin", "siskin", *more]


@functools.cache
def build(target):
    """The stripped binary."""
    return pathlib.Path(run(*command(target)).strip())


@functools.cache
def build_tls(target):
    """The one with the feature `tls`, beside the others."""
    elsewhere = {**os.environ, "CARGO_TARGET_DIR": str(ROOT / "target/variants")}
    return pathlib.Path(run("bash", "cross/build.sh", target, "--features", "tls", "--bin", "siskin", env=elsewhere).strip())


def conformance(target):
    """The conformance server."""
    return build(target).parent / "release/examples/conformance"


def runner(target):
    """What stands before a binary on the command line: nothing, or qemu."""
    return run("bash", "cross/runner.sh", target).split()


def c_library(target):
    """The archive that musl is linked from."""
    return pathlib.Path(run("bash", "cross/libc.sh", target).strip(), "libc.a")
