"""What a release consists of: reproducible binaries of a known size, packages, image, SBOM, installer."""

import functools
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import tarfile

import pytest
import yaml

import cross
import siskin as harness
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from release import ARCHITECTURES, PACKAGES, RARE, X86, digest, one
from siskin import ROOT, free_port, wait_for

pytestmark = pytest.mark.timeout(1800)  # The first one builds.


# Packed the same each time, and no larger than meant


def test_packing_twice_gives_the_same_bytes(release, tmp_path):
    cross.run("bash", "cross/dist.sh", tmp_path, env={**os.environ, **cross.BUILT})
    assert (tmp_path / "SHA256SUMS").read_text() == (release / "SHA256SUMS").read_text()


@pytest.mark.parametrize("target", cross.TARGETS)
def test_no_binary_grew_unnoticed(target):
    """`make size-keep` writes the figures anew: on purpose, with a word about it in the change's message, up to what they may be at most."""
    kept = dict(line.split() for line in (ROOT / "cross/size.txt").read_text().splitlines() if not line.startswith("#"))
    now = cross.build(target).stat().st_size
    assert now <= int(kept[target]) * 1.05, f"{target}: {now} bytes, {kept[target]} in cross/size.txt"
    # ARMv6 has no short instructions.
    most = {X86: 2.65, "arm-unknown-linux-musleabihf": 2.75, "armv7-unknown-linux-musleabihf": 1.85, "riscv64gc-unknown-linux-musl": 2.4}.get(target, 2.15)
    assert now <= most * 2**20, f"{target}: {now} bytes"


def test_binaries_hold_no_path_of_this_machine():
    homes = {str(ROOT), os.environ.get("CARGO_HOME", str(pathlib.Path.home() / ".cargo")), str(pathlib.Path.home() / ".rustup")}
    for target in cross.TARGETS:
        content = cross.build(target).read_bytes()
        assert not [home for home in homes if home.encode() in content], target


def symbols(file):
    """Names that each member of an archive, or a program, defines for others and wants from them."""
    for part in re.split(r"^File: ", cross.run("readelf", "--symbols", "--wide", file), flags=re.M):
        named = re.findall(r" (?:GLOBAL|WEAK) +\w+ +(\w+) ([^\s@]+)", part)
        defined = {name for section, name in named if section != "UND"}
        yield part.split("\n")[0], defined, {name for _, name in named} - defined


@pytest.mark.parametrize("target", cross.TARGETS)
def test_nobody_asks_for_what_the_c_library_lacks_here(target):
    """build.sh leaves snprintf out. Of its callers there is only the one that asks it to name another thread, which nobody does."""
    (_, linked, _) = next(symbols(cross.build(target).parent / "release/siskin"))
    callers = [member for member, defined, wanted in symbols(cross.c_library(target)) if "snprintf" in wanted and defined & linked]
    assert [re.sub(r".*\((.*)\)", r"\1", member) for member in callers] == ["pthread_setname_np.lo"]


# The release's folder


def test_sums_are_right_and_complete(release):
    cross.run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=release)
    named = {line.split("  ")[1] for line in (release / "SHA256SUMS").read_text().splitlines()}
    assert named == {path.name for path in release.iterdir()} - {"SHA256SUMS"}


@pytest.mark.parametrize("target", cross.TARGETS)
def test_sbom_lists_what_cargo_builds_in(release, target):
    bom = json.loads(one(release, f"*-{target}.cdx.json").read_text())
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.5")
    tree = cross.run("cargo", "tree", "--locked", "-e", "normal,no-proc-macro", "--target", target, "--prefix", "none")
    wanted = {tuple(line.split()[:2]) for line in tree.splitlines()} - {("siskin", f"v{bom['metadata']['component']['version']}")}
    of = lambda kind: {(part["name"], part["version"]) for part in bom["components"] if part["purl"].startswith(f"pkg:{kind}/")}  # noqa: E731
    assert {(name, f"v{version}") for name, version in of("cargo")} == wanted
    vendored = (ROOT / "src/console/vendor/LICENSES.txt").read_text()
    assert of("npm") == set(re.findall(r"^== (\S+) (\S+)$", vendored, re.M)) and ("yjs" in dict(of("npm")))
    assert dict(of("generic")).keys() == {"rust-std", "musl"}
    assert all(part.get("licenses") and part.get("purl") for part in bom["components"])
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(json.dumps(bom)) is None
    known = {bom["metadata"]["component"]["bom-ref"], *(part["bom-ref"] for part in bom["components"])}
    assert {ref for entry in bom["dependencies"] for ref in [entry["ref"], *entry["dependsOn"]]} == known


