"""An Open WebUI of the test's own that misbehaves on demand."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NOTE = "0cfb530d-4f0e-4226-a020-88ae45f5f7e3"
CHAT = "1cfb530d-4f0e-4226-a020-88ae45f5f7e3"


def claims(token):
    """What one of the test's own tokens says."""
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


class Upstream:
    """Answers as Open WebUI does, unless `mode` says otherwise; keeps what it was asked."""

    def __init__(self, port=0):
        self.mode = "fine"
        # Asked of each request, with path and token: an event that its answer waits for, or None.
        self.held = lambda path, token: None
        self.answering = 0
        self.asked = []
        # Those that were made, and those that are open.
        self.connections, self.open = 0, 0
        self.saved = []
        # Who saved what: the id in the token, the token, the fields.
        self.saves = []
        self.content = {"md": "saved"}
        self.channels = [{"id": "c1", "name": "general"}]
        # What `/api/version` answers; and fields that a note needs to be saved, the note's other fields, what was sent.
        self.version = {"version": "0.12.4", "deployment_id": ""}
        self.wants, self.fields, self.forms = [], {"title": "T"}, []
        # Users whose role is another than their token's, and who may not read the note.
        self.roles = {}
        self.strangers = set()
        # Paths whose answers wait, made already, until the event is set; set when one does.
        self.made = {}
        self.holds = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", port), self.handler())
        self.server.daemon_threads = True
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self.hang = threading.Event()
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.hang.set()
        self.server.shutdown()
        self.server.server_close()

    def user(self, token):
        return claims(token)

    def answer(self, method, path, token, body):
        """Status and JSON."""
        if path == "/api/version":
            return (404, {"detail": "Not Found"}) if self.version is None else (200, self.version)
        if not token:
            return 401, {"detail": "Not authenticated"}
        user = self.user(token)
        if user["id"] == "refused":
            return 401, {"detail": "401 Unauthorized"}
        if path == "/api/v1/auths/":
            role = self.roles.get(user["id"], user["role"])
            return 200, {"id": user["id"], "name": user["name"], "role": role, "token": token, "bio": "b"}
        if path == "/api/v1/channels/":
            return 200, self.channels
        if path.startswith(f"/api/v1/notes/{NOTE}") and user["id"] in self.strangers:
            return 403, {"detail": "403"}
        if path == f"/api/v1/notes/{NOTE}":
            return 200, {"id": NOTE, "user_id": "ann", **self.fields, "data": {"content": self.content}, "write_access": True}
        if path == f"/api/v1/notes/{NOTE}/update" and method == "POST":
            self.forms.append(json.loads(body))
            if missing := [field for field in self.wants if field not in self.forms[-1]]:
                return 422, {"detail": [{"type": "missing", "loc": ["body", field]} for field in missing]}
            self.saved.append(self.forms[-1]["data"])
            self.saves.append((user["id"], token, self.saved[-1]))
            return 200, {"id": NOTE, "user_id": "ann", "title": "T", "data": self.saved[-1]}
        if path == f"/api/v1/chats/{CHAT}":
            return 200, {"id": CHAT, "user_id": "ann", "chat": {"share_mode": "continue"}}
        return 404, {"detail": "We could not find what you're looking for :/"}

    def handler(upstream):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                upstream.connections += 1
                upstream.open += 1

            def finish(self):
                super().finish()
                upstream.open -= 1

            def log_message(self, *_):
                pass

            def reply(self, status, kind, body, **headers):
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                token = (self.headers.get("authorization") or "").removeprefix("Bearer ")
                upstream.asked.append((self.command, self.path, token))
                if (gate := upstream.held(self.path, token)) is not None:
                    upstream.answering += 1
                    gate.wait(60)
                    upstream.answering -= 1
                match upstream.mode:
                    case "fine":
                        status, answer = upstream.answer(self.command, self.path, token, body)
                        if gate := upstream.made.get(self.path):
                            upstream.holds.set()
                            gate.wait(30)
                        self.reply(status, "application/json", json.dumps(answer).encode())
                    case "html":
                        self.reply(200, "text/html", b"<!doctype html><title>Open WebUI</title>" * 100)
                    case "500":
                        self.reply(500, "text/plain", b"Internal Server Error")
                    case "redirect":
                        self.reply(307, "text/plain", b"", location=f"http://127.0.0.1:{upstream.port}/elsewhere")
                    case "half":
                        self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"id\": \"ann\"")
                        self.close_connection = True
                    case "endless":
                        self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
                        try:
                            while not upstream.hang.is_set():
                                self.wfile.write(b" " * 65536)
                        except OSError:
                            pass
                        self.close_connection = True
                    case "garbage":
                        self.wfile.write(b"\x00\xffSSH-2.0-nonsense\r\n\r\n")
                        self.close_connection = True
                    case "closed":
                        self.close_connection = True
                    case "late":
                        upstream.hang.wait(30)
                        self.close_connection = True
                    case "truncated":
                        self.reply(200, "application/json", b'{"id": "ann", "name": ')

            do_POST = do_GET

        return Handler
