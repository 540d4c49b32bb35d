"""Text, numbers, bytes and depths as browsers and Python write them."""

import base64
import hashlib
import hmac
import json
import random
import struct
import threading

import pytest
import requests
from siskin import SECRET, token, wait_for
from wire import WebSocket

HALF = "half \\ud83d, \\ude00 other half, \\ud83d\\ude00 both"
SAVED = "half \ufffd, \ufffd other half, \U0001f600 both"


def note_with(content):
    """A client that has a note open and saves this content (JSON)."""

    def play(siskin):
        siskin.api("PUT", "/notes/n1", {"user_id": "ann", "title": "T", "data": {"content": {"md": "before"}}})
        ann = WebSocket(siskin)
        ann.join("ann")
        ann.event("join-note", {"auth": {"token": token("ann")}, "note_id": "n1"})
        ann.event("ydoc:document:join", {"document_id": "note:n1"})
        wait_for(lambda: ann.recv_event()[0] == "ydoc:document:state", what="the note's state")
        payload = '{"document_id":"note:n1","update":[0,0],"data":{"content":%s}}' % content
        ann.text(f'42["ydoc:document:update",{payload}]')
        return ann

    return play


def saved(siskin):
    return siskin.api("GET", "/notes/n1").json()["data"]["content"]


def nested(levels):
    """A list in a list, as an editor has it: four levels of JSON each."""
    text = '{"type":"paragraph","content":[{"type":"text","text":"x"}]}'
    for _ in range(levels):
        text = '{"type":"bulletList","content":[{"type":"listItem","content":[%s]}]}' % text
    return '{"type":"doc","content":[%s]}' % text


def test_a_note_with_half_a_character_is_saved(siskin):
    note_with(f'{{"md":"{HALF}","\\ud83d":1}}')(siskin)
    wait_for(lambda: saved(siskin) == {"md": SAVED, "\ufffd": 1}, what="the note")


def test_half_a_character_in_a_message_or_a_stream_is_saved(siskin):
    ann = WebSocket(siskin)
    ann.join("ann")
    siskin.api("PUT", "/chats/c1", {"user_id": "ann", "title": "T"})
    url, headers = siskin.url + "/api/v1", {"Authorization": f"Bearer {siskin.api_key}", "Content-Type": "application/json"}
    answer = requests.put(url + "/chats/c1/messages/m1", data=f'{{"content":"{HALF}"}}', headers=headers, timeout=5)
    assert answer.json()["content"] == SAVED
    lines = [f'{{"type":"{kind}","data":{{"content":"{HALF}"}}}}' for kind in ("replace", "message")]
    lines += [f'{{"type":"status","data":{{"description":"{HALF}"}}}}', f'{{"type":"files","data":{{"files":["{HALF}"]}}}}', '"\\ud83d']
    del headers["Content-Type"]
    told = requests.post(
        url + "/chat/stream?user_id=ann&chat_id=c1&message_id=m1", data="\n".join(lines), headers=headers, timeout=5
    ).json()
    assert (told["lines"], told["saved"], told["not_saved"], told["bad"]) == (5, 4, 0, 1), told
    message = siskin.api("GET", "/chats/c1/messages/m1").json()
    assert message["content"] == SAVED * 2
    assert (message["statusHistory"], message["files"]) == ([{"description": SAVED}], [SAVED])
    # Who is connected gets it as it was written.
    first = ann.recv_text()
    assert HALF in first, first


def test_each_line_of_a_stream_is_saved_or_not_or_bad(siskin):
    siskin.api("PUT", "/chats/c1", {"user_id": "ann", "title": "T"})
    siskin.api("PUT", "/chats/c1/messages/m1", {"content": ""})
    url, headers = siskin.url + "/api/v1/chat/stream?user_id=ann&", {"Authorization": f"Bearer {siskin.api_key}"}
    values = [f'{{"content":"{HALF}"}}', '{"content":7}', "null", "7", "[]", f'{{"files":["{HALF}"],"type":"x"}}', '{"done":true}']
    kinds = ("message", "replace", "status", "files", "embeds", "source", "notification", "chat:completion", "x\\ud83d")
    lines = [f'{{"type":"{kind}","data":{value}}}' for kind in kinds for value in values] + ["x", "{}", '{"type":7}', "[1", '{"type":"\\ud83d']
    for place in ("chat_id=c1&message_id=m1", "chat_id=c1&message_id=m2", "chat_id=local:1&message_id=m1", "chat_id=c1&message_id=m1&save=false"):
        told = requests.post(url + place, data="\n".join(lines), headers=headers, timeout=20).json()
        assert told["lines"] == len(lines) == told["saved"] + told["not_saved"] + told["bad"], told
        assert told["bad"] == 5 and (told["saved"] > 10) == (place in ("chat_id=c1&message_id=m1", "chat_id=c1&message_id=m2")), told


