"""Engine.IO protocol, revision 4: handshake, messages, heartbeat, close, upgrade."""

import base64
import json
import socket
import threading
import time

import pytest
import requests
import websocket

from siskin import wait_for

INTERVAL, TIMEOUT, PATIENT = 0.3, 0.2, 1.5


def recv_message(socket):
    """The next frame that is not a heartbeat."""
    while (frame := socket.recv()) == "2":
        socket.send("3")
    return frame


def waiting_poll(engine, session, seconds=0.05):
    """A poll that has begun to wait: its thread, and where its answer comes. On a busy machine that may be a heartbeat first."""
    got = []

    def wait():
        while (answer := engine.get(session)).text == "2":
            engine.post(session, "3")
        got.append(answer)

    poll = threading.Thread(target=wait)
    poll.start()
    time.sleep(seconds)
    return poll, got


def closes(socket):
    """Waits for the end of a websocket, heartbeats aside."""
    try:
        while True:
            opcode, _ = socket.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return True
    except (websocket.WebSocketConnectionClosedException, ConnectionError):
        return True


# Handshake


def check_open(text, upgrades):
    assert text[0] == "0"
    opened = json.loads(text[1:])
    assert set(opened) == {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"}
    assert isinstance(opened["sid"], str) and len(opened["sid"]) == 20
    assert (opened["pingInterval"], opened["pingTimeout"], opened["maxPayload"]) == (300, 200, 1_000_000)
    assert opened["upgrades"] == upgrades


def test_polling_opens(engine):
    answer = engine.get()
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    check_open(answer.text, ["websocket"])


def test_websocket_opens(engine):
    socket = engine.websocket()
    check_open(socket.recv(), [])
    socket.close()


@pytest.mark.parametrize(
    "query, code, message",
    [
        ("EIO=4", 0, "Transport unknown"),
        ("EIO=4&transport=abc", 0, "Transport unknown"),
        ("EIO=4&transport=polling&sid=nobody", 1, "Session ID unknown"),
        ("EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA", 1, "Session ID unknown"),
        ("EIO=4&transport=websocket", 3, "Bad request"),
        ("EIO=3&transport=polling", 5, "Unsupported protocol version"),
        ("EIO=abc&transport=polling", 5, "Unsupported protocol version"),
        ("transport=polling", 5, "Unsupported protocol version"),
    ],
)
def test_refusals_say_why(engine, query, code, message):
    answer = requests.get(engine.http.split("?")[0] + "?" + query, timeout=5)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"code": code, "message": message}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_only_get_opens_a_session(engine, method):
    answer = requests.request(method, engine.http + "&transport=polling", timeout=5)
    assert (answer.status_code, answer.json()["code"]) == (400, 2)


def test_other_methods_are_refused_in_a_session(engine):
    session = engine.open_polling()
    answer = requests.put(engine.http + session, data="4x", timeout=5)
    assert (answer.status_code, answer.json()["code"]) == (400, 3)


@pytest.mark.parametrize("query", ["?transport=websocket", "?EIO=3&transport=websocket", "?EIO=4", "?EIO=4&transport=abc"])
def test_a_bad_websocket_request_is_refused(engine, query):
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        websocket.create_connection(engine.ws.split("?")[0] + query, timeout=5)
    assert refused.value.status_code == 400


# Messages


def test_polling_carries_messages(engine):
    session = engine.open_polling()
    posted = engine.post(session, "4hello")
    assert (posted.status_code, posted.text) == (200, "ok")
    assert engine.get(session).text == "4hello"


def test_a_payload_carries_several_packets_in_order(engine):
    session = engine.open_polling()
    assert engine.post(session, "4one\x1e4zwei €\x1e4three".encode()).text == "ok"
    answer = engine.get(session)
    assert answer.content.decode() == "4one\x1e4zwei €\x1e4three"


def test_polling_carries_binary_as_base64(engine):
    session = engine.open_polling()
    data = bytes(range(256))
    assert engine.post(session, b"4text\x1eb" + base64.b64encode(data)).text == "ok"
    assert engine.get(session).content == b"4text\x1eb" + base64.b64encode(data)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_polling_takes_base64_in_lines(engine, end):
    session = engine.open_polling()
    data = bytes(range(256)) * 3
    lines = base64.encodebytes(data).decode().replace("\n", end)
    assert engine.post(session, f"4before\x1eb{lines}\x1e4after").text == "ok"
    whole = "b" + base64.b64encode(data).decode()
    assert engine.get(session).text.split("\x1e") == ["4before", whole, "4after"]


