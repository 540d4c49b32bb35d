"""install.sh: it installs what it verified, removes it again, and says what stops it; the package's own check of the processor."""

import contextlib
import functools
import http.server
import os
import pathlib
import re
import shutil
import ssl
import subprocess
import threading

import pytest

import cross
from authority import Authority
from release import RARE, X86, digest, one

pytestmark = pytest.mark.timeout(1800)  # The first one builds.
TOOLS = "cat chmod cp curl cut dirname grep gzip head id ls mkdir mktemp mv rm sed sha256sum tar tr uname wc wget".split()
# The system's folders that an installation writes to are others: whatever goes wrong, this machine stays as it is.
SH = shutil.which("sh")
APART = "for folder in /run /etc /usr/local /var/lib; do mount -t tmpfs none $folder; done; "


def installer(release, destination, *arguments, script=None, **environment):
    return subprocess.run(
        [SH, str(script or release / "install.sh"), *arguments],
        env={**os.environ, "DESTDIR": str(destination), **environment},
        capture_output=True,
        text=True,
    )


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


@pytest.fixture
def tools(tmp_path):
    """A PATH of the few tools that the installer may use, and a way to have another program, or none, in place of one."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in TOOLS:
        (folder / name).symlink_to(shutil.which(name))

    def other(name, says=None):
        (folder / name).unlink(missing_ok=True)
        if says is not None:
            (folder / name).write_text(f"#!{SH}\necho '{says}'\n")
            (folder / name).chmod(0o755)
        return str(folder)

    return other


def test_it_installs_and_removes(release, tmp_path, tools):
    run = functools.partial(installer, release, tmp_path / "root", PATH=tools("none"))
    root = tmp_path / "root"
    done = run()
    assert done.returncode == 0 and not done.stderr, done
    assert digest(root / "usr/local/bin/siskin") == digest(cross.build(X86))
    unit = (root / "etc/systemd/system/siskin.service").read_text()
    assert "ExecStart=/usr/local/bin/siskin serve" in unit
    key = root / "etc/siskin/credentials/SISKIN_API_KEY"
    assert key.stat().st_mode & 0o777 == 0o600 and len(key.read_text()) == 64
    assert {path.removeprefix("usr/local/share/") for path in files(root) if "/share/" in path} == {
        "man/man1/siskin.1",
        "bash-completion/completions/siskin",
        "zsh/site-functions/_siskin",
        "fish/vendor_completions.d/siskin.fish",
    }

    secret, settings = key.read_text(), root / "etc/siskin/siskin.env"
    assert settings.stat().st_mode & 0o777 == 0o640
    settings.write_text("SISKIN_LOG=debug\n")
    assert run().returncode == 0, "an upgrade"
    assert (key.read_text(), settings.read_text()) == (secret, "SISKIN_LOG=debug\n")

    assert run("--uninstall").returncode == 0
    assert files(root) == {"etc/siskin/siskin.env", "etc/siskin/credentials/SISKIN_API_KEY", "etc/siskin/credentials/WEBUI_SECRET_KEY"}
    assert run("--uninstall", "--purge").returncode == 0
    assert not files(root)


SERVICES = {
    "openrc": {"etc/init.d/siskin", "etc/conf.d/siskin"},
    "procd": {"etc/init.d/siskin"},
    "runit": {"etc/sv/siskin/run", "etc/sv/siskin/finish", "etc/sv/siskin/log/run"},
}


@pytest.mark.parametrize("name,service", SERVICES.items())
def test_it_installs_the_service_of_another_init_system(release, tmp_path, tools, name, service):
    """Below a folder; beside the running ones tests/init does. With the paths of this installation, none of the package's."""
    root = tmp_path / "root"
    run = functools.partial(installer, release, root, "--init", name, PATH=tools("none"))
    done = run()
    assert done.returncode == 0 and not done.stderr, done
    prefix = "usr" if name == "procd" else "usr/local"
    assert service | {f"{prefix}/bin/siskin", f"{prefix}/lib/siskin/run"} <= files(root)
    assert not [path for path in files(root) if "systemd" in path]
    for path in {*service, f"{prefix}/lib/siskin/run"} - {"etc/conf.d/siskin"}:
        assert (root / path).stat().st_mode & 0o777 == 0o755
        assert name == "procd" or not re.search(r"/usr/(bin|lib)/siskin", (root / path).read_text()), path
    (root / "srv/siskin").mkdir(parents=True)
    assert run("--uninstall").returncode == 0
    kept = {"etc/siskin/siskin.env", "etc/siskin/credentials/SISKIN_API_KEY", "etc/siskin/credentials/WEBUI_SECRET_KEY"}
    assert files(root) == kept | (service & {"etc/conf.d/siskin"})
    assert run("--uninstall", "--purge").returncode == 0
    assert not files(root) and (name != "procd" or not (root / "srv/siskin").exists())
    assert installer(release, root, "--init", "upstart").returncode == 1


