"""`rediss://`: what crosses TLS, whom it trusts, and how it says what is wrong."""

import asyncio
import json
import os
import pathlib
import subprocess

import pytest
import redis
import requests
from authority import KEYS, Authority, TlsServer
from parts import Api, clients, seen, settings, until, writer
from proxy import Proxy
from redis.asyncio import Redis
from wire import WebSocket

from siskin import BINARY, ROOT, RUNNER, SECRET, free_port, wait_for

pytestmark = pytest.mark.timeout(900)  # The first one builds.
TLS12 = ("--tls-protocols", "TLSv1.2")
TLS13 = ("--tls-protocols", "TLSv1.3")


@pytest.fixture(scope="module")
def binary():
    """siskin with the feature `tls`; beside the other one, whose dependencies it shares."""
    if made := os.environ.get("SISKIN_TLS_BIN"):
        return made
    subprocess.run(["cargo", "build", "-q", "--locked", "--features", "tls", "--example", "siskin-tls"], cwd=ROOT, check=True)
    return str(ROOT / "target/debug/examples/siskin-tls")


@pytest.fixture(scope="module")
def authority():
    made = Authority()
    yield made
    made.close()


@pytest.fixture(scope="module")
def other_authority():
    """Of the same name."""
    made = Authority()
    yield made
    made.close()


@pytest.fixture(scope="module")
def issued(authority):
    """A certificate of each kind of key."""
    return {kind: authority.issue(kind) for kind in KEYS}


@pytest.fixture
def serve(authority):
    """Starts Redis servers with TLS."""
    running = []

    def start(pair, *arguments, **more):
        running.append(TlsServer(authority, pair, *arguments, **more))
        return running[-1]

    yield start
    for server in running:
        server.close()


@pytest.fixture
def start(start_siskin, binary):
    return lambda url, **more: start_siskin(binary=binary, **settings(url, **more))


def is_ready(siskin):
    """Connected, and a message that it published came back to its subscriber."""
    return requests.get(f"{siskin.url}/ready", timeout=10).status_code == 200


def refusal(siskin):
    """Why Redis is away, as the log says it."""
    wait_for(lambda: "is away (" in siskin.log(), what="line about Redis")
    (line,) = (line for line in siskin.lines if "is away (" in line)
    assert not is_ready(siskin)
    return line.partition("is away (")[2].rpartition(");")[0]


@pytest.mark.parametrize("kind,protocol", [("p256", TLS13), ("rsa", TLS12)], ids=["1.3", "1.2"])
def test_two_instances_and_python_are_one_server(start, serve, issued, kind, protocol):
    """Events both ways between two instances, and from python-socketio's manager, all over TLS."""
    server = serve(issued[kind], *protocol)
    url = server.secure()
    a, b = start(url), start(url)

    async def body():
        async with Api(a) as at_a, Api(b) as at_b, writer(url, True) as w, clients((a, "ann"), (b, "bob")) as (ann, bob):
            await until(lambda: is_ready(a) and is_ready(b), what="readiness")
            for number in range(100):
                await at_a.emit("to bob", number, user_id="bob")
                await at_b.emit("to ann", number, user_id="ann")
            await w.emit("to bob", 100, room="user:bob")
            assert await seen(bob, "to bob", 101) == list(range(101))
            assert await seen(ann, "to ann", 100) == list(range(100))

    asyncio.run(body())


SUITES = [
    ("p256", (*TLS13, "--tls-ciphersuites", "TLS_AES_128_GCM_SHA256")),
    ("rsa", (*TLS13, "--tls-ciphersuites", "TLS_AES_256_GCM_SHA384")),
    ("p384", (*TLS13, "--tls-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256")),
    ("ed25519", TLS13),
    ("p256", (*TLS12, "--tls-ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256")),
    ("p384", (*TLS12, "--tls-ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384")),
    ("ed25519", (*TLS12, "--tls-ciphers", "ECDHE-ECDSA-CHACHA20-POLY1305")),
    ("rsa", (*TLS12, "--tls-ciphers", "ECDHE-RSA-AES128-GCM-SHA256")),
    ("rsa", (*TLS12, "--tls-ciphers", "ECDHE-RSA-AES256-GCM-SHA384")),
    ("rsa", (*TLS12, "--tls-ciphers", "ECDHE-RSA-CHACHA20-POLY1305")),
]


