"""python-socketio with the bench's contract; run by uvicorn: `uvicorn python_peer:app`."""

import socketio

sio = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*", ping_interval=25, ping_timeout=60)
app = socketio.ASGIApp(sio)


@sio.event
async def connect(sid, environ, auth):
    await sio.enter_room(sid, "all")


@sio.event
async def echo(sid, *args):
    return args


@sio.event
async def join(sid, room):
    await sio.enter_room(sid, room)


@sio.event
async def broadcast(sid, text):
    await sio.emit("msg", text, room="all")


@sio.event
async def stream(sid, count, text):
    for _ in range(count):
        await sio.emit("events", text, to=sid)
