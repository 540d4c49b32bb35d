"""Names of what a release holds, and looking at it."""

import hashlib

import cross

X86 = "x86_64-unknown-linux-musl"
NAMES = {
    "aarch64-unknown-linux-musl": "arm64",
    "armv7-unknown-linux-musleabihf": "armhf",
    X86: "amd64",
    "arm-unknown-linux-musleabihf": "armv6",
    "riscv64gc-unknown-linux-musl": "riscv64",
}
# What is released here, and what of it is a package of its own: Debian's armhf is for ARMv6, too.
ARCHITECTURES = {target: NAMES[target] for target in cross.TARGETS}
PACKAGES = {target: name for target, name in ARCHITECTURES.items() if name != "armv6"}
RARE = "armv6" in ARCHITECTURES.values()


def one(folder, pattern):
    """The only file that matches."""
    found = list(folder.glob(pattern))
    assert len(found) == 1, found
    return found[0]


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