@pytest.mark.parametrize("kind,arguments", SUITES, ids=[f"{kind}-{arguments[-1]}" for kind, arguments in SUITES])
def test_each_suite_with_each_certificate(start, serve, issued, kind, arguments):
    siskin = start(serve(issued[kind], *arguments).secure())
    wait_for(lambda: is_ready(siskin), what="readiness")


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("protocol", [TLS12, TLS13], ids=["1.2", "1.3"])
def test_a_clients_certificate(start, serve, issued, kind, protocol):
    """In the options, and in the URL."""
    certificate, key = (str(path) for path in issued[kind])
    server = serve(issued["p256"], *protocol, clients="yes")
    options = json.dumps({"ssl_certfile": certificate, "ssl_keyfile": key})
    siskin = start(server.secure(), WEBSOCKET_REDIS_OPTIONS=options)
    wait_for(lambda: is_ready(siskin), what="readiness")


def test_who_is_trusted(start, serve, authority, issued, tmp_path):
    """The system's authorities, as SSL_CERT_FILE has them; anybody; a name that is not checked; a certificate that is its own authority."""
    server = serve(issued["p256"])
    bare = server.secure().partition("?")[0]
    elsewhere = serve(authority.issue(names="DNS:redis.lan"))
    key = authority.make_key("alone", "p256")
    alone = authority.self_signed("alone", key, "-subj", "/CN=alone", "-addext", "subjectAltName=IP:127.0.0.1")
    started = [
        start(bare, SSL_CERT_FILE=str(authority.pem)),
        start(f"{bare}?ssl_cert_reqs=none"),
        start(elsewhere.secure(ssl_check_hostname="false")),
        start(serve((alone, key)).secure(ssl_ca_certs=alone)),
    ]
    for siskin in started:
        wait_for(lambda s=siskin: is_ready(s), what="readiness")
        assert " WARN " not in siskin.log(), siskin.log()


def test_what_is_refused_is_told(start, serve, authority, other_authority, issued):
    """Each in one line that names the address and what to do."""
    good, must = serve(issued["p256"]), {"clients": "yes"}
    stranger = dict(zip(("ssl_certfile", "ssl_keyfile"), other_authority.issue()))
    of_another = [other_authority.issue(kind) for kind in KEYS]
    cases = [
        (good.secure().partition("?")[0], "not trusted: name the authority's file as ssl_ca_certs"),
        *((serve(pair).secure(), "not signed by the authority that it names") for pair in of_another),
        (serve(authority.issue(when="2020-01-01")).secure(), "the server's certificate has expired"),
        (serve(authority.issue(when="2037-01-01")).secure(), "is not valid yet: is this machine's clock right?"),
        (serve(authority.issue(names="DNS:redis.lan,DNS:r2.lan")).secure(), "is for redis.lan, r2.lan, not for 127.0.0.1"),
        (good.secure(port=good.port), "one without TLS is reached as redis://"),
        (f"redis://127.0.0.1:{good.tls_port}/0", "one with TLS is reached as rediss://"),
        *((serve(issued["p256"], *protocol, **must).secure(), "ssl_certfile") for protocol in (TLS12, TLS13)),
        *((serve(issued["p256"], *protocol, **must).secure(**stranger), "ssl_certfile") for protocol in (TLS12, TLS13)),
    ]
    started = [(start(url), url, why) for url, why in cases]
    for siskin, url, why in started:
        assert why in refusal(siskin), (url, siskin.log())
        address = url.partition("://")[2].partition("/")[0]
        assert f"Redis at {address} is away" in siskin.log()


def test_settings_that_cannot_work_stop_the_start(binary, authority, issued, tmp_path):
    (certificate, _), (_, key), (_, right) = issued["p256"], issued["rsa"], issued["p256"]
    cases = [
        (f"ssl_ca_certs={authority.dir}/none.pem", "none.pem can't be read: No such file"),
        (f"ssl_ca_certs={right}", "holds no certificates in PEM"),
        (f"ssl_certfile={certificate}&ssl_keyfile={key}", "is not the key of"),
        (f"ssl_certfile={certificate}", "holds no private key in PEM"),
        ("ssl_cert_reqs=perhaps", "ssl_cert_reqs must be required or none"),
    ]
    for query, why in cases:
        url = f"rediss://:hidden@127.0.0.1:1/0?{query}"
        code, said = outcome(binary, url, tmp_path)
        assert code == 2 and why in said and "hidden" not in said, (query, said)


def test_without_the_feature_rediss_is_refused(tmp_path):
    code, said = outcome(BINARY, "rediss://127.0.0.1/0", tmp_path)
    assert code == 2 and "this siskin is built without it: take a build with the feature tls" in said, said


