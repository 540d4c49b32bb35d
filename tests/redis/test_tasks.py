"""Tasks that save notes, seen and stopped from both sides: siskin and a process of Open WebUI."""

import time

from shared import eventually
from siskin import wait_for
from test_documents import Editor, note, typed


def content(siskin, note_id):
    return siskin.api("GET", f"/notes/{note_id}").json()["data"]


def markdown(text):
    return {"content": {"md": text}}


def test_a_save_that_is_stopped_elsewhere_does_not_happen(start, reference):
    """It is stopped by command, as by a process that has something newer to save; what comes later is saved again."""
    siskin = start()
    ann, bob = Editor(siskin, "ann", note(siskin, "n")), Editor(siskin, "ann", note(siskin, "fence"))
    ann.open()
    bob.open()
    for attempt in range(10):
        before = content(siskin, "n")
        ann.update(typed(7, attempt), data=markdown(f"stopped {attempt}"))
        reference.stop_tasks(ann.document)
        # What is due later is saved; so this would have been. Unless the command came too late, on a busy machine.
        bob.update(typed(8, attempt), data=markdown(f"fence {attempt}"))
        eventually(lambda: content(siskin, "fence"), markdown(f"fence {attempt}"))
        if content(siskin, "n") == before:
            break
    else:
        raise AssertionError("it was saved each time")
    eventually(lambda: reference.redis.keys(reference.key("tasks*")), [])
    ann.update(typed(7, 10), data=markdown("later"))
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
