"""Rooms, sessions, users, channels and siskin itself over the HTTP API."""

import pathlib

import requests

from siskin import wait_for


def test_users_enter_and_leave_rooms(siskin, browse):
    ann, twin, bob = browse("ann"), browse("ann"), browse("bob")
    entered = siskin.api("POST", "/rooms/ops%2F1/enter", {"user_ids": ["ann", "nobody"]}).json()
    assert entered == {"room": "ops/1", "sessions": 2}
    room = siskin.api("GET", "/rooms/ops%2F1").json()
    assert room["users"] == [{"id": "ann", "name": "ann", "role": "user"}]
    assert room["sessions"] == sorted([ann.sid, twin.sid])
    assert {"room": "ops/1", "sessions": 2} in siskin.api("GET", "/rooms").json()["rooms"]
    assert siskin.api("POST", "/emit", {"room": "ops/1", "event": "x"}).json() == {"delivered": 2}
    left = siskin.api("POST", "/rooms/ops%2F1/leave", {"user_ids": ["ann", "bob"]}).json()
    assert left["sessions"] == 0
    siskin.api("POST", "/rooms/ops%2F1/enter", {"user_ids": ["bob"]})
    assert siskin.api("DELETE", "/rooms/ops%2F1").status_code == 204
    assert siskin.api("GET", "/rooms/ops%2F1").json() == {"room": "ops/1", "sessions": [], "users": []}
    bob.silent()


def test_rooms_are_listed_page_by_page(siskin, browse):
    browse("ann")
    for room in ("b", "a", "c:2", "c:1"):
        siskin.api("POST", f"/rooms/{room}/enter", {"user_ids": ["ann"]})

    def listed(query):
        answer = siskin.api("GET", f"/rooms{query}").json()
        return answer["total"], [room["room"] for room in answer["rooms"]]

    assert listed("") == (5, ["a", "b", "c:1", "c:2", "user:ann"])
    assert listed("?limit=2") == (5, ["a", "b"])
    assert listed("?limit=2&after=b") == (5, ["c:1", "c:2"])
    assert listed("?prefix=c:&after=c:1") == (2, ["c:2"])
    assert listed("?prefix=nothing") == (0, [])


def test_rooms_that_say_who_somebody_is_stay(siskin, browse):
    ann = browse("ann")
    for room in ("user:bob", ann.sid):
        for what in ("enter", "leave"):
            answer = siskin.api("POST", f"/rooms/{room}/{what}", {"user_ids": ["ann"]}, ok=False)
            assert answer.status_code == 409
        assert siskin.api("DELETE", f"/rooms/{room}", ok=False).status_code == 409
    for ids in ([], "ann", [1], [""], ["a"] * 1001):
        answer = siskin.api("POST", "/rooms/r/enter", {"user_ids": ids}, ok=False)
        assert answer.status_code == 422, ids


def test_sessions_are_listed_shown_and_ended(siskin, browse):
    ann, bob, anonymous = browse("ann"), browse("bob"), browse(None)
    listed = siskin.api("GET", "/sessions").json()
    assert listed["total"] == 3
    sids = [session["sid"] for session in listed["sessions"]]
    assert sids == sorted([ann.sid, bob.sid, anonymous.sid])
    page = siskin.api("GET", f"/sessions?limit=1&after={sids[0]}").json()
    assert [session["sid"] for session in page["sessions"]] == sids[1:2]
    mine = siskin.api("GET", "/sessions?user_id=ann").json()["sessions"]
    assert [session["sid"] for session in mine] == [ann.sid]
    shown = siskin.api("GET", f"/sessions/{ann.sid}").json()
    assert shown["user"] == {"id": "ann", "name": "ann", "role": "user"}
    assert shown["rooms"] == ["user:ann"] and shown["address"] == "127.0.0.1" and shown["last_seen_at"] > 1.7e9
    nobody = siskin.api("GET", f"/sessions/{anonymous.sid}").json()
    assert (nobody["user"], nobody["last_seen_at"], nobody["rooms"]) == (None, None, [])
    assert siskin.api("DELETE", f"/sessions/{ann.sid}").status_code == 204
    wait_for(lambda: not ann.io.connected, what="disconnect")
    for method in ("GET", "DELETE"):
        for sid in (ann.sid or "A" * 20, "A" * 20, "nonsense"):
            assert siskin.api(method, f"/sessions/{sid}", ok=False).status_code == 404
    assert bob.io.connected


