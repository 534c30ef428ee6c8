"""Writes TC strings, and Fibonacci ranges of GPP headers, for tests: the formats as their documents say."""

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Sequence


def _packed(bits: str) -> str:
    bits += "0" * (-len(bits) % 24)
    whole = int(bits, 2).to_bytes(len(bits) // 8) if bits else b""
    return urlsafe_b64encode(whole).decode()


def number(value: int, size: int) -> str:
    """A number as `size` bits."""
    return format(value, f"0{size}b")


def members(values: Iterable[int], size: int) -> str:
    """A bit field of `size` with the set positions, from 1."""
    return "".join("1" if place in set(values) else "0" for place in range(1, size + 1))


def ranges(values: Iterable[tuple[int, int]]) -> str:
    """A list of ranges of vendors."""
    given = list(values)
    return number(len(given), 12) + "".join(
        "0" + number(a, 16) if a == b else "1" + number(a, 16) + number(b, 16) for a, b in given
    )


def vendors(values: Sequence[tuple[int, int]], as_ranges: bool) -> str:
    """Vendors as ranges, or as a bit field."""
    largest = max((last for _, last in values), default=0)
    if as_ranges:
        return number(largest, 16) + "1" + ranges(values)
    whole = {vendor for first, last in values for vendor in range(first, last + 1)}
    return number(largest, 16) + "0" + members(whole, largest)


def letters(text: str) -> str:
    """Two letters."""
    return "".join(number(ord(letter) - 65, 6) for letter in text)


def tc_string(
    *,
    at: float,
    consents: Iterable[int] = (),
    interests: Iterable[int] = (),
    vendor_consents: Sequence[tuple[int, int]] = (),
    vendor_interests: Sequence[tuple[int, int]] = (),
    restrictions: Sequence[tuple[int, int, Sequence[tuple[int, int]]]] = (),
    disclosed: Sequence[tuple[int, int]] | None = ((1, 1500),),
    publisher: tuple[Iterable[int], Iterable[int]] | None = None,
    as_ranges: bool = False,
    policy: int = 5,
    version: int = 2,
) -> str:
    """A TC string, last updated at `at` in unix seconds."""
    moment = number(round(at * 10), 36)
    core = [
        number(version, 6), moment, moment, number(7, 12), number(1, 12), number(0, 6), letters("EN"),
        number(140, 12), number(policy, 6), "1", "0", members((), 12), members(consents, 24),
        members(interests, 24), "0", letters("DE"), vendors(vendor_consents, as_ranges),
        vendors(vendor_interests, as_ranges), number(len(restrictions), 12),
        *(number(p, 6) + number(kind, 2) + ranges(who) for p, kind, who in restrictions),
    ]  # fmt: skip
    segments = [_packed("".join(core))]
    if disclosed is not None:
        segments.append(_packed(number(1, 3) + vendors(disclosed, True)))
    if publisher is not None:
        own, shown = publisher
        segments.append(_packed(number(3, 3) + members(own, 24) + members(shown, 24) + number(0, 6)))
    return ".".join(segments)


def fibonacci(value: int) -> str:
    """A number in Fibonacci coding (Zeckendorf), with the closing bit."""
    series = [1, 2]
    while series[-1] <= value:
        series.append(series[-1] + series[-2])
    bits = ""
    for one in reversed(series):
        if one <= value:
            value -= one
            bits += "1"
        elif bits:
            bits += "0"
    return bits[::-1] + "1"


def gpp_header(ids: Iterable[int]) -> str:
    """The header of a GPP string with these sections, each as a single one."""
    bits, last, given = "", 0, sorted(ids)
    for one in given:
        bits += "0" + fibonacci(one - last)
        last = one
    return _packed(number(3, 6) + number(1, 6) + number(len(given), 12) + bits)
