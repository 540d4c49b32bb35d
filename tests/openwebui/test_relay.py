"""What siskin does not know goes to Open WebUI, over a connection of the client's own; what comes back comes once."""

import asyncio
import contextlib
import json

import pytest
from client import MOMENT, PATIENCE, Client
from process import POOL, Process
from siskin import has_token, wait_for


async def until(condition, what):
    return await asyncio.to_thread(wait_for, condition, PATIENCE, what)


@contextlib.asynccontextmanager
async def beside(start_siskin, redis=None, **settings):
    """A process of Open WebUI, and siskin beside it."""
    async with Process(redis and redis.url) as process:
        shared = {"WEBSOCKET_MANAGER": "redis", "WEBSOCKET_REDIS_URL": redis.url} if redis else {}
        siskin = await asyncio.to_thread(
            lambda: start_siskin(SISKIN_DIRECTORY=process.url, SISKIN_LOG="debug", **shared, **settings)
        )
        yield process, siskin
        assert not has_token(siskin.log()), "a token in the log"


async def joined(siskin, name):
    client = await Client(siskin, siskin.token(name)).connect()
    assert await client.join()
    return client


def names(client):
    return [heard[0] for heard in client.heard]


@pytest.fixture(params=["redis", "alone"])
def redis_or_none(request, start_redis):
    return start_redis() if request.param == "redis" else None


def test_an_event_that_nobody_here_knows_is_answered(start_siskin, redis_or_none):
    async def play():
        async with beside(start_siskin, redis_or_none) as (process, siskin):
            async def echo(sid, *args):
                return [sid, *args]

            process.answers["invented:ask"] = echo
            ann = await joined(siskin, "ann")
            sid, *args = await ann.call("invented:ask", {"ä": [1, None]})
            assert args == [{"ä": [1, None]}] and process.relays == [sid]
            # In order, one connection for all.
            for number in range(500):
                await ann.io.emit("invented:count", number)
            await ann.io.emit("invented:blob", {"bytes": b"\x00\xff" * 1000})
            await until(lambda: process.took[-1][0] == "invented:blob", "the last event")
            counted = [args for event, user, *args in process.took if event == "invented:count"]
            assert counted == [[number] for number in range(500)]
            assert process.took[-1] == ("invented:blob", "ann", {"bytes": b"\x00\xff" * 1000})
            large = {"text": "ä" * (1 << 17), "list": [*range(100_000)]}
            assert await ann.call("invented:ask", large) == [sid, large]
            assert process.relays == [sid]
            await ann.io.disconnect()
            await until(lambda: process.gone == [sid], "the end of the relay")

    asyncio.run(play())


@pytest.mark.parametrize("name", ["a:b:c", "ydoc:document:compact", "events:chat:new", "ydoc:new", "stream", "bob:s:r"])
def test_only_the_senders_own_id_makes_a_name_a_stream(start_siskin, redis_server, name):
    async def play():
        async with beside(start_siskin, redis_server) as (process, siskin):
            async def echo(sid, *args):
                return len(args[0])

            process.answers[name] = echo
            ann = await joined(siskin, "ann")
            for size in (3, 300_000):
                assert await ann.call(name, "x" * size) == size
            # Her own goes its own way.
            await ann.io.emit("ann:s:r", "x")
            assert await ann.call(name, "x") == 1
            assert {event for event, *_ in process.took} == {name}
            await ann.io.disconnect()

    asyncio.run(play())


@pytest.mark.parametrize("large", [1_100_000, 100_000])
def test_a_relay_that_opens_slowly_holds_up_what_is_unknown_alone(start_siskin, redis_server, large):
    async def play():
        async with beside(start_siskin, redis_server) as (process, siskin):
            ann, bob = await joined(siskin, "ann"), await joined(siskin, "bob")
            opens = asyncio.Event()

            async def slowly(sid, environ, auth):
                if auth:
                    await opens.wait()
                return await process.connect(sid, environ, auth)

            process.io.on("connect", slowly)
            # More than waits for a relay, by one; and whether it is answered does not matter.
            count = (4 << 20) // large + 2
            for n in range(count):
                await ann.io.emit(f"invented:{n}", "x" * large)
            typing = {"type": "typing", "data": {"typing": True}}
            await ann.io.emit("events:channel", {"channel_id": "c1", "data": typing})
            await ann.call("events:chat", {"chat_id": "local:x", "data": {"type": "join"}})
            await bob.hears(lambda name, *args: name == "events:channel")
            # The next unknown one waits, and all after it.
            await ann.io.emit("invented:next:event", "x")
            late = asyncio.ensure_future(ann.call("invented:last", "x"))
            process.answers["invented:last"] = "ok"
            assert not process.took
            opens.set()
            assert await late == "ok"
            expected = [f"invented:{n}" for n in range(count)] + ["invented:next:event", "invented:last"]
            assert [event for event, *_ in process.took] == expected
            await ann.io.disconnect()
            await bob.io.disconnect()

    asyncio.run(play())