def test_a_poll_waits_for_a_message(engine):
    session = engine.open_polling()
    poll, got = waiting_poll(engine, session, 0.1)
    assert not got
    assert engine.post(session, "4late").text == "ok"
    poll.join(5)
    assert [answer.text for answer in got] == ["4late"]


@pytest.mark.parametrize("body", ["abc", "", "4ok\x1ex", "0{}", "b=", "9", "5", "2probe"])
def test_an_invalid_payload_ends_the_session(engine, body):
    session = engine.open_polling()
    assert engine.post(session, body).status_code == 400
    assert engine.get(session).json()["code"] == 1


def test_payload_over_the_limit(engine):
    session = engine.open_polling()
    assert engine.post(session, "4" + "x" * 1_000_000).status_code == 413
    assert engine.get(session).status_code == 400
    session = engine.open_polling()
    assert engine.post(session, "4" + "x" * 999_999).status_code == 200
    assert len(engine.get(session).content) == 1_000_000


def test_payload_not_utf8(engine):
    session = engine.open_polling()
    assert engine.post(session, b"4\xff").status_code == 400


def test_websocket_carries_text_and_binary(engine):
    socket = engine.open_websocket()
    for text in ["", "hello", "grüß €", "x" * 126, "y" * 70_000]:
        socket.send("4" + text)
        assert recv_message(socket) == "4" + text
    for size in [0, 1, 125, 126, 65_536]:
        socket.send_binary(bytes(size))
        assert recv_message(socket) == bytes(size)
    socket.close()


@pytest.mark.parametrize("frame", ["abc", "", "7", "0{}", "5", "2probe"])
def test_an_invalid_frame_ends_the_websocket(engine, frame):
    socket = engine.open_websocket()
    socket.send(frame)
    assert closes(socket)


# Heartbeat


def test_heartbeats_keep_a_poll_alive(patient):
    session = patient.open_polling()
    for _ in range(3):
        assert patient.get(session).text == "2"
        assert patient.post(session, "3").text == "ok"


def test_a_polling_client_without_pong_is_dropped(engine):
    silent, session = engine.open_polling(), engine.open_polling()
    assert engine.get(session).text == "2"
    ended = wait_for(lambda: (answer := engine.get(session)).status_code == 400 and answer.json(), what="end of the session")
    assert ended["code"] == 1
    # And the one before it, which does not even poll.
    assert engine.get(silent).json()["code"] == 1


def test_polls_alone_keep_nobody_alive(engine):
    session = engine.open_polling()
    began = time.monotonic()
    while (answer := engine.get(session)).status_code == 200 and time.monotonic() - began < 5:
        pass
    assert answer.status_code == 400
    assert INTERVAL + TIMEOUT - 0.1 < time.monotonic() - began < 2


def test_what_a_client_sends_is_a_sign_of_life(patient):
    session = patient.open_polling()
    end = time.monotonic() + 1.5 * (INTERVAL + PATIENT)
    while time.monotonic() < end:
        assert patient.post(session, "4x").text == "ok"
        assert patient.get(session).status_code == 200
        time.sleep(PATIENT / 8)


def test_heartbeats_keep_a_websocket_alive(patient):
    socket = patient.open_websocket()
    began = time.monotonic()
    for beat in range(3):
        assert socket.recv() == "2"
        socket.send("3")
    assert time.monotonic() - began > 2 * INTERVAL
    socket.send("4still here")
    assert recv_message(socket) == "4still here"
    socket.close()


def test_a_websocket_without_pong_is_closed(engine):
    socket = engine.open_websocket()
    assert closes(socket)


# Close


def test_a_close_packet_ends_polling(engine):
    session = engine.open_polling()
    poll, got = waiting_poll(engine, session)
    assert engine.post(session, "1").text == "ok"
    poll.join(5)
    assert (got[0].status_code, got[0].text) == (200, "6")
    assert engine.get(session).json()["code"] == 1


def test_a_close_packet_ends_a_websocket(engine):
    socket = engine.open_websocket()
    socket.send("1")
    assert closes(socket)


def test_a_second_poll_ends_the_session(engine):
    session = engine.open_polling()
    poll, got = waiting_poll(engine, session)
    answers = [engine.get(session)]
    poll.join(5)
    # Which of the two comes second is as it happens after a heartbeat.
    waited, refused = sorted(got + answers, key=lambda answer: answer.status_code)
    assert (waited.status_code, waited.text, refused.status_code) == (200, "1", 400)
    assert engine.get(session).status_code == 400


# Upgrade


def upgrade(engine):
    session = engine.open_polling()
    socket = engine.websocket(session.replace("&transport=polling", ""))
    socket.send("2probe")
    assert socket.recv() == "3probe"
    return session, socket


