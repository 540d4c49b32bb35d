"""A browser for the API's tests."""

import queue

import pytest
import socketio


def in_order(io):
    """Has a message handled before the next one is read: each in a thread of its own, as is the default, they overtake
    each other when the machine is busy."""
    trigger = io.eio._trigger_event

    def one_after_the_other(event, *args, run_async=False, **options):
        return trigger(event, *args, run_async=run_async and event != "message", **options)

    io.eio._trigger_event = one_after_the_other


class Browser:
    """One socket of a user; keeps what it receives, answers what it is asked."""

    def __init__(self, siskin, user, join=False, **options):
        self.io = socketio.Client(**{"reconnection": False, **options})
        in_order(self.io)
        self.came = queue.Queue()
        self.answer = lambda name, data: None
        self.io.on("*", self._receive)
        self.io.connect(
            siskin.url,
            auth={"token": siskin.token(user)} if user else None,
            socketio_path="/ws/socket.io",
            transports=["websocket"],
        )
        if join:
            self.io.call("user-join", {"auth": {"token": siskin.token(user)}}, timeout=10)
        elif user:
            # The answer shows that signing in is done.
            self.io.call("events:chat", {"chat_id": "none", "data": {"type": "leave"}}, timeout=10)

    @property
    def sid(self):
        return self.io.get_sid()

    def _receive(self, name, *data):
        self.came.put((name, *data))
        return self.answer(name, data)

    def next(self, seconds=10):
        """The next event."""
        return self.came.get(timeout=seconds)

    def silent(self):
        """Nothing came that nobody looked at. Call it after something that came later."""
        assert self.came.empty(), self.came.get()

    def close(self):
        self.io.disconnect()
        self.io.wait()


@pytest.fixture
def browse(request):
    """Opens sockets of a user, at the instance `siskin` or at another one."""
    open_ = []

    def start(user, at=None, **options):
        at = at or request.getfixturevalue("siskin")
        open_.append(Browser(at, user, **options))
        return open_[-1]

    yield start
    for browser in open_:
        browser.close()