def test_a_name_with_half_a_character_signs_in(siskin):
    part = lambda text: base64.urlsafe_b64encode(text.encode()).rstrip(b"=")  # noqa: E731
    signed = part('{"alg":"HS256"}') + b"." + part('{"id":"ann","name":"A\\ud83d","role":"user"}')
    mac = base64.urlsafe_b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).rstrip(b"=")
    ann = WebSocket(siskin)
    ann.connect()
    ann.event("user-join", {"auth": {"token": (signed + b"." + mac).decode()}}, ack=0)
    assert json.loads(ann.recv_text()[3:]) == [{"id": "ann", "name": "A\ufffd"}]
    # And an event may be called so.
    ann.text('42["\\ud83d"]')
    ann.event("heartbeat", {}, ack=1)
    assert ann.recv_text() == "431[]"


def test_numbers_come_back_as_they_came(siskin):
    rng = random.Random(7)
    doubles = (struct.unpack("!d", rng.randbytes(8))[0] for _ in range(500))
    numbers = [117.63331139400017, 0.1, 5e-324, 1.7976931348623157e308, -0.0, 2**53 - 1, -(2**63), 2**64 - 1, 1e23]
    numbers += [number for number in doubles if abs(number) < 1e308]
    siskin.api("PUT", "/chats/c1", {"user_id": "ann", "title": "T"})
    siskin.api("PUT", "/chats/c1/messages/m1", {"usage": numbers})
    assert siskin.api("GET", "/chats/c1/messages/m1").json()["usage"] == numbers


@pytest.mark.parametrize("levels", [30, 100])
def test_a_note_of_deep_lists_is_saved(siskin, levels):
    content = f'{{"json":{nested(levels)}}}'
    ann = note_with(content)(siskin)
    wait_for(lambda: saved(siskin) == json.loads(content), what="the note")
    siskin.api("PATCH", "/notes/n1", {"title": "U"})
    assert saved(siskin) == json.loads(content)
    ann.event("heartbeat", {}, ack=1)
    wait_for(lambda: ann.recv_text() == "431[]", what="an answer")


def test_what_nests_too_deep_is_refused_in_words_and_the_connection_lives(siskin):
    ann = note_with('{"json":%s}' % ("[" * 600 + "]" * 600))(siskin)
    name, told = wait_for(lambda: (event := ann.recv_event())[0] == "error" and event, what="a word")
    assert told == {"message": "Not taken: it nests deeper than 512"}
    ann.event("heartbeat", {}, ack=1)
    wait_for(lambda: ann.recv_text() == "431[]", what="an answer")
    wait_for(lambda: "deeper than 512" in siskin.log(), what="a line in the log")
    assert saved(siskin) == {"md": "before"}
    answer = siskin.api("PATCH", "/notes/n1", {"data": {"content": json.loads("[" * 600 + "]" * 600)}}, ok=False)
    assert answer.status_code == 422 and "512" in answer.text


def test_a_browser_that_answers_with_bytes_is_understood(siskin):
    ann = WebSocket(siskin)
    sid = ann.join("ann")
    question = {"user_id": "ann", "session_id": sid, "chat_id": "c", "message_id": "m", "event": {"type": "execute:python", "data": {}}}
    answers = []
    ask = threading.Thread(target=lambda: answers.append(siskin.api("POST", "/chat/call", question)))
    ask.start()
    asked = ann.recv_text()
    assert asked.startswith("42")
    ack = asked[2 : asked.index("[")]
    ann.text(f'461-{ack}[{{"file":{{"_placeholder":true,"num":0}}}}]')
    ann.send(ann.frame(0x82, b"\x00\xffbytes"))
    ask.join(10)
    assert answers[0].json() == {"answer": {"file": "AP9ieXRlcw=="}}


def test_a_long_token_signs_in_and_one_that_is_too_long_is_refused_in_words(siskin):
    for size in (9088, 61_000):
        made = token("ann", groups="x" * (size * 3 // 4 - 200))
        ann = WebSocket(siskin)
        ann.connect()
        ann.event("user-join", {"auth": {"token": made}}, ack=0)
        assert json.loads(ann.recv_text()[3:]) == [{"id": "ann", "name": "ann"}], len(made)
    made = token("ann", groups="x" * 47_000)
    assert len(made) > 61_440
    for how in ("CONNECT", "user-join"):
        ann = WebSocket(siskin)
        if how == "CONNECT":
            assert ann.recv_text().startswith("0{")
            ann.text("40" + json.dumps({"token": made}))
            assert ann.recv_text().startswith("40{")
        else:
            ann.connect()
            ann.event("user-join", {"auth": {"token": made}}, ack=0)
        assert ann.recv_event() == ["error", {"message": "The token is longer than 61440 bytes"}]
    # One line for the address, however many there are.
    assert siskin.log().count("longer than 61440 bytes") == 1
