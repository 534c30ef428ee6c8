"""Reads the bit strings of the IAB's formats: base64url, most significant bit first.

What is read comes from strangers. A string has a maximum length, each read takes constant time, and vendors
stay ranges: a string of 30 characters can name 65,535 vendors 4,095 times.
"""

import re
from base64 import urlsafe_b64decode
from dataclasses import dataclass

LONGEST = 8192  # characters of one segment; a string that names each of 1,500 vendors has about 1,000

_ALPHABET = re.compile(r"[A-Za-z0-9_-]+")
_SET = re.compile("1+")
_FIBONACCI_BITS = 24  # a section's id has at most 6; more is an attempt at a large number


class UnreadableError(ValueError):
    """The string is not what it should be; the message says why, in words."""


class Bits:
    """The bits of one base64url string, read from its front. Raises UnreadableError for any other text."""

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise UnreadableError(f"longer than {LONGEST} characters")
        text = text.rstrip("=")
        if not _ALPHABET.fullmatch(text):
            raise UnreadableError("not base64url" if text else "empty")
        self._size = 6 * len(text)
        self._bytes = urlsafe_b64decode(text + "A" * (-len(text) % 4))
        self._at = 0

    def number(self, size: int) -> int:
        """The next `size` bits, at most 64, as an unsigned number. Raises UnreadableError at the end."""
        end = self._at + size
        if end > self._size:
            raise UnreadableError("shorter than its contents")
        last = (end + 7) // 8
        window = int.from_bytes(self._bytes[self._at // 8 : last])
        self._at = end
        return (window >> (last * 8 - end)) & ((1 << size) - 1)

    def flag(self) -> bool:
        """The next bit."""
        return self.number(1) == 1

    def members(self, size: int) -> frozenset[int]:
        """The positions, from 1, of the set bits among the next `size`, which are at most 64."""
        field = self.number(size)
        return frozenset(n for n in range(1, size + 1) if field >> (size - n) & 1)

    def letters(self) -> str:
        """Two letters of 6 bits each, such as a language; empty where they are none."""
        codes = [self.number(6), self.number(6)]
        return "".join(chr(65 + code) for code in codes) if max(codes) < 26 else ""

    def fibonacci(self) -> int:
        """A number of 1 or more in Fibonacci coding, which ends with two set bits. Raises UnreadableError."""
        total, now, following, before = 0, 1, 2, False
        for _ in range(_FIBONACCI_BITS):
            bit = self.flag()
            if bit and before:
                return total
            total += now if bit else 0
            now, following, before = following, now + following, bit
        raise UnreadableError("a number in its header is too large")

    def ranges(self) -> "Vendors":
        """A list of ranges: their number (12 bits), then single vendors (16 bits) and first and last ones."""
        found = []
        for _ in range(self.number(12)):
            is_range = self.flag()
            first = self.number(16)
            last = self.number(16) if is_range else first
            if last < first:
                raise UnreadableError("a range of vendors ends before it begins")
            found.append((first, last))
        return Vendors(tuple(found))

    def vendors(self) -> "Vendors":
        """Vendors as a bit field, or as ranges."""
        largest = self.number(16)
        if self.flag():
            return self.ranges()
        return Vendors(tuple((run.start() + 1, run.end()) for run in _SET.finditer(self._field(largest))))

    def _field(self, size: int) -> str:
        """The next `size` bits as a text of 0 and 1."""
        end = self._at + size
        if end > self._size:
            raise UnreadableError("shorter than its contents")
        last = (end + 7) // 8
        window = int.from_bytes(self._bytes[self._at // 8 : last])
        whole = f"{window:b}".zfill(8 * (last - self._at // 8))
        start = self._at % 8
        self._at = end
        return whole[start : start + size]


@dataclass(frozen=True, slots=True)
class Vendors:
    """Vendors of the IAB's Global Vendor List, as ranges of (first, last)."""

    ranges: tuple[tuple[int, int], ...] = ()

    def __contains__(self, vendor: object) -> bool:
        return isinstance(vendor, int) and any(first <= vendor <= last for first, last in self.ranges)