def test_all_sessions_of_a_user_end(siskin, browse):
    ann, twin, bob = browse("ann"), browse("ann"), browse("bob")
    assert siskin.api("DELETE", "/users/ann/sessions").json() == {"disconnected": 2}
    for browser in (ann, twin):
        assert browser.next() == ("access:updated", {})
        wait_for(lambda: not browser.io.connected, what="disconnect")
    assert bob.io.connected
    assert siskin.api("DELETE", "/users/ann/sessions").json() == {"disconnected": 0}


def test_users_come_change_and_go(start_siskin, browse):
    siskin = start_siskin(SISKIN_TRUST_TOKEN_CLAIMS="false")
    made = siskin.api("PUT", "/users/ann", {"name": "Ann", "role": "user", "bio": "b", "extra": {"x": 1}})
    assert made.status_code == 201 and made.json()["extra"] == {"x": 1}
    assert siskin.api("GET", "/users/ann").json() == made.json()
    assert siskin.api("PUT", "/users/bob", {}).json()["name"] == "bob"
    assert [user["id"] for user in siskin.api("GET", "/users").json()["users"]] == ["ann", "bob"]
    assert [user["id"] for user in siskin.api("GET", "/users?after=ann&limit=5").json()["users"]] == ["bob"]
    ann = browse("ann", at=siskin)
    assert siskin.api("GET", f"/sessions/{ann.sid}").json()["user"]["name"] == "Ann"
    changed = siskin.api("PUT", "/users/ann", {"name": "Ann", "role": "admin"})
    assert changed.status_code == 200 and "extra" not in changed.json()
    assert ann.next() == ("access:updated", {})
    wait_for(lambda: not ann.io.connected, what="disconnect")
    again = browse("ann", at=siskin)
    assert siskin.api("GET", f"/sessions/{again.sid}").json()["user"]["role"] == "admin"
    siskin.restart()
    assert siskin.api("GET", "/users/ann").json()["role"] == "admin"
    last = browse("ann", at=siskin)
    assert siskin.api("DELETE", "/users/ann").status_code == 204
    wait_for(lambda: not last.io.connected, what="disconnect")
    assert siskin.api("DELETE", "/users/ann", ok=False).status_code == 404
    assert siskin.api("GET", "/users/ann", ok=False).status_code == 404
    for body in ({"role": "king"}, {"role": 1}, {"name": 1}):
        assert siskin.api("PUT", "/users/ann", body, ok=False).status_code == 422, body


def test_sessions_follow_the_members_of_a_channel(siskin, browse):
    ann, bob = browse("ann"), browse("bob")
    made = siskin.api("PUT", "/channels/c1", {"name": "One", "members": ["ann"]})
    assert made.status_code == 201 and "members" not in made.json()

    def hear(event):
        return siskin.api("POST", "/emit", {"room": "channel:c1", "event": event}).json()["delivered"]

    assert hear("a") == 1 and ann.next() == ("a",)
    assert siskin.api("PUT", "/channels/c1/members/bob").status_code == 204
    assert hear("b") == 2 and (ann.next(), bob.next()) == (("b",), ("b",))
    assert siskin.api("PUT", "/channels/c1", {"name": "Two", "members": ["bob"]}).status_code == 200
    assert hear("c") == 1 and bob.next() == ("c",)
    assert [member["user_id"] for member in siskin.api("GET", "/channels/c1/members").json()["members"]] == ["bob"]
    assert siskin.api("PUT", "/channels/c1", {"name": "Three"}).json()["name"] == "Three"
    assert hear("d") == 1 and bob.next() == ("d",)
    assert siskin.api("DELETE", "/channels/c1/members/bob").status_code == 204
    assert siskin.api("DELETE", "/channels/c1/members/bob", ok=False).status_code == 404
    assert hear("e") == 0
    siskin.api("PUT", "/channels/c1/members/ann")
    late = browse("ann", join=True)
    assert hear("f") == 2 and (late.next(), ann.next()) == (("f",), ("f",))
    assert [channel["id"] for channel in siskin.api("GET", "/channels").json()["channels"]] == ["c1"]
    assert siskin.api("DELETE", "/channels/c1").status_code == 204
    assert hear("g") == 0
    for path in ("/channels/c1", "/channels/c1/members"):
        assert siskin.api("GET", path, ok=False).status_code == 404
    assert siskin.api("PUT", "/channels/c1/members/ann", ok=False).status_code == 404
    for members in ("ann", [1], [""], ["a"] * 1001):
        assert siskin.api("PUT", "/channels/c2", {"members": members}, ok=False).status_code == 422
    assert siskin.api("GET", "/channels/c2", ok=False).status_code == 404
    ann.silent(), bob.silent()


