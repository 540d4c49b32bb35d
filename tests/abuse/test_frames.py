"""Websocket frames that break RFC 6455: each gets its close code, and nobody else notices."""

import pytest

from siskin import token
from wire import PATH, Raw, WebSocket


@pytest.fixture
def witness(siskin):
    """Somebody who must not notice."""
    other = WebSocket(siskin)
    other.connect("witness")
    yield other
    other.event("user-join", {"auth": {"token": token("witness")}}, ack=1)
    assert other.recv_text().startswith("431[")


def frames(ws):
    f = ws.frame
    return {
        "reserved bit": (1002, f(0xC1, b"x")),
        "reserved opcode": (1002, f(0x83, b"x")),
        "reserved control opcode": (1002, f(0x8B, b"x")),
        "unmasked": (1002, f(0x81, b"4x", mask=None)),
        "invalid UTF-8": (1007, f(0x81, b"4\xff\xfe")),
        "half a character": (1007, f(0x81, b"4\xe2\x82")),
        "fragmented ping": (1002, f(0x09, b"x")),
        "long ping": (1002, f(0x89, b"x" * 126)),
        "continuation of nothing": (1002, f(0x80, b"x")),
        "text within fragments": (1002, f(0x01, b"4a") + f(0x81, b"4b")),
        "close with half a code": (1002, f(0x88, b"\x03")),
        "close with a forbidden code": (1002, f(0x88, b"\x03\xed")),
        "over maxPayload": (1009, f(0x81, b"", length=16 * 1024 * 1024 + 1)),
        "a length that lies": (1009, f(0x82, b"", length=(1 << 63) - 1)),
        "fragments over maxPayload": (1009, f(0x01, bytes(9 << 20)) + f(0x80, bytes(9 << 20))),
    }


NAMES = [
    "reserved bit", "reserved opcode", "reserved control opcode", "unmasked", "invalid UTF-8", "half a character",
    "fragmented ping", "long ping", "continuation of nothing", "text within fragments", "close with half a code",
    "close with a forbidden code", "over maxPayload", "a length that lies", "fragments over maxPayload",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_frame_has_its_close_code(siskin, witness, name):
    ws = WebSocket(siskin)
    ws.connect("mallory")
    code, data = frames(ws)[name]
    ws.send(data)
    assert ws.close_code() == code
    assert siskin.metric("siskin_sockets") == 1


def test_a_message_in_many_fragments_with_pings_between(siskin):
    ws = WebSocket(siskin)
    ws.connect("ann")
    text = b'42["user-join",{"auth":{"token":"%s"}}]' % token("ann").encode()
    text = text.replace(b"42[", b"427[")
    ws.send(ws.frame(0x01, text[:1]))
    for byte in text[1:-1]:
        ws.send(ws.frame(0x00, bytes([byte])) + ws.frame(0x89, b"hi"))
    ws.send(ws.frame(0x80, text[-1:]))
    pongs = 0
    while (got := ws.recv())[0] == 0x8A:
        assert got[1] == b"hi"
        pongs += 1
    assert pongs == len(text) - 2
    assert got[1] == b'437[{"id":"ann","name":"ann"}]'


def test_a_frame_byte_by_byte(siskin):
    ws = WebSocket(siskin)
    for byte in ws.frame(0x81, b"40"):
        ws.send(bytes([byte]))
    assert ws.recv_text().startswith("0{")
    assert ws.recv_text().startswith("40{")


@pytest.mark.parametrize(
    "packet",
    ["4", "40[", "42[\"e\"]", "451-[\"e\",{\"_placeholder\":true,\"num\":0}]", "9", "42[\"connect\"]", "42" + "[" * 5000],
)
def test_packets_in_a_wrong_state(siskin, witness, packet):
    ws = WebSocket(siskin)
    assert ws.recv_text().startswith("0{")
    ws.text(packet)
    if packet.startswith("451"):
        ws.text("42[]")
    assert ws.close_code() == 1002


def test_more_namespaces_than_there_are(siskin):
    ws = WebSocket(siskin)
    ws.connect("ann")
    for n in range(100):
        ws.text(f"40/n{n},")
        assert ws.recv_text() == f'44/n{n},{{"message":"Invalid namespace"}}'


@pytest.mark.parametrize(
    "change",
    [
        ("Upgrade: websocket", "Upgrade: h2c"),
        ("Connection: Upgrade", "Connection: close"),
        ("Version: 13", "Version: 8"),
        ("Key: dGhlIHNhbXBsZSBub25jZQ==", "Key: short"),
        ("Key: dGhlIHNhbXBsZSBub25jZQ==", "Key: "),
        ("GET", "POST"),
    ],
)
def test_a_handshake_that_is_none(siskin, change):
    request = (
        f"GET {PATH}websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    raw = Raw(siskin)
    raw.send(request.replace(*change).encode())
    assert raw.answer()[0] == 400
