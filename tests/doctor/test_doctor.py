"""Set-ups that are broken in one way each, and that `siskin doctor` names by their cause; and such as are well."""

import re
import subprocess
import time

import pytest
import redis
from disks import fill, read_only, small
from world import PING, World, doctor
from siskin import BINARY, free_port, token

UPGRADE = ("proxy_set_header Upgrade $http_upgrade;", 'proxy_set_header Connection "upgrade";')
HTTP11 = "proxy_http_version 1.1;"
FORWARDED = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
FINE = (HTTP11, *UPGRADE, FORWARDED, "proxy_buffering off;", "proxy_read_timeout 60s;")


@pytest.fixture(scope="module")
def world():
    world = World()
    try:
        proxies(world)
        world.run()
        yield world
    finally:
        world.close()


def proxies(world):
    """A site for each fault."""
    siskin, strict = world.siskin.port, world.strict.port
    nginx, caddy = world.nginx, world.caddy
    world.sites.append(world.delivered("healthy nginx", "nginx.conf", "listen 80;"))
    world.caddy_sites.append(world.delivered("healthy caddy", "Caddyfile", ":80 {"))
    nginx("no upgrade", HTTP11, FORWARDED)
    nginx("http/1.0", *UPGRADE, FORWARDED)
    nginx("cache", HTTP11, *UPGRADE, FORWARDED, "proxy_cache polls;", "proxy_ignore_headers Cache-Control;", "proxy_cache_valid any 1m;", "proxy_cache_key $uri$args;")
    nginx("impatient", *FINE[:-1], f"proxy_read_timeout {PING / 2:.0f}s;")
    nginx("stripped", *FINE, to=f"http://127.0.0.1:{siskin}/", path="/ws/socket.io/")
    nginx("half stripped", *FINE, to=f"http://127.0.0.1:{siskin}/", path="/ws/")
    nginx("not forwarded", HTTP11, *UPGRADE)
    nginx("not believed", *FINE, to=f"http://127.0.0.1:{strict}")
    nginx("host kept", *FINE, "proxy_set_header Host $http_host;", to=f"http://127.0.0.1:{strict}")
    nginx("two origins", *FINE, "add_header Access-Control-Allow-Origin *;")
    nginx("login", *FINE, "auth_basic who; auth_basic_user_file /dev/null;")
    nginx("nobody behind", *FINE, to=f"http://127.0.0.1:{free_port()}")
    nginx("something else", "return 200 hello;", to="-")
    nginx("https", "return 301 https://$host$request_uri;", to="-")
    two = f"upstream two {{ server 127.0.0.1:{siskin}; server 127.0.0.1:{strict}; }}"
    nginx("two instances", *FINE, to="http://two", http=two)
    caddy("caddy wrong path", f"@socket path /socket.io/*\nreverse_proxy @socket 127.0.0.1:{siskin}\nreverse_proxy 127.0.0.1:{world.webui.port}")
    caddy("caddy strips", f"handle_path /ws/* {{\nreverse_proxy 127.0.0.1:{siskin}\n}}")


@pytest.fixture
def ask(world):
    """The doctor's words about a site, with the settings of the instance behind it, changed like this."""

    def ask(site=None, *typed, siskin=None, before=(), wait=False, url=None, **changes):
        url = url or (site and f"http://127.0.0.1:{world.ports[site]}")
        typed = [*([] if wait else ["--quick"]), *([url] if url else []), *typed]
        return doctor(*typed, settings=(siskin or world.siskin).environment, before=before, **changes)

    return ask


def named(told, check, says, fix):
    """It is the first that is bad, and no part that works is called bad with it."""
    assert told.code == 1
    first = told.bad()[0]
    assert first["check"] == check and re.search(says, first["says"]) and re.search(fix, first["fix"]), told.out
    assert len({line["check"] for line in told.bad()}) <= 2, told.out


# What is well


@pytest.mark.parametrize("site", ["healthy nginx", "healthy caddy"])
def test_what_is_delivered_is_well(ask, site):
    told = ask(site, "--token", token("ann", exp=int(time.time()) + 600), wait=True)
    assert told.code == 0 and not told.bad(), told.out
    skipped = {check for check, verdict in told.verdicts().items() if verdict == "skip"}
    # Beside Open WebUI nothing is stored; a container may show no limits.
    assert skipped <= {"disk", "limits"}, told.out
    assert set(told.verdicts()) >= {
        *["settings", "siskin", "disk", "files", "limits", "open webui", "clock", "secret", "its socket", "redis", "keys", "peers"],
        *["path", "polling", "upgrade", "websocket", "address", "token", "origin", "silence"],
    }


def test_alone_and_without_a_url_it_looks_at_itself(world, ask):
    told = ask(siskin=world.strict)
    assert told.code == 0 and told.verdicts()["websocket"] == told.verdicts()["disk"] == "ok", told.out


def test_from_outside_it_needs_no_settings(world):
    told = doctor("--quick", f"http://127.0.0.1:{world.ports['healthy nginx']}{'/ws/socket.io/'}", settings={})
    assert told.code == 0 and told.verdicts()["settings"] == told.verdicts()["token"] == "skip", told.out


