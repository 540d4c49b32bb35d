"""What strangers are told, what they can write into the log, and what other users of the machine can read."""

import json
import os
import pathlib
import struct
import subprocess
import time

import pytest
import requests

from siskin import BINARY, token, wait_for
from wire import PATH, Raw, WebSocket

KEY = "Authorization"


def ask(siskin, path, **headers):
    return requests.get(siskin.url + path, headers={name.replace("_", "-"): value for name, value in headers.items()}, timeout=10)


def test_ready_says_to_a_stranger_which_part_is_not_and_to_who_has_the_key_why(start_siskin, redis_server):
    redis_server.stop()
    siskin = start_siskin(WEBSOCKET_MANAGER="redis", WEBSOCKET_REDIS_URL=redis_server.url)
    where = f"127.0.0.1:{redis_server.port}"
    for headers in ({}, {KEY: "Bearer no-key-of-this-siskin"}):
        answer = ask(siskin, "/ready", **headers)
        [reason] = answer.json()["reasons"]
        assert answer.status_code == 503 and reason.startswith("Redis is not as it should be") and where not in reason
    ready, [reason] = siskin.ready()
    assert not ready and where in reason


def test_metrics_are_for_who_has_the_key_and_for_the_machine_itself(siskin, start_siskin):
    assert ask(siskin, "/metrics").text.startswith("# HELP")
    for header in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"):
        refused = ask(siskin, "/metrics", **{header: "127.0.0.1"})
        assert refused.status_code == 401 and "siskin_" not in refused.text, header
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert ask(siskin, "/metrics", **{header: "127.0.0.1", KEY: f"Bearer {siskin.api_key}"}).ok
    old = Raw(siskin)
    old.send(b"GET /metrics HTTP/1.0\r\n\r\n")
    assert old.head()[0] == 401
    for settings, status in [({"SISKIN_METRICS": "open"}, 200), ({"SISKIN_API_KEY": ""}, 403)]:
        assert ask(start_siskin(**settings), "/metrics", Via="1.1 x").status_code == status


def test_what_carries_state_is_no_caches_to_keep(siskin):
    polled = ask(siskin, PATH + "polling")
    sid = polled.json()["sid"] if polled.text.startswith("{") else polled.text.split('"')[3]
    url = f"{PATH}polling&sid={sid}"
    posted = requests.post(siskin.url + url, data="40", timeout=10)
    refused = ask(siskin, PATH + "carrier-pigeon")
    answers = [polled, posted, ask(siskin, url), refused, *(ask(siskin, path) for path in ("/health", "/ready", "/metrics", "/api/v1/status"))]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store", answer.url