def test_what_a_backend_may_name_a_client_may_use(siskin, browse):
    ann = browse("ann")
    for character in ("ä", "🦜"):
        name, over = character * 256, character * 257
        siskin.api("PUT", f"/channels/{name}", {"members": ["ann"]})
        typing = {"type": "typing", "data": {"typing": True}}
        ann.io.emit("events:channel", {"channel_id": name, "data": typing})
        came, payload = ann.next()
        assert (came, payload["channel_id"]) == ("events:channel", name)

        siskin.api("PUT", f"/chats/{name}", {"user_id": "ann"})
        siskin.api("PUT", f"/chats/{name}/messages/{name}", {"role": "assistant", "content": ""})
        assert ann.io.call("events:chat", {"chat_id": name, "data": {"type": "join"}}, timeout=10) is True
        assert ann.next()[1]["chat_id"] == name
        message = {"user_id": "ann", "chat_id": name, "message_id": name, "event": {"type": "message", "data": {"content": "x"}}}
        assert siskin.api("POST", "/chat/event", message).json() == {"delivered": 1, "saved": "yes"}
        assert ann.next()[1]["message_id"] == name

        siskin.api("PUT", f"/notes/{name}", {"user_id": "ann", "title": "T"})
        ann.io.emit("join-note", {"auth": {"token": siskin.token("ann")}, "note_id": name})
        ann.io.emit("ydoc:document:join", {"document_id": f"note:{name}"})
        came, payload = ann.next()
        assert (came, payload["document_id"]) == ("ydoc:document:state", f"note:{name}")
        changed = siskin.api("PATCH", f"/notes/{name}", {"title": "U"}).json()
        assert ann.next() == ("events:note", changed)

        for kind, body in (("channels", {}), ("chats", {"user_id": "ann"}), ("notes", {"user_id": "ann"})):
            assert siskin.api("PUT", f"/{kind}/{over}", body, ok=False).status_code == 422
        answers = []
        ann.io.emit("events:channel", {"channel_id": over, "data": typing})
        ann.io.emit("events:chat", {"chat_id": over, "data": {"type": "join"}}, callback=answers.append)
        ann.io.emit("join-note", {"auth": {"token": siskin.token("ann")}, "note_id": over})
        ann.io.emit("ydoc:document:join", {"document_id": f"note:{over}"})
        # What is refused is not answered; what comes after it is.
        assert ann.io.call("events:chat", {"chat_id": "none", "data": {"type": "join"}}, timeout=10) is False
        assert answers == []
        # But for a document's: its editor would wait.
        assert ann.next() == ("error", {"message": "An event of a document is not understood"})
        ann.silent()


def test_models_in_use_are_listed(siskin, browse):
    ann = browse("ann")
    assert siskin.api("GET", "/models").json() == {"models": []}
    ann.io.emit("usage", {"model": "m1"})
    wait_for(lambda: siskin.api("GET", "/models").json() == {"models": ["m1"]}, what="model")
    wait_for(lambda: siskin.api("GET", "/models").json() == {"models": []}, seconds=20, what="end of use")


def test_status_and_log_tell_how_it_is(siskin, browse):
    ann = browse("ann")
    status = siskin.api("GET", "/status").json()
    assert status["sessions"] == {"websocket": 1, "polling": 0, "signed_in": 1}
    assert status["directory"] == "local" and status["redis"] == "off" and status["degraded"] == []
    assert status["resident_bytes"] > 1e6 and status["totals"]["packets_in"] > 0
    lines = siskin.api("GET", "/log").json()["lines"]
    # On a busy machine a line about a long turn may follow.
    listens = [line for line in lines if "listens on" in line["text"]]
    assert [line["level"] for line in listens] == ["info"]
    assert siskin.api("GET", f"/log?after={lines[-1]['number']}").json() == {"lines": []}
    assert siskin.api("GET", "/log?after=-1", ok=False).status_code == 422
    assert ann.io.connected


def test_a_backup_is_a_store(siskin, start_siskin, tmp_path):
    siskin.api("PUT", "/users/ann", {"name": "Ann"})
    answer = siskin.api("GET", "/backup")
    assert answer.headers["content-type"] == "application/octet-stream"
    (tmp_path / "siskin.redb").write_bytes(answer.content)
    restored = start_siskin(data_dir=tmp_path)
    assert restored.api("GET", "/users/ann").json()["name"] == "Ann"
    assert [path.name for path in pathlib.Path(siskin.data_dir).iterdir() if "part" in path.name] == []


