#!/usr/bin/env python3
"""Runs every test: Rust, Python, Node, side by side. Ends with how long each step took and one line of what passed and what failed.

run.py [PART...]: these parts alone: `lint`, `rust`, or a folder of tests/; `quick` is those of `make quick`.

A step is a command: a build, or the tests of a folder or file. Builds of one kind run one after another, so that they don't
wait for each other's lock; tests run beside them and each other, the longest first, as soon as what they need is built, and give
way to the static binaries, which the last of them wait for; what shares this machine with an attacker runs in the end, alone.
Each step has ports and a folder for temporary files of its own, and its output is printed whole when it has ended. JOBS sets how
many test steps run at a time: most of them mostly wait.
"""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import cross

ROOT = pathlib.Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
JOBS = int(os.environ.get("JOBS") or 2 * (os.cpu_count() or 1))
QUICK = ["lint", "rust", "layout", "conformance", "contract"]
NOT_PARTS = ["node_modules", "bench", "fuzz", "golden", "pi"]
# Waits by the clock for minutes.
NOT_QUICK = ["contract/test_presence.py"]
# Beyond this a step hangs.
LONGEST = 60 * 60

X86, ARM64, ARM32 = "x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl", "armv7-unknown-linux-musleabihf"
# Those that the longest tests need first.
RELEASES = [ARM64, ARM32, X86]
TLS_STEP = "build with TLS"
TLS = str(ROOT / "target/debug/examples/siskin-tls")
# What must be built before a file, or all of a folder; before all others, "build".
NEEDS = {
    "layout": [],
    "redis/test_tls.py": ["build", TLS_STEP],
    "dist/test_budgets.py": [X86],
    "dist": ["build", *RELEASES],
    "systemd/test_boot.py": [X86],
    "init": [X86],
    "arm": ["build", ARM64, ARM32],
}
# Python files, or all of a folder, that are steps of their own, since together they take minutes.
APART = ["abuse", "contract", "crash", "redis", "openwebui", "systemd/test_boot.py", "dist/test_budgets.py"]
# What is about disks, or too large for memory; the temporary files of all others are in memory, where a sync takes no time.
ON_DISK = ["crash/test_disk.py", "crash/test_growth.py", "crash/test_kill.py", "dist", "systemd", "init"]
MEMORY, ROOM = pathlib.Path("/dev/shm"), 2 << 30
# Where a stranger is answered in time though an attacker has the machine.
ALONE = ["abuse/test_attacks.py", "abuse/test_input.py", "abuse/test_turns.py"]
# What mostly waits by the clock, in seconds of CPU next to nothing: one after the other in a lane of its own, beside all others.
WAITS = [
    "contract/test_presence.py",
    "contract/test_sessions.py",
    "openwebui/test_identity.py",
    "openwebui/test_latency.py",
    "openwebui/test_saving.py",
    "openwebui/test_upstream.py",
    "openwebui/test_version.py",
]
# Seconds that the long ones take beside others on two cores: they begin first.
SECONDS = {
    "dist (python)": 120,
    "dist/test_budgets (python)": 30,
    "arm (python)": 120,
    "systemd/test_boot (python)": 90,
    "init (python)": 60,
    "api (python)": 100,
    "openwebui/test_directory (python)": 100,
    "redis/test_documents (python)": 90,
    "redis/test_chaos (python)": 85,
    "redis/test_state (python)": 80,
    "redis/test_scale (python)": 70,
    "redis/test_trio (python)": 65,
    "crash/test_growth (python)": 90,
    "crash/test_kill (python)": 60,
    "openwebui/test_beside (python)": 60,
    "openwebui/pages (node)": 120,
    "openwebui/recovery (node)": 150,
    "redis/restart (node)": 40,
    "openwebui/notes (node)": 90,
    "openwebui/gaps (node)": 90,
    "openwebui/back (node)": 150,
    "documents/model (node)": 200,
    "documents/ended (node)": 45,
    "documents/gaps (node)": 25,
    "documents/refusals (node)": 25,
    "openwebui/test_versions (python)": 150,
    "browser/console (node)": 60,
    "redis/test_cluster (python)": 50,
    "redis/test_tls (python)": 50,
    "contract/test_sessions (python)": 45,
    "contract/test_presence (python)": 240,
    "crash/test_torn (python)": 45,
    "documents/convergence (node)": 45,
    "browser/live (node)": 45,
    "browser/ingress (node)": 10,
    "redis/test_backplane (python)": 40,
    "openwebui/test_upstream (python)": 40,
    "openwebui/encrypted (node)": 120,
    "openwebui/test_latency (python)": 60,
    "abuse/test_load (python)": 40,
    "contract/test_transcripts (python)": 35,
    "documents/trace (node)": 30,
}

# Ports for tests: below those that the system gives to outgoing connections.
FIRST_PORT, LAST_PORT = 10_000, 32_000


