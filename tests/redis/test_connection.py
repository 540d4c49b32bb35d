"""Redis comes and goes; siskin says so once, and goes on."""

from siskin import wait_for


def test_an_outage_is_told_once_and_ends_by_itself(start_siskin, redis_server):
    siskin = start_siskin(WEBSOCKET_MANAGER="redis", WEBSOCKET_REDIS_URL=redis_server.url)
    wait_for(lambda: siskin.ready()[0], what="readiness")
    redis_server.stop()
    gone = wait_for(lambda: not siskin.ready()[0] and siskin.ready(), what="unreadiness")
    assert f"Redis at 127.0.0.1:{redis_server.port} is away" in gone[1][0], gone
    redis_server.start()
    wait_for(lambda: siskin.ready()[0], what="readiness")
    # The line may be on its way here.
    log = wait_for(lambda: "is back after" in siskin.log() and siskin.log(), what="the line of its end")
    assert log.count("is away (") == 1 and log.count("is back after") == 1, log


def test_siskin_starts_without_redis(start_siskin, redis_server):
    redis_server.stop()
    siskin = start_siskin(WEBSOCKET_MANAGER="redis", WEBSOCKET_REDIS_URL=redis_server.url)
    assert not siskin.ready()[0]
    redis_server.start()
    wait_for(lambda: siskin.ready()[0], what="readiness")


def test_user_password_and_database(start_siskin, start_redis):
    server = start_redis("--requirepass", "of default", "--user", "me", "on", ">p@ss", "~*", "&*", "+@all")
    url = f"redis://me:p%40ss@127.0.0.1:{server.port}/3"
    siskin = start_siskin(WEBSOCKET_MANAGER="redis", WEBSOCKET_REDIS_URL=url)
    wait_for(lambda: siskin.ready()[0], what="readiness")
    wrong = start_siskin(WEBSOCKET_MANAGER="redis", WEBSOCKET_REDIS_URL=server.url)
    wait_for(lambda: "is away (" in wrong.log(), what="refusal in the log")
    assert "NOAUTH" in wrong.log()
