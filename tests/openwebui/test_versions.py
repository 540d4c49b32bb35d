"""siskin beside one version of Open WebUI after the other: what users do, with each. VERSIONS=all, or "0.8.12 0.10.2", plays others than the gate."""

import json
import os
import pathlib
import re
import time
import uuid

import pytest
from real import OpenWebui
from siskin import RedisServer, Siskin, has_token, wait_for
from test_beside import HELLO, PATIENCE, WORDS, Model, Page

LISTS = dict(re.findall(r"^(\w+): (.*)$", (pathlib.Path(__file__).parent / "versions.txt").read_text(), re.M))
WANTED = os.environ.get("VERSIONS", "gate")
VERSIONS = LISTS.get(WANTED, WANTED).split()

# Asks the browser, and says what it answered.
ASKS = '''
class Pipe:
    async def pipe(self, body: dict, __event_call__=None):
        answer = await __event_call__({"type": "input", "data": {"title": "Name?", "message": "", "placeholder": ""}})
        return f"It said {answer}."
'''


def number(version):
    return tuple(int(part) for part in version.split("."))


class House:
    """Open WebUI and siskin on one Redis, and people's pages on siskin."""

    def __init__(self, version):
        self.version = number(version)
        self.redis, self.model = RedisServer(), Model()
        shared = {"WEBSOCKET_MANAGER": "redis", "WEBSOCKET_REDIS_URL": self.redis.url}
        self.webui = OpenWebui(
            version,
            **shared,
            REDIS_URL=self.redis.url,
            ENABLE_OPENAI_API="true",
            OPENAI_API_BASE_URL=self.model.url,
            OPENAI_API_KEY="none",
            ENABLE_DIRECT_CONNECTIONS="true",
            BYPASS_MODEL_ACCESS_CONTROL="true",
        )
        self.siskin = Siskin(**shared, SISKIN_DIRECTORY=self.webui.url, SISKIN_LOG="debug")
        self.root, self.ann, self.bob = (self.webui.sign_up(name) for name in ["root", "ann", "bob"])
        self.pages = []

    def page(self, user):
        self.pages.append(Page(self.siskin.url, user))
        return self.pages[-1]

    def api(self, user, *request):
        return self.webui.api(user["token"], *request)

    def close(self):
        for page in self.pages:
            page.close()
        for part in (self.siskin, self.webui, self.redis, self.model):
            part.close()

    def chat(self, user, model):
        """A chat with a question and the place for its answer: the chat's id, the answer's, and what asks for it."""
        question, answer = str(uuid.uuid4()), str(uuid.uuid4())
        messages = {
            question: {"id": question, "parentId": None, "childrenIds": [answer], "role": "user", "content": "Hm?"},
            answer: {"id": answer, "parentId": question, "childrenIds": [], "role": "assistant", "content": "", "model": model},
        }
        form = {"chat": {"title": "Birds", "models": [model], "history": {"messages": messages, "currentId": answer}, "messages": []}}
        chat = self.api(user, "POST", "/chats/new", form)["id"]
        ask = {"stream": True, "model": model, "messages": [{"role": "user", "content": "Hm?"}], "chat_id": chat, "id": answer, "params": {}, "features": {}}
        # Older ones look for the question, newer ones at its id.
        ask |= {"parent_id": question, "parent_message": messages[question]}
        return chat, answer, ask


@pytest.fixture(scope="module", params=VERSIONS)
def house(request):
    house = House(request.param)
    yield house
    house.close()
    assert not has_token(house.siskin.log()), "a token in the log"


def answered(page, answer):
    """The text of an answer, once it is done, from what the page was told."""

    def completions():
        all = [event["data"]["data"] for event in page.events() if event.get("message_id") == answer and event["data"]["type"] == "chat:completion"]
        return all if any(data.get("done") for data in all) else None

    told = wait_for(completions, PATIENCE, "the end of the answer")
    return json.dumps(told)


def saved(house, user, chat, answer):
    """The text of an answer as Open WebUI has saved it: 0.10 has it as its output alone."""

    def text():
        message = house.api(user, "GET", f"/chats/{chat}")["chat"]["history"]["messages"][answer]
        return message["content"] or "".join(part["text"] for item in message.get("output", []) for part in item["content"])

    return wait_for(text, PATIENCE, "the saved answer")


def test_the_version_is_said_with_what_does_not_work(house):
    version = ".".join(map(str, house.version))
    [line] = wait_for(lambda: [line for line in house.siskin.log().splitlines() if f"Open WebUI is {version}" in line], PATIENCE, "the version")
    assert ("public" in line) == (house.version < (0, 11, 4)), line


def test_a_chat_streams_to_its_user(house):
    page = house.page(house.ann)
    chat, answer, ask = house.chat(house.ann, "finch")
    house.api(house.root, "GET", "/models?refresh=true")
    house.api(house.ann, "GET", "/models")
    house.api(house.ann, "POST", "/chat/completions", {**ask, "session_id": page.sid})
    answered(page, answer)
    assert saved(house, house.ann, chat, answer) == "".join(WORDS)
    assert page.call("events:chat", {"chat_id": chat, "data": {"type": "join"}}) is True


