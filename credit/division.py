"""Divides amounts so that the parts add up, to the last minor unit."""

from collections.abc import Sequence
from decimal import ROUND_DOWN, Decimal
from fractions import Fraction

from ..orders.money import minor_digits

PARTS = 1_000_000
"""Into how many parts an order is divided: a share's `part` has at most six digits."""


def divide(total: int, weights: Sequence[Fraction]) -> list[int]:
    """A whole number divided in proportion to weights that are not negative, by largest remainder (the method
    of Hamilton): each gets what is below its exact part, and the units left go to the largest remainders, of
    equal ones to the first. The sum is `total`. Without any weight the result is all zeros."""
    whole = sum(weights, Fraction())
    if not whole:
        return [0] * len(weights)
    exact = [total * weight / whole for weight in weights]
    found = [part.numerator // part.denominator for part in exact]
    order = sorted(range(len(weights)), key=lambda n: found[n] - exact[n])
    for n in order[: total - sum(found)]:
        found[n] += 1
    return found


def parts(weights: Sequence[Fraction]) -> list[Decimal]:
    """Weights as parts of one, which they add up to."""
    return [Decimal(part).scaleb(-6).normalize() for part in divide(PARTS, weights)]


def divided(
    amount: Decimal, currency: str, weights: Sequence[Decimal], *, fine: bool = False
) -> list[Decimal]:
    """An amount divided in proportion, each part with the currency's minor digits. An amount with more digits
    is rounded down to them first; with `fine` it keeps them, as prices of single pieces may have more."""
    digits = minor_digits(currency)
    if fine:
        digits = max(digits, -int(amount.normalize().as_tuple().exponent))
    if len(weights) == 1:
        return [amount.quantize(Decimal(1).scaleb(-digits), ROUND_DOWN)]
    units = divide(int(amount.scaleb(digits)), [Fraction(weight) for weight in weights])
    return [Decimal(unit).scaleb(-digits) for unit in units]
