"""siskin beside the real Open WebUI as users run it: one Redis, a reverse proxy in front, /ws/socket.io to siskin."""

import json
import pathlib
import queue
import re
import shutil
import subprocess
import tempfile
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from real import OpenWebui
from siskin import ROOT, RedisServer, Siskin, free_port, has_token, wait_for

# A Yjs update that writes "hello"; made with Yjs.
HELLO = [1, 1, 1, 0, 4, 1, 1, 116, 5, 104, 101, 108, 108, 111, 0]
PATIENCE = 30
WORDS = ["The ", "siskin ", "is ", "a ", "small ", "finch."]


class Model:
    """A model that speaks OpenAI's API: lists itself, and streams the same words to everybody."""

    def __init__(self):
        model = self
        self.asked = 0

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                self.answer("application/json", json.dumps({"object": "list", "data": [{"id": "finch", "object": "model"}]}))

            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                model.asked += 1
                parts = [{"delta": {"content": word}, "index": 0} for word in WORDS]
                parts.append({"delta": {}, "index": 0, "finish_reason": "stop"})
                chunks = [{"id": "x", "object": "chat.completion.chunk", "model": "finch", "choices": [part]} for part in parts]
                body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
                self.answer("text/event-stream", body)

            def answer(self, kind, body):
                body = body.encode()
                self.send_response(200)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Page:
    """A user's page: socket.io-client in a process of its own."""

    def __init__(self, url, user):
        self.user = user
        self.heard = []
        self.answers = {}
        self.asked = []
        self.gone = None
        self.sids = queue.Queue()
        self.process = subprocess.Popen(
            ["node", str(ROOT / "tests/openwebui/browser.mjs"), url, user["token"]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()
        self.sid = self.sids.get(timeout=PATIENCE)
        assert self.call("user-join", {"auth": {"token": user["token"]}}) == {"id": user["id"], "name": user["name"]}

    def _read(self):
        for line in self.process.stdout:
            match json.loads(line):
                case ["connect", sid]:
                    self.sids.put(sid)
                case ["disconnect", reason]:
                    self.gone = reason
                case ["ack", id, *answer]:
                    self.answers[id] = answer
                case ["heard", name, *args]:
                    self.heard.append((name, *args))
                case ["asked", number, name, *args]:
                    self.asked.append((number, name, *args))

    def emit(self, event, *args, id=None):
        self.process.stdin.write(json.dumps([id, event, *args]) + "\n")
        self.process.stdin.flush()

    def is_asked(self, kind):
        """The next question of this type: its number, and its data."""

        def look():
            return next(((n, args[0]["data"]["data"]) for n, _, *args in list(self.asked) if args[0]["data"]["type"] == kind), None)

        return wait_for(look, PATIENCE, f"the question {kind}")

    def answer(self, number, answer):
        self.emit(answer, id={"number": number})

    def call(self, event, *args):
        id = str(uuid.uuid4())
        self.emit(event, *args, id=id)
        wait_for(lambda: id in self.answers, PATIENCE, f"answer to {event}")
        return self.answers[id][0] if self.answers[id] else None

    def events(self, name="events"):
        return [heard[1] for heard in list(self.heard) if heard[0] == name]

    def hears(self, condition, what):
        return wait_for(lambda: [event for event in list(self.heard) if condition(*event)], PATIENCE, what)

    def close(self):
        self.process.stdin.close()
        self.process.wait(15)


class Proxy:
    """A reverse proxy with the file that is delivered, on other ports."""

    def __init__(self, name, siskin, webui):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"siskin-{name}-"))
        self.process = getattr(self, name)(siskin, webui)
        wait_for(self._answers, PATIENCE, name)

    def substituted(self, file, port, siskin, webui):
        text = (ROOT / "cross" / file).read_text()
        for old, new in [("127.0.0.1:8380", f"127.0.0.1:{siskin}"), ("127.0.0.1:8080", f"127.0.0.1:{webui}"), port]:
            # Comments speak of addresses, too; each must stand in the part that counts.
            assert re.search(rf"^[^#\n]*{re.escape(old)}", text, re.M), old
            text = text.replace(old, new)
        return text

    def nginx(self, siskin, webui):
        site = self.dir / "site.conf"
        site.write_text(self.substituted("nginx.conf", ("listen 80;", f"listen 127.0.0.1:{self.port};"), siskin, webui))
        main = self.dir / "nginx.conf"
        main.write_text(
            f"daemon off; pid {self.dir}/pid; error_log {self.dir}/error.log; events {{}}\n"
            f"http {{ access_log off; client_body_temp_path {self.dir}/body; proxy_temp_path {self.dir}/proxy;\n"
            f"fastcgi_temp_path {self.dir}/f; uwsgi_temp_path {self.dir}/u; scgi_temp_path {self.dir}/s;\n"
            f"include {site}; }}\n"
        )
        return subprocess.Popen(["nginx", "-c", str(main), "-p", str(self.dir)], stderr=subprocess.DEVNULL)

    def caddy(self, siskin, webui):
        file = self.dir / "Caddyfile"
        text = self.substituted("Caddyfile", (":80 {", f":{self.port} {{"), siskin, webui)
        file.write_text("{\n\tadmin off\n}\n" + text)
        return subprocess.Popen(
            ["caddy", "run", "--config", str(file), "--adapter", "caddyfile"],
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.dir)},
            stderr=subprocess.DEVNULL,
        )

    def _answers(self):
        try:
            return requests.get(f"{self.url}/health", timeout=5).ok
        except requests.RequestException:
            return False

    def close(self):
        self.process.terminate()
        self.process.wait(15)
        shutil.rmtree(self.dir, ignore_errors=True)


