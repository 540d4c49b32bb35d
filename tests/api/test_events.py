"""Events over the HTTP API: emit, the chat emitter, its stream, the caller."""

import http.client
import json
import threading
import time

import pytest

STATUS = {"type": "status", "data": {"description": "thinking"}}


def test_emit_reaches_users_rooms_and_sessions(siskin, browse):
    ann, twin, bob = browse("ann"), browse("ann"), browse("bob")
    answer = siskin.api("POST", "/emit", {"user_id": "ann", "event": "x", "data": {"ß": [1, None]}}).json()
    assert answer == {"delivered": 2}
    assert ann.next() == ("x", {"ß": [1, None]}) == twin.next()
    siskin.api("POST", "/emit", {"room": "user:ann", "event": "x", "data": 2, "skip_sid": twin.sid})
    siskin.api("POST", "/emit", {"room": "user:ann", "event": "x", "data": 3, "skip_sid": [ann.sid, "nobody"]})
    siskin.api("POST", "/emit", {"session_id": bob.sid, "event": "no data", "user_id": None})
    siskin.api("POST", "/emit", {"session_id": bob.sid, "event": "null", "data": None})
    assert (ann.next(), twin.next()) == (("x", 2), ("x", 3))
    assert (bob.next(), bob.next()) == (("no data",), ("null", None))
    for browser in (ann, twin, bob):
        browser.silent()
    assert siskin.api("POST", "/emit", {"user_id": "nobody", "event": "x"}).json() == {"delivered": 0}


@pytest.mark.parametrize(
    "body, status",
    [
        ({"event": "x"}, 422),
        ({"event": "x", "user_id": "a", "room": "b"}, 422),
        ({"user_id": "a"}, 422),
        ({"event": "", "user_id": "a"}, 422),
        ({"event": 1, "user_id": "a"}, 422),
        ({"event": "x", "user_id": "a\n"}, 422),
        ({"event": "x", "user_id": "a" * 257}, 422),
        ({"event": "x", "session_id": "short"}, 422),
        ({"event": "x", "user_id": "a", "skip_sid": 1}, 422),
        ({"event": "x", "user_id": "a", "sikp_sid": "b"}, 422),
        ({"event": "connect", "user_id": "a"}, 409),
        ({"event": "disconnect", "user_id": "a"}, 409),
    ],
)
def test_emit_refuses(siskin, body, status):
    answer = siskin.api("POST", "/emit", body, ok=False)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status and problem["instance"] == "/api/v1/emit" and problem["detail"]


def test_a_chat_event_is_emitted_and_saved(siskin, browse):
    ann = browse("ann")
    siskin.api("PUT", "/chats/c1", {"user_id": "ann", "title": "T"})
    siskin.api("PUT", "/chats/c1/messages/m1", {"role": "assistant", "content": ""})
    place = {"user_id": "ann", "chat_id": "c1", "message_id": "m1"}

    def send(event, **more):
        return siskin.api("POST", "/chat/event", {**place, "event": event, **more}).json()

    def word(text):
        return {"type": "message", "data": {"content": text}}

    assert send(STATUS) == {"delivered": 1, "saved": "yes"}
    assert ann.next() == ("events", {"chat_id": "c1", "message_id": "m1", "data": STATUS})
    assert send(word("Hel"))["saved"] == "yes"
    assert send(word("lo"), message_id="m1")["saved"] == "yes"
    assert send(word("not kept"), save=False)["saved"] == "no"
    assert send({"type": "made:up"})["saved"] == "no"
    assert send(word("x"), message_id="m2")["saved"] == "no such message"
    assert send(word("x"), chat_id="local:c")["saved"] == send(word("x"), chat_id="temporary:c")["saved"] == "no"
    assert send(word("x"), message_id=None)["saved"] == "no"
    message = siskin.api("GET", "/chats/c1/messages/m1").json()
    assert (message["content"], message["statusHistory"]) == ("Hello", [STATUS["data"]])
    assert [ann.next()[1]["data"].get("type") for _ in range(8)].count("message") == 7
    for event in (1, [], {}, {"type": 1}, {"data": {}}, ["message", {"content": "x"}]):
        answer = siskin.api("POST", "/chat/event", {**place, "event": event}, ok=False)
        assert answer.status_code == 422, answer.text
    ann.silent()


class Stream:
    """A POST whose body is written as it comes."""

    def __init__(self, siskin, query="user_id=ann&chat_id=c1&message_id=m1", kind="application/x-ndjson"):
        self.http = http.client.HTTPConnection("127.0.0.1", siskin.port, timeout=20)
        self.http.putrequest("POST", f"/api/v1/chat/stream?{query}")
        self.http.putheader("Authorization", f"Bearer {siskin.api_key}")
        self.http.putheader("Content-Type", kind)
        self.http.putheader("Transfer-Encoding", "chunked")
        self.http.endheaders()

    def write(self, piece):
        piece = piece if isinstance(piece, bytes) else piece.encode()
        self.http.send(b"%x\r\n%s\r\n" % (len(piece), piece))

    def end(self):
        self.http.send(b"0\r\n\r\n")
        answer = self.http.getresponse()
        return answer.status, json.loads(answer.read())


