"""The harness of the attacks: a stranger who asks every 50 ms, and what attackers send."""

import json
import os
import select
import subprocess
import sys
import time

from wire import PATH, Raw, WebSocket

# A bound of behaviour on two shared cores, not a benchmark. An unoptimized build takes many times as long for the one large
# message; what is bounded by budgets keeps to the bound in any build.
WORST = 0.25
UNOPTIMIZED = "/debug/" in os.environ.get("SISKIN_BIN", "/debug/")


class Stranger:
    """Sends a heartbeat every 50 ms, from a process of its own, so that only what siskin does counts."""

    def __init__(self, siskin):
        self.siskin = siskin
        command = [sys.executable, __file__, str(siskin.port)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"joined\n"

    def worst(self, bound=WORST):
        """The end: prints its worst answer and the longest turn, which is returned."""
        said, _ = self.process.communicate(timeout=60)
        took = json.loads(said)
        longest = self.siskin.metric("siskin_longest_turn_seconds")
        # Of the longest turn on a busy machine others have most.
        hardest = self.siskin.metric("siskin_longest_turn_cpu_seconds")
        at_work = f", of the processor {hardest * 1000:.1f} ms" if hardest else ""
        print(f"worst of {len(took)}: {max(took) * 1000:.0f} ms; longest turn {longest * 1000:.1f} ms{at_work}")
        assert len(took) > 3
        assert max(took) < bound
        return longest


def ask(port):
    """What the process does, until its standard input ends: prints how long each answer took."""

    class Instance:
        pass

    Instance.port = port
    ws, took = WebSocket(Instance, timeout=60), []
    ws.join("stranger")
    print("joined", flush=True)
    # Five times at least: an attack may be over soon.
    while not select.select([sys.stdin], [], [], 0.05)[0] or len(took) < 5:
        began = time.monotonic()
        ws.event("heartbeat", {}, ack=len(took))
        while not ws.recv_text().startswith(f"43{len(took)}"):
            pass
        took.append(time.monotonic() - began)
    print(json.dumps(took))


def polling(siskin, user=None, raw=None):
    """A session over polling, signed in as a user, with the connection for its requests."""
    raw = raw or Raw(siskin, timeout=60)
    raw.send(f"GET {PATH}polling HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    sid = json.loads(raw.answer()[1][1:])["sid"]
    if user:
        post(raw, sid, f'40{{"token":"{siskin.token(user)}"}}'.encode())
        raw.answer()
    return raw, sid


def post(raw, sid, body):
    raw.send(f"POST {PATH}polling&sid={sid} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode())
    raw.send(body)


def poll(raw, sid):
    """The packets of the next poll."""
    raw.send(f"GET {PATH}polling&sid={sid} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return raw.answer()[1].decode().split("\x1e")


def until(ws, start):
    """Waits for a text that begins so."""
    while not (text := ws.recv_text()).startswith(start):
        pass
    return text


def varint(number):
    """As Yjs writes numbers: seven bits a byte, the lowest first."""
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def insertion(size, client=1, clock=0):
    """A Yjs update: one client's one insertion into the text `t`; nothing is deleted."""
    return b"\1\1" + varint(client) + varint(clock) + b"\4\1\1t" + varint(size) + b"x" * size + b"\0"


def send_update(ws, update, ack, document="big", **more):
    """Sends a Yjs update as an attachment."""
    payload = {"document_id": document, "update": {"_placeholder": True, "num": 0}, **more}
    ws.text(f"451-{ack}" + json.dumps(["ydoc:document:update", payload]))
    ws.send(ws.frame(0x82, update))


def open_document(siskin, user, document="big"):
    """A member who has a document open."""
    ws = WebSocket(siskin, timeout=60)
    ws.join(user)
    ws.event("ydoc:document:join", {"document_id": document}, ack=1)
    until(ws, "431")
    return ws


def document(siskin, user, size):
    """The same with a document of about this size."""
    ws = open_document(siskin, user)
    send_update(ws, insertion(size), 2)
    until(ws, "432")
    return ws


if __name__ == "__main__":
    ask(int(sys.argv[1]))