class House:
    """All of it."""

    def __init__(self):
        self.redis = RedisServer()
        self.model = Model()
        shared = {"WEBSOCKET_MANAGER": "redis", "WEBSOCKET_REDIS_URL": self.redis.url}
        self.webui = OpenWebui(
            **shared,
            REDIS_URL=self.redis.url,
            ENABLE_OPENAI_API="true",
            OPENAI_API_BASE_URL=self.model.url,
            OPENAI_API_KEY="none",
        )
        self.siskin = Siskin(**shared, SISKIN_DIRECTORY=self.webui.url, SISKIN_LOG="debug")
        self.proxy = Proxy("nginx", self.siskin.port, self.webui.port)
        # From here on everybody comes through the proxy.
        self.webui.url = self.proxy.url
        self.ann, self.bob = (self.webui.sign_up(name) for name in ["ann", "bob"])
        self.pages = []

    def page(self, user, proxy=None):
        self.pages.append(Page((proxy or self.proxy).url, user))
        return self.pages[-1]

    def close(self):
        for page in self.pages:
            page.close()
        for part in (self.proxy, self.siskin, self.webui, self.redis, self.model):
            part.close()


@pytest.fixture(scope="module")
def house():
    house = House()
    yield house
    print(f"\nRSS: siskin {house.siskin.rss() >> 10} KiB, open-webui {house.webui.rss() >> 10} KiB")
    house.close()
    assert not has_token(house.siskin.log()), "a token in the log"


def test_a_chat_streams_from_open_webui_to_a_socket_on_siskin(house):
    api = house.webui.api
    page = house.page(house.ann)
    question, answer = str(uuid.uuid4()), str(uuid.uuid4())
    messages = {
        question: {"id": question, "parentId": None, "childrenIds": [answer], "role": "user", "content": "What is a siskin?"},
        answer: {"id": answer, "parentId": question, "childrenIds": [], "role": "assistant", "content": "", "model": "finch"},
    }
    form = {"chat": {"title": "Birds", "models": ["finch"], "history": {"messages": messages, "currentId": answer}, "messages": []}}
    chat = api(house.ann["token"], "POST", "/chats/new", form)["id"]
    assert page.call("events:chat", {"chat_id": chat, "data": {"type": "join"}}) is True
    completion = {
        "stream": True,
        "model": "finch",
        "messages": [{"role": "user", "content": "What is a siskin?"}],
        "chat_id": chat,
        "id": answer,
        "session_id": page.sid,
    }
    api(house.ann["token"], "GET", "/models?refresh=true")
    api(house.ann["token"], "POST", "/chat/completions", completion)

    def done(name, *args):
        return name == "events" and args[0]["data"]["type"] == "chat:completion" and args[0]["data"]["data"].get("done")

    page.hears(done, "the end of the answer")
    assert house.model.asked == 1
    mine = [event for event in page.events() if event.get("message_id") == answer]
    assert mine and all(event["chat_id"] == chat for event in mine)
    # All of it arrived on siskin's socket, word by word, in order, once.
    told = [event["data"]["data"] for event in mine]
    assert [data["delta"] for data in told if "delta" in data] == WORDS
    [end] = [data for data in told if data.get("done")]
    assert end["output"][0]["content"][0]["text"] == "".join(WORDS)
    saved = wait_for(
        lambda: api(house.ann["token"], "GET", f"/chats/{chat}")["chat"]["history"]["messages"][answer]["content"],
        PATIENCE,
        "saved answer",
    )
    assert saved == "".join(WORDS)


def test_a_channel_message_by_rest_reaches_another_users_socket(house):
    api, ann, bob = house.webui.api, house.ann, house.bob
    form = {"name": "birds", "type": "group", "user_ids": [ann["id"], bob["id"]]}
    channel = api(ann["token"], "POST", "/channels/create", form)["id"]
    page = house.page(bob)
    api(ann["token"], "POST", f"/channels/{channel}/messages/post", {"content": "a siskin at the feeder"})

    def message(name, *args):
        return name == "events:channel" and args[0]["channel_id"] == channel and args[0]["data"]["type"] == "message"

    [(_, event)] = page.hears(message, "the message")
    assert event["data"]["data"]["content"] == "a siskin at the feeder" and event["user"]["id"] == ann["id"]
    # And the receipt goes back the other way.
    unread = lambda: next(c["unread_count"] for c in api(bob["token"], "GET", "/channels/") if c["id"] == channel)  # noqa: E731
    assert unread() == 1
    page.emit("events:channel", {"channel_id": channel, "data": {"type": "last_read_at"}})
    wait_for(lambda: unread() == 0, PATIENCE, "read receipt")
    assert len(page.hears(message, "the message")) == 1


