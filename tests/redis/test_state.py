"""What instances share: session pool, usage pool, presence, revoked tokens, as Open WebUI's processes see it."""

import time

import requests
from shared import eventually
from siskin import token, wait_for
from wire import WebSocket


def sids(reference):
    return set(reference.pool("session_pool"))


def test_an_entry_lives_as_long_as_its_socket(start, reference):
    siskin = start()
    ann, bob = WebSocket(siskin), WebSocket(siskin)
    a, b = ann.join("ann"), bob.join("bob")
    WebSocket(siskin).connect()
    eventually(lambda: sids(reference), {a, b})
    entry = reference.get("session_pool", a)
    assert entry["id"] == "ann" and entry["name"] == "ann" and entry["role"] == "user" and entry["chat_ids"] == []
    assert abs(entry["last_seen_at"] - time.time()) < 10
    assert not entry.keys() & {"profile_image_url", "profile_banner_image_url", "date_of_birth", "bio", "gender"}
    bob.close()
    eventually(lambda: sids(reference), {a})
    siskin.stop()
    assert sids(reference) == set()
    assert reference.redis.keys("*lock*") == []


def test_heartbeats_cost_redis_a_pipeline_a_second(start, reference):
    siskin = start()
    sockets = [WebSocket(siskin, timeout=30) for _ in range(1200)]
    for number, socket in enumerate(sockets):
        socket.connect(f"user-{number % 400}")
    wait_for(lambda: reference.redis.hlen(reference.key("session_pool")) == len(sockets), what="all entries")
    before = {sid: entry["last_seen_at"] for sid, entry in reference.pool("session_pool").items()}
    # Seconds count: a heartbeat from now on is a later one.
    wait_for(lambda: time.time() >= max(before.values()) + 1, what="the next second")
    reference.redis.config_resetstat()
    began = time.monotonic()
    for number, socket in enumerate(sockets):
        socket.event("heartbeat", {})
        if number % 8 == 0:
            time.sleep(0.04)
    seconds = time.monotonic() - began
    stats = reference.redis.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): row["calls"] for name, row in stats.items()}
    print(f"{len(sockets)} heartbeats in {seconds:.1f} s: {calls}")
    # Entries go in commands of 500.
    assert calls["hset"] <= seconds + 2 + len(sockets) // 500, calls
    assert sum(calls.values()) < 3 * seconds + 20, calls

    def all_seen():
        return all(entry["last_seen_at"] > before[sid] for sid, entry in reference.pool("session_pool").items())

    wait_for(all_seen, what="all heartbeats in Redis")


def test_redis_comes_back_empty_and_is_filled(start, redis_server, reference):
    siskin = start()
    sockets = [WebSocket(siskin) for _ in range(30)]
    sid_of = {socket: socket.join("ann") for socket in sockets}
    here = set(sid_of.values())
    eventually(lambda: sids(reference), here)
    redis_server.stop()
    for socket in sockets[:10]:
        here.discard(sid_of[socket])
        socket.close()
    late = WebSocket(siskin)
    here.add(late.join("bob"))
    late.event("usage", {"model": "m"})
    redis_server.start()
    eventually(lambda: sids(reference), here, seconds=40)
    wait_for(lambda: "Redis is back: 21 session entries" in siskin.log(), what="one line in the log")
    assert siskin.log().count("session entries and") == 1
    sockets[10].event("heartbeat", {})
    sockets[10].close()
    here.discard(sid_of[sockets[10]])
    eventually(lambda: sids(reference), here)


def test_the_usage_pool_is_everybodys(start, reference):
    siskin = start()
    ann, bob = WebSocket(siskin), WebSocket(siskin)
    a, b = ann.join("ann"), bob.join("bob")
    foreign = "f" * 20
    reference.use(foreign, "shared", at=time.time() + 60)
    for socket in (ann, bob):
        socket.event("usage", {"model": "shared"})
    ann.event("usage", {"model": "own"})
    eventually(lambda: set(reference.get("usage_pool", "shared")), {a, b, foreign})
    assert list(reference.get("usage_pool", "shared")[a]) == ["updated_at"]
    eventually(lambda: siskin.api("GET", "/models").json()["models"], ["own", "shared"])
    # It leaves no entry behind.
    bob.close()
    eventually(lambda: set(reference.get("usage_pool", "shared") or ()) - {a}, {foreign})
    # Nobody renews: what is old goes, what another process wrote stays as long as it is not.
    reference.use(foreign, "forgotten", at=time.time() - 60)
    eventually(lambda: {model: set(used) for model, used in reference.pool("usage_pool").items()}, {"shared": {foreign}})
    assert reference.redis.exists(reference.key("usage_cleanup_lock"))


def test_sweeping_costs_redis_a_command_each_time(start, reference):
    """The lock is renewed as long as it is held, but not for each sweep."""
    reference.take("session_cleanup_lock")
    start(WEBSOCKET_REDIS_LOCK_TIMEOUT=13)
    lock = reference.key("usage_cleanup_lock")
    owner = wait_for(lambda: reference.redis.get(lock), what="the lock")
    reference.redis.config_resetstat()
    calls = lambda command: reference.redis.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"]  # noqa: E731
    wait_for(lambda: calls("hscan") >= 6, 60, "sweeps")
    assert reference.redis.get(lock) == owner, "held for longer than it lives"
    assert 1 <= calls("pexpire") <= calls("hscan") / 2 + 1, reference.redis.info("commandstats")


