"""Emits over Redis as the reference's own emitter does: a line of standard input is one emit, and is answered by one."""

import json
import sys

import socketio

manager = socketio.RedisManager(sys.argv[1], write_only=True, logger=False)
for line in sys.stdin:
    emit = json.loads(line)
    manager.emit(emit["event"], emit["data"], room=emit["room"])
    print(flush=True)