def test_each_is_a_line_for_a_person(world):
    url = f"http://127.0.0.1:{world.ports['no upgrade']}"
    done = subprocess.run([BINARY, "doctor", "--quick", url], env=world.siskin.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and not done.stderr
    assert "\x1b" not in done.stdout
    told = re.search(r"^bad   websocket   the proxy does not hand on the header Upgrade\n      (nginx, .*Upgrade \$http_upgrade;.*)$", done.stdout, re.M)
    assert told, done.stdout
    assert all(re.match(r"(ok   |bad  |skip ) \S+|      \S", line) for line in done.stdout.splitlines()), done.stdout


def test_it_leaves_nothing_behind(world, ask):
    client = redis.Redis.from_url(world.redis.url)
    published = []
    with client.pubsub() as heard:
        heard.psubscribe("*")
        heard.get_message(timeout=1)
        before = sorted(client.keys())
        ask("healthy nginx")
        assert sorted(client.keys()) == before
        while message := heard.get_message(timeout=0.2):
            published.append(message["channel"].decode())
    # What siskin itself says of sockets that come and go is nothing of the doctor's.
    assert {name for name in published if name.startswith("open-webui")} == set()


# The proxy


@pytest.mark.parametrize(
    "site,check,says,fix",
    [
        ("caddy wrong path", "path", "Open WebUI's own socket", r"@socket path /ws/socket.io /ws/socket.io/\*"),
        ("caddy strips", "path", "under another path", "no handle_path"),
        ("no upgrade", "websocket", "header Upgrade", r"Upgrade \$http_upgrade"),
        ("http/1.0", "websocket", "HTTP/1.0", "proxy_http_version 1.1"),
        ("cache", "path", "from a cache", "proxy_buffering off; proxy_cache off"),
        ("stripped", "path", "under another path", "no slash"),
        ("half stripped", "path", "under another path", "no slash"),
        ("not forwarded", "address", "for the proxy, 127.0.0.1", r"X-Forwarded-For \$proxy_add"),
        ("two origins", "origin", r"Access-Control-Allow-Origin is", "siskin sends them"),
        ("login", "path", "wants a login", "auth_basic off"),
        ("nobody behind", "path", "does not reach siskin .502", "proxy_pass http://127.0.0.1:"),
        ("something else", "path", "something else answers there: 200 nginx", "proxy_pass"),
        ("https", "path", "redirected to https://127.0.0.1", "siskin doctor URL"),
        ("two instances", "polling", "reaches another siskin", "ip_hash"),
    ],
)
def test_a_proxys_fault_is_named(ask, site, check, says, fix):
    told = ask(site, *(["--origin", "https://a.example"] if site == "two origins" else []))
    named(told, check, says, fix)


def test_a_proxy_that_has_no_patience(ask):
    told = ask("impatient", wait=True)
    named(told, "silence", rf"ends after {PING / 2:.0f}\.\d s .*pings every {PING} s", "proxy_read_timeout 120s.*\n.*PING_INTERVAL")


def test_a_proxy_that_siskin_does_not_believe(world, ask):
    told = ask("not believed", siskin=world.strict)
    named(told, "address", "for the proxy, 127.0.0.1", "SISKIN_TRUSTED_PROXIES=.*127.0.0.1")


def test_pages_whose_origin_is_refused(world, ask):
    told = ask("host kept", "--origin", "https://other.example", siskin=world.strict)
    assert "CORS_ALLOW_ORIGIN=...;https://other.example" in told.bad()[-1]["fix"], told.out
    told = ask("not believed", siskin=world.strict)
    assert "Host $http_host" in told.bad()[-1]["fix"], told.out
    told = ask("host kept", siskin=world.strict)
    assert told.verdicts()["origin"] == "ok", told.out


# Getting there


def test_a_name_that_nobody_knows(ask):
    named(ask(url="http://chat.invalid"), "name", "chat.invalid has no address", "/etc/hosts")


def test_a_port_that_nobody_listens_at(ask):
    named(ask(url=f"http://localhost:{free_port()}"), "port", "nobody listens there", "start the proxy")


def test_something_that_speaks_no_http(world, ask):
    told = ask(url=f"http://127.0.0.1:{world.redis.port}")
    assert told.bad()[0]["check"] == "path" and re.search("does not speak HTTP|hangs up", told.bad()[0]["says"]), told.out


def test_https_is_not_pretended(world, ask):
    told = ask(url=f"https://127.0.0.1:{world.ports['healthy nginx']}")
    named(told, "tls", "speaks no TLS", "feature tls")


# Tokens and clocks


def test_a_token_that_has_expired(ask):
    shown = token("ann", exp=int(time.time()) - 100)
    named(ask("healthy nginx", "--token", shown), "token", r"expired, 10\d s ago", "sign in anew")


def test_a_token_of_another_secret(ask):
    named(ask("healthy nginx", "--token", token("ann", secret="another-secret")), "token", "signature", "WEBUI_SECRET_KEY")


def test_a_token_of_a_user_who_is_gone(ask):
    named(ask("healthy nginx", "--token", token("eve")), "token", "Open WebUI refuses it .401", "sign in anew")


def test_a_token_from_outside(world):
    url = f"http://127.0.0.1:{world.ports['healthy nginx']}"
    told = doctor("--quick", url, "--token", token("ann", secret="another-secret"), settings={})
    named(told, "token", "its secret is another", "where siskin runs")
    told = doctor("--quick", url, "--token", token("ann"), settings={})
    assert told.verdicts()["token"] == "ok", told.out


def test_a_token_that_is_none(ask):
    named(ask("healthy nginx", "--token", "do-not-print-this"), "token", "not a JSON Web Token", "siskin token")


def test_a_clock_that_is_wrong(ask):
    told = ask("healthy nginx", before=["faketime", "-f", "-3d"])
    assert told.code == 1 and {line["check"] for line in told.bad()} == {"clock"}, told.out
    assert re.search(r"Open WebUI is 2592\d\d s ahead of", told.bad()[0]["says"]) and "set-ntp" in told.bad()[0]["fix"]


# Beside siskin


def test_another_secret_than_open_webuis(ask):
    told = ask(WEBUI_SECRET_KEY="another-secret-that-is-long-enough-for-anybody")
    named(told, "secret", "another WEBUI_SECRET_KEY", "give both the same")


def test_an_open_webui_that_is_away(ask):
    named(ask(SISKIN_DIRECTORY=f"http://127.0.0.1:{free_port()}"), "open webui", "nobody listens there", "SISKIN_DIRECTORY=")


def test_a_directory_that_is_no_open_webui(world, ask):
    named(ask(SISKIN_DIRECTORY=world.strict.url), "open webui", "it is no Open WebUI", "SISKIN_DIRECTORY=")


def test_another_prefix_than_the_others(ask):
    named(ask(REDIS_KEY_PREFIX="mine"), "keys", r"has the keys open-webui:\*, siskin mine:\*", "REDIS_KEY_PREFIX=open-webui")


def test_another_database_than_the_others(world, ask):
    url = world.redis.url.replace("/0", "/3")
    named(ask(WEBSOCKET_REDIS_URL=url), "keys", "in database 0, siskin in 3", "end in /0")


def test_a_redis_that_is_away(ask):
    named(ask(WEBSOCKET_REDIS_URL=f"redis://127.0.0.1:{free_port()}"), "redis", "Connection refused", "WEBSOCKET_REDIS_URL=")


def test_a_redis_that_wants_a_password(world, ask):
    named(ask(WEBSOCKET_REDIS_URL=world.locked.url), "redis", "NOAUTH", "user:password@")
    wrong = world.locked.url.replace("://", "://:wrong-password@")
    named(ask(WEBSOCKET_REDIS_URL=wrong), "redis", "authentication failed", "user:password@")


def test_a_redis_that_nobody_else_listens_to(world, ask):
    named(ask(WEBSOCKET_REDIS_URL=world.nobodys.url), "peers", "Open WebUI does not listen to this Redis", "the same WEBSOCKET_REDIS_URL")


def test_no_redis_beside_open_webui(ask):
    named(ask(WEBSOCKET_MANAGER=None), "redis", "none is used", "WEBSOCKET_MANAGER=redis")


# This machine


def test_a_siskin_that_does_not_run(ask):
    told = ask(SISKIN_LISTEN=f"127.0.0.1:{free_port()}")
    assert told.bad()[0]["check"] == "siskin" and "systemctl start siskin" in told.bad()[0]["fix"], told.out


def test_settings_that_cant_be_used(ask):
    told = ask(WEBSOCKET_REDIS_URL="redis:///0", SISKIN_LOG="loud")
    assert [line["check"] for line in told.bad()] == ["settings"], told.out
    assert "SISKIN_LOG" in told.bad()[0]["says"] and "write one of" in told.bad()[0]["fix"]


def test_a_disk_that_is_read_only(world, ask, tmp_path):
    with read_only(tmp_path) as folder:
        named(ask(siskin=world.strict, SISKIN_DATA_DIR=folder), "disk", "is read-only", "remount,rw")


def test_a_disk_that_is_full(world, ask):
    with small(1) as folder:
        fill(folder)
        named(ask(siskin=world.strict, SISKIN_DATA_DIR=folder / "siskin"), "disk", "has 0 MiB left", "free some room")


def test_too_few_files(ask):
    limited = ["prlimit", "--nofile=128:128"]
    told = ask(before=limited, SISKIN_LISTEN=f"127.0.0.1:{free_port()}")
    assert told.bad()[-1]["check"] == "files" or told.bad()[1]["check"] == "files", told.out
    assert any("LimitNOFILE=65536" in line["fix"] for line in told.bad())


# Usage


@pytest.mark.parametrize("typed", [["ftp://a"], ["http://"], ["http://a b"], ["http://a:b@c"], ["--token", "", "http://a"], ["--no"]])
def test_wrong_usage(typed):
    done = subprocess.run([BINARY, "doctor", *typed], env={}, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2 and done.stderr and not done.stdout
