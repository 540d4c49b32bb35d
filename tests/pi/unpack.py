#!/usr/bin/env python3
"""unpack.py FOLDER: unpacks all packages that debootstrap has brought into FOLDER, as dpkg there would, for it to configure them.

The same done by an emulated processor takes twenty minutes; what belongs to the machine, the packages' scripts, is left to it.
"""

import pathlib
import re
import subprocess
import sys
import tempfile


def said(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def unpack(package, root):
    """Unpacks one; returns its entry in dpkg's list."""
    content = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE)
    # In a merged /usr, /bin is a link that stays.
    subprocess.run(["tar", "-x", "--keep-directory-symlink", "--numeric-owner", "-C", root], stdin=content.stdout, check=True)
    assert content.wait() == 0
    control = said("dpkg-deb", "-f", package)
    name, architecture = (re.search(rf"^{field}: (\S+)", control, re.M)[1] for field in ("Package", "Architecture"))
    info = root / "var/lib/dpkg/info"
    stem = f"{name}:{architecture}" if re.search("^Multi-Arch: same", control, re.M) else name
    with tempfile.TemporaryDirectory() as scripts:
        subprocess.run(["dpkg-deb", "-e", package, scripts], check=True)
        for script in pathlib.Path(scripts).iterdir():
            if script.name != "control":
                (info / f"{stem}.{script.name}").write_bytes(script.read_bytes())
                (info / f"{stem}.{script.name}").chmod(script.stat().st_mode)
    names = said("sh", "-c", f"dpkg-deb --fsys-tarfile '{package}' | tar -t").splitlines()
    (info / f"{stem}.list").write_text("".join(f"/{name.removeprefix('./').rstrip('/') or '.'}\n" for name in names))
    settings = info / f"{stem}.conffiles"
    lines = []
    for path in settings.read_text().splitlines() if settings.exists() else []:
        if path.startswith("/"):
            lines.append(f" {path} {said('md5sum', root / path[1:]).split()[0]}\n")
    kept = f"Conffiles:\n{''.join(lines)}" if lines else ""
    rest = re.sub(r"^Package: .*\n", "", control, count=1, flags=re.M)
    return f"Package: {name}\nStatus: install ok unpacked\n{rest}{kept}"


def main(root):
    (root / "var/lib/dpkg/info").mkdir(parents=True, exist_ok=True)
    entries = [unpack(package, root) for package in sorted((root / "var/cache/apt/archives").glob("*.deb"))]
    (root / "var/lib/dpkg/status").write_text("\n".join(entries))
    (root / "var/lib/dpkg/available").touch()
    for package in (root / "var/cache/apt/archives").glob("*.deb"):
        package.unlink()


main(pathlib.Path(sys.argv[1]))