def test_the_last_ten_versions_of_a_note_are_listed_and_restored(siskin, browse):
    for number in range(15):
        note = {"user_id": "ann", "title": f"T{number}", "data": {"content": {"md": f"text {number}"}}}
        siskin.api("PUT", "/notes/n", note)
    versions = siskin.api("GET", "/notes/n/versions").json()["versions"]
    assert [version["data"]["content"]["md"] for version in versions] == [f"text {number}" for number in range(4, 14)]
    ann = browse("ann")
    ann.io.emit("join-note", {"auth": {"token": siskin.token("ann")}, "note_id": "n"})
    ann.io.call("heartbeat", {}, timeout=10)
    number = versions[3]["version"]
    restored = siskin.api("POST", f"/notes/n/versions/{number}/restore").json()
    assert (restored["title"], restored["data"]["content"]["md"]) == ("T7", "text 7")
    assert ann.next() == ("events:note", restored)
    siskin.kill()
    siskin.start()
    assert siskin.api("GET", "/notes/n").json() == restored
    # What was there before the restore is a version itself.
    versions = siskin.api("GET", "/notes/n/versions").json()["versions"]
    assert len(versions) == 10 and versions[-1]["data"]["content"]["md"] == "text 14"
    for missing in ("0", "99999", "x"):
        assert siskin.api("POST", f"/notes/n/versions/{missing}/restore", ok=False).status_code == 404
    assert siskin.api("GET", "/notes/n").json() == restored


def test_without_the_key_nothing_is_told(siskin):
    for headers, challenge in (
        ({}, "Bearer"),
        ({"Authorization": "Basic dXNlcjpwYXNz"}, "Bearer"),
        ({"Authorization": "Bearer"}, "Bearer"),
        ({"Authorization": "Bearer wrong"}, 'Bearer error="invalid_token"'),
        ({"Authorization": f"Bearer {siskin.api_key}x"}, 'Bearer error="invalid_token"'),
        ({"Authorization": f"Bearer {siskin.api_key[:-1]}"}, 'Bearer error="invalid_token"'),
    ):
        for method, path in (("GET", "/status"), ("POST", "/emit"), ("GET", "/no/such/path"), ("PATCH", "/emit")):
            answer = requests.request(method, f"{siskin.url}/api/v1{path}", headers=headers, timeout=10)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, challenge), (headers, path)
            assert answer.headers["content-type"] == "application/problem+json"
    assert siskin.metric('siskin_refused_total{reason="API key"}') == 12
    right = requests.get(f"{siskin.url}/api/v1/models", headers={"Authorization": f"bEARER {siskin.api_key}"}, timeout=10)
    assert right.status_code == 200
    assert siskin.api_key not in siskin.log()


def test_without_a_key_set_the_api_is_off(start_siskin):
    siskin = start_siskin(SISKIN_API_KEY="")
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer x"}):
        answer = requests.get(f"{siskin.url}/api/v1/models", headers=headers, timeout=10)
        assert answer.status_code == 403 and "SISKIN_API_KEY" in answer.json()["detail"]


def test_what_is_no_request_gets_a_problem(siskin):
    def problem(method, path, status, **more):
        answer = siskin.api(method, path, ok=False, **more)
        assert answer.status_code == status, answer.text
        assert answer.json()["status"] == status
        return answer

    assert problem("DELETE", "/emit", 405).headers["allow"] == "POST"
    assert problem("POST", "/users/ann", 405).headers["allow"] == "GET, PUT, DELETE"
    for path in ("/", "/nothing", "/emit/", "/users//sessions", "/rooms/a/b/c"):
        problem("GET", path, 404)
    for path in ("/rooms/%ff", "/rooms/a%00", "/rooms/" + "x" * 257):
        problem("GET", path, 422)
    for body, status in ((b"", 400), (b"{", 400), (b"\xff", 400), (b'{"a":1}{', 400), (b"[]", 422), (b"1", 422), (b"{}", 422)):
        problem("POST", "/emit", status, data=body, headers={"Content-Type": "application/json"})
    problem("POST", "/emit", 422, data=b'{"event":"x","room":"r","data":' + b"[" * 600 + b"]" * 600 + b"}")
    problem("POST", "/emit", 415, data=b"event=x", headers={"Content-Type": "application/x-www-form-urlencoded"})
    problem("POST", "/chat/stream?user_id=a&chat_id=c", 415, data=b"{}", headers={"Content-Type": "application/json"})
    problem("GET", "/status?x=1", 422)
    told = problem("POST", "/emit", 422, json={"event": "x", "room": "r", "typo": 1}).json()["detail"]
    assert "unknown field `typo`" in told


