"""Tasks that save notes, seen and stopped from both sides: siskin and a process of Open WebUI."""

import itertools
import time

import socketio
from shared import eventually
from siskin import wait_for
from test_documents import Editor, note, typed

# A change is saved half a second after it. What takes less was before that.
SOON = 0.4


def content(siskin, note_id):
    return siskin.api("GET", f"/notes/{note_id}").json()["data"]


def markdown(text):
    return {"content": {"md": text}}


def test_a_save_that_is_stopped_elsewhere_does_not_happen(start, redis_server, reference):
    """It is stopped by command, as by a process that has something newer to save; what comes later is saved again."""
    siskin = start()
    elsewhere = socketio.RedisManager(redis_server.url, write_only=True)
    ann, bob = Editor(siskin, "ann", note(siskin, "n")), Editor(siskin, "ann", note(siskin, "fence"))
    ann.open()
    bob.open()
    attempts = itertools.count()

    def stopped_in_time():
        """Whether the command was there before the save was due; if so, nothing was saved."""
        attempt, before, began = next(attempts), content(siskin, "n"), time.monotonic()
        ann.update(typed(7, attempt), data=markdown(f"stopped {attempt}"))
        reference.stop_tasks(ann.document)
        # It comes over the same connection as the command, and after it.
        elsewhere.emit("stopped", attempt, room="user:ann")
        wait_for(lambda: (ann.ask("heartbeat"), attempt in ann.named("stopped"))[1], what="the command")
        in_time = time.monotonic() < began + SOON
        # What is due later is saved; so this would have been.
        bob.update(typed(8, attempt), data=markdown(f"fence {attempt}"))
        eventually(lambda: content(siskin, "fence"), markdown(f"fence {attempt}"))
        assert not in_time or content(siskin, "n") == before
        return in_time

    wait_for(stopped_in_time, 120, "command in time")
    eventually(lambda: reference.redis.keys(reference.key("tasks*")), [])
    ann.update(typed(7, next(attempts)), data=markdown("later"))
    eventually(lambda: content(siskin, "n"), markdown("later"))


def test_a_task_is_renewed_while_it_waits(start, reference):
    """Somebody types on and on: the one task is known to others for longer than it lives by itself."""
    siskin = start(REDIS_TASK_TTL=1)
    ann = Editor(siskin, "ann", note(siskin))
    ann.open()
    seen, clock = {}, 0

    def lives_on():
        nonlocal clock
        ann.update(typed(7, clock), data=markdown(str(clock)))
        clock += 1
        now = time.monotonic()
        known = reference.tasks(ann.document)
        for id in [*seen]:
            if id not in known:
                del seen[id]
        return any(now - seen.setdefault(id, now) > 2.2 for id in known)

    wait_for(lives_on, 60, "task that lives on")
    eventually(lambda: reference.redis.keys(reference.key("tasks*")), [])


def test_a_task_may_live_until_it_is_removed(start, reference):
    """REDIS_TASK_TTL=0: its key has no end, as the reference sets it, and goes with the save all the same."""
    siskin = start(REDIS_TASK_TTL=0)
    ann = Editor(siskin, "ann", note(siskin))
    ann.open()
    seen = set()

    def kept():
        ann.update(typed(7, len(seen)), data=markdown(str(len(seen))))
        for id in reference.tasks(ann.document):
            seen.add(reference.redis.ttl(reference.key(f"tasks:{id}")))
        return seen - {-2}

    wait_for(kept, 60, "task")
    assert seen - {-2} == {-1}
    eventually(lambda: reference.redis.keys(reference.key("tasks*")), [])


def test_tasks_of_a_process_that_died_keep_nothing(start, reference):
    """A document that somebody else is about to save stays; once that task is not renewed any more, it goes, and the task too."""
    siskin = start()
    ann = Editor(siskin, "ann", note(siskin))
    ann.open()
    ann.update(typed(7, 0))
    theirs = reference.create_task(ann.document)
    ann.ask("ydoc:document:leave")
    assert len(reference.updates(ann.document)) == 1
    reference.redis.delete(reference.key(f"tasks:{theirs}"))
    ann.open()
    ann.ask("ydoc:document:leave")
    assert reference.redis.keys(reference.key("ydoc:*")) == []
    assert reference.redis.keys(reference.key("tasks*")) == []