def test_a_refusal_costs_the_log_one_line_however_often_it_comes(start_siskin):
    siskin = start_siskin(CORS_ALLOW_ORIGIN="https://ours.example")
    long = "https://" + "a" * 9000
    for n in range(30):
        assert ask(siskin, PATH + "polling", Origin=f"{long}{n}").status_code == 400
        bad = WebSocket(siskin)
        bad.connect()
        bad.send(bad.frame(0xC1, b"x"))
        assert bad.close_code() == 1002
        forged = WebSocket(siskin)
        forged.connect()
        forged.event("user-join", {"auth": {"token": token("mallory", secret="another-secret-of-somebody")}})
        old = Raw(siskin)
        old.send(f"GET {PATH}websocket HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        assert old.head()[0] == 400
        forged.close()
    # Another address is another matter.
    assert ask(siskin, PATH + "polling", Origin="https://b.example", X_Forwarded_For="192.0.2.7").status_code == 400
    wait_for(lambda: "192.0.2.7" in siskin.log(), what="a line")
    wait_for(lambda: siskin.metric('siskin_refused_total{reason="token"}') == 30, what="as many refused tokens")
    for matter in ("a refused origin", "a refused token", "a bad client", "a refused websocket"):
        lines = [line for line in siskin.lines if f"{matter} of 127.0.0.1: " in line or f"{matter} over HTTP/1.0 of 127.0.0.1: " in line]
        assert len(lines) == 1 and len(lines[0]) < 400, (matter, lines)


def mode(path):
    return oct(path.stat().st_mode & 0o777)


def test_what_is_stored_is_for_its_owner_alone(start_siskin, tmp_path):
    """With the umask of most systems."""
    data, before = tmp_path / "data", os.umask(0o022)
    try:
        siskin = start_siskin(data_dir=data)
        siskin.api("PUT", "/users/ann", {"name": "Ann"})
        backup, victim = tmp_path / "backup", tmp_path / "victim"
        victim.write_text("untouched")
        (tmp_path / "backup.part").symlink_to(victim)
        done = subprocess.run([BINARY, "backup", str(backup)], env=siskin.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done
        # Like /dev/stdout, /dev/null, a pipe: nothing takes their place.
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "link").symlink_to(victim)
        for other in ("pipe", "link", "data"):
            refused = subprocess.run([BINARY, "backup", str(tmp_path / other)], env=siskin.environment, capture_output=True, text=True, timeout=60)
            assert refused.returncode != 0 and "is there and is no file" in refused.stderr, refused
        assert (tmp_path / "pipe").is_fifo() and (tmp_path / "link").is_symlink()
        siskin.restart()
    finally:
        os.umask(before)
    assert victim.read_text() == "untouched" and not (tmp_path / "backup.part").is_symlink()
    assert mode(data) == "0o700"
    assert {mode(path) for path in [backup, *data.iterdir()]} == {"0o600"}
    assert "every user of this machine" not in siskin.log()


@pytest.mark.parametrize("bits, told", [(0o755, True), (0o701, True), (0o750, False)])
def test_a_folder_that_others_can_read_is_said_at_the_start(start_siskin, tmp_path, bits, told):
    tmp_path.chmod(bits)
    siskin = start_siskin(data_dir=tmp_path)
    siskin.stop()
    assert (f"every user of this machine has access to the folder {tmp_path}" in siskin.log()) == told
    # What an older version made so.
    store = pathlib.Path(tmp_path, "siskin.redb")
    store.chmod(0o644)
    siskin.start()
    # It listens before it has opened what is there.
    siskin.api("GET", "/status")
    assert mode(store) == "0o640"


@pytest.mark.parametrize("name", ["WEBUI_SECRET_KEY", "SISKIN_API_KEY"])
def test_a_secret_that_can_be_guessed_starts_nothing_but_a_trial(start_siskin, name):
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "WEBUI_SECRET_KEY": "0123456789abcdef", "SISKIN_LISTEN": "127.0.0.1:0", name: "15-bytes-of-key"}
    done = subprocess.run([BINARY, "serve"], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and name in done.stderr and "SISKIN_ALLOW_WEAK_SECRETS" in done.stderr and "15-bytes" not in done.stderr
    siskin = start_siskin(**{name: "15-bytes-of-key", "SISKIN_ALLOW_WEAK_SECRETS": "true"})
    siskin.stop()
    assert f"{name}: it has fewer than 16 bytes" in siskin.log()


def test_ids_in_tokens_are_ids(siskin):
    for id, fine in [("x" * 256, True), ("x" * 257, False), ("a\nb", False), ("\x00", False), ("a\x85", False)]:
        ws = WebSocket(siskin)
        ws.connect()
        ws.event("user-join", {"auth": {"token": token(id, name="X")}}, ack=1)
        ws.text("2")
        assert ws.close_code() == 1002 if not fine else ws.recv_text().startswith("431"), id


def test_a_machine_whose_clock_is_a_minute_ahead_makes_good_tokens(siskin):
    now = int(time.time())
    for claims, fine in [({"nbf": now + 40}, True), ({"iat": now + 40}, True), ({"nbf": now + 120}, False), ({"iat": now + 120}, False)]:
        ws = WebSocket(siskin)
        ws.connect()
        ws.event("user-join", {"auth": {"token": token("ann", **claims)}}, ack=1)
        ws.text("2")
        assert ws.close_code() == 1002 if not fine else ws.recv_text().startswith("431"), claims


def last_words(ws):
    """The code and the reason of the close frame."""
    while (frame := ws.recv())[0] != 0x88:
        pass
    return struct.unpack("!H", frame[1][:2])[0], frame[1][2:].decode()


def gone(siskin, user):
    """Why the last session of a user ended."""
    sessions = siskin.api("GET", f"/sessions?gone=true&user_id={user}").json()["sessions"]
    return sessions and sessions[0]["gone"]["why"]


def test_who_has_come_back_is_not_among_those_who_are_gone(start_siskin):
    siskin = start_siskin()

    def connected(**more):
        ws = WebSocket(siskin)
        ws.text("40" + json.dumps({"token": token("ann"), "recover": True, **more}))
        while not (text := ws.recv_text()).startswith("40"):
            pass
        return ws, json.loads(text[2:])

    ws, here = connected()
    ws.close()
    wait_for(lambda: gone(siskin, "ann"), what="its end")
    _, again = connected(pid=here["pid"])
    assert (again, gone(siskin, "ann")) == (here, [])


def test_who_was_dropped_learns_why_and_so_does_who_asks_later(start_siskin):
    siskin = start_siskin(WEBSOCKET_SERVER_PING_INTERVAL="1", WEBSOCKET_SERVER_PING_TIMEOUT="4")

    def dropped(user, end, code, why):
        ws = WebSocket(siskin, timeout=30)
        sid = ws.join(user)
        end(ws, sid)
        assert last_words(ws) == (code, why)
        assert wait_for(lambda: gone(siskin, user), what="its end") == why
        [session] = siskin.api("GET", f"/sessions?gone=true&user_id={user}").json()["sessions"]
        assert (session["sid"], session["user"]["id"], session["rooms"]) == (sid, user, [])
        assert abs(session["gone"]["at"] - time.time()) < 60

    dropped("ann", lambda ws, sid: siskin.api("DELETE", f"/sessions/{sid}"), 1000, "ended over the API")
    dropped("bob", lambda ws, sid: siskin.api("DELETE", "/users/bob/sessions"), 1000, "the user's rights have changed")
    dropped("cleo", lambda ws, sid: ws.send(ws.frame(0x81, b"4\xff")), 1007, "text that is not UTF-8")
    dropped("dora", lambda ws, sid: ws.text("42[]"), 1002, "a breach of the protocol")
    dropped("eve", lambda ws, sid: None, 1008, "no pong in time")
    # Who leaves of itself is not told why, but the code that it said.
    left = WebSocket(siskin)
    left.join("fay")
    left.send(left.frame(0x88, b"\x0f\xa0bye"))
    assert last_words(left) == (4000, "")
    assert wait_for(lambda: gone(siskin, "fay"), what="its end") == "closed by the client"
    last = WebSocket(siskin)
    last.join("gus")
    assert [session["user"]["id"] for session in siskin.api("GET", "/sessions?gone=true&limit=2").json()["sessions"]] == ["fay", "eve"]
    siskin.process.terminate()
    assert last_words(last) == (1001, "the server is going down")
