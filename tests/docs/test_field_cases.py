"""Each case that failed in use has a test that names it: `field A1`, or `field A1, A2`, in the id of a
parameter, in a docstring or in a comment."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAST = {"A": 17, "B": 6, "C": 9, "D": 12, "E": 24, "F": 8, "G": 23}
CASES = [f"{family}{number}" for family, last in LAST.items() for number in range(1, last + 1)]

# These need what comes later: the history of an order, several machines, and the chat's own rework.
WAITING = {
    *("A16", "D8", "D9", "D10", "E18", "E24"),
    *("G9", "G13", "G14", "G15", "G16", "G17", "G20"),
}

_NUMBER = r"[A-G]\d+"
_MARK = re.compile(rf"\bfield ({_NUMBER}(?:(?:, and |, | and ){_NUMBER})*)\b")


def marks(text: str) -> Iterator[str]:
    for found in _MARK.finditer(text):
        yield from re.findall(_NUMBER, found[1])


def named() -> set[str]:
    found: set[str] = set()
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if path != Path(__file__):
            text = path.read_text(encoding="utf-8")
            # A file's own docstring tells of no test.
            found.update(marks(text.replace(ast.get_docstring(ast.parse(text), clean=False) or "\0", "")))
    return found


def test_no_case_is_named_that_does_not_exist() -> None:
    assert named() - set(CASES) == set()


def test_every_case_that_does_not_wait_has_a_test() -> None:
    assert set(CASES) - WAITING - named() == set()


def test_a_case_that_has_a_test_is_not_listed_as_waiting() -> None:
    assert WAITING & named() == set(), "take it out of WAITING"


def test_marks_are_read_as_they_are_written() -> None:
    assert list(marks("field A1, A2 and F3: so it is")) == ["A1", "A2", "F3"]
    assert list(marks("a field of A1")) == []
