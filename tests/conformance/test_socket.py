"""Socket.IO protocol, revision 5: namespaces, events, acks, binary attachments, breaches."""

import json

import pytest
import websocket


def recv(socket):
    """The next frame that is not a heartbeat."""
    while (frame := socket.recv()) == "2":
        socket.send("3")
    return frame


def closes(socket):
    try:
        while True:
            opcode, _ = socket.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return True
    except (websocket.WebSocketConnectionClosedException, ConnectionError):
        return True


@pytest.fixture
def connected(socket):
    """A client connected to `/`."""
    client = socket.open_websocket()
    client.send("40")
    assert recv(client).startswith('40{"sid":"')
    assert recv(client) == '42["auth",{}]'
    return client


# CONNECT


@pytest.mark.parametrize(
    "packet, prefix, auth",
    [
        ("40", "40", '42["auth",{}]'),
        ('40{"token":"123"}', "40", '42["auth",{"token":"123"}]'),
        ("40/custom,", "40/custom,", '42/custom,["auth",{}]'),
        ("40/custom", "40/custom,", '42/custom,["auth",{}]'),
        ("40/custom?old=query,", "40/custom,", '42/custom,["auth",{}]'),
        ('40/custom,{"token":"abc"}', "40/custom,", '42/custom,["auth",{"token":"abc"}]'),
    ],
)
def test_connect(socket, packet, prefix, auth):
    client = socket.open_websocket()
    client.send(packet)
    answer = recv(client)
    assert answer.startswith(prefix)
    opened = json.loads(answer[len(prefix) :])
    assert list(opened) == ["sid"] and len(opened["sid"]) == 20
    assert recv(client) == auth


def test_each_socket_has_its_own_sid(socket):
    client = socket.websocket()
    engine_sid = json.loads(client.recv()[1:])["sid"]
    client.send("40")
    one = json.loads(recv(client)[2:])["sid"]
    assert recv(client).startswith("42")
    client.send("40/custom,")
    two = json.loads(recv(client)[len("40/custom,") :])["sid"]
    assert len({engine_sid, one, two}) == 3


def test_unknown_namespace(socket):
    client = socket.open_websocket()
    client.send("40/random,")
    assert recv(client) == '44/random,{"message":"Invalid namespace"}'
    client.send("40")
    assert recv(client).startswith("40{")


@pytest.mark.parametrize("packet", ["4abc", "4", "49", "40[]", "40{", '40"x"', "40null", "44", "48"])
def test_what_is_no_packet_ends_the_connection(socket, packet):
    client = socket.open_websocket()
    client.send(packet)
    assert closes(client)


def test_an_event_before_connect_ends_the_connection(socket):
    client = socket.open_websocket()
    client.send('42["message"]')
    assert closes(client)


def test_a_second_connect_ends_the_connection(connected):
    connected.send("40")
    assert closes(connected)


# DISCONNECT


def test_disconnect_of_one_namespace_leaves_the_other(socket):
    client = socket.open_websocket()
    for packet in ["40", "40/custom,"]:
        client.send(packet)
        recv(client), recv(client)
    client.send("41/custom,")
    client.send('42["message","alive"]')
    assert recv(client) == '42["message-back","alive"]'
    client.send('42/custom,["message","gone"]')
    assert closes(client)


def test_connect_again_after_disconnect(connected):
    connected.send("41")
    connected.send("40")
    assert recv(connected).startswith("40{")


# EVENT and ACK


@pytest.mark.parametrize("arguments", ["", ",1", ',1,"2",{"3":[null]}', ',"]\\"["', ',"ünï€😀"', ",[[[[]]]]"])
def test_events_keep_their_arguments(connected, arguments):
    connected.send(f'42["message"{arguments}]')
    assert recv(connected) == f'42["message-back"{arguments}]'


def test_white_space_around_values(connected):
    connected.send('42 [ "message" , 1 ] ')
    assert recv(connected) == '42["message-back",1]'


def test_an_escaped_name(connected):
    connected.send('42["mess\\u0061ge"]')
    assert recv(connected) == '42["message-back"]'


def test_ack(connected):
    connected.send('42456["message-with-ack",1,"2",{"3":[false]}]')
    assert recv(connected) == '43456[1,"2",{"3":[false]}]'


