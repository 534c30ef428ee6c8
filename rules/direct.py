"""Tells whether a line is true without the engine, for the usual forms: most lines compare a fact with a
constant.

To convert facts for the engine costs 1 µs and more for each value, a comparison in Python 0.2 µs. What has
another form, or a value of an unexpected type, is left to the engine. The engine also says why a line has no
value.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from .facts import RULE_FACTS, LazyFacts, Vocabulary
from .helpers import HELPERS, PREDICATES, Matches, key_of
from .reading import constant, fact_path
from .syntax import Node

ASK: Final = object()
"""The engine has to be asked."""

Direct = Callable[[LazyFacts], object]
"""Whether a line is true: True or False, None where it has no value since a fact is missing, or ASK."""

Found = Mapping[tuple[str, Any], Matches]
"""The tests of a line's patterns and lists, by function and constant."""

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


def direct(line: str, node: Node, vocabulary: Vocabulary = RULE_FACTS, tests: Found = {}) -> Direct | None:  # noqa: B006
    """The function for a line that was checked; None for one of another form."""
    return _Compiler(line, vocabulary, tests).of(node)


class _Compiler:
    """Makes the functions of one line."""

    def __init__(self, line: str, vocabulary: Vocabulary, tests: Found) -> None:
        self._line = line
        self._vocabulary = vocabulary
        self._tests = tests

    def of(self, node: Node) -> Direct | None:
        """The function for a part whose value is true or false."""
        match node.kind:
            case "binary" if node.value in ("&&", "||"):
                left, right = (self.of(part) for part in node.parts)
                return _joined(left, right, node.value == "||") if left and right else None
            case "binary" if node.value in _COMPARE:
                return self._comparison(node)
            case "binary" if node.value == "in":
                return self._member(node)
            case "method" if node.value in _METHODS and node.parts[1].kind == "string":
                return self._test(node.parts[0], _METHODS[node.value], self._constant(node.parts[1]))
            case "method" | "call" if node.value in PREDICATES or node.value in HELPERS:
                return self._helped(node)
            case "call" if node.value == "has":
                return self._known(node.parts[0])
            case "unary" if node.value == "!":
                inner = self.of(node.parts[0])
                return _negated(inner) if inner else None
            case "select" | "index":
                return self._test(node, operator.is_, True)
        return None

    def _constant(self, node: Node) -> Any:
        return constant(self._line, node)

    def _comparison(self, node: Node) -> Direct | None:
        left, right = node.parts
        if right.kind in _LITERALS:
            return self._test(left, _COMPARE[node.value], self._constant(right))
        if left.kind in _LITERALS:
            return self._test(right, _COMPARE[_MIRRORED[node.value]], self._constant(left))
        return None

    def _member(self, node: Node) -> Direct | None:
        one, among = node.parts
        if among.kind != "list" or not among.parts or any(p.kind != "string" for p in among.parts):
            return None
        values = frozenset(self._constant(part) for part in among.parts)
        return self._test(one, lambda value, wanted: value in values, next(iter(values)))

    def _helped(self, node: Node) -> Direct | None:
        found = self._tests.get((node.value, key_of(self._constant(node.parts[1]))))
        return self._test(node.parts[0], lambda value, wanted: found(value), "") if found else None

    def _path(self, node: Node) -> tuple[tuple[str, ...], str] | None:
        """The fact that a part is, as a path to a single value, and its type."""
        path = fact_path(self._line, node)
        fact = self._vocabulary.by_name.get(".".join(path[:2])) if path is not None else None
        if path is None or fact is None or len(path) != (3 if fact.type == "map" else 2):
            return None
        return path, fact.type

    def _known(self, node: Node) -> Direct | None:
        found = self._path(node)
        if found is None:
            return None
        path, kind = found
        wanted = {"int": (int,), "bool": (bool,), "double": (int, float)}.get(kind, (str,))
        return _of_known(path[0], path[1], path[2] if len(path) > 2 else None, wanted)

    def _test(self, node: Node, compare: Callable[[Any, Any], bool], wanted: Any) -> Direct | None:
        """The test of one fact's value against `wanted`, a constant of its type."""
        found = self._path(node)
        if found is None or (isinstance(wanted, int | float) and abs(wanted) >= _EXACT):
            return None
        (group, name, *keys), type_ = found
        kind = type(wanted)
        if kind is str:
            key = keys[0] if keys else None
            return _of_text(group, name, key, compare, wanted) if type_ in ("string", "map") else None
        if kind is bool:
            return _of_flag(group, name, compare, wanted) if type_ == "bool" else None
        if type_ not in ("int", "double"):
            return None
        return _of_number(group, name, (int,) if type_ == "int" else (int, float), compare, wanted)


def _joined(left: Direct, right: Direct, decisive: bool) -> Direct:
    """`&&` and `||`: `decisive` is the value that decides alone, whatever is missing on the other side."""

    def test(facts: LazyFacts) -> object:
        one = left(facts)
        if one is decisive or one is ASK:
            return one
        other = right(facts)
        return other if one is not None or other is decisive or other is ASK else None

    return test


def _negated(inner: Direct) -> Direct:
    def test(facts: LazyFacts) -> object:
        found = inner(facts)
        return not found if found is True or found is False else found

    return test


def _of_known(group: str, name: str, key: str | None, kinds: tuple[type, ...]) -> Direct:
    def test(facts: LazyFacts) -> object:
        value = facts[group].get(name)
        if key is not None and (type(value) is dict or isinstance(value, Mapping)):
            value = value.get(key)
        return False if value is None else True if type(value) in kinds else ASK

    return test


def _of_text(
    group: str, name: str, key: str | None, compare: Callable[[Any, Any], bool], wanted: str
) -> Direct:
    def test(facts: LazyFacts) -> object:
        value = facts[group].get(name)
        if key is not None and (type(value) is dict or isinstance(value, Mapping)):
            value = value.get(key)
        if value is None:
            return None
        # The engine gets lone surrogates as another character.
        return compare(value, wanted) if type(value) is str and (value.isascii() or _is_utf8(value)) else ASK

    return test


def _of_flag(group: str, name: str, compare: Callable[[Any, Any], bool], wanted: bool) -> Direct:
    def test(facts: LazyFacts) -> object:
        value = facts[group].get(name)
        return None if value is None else compare(value, wanted) if type(value) is bool else ASK

    return test


def _of_number(
    group: str, name: str, kinds: tuple[type, ...], compare: Callable[[Any, Any], bool], wanted: float
) -> Direct:
    def test(facts: LazyFacts) -> object:
        value = facts[group].get(name)
        if value is None:
            return None
        return compare(value, wanted) if type(value) in kinds and -_EXACT < value < _EXACT else ASK

    return test


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
