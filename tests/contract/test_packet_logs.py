"""The two logs of packets: each by its own setting, whatever SISKIN_LOG is, and nothing of what is in them."""

import socketio

from siskin import has_token
from wire import WebSocket

PATIENCE = 15


def play(siskin):
    token = siskin.token("ann")
    client = socketio.SimpleClient()
    client.connect(siskin.url, auth={"token": token}, socketio_path="/ws/socket.io", transports=["websocket"])
    # What is answered after it tells that it came.
    client.emit("invented", {"bytes": b"\x00\x01\x02"})
    assert client.call("user-join", {"auth": {"token": token}, "secret": "hunter2"}, timeout=PATIENCE)
    siskin.api("POST", "/emit", {"user_id": "ann", "event": "told", "data": {"secret": "hunter2"}})
    assert client.receive(PATIENCE)[0] == "told"
    client.disconnect()
    siskin.stop()
    lines = siskin.lines
    assert not [line for line in lines if has_token(line) or "hunter2" in line]
    return lines


def says(lines, what):
    return [line for line in lines if what in line]


def test_socketio_packets(start_siskin):
    lines = play(start_siskin(WEBSOCKET_SERVER_LOGGING="true", SISKIN_LOG="warn"))
    for what in ["received CONNECT in /", "sent CONNECT in /", 'received EVENT 1 "user-join" in /', "sent ACK in /"]:
        assert len(says(lines, what)) == 1, (what, lines)
    assert says(lines, '"invented"')[0].endswith("and 1 attachments")
    assert says(lines, 'sent EVENT "told" to "user:ann" in /: 1 sockets')
    assert all(" DEBUG Socket.IO " in line or " WARN " in line for line in lines), lines


def test_engineio_packets(start_siskin):
    lines = play(start_siskin(WEBSOCKET_SERVER_ENGINEIO_LOGGING="true", SISKIN_LOG="warn"))
    assert says(lines, "sent open, ") and says(lines, "received message, ") and says(lines, "sent message, ")
    assert says(lines, "received binary message, 3 bytes")
    assert all(" DEBUG Engine.IO " in line or " WARN " in line for line in lines), lines


def test_neither_unless_asked_for(start_siskin):
    lines = play(start_siskin(SISKIN_LOG="trace"))
    assert not says(lines, "Engine.IO ") and not says(lines, "Socket.IO ")


def test_a_namespace_is_bounded_and_on_one_line(start_siskin):
    siskin = start_siskin(WEBSOCKET_SERVER_LOGGING="true", SISKIN_LOG="warn")
    ws = WebSocket(siskin)
    assert ws.recv_text().startswith("0{")
    ws.text("40/\n2026 FORGED\x1b[31m" + "x" * 100 + ",")
    assert ws.recv_text().startswith("44/")
    ws.close()
    siskin.stop()
    (received,), (sent,) = (says(siskin.lines, f"{way} CONNECT") for way in ["received", "sent"])
    for line in (received, sent):
        assert r"/\n2026 FORGED\u{1b}[31m" in line and "xxx…" in line and len(line) < 300, line