def test_a_channel_is_heard_and_typed_in(house):
    ann, bob = house.ann, house.bob
    form = {"name": "birds", "type": "group", "user_ids": [ann["id"], bob["id"]]}
    channel = house.api(house.root, "POST", "/channels/create", form)["id"]
    one, other = house.page(ann), house.page(bob)
    house.api(ann, "POST", f"/channels/{channel}/messages/post", {"content": "a siskin"})

    def message(name, *args):
        return name == "events:channel" and args[0]["channel_id"] == channel and args[0]["data"]["type"] == "message"

    [(_, event)] = other.hears(message, "the message")
    assert event["data"]["data"]["content"] == "a siskin"
    one.emit("events:channel", {"channel_id": channel, "data": {"type": "typing", "data": {"typing": True}}})
    other.hears(lambda name, *args: name == "events:channel" and args[0]["data"]["type"] == "typing" and args[0]["user"]["id"] == ann["id"], "typing")


def grant(house, user, permission):
    """The field of a note that lets a user in, as this version has it."""
    if house.version < (0, 8):
        lists = {"group_ids": [], "user_ids": [user["id"]]}
        return {"access_control": {kind: lists for kind in ["read", *["write"][: permission == "write"]]}}
    kinds = ["read", *["write"][: permission == "write"]]
    return {"access_grants": [{"principal_type": "user", "principal_id": user["id"], "permission": kind} for kind in kinds]}


def access(note):
    """Who may do what, without what is new each time."""
    if "access_control" in note:
        return note["access_control"]
    return sorted((grant["principal_type"], grant["principal_id"], grant["permission"]) for grant in note["access_grants"])


def write(house, note, writer):
    """Types into a note; the note once it is saved."""
    page = house.page(writer)
    document = f"note:{note['id']}"
    page.emit("ydoc:document:join", {"document_id": document})
    page.hears(lambda name, *args: name == "ydoc:document:state", "state")
    page.emit("ydoc:document:update", {"document_id": document, "update": HELLO, "data": {"content": {"md": "hello", "html": "<p>hello</p>"}}})
    read = lambda: house.api(house.root, "GET", f"/notes/{note['id']}")  # noqa: E731
    wait_for(lambda: read()["data"]["content"]["md"] == "hello", PATIENCE, "the saved note")
    assert not page.events("error")
    return read()


@pytest.mark.parametrize("writer", ["root", "bob"])
def test_a_note_is_saved_and_nothing_else_of_it_changes(house, writer):
    form = {"title": "Birds", "data": {"content": {"md": "", "html": ""}, "files": None, "more": 1}, "meta": {"kept": True}, **grant(house, house.bob, "write")}
    made = house.api(house.root, "POST", "/notes/create", form)
    before = house.api(house.root, "GET", f"/notes/{made['id']}")
    assert house.bob["id"] in json.dumps(access(before))
    after = write(house, before, getattr(house, writer))
    assert after["data"] == {**before["data"], "content": after["data"]["content"]}
    assert access(after) == access(before)
    same = ["title", "meta", "user_id", "created_at"]
    assert [after[field] for field in same] == [before[field] for field in same]


def test_a_private_note_stays_private(house):
    form = {"title": "Mine", "data": {"content": {"md": ""}}, **({"access_control": {}} if house.version < (0, 8) else {"access_grants": []})}
    note = house.api(house.ann, "POST", "/notes/create", form)
    after = write(house, note, house.ann)
    assert access(after) == access(note) and after["title"] == "Mine"


def test_a_public_note_of_an_administrator_stays_public(house):
    everybody = [{"principal_type": "user", "principal_id": "*", "permission": kind} for kind in ["read", "write"]]
    form = {"title": "Ours", "data": {"content": {"md": ""}}, **({"access_control": None} if house.version < (0, 8) else {"access_grants": everybody})}
    note = house.api(house.root, "POST", "/notes/create", form)
    assert house.api(house.bob, "GET", f"/notes/{note['id']}")["title"] == "Ours"
    after = write(house, note, house.root)
    assert access(after) == access(note)


def test_the_process_asks_a_browser(house):
    """A function's `__event_call__`: the call goes over Redis, and so does the answer."""
    function = {"id": "asks", "name": "Asks", "content": ASKS, "meta": {"description": "d", "manifest": {}}}
    house.api(house.root, "POST", "/functions/create", function)
    house.api(house.root, "POST", "/functions/id/asks/toggle")
    house.api(house.root, "GET", "/models?refresh=true")
    page = house.page(house.root)
    chat, answer, ask = house.chat(house.root, "asks")
    house.api(house.root, "POST", "/chat/completions", {**ask, "session_id": page.sid})
    asked, data = page.is_asked("input")
    assert data["title"] == "Name?"
    page.answer(asked, "Ann")
    assert "It said Ann." in answered(page, answer)


def test_a_browser_streams_from_its_own_model(house):
    """A direct connection: 200 lines of the provider's stream, in their order, and its end."""
    page = house.page(house.root)
    chat, answer, ask = house.chat(house.root, "own")
    model = {"id": "own", "name": "Own", "direct": True, "owned_by": "openai", "object": "model", "urlIdx": 0, "openai": {"id": "own"}, "info": {"meta": {}}}
    house.api(house.root, "POST", "/chat/completions", {**ask, "model_item": model, "session_id": page.sid})
    asked, data = page.is_asked("request:chat:completion")
    page.answer(asked, {"status": True})
    words = [f"{number} " for number in range(200)]
    for word in words:
        chunk = {"id": "x", "object": "chat.completion.chunk", "model": "own", "choices": [{"index": 0, "delta": {"content": word}}]}
        page.emit(data["channel"], "data: " + json.dumps(chunk))
    page.emit(data["channel"], {"done": True})
    answered(page, answer)
    assert saved(house, house.root, chat, answer).strip() == "".join(words).strip()
