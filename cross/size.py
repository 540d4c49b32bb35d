#!/usr/bin/env python3
"""size.py [--keep] [--variants] [TARGET...]: bytes of each target's binary beside those kept in size.txt, and what each crate adds to it.

A crate's bytes are those of the functions and constants that carry its name; what of it was built into another's function counts there.
--keep writes the figures of size.txt anew; a build more than 5 % above them fails its test (tests/dist).
--variants prints what other features make of it instead, each built in target/variants.
"""

import collections
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
KEPT = ROOT / "cross/size.txt"
TARGETS = [
    "aarch64-unknown-linux-musl",
    "armv7-unknown-linux-musleabihf",
    "x86_64-unknown-linux-musl",
    "arm-unknown-linux-musleabihf",
]
LEAST = 4096
VARIANTS = {
    "with TLS": ["--features", "tls"],
    "without Redis": ["--no-default-features", "--features", "console"],
    "without Redis and console": ["--no-default-features"],
}


def build(target, *more, **environment):
    command = ["bash", "cross/build.sh", target, "--bin", "siskin", *more]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return pathlib.Path(done.stdout.strip())


def crates(binary):
    """Bytes by crate, read off the symbols (v0 mangling: the first crate root of a name is whose it is)."""
    command = ["readelf", "--symbols", "--wide", str(binary)]
    table = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    sizes = collections.Counter()
    for line in table.splitlines():
        fields = line.split()
        if len(fields) < 8 or fields[3] not in ("FUNC", "OBJECT"):
            continue
        root = re.search(r"C(?:s[0-9A-Za-z]*_)?(\d+)_?(\w+)", fields[7]) if fields[7].startswith("_R") else None
        sizes[root[2][: int(root[1])] if root else "C library"] += int(fields[2], 0)
    return sizes


def kept():
    lines = KEPT.read_text().splitlines()
    return {target: int(size) for target, size in (line.split() for line in lines if not line.startswith("#"))}


def variants(target):
    for name, features in VARIANTS.items():
        size = build(target, *features, CARGO_TARGET_DIR=str(ROOT / "target/variants")).stat().st_size
        print(f"{target} {name}: {size:,} bytes = {size / 2**20:.2f} MiB", flush=True)


def main(arguments):
    keep = "--keep" in arguments
    figures = kept()
    targets = [a for a in arguments if not a.startswith("--")] or TARGETS
    if "--variants" in arguments:
        return [variants(target) for target in targets]
    for target in targets:
        binary = build(target)
        size = binary.stat().st_size
        change = 100 * (size / figures[target] - 1) if target in figures else 0
        print(f"{target}: {size:,} bytes = {size / 2**20:.2f} MiB ({change:+.1f} % to size.txt)")
        sizes = crates(binary.parent / "release/siskin")
        for name, count in sizes.most_common():
            if count >= LEAST:
                print(f"  {count:>9,}  {name}")
        print(f"  {sum(count for count in sizes.values() if count < LEAST):>9,}  others")
        print(f"  {size - sum(sizes.values()):>9,}  texts, tables and headers without a name")
        figures[target] = size
    if keep:
        head = [line for line in KEPT.read_text().splitlines() if line.startswith("#")]
        KEPT.write_text("\n".join([*head, *(f"{target} {size}" for target, size in sorted(figures.items()))]) + "\n")


main(sys.argv[1:])