def test_the_description_needs_no_key_and_names_every_route(siskin):
    document = requests.get(f"{siskin.url}/api/v1/openapi.json", timeout=10).json()
    assert document["openapi"] == "3.1.0"
    assert {"/api/v1/emit", "/api/v1/chat/stream", "/api/v1/users/{user_id}"} <= set(document["paths"])


def test_the_description_is_sent_packed_and_not_twice(siskin):
    def ask(**headers):
        return requests.get(f"{siskin.url}/api/v1/openapi.json", headers={"Accept-Encoding": "identity", **headers}, timeout=10)

    plain, packed = ask(), ask(**{"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers and packed.headers["content-encoding"] == "gzip"
    assert plain.json() == packed.json() and int(packed.headers["content-length"]) < len(plain.content) / 5
    for answer in (plain, packed):
        assert (answer.headers["cache-control"], answer.headers["vary"]) == ("no-cache", "Accept-Encoding")
        assert answer.headers["content-type"] == "application/json"
    tag = plain.headers["etag"]
    known = ask(**{"If-None-Match": tag})
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tag)
    assert requests.head(f"{siskin.url}/api/v1/openapi.json", headers={"Authorization": f"Bearer {siskin.api_key}"}, timeout=10).status_code == 405
    assert siskin.api("GET", "/openapi.json?x=1", ok=False).status_code == 422


def lists_with_a_limit(schemas, name, schema, place=()):
    """Where a request's schema limits a list, and to how many; under the names of `schemas`."""
    if isinstance(schema, list):
        for part in schema:
            yield from lists_with_a_limit(schemas, name, part, place)
    elif isinstance(schema, dict):
        if "maxItems" in schema:
            yield (name, *place), schema["maxItems"]
        if "$ref" in schema:
            yield from lists_with_a_limit(schemas, name, schemas[schema["$ref"].rpartition("/")[2]], place)
        for key, part in schema.get("properties", {}).items():
            yield from lists_with_a_limit(schemas, name, part, (*place, key))
        for key in ("anyOf", "items"):
            yield from lists_with_a_limit(schemas, name, schema.get(key), place)


def test_every_list_of_a_request_has_the_limit_of_its_schema(siskin):
    document = requests.get(f"{siskin.url}/api/v1/openapi.json", timeout=10).json()
    schemas, bodies = document["components"]["schemas"], set()
    for path in document["paths"].values():
        for operation in path.values():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            bodies |= {content["schema"]["$ref"].rpartition("/")[2]} if content else set()
    limits = {where: most for name in bodies for where, most in lists_with_a_limit(schemas, name, schemas[name])}
    ids = lambda count: [f"u{number}" for number in range(count)]
    grants = lambda count: [{"principal_type": "user", "principal_id": name, "permission": "read"} for name in ids(count)]
    note = {"user_id": "ann"}
    siskin.api("PUT", "/notes/n", note)
    asked = {
        ("Emit", "skip_sid"): lambda n: ("POST", "/emit", {"event": "x", "room": "r", "skip_sid": ids(n)}),
        ("UserIds", "user_ids"): lambda n: ("POST", "/rooms/r/enter", {"user_ids": ids(n)}),
        ("PutChannel", "members"): lambda n: ("PUT", "/channels/c", {"members": ids(n)}),
        ("PutNote", "access_grants"): lambda n: ("PUT", "/notes/m", {**note, "access_grants": grants(n)}),
        ("PatchNote", "access_grants"): lambda n: ("PATCH", "/notes/n", {"access_grants": grants(n)}),
        ("PutChat", "access_grants"): lambda n: ("PUT", "/chats/c", {**note, "access_grants": grants(n)}),
    }
    assert set(limits) == set(asked)
    for where, request in asked.items():
        assert siskin.api(*request(limits[where] + 1), ok=False).status_code == 422, where
        assert siskin.api(*request(limits[where])).ok, where
    for path in ("/rooms/r/enter", "/rooms/r/leave"):
        assert siskin.api("POST", path, {"user_ids": []}, ok=False).status_code == 422
    assert siskin.api("POST", "/emit", {"event": "x", "room": "r", "skip_sid": []}).ok
