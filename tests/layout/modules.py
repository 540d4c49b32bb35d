"""Reads a Rust crate's sources: its modules, and which module names which other one.

No compiler: comments, strings and test code are blanked, then `mod`, `use` and paths such as `crate::a::b` are read.
What a path names is followed through `use` and `pub use` to the file that defines it. A call of a method is not seen.
"""

import pathlib
import re

TEST = re.compile(r"#\s*\[\s*cfg\s*\(\s*(?:all\s*\(\s*)?test\b[^\]]*\]")
MODULE = re.compile(r"(?<!\w)mod\s+(\w+)\s*([;{])")
USE = re.compile(r"(?P<visible>pub(?:\s*\([^)]*\))?\s+)?(?<!\w)use\s+(?P<tree>[^;]+);")
ITEM = re.compile(r"(?<!\w)(?:fn|struct|enum|const|static|type|trait|union|macro_rules!)\s+(\w+)")
PATH = re.compile(r"(?<![\w:])(\w+(?:\s*::\s*\w+)+)")
NOT_CODE = re.compile(
    r'(?P<comment>//[^\n]*|/\*)|(?P<string>b?"(?:\\.|[^"\\])*"|b?r(?P<hashes>#*)".*?"(?P=hashes)|b?\'(?:\\.[^\']*|[^\'\\])\')',
    re.DOTALL,
)


def blank(text):
    """As many spaces, with the line ends where they were."""
    return re.sub(r"[^\n]", " ", text)


def without_comments(text, strings=True):
    """The code without comments; without what strings hold, if `strings` is False."""
    out, at = [], 0
    while found := NOT_CODE.search(text, at):
        out.append(text[at : found.start()])
        at = found.end()
        if found["comment"] == "/*":
            at = _comment_end(text, at)
        kept = found["string"] if found["string"] and strings else blank(text[found.start() : at])
        out.append(kept)
    return "".join(out) + text[at:]


def _comment_end(text, at):
    depth = 1
    while depth and (found := re.compile(r"/\*|\*/").search(text, at)):
        depth += 1 if found[0] == "/*" else -1
        at = found.end()
    return at if not depth else len(text)


def item_end(code, at):
    """Where the item that begins at `at` ends: after its `;` or its closing brace."""
    depth = 0
    for place in range(at, len(code)):
        letter = code[place]
        depth += (letter in "({[") - (letter in ")}]")
        if depth == 0 and (letter == ";" or letter == "}"):
            return place + 1
    return len(code)


def without_tests(code, whole=None):
    """Blanks items under `#[cfg(test)]`. `whole`, of the same length, is what is returned blanked at the same places."""
    whole = code if whole is None else whole
    while found := TEST.search(code):
        end = item_end(code, found.end())
        code = code[: found.start()] + blank(code[found.start() : end]) + code[end:]
        whole = whole[: found.start()] + blank(whole[found.start() : end]) + whole[end:]
    return whole


def read_use(tree):
    """(path, name) of each leaf of a use tree; the name is `*` for all."""
    tree = tree.strip()
    head, brace, rest = tree.partition("{")
    prefix = [part.strip() for part in head.split("::") if part.strip()]
    if not brace:
        last, _, alias = prefix[-1].partition(" as ")
        path = [*prefix[:-1], last.strip()]
        if path[-1] == "self":
            path = path[:-1]
        return [(path, alias.strip() or "".join(path[-1:]))]
    leaves = []
    for part in _split(rest.rpartition("}")[0]):
        for path, name in read_use(part):
            leaves.append(([*prefix, *path], name or prefix[-1]))
    return leaves


def _split(text):
    parts, depth, part = [], 0, ""
    for letter in text:
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += letter
    return [part for part in [*parts, part] if part.strip()]


class Module:
    """One module: its path from the crate's root, its file, its code."""

    def __init__(self, path, file, code, line=1):
        self.path = path
        self.file = file
        self.line = line
        self.names = {}
        self.globs = []
        self.uses = []
        self.code = code
        self.items = set(ITEM.findall(code))

    @property
    def top(self):
        return self.path[0] if self.path else ""

    def line_of(self, place):
        return self.line + self.code.count("\n", 0, place)


