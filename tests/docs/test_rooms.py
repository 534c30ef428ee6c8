"""The tables of rooms in docs/architecture.md are true: which room imports which."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text("utf-8").partition("## Rooms")[2].partition("\n## ")[0]
ROWS = re.findall(r"^\| `(\w+)/` \| [^|]+ \| ([^|]+) \|$", PAGE, re.MULTILINE)
ROOMS = [room for room, _ in ROWS]
INNER_ROWS = re.findall(r"^\| `(\w+)/` \| [^|]+ \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)
MODULES = {
    path.relative_to(ROOT).with_suffix("").parts: path
    for room in ROOMS
    for path in (ROOT / room).rglob("*.py")
}

Module = tuple[str, ...]


def imported(path: Path) -> Iterator[Module]:
    """What a module imports, by relative imports: the package has no others."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = (*package[: len(package) - node.level + 1], *(node.module or "").split("."))
            base = tuple(part for part in base if part)
            for alias in node.names:
                yield base if base in MODULES else (*base, alias.name)


def allowed(room: str, knows: str) -> set[str]:
    above = ROOMS[: ROOMS.index(room)]
    if knows.startswith("all above"):
        return set(above)
    if knows == "the models above":
        return {"chat", "credit", "orders", "payouts", "postbacks", "referral", "rules"}
    return set(re.findall(r"\w+", knows)) & set(above)


def test_every_package_is_in_the_table() -> None:
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "bench", "examples"}
    assert set(ROOMS) == rooms


@pytest.mark.parametrize(("room", "knows"), ROWS)
def test_a_package_imports_only_what_the_table_allows(room: str, knows: str) -> None:
    found = {(name[0], path.name) for path in (ROOT / room).rglob("*.py") for name in imported(path)}
    assert (
        sorted(pair for pair in found if pair[0] in ROOMS and pair[0] not in allowed(room, knows) | {room})
        == []
    )


def test_the_diagram_of_the_packages_matches_the_table() -> None:
    picture = PAGE.partition("```mermaid\n")[2].partition("```")[0]
    drawn = set(re.findall(r"^    (\w+) --> (\w+)$", picture, re.MULTILINE))
    pairs = {(room, known) for room, knows in ROWS for known in allowed(room, knows)}
    assert drawn - pairs == set()
    assert pairs - _closure(drawn) == set()


def _closure(arrows: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """All pairs of rooms of which the second is reached from the first by arrows."""
    found = set(arrows)
    while added := {(a, d) for a, b in found for c, d in arrows if b == c} - found:
        found |= added
    return found


def test_every_middleware_package_is_in_its_table() -> None:
    rooms = {path.parent.name for path in (ROOT / "middleware").glob("*/__init__.py")}
    assert {room for room, _, _ in INNER_ROWS} == rooms


@pytest.mark.parametrize(("room", "neighbours", "others"), INNER_ROWS)
def test_a_middleware_package_imports_only_what_its_table_allows(
    room: str, neighbours: str, others: str
) -> None:
    near, far = (set(re.findall(r"`([\w/]+)`", cell)) for cell in (neighbours, others))
    bound = not others.startswith("all")
    wrong = set()
    for path in (ROOT / "middleware" / room).rglob("*.py"):
        for name in imported(path):
            if name[0] == "middleware":
                known = name[1] == room or name[1] in near or "/".join(name[1:3]) in near
            else:
                known = not bound or "/".join(name[:2]) in far
            if not known:
                wrong.add((path.name, "/".join(name)))
    assert sorted(wrong) == []


# -- inside desk/, service/ and stores/

PART_ROWS = re.findall(r"^\| (`(?:desk|service|stores)/\w[^|]*) \| [^|]+ \| ([^|]+) \|$", PAGE, re.MULTILINE)
PARTS = [
    (tuple(part.rstrip("/").split("/")), set(re.findall(r"`(\w+)`", knows)))
    for first, knows in PART_ROWS
    for part in re.findall(r"`([\w/]+)`", first)
]


def test_every_part_of_desk_service_and_stores_is_in_the_table() -> None:
    rooms = ("desk", "service", "stores")
    parts = {name[:2] for name in MODULES if name[0] in rooms and name[1] != "__init__"}
    assert {part for part, _ in PARTS} == parts


def test_every_file_of_the_ledger_is_in_its_table() -> None:
    rows = PAGE.partition("| files of `stores/ledger/` |")[2].partition("\n\n")[0]
    named = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]+) \|", rows, re.MULTILINE)))
    assert sorted(named) == sorted(
        name[2] for name in MODULES if name[:2] == ("stores", "ledger") and name[2] != "__init__"
    )


@pytest.mark.parametrize(("part", "knows"), PARTS, ids=["/".join(part) for part, _ in PARTS])
def test_a_part_imports_only_what_its_table_allows(part: Module, knows: set[str]) -> None:
    wrong = {
        ("/".join(module), "/".join(name))
        for module, path in MODULES.items()
        if module[:2] == part
        for name in imported(path)
        if name[0] == part[0] and name[1:2] != part[1:] and name[1] not in knows
    }
    assert sorted(wrong) == []
