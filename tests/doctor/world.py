"""What the doctor looks at: an Open WebUI that judges tokens, one nginx and one Caddy with a site for each fault, and the doctor."""

import asyncio
import contextlib
import json
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading
import uuid

import redis
import requests
from aiohttp import web
from process import Process
from siskin import BINARY, ROOT, SECRET, RedisServer, Siskin, claims_of, free_port, token, wait_for

PING = 2
SOCKET = "/ws/socket.io"


class Webui(Process):
    """Open WebUI, as far as the doctor asks it: who bears a token that this secret signed."""

    known = ("ann",)

    async def who(self, request):
        shown = request.headers.get("authorization", "").removeprefix("Bearer ")
        claims = claims_of(shown)
        if claims is None:
            return web.json_response({"detail": "401 Unauthorized"}, status=401)
        if claims["id"] not in self.known:
            return web.json_response({"detail": "Your session has expired or the token is invalid."}, status=401)
        return await super().who(request)

    def start(self):
        """In a thread of its own."""
        started = threading.Event()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self.thread.start()
        assert started.wait(15)
        return self

    def _run(self, started):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self.__aenter__())
        started.set()
        self.loop.run_forever()
        self.loop.run_until_complete(self.__aexit__())
        rest = asyncio.all_tasks(self.loop)
        for task in rest:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(15)


class World:
    """Everything that runs, started once. Each fault is a site of a proxy, or a setting of the doctor's."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="siskin-doctor-"))
        # A store belongs on a disk, and the folder of temporary files may be in memory.
        self.stored = pathlib.Path(tempfile.mkdtemp(prefix="doctor-", dir=ROOT / "target"))
        self.redis = RedisServer()
        self.nobodys = RedisServer()
        self.locked = RedisServer("--requirepass", "do-not-print-this")
        shared = {"WEBSOCKET_MANAGER": "redis", "WEBSOCKET_REDIS_URL": self.redis.url}
        self.webui = Webui(self.redis.url).start()
        # A process of Open WebUI holds it for as long as it lives.
        redis.Redis.from_url(self.redis.url).set("open-webui:usage_cleanup_lock", str(uuid.uuid4()), ex=600)
        beside = {**shared, "SISKIN_DIRECTORY": self.webui.url, "WEBSOCKET_SERVER_PING_INTERVAL": PING}
        self.siskin = Siskin(**beside)
        page = "https://chat.example.org"
        self.strict = Siskin(self.stored, CORS_ALLOW_ORIGIN=page, SISKIN_TRUSTED_PROXIES="10.0.0.1", WEBSOCKET_SERVER_PING_INTERVAL=PING)
        wait_for(lambda: requests.get(f"{self.siskin.url}/ready", timeout=5).ok, what="siskin, ready")
        self.sites, self.caddy_sites, self.ports = [], [], {}
        self.processes = []

    def nginx(self, name, *lines, to=None, path=SOCKET, http=""):
        """A site of nginx with these lines for the socket."""
        port = self.ports[name] = free_port()
        to = to or f"http://127.0.0.1:{self.siskin.port}"
        body = "".join(f"    {line}\n" for line in lines)
        passed = f"    proxy_pass {to};\n" if to != "-" else ""
        self.sites.append(f"{http}\nserver {{ listen 127.0.0.1:{port};\n  location {path} {{\n{passed}{body}  }}\n}}\n")
        return port

    def caddy(self, name, text):
        port = self.ports[name] = free_port()
        self.caddy_sites.append(f":{port} {{\n{text}\n}}\n")

    def delivered(self, name, file, listen):
        """The file that is delivered, on other ports."""
        port = self.ports[name] = free_port()
        text = (ROOT / "cross" / file).read_text()
        for old, new in [("127.0.0.1:8380", f"127.0.0.1:{self.siskin.port}"), ("127.0.0.1:8080", f"127.0.0.1:{self.webui.port}")]:
            text = text.replace(old, new)
        return text.replace(listen, listen.replace("80", str(port)))

    def run(self):
        """Starts both proxies."""
        main = self.dir / "nginx.conf"
        temporary = " ".join(f"{kind}_temp_path {self.dir}/{kind};" for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])
        main.write_text(
            f"daemon off; user root; pid {self.dir}/pid; error_log {self.dir}/error.log; events {{}}\n"
            f"http {{ access_log off; {temporary}\nproxy_cache_path {self.dir}/cache keys_zone=polls:1m;\n{''.join(self.sites)} }}\n"
        )
        caddyfile = self.dir / "Caddyfile"
        caddyfile.write_text("{\n\tadmin off\n\tauto_https off\n}\n" + "".join(self.caddy_sites))
        quiet = {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.dir)}
        nginx = ["nginx", "-c", str(main), "-p", str(self.dir)]
        caddy = ["caddy", "run", "--config", str(caddyfile), "--adapter", "caddyfile"]
        self.processes = [subprocess.Popen(nginx, **quiet), subprocess.Popen(caddy, env=environment, **quiet)]
        for name in ["healthy nginx", "healthy caddy"]:
            wait_for(lambda name=name: listens(self.ports[name]), what=name)

    def close(self):
        for process in self.processes:
            process.terminate()
            process.wait(15)
        self.webui.stop()
        for part in (self.siskin, self.strict, self.redis, self.nobodys, self.locked):
            part.close()
        for folder in (self.dir, self.stored):
            shutil.rmtree(folder, ignore_errors=True)


def listens(port):
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True


class Told:
    """What the doctor said."""

    def __init__(self, done):
        self.code, self.out = done.returncode, done.stdout
        assert not done.stderr, done.stderr
        told = json.loads(done.stdout)
        assert told["ok"] is (self.code == 0)
        self.lines = told["checks"]
        for line in self.lines:
            assert (line["verdict"] == "bad") == bool(line.get("fix")), line

    def bad(self):
        return [line for line in self.lines if line["verdict"] == "bad"]

    def verdicts(self):
        return {line["check"]: line["verdict"] for line in self.lines}


def doctor(*typed, settings, before=(), **more):
    """Runs it with these settings and as JSON; None takes one away."""
    environment = {name: str(value) for name, value in {**settings, **more}.items() if value is not None}
    command = [*before, BINARY, "doctor", "--json", *typed]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    for secret in (SECRET, token("ann"), "do-not-print-this", settings.get("SISKIN_API_KEY")):
        assert not secret or secret not in done.stdout + done.stderr
    return Told(done)
