"""The order of src/: the rules as data, and what looks whether they are kept. Each rule returns what breaks it."""

import collections
import itertools
import re

from modules import without_comments, without_tests

# The floors, from the top. A module may name the modules of lower floors, and of its own floor those listed with it.
FLOORS = [
    {
        "main": {"cli"},
        "cli": {"serve", "http", "api", "events", "console"},
        "serve": {"http", "api", "events", "console"},
        "http": {"api", "events", "console"},
        "api": set(),
        "events": set(),
        "console": set(),
        # All that is read from outside, for the fuzzer.
        "fuzz": {"http"},
        # The two protocol layers and what serves them, for the conformance server.
        "protocol": {"http"},
    },
    {"app": set()},
    # What instances share tells who is signed in, in the directory's words.
    {"directory": set(), "peers": {"directory"}},
    {"socket": {"engine"}, "engine": set(), "redis": set(), "store": set()},
    {
        "config": {"ground", "json", "log"},
        "log": {"ground", "json"},
        "metrics": {"ground"},
        "token": {"ground", "json"},
        "systemd": {"ground", "log"},
        "outbox": {"ground", "metrics"},
        "json": {"ground"},
        "ground": set(),
    },
]

# Where `feature = "redis"` may stand in a cfg: folders, and files with how often.
REDIS_FOLDERS = ("src/peers/", "src/redis/")
# lib.rs: the module itself, what is not dead but unused without it, and the fuzzer, which feeds all or nothing.
REDIS_FILES = {"src/lib.rs": 3}

# Who may spawn tasks and threads; who may hand work to the pool of blocking threads. Everybody may ask an owner of tasks for
# one, which is seen by its name, a literal that comes first: `owner.spawn("what it does", ..)`.
SPAWN = ("src/ground/tasks/",)
UNBLOCK = ("src/store/", "src/ground/tasks/aside.rs")

MOST_LINES = 500

# In code whose strings are blank: no comma follows, as it does after a name.
SPAWNS = re.compile(r"(?:(?P<on>\w+)\s*(?:\(\s*\))?\s*(?:\.|::)|[)\]}?]\s*\.)\s*spawn(?:_local|_blocking)?\s*\((?!\s*,)")
UNBLOCKS = re.compile(r"(?<![\w.:])(?<!fn )(?:\w+\s*::\s*)*(?:unblock|aside_on_disk)\s*\(")
REDIS = re.compile(r'feature\s*=\s*"redis"')


def floor(top):
    """Counted from the top; None for a module that the table does not have."""
    return next((number for number, modules in enumerate(FLOORS) if top in modules), None)


def imports_point_down(crate):
    """A module names lower floors alone, and on its own floor what the table allows."""
    for top in sorted({module.top for module in crate.modules.values()} - {""}):
        if floor(top) is None:
            yield f"{top}: on no floor of the table"
    for use in crate.uses:
        user, used = use.user.top, use.used.top
        above, below = floor(user), floor(used)
        if user == used or None in (above, below):
            continue
        if above > below:
            yield f"{crate.name(use.user.file)}:{use.line}: {user} names {used}, which is above it"
        elif above == below and used not in FLOORS[above][user]:
            yield f"{crate.name(use.user.file)}:{use.line}: {user} names {used} beside it"


def graph(crate):
    """Which file names which, with the line.

    A module's file and those of its children are one thing written in several files: a child may name what its parent
    defines, and a parent may put its children's names on show. Neither counts. What a parent itself does with a child does,
    and so does everything between files of which neither is the other's parent, through whatever name it goes.
    """
    named = collections.defaultdict(dict)
    for use in crate.uses:
        user, used = use.user, use.used
        to_parent = user.path[: len(used.path)] == used.path
        on_show = use.reexport and used.path[: len(user.path)] == user.path
        if user.file != used.file and not to_parent and not on_show:
            named[user.file].setdefault(used.file, use.line)
    return named