@pytest.mark.parametrize("harm", ["archive", "sums", "missing", "sum"])
def test_it_installs_nothing_that_it_did_not_verify(release, tmp_path, harm):
    bad, root = tmp_path / "bad", tmp_path / "root"
    shutil.copytree(release, bad)
    root.mkdir()
    archive, sums, more = one(bad, f"*{X86}.tar.gz"), bad / "SHA256SUMS", []
    if harm == "archive":
        content = bytearray(archive.read_bytes())
        content[len(content) // 2] ^= 1
        archive.write_bytes(content)
    elif harm == "sums":
        sums.write_text(re.sub(r"^[0-9a-f]", lambda m: "0" if m[0] != "0" else "1", sums.read_text(), flags=re.M))
    elif harm == "missing":
        archive.unlink()
    else:
        more = ["--sum", "0" * 64]
    done = installer(bad, root, *more)
    assert done.returncode == 1 and "install.sh:" in done.stderr, done
    assert not files(root)


def test_it_takes_a_folder_and_a_trusted_sum(release, tmp_path):
    script = tmp_path / "elsewhere.sh"
    shutil.copy(release / "install.sh", script)
    right = digest(release / "SHA256SUMS")
    done = installer(release, tmp_path / "root", "--from", str(release), "--sum", right, script=script)
    assert done.returncode == 0, done.stderr
    assert installer(release, tmp_path / "other", "--from", "http://127.0.0.1/", script=script).returncode == 1


RARE_MACHINES = [*zip(["armv6l", "riscv64"], cross.RARE)] if RARE else []


@pytest.mark.parametrize("machine,target", [("aarch64", cross.ARM[0]), ("armv7l", cross.ARM[1]), ("armv8l", cross.ARM[1]), *RARE_MACHINES])
def test_it_takes_the_binary_of_the_machine(release, tmp_path, tools, machine, target):
    done = installer(release, tmp_path / "root", PATH=tools("uname", machine))
    assert done.returncode == 0, done.stderr
    assert digest(tmp_path / "root/usr/local/bin/siskin") == digest(cross.build(target))


def stops(done, root, why):
    assert done.returncode == 1 and why in done.stderr and done.stderr.count("\n") == 1, done
    assert not root.exists() or not files(root)


@pytest.mark.parametrize(
    "tool,instead,why",
    [
        ("uname", "s390x", "there is no binary for s390x"),
        ("sha256sum", None, "this machine lacks: sha256sum"),
        ("tar", None, "this machine lacks: tar"),
    ],
)
def test_it_says_what_stops_it(release, tmp_path, tools, tool, instead, why):
    stops(installer(release, tmp_path / "root", PATH=tools(tool, instead)), tmp_path / "root", why)


def test_it_says_that_it_must_be_root(release, tmp_path, tools):
    path = tools("none")
    for folder in [release, tmp_path, *tmp_path.parents]:
        folder.chmod(folder.stat().st_mode | 0o011)
    done = subprocess.run([SH, release / "install.sh"], env={"PATH": path}, capture_output=True, text=True, user=65534, group=65534)
    stops(done, tmp_path / "root", "run it as root: sudo sh")


@pytest.mark.parametrize(
    "systemd,why",
    [(None, "no init system that it knows runs here"), ("systemd 241 (241)", "systemd 247 or newer is needed (Debian 11, Raspberry Pi OS of 2021), this is 241")],
)
def test_it_says_what_it_needs_of_systemd(release, tmp_path, tools, systemd, why):
    path = tools("systemctl", systemd)
    if systemd:
        there = "mkdir -p /run/systemd/system; "
    else:
        there = ""
    command = ["unshare", "--mount", SH, "-ec", f'{APART}{there}PATH={path} exec {SH} "$0"', release / "install.sh"]
    stops(subprocess.run(command, capture_output=True, text=True), tmp_path / "root", why)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Files of a folder; below /moved/ it says that they are at another address."""

    def __init__(self, *arguments, elsewhere=None, **more):
        self.elsewhere = elsewhere
        super().__init__(*arguments, **more)

    def do_GET(self):
        if not self.path.startswith("/moved/"):
            return super().do_GET()
        self.send_response(302)
        self.send_header("Location", self.elsewhere + self.path.removeprefix("/moved/"))
        self.end_headers()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def web(folder, elsewhere=None, tls=None):
    """A web server's port."""
    handler = functools.partial(Quiet, directory=str(folder), elsewhere=elsewhere)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def secure(release):
    """The release over https, and how curl and wget are told whom to trust."""
    authority = Authority("rsa")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("rsa", "DNS:localhost"))
    (authority.dir / "wgetrc").write_text(f"ca_certificate = {authority.pem}\n")
    trust = {"CURL_CA_BUNDLE": str(authority.pem), "WGETRC": str(authority.dir / "wgetrc")}
    with web(release) as plain, web(release, f"http://127.0.0.1:{plain}/", context) as port:
        yield f"https://localhost:{port}", trust
    authority.close()


