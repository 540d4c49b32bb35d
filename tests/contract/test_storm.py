"""Forty clients do everything at random, come and go; in the end nothing is left of them."""

import asyncio
import random
import time

import aiohttp
import socketio
from scene import prepare
from siskin import chance
from test_bad_input import ROWS, SPOILT, fields, filled, spoil

CLIENTS = 40
ROUNDS = 25
USERS = ["ann", "bob", "mallory"]


async def live(siskin, chance):
    """One client's life."""
    who = chance.choice(USERS)
    names = {"ANN": siskin.token("ann"), "MALLORY": siskin.token(who), "SID": "x"}
    io = socketio.AsyncClient(reconnection=False)
    transport = chance.choice(["websocket", "polling"])
    auth = {"token": siskin.token(who)} if chance.random() < 0.9 else None
    await io.connect(siskin.url, auth=auth, socketio_path="/ws/socket.io", transports=[transport], wait_timeout=20)
    for _ in range(ROUNDS):
        row = chance.choice(list(ROWS))
        payload, _ = ROWS[row]
        if chance.random() < 0.3:
            payload = spoil(payload, chance.choice(list(fields(payload))), chance.choice(SPOILT))
        ack = (lambda *_: None) if chance.random() < 0.5 else None
        await io.emit(row.split(" ")[0], filled(payload, names), callback=ack)
        if chance.random() < 0.2:
            await asyncio.sleep(chance.random() * 0.02)
    if chance.random() < 0.5:
        await io.disconnect()
    else:
        # Gone without a word.
        await io.eio.disconnect(abort=True)


async def storm(siskin, chance):
    async with aiohttp.ClientSession(siskin.url, headers={"Authorization": f"Bearer {siskin.api_key}"}) as http:
        await prepare(http)
    await asyncio.gather(*(live(siskin, random.Random(chance.random())) for _ in range(CLIENTS)))


def test_nothing_is_left_of_a_storm(start_siskin):
    siskin = start_siskin(WEBSOCKET_SERVER_PING_INTERVAL="1", WEBSOCKET_SERVER_PING_TIMEOUT="2")
    asyncio.run(storm(siskin, chance("storm")))
    end = time.monotonic() + 20
    while time.monotonic() < end:
        rooms = siskin.api("GET", "/rooms").json()["rooms"]
        sessions = siskin.api("GET", "/sessions").json()["sessions"]
        models = siskin.api("GET", "/models").json()["models"]
        if not rooms and not sessions and not models:
            break
        time.sleep(0.1)
    assert (rooms, sessions, models) == ([], [], [])
    assert siskin.metric("siskin_rooms") == 0
    assert siskin.metric("siskin_sockets") == 0
