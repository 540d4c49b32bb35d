"""Every field of every payload of the contract, spoilt by a member: somebody who may do all that the good payload asks for.

Bob is in Ann's channel, has her chat and her note open, may write both. Of what he spoils nothing happens: Ann hears nothing, he
hears nothing but that an event of a document is none, all that the backend can see is as before, he stays connected, and the log says each once, for who looks closely.
"""

import contextlib
import json

import pytest
from scene import RECORDS
from siskin import Siskin, token, wait_for
from test_bad_input import scrub
from wire import WebSocket

# Values as they stand in the JSON: Python would write some of them differently, or not at all.
ABSENT = None
DEEP = "[" * 100 + "]" * 100
NO_TEXT = [ABSENT, "null", "true", "0", "-1", "-0.0", "1e308", "1e999", "9" * 400, "[]", "{}", '["c1"]', '{"0":"c1"}', DEEP]
NO_ID = [
    *NO_TEXT, '""', '"\\u0000"', '"c1\\u0000"', '"c1\\n"', '"\\u007f"', '"\\ud800"', '"\\udc00\\ud800"', f'"{"x" * 257}"', f'"{"é" * 10_000}"',
]  # fmt: skip
# Names that mean something to JavaScript, to paths, to Redis, and nothing here.
NO_NAME = ['"__proto__"', '"constructor"', '"toString"', '"c1/"', '"../c1"', '"*"', '"c1\\u202e"', '"chat:chat1"', '"C1"', '" c1"']
NO_OBJECT = [ABSENT, "null", "true", "1", "-1", '"text"', '"{}"', "[]", "[[]]", "[{}]", DEEP]
NO_TYPE = ["{}", '{"data":{}}', *('{"type":%s}' % value for value in NO_TEXT if value), '{"type":"__proto__"}', '{"type":"\\ud800"}']
NO_KIND = [*NO_OBJECT, *NO_TYPE, '{"type":"typing","type":"typing"}', '["typing"]', '["typing",{"typing":true}]', '{"TYPE":"typing"}']
NO_FLAG = ["null", "1", '"true"', "[]", "{}", "[true]", '{"typing":null}', '{"typing":1}', '{"typing":"true"}', '{"Typing":true}']
NO_BYTES = [
    "true", "1", '"AAA="', "{}", "[256]", "[-1]", "[1.5]", "[1e0]", "[null]", '["1"]', "[[1]]", "[1,[2]]", '{"0":1}', "[99999999999999999999]",
    '{"_placeholder":true,"num":0}', '{"_placeholder":true,"num":-1}', '{"_placeholder":1,"num":0}', '{"_placeholder":true}',
]  # fmt: skip
NO_UPDATE = ["[9,9,9]", "[255,255,255,255]", "[1,1,7,0]", "[0]", "[0,0,0]", str([1, 255, 255, 255, 127]), str(list(range(256)))]
# One letter; and data with more fields than it may have.
UPDATE = "[1,1,7,0,4,1,1,116,1,120,0]"
MANY_FIELDS = json.dumps({f"field{number}": 1 for number in range(257)})
NO_AUTH = [
    *NO_OBJECT, '["TOKEN"]', "{}", '{"token":["TOKEN"]}', '{"token":{"token":"TOKEN"}}', '{"token":""}', '{"token":"TOKENx"}', '{"token":"a.b.c"}',
    '{"token":"ANOTHER"}', '{"token":"TOKEN","token":"TOKEN"}', '{"Token":"TOKEN"}', f'{{"token":"{"x" * 50_000}"}}',
]  # fmt: skip

