"""Reads parts of a line: which fact one is, and the value of one without facts."""

import re
from collections.abc import Container
from typing import Any, Final

import cel

from .syntax import Node

# A text in quotes without an escape. The engine takes some 40 µs for a constant.
_PLAIN: Final = re.compile(r"""\"[^"\\]*\"|'[^'\\]*'""")


def constant(line: str, node: Node) -> Any:
    """The value of a part without facts. Raises the engine's error if it has no value."""
    text = node.value
    match node.kind:
        case "int" if abs(found := int(text, 0 if "x" in text.lower() else 10)) < 2**53:
            return found
        case "string" if _PLAIN.fullmatch(text):
            return text[1:-1]
    return cel.compile(line[node.start : node.end]).execute({})


def fact_path(line: str, node: Node, bound: Container[str] = ()) -> tuple[str, ...] | None:
    """`visit.pages` or `visit["pages"]` as ("visit", "pages"), known or not; None for anything else.

    `bound` are the names of a macro's loop variables.
    """
    if node.kind == "name":
        return None if node.value in bound else (node.value,)
    if node.kind == "select" or (node.kind == "index" and node.parts[1].kind == "string"):
        above = fact_path(line, node.parts[0], bound)
        last = node.value if node.kind == "select" else constant(line, node.parts[1])
        return (*above, last) if above else None
    return None
