"""RFC 6455 by the numbers of the Autobahn testsuite (fuzzingclient, sections 1 to 7, 9 and 10), each case anew, over a raw socket.

The echo is the bare Engine.IO one, so a text begins with the packet type `4`. README.md beside this has the table.
"""

import os
import socket
import struct
import subprocess

import pytest

from siskin import ROOT, RUNNER, free_port, wait_for
from wire import WebSocket

SERVER = os.environ.get("CONFORMANCE_BIN", str(ROOT / "target/debug/examples/conformance"))
PATIENCE = 20
TEXT, BINARY, CONTINUE, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
FIN = 0x80
MOST = 1_000_000


@pytest.fixture(scope="module")
def server():
    """One echo for all cases, which waits for pongs for a minute."""

    class Instance:
        port = free_port()

    process = subprocess.Popen([*RUNNER, SERVER, str(Instance.port), "60000"], stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", Instance.port)) == 0, what="the echo")
        yield Instance
        assert process.poll() is None, "the echo died"
    finally:
        process.kill()
        process.wait()


class Case:
    """A connection, and what comes over it but heartbeats."""

    def __init__(self, server):
        self.raw = Echo(server, timeout=PATIENCE)
        assert self.raw.recv()[1].startswith(b"0{")

    def say(self, opcode, payload=b"", first=None, chop=None):
        data = self.raw.frame(FIN | opcode if first is None else first, payload)
        for at in range(0, len(data), chop or len(data)):
            self.raw.send(data[at : at + (chop or len(data))])

    def hear(self):
        """The next frame that is no heartbeat: opcode and payload, whole."""
        while True:
            first, payload = self.raw.recv()
            assert first & 0x70 == 0 and first & FIN, hex(first)
            if (first, payload) != (FIN | TEXT, b"2"):
                return first & 15, payload

    def closed(self):
        """The close frame's code, after which the server has closed its side, or None if there was none."""
        try:
            while (heard := self.hear())[0] != CLOSE:
                pass
            code = struct.unpack("!H", heard[1][:2])[0] if heard[1] else 1005
            heard[1][2:].decode()
            assert not self.raw.ended()
            return code
        except (EOFError, ConnectionError):
            return None


class Echo(WebSocket):
    """A websocket of the bare echo."""

    def send(self, data):
        super().send(data.replace(b"/ws/socket.io/", b"/engine.io/", 1) if data.startswith(b"GET ") else data)


def clean(case, code=1000):
    """Who closes is answered, with its code, and the connection ends."""
    case.say(CLOSE, struct.pack("!H", code))
    assert case.closed() == code


SIZES = [0, 125, 126, 127, 128, 65535, 65536]


@pytest.mark.parametrize("number, size, chop", [*((f"{n}", size, None) for n, size in enumerate(SIZES, 1)), ("8", 65536, 997)])
def test_1_messages_of_each_length_come_back(server, number, size, chop):
    for section, opcode, payload in [("1.1", TEXT, b"4" + b"*" * size), ("1.2", BINARY, b"\xfe" * size)]:
        case = Case(server)
        case.say(opcode, payload, chop=chop)
        assert case.hear() == (opcode, payload), f"{section}.{number}"
        clean(case)


@pytest.mark.parametrize(
    "number, pings, chop",
    [
        ("2.1", [b""], None),
        ("2.2", [b"Hello, world!"], None),
        ("2.3", [bytes([0, 255, 254, 253, 252, 251, 0, 255])], None),
        ("2.4", [b"\xfe" * 125], None),
        ("2.6", [b"\xfe" * 125], 1),
        ("2.10", [b"payload-%d" % n for n in range(10)], None),
        ("2.11", [b"payload-%d" % n for n in range(10)], 1),
    ],
)
def test_2_pings_are_answered_in_order_with_what_they_hold(server, number, pings, chop):
    case = Case(server)
    for ping in pings:
        case.say(PING, ping, chop=chop)
    assert [case.hear() for _ in pings] == [(PONG, ping) for ping in pings]
    clean(case)


def test_2_5_a_ping_of_126_bytes_is_refused(server):
    case = Case(server)
    case.say(PING, b"\xfe" * 126)
    assert case.closed() == 1002


@pytest.mark.parametrize("number, pongs, ping", [("2.7", [b""], None), ("2.8", [b"unsolicited"], None), ("2.9", [b"unsolicited"], b"ping")])
def test_2_pongs_that_nobody_asked_for_are_nothing(server, number, pongs, ping):
    case = Case(server)
    for pong in pongs:
        case.say(PONG, pong)
    if ping:
        case.say(PING, ping)
        assert case.hear() == (PONG, ping)
    clean(case)


@pytest.mark.parametrize("rsv", range(1, 8))
def test_3_reserved_bits_are_refused_and_what_came_before_is_answered(server, rsv):
    for opcode in (TEXT, BINARY, PING, CLOSE):
        for chop in (None, 1):
            case = Case(server)
            case.say(TEXT, b"4before")
            case.say(opcode, b"", first=FIN | rsv << 4 | opcode, chop=chop)
            assert case.hear() == (TEXT, b"4before")
            assert case.closed() == 1002


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_4_reserved_opcodes_are_refused_and_what_came_before_is_answered(server, opcode):
    for payload in (b"", b"reserved"):
        case = Case(server)
        case.say(TEXT, b"4before")
        case.say(opcode, payload)
        case.say(PING)
        assert case.hear() == (TEXT, b"4before")
        assert case.closed() == 1002


ALL = "fragment1fragment2fragment3fragment4fragment5"
# What is sent: (first byte, payload); what comes back, and the code if it is refused.
FRAGMENTS = {
    "5.1": ([(PING, b"a"), (FIN, b"b")], [], 1002),
    "5.2": ([(PONG, b"a"), (FIN, b"b")], [], 1002),
    "5.3": ([(TEXT, b"4a"), (FIN, b"b")], [(TEXT, b"4ab")], None),
    "5.6": ([(TEXT, b"4a"), (FIN | PING, b"p"), (FIN, b"b")], [(PONG, b"p"), (TEXT, b"4ab")], None),
    "5.9": ([(FIN, b"x"), (FIN | TEXT, b"4a")], [], 1002),
    "5.10": ([(FIN, b"x"), (FIN | TEXT, b"4a")], [], 1002),
    "5.11": ([(FIN, b"x"), (FIN | TEXT, b"4a")], [], 1002),
    "5.12": ([(CONTINUE, b"x"), (FIN | TEXT, b"4a")], [], 1002),
    "5.15": ([(TEXT, b"4a"), (FIN, b"b"), (CONTINUE, b"c"), (FIN | TEXT, b"4d")], [(TEXT, b"4ab")], 1002),
    "5.16": ([(CONTINUE, b"a"), (FIN | TEXT, b"4b"), (FIN, b"c")] * 2, [], 1002),
    "5.17": ([(FIN, b"a"), (FIN | TEXT, b"4b"), (FIN, b"c")] * 2, [], 1002),
    "5.18": ([(TEXT, b"4a"), (FIN | TEXT, b"4b")], [], 1002),
    "5.19": (
        [(TEXT, b"4a"), (CONTINUE, b"b"), (FIN | PING, b"p1"), (CONTINUE, b"c"), (CONTINUE, b"d"), (FIN | PING, b"p2"), (FIN, b"e")],
        [(PONG, b"p1"), (PONG, b"p2"), (TEXT, b"4abcde")],
        None,
    ),
}
# 5.4, 5.5: as 5.3 in other pieces on the wire; 5.7, 5.8: as 5.6; 5.13, 5.14: as 5.12; 5.20: as 5.19 with pauses.


@pytest.mark.parametrize("chop", [None, 1])
@pytest.mark.parametrize("number", FRAGMENTS)
def test_5_fragments_are_one_message_and_control_frames_come_between(server, number, chop):
    sent, expected, code = FRAGMENTS[number]
    case = Case(server)
    for first, payload in sent:
        case.say(0, payload, first=first, chop=chop)
    assert [case.hear() for _ in expected] == expected
    if code:
        assert case.closed() == code
    else:
        clean(case)


U = bytes.fromhex
GOOD = {
    "6.1": ["", "".join([])],
    "6.2": ["48656c6c6f2dc2b540c39fc3b6c3a4c3bcc3a0c3a12d5554462d382121"],
    "6.5": ["cebae1bdb9cf83cebcceb5"],
    "6.6": ["ce", "ceba", "cebae1bdb9", "cebae1bdb9cf83", "cebae1bdb9cf83cebc", "cebae1bdb9cf83cebcceb5"],
    "6.7": ["00", "c280", "e0a080", "f0908080"],
    "6.9": ["7f", "dfbf", "efbfbf", "f48fbfbf"],
    "6.11": ["ed9fbf", "ee8080", "efbfbd", "f48fbfbf"],
    "6.22": ["efbfbe", "f09fbfbe", "f0afbfbf", "f3bfbfbe", "f48fbfbf"],
    "6.23": ["efbfb9", "efbfba", "efbfbb", "efbfbc", "efbfbd", "efbfbe", "efbfbf"],
}
BAD = {
    "6.3": ["cebae1bdb9cf83cebcceb5eda080656469746564"],
    "6.6": ["cebae1", "cebae1bd", "cebae1bdb9cf", "cebae1bdb9cf83ce", "cebae1bdb9cf83cebcce"],
    "6.8": ["f888808080", "fc8480808080"],
    "6.10": ["f7bfbfbf", "fbbfbfbfbf", "fdbfbfbfbfbf"],
    "6.11": ["f4908080"],
    "6.12": ["80", "bf"],
    "6.13": ["80bf", "80bf80", "80bf80bf", "80bf80bf80bf80bfbf"],
    "6.14": ["c020c120", "e020e120", "f020f120", "f820f920", "fc20fd20"],
    "6.15": ["c0", "e080", "f08080", "f8808080", "fc80808080", "df", "efbf", "f7bfbf", "fbbfbfbf", "fdbfbfbfbf"],
    "6.16": ["c0e080f08080f8808080fc80808080dfefbff7bfbffbbfbfbffdbfbfbfbf"],
    "6.17": ["fe", "ff", "fefeffff"],
    "6.18": ["c0af", "e080af", "f08080af", "f8808080af", "fc80808080af"],
    "6.19": ["c1bf", "e09fbf", "f08fbfbf", "f887bfbfbf", "fc83bfbfbfbf"],
    "6.20": ["c080", "e08080", "f0808080", "f880808080", "fc8080808080"],
    "6.21": ["eda080", "edadbf", "edae80", "edafbf", "edb080", "edbe80", "edbfbf"],
    "6.21.8": ["eda080edb080", "edafbfedbfbf"],
}
GOOD["6.1"], GOOD["6.6"] = [""], GOOD["6.6"][1:]
BAD["6.6"].append("ce")


@pytest.mark.parametrize("cut", ["whole", "each byte a fragment", "a fragment within each character"])
@pytest.mark.parametrize("number", GOOD)
def test_6_text_that_is_utf_8_comes_back(server, number, cut):
    case = Case(server)
    for text in map(U, GOOD[number]):
        say_text(case, text, cut)
        assert case.hear() == (TEXT, b"4" + text)
    clean(case)


@pytest.mark.parametrize("cut", ["whole", "each byte a fragment", "a fragment within each character"])
@pytest.mark.parametrize("number", BAD)
def test_6_text_that_is_not_utf_8_is_refused(server, number, cut):
    for text in map(U, BAD[number]):
        case = Case(server)
        say_text(case, text, cut)
        assert case.closed() == 1007, text


def test_6_4_it_is_refused_with_its_last_fragment_at_the_latest(server):
    """Autobahn calls 6.4 "non-strict": before the message ends nobody has to look."""
    for chop in (None, 1):
        case = Case(server)
        case.say(0, b"4\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5", first=TEXT)
        case.say(0, b"\xf4\x90\x80\x80", first=CONTINUE, chop=chop)
        case.say(0, b"edited", first=FIN)
        assert case.closed() == 1007


def say_text(case, text, cut):
    text = b"4" + text
    if cut == "whole":
        return case.say(TEXT, text)
    pieces = [text[at : at + 1] for at in range(len(text))] if cut.startswith("each") else [text[:2], text[2:4], text[4:]]
    for at, piece in enumerate(pieces):
        case.say(0, piece, first=(TEXT if at == 0 else CONTINUE) | (FIN if at == len(pieces) - 1 else 0))


CLOSING = {
    "7.1.1": ([(TEXT, b"4a"), (CLOSE, b"\3\xe8")], [(TEXT, b"4a")]),
    "7.1.2": ([(CLOSE, b"\3\xe8"), (CLOSE, b"\3\xe8")], []),
    "7.1.3": ([(CLOSE, b"\3\xe8"), (PING, b"")], []),
    "7.1.4": ([(CLOSE, b"\3\xe8"), (TEXT, b"4a")], []),
    "7.1.6": ([(TEXT, b"4" + b"x" * 262_144), (TEXT, b"4a"), (CLOSE, b"\3\xe8"), (PING, b"")], [(TEXT, b"4" + b"x" * 262_144), (TEXT, b"4a")]),
    "7.3.3": ([(CLOSE, b"\3\xe8")], []),
    "7.3.4": ([(CLOSE, b"\3\xe8" + b"ok")], []),
    "7.3.5": ([(CLOSE, b"\3\xe8" + b"*" * 123)], []),
}


@pytest.mark.parametrize("number", CLOSING)
def test_7_who_closes_is_answered_and_what_follows_is_nothing(server, number):
    sent, expected = CLOSING[number]
    case = Case(server)
    case.raw.send(b"".join(case.raw.frame(FIN | opcode, payload) for opcode, payload in sent))
    assert [case.hear() for _ in expected] == expected
    assert case.closed() == 1000


def test_7_1_5_who_closes_within_fragments_is_answered(server):
    case = Case(server)
    case.say(0, b"4a", first=TEXT)
    case.say(CLOSE, b"\3\xe8")
    case.say(0, b"b", first=FIN)
    assert case.closed() == 1000


@pytest.mark.parametrize(
    "number, payload, code",
    [
        ("7.3.1", b"", 1000),
        ("7.3.2", b"a", 1002),
        ("7.3.6", b"\3\xe8" + b"*" * 124, 1002),
        ("7.5.1", b"\3\xe8" + U("cebae1bdb9cf83cebcceb5eda080656469746564"), 1007),
    ],
)
def test_7_the_payload_of_a_close_is_checked(server, number, payload, code):
    case = Case(server)
    case.say(CLOSE, payload)
    assert case.closed() == code


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
def test_7_7_a_valid_code_is_given_back(server, code):
    clean(Case(server), code)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535])