TYPING = '{"type":"typing","data":{"typing":true}}'
AUTH = '{"token":"TOKEN"}'
# Each event: a good payload, by its fields, and what spoils each of them; how it is answered nevertheless.
ROWS = {
    "user-join": ({"auth": AUTH}, {"auth": NO_AUTH}),
    "join-channels": ({"auth": AUTH}, {"auth": NO_AUTH}),
    "join-note": ({"auth": AUTH, "note_id": '"n1"'}, {"auth": NO_AUTH, "note_id": NO_ID + NO_NAME}),
    "usage": ({"model": '"m1"'}, {"model": NO_ID}),
    "events:channel": (
        {"channel_id": '"c1"', "message_id": '"m"', "data": TYPING},
        {
            "channel_id": NO_ID + NO_NAME,
            "message_id": [value for value in NO_ID if value not in (ABSENT, "null")],
            "data": [*NO_KIND, '{"type":"message"}', '{"type":"typing","data":"%s"}' % ("x" * 5000)],
        },
    ),
    "events:chat": ({"chat_id": '"chat1"', "data": TYPING}, {"chat_id": NO_ID, "data": [*NO_KIND, '{"type":"execute:python"}']}),
    "events:chat typing": (
        {"chat_id": '"chat1"', "data": TYPING},
        {"chat_id": NO_NAME, "data": ['{"type":"typing"}', *('{"type":"typing","data":%s}' % flag for flag in NO_FLAG)]},
    ),
    "events:chat join": ({"chat_id": '"chat1"', "data": '{"type":"join"}'}, {"chat_id": NO_NAME}),
    "events:chat read": ({"chat_id": '"chat1"', "data": '{"type":"last_read_at"}'}, {"chat_id": [*NO_NAME, '"local:1"', '"temporary:1"']}),
    "ydoc:document:join": ({"document_id": '"note:n1"'}, {"document_id": [*NO_ID, '"note:"', '"note:n2"', '"note_n2"', '"note:note:n1"']}),
    "ydoc:document:state": ({"document_id": '"note:n1"'}, {"document_id": NO_ID + NO_NAME}),
    "ydoc:document:update": (
        {"document_id": '"note:n1"', "update": "[0,0]"},
        {"document_id": NO_ID + NO_NAME},
    ),
    "ydoc:document:update first": (
        {"document_id": '"note:n1"', "update": "[0,0]"},
        {"initialize": ["1", '"true"', "[]", "{}"]},
    ),
    "ydoc:document:update epoch": (
        {"document_id": '"note:n1"', "update": UPDATE},
        {"epoch": ["-1", "1.5", '"1"', "[]", "{}", "true"]},
    ),
    "ydoc:document:update none": ({"document_id": '"note:n1"', "initialize": "false"}, {"update": NO_BYTES + NO_UPDATE}),
    "ydoc:document:update data": (
        {"document_id": '"note:n1"', "update": UPDATE},
        {"data": ["true", "1", '"text"', "[]", "[1]", '[{"content":{}}]']},
    ),
    "ydoc:document:update many": ({"document_id": '"note:n1"', "update": UPDATE}, {"data": [MANY_FIELDS]}),
    "ydoc:document:leave": ({"document_id": '"note:n1"'}, {"document_id": NO_ID + NO_NAME}),
    "ydoc:awareness:update": (
        {"document_id": '"note:n1"', "update": "[1]"},
        {"document_id": NO_ID + NO_NAME, "update": [ABSENT, "null", *NO_BYTES, str([1] * 65_537)]},
    ),
}  # fmt: skip
REFUSED = {
    "ydoc:document:update first": ("malformed", "The change is not understood"),
    "ydoc:document:update epoch": ("malformed", "The change is not understood"),
    "ydoc:document:update none": ("malformed", "The change is no update of a document"),
    "ydoc:document:update data": ("malformed", "What is to be saved is no object"),
    "ydoc:document:update many": ("too large", "What is to be saved has too many fields"),
}
ANSWERED = {
    "events:chat typing": [False],
    "events:chat join": [False],
    **{row: [{"stored": False, "reason": reason}] for row, (reason, _) in REFUSED.items()},
    "ydoc:document:update first": [None],
}
# What the sender of such an update is told.
TOLD = {row: [["error", {"message": message, "document_id": "note:n1", "reason": reason}]] for row, (reason, message) in REFUSED.items()}
# What the sender of another event of a document is told: it may be about any.
TOLD |= {row: [["error", {"message": "An event of a document is not understood"}]] for row in ROWS if row.startswith("ydoc:") and row not in REFUSED}