def test_what_is_for_the_relay_alone_comes_once(start_siskin, redis_or_none):
    async def play():
        async with beside(start_siskin, redis_or_none) as (process, siskin):
            ann, other = await joined(siskin, "ann"), await joined(siskin, "ann")
            await ann.call("invented:hello", 1)
            [relay] = process.relays
            await process.io.emit("invented:told", {"n": 1}, to=relay)
            await process.io.emit("invented:told", {"b": b"\x01\x02"}, to=relay)
            ann.io.on("invented:question", lambda question: {"to": question, "with": b"\x03"})
            answer = await process.io.call("invented:question", {"b": b"\x04"}, to=relay, timeout=PATIENCE)
            assert answer == {"to": {"b": b"\x04"}, "with": b"\x03"}
            # A room that the process alone knows, and one that both know.
            await process.io.enter_room(relay, "invented")
            await process.io.emit("invented:room", 1, room="invented")
            await process.io.emit("events", {"chat_id": "x", "data": {"type": "chat:list"}}, room="user:ann")
            await process.io.emit("invented:last", to=relay)
            await ann.hears(lambda name, *args: name == "invented:last")
            await asyncio.sleep(MOMENT)
            assert [heard for heard in ann.heard if heard[0] == "invented:told"] == [
                ("invented:told", {"n": 1}),
                ("invented:told", {"b": b"\x01\x02"}),
            ]
            assert names(ann).count("invented:room") == 1 and names(ann).count("invented:last") == 1
            assert names(ann).count("events") == 1
            assert names(other).count("events") == (1 if redis_or_none else 0) and len(names(other)) <= 1
            assert not [name for name in names(ann) if name.startswith("siskin:")]
            await ann.io.disconnect()
            await other.io.disconnect()

    asyncio.run(play())


def test_what_comes_over_redis_and_over_the_relay_is_heard_once(start_siskin, redis_server):
    """Open WebUI puts relays into rooms that siskin has as well, and speaks to everybody."""

    def channel(n):
        return {"channel_id": "c1", "n": n, "text": "ä", "data": {"type": "message", "data": {}}}

    async def play():
        async with beside(start_siskin, redis_server) as (process, siskin):
            pages = [await joined(siskin, name) for name in ("ann", "ann", "bob", "cid")]
            *related, bystander = pages
            for page in related:
                await page.call("invented:hello", 1)
            for relay in process.relays:
                for room in ("channel:c1", "invented"):
                    await process.io.enter_room(relay, room)
            for n in range(20):
                await process.io.emit("events:channel", channel(n), room="channel:c1")
                await process.io.emit("invented:room", {"n": n, "b": b"\x01"}, room="invented")
                await process.io.emit("invented:both", n, room=["invented", "channel:c1"])
            for _ in range(5):
                await process.io.emit("invented:all", {"a": 1.5})
            # What siskin says itself reaches the process' rooms, too.
            for n in range(5):
                target = {"room": "channel:c1", "event": "invented:api", "data": [{"n": n, "text": "ä"}]}
                await asyncio.to_thread(lambda target=target: siskin.api("POST", "/emit", target))
            for relay in process.relays:
                await process.io.emit("invented:last", to=relay)
            for page in related:
                await page.hears(lambda name, *args: name == "invented:last")
            await asyncio.sleep(MOMENT)
            told = {"events:channel": 20, "invented:room": 20, "invented:both": 20, "invented:all": 5, "invented:api": 5, "invented:last": 1}
            for page in related:
                assert {name: names(page).count(name) for name in {*names(page)}} == told
                for event in ("invented:room", "events:channel"):
                    assert [args[0]["n"] for name, *args in page.heard if name == event] == [*range(20)]
            told = {"events:channel": 20, "invented:both": 20, "invented:all": 5, "invented:api": 5}
            assert {name: names(bystander).count(name) for name in {*names(bystander)}} == told
            for page in pages:
                await page.io.disconnect()

    asyncio.run(play())


