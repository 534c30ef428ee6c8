import re
import tomllib
from typing import Any

import pytest
from clew.settings.positions import KeyPath, positions
from hypothesis import given
from hypothesis import strategies as st

FILE = """\
# the file
secret = "x"   # why
list = [ # [not] = this
  1,
  [2, 3],

  { a = 4, b.c = 5 }, "]", '''
  key = 6 ]
''', 7,
]
"quoted.key" . 'and' . bare = 8
text = \"\"\"
[table]
key = "no" \\\"""
\"\"\"\"\"
when = 1979-05-27 07:32:00Z

[a.b]
x = { }
y = {z = [
  1, # one
  2 ]}

[[sites]]
name = 'one'
[sites.order]
page = "/"
  [[sites.partners]]
  id = "p"
  settings.api.key = 1

  [[sites.partners]]
  id = "q"

[[sites]]
name = "two"
[[sites.partners]]
id = "r"
"""

LINES: dict[KeyPath, int] = {
    ("secret",): 2,
    ("list",): 3,
    ("list", 0): 4,
    ("list", 1): 5,
    ("list", 1, 1): 5,
    ("list", 2, "a"): 7,
    ("list", 2, "b"): 7,
    ("list", 2, "b", "c"): 7,
    ("list", 3): 7,
    ("list", 4): 7,
    ("list", 5): 9,
    ("quoted.key",): 11,
    ("quoted.key", "and", "bare"): 11,
    ("text",): 12,
    ("when",): 16,
    ("a",): 18,
    ("a", "b"): 18,
    ("a", "b", "x"): 19,
    ("a", "b", "y", "z"): 20,
    ("a", "b", "y", "z", 1): 22,
    ("sites",): 24,
    ("sites", 0): 24,
    ("sites", 0, "name"): 25,
    ("sites", 0, "order"): 26,
    ("sites", 0, "order", "page"): 27,
    ("sites", 0, "partners"): 28,
    ("sites", 0, "partners", 0): 28,
    ("sites", 0, "partners", 0, "settings", "api", "key"): 30,
    ("sites", 0, "partners", 1): 32,
    ("sites", 0, "partners", 1, "id"): 33,
    ("sites", 1): 35,
    ("sites", 1, "name"): 36,
    ("sites", 1, "partners", 0): 37,
    ("sites", 1, "partners", 0, "id"): 38,
}


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_each_key_is_found_in_its_line(ending: str) -> None:
    found = positions(FILE.replace("\n", ending))
    assert {path: found.get(path) for path in LINES} == LINES


def paths(value: Any, above: KeyPath = ()) -> set[KeyPath]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {above, *(path for key, held in inner for path in paths(held, (*above, key)))}


def test_no_other_keys_are_found() -> None:
    assert set(positions(FILE)) | {()} == paths(tomllib.loads(FILE))


KEYS = st.sampled_from(["a", "b-c", "_1", "42", "sites", "ü x", "d.e", "'", '"', "[", "="])
SCALARS = st.sampled_from(
    ['"#]"', "'\"'", '"\\""', '"""\n"#\\\n"""', "'''\n'''", "1.5", "true", "1979-05-27 07:32:00"]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


def tables(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    table = inner.map(lambda tree: ("table", tree))
    array = st.lists(inner, min_size=1, max_size=3).map(lambda trees: ("array", trees))
    return st.dictionaries(KEYS, VALUES | table | array, max_size=4)


TREES = st.recursive(st.dictionaries(KEYS, VALUES, max_size=3), tables, max_leaves=8)


class Writer:
    """Writes a tree as TOML and notes in which line it put each key."""

    def __init__(self, draw: Any) -> None:
        self.text = ""
        self.lines: dict[KeyPath, int] = {}
        self.draw = draw

    def note(self, path: KeyPath) -> None:
        self.lines.setdefault(path, self.text.count("\n") + 1)

    def space(self) -> None:
        self.text += self.draw(st.sampled_from(["", " ", "\t"]))

    def blank(self) -> None:
        self.text += self.draw(st.sampled_from(["", " ", "\n", " # ] } = 'x\n", "\r\n\n"]))

    def key(self, key: str) -> str:
        if re.fullmatch(r"[A-Za-z0-9_-]+", key) and self.draw(st.booleans()):
            return key
        return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'

    def value(self, value: Any, path: KeyPath) -> None:
        self.note(path)
        if isinstance(value, str):
            self.text += value
        elif isinstance(value, list):
            self.text += "["
            for number, item in enumerate(value):
                self.blank()
                self.value(item, (*path, number))
                self.blank()
                self.text += ","
            self.blank()
            self.text += "]"
        else:
            self.text += "{"
            for number, (key, item) in enumerate(value.items()):
                self.text += ", " if number else ""
                self.pair(key, item, path)
            self.text += "}"

    def pair(self, key: str, value: Any, path: KeyPath) -> None:
        self.space()
        self.note((*path, key))
        self.text += self.key(key)
        self.space()
        self.text += "="
        self.space()
        self.value(value, (*path, key))
        self.space()

    def table(self, tree: dict[str, Any], path: KeyPath, header: list[str]) -> None:
        for key, value in tree.items():
            if not isinstance(value, tuple):
                self.pair(key, value, path)
                self.text += "\n"
        for key, value in tree.items():
            if isinstance(value, tuple):
                kind, held = value
                name = [*header, self.key(key)]
                self.note((*path, key))
                for number, item in enumerate(held if kind == "array" else [held]):
                    inner = (*path, key, number) if kind == "array" else (*path, key)
                    self.blank()
                    self.text += "" if self.text.endswith("\n") or not self.text else "\n"
                    self.lines.pop((*path, key), None) if number == 0 else None
                    self.note((*path, key))
                    self.note(inner)
                    dotted = " . ".join(name)
                    self.text += f"[[{dotted}]]\n" if kind == "array" else f"[ {dotted} ]\n"
                    self.table(item, inner, name)


@given(TREES, st.data())
def test_in_any_file_every_key_is_found_in_the_line_where_it_was_written(
    tree: dict[str, Any], data: Any
) -> None:
    writer = Writer(data.draw)
    writer.table(tree, (), [])
    tomllib.loads(writer.text)
    assert positions(writer.text) == writer.lines
