"""All documents together have a bound."""

import json

from siskin import Siskin, wait_for
from stranger import insertion
from wire import WebSocket


class Editor(WebSocket):
    def __init__(self, siskin, document):
        super().__init__(siskin, timeout=60)
        self.join("ann")
        self.document = document
        self.acks = 0
        self.heard = []

    def ask(self, event, **payload):
        self.acks += 1
        self.event(event, {"document_id": self.document, **payload}, ack=self.acks)
        self.until(self.acks)

    def until(self, ack):
        """Keeps the events that come before an ack."""
        while not (text := self.recv_text()).startswith(f"43{ack}["):
            if text.startswith("42"):
                self.heard.append(json.loads(text[2:]))


def test_all_documents_have_a_bound_and_there_is_room_again_when_one_is_closed():
    siskin = Siskin(SISKIN_DOCUMENTS_BYTES="1 MiB")
    try:
        editors = [Editor(siskin, document) for document in ("one", "two")]
        for editor in editors:
            editor.ask("ydoc:document:join")
            editor.ask("ydoc:document:update", update=list(insertion(600_000, 7)))
        refused = {"message": "The server has no room for more in its documents", "document_id": "two", "reason": "no room"}
        assert [["error", refused] in editor.heard for editor in editors] == [False, True]
        wait_for(lambda: siskin.log().count("SISKIN_DOCUMENTS_BYTES") == 1, what="a line in the log")
        assert siskin.metric('siskin_refused_total{reason="bytes of all documents"}') == 1
        editors[0].ask("ydoc:document:leave")
        editors[1].heard.clear()
        editors[1].ask("ydoc:document:update", update=list(insertion(600_000, 7)))
        # It may have been asked for its edits meanwhile.
        assert [event for event in editors[1].heard if event[0] == "error"] == []
    finally:
        siskin.close()