def test_a_sender_that_is_left_out_is_so_by_either_name(start_siskin, redis_server):
    async def play():
        async with beside(start_siskin, redis_server) as (process, siskin):
            async def tell(sid, n):
                await process.io.emit("invented:told", n, room="channel:c1", skip_sid=sid)
                await process.io.emit("invented:told", n, room="channel:c1", skip_sid=["x", sid])
                await process.io.emit("invented:told", n, to=sid)

            process.answers["invented:tell"] = tell
            ann, bob = await joined(siskin, "ann"), await joined(siskin, "bob")
            for inside in (False, True):
                ann.heard.clear()
                bob.heard.clear()
                for n in range(20):
                    await ann.call("invented:tell", n)
                await process.io.emit("invented:last", room="channel:c1")
                for page in (ann, bob):
                    await page.hears(lambda name, *args: name == "invented:last")
                await asyncio.sleep(MOMENT)
                # She hears what is for her alone.
                assert [args for name, *args in ann.heard if name == "invented:told"] == [[n] for n in range(20)]
                assert names(bob).count("invented:told") == 40
                assert [names(page).count("invented:last") for page in (ann, bob)] == [1, 1]
                if not inside:
                    await process.io.enter_room(process.relays[0], "channel:c1")
            # Her own typing comes back as always, once, though the process has her in the room a second time.
            ann.heard.clear()
            typing = {"channel_id": "c1", "data": {"type": "typing", "data": {"typing": True}}}
            await ann.io.emit("events:channel", typing)
            await ann.hears(lambda name, *args: name == "events:channel")
            await asyncio.sleep(MOMENT)
            assert names(ann) == ["events:channel"]
            for page in (ann, bob):
                await page.io.disconnect()

    asyncio.run(play())


@pytest.mark.parametrize("room_channels", ["true", "false"])
def test_the_same_words_to_a_relay_alone_and_to_a_room_are_two(start_siskin, redis_server, room_channels):
    async def play():
        async with beside(start_siskin, redis_server, WEBSOCKET_REDIS_ROOM_CHANNELS=room_channels) as (process, siskin):
            if room_channels == "false":
                # As the process is without them.
                process.io.manager.channel_of = lambda *_: "socketio"
            ann = await joined(siskin, "ann")
            await ann.call("invented:hello", 1)
            [relay] = process.relays
            for inside in (False, True):
                ann.heard.clear()
                for n in range(20):
                    await process.io.emit("invented:told", n, room="channel:c1")
                    await process.io.emit("invented:told", n, to=relay)
                    await process.io.emit("invented:told", n, to=relay)
                    await process.io.emit("invented:told", n, room="channel:c1")
                await process.io.emit("invented:last", to=relay)
                await ann.hears(lambda name, *args: name == "invented:last")
                await asyncio.sleep(MOMENT)
                assert sorted(args[0] for name, *args in ann.heard if name == "invented:told") == sorted([*range(20)] * 4)
                if not inside:
                    await process.io.enter_room(relay, "channel:c1")
            await ann.io.disconnect()

    asyncio.run(play())


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_relay_that_is_disconnected_is_its_page(start_siskin, redis_server, where):
    """By the process that has it, or by another of them."""

    async def play():
        async with beside(start_siskin, redis_server) as (process, siskin):
            ann, other = await joined(siskin, "ann"), await joined(siskin, "ann")
            for page in (ann, other):
                await page.call("invented:hello", 1)
            relay = process.relays[0]
            if where == "here":
                await process.io.disconnect(relay)
            else:
                message = {"method": "leave_room", "sid": relay, "room": "channel:c1", "namespace": "/", "host_id": "another"}
                await process.redis.publish("socketio", json.dumps(message))
                inside = lambda: siskin.api("GET", "/rooms/channel:c1").json()["sessions"]  # noqa: E731
                await until(lambda: len(inside()) == 1, "ann out of the channel")
                message = {"method": "disconnect", "sid": relay, "namespace": "/", "host_id": "another"}
                await process.redis.publish("socketio", json.dumps(message))
            await until(lambda: not ann.io.connected, "the end of the page")
            assert await other.call("heartbeat", {}, MOMENT) is None and other.io.connected
            await other.call("invented:hello", 1)
            await other.io.disconnect()

    asyncio.run(play())