def test_upgrade_to_websocket(engine):
    session, socket = upgrade(engine)
    socket.send("5")
    socket.send("4hello")
    assert recv_message(socket) == "4hello"
    socket.close()


def test_a_waiting_poll_is_released_by_the_probe(engine):
    session = engine.open_polling()
    poll, got = waiting_poll(engine, session)
    socket = engine.websocket(session.replace("&transport=polling", ""))
    socket.send("2probe")
    assert socket.recv() == "3probe"
    poll.join(5)
    assert [answer.text for answer in got] == ["6"]
    socket.send("5")
    socket.send("4up")
    assert recv_message(socket) == "4up"


def polls_answered(engine, session, seconds):
    """How many polls, one after the other, are answered in this time. Heartbeats are answered, too."""
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        answer = engine.get(session)
        assert answer.status_code == 200, answer.text
        if "2" in answer.text.split("\x1e"):
            engine.post(session, "3")
        count += 1
    return count


def test_a_poll_waits_while_a_websocket_says_nothing(patient):
    session = patient.open_polling()
    silent = patient.websocket(session.replace("&transport=polling", ""))
    # Nothing comes but the heartbeat.
    assert polls_answered(patient, session, 1) <= 5
    silent.send("2probe")
    assert silent.recv() == "3probe"


def test_polls_are_not_answered_in_a_storm_while_a_websocket_takes_over(patient):
    session, socket = upgrade(patient)
    assert polls_answered(patient, session, 1) <= 15
    socket.send("5")
    socket.send("4up")
    assert recv_message(socket) == "4up"


def test_a_poll_that_still_waits_is_let_go_without_what_is_the_websockets(engine):
    session = engine.open_polling()
    poll, got = waiting_poll(engine, session)
    socket = engine.websocket(session.replace("&transport=polling", ""))
    frames = [websocket.ABNF.create_frame(text, websocket.ABNF.OPCODE_TEXT).format() for text in ("5", "4early")]
    socket.sock.sendall(b"".join(frames))
    assert recv_message(socket) == "4early"
    poll.join(5)
    assert [answer.text for answer in got] == ["6"]


def test_what_was_queued_before_the_upgrade_arrives(engine):
    session = engine.open_polling()
    assert engine.post(session, "4early").text == "ok"
    socket = engine.websocket(session.replace("&transport=polling", ""))
    socket.send("2probe")
    assert socket.recv() == "3probe"
    socket.send("5")
    assert recv_message(socket) == "4early"


def test_polling_is_refused_after_the_upgrade(engine):
    session, socket = upgrade(engine)
    socket.send("5")
    wait_for(lambda: engine.get(session).status_code == 400, what="refusal")
    socket.send("4alive")
    assert recv_message(socket) == "4alive"


def test_a_second_websocket_is_closed_and_the_first_one_lives(engine):
    session, socket = upgrade(engine)
    socket.send("5")
    socket.send("4one")
    assert recv_message(socket) == "4one"
    second = engine.websocket(session.replace("&transport=polling", ""))
    assert closes(second)
    socket.send("4two")
    assert recv_message(socket) == "4two"


@pytest.mark.parametrize("words", [["2other"], ["4hello"], ["2probe", "4hello"], ["1"]])
def test_a_failed_probe_leaves_polling_as_it_was(engine, words):
    session = engine.open_polling()
    socket = engine.websocket(session.replace("&transport=polling", ""))
    for word in words:
        socket.send(word)
        if word == "2probe":
            assert socket.recv() == "3probe"
    assert closes(socket)
    assert engine.post(session, "4still").text == "ok"
    assert "4still" in engine.get(session).text


def test_a_websocket_for_an_unknown_session_is_refused(engine):
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        engine.websocket("&sid=AAAAAAAAAAAAAAAAAAAA")
    assert refused.value.status_code == 400


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_websocket_that_a_proxy_spoiled_is_refused_in_words(engine, version):
    """A proxy that speaks HTTP/1.0, or does not hand the upgrade on."""
    upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n" if version == "1.0" else ""
    address = engine.http.split("/")[2].split(":")
    with socket.create_connection((address[0], int(address[1])), 5) as raw:
        raw.sendall(
            f"GET /engine.io/?EIO=4&transport=websocket HTTP/{version}\r\nHost: x\r\nConnection: close\r\n{upgrade}"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        answer = b""
        while data := raw.recv(4096):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1] == b"400", head
    message = {"1.0": "A websocket needs HTTP/1.1", "1.1": "Bad request"}[version]
    assert json.loads(body) == {"code": 3, "message": message}