def test_each_line_is_emitted_the_moment_it_arrives(siskin, browse):
    ann = browse("ann")
    siskin.api("PUT", "/chats/c1", {"user_id": "ann", "title": "T"})
    siskin.api("PUT", "/chats/c1/messages/m1", {"role": "assistant", "content": ""})
    stream = Stream(siskin)
    for number in range(20):
        line = json.dumps({"type": "message", "data": {"content": f"{number} "}})
        # In two pieces: a line is one when it ends, not when a piece does.
        stream.write(line[:7])
        stream.write(line[7:] + "\n")
        # Before the next one is written.
        assert ann.next()[1]["data"]["data"]["content"] == f"{number} "
    status, told = stream.end()
    assert status == 200
    assert told == {"lines": 20, "emitted": 20, "delivered": 20, "saved": 20, "not_saved": 0, "bad": 0, "bad_lines": []}
    content = siskin.api("GET", "/chats/c1/messages/m1").json()["content"]
    assert content == "".join(f"{number} " for number in range(20))


def test_an_answer_is_followed_by_others_who_have_the_chat_open(siskin, browse):
    """A stream of deltas reaches its user whole, and the others as often as they can use it, the last of it always."""
    ann, bob = browse("ann"), browse("bob")
    grants = [{"principal_type": "user", "principal_id": "bob", "permission": "read"}]
    siskin.api("PUT", "/chats/c1", {"user_id": "ann", "title": "T", "access_grants": grants})
    bob.io.emit("events:chat", {"chat_id": "c1", "data": {"type": "join"}})
    assert bob.next()[1]["data"]["type"] == "chat:presence"
    stream = Stream(siskin)
    words = [f"{number} " for number in range(200)]
    for word in words:
        data = {"type": "response.output_text.delta", "item_id": "i", "delta": word}
        stream.write(json.dumps({"type": "response:completion", "data": data}) + "\n")
    stream.write(json.dumps({"type": "chat:completion", "data": {"done": True}}) + "\n")
    assert stream.end()[0] == 200
    assert "".join(ann.next()[1]["data"]["data"]["delta"] for _ in words) == "".join(words)
    copies = []
    while not copies or "done" not in copies[-1]:
        event = bob.next()[1]
        assert (event["shared"], event["user_id"], event["data"]["type"]) == (True, "ann", "chat:completion")
        copies.append(event["data"]["data"])
    texts = [copy["output"][0]["content"][0]["text"] for copy in copies]
    assert texts == sorted(texts, key=len) and texts[0] == words[0] and texts[-1] == "".join(words)
    assert len(copies) < len(words)
    bob.silent()


def test_lines_of_all_lengths_arrive_as_they_were_written(siskin, browse):
    ann, twin, bob = browse("ann"), browse("ann"), browse("bob")
    lengths = [0, 30_000, 1, 60, 2000, 70_000, 7, 900, 1100, 124, 9000, 3] * 3
    events = [{"type": "x", "data": chr(97 + at % 26) * length} for at, length in enumerate(lengths)]
    stream, other = Stream(siskin), Stream(siskin, "user_id=bob&chat_id=c2&message_id=m2")
    body = "".join(json.dumps(event) + "\n" for event in events)
    for at in range(0, len(body), 4999):
        stream.write(body[at : at + 4999])
        other.write(body[at : at + 4999])
    for browser, chat, message in ((ann, "c1", "m1"), (twin, "c1", "m1"), (bob, "c2", "m2")):
        came = [browser.next() for _ in events]
        assert came == [("events", {"chat_id": chat, "message_id": message, "data": event}) for event in events]
    assert stream.end()[1]["emitted"] == other.end()[1]["emitted"] == len(events)


def test_bad_lines_are_named_and_harm_no_others(siskin, browse):
    ann = browse("ann")
    stream = Stream(siskin, "user_id=ann&chat_id=c1&save=false")
    deep = "[" * 600 + "]" * 600
    lines = ['{"type":"a"}', "nonsense", "", "[]", '{"type":1}', "\r", '{"type":"b"}\r', '{"type":"d","data":' + deep + "}"]
    stream.write("\n".join(lines).encode() + b"\n\xff\xfe\n" + b'{"type":"c"}')
    status, told = stream.end()
    assert status == 200
    assert [line["line"] for line in told["bad_lines"]] == [2, 4, 5, 8, 9]
    assert (told["lines"], told["emitted"], told["bad"]) == (8, 3, 5)
    assert [ann.next()[1]["data"]["type"] for _ in range(3)] == ["a", "b", "c"]


