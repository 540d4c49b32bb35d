"""The master dies, Sentinel names another, and siskin follows it by itself."""

import pytest
import redis
import requests
from siskin import wait_for
from topology import Sentinels


@pytest.fixture
def sentinels():
    """Their service's name has a capital, as no host has one."""
    servers = Sentinels("Chat")
    yield servers
    servers.close()


def test_a_failover_is_followed(start_siskin, sentinels):
    master, replica, port = sentinels.master, sentinels.replica, sentinels.ports[0]
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