def circle(named, start):
    """The shortest way from a file back to itself, as a list of files; None if there is none."""
    came = {}
    queue = collections.deque([start])
    while queue:
        file = queue.popleft()
        for other in sorted(named.get(file, ())):
            if other == start:
                way = [start, file]
                while way[-1] != start:
                    way.append(came[way[-1]])
                return way[::-1]
            if other not in came:
                came[other] = file
                queue.append(other)
    return None


def reached(named, start):
    """All files that a file names, and those that these name, and so on."""
    seen, queue = set(), [start]
    while queue:
        for other in named.get(queue.pop(), ()):
            if other not in seen:
                seen.add(other)
                queue.append(other)
    return seen


def no_circle_of_files(crate):
    """No files name each other, directly or through others. Of each knot, its shortest circle."""
    named = graph(crate)
    far = {file: reached(named, file) for file in named}
    knots = {frozenset(other for other in far[file] if file in far.get(other, ())) for file in named if file in far[file]}
    for knot in sorted(knots, key=sorted):
        way = min((circle(named, file) for file in sorted(knot)), key=len)
        steps = [f"{crate.name(one)}:{named[one][other]}" for one, other in itertools.pairwise(way)]
        yield f"{len(knot)} files name each other: {' -> '.join([*steps, crate.name(way[-1])])}"


def sources(crate, strings=False):
    """Each .rs file below src/, named from the repository: its code without comments and without its tests."""
    own = {module.file for module in crate.modules.values()}
    for file in sorted(crate.source.rglob("*.rs")):
        text = file.read_text()
        if file in own:
            blanked = without_comments(text, strings=False)
            yield crate.name(file), without_tests(blanked, without_comments(text) if strings else blanked)


def lines(code, pattern):
    """(line, match) of what is found in the code."""
    for found in pattern.finditer(code):
        yield code.count("\n", 0, found.start()) + 1, found


def redis_feature_in_its_place(crate):
    """`cfg(feature = "redis")` stands in peers/ and redis/, and where the table says."""
    for name, code in sources(crate, strings=True):
        found = [] if name.startswith(REDIS_FOLDERS) else [line for line, _ in lines(code, REDIS)]
        if len(found) > REDIS_FILES.get(name, 0):
            yield from (f'{name}:{line}: feature = "redis"' for line in found)


def tasks_have_an_owner(crate):
    """Nobody spawns but the owner of tasks; nobody but the store and what works aside uses the pool of blocking threads."""
    for name, code in sources(crate):
        if not name.startswith(SPAWN):
            yield from (f"{name}:{line}: {spawn['on'] or '..'} spawns" for line, spawn in lines(code, SPAWNS))
        if not name.startswith(UNBLOCK):
            yield from (f"{name}:{line}: unblock(..)" for line, _ in lines(code, UNBLOCKS))


def files_are_short(crate):
    """No file is longer than MOST_LINES."""
    for file in sorted(crate.source.rglob("*.rs")):
        count = len(file.read_text().splitlines())
        if count > MOST_LINES:
            yield f"{crate.name(file)}: {count} lines"


def files_say_their_job(crate):
    """Each file begins with a doc line."""
    for file in sorted(crate.source.rglob("*.rs")):
        if not file.read_text().startswith("//! "):
            yield f"{crate.name(file)}: does not begin with `//! `"


def map_is_complete(crate):
    """The map in lib.rs names all of its modules, and nothing that isn't there."""
    text = (crate.source / "lib.rs").read_text()
    doc = "\n".join(itertools.takewhile(lambda line: line.startswith("//!"), text.splitlines()))
    mapped = set(re.findall(r"\[`(\w+)`\]", doc))
    there = {module.top for module in crate.modules.values()} - {"", "main"}
    yield from (f"src/lib.rs: the map lacks {name}" for name in sorted(there - mapped))
    yield from (f"src/lib.rs: the map has {name}, which is no module" for name in sorted(mapped - there))


RULES = [
    imports_point_down,
    no_circle_of_files,
    redis_feature_in_its_place,
    tasks_have_an_owner,
    files_are_short,
    files_say_their_job,
    map_is_complete,
]
