"""What systemd is told, the sockets that it hands over, and the unit's sandbox, each without a running systemd."""

import re
import socket
import subprocess
import threading

import pytest
import requests
import socketio

import cross
from siskin import BINARY, ROOT, RUNNER, wait_for


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, path):
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.heard = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while True:
            self.heard.append(self.socket.recv(4096).decode())

    def wait(self, text, after=0):
        """Waits for a message that begins so; its place."""
        found = lambda: [n for n, said in enumerate(self.heard) if n >= after and said.startswith(text)]  # noqa: E731
        return wait_for(found, 30, f"{text!r} among {self.heard}")[0]


@pytest.fixture
def manager(tmp_path):
    return Manager(tmp_path / "notify")


def test_it_says_ready_status_and_stopping(manager, start_siskin):
    siskin = start_siskin(NOTIFY_SOCKET=manager.path)
    ready = manager.wait("READY=1\n")
    assert manager.heard[ready] == f"READY=1\nMAINPID={siskin.pid}"
    none = manager.wait("STATUS=0 sessions")
    with socketio.SimpleClient() as client:
        client.connect(siskin.url, socketio_path="/ws/socket.io", auth={"token": siskin.token("ann")}, transports=["websocket"])
        one = manager.wait("STATUS=1 session", none)
    manager.wait("STATUS=0 sessions", one)
    siskin.stop()
    manager.wait("STOPPING=1", one)
    assert not [said for said in manager.heard if said.startswith("WATCHDOG")], "nobody wanted a watchdog"


def test_its_watchdog_pings_as_often_as_asked(manager, start_siskin):
    start_siskin(NOTIFY_SOCKET=manager.path, WATCHDOG_USEC=400_000)
    place = -1
    for _ in range(5):
        place = manager.wait("WATCHDOG=1", place + 1)


def test_it_is_not_told_of_another_processs_watchdog(manager, start_siskin):
    siskin = start_siskin(NOTIFY_SOCKET=manager.path, WATCHDOG_USEC=2_000, WATCHDOG_PID=1)
    manager.wait("READY=1")
    siskin.stop()
    manager.wait("STOPPING=1")
    assert not [said for said in manager.heard if said.startswith("WATCHDOG")]


def serve_on(listener, environment):
    """A siskin that takes over a listening socket as systemd hands it over: file 3, LISTEN_FDS, its own LISTEN_PID."""
    return subprocess.Popen(
        ["bash", "-c", f'exec 3<&{listener.fileno()}; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"', "bash", *RUNNER, BINARY, "serve"],
        env=environment,
        pass_fds=[listener.fileno()],
        stderr=subprocess.DEVNULL,
    )


def test_no_connection_attempt_is_lost_by_restarts(start_siskin):
    stopped = start_siskin()
    stopped.stop()
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/health"
    lost, answered, enough = [], [], threading.Event()

    def ask():
        while not enough.is_set():
            try:
                answered.append(requests.get(url, timeout=30).status_code)
            except requests.RequestException as error:
                lost.append(error)

    process = serve_on(listener, stopped.environment)
    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    try:
        for _ in range(6):
            count = len(answered)
            wait_for(lambda: len(answered) > count + 50, 60, "answers")  # noqa: B023
            process.terminate()
            assert process.wait(30) == 0
            process = serve_on(listener, stopped.environment)
        count = len(answered)
        wait_for(lambda: len(answered) > count + 50, 60, "answers")
    finally:
        enough.set()
        for asker in askers:
            asker.join(60)
        process.terminate()
        process.wait(30)
        listener.close()
    assert not lost, f"{len(lost)} of {len(answered)}: {lost[0]}"
    assert set(answered) == {200}


def test_the_sandbox_is_tight():
    said = cross.run("systemd-analyze", "security", "--offline=true", "--no-pager", ROOT / "cross/siskin.service")
    level = re.search(r"Overall exposure level for siskin.service: ([\d.]+)", said)
    assert level and float(level[1]) <= 1.5, said


def test_the_units_are_valid(tmp_path):
    unit = (ROOT / "cross/siskin.service").read_text()
    (tmp_path / "siskin.service").write_text(unit.replace("/usr/bin/siskin", BINARY))
    (tmp_path / "siskin.socket").write_text((ROOT / "cross/siskin.socket").read_text())
    command = ["systemd-analyze", "verify", "--man=no", tmp_path / "siskin.service", tmp_path / "siskin.socket"]
    done = subprocess.run(command, capture_output=True, text=True)
    ours = [line for line in done.stderr.splitlines() if "siskin" in line]
    assert done.returncode == 0 and not ours, done.stderr


def test_each_line_of_the_sandbox_is_explained():
    """A comment stands above every setting, or above the group that it belongs to."""
    explained = False
    for line in (ROOT / "cross/siskin.service").read_text().partition("[Service]")[2].partition("[Install]")[0].splitlines():
        explained = line.startswith("#") or (explained and line != "")
        assert explained or "=" not in line, line
