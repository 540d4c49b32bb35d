"""HTTP that tries something: slow, huge, smuggled."""

import socket
import time

import pytest
import requests

from siskin import wait_for
from wire import PATH, Raw, WebSocket

GET = f"GET {PATH}polling HTTP/1.1\r\nHost: x\r\n"


def status_or_end(raw):
    """The status of the answer, or 'ended' when the connection just ends."""
    try:
        return raw.head()[0]
    except (EOFError, ConnectionError):
        return "ended"


@pytest.mark.parametrize(
    "request_",
    [
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
        "GET / HTTP/1.1\r\nA\x00B: x\r\n\r\n",
        "GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_no_request_at_all(siskin, request_):
    raw = Raw(siskin)
    raw.send(request_.encode("latin-1"))
    assert status_or_end(raw) in (400, 414, 431, "ended")
    assert requests.get(siskin.url + "/health", timeout=5).ok


@pytest.mark.parametrize(
    "body",
    [
        # A length and chunks: the chunks count, and what follows them is the next request, not a smuggled one.
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n4x\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n2\r\n4x\r\n0\r\n\r\n",
        # Twice the same length is one length.
        "Content-Length: 2\r\nContent-Length: 2\r\n\r\n4x",
    ],
)
def test_smuggling_shapes_are_read_in_one_way(siskin, body):
    raw = Raw(siskin)
    raw.send((GET + "\r\n").encode())
    status, opened = raw.answer()
    assert status == 200
    sid = opened.split(b'"')[3].decode()
    raw.send(f"POST {PATH}polling&sid={sid} HTTP/1.1\r\nHost: x\r\n{body}GET /health HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    first = status_or_end(raw)
    if first == 400 or first == "ended":
        return
    assert first == 200
    rest = raw.buffer
    while b"status" not in rest:
        data = raw.socket.recv(65536)
        assert data, rest
        rest += data
    assert rest.count(b"HTTP/1.1 ") == 1, rest


@pytest.mark.parametrize(
    "chunks", ["zz\r\n4x\r\n0\r\n\r\n", "-1\r\n4x\r\n0\r\n\r\n", "ffffffffffffffff1\r\n4x\r\n", "2\r\n4xyz\r\n0\r\n\r\n"]
)
def test_bad_chunks(siskin, chunks):
    raw = Raw(siskin)
    raw.send((GET + "\r\n").encode())
    sid = raw.answer()[1].split(b'"')[3].decode()
    raw.send(f"POST {PATH}polling&sid={sid} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}".encode())
    assert status_or_end(raw) in (400, "ended")
    assert requests.get(siskin.url + "/health", timeout=5).ok


def test_many_headers(siskin):
    raw = Raw(siskin)
    raw.send((GET + "".join(f"X-{n}: y\r\n" for n in range(500)) + "\r\n").encode())
    assert status_or_end(raw) in (400, 431, "ended")


def test_a_head_without_end(siskin):
    raw = Raw(siskin)
    raw.send(GET.encode())
    try:
        for _ in range(2000):
            raw.send(b"X-Y: " + b"z" * 1000 + b"\r\n")
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert status_or_end(raw) in (400, 431, "ended")


def test_a_slow_head_is_not_waited_for(siskin):
    raw = Raw(siskin, timeout=30)
    began = time.monotonic()
    raw.send(GET.encode())
    got = status_or_end(raw)
    assert got in (408, "ended"), got
    assert time.monotonic() - began > 5
    assert requests.get(siskin.url + "/health", timeout=5).ok


def test_a_proxys_idle_connection_is_kept_and_a_begun_head_is_not_waited_for(siskin):
    idle, begun, fresh = Raw(siskin, timeout=30), Raw(siskin, timeout=30), Raw(siskin, timeout=30)
    for raw in (idle, begun):
        raw.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert raw.answer()[0] == 200
    posted = Raw(siskin, timeout=30)
    posted.send(b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody")
    assert posted.answer()[0] == 405
    time.sleep(1)
    began = time.monotonic()
    begun.send(b"GET /health HT")
    assert status_or_end(begun) == "ended"
    assert 9 < time.monotonic() - began < 14
    for raw in (idle, posted, fresh):
        raw.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert raw.answer()[0] == 200


@pytest.mark.parametrize(
    "hosts, status",
    [
        ([], 400),
        (["x"], 200),
        ([""], 200),
        (["chat.example:80"], 200),
        (["[::1]:8380"], 200),
        (["x", "x"], 400),
        (["x", "y"], 400),
        (["a b"], 400),
        (["user@x"], 400),
        (["x/y"], 400),
    ],
)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_request_names_its_host(siskin, version, hosts, status):
    raw = Raw(siskin)
    lines = "".join(f"Host: {host}\r\n" for host in hosts)
    raw.send(f"GET /health HTTP/{version}\r\n{lines}\r\n".encode())
    assert raw.head()[0] == (200 if version == "1.0" and not hosts else status)


@pytest.mark.parametrize("path", ["/health", "/api/v1/openapi.json", PATH + "polling"])
@pytest.mark.parametrize("more", [b"", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_who_closes_one_side_gets_the_answer_on_the_other(siskin, path, more):
    raw = Raw(siskin, receive=4096)
    raw.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {siskin.api_key}\r\n\r\n".encode() + more)
    raw.socket.shutdown(socket.SHUT_WR)
    time.sleep(0.3)
    status, headers = raw.head()
    assert status == 200
    assert len(raw.read(int(headers["content-length"]))) > 0
    assert raw.ended().count(b"HTTP/1.1 200") == (1 if more else 0)


def test_a_poll_of_a_client_that_has_left_takes_nothing(siskin):
    raw = Raw(siskin)
    raw.send((GET + "\r\n").encode())
    sid = raw.answer()[1].split(b'"')[3].decode()
    poll = f"GET {PATH}polling&sid={sid} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    left = Raw(siskin)
    left.send(poll)
    time.sleep(0.2)
    left.close()
    time.sleep(3)
    assert requests.post(f"{siskin.url}{PATH}polling&sid={sid}", data="40", timeout=5).text == "ok"
    raw.send(poll)
    status, body = raw.answer()
    assert status == 200 and body.startswith(b'40{"sid"')


def test_header_lines_are_bounded_by_a_setting(siskin, start_siskin):
    more = start_siskin(SISKIN_MAX_HEADER_LINES="120")

    def ask(instance, lines):
        raw = Raw(instance)
        raw.send(("GET /health HTTP/1.1\r\nHost: x\r\n" + "a: b\r\n" * (lines - 1) + "\r\n").encode())
        return raw.head()[0]

    assert [ask(siskin, 100), ask(siskin, 101)] == [200, 431]
    assert [ask(more, 101), ask(more, 120), ask(more, 121)] == [200, 200, 431]
    wait_for(lambda: "SISKIN_MAX_HEADER_LINES" in more.log(), what="a line in the log")


def test_an_origin_that_is_not_ours(start_siskin):
    siskin = start_siskin(CORS_ALLOW_ORIGIN="https://a.example;https://b.example")
    url = siskin.url + PATH + "polling"
    assert requests.get(url, headers={"Origin": "https://c.example"}, timeout=5).status_code == 400
    answer = requests.get(url, headers={"Origin": "https://b.example"}, timeout=5)
    assert answer.headers["access-control-allow-origin"] == "https://b.example"
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert requests.get(url, timeout=5).status_code == 200
    preflight = requests.options(
        url,
        headers={"Origin": "https://a.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-y"},
        timeout=5,
    )
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-headers"] == "x-y"
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert siskin.metric('siskin_refused_total{reason="origin"}') == 1


def test_the_path_with_and_without_a_slash(siskin):
    for path in ["/ws/socket.io", "/ws/socket.io/"]:
        assert requests.get(f"{siskin.url}{path}?EIO=4&transport=polling", timeout=5).text.startswith("0{")
    assert requests.get(f"{siskin.url}/ws/socket.iox?EIO=4&transport=polling", timeout=5).status_code == 404


def test_polling_only(start_siskin):
    siskin = start_siskin(ENABLE_WEBSOCKET_SUPPORT="false")
    answer = requests.get(siskin.url + PATH + "polling", timeout=5)
    assert '"upgrades":[]' in answer.text
    answer = requests.get(siskin.url + PATH + "websocket", timeout=5)
    assert answer.json() == {"code": 0, "message": "Transport unknown"}


def test_too_many_connections_are_told_so(start_siskin):
    siskin = start_siskin(SISKIN_MAX_CONNECTIONS="5", SISKIN_MAX_CONNECTIONS_PER_ADDRESS="5")
    held = [WebSocket(siskin) for _ in range(5)]
    raw = Raw(siskin)
    assert raw.head()[0] == 503
    held.pop().close()
    wait_for(lambda: status_or_end_of_health(siskin) == 200, what="a place")
    assert siskin.metric('siskin_refused_total{reason="connections"}') >= 1


def status_or_end_of_health(siskin):
    try:
        return requests.get(siskin.url + "/health", timeout=5).status_code
    except requests.RequestException:
        return None


def test_sessions_of_one_address_are_bounded(start_siskin):
    siskin = start_siskin(SISKIN_MAX_CONNECTIONS_PER_ADDRESS="3", SISKIN_TRUSTED_PROXIES="127.0.0.1")
    ask = lambda address: requests.get(  # noqa: E731
        siskin.url + PATH + "polling", headers={"X-Forwarded-For": address}, timeout=5
    ).status_code
    assert [ask("9.9.9.9") for _ in range(4)] == [200, 200, 200, 503]
    assert ask("9.9.9.8") == 200


def test_polling_sessions_count_as_connections(start_siskin):
    siskin = start_siskin(SISKIN_MAX_CONNECTIONS="20", SISKIN_MAX_CONNECTIONS_PER_ADDRESS="1000")
    kept = requests.Session()
    open_one = lambda: kept.get(siskin.url + PATH + "polling", timeout=5).status_code  # noqa: E731
    websockets = [WebSocket(siskin) for _ in range(5)]
    assert [open_one() for _ in range(16)] == [200] * 15 + [503]
    websockets.pop().close()
    wait_for(lambda: open_one() == 200, what="a place")
    # Who is in is served all the same.
    websockets[0].connect("u1")


def test_clients_behind_a_proxy_are_told_apart(start_siskin):
    siskin = start_siskin(SISKIN_MAX_CONNECTIONS_PER_ADDRESS="2", SISKIN_TRUSTED_PROXIES="127.0.0.1")

    def ask(name, address):
        return requests.get(siskin.url + PATH + "polling", headers={name: address}, timeout=5).status_code

    for name, first, second, other in [
        ("X-Forwarded-For", "192.0.2.7:51234", "192.0.2.7:2", "192.0.2.8:51234"),
        ("X-Forwarded-For", "[2001:db8::1]:443", "2001:db8::2", "[2001:db8:0:1::1]"),
        ("Forwarded", 'for="192.0.2.9:1";proto=https', "for=192.0.2.9", "for=192.0.2.10"),
    ]:
        assert [ask(name, address) for address in (first, second, first, other)] == [200, 200, 503, 200], name


def test_an_origin_in_other_words_is_the_same(start_siskin):
    siskin = start_siskin(CORS_ALLOW_ORIGIN="http://10.0.0.5:80; https://Chat.Example/")

    def ask(origin, host="siskin"):
        headers = {"Origin": origin, "Host": host}
        return requests.get(siskin.url + PATH + "polling", headers=headers, timeout=5).status_code

    for origin in ["http://10.0.0.5", "https://chat.example", "https://chat.example:443"]:
        assert ask(origin) == 200, origin
    for origin in ["https://10.0.0.5", "http://10.0.0.5:81", "http://chat.example", "https://chat.example:8443", "null"]:
        assert ask(origin) == 400, origin
    assert ask("https://own.example", "Own.Example:443") == ask("http://own.example:8380", "own.example:8380") == 200