@pytest.mark.parametrize("target", cross.TARGETS)
def test_archive_holds_the_licences_of_all_that_is_built_in(release, target):
    archive = one(release, f"*-{target}.tar.gz")
    notices = cross.run("tar", "-xOzf", archive, f"{archive.name.removesuffix('.tar.gz')}/third-party.txt")
    bom = json.loads(one(release, f"*-{target}.cdx.json").read_text())
    lacking = [part["name"] for part in bom["components"] if not re.search(rf"^(==|====) {re.escape(part['name'])}[ :]", notices, re.M)]
    assert not lacking
    # A crate whose archive has no text says which licence it has, and where it comes from.
    bare = re.findall(r"^==== (.+)\n\n====", notices, re.M)
    assert all("MIT" in line or "Apache-2.0" in line or "BSD" in line or "Zlib" in line for line in bare), bare


def sections(file):
    """Name, address and size of each section that is loaded."""
    table = cross.run("readelf", "--section-headers", "--wide", file)
    return re.findall(r"\] (\.\S+) +\w+ +(\w+) \w+ (\w+) \w+ +W?A", table)


@pytest.mark.parametrize("target", cross.TARGETS)
def test_symbols_lie_beside_the_archive(release, target):
    """They fit the binary: an address in it is the same in both."""
    symbols, binary = one(release, f"*-{target}.debug"), cross.build(target)
    assert len(sections(binary)) > 5 and sections(symbols) == sections(binary)
    entry = int(re.search(r"Entry point address: +(\w+)", cross.run("readelf", "--file-header", binary))[1], 16)
    named = re.findall(r": (\w+) +\d+ \w+ .* (\S+)$", cross.run("readelf", "--symbols", "--wide", symbols), re.M)
    assert "_start" in [name for address, name in named if int(address, 16) == entry]
    if target == X86:
        address = next(address for address, name in named if name.endswith("6siskin3cli3run"))
        said = cross.run("addr2line", "-f", "-C", "-e", symbols, f"0x{address}")
        assert said.startswith("siskin::cli::run\n"), said


def test_a_panic_says_what_happened_and_where(tmp_path):
    """In one line, though the binary has no symbols. The panic is a real one: siskin can't make its runtime's thread."""
    binary = tmp_path / "siskin"
    shutil.copy(cross.build(X86), binary)
    for folder in [tmp_path, *tmp_path.parents]:
        folder.chmod(folder.stat().st_mode | 0o011)
    tmp_path.chmod(0o777)
    nobody = {"user": 65534, "group": 65534, "extra_groups": []}
    environment = {"WEBUI_SECRET_KEY": harness.SECRET, "SISKIN_DATA_DIR": str(tmp_path / "data"), "SISKIN_LISTEN": "127.0.0.1:0"}
    one_process = lambda: resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))  # noqa: E731
    done = subprocess.run([binary, "serve"], env=environment, preexec_fn=one_process, capture_output=True, text=True, timeout=60, **nobody)
    assert done.returncode == -signal.SIGABRT, done
    assert re.search(r"^\S+ ERROR panic: panicked at /\S+/async-io-\S+/driver\.rs:\d+:\d+:\\ncannot spawn async-io thread", done.stderr, re.M), done.stderr


