"""The table of rooms in docs/architecture.md is true: which room imports which."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = (
    (ROOT / "docs/architecture.md").read_text("utf-8").partition("## Rooms")[2].partition("\n\nFour rooms")[0]
)
ROWS = re.findall(r"^\| `(\w+)/` \|.*\| ([^|]+) \|$", TABLE, re.MULTILINE)
ROOMS = [room for room, _ in ROWS]


def imported(path: Path) -> Iterator[str]:
    """The rooms that a module imports, by relative imports: the package has no others."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            names = (*base, *(node.module or "").split(".")) if node.module else base
            yield from (names[0],) if names else (alias.name for alias in node.names)


def allowed(room: str, knows: str) -> set[str]:
    above = ROOMS[: ROOMS.index(room)]
    if knows.startswith("all above"):
        return set(above)
    if knows == "the models above":
        return {"chat", "orders", "postbacks", "referral"}
    return set(re.findall(r"\w+", knows)) & set(above)


def test_every_room_stands_in_the_table() -> None:
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "bench", "examples"}
    assert set(ROOMS) == rooms


@pytest.mark.parametrize(("room", "knows"), ROWS)
def test_a_room_imports_only_what_the_table_says(room: str, knows: str) -> None:
    found = {(name, path.name) for path in (ROOT / room).rglob("*.py") for name in imported(path)}
    assert (
        sorted(pair for pair in found if pair[0] in ROOMS and pair[0] not in allowed(room, knows) | {room})
        == []
    )
