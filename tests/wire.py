"""Raw websocket and HTTP bytes, for tests that break the rules."""

import base64
import json
import os
import socket
import struct

from siskin import token

PATH = "/ws/socket.io/?EIO=4&transport="


class Raw:
    """A TCP connection to an instance; `receive`: bytes of the system's buffer for what it sends."""

    def __init__(self, instance, timeout=10, receive=None):
        self.socket = socket.socket()
        self.socket.settimeout(timeout)
        if receive:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        self.socket.connect(("127.0.0.1", instance.port))
        self.buffer = b""
        if hasattr(instance, "connections"):
            instance.connections.add(self)

    def send(self, data):
        self.socket.sendall(data)

    def read(self, size):
        """Exactly `size` bytes; EOFError at the end."""
        # Not bytes, which would be copied whole with each piece.
        read = bytearray(self.buffer[:size])
        self.buffer = self.buffer[size:]
        while len(read) < size:
            data = self.socket.recv(min(65536, size - len(read)))
            if not data:
                raise EOFError
            read += data
        return bytes(read)

    def head(self):
        """The head of an HTTP answer: status and lower-case headers."""
        while b"\r\n\r\n" not in self.buffer:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self.buffer += data
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        return int(lines[0].split()[1]), {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}

    def answer(self):
        """A whole HTTP answer with a content-length: status and body."""
        status, headers = self.head()
        return status, self.read(int(headers.get("content-length", 0)))

    def ended(self):
        """Waits for the end of the connection; what came before it."""
        rest = self.buffer
        try:
            while data := self.socket.recv(65536):
                rest += data
        except ConnectionResetError:
            pass
        return rest

    def close(self):
        self.socket.close()


class WebSocket(Raw):
    """A websocket, frame by frame."""

    def __init__(self, instance, query="", timeout=10, **connect):
        super().__init__(instance, timeout, **connect)
        key = base64.b64encode(os.urandom(16)).decode()
        self.send(
            f"GET {PATH}websocket{query} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self.status, _ = self.head()
        assert self.status == 101, self.status

    def frame(self, first, payload=b"", mask=b"\x01\x02\x03\x04", length=None):
        """A frame as it goes over the wire. `mask` None: unmasked; `length`: a length that lies."""
        length = len(payload) if length is None else length
        bit = 0x80 if mask else 0
        if length < 126:
            head = struct.pack("!BB", first, bit | length)
        elif length < 65536:
            head = struct.pack("!BBH", first, bit | 126, length)
        else:
            head = struct.pack("!BBQ", first, bit | 127, length)
        if not mask:
            return head + payload
        wide = (mask * (len(payload) // 4 + 1))[: len(payload)]
        masked = int.from_bytes(payload, "big") ^ int.from_bytes(wide, "big")
        return head + mask + masked.to_bytes(len(payload), "big")

    def text(self, text):
        self.send(self.frame(0x81, text.encode()))

    def recv(self):
        """The next frame: its first byte and its payload."""
        first, short = self.read(2)
        length = short
        if short == 126:
            (length,) = struct.unpack("!H", self.read(2))
        elif short == 127:
            (length,) = struct.unpack("!Q", self.read(8))
        return first, self.read(length)

    def recv_text(self):
        """The next text that is not a heartbeat."""
        while True:
            first, payload = self.recv()
            # A message in two frames: nothing but control frames comes between them.
            while first == 0x01:
                kind, more = self.recv()
                payload, first = (payload + more, 0x81) if kind == 0x80 else (payload, first)
            if first == 0x81 and payload == b"2":
                self.text("3")
            elif first == 0x81:
                return payload.decode()

    def close_code(self):
        """Waits for the close frame; its code, or None when the connection just ended."""
        try:
            while True:
                first, payload = self.recv()
                if first == 0x88:
                    return struct.unpack("!H", payload[:2])[0]
        except (EOFError, ConnectionError):
            return None

    def connect(self, user=None):
        """The open packet read and `/` connected; with a user, signed in. Returns the sid."""
        assert self.recv_text().startswith("0{")
        auth = json.dumps({"token": token(user)}) if user else ""
        self.text("40" + auth)
        answer = self.recv_text()
        assert answer.startswith("40{"), answer
        return json.loads(answer[2:])["sid"]

    def event(self, *args, ack=None):
        self.text("42" + ("" if ack is None else str(ack)) + json.dumps(list(args)))

    def recv_event(self):
        """The next event's name and arguments."""
        while not (text := self.recv_text()).startswith("42"):
            pass
        return json.loads(text[2:])

    def join(self, user):
        """Connected and joined as a user."""
        sid = self.connect(user)
        self.event("user-join", {"auth": {"token": token(user)}}, ack=0)
        while not (text := self.recv_text()).startswith("430"):
            pass
        assert json.loads(text[3:]) == [{"id": user, "name": user}], text
        return sid