def test_many_bad_lines_are_counted_and_some_named(siskin):
    stream = Stream(siskin, "user_id=ann&chat_id=c1")
    stream.write("x\n" * 5000)
    told = stream.end()[1]
    assert (told["bad"], len(told["bad_lines"])) == (5000, 100)


def test_a_stream_that_breaks_off_was_emitted_so_far(siskin, browse):
    ann = browse("ann")
    stream = Stream(siskin)
    stream.write('{"type":"a"}\n{"type":')
    assert ann.next()[1]["data"] == {"type": "a"}
    stream.http.close()
    siskin.api("POST", "/emit", {"user_id": "ann", "event": "after"})
    assert ann.next() == ("after",)
    ann.silent()


def test_a_line_without_end_is_refused(start_siskin):
    siskin = start_siskin(SISKIN_MAX_PAYLOAD_BYTES="64 KiB")
    stream = Stream(siskin)
    with pytest.raises(OSError):
        for _ in range(200):
            stream.write("x" * 8192)
            time.sleep(0.001)
        stream.end()
    answer = siskin.api("POST", "/emit", {"user_id": "a", "event": "x", "data": "x" * 70000}, ok=False)
    assert answer.status_code == 413
    assert siskin.api("POST", "/emit", {"user_id": "a", "event": "x", "data": "x" * 60000}).json() == {"delivered": 0}


@pytest.mark.parametrize(
    "query, status",
    [
        ("chat_id=c", 422),
        ("user_id=a", 422),
        ("user_id=a&chat_id=c&save=maybe", 422),
        ("user_id=a&chat_id=c&internal=1", 422),
        ("user_id=a&chat_id=c&session_id=", 422),
        ("user_id=a&chat_id=c&more=1", 422),
        ("user_id=a&user_id=b&chat_id=c", 422),
        ("user_id=&chat_id=c", 422),
        ("user_id=a%0a&chat_id=c", 422),
        ("user_id=%ff&chat_id=c%00", 422),
    ],
)
def test_a_stream_to_nowhere_is_refused(siskin, query, status):
    answer = siskin.api("POST", f"/chat/stream?{query}", ok=False, data=b"")
    assert answer.status_code == status, answer.text


def ask(siskin, browser, ok=True, **more):
    body = {"user_id": "ann", "session_id": browser.sid, "chat_id": "c1", "message_id": "m1", "event": {"type": "execute:python", "data": {"code": "1"}}}
    return siskin.api("POST", "/chat/call", {**body, **more}, ok=ok)


def test_a_browser_is_asked_and_answers(siskin, browse):
    ann, twin = browse("ann"), browse("ann")
    ann.answer = lambda name, data: {"result": data[0]["data"]["data"]["code"]}
    assert ask(siskin, ann).json() == {"answer": {"result": "1"}}
    assert ann.next()[1]["data"]["type"] == "execute:python"
    ann.answer = lambda name, data: None
    assert ask(siskin, ann).json() == {"answer": None}
    twin.silent()


def test_questions_to_a_person_end_with_done(siskin, browse):
    ann = browse("ann")
    ann.answer = lambda name, data: True
    assert ask(siskin, ann, event={"type": "confirmation", "data": {"title": "?"}}).json() == {"answer": True}
    asked, done = ann.next()[1]["data"], ann.next()[1]["data"]
    assert done == {"type": "request:interaction:done", "data": {"interaction_id": asked["data"]["interaction_id"]}}


def test_the_caller_says_why_there_is_no_answer(siskin, browse):
    ann, bob, anonymous = browse("ann"), browse("bob"), browse(None)
    wait = threading.Event()
    ann.answer = lambda name, data: wait.wait(20) and None
    assert ask(siskin, bob, ok=False).status_code == 403
    assert ask(siskin, anonymous, ok=False).status_code == 404
    assert ask(siskin, ann, ok=False, session_id="A" * 20).status_code == 404
    assert ask(siskin, ann, ok=False, session_id="*").status_code == 404
    began = time.monotonic()
    assert ask(siskin, ann, ok=False, timeout=0.3).status_code == 504
    assert time.monotonic() - began > 0.25
    for timeout in (0, -1, 1e9, "1"):
        assert ask(siskin, ann, ok=False, timeout=timeout).status_code == 422
    wait.set()


def test_a_session_that_leaves_answers_at_once(siskin, browse):
    ann = browse("ann")
    asked = threading.Event()

    def leave(name, data):
        asked.set()
        ann.io.disconnect()

    ann.answer = leave
    answer = ask(siskin, ann, ok=False, timeout=60)
    assert asked.is_set() and answer.status_code == 410, answer.text
