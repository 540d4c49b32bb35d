"""What Open WebUI's processes do to the state in Redis, with the same commands in the same order."""

import contextlib
import json
import time
import uuid

from redis import Redis
from redis.lock import Lock
from siskin import wait_for

PREFIX = "open-webui"
LOCK_TIMEOUT = 60


class Reference:
    """A process of Open WebUI, as far as its state goes."""

    def __init__(self, url=None, prefix=PREFIX, redis=None):
        self.redis = redis or Redis.from_url(url, decode_responses=True)
        self.prefix = prefix

    def key(self, rest):
        return f"{self.prefix}:{rest}"

    def close(self):
        self.redis.close()

    # Pools: one JSON value a field.

    def pool(self, name):
        return {field: json.loads(value) for field, value in self.redis.hscan_iter(self.key(name), count=200)}

    def get(self, name, field):
        value = self.redis.hget(self.key(name), field)
        return None if value is None else json.loads(value)

    def put(self, name, field, value):
        self.redis.hset(self.key(name), field, json.dumps(value))

    def sign_in(self, sid, user, chat_ids=None, ago=0):
        """A session of another process."""
        entry = {"id": user, "name": user, "role": "user", "last_seen_at": int(time.time()) - ago}
        self.put("session_pool", sid, entry if chat_ids is None else {**entry, "chat_ids": chat_ids})

    def use(self, sid, model, at=None):
        used = self.get("usage_pool", model) or {}
        self.put("usage_pool", model, {**used, sid: {"updated_at": int(at or time.time())}})

    # Locks: a uuid with a time to live.

    def take(self, name):
        token = str(uuid.uuid4())
        return token if self.redis.set(self.key(name), token, nx=True, ex=LOCK_TIMEOUT) else None

    # Documents.

    def document(self, id, what):
        return self.key(f"ydoc:documents:{id}:{what}")

    @contextlib.contextmanager
    def lock(self, id):
        name = self.document(id, "lock")
        with Lock(self.redis, name, timeout=LOCK_TIMEOUT, blocking_timeout=LOCK_TIMEOUT):
            yield

    def add_user(self, id, sid):
        self.redis.sadd(self.document(id, "users"), sid)
        self.redis.sadd(self.key(f"ydoc:documents:session:{sid}:documents"), id)

    def remove_user(self, id, sid):
        self.redis.srem(self.document(id, "users"), sid)
        self.redis.srem(self.key(f"ydoc:documents:session:{sid}:documents"), id)

    def append(self, id, update):
        size = len(update)
        if self.redis.incrby(self.document(id, "size"), size) > 2 << 20:
            self.redis.decrby(self.document(id, "size"), size)
            return False
        self.redis.rpush(self.document(id, "updates"), json.dumps(list(update)))
        return True

    def updates(self, id):
        return [bytes(json.loads(update)) for update in self.redis.lrange(self.document(id, "updates"), 0, -1)]

    def users(self, id):
        return self.redis.smembers(self.document(id, "users"))

    def size(self, id):
        return int(self.redis.get(self.document(id, "size")) or 0)

    # Tasks.

    def create_task(self, item):
        id = str(uuid.uuid4())
        pipe = self.redis.pipeline(transaction=False)
        pipe.set(self.key(f"tasks:{id}"), "1", ex=300)
        pipe.hset(self.key("tasks"), id, item)
        pipe.sadd(self.key(f"tasks:item:{item}"), id)
        pipe.execute()
        return id

    def end_task(self, id, item):
        pipe = self.redis.pipeline(transaction=False)
        pipe.delete(self.key(f"tasks:{id}"))
        pipe.hdel(self.key("tasks"), id)
        pipe.srem(self.key(f"tasks:item:{item}"), id)
        pipe.execute()

    def tasks(self, item):
        known = self.redis.smembers(self.key(f"tasks:item:{item}"))
        return {id for id in known if self.redis.exists(self.key(f"tasks:{id}"))}

    def stop_tasks(self, item):
        for id in self.tasks(item):
            self.redis.publish(self.key("tasks:commands"), json.dumps({"action": "stop", "task_id": id}))
            self.end_task(id, item)


def settings(server, **more):
    """Settings of an instance that shares this Redis."""
    return {
        "WEBSOCKET_MANAGER": "redis",
        "WEBSOCKET_REDIS_URL": server.url,
        "SISKIN_EVENTS_PER_SECOND": 0,
        "SISKIN_MAX_CONNECTIONS_PER_ADDRESS": 5000,
        **more,
    }


def eventually(look, expected, seconds=15):
    """Waits until `look()` is `expected`."""
    seen = [None]

    def same():
        seen[0] = look()
        return seen[0] == expected

    try:
        wait_for(same, seconds)
    except AssertionError:
        raise AssertionError(f"{seen[0]!r} is not {expected!r} after {seconds} s") from None
