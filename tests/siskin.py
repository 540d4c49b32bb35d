"""Starts the real binary for a test, and stops it by its pid."""

import base64
import contextlib
import hashlib
import hmac
import itertools
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import weakref

import requests

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = os.environ.get("SISKIN_BIN", str(ROOT / "target/debug/siskin"))
# What stands before the binary on the command line: qemu for one of another architecture.
RUNNER = os.environ.get("SISKIN_RUNNER", "").split()
SECRET = "test-secret-that-is-long-enough-for-anybody"
API_KEY = "test-key-that-is-long-enough-for-anybody"
START = 30
SEED = int(os.environ.get("SISKIN_SEED") or 5)


# The ports of this test step (tests/run.py); by default all below those that the system gives to outgoing connections: what
# restarts finds its port free again. Processes of one step begin at different ones.
FIRST_PORT, PORTS = map(int, os.environ.get("TEST_PORTS", "10000 22000").split())
port_numbers = itertools.count(os.getpid() * 101)


def free_port():
    """A port that nobody listens on now, and that this process did not use before, unless it used them all."""
    while True:
        port = FIRST_PORT + next(port_numbers) % PORTS
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_for(condition, seconds=30, what="condition"):
    """Waits until `condition()` is true and returns what it returned."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"no {what} after {seconds} s")
        time.sleep(0.01)


def chance(what):
    """Random choices of a test: the same in every run, others with each SISKIN_SEED."""
    print(f"SISKIN_SEED={SEED}")
    return random.Random(f"{SEED} {what}")


def _part(data):
    return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=")


def token(id, name=None, role="user", secret=SECRET, **claims):
    """A token as Open WebUI signs them; further claims (exp, nbf, iat, jti) by name."""
    body = {"id": id, "name": name or id, "role": role, **claims}
    signed = _part({"alg": "HS256", "typ": "JWT"}) + b"." + _part(body)
    mac = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


def has_token(text):
    """Whether a JSON Web Token stands in it; a sid may look like the beginning of one."""
    return re.search(r"eyJ[\w-]{8,}\.", text) is not None


def claims_of(text, secret=SECRET):
    """What a token says that this secret signed; None for another."""
    signed, _, mac = text.rpartition(".")
    right = base64.urlsafe_b64encode(hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()).rstrip(b"=").decode()
    if mac != right:
        return None
    part = signed.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


class Siskin:
    """One running instance. Settings are environment variables, given by name."""

    def __init__(self, data_dir=None, **settings):
        self.port = settings.pop("port", None) or free_port()
        self.binary = settings.pop("binary", BINARY)
        self.own_dir = None if data_dir else tempfile.mkdtemp(prefix="siskin-test-")
        self.data_dir = str(data_dir or self.own_dir)
        self.url = f"http://127.0.0.1:{self.port}"
        self.api_key = API_KEY
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("SISKIN_", "WEBUI_", "WEBSOCKET_", "REDIS_"))},
            "WEBUI_SECRET_KEY": SECRET,
            "SISKIN_API_KEY": API_KEY,
            "SISKIN_LISTEN": f"127.0.0.1:{self.port}",
            "SISKIN_DATA_DIR": self.data_dir,
            "SISKIN_TRUST_TOKEN_CLAIMS": "true",
            **{k: str(v) for k, v in settings.items()},
        }
        self.lines = []
        self.process = None
        self.expect_panic = False
        # Connections of the test: their end is not waited for when it is over.
        self.connections = weakref.WeakSet()
        self.start()

    def start(self):
        """Starts the binary and waits until it accepts connections."""
        self.process = subprocess.Popen(
            [*RUNNER, self.binary, "serve"], env=self.environment, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        self.reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self.reader.start()
        end = time.monotonic() + START
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                if self.process.poll() is not None:
                    self.reader.join(2)
                    raise AssertionError(f"siskin ended with {self.process.returncode}:\n{self.log()}") from None
                if time.monotonic() > end:
                    raise AssertionError(f"siskin does not listen:\n{self.log()}") from None
                time.sleep(0.01)

    def _read(self, stream):
        for line in stream:
            self.lines.append(line.decode(errors="replace").rstrip("\n"))

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        """Everything on stderr so far."""
        return "\n".join(self.lines)

    def token(self, id, name=None, role="user", **claims):
        return token(id, name, role, **claims)

    def api(self, method, path, json=None, ok=True, **more):
        """A request to the HTTP API; `path` follows /api/v1."""
        headers = {"Authorization": f"Bearer {self.api_key}", **more.pop("headers", {})}
        answer = requests.request(method, f"{self.url}/api/v1{path}", json=json, headers=headers, timeout=30, **more)
        if ok:
            assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer

    def ready(self):
        """Whether it is ready, and the reasons why not, as who has the key is told them."""
        answer = requests.get(f"{self.url}/ready", headers={"Authorization": f"Bearer {self.api_key}"}, timeout=10)
        assert (answer.status_code == 200) == answer.json()["ready"]
        return answer.json()["ready"], answer.json()["reasons"]

    def metric(self, name):
        """A metric by its full name, labels included; 0 when it isn't there."""
        for line in requests.get(f"{self.url}/metrics", timeout=10).text.splitlines():
            if line.rpartition(" ")[0] == name:
                return float(line.rpartition(" ")[2])
        return 0.0

    def rss(self):
        """Resident bytes."""
        pages = int(pathlib.Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def stop(self, code=0):
        """SIGTERM, and the exit code that should follow."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        got = self.process.wait(30)
        self.reader.join(2)
        assert got == code, f"exit code {got} instead of {code}:\n{self.log()}"

    def kill(self):
        """SIGKILL."""
        self.process.kill()
        self.process.wait(30)
        self.reader.join(2)

    def restart(self):
        """Stops it and starts it again on the same port and data."""
        self.stop()
        return self.start()

    def close(self):
        """The end of a test: stopped, cleaned up, and no panic in its log."""
        for connection in [*self.connections]:
            connection.close()
        try:
            self.stop()
        finally:
            if self.process.poll() is None:
                self.kill()
            if self.own_dir:
                shutil.rmtree(self.own_dir, ignore_errors=True)
        assert self.expect_panic or "panic" not in self.log(), self.log()


class RedisServer:
    """A redis-server of the test's own."""

    def __init__(self, *arguments, port=None):
        self.port = port or free_port()
        self.dir = tempfile.mkdtemp(prefix="siskin-redis-")
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.arguments = arguments
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.dir, *self.arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self._answers, what="redis-server")
        return self

    def _answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                probe.sendall(b"PING\r\n")
                return probe.recv(64)
        except OSError:
            return False

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)

    def close(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)
