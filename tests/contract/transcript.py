"""Reads a transcript and compares what came with what it says. README.md describes the form."""

import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

ROWS = sorted((Path(__file__).parent / "rows").glob("*.txt"))
SENDING = {"+", "-", ">", ">?", "=>", "wait"}
LINE = re.compile(r"(?P<who>[\w/]+)\s+(?P<mark><\?|>\?|=>|[-+<>=!])(?:\s+(?P<rest>.*))?$", re.S)


@dataclass
class Line:
    who: str
    mark: str
    rest: str
    number: int

    @property
    def sends(self):
        return self.mark in SENDING

    def name_and_args(self):
        """The event's name and its arguments."""
        name, _, rest = self.rest.partition(" ")
        return name, values(rest)

    def __str__(self):
        return f"line {self.number}: {self.who} {self.mark} {self.rest}"


@dataclass
class Step:
    """A sending line, and what it causes."""

    line: Line
    causes: list = field(default_factory=list)


def values(text):
    """JSON values one after another."""
    decoder, found, text = json.JSONDecoder(), [], text.strip()
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].lstrip()
    return found


def read(path):
    """The steps of a transcript."""
    joined = []
    for number, text in enumerate(path.read_text().splitlines(), 1):
        if not text.strip() or text.startswith("#"):
            continue
        if text[0].isspace():
            joined[-1][1] += " " + text.strip()
        else:
            joined.append([number, text])
    steps = []
    for number, text in joined:
        line = parse(text, number)
        if line.sends:
            steps.append(Step(line))
        else:
            steps[-1].causes.append(line)
    return steps


def parse(text, number):
    if text.startswith("wait "):
        return Line("", "wait", text[5:], number)
    match = LINE.match(text)
    assert match, f"line {number} is no line of a transcript: {text}"
    return Line(match["who"], match["mark"], (match["rest"] or "").strip(), number)


class Names:
    """What the placeholders stand for."""

    def __init__(self, token, sid):
        self.token, self.sid, self.the = token, sid, {}

    def fill(self, value):
        """The value to send."""
        if isinstance(value, dict):
            return {key: self.fill(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.fill(inner) for inner in value]
        if isinstance(value, str) and (match := re.fullmatch(r"\{(token|sid|the) (\S+)\}", value)):
            kind, of = match.groups()
            return {"token": self.token, "sid": self.sid, "the": self.the.get}[kind](of)
        return value

    def fits(self, said, came):
        """Whether what came is what the transcript says."""
        if said == "{any}":
            return True
        if said == "{now}":
            return isinstance(came, (int, float)) and abs(came - time.time()) < 5
        if isinstance(said, str) and (match := re.fullmatch(r"\{the (\S+)\}", said)):
            return self.the.setdefault(match[1], came) == came
        if isinstance(said, dict) and isinstance(came, dict):
            return said.keys() == came.keys() and all(self.fits(said[key], came[key]) for key in said)
        if isinstance(said, list) and isinstance(came, (list, tuple)):
            return len(said) == len(came) and all(map(self.fits, said, came))
        return type(self.fill(said)) is type(came) and self.fill(said) == came
