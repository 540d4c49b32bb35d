#!/usr/bin/env python3
"""image.py FILE TARGET...: the container image of cross/Containerfile as an OCI archive for these targets, without a daemon.

The same binaries give the same bytes. Any docker, `podman load -i FILE` and skopeo take an archive of one target. Docker takes one of several
targets only with containerd's image store, so such an archive is for registries: `skopeo copy --all oci-archive:FILE docker://...`.
"""

import datetime
import hashlib
import io
import json
import os
import pathlib
import re
import sys
import tarfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PLATFORMS = {
    "aarch64-unknown-linux-musl": {"architecture": "arm64", "os": "linux", "variant": "v8"},
    "armv7-unknown-linux-musleabihf": {"architecture": "arm", "os": "linux", "variant": "v7"},
    "x86_64-unknown-linux-musl": {"architecture": "amd64", "os": "linux"},
    "arm-unknown-linux-musleabihf": {"architecture": "arm", "os": "linux", "variant": "v6"},
    "riscv64gc-unknown-linux-musl": {"architecture": "riscv64", "os": "linux"},
}
CREATED = datetime.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", 0)), datetime.timezone.utc)
USER = 65532
SECOND = 1_000_000_000
CONFIG = {
    "User": f"{USER}:{USER}",
    "ExposedPorts": {"8380/tcp": {}},
    "Env": ["PATH=/", "SISKIN_LISTEN=0.0.0.0:8380", "SISKIN_DATA_DIR=/data"],
    "Entrypoint": ["/siskin"],
    "Cmd": ["serve"],
    "Volumes": {"/data": {}},
    "StopSignal": "SIGTERM",
    # Docker's and Podman's addition to the OCI configuration.
    "Healthcheck": {
        "Test": ["CMD", "/siskin", "check", "--live"],
        "Interval": 30 * SECOND,
        "Timeout": 5 * SECOND,
        "StartPeriod": 5 * SECOND,
        "Retries": 3,
    },
}


def entry(archive, name, mode, content=None, owner=0):
    info = tarfile.TarInfo(name)
    info.mode, info.uid, info.gid = mode, owner, owner
    if content is None:
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
    else:
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))


def layer(binary):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        entry(archive, "data/", 0o700, owner=USER)
        entry(archive, "siskin", 0o755, binary)
    return out.getvalue()


class Blobs(dict):
    def add(self, media, content):
        """Keeps a blob and gives its descriptor."""
        if not isinstance(content, bytes):
            content = json.dumps(content, sort_keys=True).encode()
        digest = hashlib.sha256(content).hexdigest()
        self[digest] = content
        return {"mediaType": f"application/vnd.oci.image.{media}", "digest": f"sha256:{digest}", "size": len(content)}


def manifest(blobs, target, version):
    packed = layer((ROOT / "target" / target / "siskin").read_bytes())
    # Uncompressed: a compressor's bytes differ from version to version.
    content = blobs.add("layer.v1.tar", packed)
    labels = {"title": "siskin", "version": version, "licenses": "MIT"}
    config = {
        **PLATFORMS[target],
        "created": CREATED.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "config": {**CONFIG, "Labels": {f"org.opencontainers.image.{name}": value for name, value in labels.items()}},
        "rootfs": {"type": "layers", "diff_ids": [content["digest"]]},
    }
    made = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blobs.add("config.v1+json", config),
        "layers": [content],
    }
    return {**blobs.add("manifest.v1+json", made), "platform": PLATFORMS[target]}


def docker_contents(blobs, image, version):
    """Docker's own list of contents, the only one that its image store of old reads; it has one image a tag."""
    made = json.loads(blobs[digest_of(image)])
    path = lambda descriptor: f"blobs/sha256/{digest_of(descriptor)}"  # noqa: E731
    return [{"Config": path(made["config"]), "RepoTags": [f"siskin:{version}"], "Layers": [path(one) for one in made["layers"]]}]


def digest_of(descriptor):
    return descriptor["digest"].removeprefix("sha256:")


def main(out, targets):
    version = re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.M).group(1)
    blobs = Blobs()
    manifests = [manifest(blobs, target, version) for target in targets]
    media = "application/vnd.oci.image.index.v1+json"
    image = blobs.add("index.v1+json", {"schemaVersion": 2, "mediaType": media, "manifests": manifests})
    name = {"io.containerd.image.name": f"docker.io/library/siskin:{version}", "org.opencontainers.image.ref.name": version}
    index = {"schemaVersion": 2, "mediaType": media, "manifests": [{**image, "annotations": name}]}
    with tarfile.open(out, "w", format=tarfile.USTAR_FORMAT) as archive:
        entry(archive, "oci-layout", 0o644, b'{"imageLayoutVersion": "1.0.0"}')
        entry(archive, "index.json", 0o644, json.dumps(index, sort_keys=True).encode())
        if len(manifests) == 1:
            contents = docker_contents(blobs, manifests[0], version)
            entry(archive, "manifest.json", 0o644, json.dumps(contents, sort_keys=True).encode())
        entry(archive, "blobs/", 0o755)
        entry(archive, "blobs/sha256/", 0o755)
        for digest in sorted(blobs):
            entry(archive, f"blobs/sha256/{digest}", 0o644, blobs[digest])


if len(sys.argv) < 3:
    sys.exit(__doc__)
main(sys.argv[1], sys.argv[2:])
