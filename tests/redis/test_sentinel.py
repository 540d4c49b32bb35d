"""The master dies, Sentinel names another, and siskin follows it by itself."""

import pathlib
import subprocess

import pytest
import redis
import requests
from siskin import free_port, wait_for


@pytest.fixture
def sentinel(tmp_path, start_redis):
    """A master, a replica and a Sentinel that watches them; the master, the replica, the Sentinel's port."""
    master = start_redis()
    replica = start_redis("--replicaof", "127.0.0.1", str(master.port))
    link = redis.Redis.from_url(replica.url)
    wait_for(lambda: link.info("replication")["master_link_status"] == "up", what="replication")
    port = free_port()
    config = pathlib.Path(tmp_path, "sentinel.conf")
    config.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\n"
        f"sentinel monitor Chat 127.0.0.1 {master.port} 1\n"
        "sentinel down-after-milliseconds Chat 500\nsentinel failover-timeout Chat 5000\n"
    )
    process = subprocess.Popen(["redis-sentinel", str(config)], stdout=subprocess.DEVNULL)
    asked = redis.Redis(port=port)

    def knows():
        try:
            return asked.sentinel_slaves("Chat")
        except redis.RedisError:
            return False

    wait_for(knows, 30, what="a replica known to the Sentinel")
    yield master, replica, port
    process.kill()
    process.wait(30)


def test_a_failover_is_followed(start_siskin, sentinel):
    master, replica, port = sentinel
    siskin = start_siskin(
        WEBSOCKET_MANAGER="redis",
        WEBSOCKET_REDIS_URL="redis://Chat/0",
        WEBSOCKET_SENTINEL_HOSTS="127.0.0.1",
        WEBSOCKET_SENTINEL_PORT=port,
    )

    def listened_to(server):
        try:
            return redis.Redis.from_url(server.url).pubsub_numsub("socketio")[0][1] == 1
        except redis.RedisError:
            return False

    def ready():
        return requests.get(f"{siskin.url}/ready", timeout=10).status_code == 200

    wait_for(ready, what="readiness")
    assert listened_to(master)
    master.stop()
    wait_for(lambda: not ready(), what="unreadiness")
    wait_for(ready, 60, what="readiness at the new master")
    assert listened_to(replica)
    log = siskin.log()
    assert log.count("is away (") == 1 and log.count("is back after") == 1, log