def test_ack_in_a_namespace(socket):
    client = socket.open_websocket()
    client.send("40/custom,")
    recv(client), recv(client)
    client.send('42/custom,0["message-with-ack"]')
    assert recv(client) == "43/custom,0[]"


def test_an_ack_that_nobody_waits_for_is_ignored(connected):
    connected.send("43999[1]")
    connected.send('42["message"]')
    assert recv(connected) == '42["message-back"]'


# Binary


def test_binary_both_ways(connected):
    blob = b"\x01\x02\x03\x04"
    connected.send('452-["message",{"_placeholder":true,"num":0},{"a":{"_placeholder":true,"num":1}}]')
    connected.send_binary(blob)
    connected.send_binary(b"")
    expected = '452-["message-back",{"_placeholder":true,"num":0},{"a":{"_placeholder":true,"num":1}}]'
    assert recv(connected) == expected
    assert recv(connected) == blob
    assert recv(connected) == b""


def test_binary_ack(connected):
    connected.send('451-789["message-with-ack",{"_placeholder":true,"num":0}]')
    connected.send_binary(b"\x05\x06")
    assert recv(connected) == '461-789[{"_placeholder":true,"num":0}]'
    assert recv(connected) == b"\x05\x06"


def test_binary_over_polling(socket):
    session = socket.open_polling()
    assert socket.post(session, "40").text == "ok"
    got = []
    while sum(map(len, got)) < 2:
        got.append([p for p in socket.get(session).text.split("\x1e") if p != "2"])
    placeholder = '{"_placeholder":true,"num":0}'
    assert socket.post(session, f'451-["message",{placeholder}]\x1ebAQIDBA==').text == "ok"
    assert socket.get(session).text == f'451-["message-back",{placeholder}]\x1ebAQIDBA=='


def test_no_attachments_announced(connected):
    connected.send('450-["message",1]')
    assert recv(connected) == '42["message-back",1]'


@pytest.mark.parametrize(
    "frames",
    [
        [b"\x01"],
        ['451-["message",{"_placeholder":true,"num":0}]', '42["message"]'],
        ['451-["message",{"_placeholder":true,"num":0}]', b"1", b"2"],
        ['4565-["message",{"_placeholder":true,"num":0}]'],
        ['451-["message","none"]'],
        ['45-["message",{"_placeholder":true,"num":0}]'],
        ['451["message",{"_placeholder":true,"num":0}]'],
    ],
    ids=["unannounced", "missing", "too many", "over 64", "no placeholder", "no number", "no dash"],
)
def test_attachments_that_do_not_match_end_the_connection(connected, frames):
    for frame in frames:
        connected.send_binary(frame) if isinstance(frame, bytes) else connected.send(frame)
    assert closes(connected)


# Breaches


@pytest.mark.parametrize(
    "packet",
    [
        "42",
        "42{}",
        "42[]",
        "42[null]",
        '42["message"',
        '42["message",]',
        '42["connect"]',
        '42["connect_error"]',
        '42["disconnect"]',
        '42["disconnecting"]',
        '42["newListener"]',
        '42["removeListener"]',
        "43[]",
        "431",
        "431{}",
        '429007199254740992["message"]',
        "42" + "9" * 400 + '["message"]',
    ],
)
def test_a_breach_ends_the_connection(connected, packet):
    connected.send(packet)
    assert closes(connected)


@pytest.mark.parametrize("name", ["1", "0", "-1", "2.5", "1e3"])
def test_a_number_names_an_event_that_nobody_knows(connected, name):
    connected.send(f'42[{name},"x"]')
    connected.send(f'427[{name}]')
    connected.send('42["message","still"]')
    assert recv(connected) == '42["message-back","still"]'


def test_a_long_namespace_is_not_sent_back(socket):
    ws = socket.open_websocket()
    ws.send("40/" + "x" * 100_000 + ",")
    assert closes(ws)


def test_json_as_deep_as_allowed(connected):
    deep = "[" * 511 + "]" * 511
    connected.send(f'42["message",{deep}]')
    assert recv(connected) == f'42["message-back",{deep}]'


def test_deeper_json_is_dropped_and_the_connection_lives(connected):
    deep = "[" * 512 + "]" * 512
    connected.send(f'42["message",{deep}]')
    connected.send(f"431[{deep}]")
    connected.send('42["message","still"]')
    assert recv(connected) == '42["message-back","still"]'
