"""Starts the real Open WebUI for a test: an empty data directory, nothing but loopback, no models."""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import requests
from siskin import SECRET, free_port

HERE = pathlib.Path(__file__).resolve().parent
# A slow machine migrates an empty database for a while.
START = 180


class OpenWebui:
    """One running instance, of the newest version or the one that is named. Further settings are environment variables."""

    def __init__(self, version=None, **settings):
        self.version = version
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="siskin-webui-"))
        (self.dir / "data").mkdir()
        self.log_file = self.dir / "log"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.dir),
            "DATA_DIR": str(self.dir / "data"),
            "STATIC_DIR": str(self.dir / "static"),
            "WEBUI_SECRET_KEY": SECRET,
            "USE_SLIM_DOCKER": "true",
            "OFFLINE_MODE": "true",
            "ENABLE_OLLAMA_API": "false",
            "ENABLE_OPENAI_API": "false",
            "BYPASS_EMBEDDING_AND_RETRIEVAL": "true",
            "ENABLE_CHANNELS": "true",
            "ENABLE_TITLE_GENERATION": "false",
            "ENABLE_TAGS_GENERATION": "false",
            "ENABLE_FOLLOW_UP_GENERATION": "false",
            "DEFAULT_USER_ROLE": "user",
            "ENABLE_SIGNUP": "true",
            "ANONYMIZED_TELEMETRY": "false",
            "DO_NOT_TRACK": "true",
            "CORS_ALLOW_ORIGIN": "*",
            **{name: str(value) for name, value in settings.items()},
        }
        self.process = None
        self.administrator = None
        self.start()

    def start(self):
        venv = HERE / f".versions/{self.version}/venv" if self.version else HERE / ".venv"
        how = f"bash tests/openwebui/install.sh {self.version}" if self.version else "tests/install.sh"
        assert (venv / "bin/open-webui").exists(), f"run {how} first"
        began = time.monotonic()
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                [venv / "bin/open-webui", "serve", "--host", "127.0.0.1", "--port", str(self.port)],
                env=self.environment,
                cwd=self.dir,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        while True:
            assert self.process.poll() is None, self.log()[-4000:]
            assert time.monotonic() < began + START, self.log()[-4000:]
            try:
                requests.get(f"{self.url}/health", timeout=5).raise_for_status()
                return self
            except requests.RequestException:
                time.sleep(0.2)

    def log(self):
        return self.log_file.read_text(errors="replace")

    def api(self, token, method, path, json=None):
        """A request with a user's token; `path` follows /api/v1."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = requests.request(method, f"{self.url}/api/v1{path}", json=json, headers=headers, timeout=60)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}\n{self.log()[-3000:]}"
        return answer.json()

    def sign_up(self, name):
        """A new user; the first one is the administrator, who lets in the others. Id and token as `id`, `token`."""
        form = {"name": name, "email": f"{name}@example.com", "password": f"a long enough word for {name}"}
        if self.administrator is None:
            self.administrator = self.api(None, "POST", "/auths/signup", form)
            return self.administrator
        self.api(self.administrator["token"], "POST", "/auths/add", {**form, "role": "user"})
        return self.api(None, "POST", "/auths/signin", form)

    def rss(self):
        pages = int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(20)

    def close(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)
