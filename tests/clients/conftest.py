"""The conformance server for the Python clients."""

import os
import socket
import subprocess

import pytest

from siskin import ROOT, RUNNER, free_port, wait_for

SERVER = os.environ.get("CONFORMANCE_BIN", str(ROOT / "target/debug/examples/conformance"))


def _listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


@pytest.fixture(scope="session")
def conformance():
    """Its address. It echoes `message` as `message-back` and acknowledges `message-with-ack`."""
    port = free_port()
    process = subprocess.Popen([*RUNNER, SERVER, str(port)], stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: _listens(port), what="conformance server")
        yield f"http://127.0.0.1:{port}"
        assert process.poll() is None, "the conformance server died"
    finally:
        process.kill()
        process.wait()
