"""The models: which part of an order each click that counts gets."""

from collections.abc import Callable, Mapping
from fractions import Fraction

from .terms import Model


def _last(count: int, _: Fraction) -> list[Fraction]:
    return [Fraction(n == count - 1) for n in range(count)]


def _first(count: int, _: Fraction) -> list[Fraction]:
    return [Fraction(n == 0) for n in range(count)]


def _linear(count: int, _: Fraction) -> list[Fraction]:
    return [Fraction(1, count)] * count


def _position(count: int, ends: Fraction) -> list[Fraction]:
    if count <= 2:
        return _linear(count, ends)
    between = (1 - 2 * ends) / (count - 2)
    return [ends, *[between] * (count - 2), ends]


_WEIGHTS: Mapping[Model, Callable[[int, Fraction], list[Fraction]]] = {
    "last": _last,
    "first": _first,
    "linear": _linear,
    "position": _position,
}

WORDS: Mapping[Model, str] = {
    "last": "the last click",
    "first": "the first click",
    "linear": "each click the same",
    "position": "by position",
}


def weights(model: Model, count: int, ends: int) -> list[Fraction]:
    """The part of each of `count` clicks, oldest first; they add up to 1. `ends` is the percentage of the
    first and of the last one in the model `position`. Of two, each has half there."""
    return _WEIGHTS[model](count, Fraction(ends, 100)) if count else []