@pytest.mark.parametrize("tool,other", [("curl", "wget"), ("wget", "curl")])
def test_it_fetches_over_https_alone(release, tmp_path, tools, secure, tool, other):
    """Not from where a redirect leads out of it, unless the sum is known from elsewhere and wget can't do better."""
    url, trust = secure
    script = pathlib.Path(shutil.copy(release / "install.sh", tmp_path / "script.sh"))
    run = functools.partial(installer, release, script=script, PATH=tools(other), **trust)
    done = run(tmp_path / "root", "--from", url)
    assert done.returncode == 0, done.stderr
    assert digest(tmp_path / "root/usr/local/bin/siskin") == digest(cross.build(X86))
    done = run(tmp_path / "moved", "--from", f"{url}/moved")
    assert done.returncode == 1 and "/moved/SHA256SUMS can't be fetched" in done.stderr, done
    assert not (tmp_path / "moved").exists()
    assert run(tmp_path / "wrong", "--from", f"{url}/moved", "--sum", "0" * 64).returncode == 1
    assert not (tmp_path / "wrong").exists()


def test_it_says_that_nothing_fetches(release, tmp_path, tools):
    tools("curl")
    done = installer(release, tmp_path / "root", "--from", "https://127.0.0.1:1", PATH=tools("wget"))
    stops(done, tmp_path / "root", "curl or wget is needed to fetch https://127.0.0.1:1/SHA256SUMS")


@pytest.mark.skipif(RARE, reason="the package of a release is for ARMv6, too")
def test_package_refuses_armv6(release, tmp_path, tools):
    """Raspberry Pi OS calls it armhf, too."""
    cross.run("dpkg-deb", "-e", one(release, "siskin_*_armhf.deb"), tmp_path / "control")
    ask = lambda machine, *how: subprocess.run(  # noqa: E731
        [SH, tmp_path / "control/preinst", *how], env={"PATH": tools("uname", machine)}, capture_output=True, text=True
    )
    for how in (["install"], ["upgrade", "0.0.9"]):
        stops(ask("armv6l", *how), tmp_path / "root", "this processor is ARMv6")
        assert ask("armv7l", *how).returncode == 0 and ask("aarch64", *how).returncode == 0


@pytest.mark.skipif(not RARE, reason="ARMv6's binary takes minutes: make dist-check")
@pytest.mark.parametrize("machine,target", [("armv6l", cross.RARE[0]), ("armv7l", cross.ARM[1]), ("aarch64", cross.ARM[1])])
def test_package_of_two_binaries_names_the_right_one(release, tmp_path, tools, machine, target):
    """Its scripts below a folder: after the installation, and after the removal."""
    package = one(release, "siskin_*_armhf.deb")
    cross.run("dpkg-deb", "-x", package, tmp_path / "root")
    cross.run("dpkg-deb", "-e", package, tmp_path / "control")
    for tool in ["deb-systemd-helper", "deb-systemd-invoke", "systemctl"]:
        tools(tool, "")
    tools("uname", machine)
    for tool in ["ln", "rmdir", "stat"]:
        (tmp_path / "tools" / tool).symlink_to(shutil.which(tool))

    def script(name, *how):
        text = re.sub(r"(?<![\w.}])/(usr|etc|var|run)/", rf"{tmp_path}/root/\1/", (tmp_path / "control" / name).read_text())
        (tmp_path / "script").write_text(text)
        cross.run(SH, tmp_path / "script", *how, env={"PATH": str(tmp_path / "tools")})

    binary = tmp_path / "root/usr/bin/siskin"
    binary.parent.mkdir(parents=True, exist_ok=True)
    for how in (["configure"], ["configure", "0.0.9"]):
        script("postinst", *how)
        assert binary.is_symlink() and digest(binary) == digest(cross.build(target))
    script("postrm", "remove")
    assert not binary.is_symlink()