@pytest.mark.parametrize("target,architecture", PACKAGES.items())
def test_package_is_clean(release, target, architecture):
    package = one(release, f"siskin_*_{architecture}.deb")
    assert cross.run("dpkg-deb", "-f", package, "Architecture").strip() == architecture
    said = subprocess.run(["lintian", "--allow-root", "--profile", "debian", "--fail-on", "error,warning", package], capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr
    files = set(re.findall(r" \./(\S*[^/\s])$", cross.run("dpkg-deb", "-c", package), re.M))
    both = {"usr/lib/siskin/siskin-armv6", "usr/lib/siskin/siskin-armv7"}
    assert (both if architecture == "armhf" and RARE else {"usr/bin/siskin"}) <= files
    assert {
        "usr/lib/siskin/run",
        "etc/siskin/siskin.env",
        "lib/systemd/system/siskin.service",
        "lib/systemd/system/siskin.socket",
        "usr/share/man/man1/siskin.1.gz",
        "usr/share/bash-completion/completions/siskin",
        "usr/share/zsh/vendor-completions/_siskin",
        "usr/share/fish/vendor_completions.d/siskin.fish",
    } <= files


# The image


# Debian's name, OCI's name and variant.
ARM_IMAGES = {"armhf": ("arm", "v7"), "armv6": ("arm", "v6")}


def test_image_is_one_for_all_architectures(release):
    image = f"oci-archive:{one(release, '*-oci.tar')}"
    for architecture in ARCHITECTURES.values():
        name, variant = ARM_IMAGES.get(architecture, (architecture, ""))
        override = ["--override-arch", name, *(["--override-variant", variant] if variant else [])]
        config = json.loads(cross.run("skopeo", *override, "inspect", "--config", image))
        assert config["architecture"] == name
        assert config["config"]["User"] == "65532:65532"
    raw = json.loads(cross.run("skopeo", "inspect", "--raw", image))
    assert len(raw["manifests"]) == len(ARCHITECTURES)


@pytest.mark.parametrize("target,architecture", ARCHITECTURES.items())
def test_image_of_one_architecture_is_for_any_docker(release, tmp_path, target, architecture):
    """Docker's image store of old reads manifest.json, all others the OCI layout: both name the same binary."""
    archive = one(release, f"*-oci-{architecture}.tar")
    (listed,) = json.loads(cross.run("tar", "-xOf", archive, "manifest.json"))
    assert listed["RepoTags"] == [f"siskin:{re.search('siskin-(.+)-oci', archive.name)[1]}"]
    name, _ = ARM_IMAGES.get(architecture, (architecture, ""))
    for kind in ("docker-archive", "oci-archive"):
        image = tmp_path / kind
        cross.run("skopeo", f"--override-arch={name}", "copy", f"{kind}:{archive}", f"dir:{image}")
        (layer,) = json.loads((image / "manifest.json").read_text())["layers"]
        cross.run("tar", "-xf", image / layer["digest"].removeprefix("sha256:"), "-C", image, "siskin")
        assert digest(image / "siskin") == digest(cross.build(target))


def test_image_runs_and_checks_its_own_health(release, tmp_path):
    """Its file system, user, environment, command and health check, as an engine would take them."""
    cross.run("skopeo", "--override-arch", "amd64", "copy", f"oci-archive:{one(release, '*-oci.tar')}", f"dir:{tmp_path}/image")
    manifest = json.loads((tmp_path / "image/manifest.json").read_text())
    blob = lambda descriptor: tmp_path / "image" / descriptor["digest"].removeprefix("sha256:")  # noqa: E731
    config = json.loads(blob(manifest["config"]).read_text())["config"]
    root = tmp_path / "root"
    for layer in manifest["layers"]:
        with tarfile.open(blob(layer)) as archive:
            archive.extractall(root, numeric_owner=True)
    for folder in [root, *tmp_path.parents]:
        folder.chmod(folder.stat().st_mode | 0o011)
    port = free_port()
    given = dict(pair.split("=", 1) for pair in config["Env"])
    environment = {**given, "SISKIN_LISTEN": f"0.0.0.0:{port}", "WEBUI_SECRET_KEY": harness.SECRET}
    inside = [shutil.which("chroot"), f"--userspec={config['User']}", str(root)]
    health = [*inside, *config["Healthcheck"]["Test"][1:]]
    healthy = lambda: subprocess.run(health, env=environment, capture_output=True).returncode == 0  # noqa: E731
    assert not healthy()
    server = subprocess.Popen([*inside, *config["Entrypoint"], *config["Cmd"]], env=environment, stderr=subprocess.PIPE)
    try:
        wait_for(healthy, what="health")
        assert list((root / "data").iterdir()), "the store is not in the volume"
    finally:
        server.terminate()
        said = server.communicate(timeout=30)[1]
    assert server.returncode == 0 and b"panic" not in said, said
    assert not healthy()


# Beside Open WebUI


def compose():
    return yaml.safe_load((ROOT / "cross/compose.yaml").read_text())


def test_compose_file_starts_siskin_beside_open_webui():
    """Its settings are ones that siskin takes; the two share key, Redis and address."""
    services = compose()["services"]
    ours, theirs = services["siskin"]["environment"], services["open-webui"]["environment"]
    assert ours["WEBSOCKET_REDIS_URL"] == theirs["WEBSOCKET_REDIS_URL"] and ours["WEBSOCKET_MANAGER"] == theirs["WEBSOCKET_MANAGER"]
    given = {**ours, "WEBUI_SECRET_KEY": harness.SECRET, "SISKIN_DATA_DIR": "/data", "PATH": os.environ["PATH"]}
    said = cross.run(harness.BINARY, "check", env=given)
    assert "The settings are fine." in said and "warning" not in said, said


@functools.cache
def docker_compose():
    """Docker's own reader of such files, as new as README wants it; where there is none, it is fetched for a release, for which all targets are tested."""
    if shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        return ["docker", "compose"]
    folder = ROOT / "target/cross/docker-compose"
    if not folder.exists():
        if os.environ.get("SISKIN_TARGETS") != "all":
            pytest.skip("there is no docker compose here; make dist-check fetches it")
        cross.run("bash", "cross/fetch-deb.sh", "docker-compose", cross.run("dpkg", "--print-architecture").strip(), folder, "trixie")
    return [folder / "usr/libexec/docker/cli-plugins/docker-compose"]


def test_docker_compose_takes_the_file(tmp_path):
    """It reads in it what we do, and refuses one without the secret, or with a word that it doesn't know."""
    read = lambda file, **more: subprocess.run(  # noqa: E731
        [*docker_compose(), "-f", file, "config"], env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **more}, capture_output=True, text=True
    )
    file, secret = ROOT / "cross/compose.yaml", {"WEBUI_SECRET_KEY": harness.SECRET}
    done = read(file, **secret)
    assert done.returncode == 0 and not done.stderr, done
    theirs, ours = yaml.safe_load(done.stdout), compose()
    assert theirs["services"].keys() == ours["services"].keys() and theirs["configs"]["caddyfile"]["content"] == ours["configs"]["caddyfile"]["content"]
    assert theirs["services"]["siskin"]["environment"] == {**ours["services"]["siskin"]["environment"], **secret}
    refused = read(file)
    assert refused.returncode != 0 and "openssl rand" in refused.stderr, refused
    (tmp_path / "wrong.yaml").write_text(file.read_text().replace("restart:", "restarted:", 1))
    assert read(tmp_path / "wrong.yaml", **secret).returncode != 0


def test_compose_files_proxy_is_the_one_that_is_tested(tmp_path):
    """tests/openwebui runs cross/Caddyfile: the same but for the addresses, and Caddy takes it."""
    text = compose()["configs"]["caddyfile"]["content"]
    same = text.replace("siskin:8380", "127.0.0.1:8380").replace("open-webui:8080", "127.0.0.1:8080")
    tested = [line for line in (ROOT / "cross/Caddyfile").read_text().splitlines() if line and not line.startswith("#")]
    assert same.split() == " ".join(tested).split()
    (tmp_path / "Caddyfile").write_text(text)
    cross.run("caddy", "adapt", "--adapter", "caddyfile", "--config", tmp_path / "Caddyfile")


def test_readme_shows_the_compose_file():
    shown = (ROOT / "README.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    assert yaml.safe_load(shown) == compose()
