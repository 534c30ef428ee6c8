"""Tells whether a line is true without the engine, for the usual forms: most lines compare a fact with a
constant.

To convert facts for the engine costs 1 µs and more for each value, a comparison in Python 0.2 µs. What has
another form, or a value of an unexpected type, is left to the engine. Only the truth is found: why a line is
not true, the engine says.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from .checker import constant, fact_path
from .facts import RULE_FACTS, LazyFacts, Vocabulary
from .syntax import Node

Direct = Callable[[LazyFacts], bool | None]
"""Whether a line is true; None: ask the engine."""

# Above this a double does not hold every integer, and the engine may compare otherwise than Python.
_EXACT = 2**53
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_METHODS: Mapping[str, Callable[[Any, Any], bool]] = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": operator.contains,
}
_LITERALS = frozenset({"int", "double", "string", "bool"})


def direct(line: str, node: Node, vocabulary: Vocabulary = RULE_FACTS) -> Direct | None:
    """The function for a line that was checked; None for one of another form."""
    match node.kind:
        case "binary" if node.value in ("&&", "||"):
            left, right = (direct(line, part, vocabulary) for part in node.parts)
            return _joined(left, right, node.value == "&&") if left and right else None
        case "binary" if node.value in _COMPARE:
            return _comparison(line, node, vocabulary)
        case "binary" if node.value == "in":
            return _member(line, node, vocabulary)
        case "method" if node.value in _METHODS and node.parts[1].kind == "string":
            return _test(line, node.parts[0], _METHODS[node.value], constant(line, node.parts[1]), vocabulary)
        case "unary" if node.value == "!":
            return _test(line, node.parts[0], operator.is_, False, vocabulary)
        case "select" | "index":
            return _test(line, node, operator.is_, True, vocabulary)
    return None


def _joined(left: Direct, right: Direct, both: bool) -> Direct:
    def test(facts: LazyFacts) -> bool | None:
        found = left(facts)
        return found if found is None or found is not both else right(facts)

    return test


def _comparison(line: str, node: Node, vocabulary: Vocabulary) -> Direct | None:
    left, right = node.parts
    if right.kind in _LITERALS:
        return _test(line, left, _COMPARE[node.value], constant(line, right), vocabulary)
    if left.kind in _LITERALS:
        return _test(line, right, _COMPARE[_MIRRORED[node.value]], constant(line, left), vocabulary)
    return None


def _member(line: str, node: Node, vocabulary: Vocabulary) -> Direct | None:
    one, among = node.parts
    if among.kind != "list" or not among.parts or any(p.kind != "string" for p in among.parts):
        return None
    values = frozenset(constant(line, part) for part in among.parts)
    return _test(line, one, lambda value, wanted: value in values, next(iter(values)), vocabulary)


def _test(
    line: str, node: Node, compare: Callable[[Any, Any], bool], wanted: Any, vocabulary: Vocabulary
) -> Direct | None:
    """The test of one fact's value against `wanted`, a constant of its type."""
    path = fact_path(line, node)
    fact = vocabulary.by_name.get(".".join(path[:2])) if path is not None else None
    if path is None or fact is None or len(path) != (3 if fact.type == "map" else 2):
        return None
    group, name, *keys = path
    if isinstance(wanted, int | float) and abs(wanted) >= _EXACT:
        return None
    key = keys[0] if keys else None
    kind = type(wanted)
    if kind is str:
        return _of_text(group, name, key, compare, wanted) if fact.type in ("string", "map") else None
    if kind is bool:
        return _of_flag(group, name, compare, wanted) if fact.type == "bool" else None
    if fact.type not in ("int", "double"):
        return None
    return _of_number(group, name, (int,) if fact.type == "int" else (int, float), compare, wanted)


def _of_text(
    group: str, name: str, key: str | None, compare: Callable[[Any, Any], bool], wanted: str
) -> Direct:
    def test(facts: LazyFacts) -> bool | None:
        value = facts[group].get(name)
        if key is not None and (type(value) is dict or isinstance(value, Mapping)):
            value = value.get(key)
        if value is None:
            return False
        # The engine gets lone surrogates as another character.
        return compare(value, wanted) if type(value) is str and (value.isascii() or _is_utf8(value)) else None

    return test


def _of_flag(group: str, name: str, compare: Callable[[Any, Any], bool], wanted: bool) -> Direct:
    def test(facts: LazyFacts) -> bool | None:
        value = facts[group].get(name)
        return False if value is None else compare(value, wanted) if type(value) is bool else None

    return test


def _of_number(
    group: str, name: str, kinds: tuple[type, ...], compare: Callable[[Any, Any], bool], wanted: float
) -> Direct:
    def test(facts: LazyFacts) -> bool | None:
        value = facts[group].get(name)
        if value is None:
            return False
        return compare(value, wanted) if type(value) in kinds and -_EXACT < value < _EXACT else None

    return test


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
