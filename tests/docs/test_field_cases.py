"""The marks of tests, `field A1` or `feature E13`, against the list of promises in `tests/field-cases.md`."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIST = (ROOT / "tests" / "field-cases.md").read_text(encoding="utf-8")

_NUMBER = r"[A-G]\d+"
_MARK = re.compile(rf"\b(field|feature) ({_NUMBER}(?:(?:, and |, | and ){_NUMBER})*)\b")
_ROW = re.compile(rf"^\| ((?:(?:field|feature) )?{_NUMBER}) \| (.+) \|$", re.MULTILINE)


def marks(text: str) -> Iterator[str]:
    for found in _MARK.finditer(text):
        yield from (f"{found[1]} {number}" for number in re.findall(_NUMBER, found[2]))


def marked() -> set[str]:
    found: set[str] = set()
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if path != Path(__file__):
            text = path.read_text(encoding="utf-8")
            # A file's own docstring describes no test.
            found.update(marks(text.replace(ast.get_docstring(ast.parse(text), clean=False) or "\0", "")))
    return found


def rows(section: str) -> list[tuple[str, str]]:
    """The ids and texts of a section's tables."""
    text = LIST.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [(found[1], found[2]) for found in _ROW.finditer(text)]


LISTED = [
    *(f"field {number}" for number, _ in rows("Field cases")),
    *(f"feature {number}" for number, _ in rows("Features")),
]
NOT_YET = dict(rows("Not yet"))


def test_a_mark_names_a_listed_promise() -> None:
    assert marked() - set(LISTED) == set(), "add it to tests/field-cases.md"


def test_a_listed_promise_has_a_test_or_a_reason() -> None:
    assert set(LISTED) - NOT_YET.keys() - marked() == set(), "mark a test, or give a reason under Not yet"


def test_a_promise_with_a_test_is_not_listed_as_missing() -> None:
    assert NOT_YET.keys() & marked() == set(), "remove it from Not yet"
    assert NOT_YET.keys() - set(LISTED) == set(), "the promise itself is not listed"


def test_a_promise_is_listed_once() -> None:
    assert len(LISTED) == len(set(LISTED))
    assert len({text for _, text in (*rows("Field cases"), *rows("Features"))}) == len(LISTED)


def test_the_lists_numbers_have_no_gaps() -> None:
    families: dict[str, list[int]] = {}
    for number, _ in rows("Field cases"):
        families.setdefault(number[0], []).append(int(number[1:]))
    assert "".join(families) == "ABCDEFG"
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in families.values())


def test_a_mark_of_several_numbers_names_each() -> None:
    assert list(marks("field A1, A2 and F3: so it is")) == ["field A1", "field A2", "field F3"]
    assert list(marks("feature E13")) == ["feature E13"]
    assert list(marks("a field of A1")) == []