def test_7_9_and_7_13_an_invalid_code_is_refused(server, code):
    case = Case(server)
    case.say(CLOSE, struct.pack("!H", code))
    assert case.closed() == 1002


@pytest.mark.parametrize("size, pieces", [(64 << 10, 1), (256 << 10, 1), (MOST - 1, 1), (MOST - 1, 64), (MOST - 1, 997), (MOST - 1, 4096)])
def test_9_messages_up_to_the_limit_come_back(server, size, pieces):
    """9.1 to 9.6: whole, in fragments of 64 bytes to 4 MiB, in pieces on the wire; here up to maxPayload."""
    for opcode, payload in [(TEXT, b"4" + b"*" * (size - 1)), (BINARY, b"\xfe" * size)]:
        case = Case(server)
        step = -(-size // pieces)
        for at in range(0, size, step):
            first = (opcode if at == 0 else CONTINUE) | (FIN if at + step >= size else 0)
            case.raw.send(case.raw.frame(first, payload[at : at + step]))
        assert case.hear() == (opcode, payload)
        clean(case)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_9_over_the_limit_is_refused_with_its_code(server, opcode):
    for fragments in (1, 3):
        case = Case(server)
        step = MOST // fragments + 1
        for n in range(fragments):
            first = (opcode if n == 0 else CONTINUE) | (FIN if n == fragments - 1 else 0)
            case.raw.send(case.raw.frame(first, b"4" * step))
        assert case.closed() == 1009


@pytest.mark.parametrize("size", [0, 16, 64, 256, 1024, 4096, 16384, 65536])
def test_9_7_and_9_8_many_messages_come_back_in_order(server, size):
    case = Case(server)
    count = 1000 if size < 4096 else 50
    for opcode, payload in [(TEXT, b"4" + b"*" * size), (BINARY, b"\xfe" * size)]:
        for _ in range(count):
            case.say(opcode, payload)
            assert case.hear() == (opcode, payload)
    clean(case)


def test_10_1_1_a_message_in_fragments_of_1300_comes_back(server):
    case = Case(server)
    payload = b"4" + os.urandom(65535).hex().encode()[:65535]
    pieces = [payload[at : at + 1300] for at in range(0, len(payload), 1300)]
    for at, piece in enumerate(pieces):
        case.say(0, piece, first=(TEXT if at == 0 else CONTINUE) | (FIN if at == len(pieces) - 1 else 0))
    assert case.hear() == (TEXT, payload)
    clean(case)