def text(fields):
    return "{" + ",".join(f'"{name}":{value}' for name, value in fields.items() if value is not ABSENT) + "}"


def cases(row):
    """The arguments of the spoilt events: each field spoilt, given twice, the payload as a list of its fields or as something else."""
    good, spoilt = ROWS[row]
    for name, values in spoilt.items():
        for value in values:
            yield text({**good, name: value})
    if row in ANSWERED or row == "events:chat read":
        return
    first = next(iter(good))
    yield text(good)[:-1] + f',"{first}":{good[first]}}}'
    yield "[" + ",".join(good.values()) + "]"
    yield "[" + text(good) + "]"
    yield from ["", "null", "true", "1", '"text"', "[]", "[1]", "{}", "[{}]", DEEP, json.dumps(text(good)), "null," + text(good)]


class Member(WebSocket):
    def __init__(self, siskin, user):
        super().__init__(siskin)
        self.sid = self.connect(user)
        self.event("user-join", {"auth": {"token": token(user)}})
        self.event("events:chat", {"chat_id": "chat1", "data": {"type": "join"}})
        self.event("join-note", {"auth": {"token": token(user)}, "note_id": "n1"})
        self.event("ydoc:document:join", {"document_id": "note:n1"})

    def settled(self):
        """What came until all that was sent is handled."""
        self.event("heartbeat", {}, ack=999_999)
        came = []
        while (got := self.recv_text()) != "43999999[]":
            came.append(got)
        return came


@pytest.fixture(scope="module")
def siskin():
    instance = Siskin(SISKIN_EVENTS_PER_SECOND="0", SISKIN_LOG="debug")
    for path, record in RECORDS.items():
        instance.api("PUT", "/" + path, record)
    yield instance
    instance.close()


def view(siskin):
    """All that the backend can see, but the times of heartbeats."""
    paths = ("rooms", "sessions", "models", "channels/c1/members", "chats/chat1", "notes/n1", "notes/n1/versions")
    return {path: scrub(siskin.api("GET", "/" + path).json(), ()) for path in paths}


@pytest.mark.parametrize("row", ROWS)
def test_what_a_member_spoils_comes_to_nothing(siskin, row):
    with contextlib.closing(Member(siskin, "ann")) as ann, contextlib.closing(Member(siskin, "bob")) as bob:
        spoil_all(siskin, row, ann, bob)
    wait_for(lambda: siskin.metric("siskin_sockets") == 0, what="an empty house")


def spoil_all(siskin, row, ann, bob):
    for person in (ann, bob, ann):
        person.settled()
    before, lines = view(siskin), len(siskin.lines)
    event, sent = row.split(" ")[0], list(cases(row))
    for number, args in enumerate(sent):
        args = args.replace("TOKEN", token("bob")).replace("ANOTHER", token("ann"))
        bob.text(f'42{number}["{event}"{"," if args else ""}{args}]')
    compact = lambda value: json.dumps(value, separators=(",", ":"))  # noqa: E731
    answers = {f"43{number}{compact(ANSWERED[row])}" for number in range(len(sent))} if row in ANSWERED else set()
    answers |= {f"42{compact(event)}" for event in TOLD.get(row, [])}
    assert set(bob.settled()) == answers
    assert ann.settled() == []
    assert view(siskin) == before
    if ANSWERED.get(row) != [False]:
        # How long something took on this machine is not about it.
        said = lambda: [line for line in siskin.lines[lines:] if bob.sid in line and "waited" not in line]  # noqa: E731
        wait_for(lambda: len(said()) >= len(sent), what="a line for each")
        assert len(said()) == len(sent)
    assert not [line for line in siskin.lines[lines:] if " WARN " in line or " ERROR " in line]
    assert sum(" INFO " in line and "waited" not in line for line in siskin.lines[lines:]) <= 1
