"""The conformance server, and the smallest clients that speak to it byte by byte."""

import contextlib
import json
import os
import subprocess

import pytest
import requests
import websocket

from siskin import ROOT, RUNNER, free_port, wait_for

SERVER = os.environ.get("CONFORMANCE_BIN", str(ROOT / "target/debug/examples/conformance"))


class Server:
    """Paths of one kind: `/engine.io/` is a bare echo, `/socket.io/` the whole protocol."""

    def __init__(self, port, path):
        self.http = f"http://127.0.0.1:{port}{path}?EIO=4"
        self.ws = f"ws://127.0.0.1:{port}{path}?EIO=4"

    def get(self, query="&transport=polling", **more):
        return requests.get(self.http + query, timeout=5, **more)

    def open_polling(self):
        """The query of a new polling session."""
        answer = self.get()
        assert answer.status_code == 200 and answer.text.startswith("0"), answer.text
        return f"&transport=polling&sid={json.loads(answer.text[1:])['sid']}"

    def post(self, session, body):
        return requests.post(self.http + session, data=body, timeout=5)

    def websocket(self, query=""):
        return websocket.create_connection(f"{self.ws}&transport=websocket{query}", timeout=5)

    def open_websocket(self):
        """A websocket session whose open packet has been read."""
        socket = self.websocket()
        assert socket.recv().startswith("0{")
        return socket


@contextlib.contextmanager
def running(*arguments):
    """The port of a server of its own."""
    chosen = free_port()
    process = subprocess.Popen([*RUNNER, SERVER, str(chosen), *arguments], stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: _answers(chosen), what="conformance server")
        yield chosen
        assert process.poll() is None, "the conformance server died"
    finally:
        process.kill()
        process.wait()


def _answers(port):
    try:
        return requests.get(f"http://127.0.0.1:{port}/", timeout=1).status_code == 404
    except requests.ConnectionError:
        return False


@pytest.fixture(scope="session")
def port():
    with running() as port:
        yield port


@pytest.fixture(scope="session")
def patient():
    """A bare echo that waits 1.5 s for a pong: for whoever shall live, on a busy machine, too."""
    with running("1500") as port:
        yield Server(port, "/engine.io/")


@pytest.fixture
def engine(port):
    return Server(port, "/engine.io/")


@pytest.fixture
def socket(port):
    return Server(port, "/socket.io/")