class Step:
    """A command, and what must have gone well before it."""

    def __init__(self, name, *command, after=(), alone=False, waits=False, on_disk=True, env=None):
        self.name, self.command, self.after = name, [str(word) for word in command], after
        self.alone, self.waits, self.on_disk = alone, waits, on_disk
        self.env = env or {}
        self.passed = self.failed = self.began = self.took = self.cpu = 0
        self.output = ""
        self.process = None

    def run(self, ports, folder):
        """Runs it to its end."""
        self.began = time.monotonic()
        folder.mkdir()
        env = {**os.environ, "TMPDIR": str(folder), "TEST_PORTS": f"{ports[0]} {len(ports)}", **self.env}
        with open(folder.with_suffix(".log"), "w+b") as log:
            self.process = subprocess.Popen(
                self.command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
            limit = threading.Timer(LONGEST, self.end)
            limit.start()
            _, status, usage = os.wait4(self.process.pid, 0)
            limit.cancel()
            self.process.returncode = os.waitstatus_to_exitcode(status)
            self.end()
            log.seek(0)
            self.output = log.read().decode(errors="replace")
        shutil.rmtree(folder, ignore_errors=True)
        self.cpu = usage.ru_utime + usage.ru_stime
        self.judge(self.process.returncode, time.monotonic() - self.began)

    def end(self):
        """Ends whatever is left of it."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def judge(self, code, took):
        self.took = took
        self.passed, self.failed = count(self.output, "passed", "pass"), count(self.output, "failed", "fail")
        if code != 0 and not self.failed:
            self.failed = 1
        if not self.passed and not self.failed:
            self.passed = 1

    def not_run(self, why):
        self.output, self.failed = f"not run: {why} failed\n", 1

    def report(self):
        said = self.output.strip("\n") + "\n" if self.output.strip() else ""
        return f"== {self.name}\n{said}-- {self.name}: {self.passed} passed, {self.failed} failed, {self.took:.0f} s"


def count(output, word, node):
    """Sums what cargo test, pytest and node --test print."""
    found = re.findall(rf"([0-9]+) {word}|^(?:ℹ|#) {node} ([0-9]+)", output, re.M)
    return sum(int(one or other) for one, other in found)


# What nobody waits for, and the tests: the last of them wait for the static binaries, of which each takes a core for minutes.
NICE, TEST = ["nice", "-n", "8"], ["nice", "-n", "5"]
# No more than one core, so that the tests have the others.
ONE_CORE = {"CARGO_BUILD_JOBS": "1"}


def builds(parts, quick):
    """What is built and what cargo checks and tests, in this order; for `make quick` with the default features alone."""
    cargo = [*NICE, "cargo"]
    folders = set(parts) - {"lint", "rust", "layout"}
    if "lint" in parts:
        yield Step("format", "cargo", "fmt", "--check")
    if folders:
        yield Step("build", "cargo", "build", "-q", "--locked", "--bins", "--examples")
    if "redis" in parts:
        yield Step(TLS_STEP, *cargo, "build", "-q", "--locked", "--features", "tls", "--example", "siskin-tls")
    # TLS comes on top of what the default features have.
    features = [] if quick else ["--features", "tls"]
    if "rust" in parts:
        # Without the examples: they would be built anew, while tests use them.
        yield Step("rust", *cargo, "test", "-q", "--locked", *features, "--lib", "--bins")
    if "lint" in parts:
        clippy = [*cargo, "clippy", "-q", "--locked"]
        yield Step("clippy", *clippy, "--all-targets", *features, "--", "-D", "warnings")
    if "lint" in parts and not quick:
        yield Step("clippy, least features", *clippy, "--no-default-features", "--", "-D", "warnings")


def releases(parts):
    """The static binaries, with the same command as in cross.py: who calls that finds it done."""
    for target in RELEASES:
        if any(target in needs for what, needs in NEEDS.items() if what.split("/")[0] in parts):
            yield Step(target, *cross.command(target), env=ONE_CORE)


def listed(file, names):
    """Is this file, or its folder, one of them?"""
    return file.parent.name in names or f"{file.parent.name}/{file.name}" in names


def tests(parts, quick=False):
    """The tests of each folder."""
    pytest = [*TEST, "tests/.venv/bin/pytest", "-c", "tests/pytest.ini", "--rootdir", "tests"]
    node = [*TEST, "node", "--test", "--test-reporter=spec", "--test-timeout=600000"]
    for part in parts:
        files = sorted((TESTS / part).glob("test_*.py"))
        files = [file for file in files if not (quick and listed(file, NOT_QUICK))]
        apart = [file for file in files if listed(file, [*APART, *ALONE])]
        if together := [file for file in files if file not in apart]:
            yield tested(f"{part} (python)", together, pytest)
        for file in apart:
            yield tested(f"{part}/{file.stem} (python)", [file], pytest)
        for file in sorted((TESTS / part).glob("*.test.mjs")):
            yield tested(f"{part}/{file.name.removesuffix('.test.mjs')} (node)", [file], node)


def tested(name, files, command):
    """The step of these files, which are of one kind."""
    file = files[0]
    needs = next((needs for what, needs in NEEDS.items() if listed(file, [what])), ["build"])
    env = {"SISKIN_TLS_BIN": TLS} if TLS_STEP in needs else {}
    alone, waits, on_disk = listed(file, ALONE), listed(file, WAITS), listed(file, ON_DISK)
    return Step(name, *command, *files, after=needs, alone=alone, waits=waits, on_disk=on_disk, env=env)


class Run:
    """All steps: who waits, who runs, who has ended."""

    def __init__(self, building, releasing, testing):
        self.steps = [*building, *releasing, *testing]
        self.building, self.releasing = building, releasing
        by_length = sorted((step for step in testing if not step.alone), key=lambda step: -SECONDS.get(step.name, 0))
        self.testing = [step for step in by_length if not step.waits]
        self.waiting = [step for step in by_length if step.waits]
        self.alone = [step for step in testing if step.alone]
        self.running, self.ended = [], {}
        names = {step.name for step in self.steps}
        for step in self.steps:
            step.after = [name for name in step.after if name in names]
        self.change = threading.Condition()
        self.disk = self.memory = pathlib.Path(tempfile.mkdtemp(prefix="siskin-"))
        if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM:
            self.memory = pathlib.Path(tempfile.mkdtemp(prefix="siskin-", dir=MEMORY))

    def next(self, queue):
        """The first step of the queue whose turn it is; None when there is none left."""
        with self.change:
            while queue:
                for step in queue:
                    lost = [name for name in step.after if name in self.ended and self.ended[name].failed]
                    if lost or all(name in self.ended for name in step.after):
                        queue.remove(step)
                        if lost:
                            step.not_run(lost[0])
                            self.over(step)
                            break
                        self.running.append(step)
                        return step
                else:
                    self.change.wait()
        return None

    def over(self, step):
        with self.change:
            self.ended[step.name] = step
            if step in self.running:
                self.running.remove(step)
            print(step.report(), flush=True)
            self.change.notify_all()

    def work(self, queue):
        while step := self.next(queue):
            number = self.steps.index(step)
            share = (LAST_PORT - FIRST_PORT) // len(self.steps)
            first = FIRST_PORT + number * share
            step.run(range(first, first + share), (self.disk if step.on_disk else self.memory) / str(number))
            self.over(step)

    def all(self):
        """Everything, then what is to run alone."""
        began = time.monotonic()
        for queues in [[self.building, self.releasing, self.waiting, *[self.testing] * JOBS], [self.alone]]:
            threads = [threading.Thread(target=self.work, args=(queue,), daemon=True) for queue in queues]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return self.result(began)

    def result(self, began):
        print()
        for step in sorted(self.ended.values(), key=lambda step: -step.took):
            since = max(0, step.began - began)
            print(f"{step.took:5.0f} s, {step.cpu:4.0f} s of CPU, from {since:4.0f} s on  {step.name}")
        print(f"\n{time.monotonic() - began:.0f} s in all")
        failed = sum(step.failed for step in self.ended.values())
        lost = [step.name for step in self.ended.values() if step.failed]
        if lost:
            print(f"\nfailed: {', '.join(lost)}")
        print(f"\n{sum(step.passed for step in self.ended.values())} passed, {failed} failed")
        return 1 if failed else 0

    def close(self):
        """Nothing begins any more, and what runs is ended."""
        with self.change:
            for queue in (self.building, self.releasing, self.waiting, self.testing, self.alone):
                queue.clear()
        for step in [*self.running]:
            step.end()
        shutil.rmtree(self.disk, ignore_errors=True)
        shutil.rmtree(self.memory, ignore_errors=True)


def chosen(words):
    """The parts that are asked for, or all."""
    folders = sorted(path.name for path in TESTS.iterdir() if path.is_dir() and not path.name.startswith((".", "_")))
    known = ["lint", "rust", *(name for name in folders if name not in NOT_PARTS)]
    for word in words:
        if word not in known:
            print(f'there is no part "{word}": it is lint, rust or a folder of tests/', file=sys.stderr)
            sys.exit(2)
    return [part for part in known if not words or part in words]


def main():
    quick = sys.argv[1:] == ["quick"]
    parts = chosen(QUICK if quick else sys.argv[1:])
    run = Run(list(builds(parts, quick)), list(releases(parts)), list(tests(parts, quick)))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        return run.all()
    finally:
        run.close()


if __name__ == "__main__":
    sys.exit(main())
