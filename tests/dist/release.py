"""Names of what a release holds, and looking at it."""

import hashlib

X86 = "x86_64-unknown-linux-musl"
ARCHITECTURES = {"aarch64-unknown-linux-musl": "arm64", "armv7-unknown-linux-musleabihf": "armhf", X86: "amd64"}


def one(folder, pattern):
    """The only file that matches."""
    found = list(folder.glob(pattern))
    assert len(found) == 1, found
    return found[0]


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