def test_two_pages_of_a_user_have_a_relay_each(start_siskin, redis_server):
    async def play():
        async with beside(start_siskin, redis_server) as (process, siskin):
            async def mine(sid):
                return sid

            process.answers["invented:mine"] = mine
            one, two = await joined(siskin, "ann"), await joined(siskin, "ann")
            first, second = await one.call("invented:mine", None), await two.call("invented:mine", None)
            assert first != second
            await process.io.emit("invented:told", 2, to=second)
            await two.hears(lambda name, *args: name == "invented:told")
            assert "invented:told" not in names(one)
            await one.io.disconnect()
            await until(lambda: process.gone == [first], "the end of the first relay")
            assert await two.call("invented:mine", None) == second
            await two.io.disconnect()

    asyncio.run(play())


def test_a_relay_is_nobodys_session(start_siskin, redis_server):
    async def play():
        async with beside(start_siskin, redis_server) as (process, siskin):
            ann = await joined(siskin, "ann")
            await ann.call("invented:hello", 1)
            [relay] = process.relays
            assert process.members("user:ann") == set()
            while not (keys := set(await process.redis.hkeys(POOL))):
                await asyncio.sleep(0.02)
            assert keys == {ann.io.get_sid().encode()}
            sessions = await asyncio.to_thread(lambda: siskin.api("GET", "/sessions").json())
            assert relay not in str(sessions), sessions
            await ann.io.disconnect()

    asyncio.run(play())


def test_the_process_learns_where_the_client_comes_from(start_siskin, redis_server):
    async def play():
        async with beside(start_siskin, redis_server) as (process, siskin):
            ann = Client(siskin, siskin.token("ann"))
            headers = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
            await ann.io.connect(
                siskin.url, headers=headers, auth={"token": ann.token}, socketio_path="/ws/socket.io", transports=["websocket"]
            )
            await ann.join()
            await ann.call("invented:hello", 1)
            environ = process.environ[process.relays[0]]
            assert environ["HTTP_X_FORWARDED_FOR"] == "192.0.2.7" and environ["HTTP_X_FORWARDED_PROTO"] == "https"
            await ann.io.disconnect()

    asyncio.run(play())


def test_nobody_anonymous_is_relayed(start_siskin, redis_server):
    async def play():
        async with beside(start_siskin, redis_server) as (process, siskin):
            nobody = Client(siskin, "x.y.z")
            await nobody.connect()
            assert await nobody.call("invented:ask", 1, MOMENT) is None
            assert process.took == [] and process.environ == {}
            await nobody.io.disconnect()

    asyncio.run(play())


def test_alone_there_is_nobody_to_ask(siskin):
    async def play():
        ann = await joined(siskin, "ann")
        assert await ann.call("invented:ask", 1, MOMENT) is None
        await ann.io.disconnect()

    asyncio.run(play())


def test_a_user_has_sixteen_relays_and_a_place_that_is_left_is_free(start_siskin, redis_server):
    async def play():
        async with beside(start_siskin, redis_server) as (process, siskin):
            pages = [await joined(siskin, "ann") for _ in range(17)]
            bob = await joined(siskin, "bob")
            for page in pages[:16]:
                await page.call("invented:hello", 1)
            assert await pages[16].call("invented:hello", 1, MOMENT) is None
            assert len(process.relays) == 16
            assert "is refused: relays of a user" in siskin.log()
            assert [event for event, user in [(took[0], took[1]) for took in process.took]] == ["invented:hello"] * 16
            await bob.call("invented:hello", 1)
            await pages[0].io.disconnect()
            await until(lambda: process.gone, "the end of a relay")
            await pages[16].call("invented:hello", 1)
            assert len(process.relays) == 18
            for page in [*pages[1:], bob]:
                await page.io.disconnect()

    asyncio.run(play())