def test_who_hid_a_direct_message_gets_the_first_one_of_a_new_talk(house):
    api, ann, bob = house.webui.api, house.ann, house.bob
    page, other = house.page(ann), house.page(bob)
    channel = api(ann["token"], "GET", f"/channels/users/{bob['id']}")["id"]

    def said(text):
        def heard(name, *args):
            return name == "events:channel" and args[0]["data"]["type"] == "message" and args[0]["data"]["data"]["content"] == text

        return heard

    inside = lambda: {user["id"] for user in house.siskin.api("GET", f"/rooms/channel:{channel}").json()["users"]}  # noqa: E731
    wait_for(lambda: inside() == {ann["id"], bob["id"]}, PATIENCE, "both in the new channel")
    api(ann["token"], "POST", f"/channels/{channel}/messages/post", {"content": "one"})
    for each in (page, other):
        each.hears(said("one"), "the first message of a new talk")
    api(bob["token"], "POST", f"/channels/{channel}/members/active", {"is_active": False})
    # A page of Bob's that begins now does not know of the talk, in no list it stands.
    late = house.page(bob)
    assert channel not in [each["id"] for each in api(bob["token"], "GET", "/channels/")]
    api(ann["token"], "GET", f"/channels/users/{bob['id']}")
    for text in ("two", "three"):
        api(ann["token"], "POST", f"/channels/{channel}/messages/post", {"content": text})
    for text in ("two", "three"):
        for each in (page, other, late):
            assert len(each.hears(said(text), f"{text!r}")) == 1
    texts = [event["data"]["data"]["content"] for event in late.events("events:channel") if event["data"]["type"] == "message"]
    assert texts == ["two", "three"]


def test_a_note_edited_over_siskin_is_read_back_by_rest(house):
    api, ann = house.webui.api, house.ann
    note = api(ann["token"], "POST", "/notes/create", {"title": "Birds", "data": {"content": {"md": ""}}, "access_grants": []})["id"]
    one, two = house.page(ann), house.page(ann)
    for page in (one, two):
        page.emit("join-note", {"auth": {"token": ann["token"]}, "note_id": note})
        page.emit("ydoc:document:join", {"document_id": f"note:{note}"})
        page.hears(lambda name, *args: name == "ydoc:document:state", "state")
    one.emit("ydoc:document:update", {"document_id": f"note:{note}", "update": HELLO, "data": {"content": {"md": "hello"}}})
    two.hears(lambda name, *args: name == "ydoc:document:update" and args[0]["update"] == HELLO, "the update")
    content = lambda: api(ann["token"], "GET", f"/notes/{note}")["data"]["content"]["md"]  # noqa: E731
    wait_for(lambda: content() == "hello", PATIENCE, "saved note")
    # Open WebUI tells of each change; that of the save is nobody's business, one from outside is everybody's.
    api(ann["token"], "POST", f"/notes/{note}/update", {"data": {"content": {"md": "from outside"}}})
    for page in (one, two):
        page.hears(lambda name, *args: name == "events:note" and args[0]["id"] == note, "events:note")
    # One puts it in the document, in which the other sees it.
    told = [event["data"].get("content") for page in (one, two) for event in page.events("events:note")]
    assert sorted(told, key=bool) == [None, {"md": "from outside"}]
    assert content() == "from outside"


def test_a_chat_is_read(house):
    api, bob = house.webui.api, house.bob
    form = {"chat": {"title": "Read me", "messages": [], "history": {"messages": {}, "currentId": None}}}
    chat = api(bob["token"], "POST", "/chats/new", form)["id"]
    api(bob["token"], "POST", f"/chats/{chat}/unread")
    page = house.page(bob)
    page.emit("events:chat", {"chat_id": chat, "data": {"type": "last_read_at"}})

    def listed(name, *args):
        return name == "events" and args[0]["chat_id"] == chat and args[0]["data"]["type"] == "chat:list"

    page.hears(listed, "chat:list")
    time.sleep(0.5)
    assert len(page.hears(listed, "chat:list")) == 1


def test_who_signs_out_is_gone(house):
    """Open WebUI revokes the token in Redis and disconnects its user's sockets, siskin's too."""
    eve = house.webui.sign_up("eve")
    page = house.page(eve)
    house.webui.api(eve["token"], "POST", "/auths/signout")
    wait_for(lambda: page.gone, 45, "disconnect")


def test_the_same_behind_caddy(house):
    if not shutil.which("caddy"):
        pytest.fail("caddy is not installed: run tests/install.sh")
    proxy = Proxy("caddy", house.siskin.port, house.webui.port)
    try:
        page = house.page(house.ann, proxy)
        page.emit("heartbeat", {})
        assert requests.get(f"{proxy.url}/api/config", timeout=30).json()["status"] is True
    finally:
        proxy.close()