def test_lost_sessions_are_reaped_by_one_and_everybody_sees_it(start, redis_server, reference):
    dead = [f"dead{number:016}" for number in range(450)]
    for sid in dead:
        reference.sign_in(sid, "zoe", ["c"], ago=500)
        reference.add_user("board", sid)
    reference.append("board", b"\x00\x00")
    reference.sign_in("l" * 20, "living", ["c"], ago=60)
    siskin = start()
    siskin.api("PUT", "/chats/c", {"user_id": "ann", "title": "c", "chat": {}})
    ann = WebSocket(siskin)
    a = ann.join("ann")
    eventually(lambda: sids(reference), {a, "l" * 20})
    eventually(lambda: reference.redis.keys(reference.key("ydoc:*")), [])
    assert reference.redis.exists(reference.key("session_cleanup_lock"))
    # Another instance does not do the same.
    other = start()
    wait_for(lambda: requests.get(f"{other.url}/ready", timeout=5).json()["ready"], what="readiness")
    wait_for(lambda: "450 sessions" in siskin.log() or siskin.log().count("are reaped") > 1, what="what was reaped, in the log")
    assert "reaped" not in other.log()


def presence(socket):
    """The next presence event's users."""
    while True:
        name, event = socket.recv_event()
        if name == "events" and event["data"]["type"] == "chat:presence":
            return [user["id"] for user in event["data"]["data"]["users"]]


def test_presence_counts_over_all_instances(start, reference):
    siskin = start()
    siskin.api("PUT", "/chats/c", {"user_id": "ann", "title": "c", "chat": {}})
    for number in range(300):
        reference.sign_in(f"elsewhere{number:011}", f"user-{number}", ["x"] if number % 2 else None)
    reference.sign_in("a" * 20, "zoe", ["x", "c"])
    reference.sign_in("b" * 20, "abe", ["c"])
    reference.sign_in("c" * 20, "lost", ["c"], ago=119)
    reference.sign_in("d" * 20, "stale", ["c"], ago=121)
    ann = WebSocket(siskin)
    a = ann.join("ann")
    ann.event("events:chat", {"chat_id": "c", "data": {"type": "join"}}, ack=1)
    # While she comes in she may already be told who else is there.
    wait_for(lambda: presence(ann) == ["abe", "ann", "lost", "zoe"], what="presence of all")
    # Whoever is asked next finds us.
    assert reference.get("session_pool", a)["chat_ids"] == ["c"]
    eventually(lambda: reference.redis.keys(reference.key("chat:*")), [])
    assert siskin.api("DELETE", f"/sessions/{'a' * 20}").ok
    assert siskin.api("DELETE", f"/sessions/{'z' * 20}", ok=False).status_code == 404


def test_a_token_that_was_good_is_refused_once_it_is_revoked(start, reference):
    siskin = start()
    good, fresh = (token("ann", jti=jti, iat=int(time.time())) for jti in ("later", "never"))
    socket = WebSocket(siskin)
    socket.connect()

    def join(shown, ack):
        socket.event("user-join", {"auth": {"token": shown}}, ack=ack)

    def answered():
        """The next answer's ack."""
        while not (text := socket.recv_text()).startswith("43"):
            pass
        return text[2]

    for ack in (1, 2):
        join(good, ack)
        assert answered() == str(ack)
    reference.redis.set(reference.key("auth:token:later:revoked"), "1", ex=600)
    # Who is refused gets no answer.
    join(good, 3)
    join(fresh, 4)
    assert answered() == "4"
    socket.close()


def test_revoked_tokens_are_no_good(start, redis_server, reference):
    siskin = start()
    now = int(time.time())
    reference.redis.set(reference.key("auth:token:gone:revoked"), "1", ex=600)
    reference.redis.set(reference.key("auth:user:cleo:revoked_at"), str(now - 10))
    cases = [
        (token("ann", jti="gone", iat=now), False),
        (token("ann", jti="fine", iat=now), True),
        (token("cleo", jti="old", iat=now - 10), False),
        (token("cleo", jti="older"), False),
        (token("cleo", jti="new", iat=now - 9), True),
    ]
    for shown, accepted in cases:
        socket = WebSocket(siskin)
        socket.connect()
        socket.event("user-join", {"auth": {"token": shown}}, ack=0)
        socket.event("ydoc:document:join", {"document_id": "d"}, ack=1)
        if accepted:
            assert socket.recv_event()[0] == "ydoc:document:state"
        socket.close()
    eventually(lambda: sids(reference), set())
    redis_server.stop()
    socket = WebSocket(siskin)
    socket.connect()
    socket.event("user-join", {"auth": {"token": cases[0][0]}}, ack=0)
    while not (text := socket.recv_text()).startswith("430"):
        pass
    wait_for(lambda: "revoked tokens can't be looked up" in siskin.log(), what="a log line")
    redis_server.start()
    reference.redis.set(reference.key("auth:token:gone:revoked"), "1", ex=600)
    # The check that comes every 30 seconds.
    socket.socket.settimeout(45)
    assert socket.recv_text() == "41"
