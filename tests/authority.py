"""A certificate authority of the test's own, and Redis servers with TLS."""

import pathlib
import shutil
import subprocess
import tempfile

from siskin import RedisServer, free_port

KEYS = {
    "p256": ("EC", "ec_paramgen_curve:P-256"),
    "p384": ("EC", "ec_paramgen_curve:P-384"),
    "rsa": ("RSA", "rsa_keygen_bits:2048"),
    "ed25519": ("ED25519", None),
}


class Authority:
    """Signs certificates; all files are in PEM in its folder."""

    def __init__(self, key="p256", name="Test authority"):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="siskin-authority-"))
        self.count = 0
        self.key = self.make_key("authority", key)
        self.pem = self.self_signed("authority", self.key, "-subj", f"/CN={name}")

    def run(self, *command):
        done = subprocess.run([str(part) for part in command], cwd=self.dir, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"

    def make_key(self, name, kind):
        algorithm, option = KEYS[kind]
        path = self.dir / f"{name}.key"
        self.run("openssl", "genpkey", "-algorithm", algorithm, *(("-pkeyopt", option) if option else ()), "-out", path)
        return path

    def self_signed(self, name, key, *more):
        path = self.dir / f"{name}.pem"
        self.run("openssl", "req", "-x509", "-new", "-key", key, "-days", "30", "-out", path, *more)
        return path

    def issue(self, key="p256", names="IP:127.0.0.1", when=None):
        """A certificate and its key; `when`, a day, is when its ten days begin."""
        self.count += 1
        name = f"{key}-{self.count}"
        path, request, extensions = (self.dir / f"{name}.{end}" for end in ("pem", "csr", "ext"))
        key = self.make_key(name, key)
        extensions.write_text(f"subjectAltName={names}\n")
        self.run("openssl", "req", "-new", "-key", key, "-subj", f"/CN={name}", "-out", request)
        at = ("faketime", when) if when else ()
        signed_by = ("-CA", self.pem, "-CAkey", self.key, "-CAcreateserial", "-days", "10")
        self.run(*at, "openssl", "x509", "-req", "-in", request, *signed_by, "-extfile", extensions, "-out", path)
        return path, key

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)


class TlsServer(RedisServer):
    """A redis-server that speaks TLS on one port and plain on another, where the test itself looks at it."""

    def __init__(self, authority, pair, *arguments, clients="no"):
        self.authority, self.tls_port = authority, free_port()
        certificate, key = pair
        super().__init__(
            *("--tls-port", str(self.tls_port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key)),
            *("--tls-ca-cert-file", str(authority.pem), "--tls-auth-clients", clients, *arguments),
        )

    def secure(self, port=None, **options):
        """As siskin and redis-py take it."""
        options = {"ssl_ca_certs": self.authority.pem, **options}
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"rediss://127.0.0.1:{port or self.tls_port}/0?{query}"