class Use:
    """One module names another one."""

    def __init__(self, user, used, line, reexport):
        self.user = user
        self.used = used
        self.line = line
        self.reexport = reexport


class Crate:
    """All modules of a crate but those of its tests: their names are in `of_tests`. `uses` lists what names what."""

    def __init__(self, source):
        self.source = pathlib.Path(source)
        self.modules = {}
        self.missing = []
        self.of_tests = set()
        self._read((), self.source / "lib.rs")
        self._read(("main",), self.source / "main.rs")
        for module in self.modules.values():
            self._read_uses(module)
        self.uses = [use for module in list(self.modules.values()) for use in self._uses(module)]

    def name(self, file):
        return str(file.relative_to(self.source.parent))

    def files(self):
        """Each file of the crate's own code, with the module that it holds."""
        return {module.file: module for module in self.modules.values() if not self._inline(module)}

    def _inline(self, module):
        return bool(module.path) and module.path[:-1] in self.modules and self.modules[module.path[:-1]].file == module.file

    def _read(self, path, file):
        if not file.exists():
            if path != ("main",):
                self.missing.append(path)
            return
        whole = without_comments(file.read_text(), strings=False)
        code = without_tests(whole)
        self.of_tests |= {name for name, _ in MODULE.findall(whole)} - {name for name, _ in MODULE.findall(code)}
        self._add(path, file, code, 1)

    def _add(self, path, file, code, line):
        module = self.modules[path] = Module(path, file, code, line)
        children = [] if path == ("main",) else list(MODULE.finditer(code))
        at = 0
        for child in children:
            if child.start() < at:
                continue
            if child[2] == "{":
                at = item_end(code, child.start())
                self._add((*path, child[1]), file, code[child.end() : at - 1], module.line_of(child.end()))
                module.code = module.code[: child.end()] + blank(code[child.end() : at - 1]) + module.code[at - 1 :]
            else:
                self._read((*path, child[1]), self._file(path, file, child[1]))
        module.items = set(ITEM.findall(module.code))

    def _file(self, path, file, name):
        folder = file.parent if not path or file.name == "mod.rs" else file.parent / path[-1]
        flat = folder / f"{name}.rs"
        return flat if flat.exists() else folder / name / "mod.rs"

    def _read_uses(self, module):
        def read(found):
            line = module.line_of(found.start("tree"))
            for path, name in read_use(found["tree"]):
                module.uses.append((path, line, bool(found["visible"])))
                if name == "*":
                    module.globs.append(path[:-1])
                else:
                    module.names[name] = path
            return blank(found[0])

        module.code = USE.sub(read, module.code)

    def _uses(self, module):
        found = list(module.uses)
        for path in PATH.finditer(module.code):
            found.append(([part.strip() for part in path[1].split("::")], module.line_of(path.start()), False))
        for path, line, visible in found:
            used = self.resolve(module, path[:-1] if path[-1] == "*" else path)
            if used and used is not module:
                yield Use(module, used, line, visible)

    def resolve(self, start, path):
        """The module that defines what the path names; None for another crate's."""
        return self._follow(start, path, frozenset())[0]

    def _follow(self, here, path, seen):
        """The module, and whether the path names the module itself and not something in it."""
        inside = False
        for place, part in enumerate(path):
            if place == 0 and part in ("crate", "siskin", "self"):
                here = here if part == "self" else self.modules[()]
            elif part == "super" and here.path:
                here = self.modules[here.path[:-1]]
            elif (*here.path, part) in self.modules and here.path != ("main",):
                here = self.modules[(*here.path, part)]
            elif part in here.names and (here, part) not in seen:
                found, whole = self._follow(here, here.names[part], seen | {(here, part)})
                if not whole:
                    return found, False
                here = found
            else:
                known = inside or part in here.items
                return (self._defining(here, part, seen), False) if known else (None, False)
            inside = True
        return here, True

    def _defining(self, module, name, seen):
        """The module itself, or the one that it takes everything from and that has the name."""
        for path in [] if name in module.items else module.globs:
            if (module, tuple(path)) not in seen:
                found, whole = self._follow(module, path, seen | {(module, tuple(path))})
                if whole and name in found.items:
                    return found
        return module
