"""Conditions of several lines: all of them, any of them, not one of them.

A line that has no value, since a fact is missing, is neither true nor false. `all` is true if every part is,
`any` if some part is, whatever the others are, and `not` if its part is false. So a missing fact never makes
a condition true, also not under `not`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Union

Tree = Union[int, "Branch"]
"""The number of a line, or several."""


@dataclass(frozen=True)
class Branch:
    """`all`, `any` or `not` of its parts; `not` has one."""

    kind: Literal["all", "any", "not"]
    parts: tuple[Tree, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.kind, self.parts)))

    def __hash__(self) -> int:
        return int(self.__dict__["_hash"])


def numbers(tree: Tree) -> Iterator[int]:
    """The lines of a tree, in the order in which they are written."""
    if isinstance(tree, int):
        yield tree
    else:
        for part in tree.parts:
            yield from numbers(part)


def truth_of(tree: Tree, truth: Callable[[int], bool | None]) -> bool | None:
    """Whether a tree is true; None where it has no value."""
    if isinstance(tree, int):
        return truth(tree)
    if tree.kind == "not":
        found = truth_of(tree.parts[0], truth)
        return None if found is None else not found
    decisive = tree.kind == "any"
    unknown = False
    for part in tree.parts:
        found = truth_of(part, truth)
        if found is decisive:
            return decisive
        unknown = unknown or found is None
    return None if unknown else not decisive
