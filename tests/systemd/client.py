"""client.py TOKEN TEXTS: a browser's socket, as far as recovery goes. It says "connected", loses its connection, comes back, and ends well if it then
has its sid and so many events as there are TEXTS, with these."""

import base64
import json
import os
import socket
import sys
import time

token, *texts = sys.argv[1:]
HEAD = (
    "GET /ws/socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:8380\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\nSec-Fetch-Mode: websocket\r\n\r\n"
)


class Socket:
    def __init__(self, auth):
        self.file = socket.create_connection(("127.0.0.1", 8380), 30).makefile("rwb")
        self.file.write(HEAD.encode())
        self.file.flush()
        while self.file.readline().strip():
            pass
        packet = b"40" + json.dumps(auth).encode()
        length = bytes([0x80 | len(packet)]) if len(packet) < 126 else b"\xfe" + len(packet).to_bytes(2, "big")
        self.file.write(b"\x81" + length + bytes(4) + packet)
        self.file.flush()

    def next(self):
        """A packet's text; None at the end."""
        head = self.file.read(2)
        if len(head) < 2 or head[0] & 15 == 8:
            return None
        length = head[1]
        if length > 125:
            length = int.from_bytes(self.file.read(2 if length == 126 else 8), "big")
        return self.file.read(length).decode()

    def until(self, start):
        """The packet that begins so, and the events before it."""
        events = []
        while not (packet := self.next()).startswith(start):
            events += [json.loads(packet[2:])] if packet.startswith("42") else []
        return packet[len(start) :], events


first = Socket({"token": token})
begun, _ = first.until("40")
begun = json.loads(begun)
print("connected", flush=True)
while first.next() is not None:
    pass
for _ in range(100):
    try:
        second = Socket({"token": token, "pid": begun["pid"]})
        break
    except OSError:
        time.sleep(0.1)
again, events = second.until("40")
got = [event[1] for event in events if event[0] == "news"]
print(begun["sid"], again, got)
sys.exit(json.loads(again) != begun or got != texts)
