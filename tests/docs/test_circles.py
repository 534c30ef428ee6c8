"""No module imports itself by way of others, anywhere in the package."""

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_OURS = {"tests", "bench", "examples"}


def modules(root: Path) -> dict[str, Path]:
    """The files of the package by their dotted names below it."""
    rooms = [path.parent for path in root.glob("*/__init__.py") if path.parent.name not in NOT_OURS]
    found = (path for room in rooms for path in room.rglob("*.py"))
    return {".".join(p.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): p for p in found}


def imported(name: str, path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """The modules that a file imports: where it is loaded, within a function, or only for type checkers."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
            for alias in node.names:
                module = f"{base}.{alias.name}" if base else alias.name
                yield module if module in known else base


def circle(root: Path) -> list[str]:
    """The modules of one circle, in order; empty where there is none."""
    known = modules(root)
    graph = {name: {m for m in imported(name, path, known) if m in known} for name, path in known.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_there_are_no_import_cycles() -> None:
    assert circle(ROOT) == []


@pytest.mark.parametrize(
    "back",
    [
        "from .a import A",
        "from . import a",
        "from ..room.a import A",
        "def f():\n    from .a import A",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .a import A",
    ],
)
def test_a_cycle_is_found(tmp_path: Path, back: str) -> None:
    room = tmp_path / "room"
    room.mkdir()
    (room / "__init__.py").write_text("")
    (room / "a.py").write_text("from .b import B")
    (room / "b.py").write_text(back)
    assert set(circle(tmp_path)) == {"room.a", "room.b"}