def outcome(binary, url, folder):
    """The exit code of a start that fails, and what it said."""
    redis = {"WEBSOCKET_MANAGER": "redis", "WEBSOCKET_REDIS_URL": url}
    environment = {"WEBUI_SECRET_KEY": SECRET, "SISKIN_DATA_DIR": str(folder), **redis}
    done = subprocess.run([*RUNNER, binary, "serve"], env=environment, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


def test_a_message_of_16_mib(start, serve, issued):
    """Through the sender's pipeline and the receiver's subscriber."""
    url = serve(issued["p256"], *TLS13).secure()
    # Under qemu, on a busy machine, it takes seconds.
    patient = {"WEBSOCKET_REDIS_OPTIONS": '{"socket_timeout": 120}', "WEBSOCKET_SERVER_PING_INTERVAL": "300"}
    a, b = (start(url, SISKIN_MAX_PAYLOAD_BYTES="32 MiB", **patient) for _ in range(2))
    data = "".join(chr(97 + n % 23) for n in range(1 << 20)) * 16

    async def body():
        async with Api(a) as api:
            await until(lambda: is_ready(a) and is_ready(b), what="readiness")
            large = WebSocket(b, timeout=120)
            await asyncio.to_thread(large.join, "large")
            await api.emit("large", data, user_id="large")
            event, got = await asyncio.to_thread(large.recv_event)
            assert event == "large" and got == data
            large.close()

    asyncio.run(body())


def test_a_connection_that_breaks_or_lies(start, serve, issued):
    """Cut in the middle of a record, or with a bit changed on the way: it is noticed, said, and connected again."""
    server = serve(issued["p256"])

    async def body():
        async with Proxy(server.tls_port) as proxy:
            siskin = start(server.secure(port=proxy.port))
            async with Api(siskin) as api, Redis.from_url(server.url) as redis, clients((siskin, "ann")) as (ann,):
                for break_it in ("halve", "damage"):
                    await until(lambda: is_ready(siskin), what="readiness")
                    before = siskin.log().count("is away (")
                    setattr(proxy, break_it, True)
                    # What is published is answered.
                    await api.emit("local", break_it, user_id="ann")
                    await until(lambda n=before: siskin.log().count("is away (") > n, what=f"loss by {break_it}")
                    await until(lambda b=break_it: ann.events("local")[-1:] == [b], what="local event")
                    proxy.flow()
                    await until(lambda: is_ready(siskin), 45, what=f"readiness after {break_it}")
                    await redis.publish("socketio#/#user:ann", far(break_it))
                    await until(lambda b=break_it: ann.events("far")[-1:] == [b], what="event from elsewhere")
                assert not ann.lost

    asyncio.run(body())


def far(data):
    message = {"method": "emit", "event": "far", "data": [data], "binary": False, "namespace": "/", "room": "user:ann"}
    return json.dumps({**message, "skip_sid": None, "callback": None, "host_id": "somebody"})


def test_sentinel(start, serve, authority, issued, tmp_path):
    """The Sentinels speak TLS as the master does."""
    certificate, key = issued["p256"]
    files = f"tls-cert-file {certificate}\ntls-key-file {key}\ntls-ca-cert-file {authority.pem}\ntls-auth-clients no\n"
    master, port = serve(issued["rsa"]), free_port()
    conf = pathlib.Path(tmp_path) / "sentinel.conf"
    conf.write_text(
        f"port 0\ntls-port {port}\nbind 127.0.0.1\ndir {tmp_path}\n{files}tls-replication yes\n"
        f"sentinel monitor chat 127.0.0.1 {master.tls_port} 1\n"
    )
    process = subprocess.Popen(["redis-sentinel", str(conf)], stdout=subprocess.DEVNULL)
    try:
        url = f"rediss://chat/0?ssl_ca_certs={authority.pem}"
        siskin = start(url, WEBSOCKET_SENTINEL_HOSTS=f"127.0.0.1:{port}")
        wait_for(lambda: is_ready(siskin), 45, what="readiness")
    finally:
        process.kill()
        process.wait(30)


def test_cluster(start, serve, authority, issued):
    """Its nodes name each other's ports for TLS; commands and the subscriber go over it."""
    of_cluster = ("--cluster-enabled", "yes", "--tls-cluster", "yes")
    nodes = [serve(issued["p256"], *of_cluster, "--cluster-port", str(free_port())) for _ in range(3)]
    addresses = [f"127.0.0.1:{node.tls_port}" for node in nodes]
    create = ["redis-cli", "--tls", "--cacert", str(authority.pem), "--cluster", "create", *addresses, "--cluster-yes"]
    subprocess.run(create, check=True, stdout=subprocess.DEVNULL, timeout=120)
    siskin = start(nodes[0].secure(), WEBSOCKET_REDIS_CLUSTER="true")
    wait_for(lambda: is_ready(siskin), 45, what="readiness")
    assert " WARN " not in siskin.log(), siskin.log()
    names = [connection["name"] for node in nodes for connection in redis.Redis(port=node.port).client_list()]
    assert names.count("siskin-subscriber") == 1, names
