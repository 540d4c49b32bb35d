"""Who loses the connection and comes back is asked again by whoever asked over Redis, and that one does not notice."""

import asyncio
import json

import pytest
from parts import scene, until
from siskin import token
from wire import WebSocket


class Browser(WebSocket):
    """One that can come back: `pid` of the session that it takes up."""

    def __init__(self, instance, user, pid=None):
        super().__init__(instance)
        assert self.recv_text().startswith("0{")
        self.text("40" + json.dumps({"token": token(user), "recover": True, **({"pid": pid} if pid else {})}))
        while not (text := self.recv_text()).startswith("40"):
            pass
        self.sid, self.pid = (json.loads(text[2:])[key] for key in ("sid", "pid"))

    def question(self):
        """The next packet that asks for an ack: its id and its arguments."""
        while not (text := self.recv_text()).startswith("42") or text[2] == "[":
            pass
        number, _, args = text[2:].partition("[")
        return int(number), json.loads("[" + args)

    def answer(self, number, *args):
        self.text(f"43{number}{json.dumps(list(args))}")


def asking(s, who, sid, **event):
    """A question of the other instance's API or of a python-socketio server; what is answered."""
    if who == "python":
        return s.p.io.call("ask", {"q": 1}, to=sid, timeout=20)
    event = {"type": "execute:python", "data": {}, **event}
    asked = {"user_id": "ann", "session_id": sid, "chat_id": "saved", "event": event, "timeout": 20}
    return s.b("POST", "/chat/call", asked, ok=False)


@pytest.mark.parametrize("who", ["siskin", "python"])
@pytest.mark.parametrize("kind", ["execute:python", "confirmation"])
def test_a_question_is_asked_again(mode, redis_server, start_siskin, who, kind):
    """Of a question to a person the asker knows that it may be asked elsewhere; nobody is there, so it is asked here again."""

    async def run(s):
        browser = await asyncio.to_thread(Browser, s.a.instance, "ann")
        await until(lambda: _owner(s, browser.sid), what="its session in the pool")
        answer = asyncio.ensure_future(asking(s, who, browser.sid, type=kind))
        first, _ = await asyncio.to_thread(browser.question)
        for _ in range(2):
            browser.close()
            await until(lambda: _away(s), what="a session that is away")
            again = await asyncio.to_thread(Browser, s.a.instance, "ann", browser.pid)
            assert again.sid == browser.sid and not answer.done()
            browser, (number, _) = again, await asyncio.to_thread(again.question)
        assert (number == first) == (who == "python" or kind == "execute:python")
        browser.answer(number, {"yes": 1})
        answered = await asyncio.wait_for(answer, 20)
        assert answered in ({"yes": 1}, {"answer": {"yes": 1}}), answered

    scene(run)(mode, start_siskin, redis_server)


async def _owner(s, sid):
    return await s.redis.hexists("open-webui:session_pool", sid)


async def _away(s):
    return await s.a.metric("siskin_away_sessions") == 1


@scene
async def test_who_is_asked_while_away_is_asked_when_back_and_else_is_gone(s):
    """Whoever asks in the moment in which the others don't know yet."""
    browser = await asyncio.to_thread(Browser, s.a.instance, "ann")
    browser.close()
    await until(lambda: _away(s), what="a session that is away")
    answer = asyncio.ensure_future(asking(s, "python", browser.sid))
    await asyncio.sleep(0.5)
    again = await asyncio.to_thread(Browser, s.a.instance, "ann", browser.pid)
    number, _ = await asyncio.to_thread(again.question)
    again.answer(number, "late")
    assert await asyncio.wait_for(answer, 20) == "late"


@scene
async def test_who_is_given_up_is_gone_for_who_asks(s):
    browser = await asyncio.to_thread(Browser, s.a.instance, "ann")
    await until(lambda: _owner(s, browser.sid), what="its session in the pool")
    answer = asyncio.ensure_future(asking(s, "siskin", browser.sid))
    await asyncio.to_thread(browser.question)
    browser.close()
    await until(lambda: _away(s), what="a session that is away")
    await asyncio.sleep(0.5)
    assert not answer.done()
    await s.a("DELETE", "/users/ann/sessions")
    assert (await asyncio.wait_for(answer, 20))["status"] == 410
