"""The tables say what the engine does: each entry is tried on it, and so is what they leave out."""

from datetime import datetime, timedelta
from itertools import product

import cel
import pytest
from clew.rules.signatures import ARITHMETIC, FUNCTIONS, METHODS, NUMBERS, ORDERED, comparable, result

SAMPLES = {
    "int": "7",
    "uint": "7u",
    "double": "7.5",
    "string": "'7'",
    "bool": "true",
    "bytes": "b'7'",
    "timestamp": "timestamp('2026-01-02T03:04:05Z')",
    "duration": "duration('90s')",
    "list": "[7]",
    "map": "{'7': 7}",
}
PAIRS = list(product(SAMPLES, SAMPLES))
TYPES = {
    "int": int,
    "uint": int,
    "double": float,
    "string": str,
    "bool": bool,
    "list": list,
    "timestamp": datetime,
    "duration": timedelta,
}


def works(line: str) -> bool:
    try:
        cel.compile(line).execute({})
    except (TypeError, RuntimeError):
        return False
    return True


@pytest.mark.parametrize("operator", ARITHMETIC)
def test_arithmetic_is_accepted_exactly_as_by_the_engine(operator: str) -> None:
    scalars = [kind for kind in SAMPLES if kind not in ("list", "map")]
    signatures = [((left, right), gives) for left, right, gives in ARITHMETIC[operator]]
    for left, right in product(scalars, scalars):
        line = f"{SAMPLES[left]} {operator} {SAMPLES[right]}"
        assert works(line) == (result(signatures, (left, right)) is not None), line


@pytest.mark.parametrize("name", [name for name in METHODS if name != "fits"])
def test_methods_are_accepted_exactly_as_by_the_engine(name: str) -> None:
    signatures = [((target, *arguments), gives) for target, arguments, gives in METHODS[name]]
    argument = ", ".join(SAMPLES[kind] for kind in METHODS[name][0][1])
    for kind in SAMPLES:
        line = f"{SAMPLES[kind]}.{name}({argument})"
        assert works(line) == (result(signatures, (kind, *METHODS[name][0][1])) is not None), line


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_return_the_documented_values(name: str) -> None:
    for arguments, gives in FUNCTIONS[name]:
        sample = {"timestamp": "'2026-01-02T03:04:05Z'", "duration": "'90s'"}.get(name, SAMPLES[arguments[0]])
        value = cel.compile(f"{name}({sample})").execute({})
        assert type(value) is TYPES[gives], name


@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_comparison_is_accepted_exactly_as_by_the_engine(left: str, right: str) -> None:
    line = f"{SAMPLES[left]} < {SAMPLES[right]}"
    alike = (left in NUMBERS and right in NUMBERS) or (left == right and left in ORDERED)
    assert works(line) == alike, line


@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_equality_is_refused_only_where_it_is_always_false(left: str, right: str) -> None:
    same = {"double": "7.0"}
    line = f"{same.get(left, SAMPLES[left])} == {same.get(right, SAMPLES[right])}"
    assert cel.compile(line).execute({}) == comparable(left, right), line
