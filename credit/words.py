"""How a decision's reasons write numbers and times."""

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal


def counted(number: int, unit: str) -> str:
    """`1 day`, `3 days`."""
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def span(seconds: float) -> str:
    """A length of time in its two largest units, truncated."""
    minutes = max(0, int(seconds)) // 60
    days, hours, rest = minutes // 1440, minutes % 1440 // 60, minutes % 60
    parts = [counted(n, unit) for n, unit in ((days, "day"), (hours, "hour"), (rest, "minute")) if n]
    return " ".join(parts[: 2 if days or hours else 1]) or "less than a minute"


def percent(part: Decimal) -> str:
    """A part of one as `33.33 %`, with at most two digits."""
    return f"{plain((part * 100).quantize(Decimal('0.01'), ROUND_HALF_UP))} %"


def plain(number: Decimal) -> str:
    """A number without zeros at its end."""
    return f"{number.normalize():f}"


def divided_words(shares: Iterable[tuple[str, Decimal]]) -> str:
    """`blog 60 %, awin 40 %`; of one partner with all of it the name alone."""
    pairs = list(shares)
    if len(pairs) == 1 and pairs[0][1] == 1:
        return pairs[0][0]
    return ", ".join(f"{partner} {percent(part)}" for partner, part in pairs) or "nobody"
