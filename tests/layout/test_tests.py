"""Each test of a Python file is run: a later one of the same name would take its place unseen."""

import ast
import collections
import pathlib

TESTS = pathlib.Path(__file__).resolve().parents[1]


def hidden(text):
    """Names that a module gives to more than one of its functions and classes."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    names = collections.Counter(node.name for node in ast.parse(text).body if isinstance(node, kinds))
    return [name for name, count in names.items() if count > 1]


def test_no_test_hides_another():
    files = [*TESTS.glob("*.py"), *TESTS.glob("[a-z]*/*.py")]
    assert len(files) > 80
    assert {file.name: names for file in files if (names := hidden(file.read_text()))} == {}


def test_one_that_hides_another_is_found():
    assert hidden("def test_a(): pass\ndef test_b(): pass\ndef test_a(): pass\n") == ["test_a"]
