#!/usr/bin/env python3
"""size.py [--keep] [--features] [--variants] [TARGET...]: bytes of each target's binary beside those kept in size.txt, and what each crate adds to it.

A crate's bytes are those of the functions and constants that carry its name; what of it was built into another's function counts there.
--features prints what some features add instead, as lines for size.txt: the bytes of what carries the name of one of their modules.
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
    "riscv64gc-unknown-linux-musl",
]
LEAST = 4096
# A feature's modules, below src/. Of a name that several have the first counts.
FEATURES = {
    "sessions that move between instances": ["peers::backplane::moving", "peers::backplane::apart", "socket::recovery::moving"],
    "sessions that come back": ["socket::recovery", "app::recovery", "app::gone"],
    "documents that repair themselves": [
        *(f"app::documents::{part}" for part in ("ended", "following", "gaps", "keeping", "outside", "owed", "refusals")),
        *(f"peers::documents::{part}" for part in ("bury", "compact", "cut", "depth", "history", "lean", "mend", "on_disk", "vector")),
    ],
    "other documents": ["app::documents", "peers::documents", "events::document"],
    "one epoll and its budgets": ["ground::net", "engine::turn", "engine::allowance", "engine::budget", "app::limit", "app::news", "events::late"],
    "events for Open WebUI's own socket": ["app::relay", "directory::open_webui::socket", "events::unknown"],
    "siskin doctor": ["cli::doctor", "peers::look"],
    "answers as server-sent events": ["app::readers", "api::reading"],
    "Redis Cluster and Sentinel": ["redis::cluster", "redis::sentinel"],
}
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


def symbols(binary):
    """Bytes by name, of what lies at each address once: equal functions have one body."""
    command = ["readelf", "--symbols", "--wide", str(binary)]
    table = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    lines = [fields for fields in map(str.split, table.splitlines()) if len(fields) >= 8 and fields[3] in ("FUNC", "OBJECT")]
    found = {fields[1]: (fields[7], int(fields[2], 0)) for fields in reversed(lines)}
    return list(found.values())


def crates(binary):
    """Bytes by crate (v0 mangling: the first crate root of a name is whose it is)."""
    sizes = collections.Counter()
    for name, size in symbols(binary):
        root = re.search(r"C(?:s[0-9A-Za-z]*_)?(\d+)_?(\w+)", name) if name.startswith("_R") else None
        sizes[root[2][: int(root[1])] if root else "shared pieces" if name.startswith("OUTLINED") else "C library"] += size
    return sizes


def names_module(name, module):
    """Whether a mangled name goes through a module: what stands before a word is its parent, or where that stood before."""
    words = [f"{len(word)}{word}" for word in module.split("::")]
    return all(word in name for word in words) and re.search(rf"(?:{words[-2]}|B[0-9A-Za-z]*_){words[-1]}", name)


def features(binary):
    """Bytes by feature."""
    counts = dict.fromkeys(FEATURES, 0)
    for name, size in symbols(binary):
        feature = next((f for f, modules in FEATURES.items() if any(names_module(name, m) for m in modules)), None)
        if feature and "6siskin" in name:
            counts[feature] += size
    return counts


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
        if "--features" in arguments:
            for name, count in features(binary.parent / "release/siskin").items():
                print(f"# {target} {count:>9,}  {name}")
            continue
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
