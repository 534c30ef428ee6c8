"""The short code that ties a conversation to a visitor where nothing else can: said on the phone, or typed by
the visitor or the agent into any chat."""

import hashlib
import hmac
from typing import Final

import re2  # type: ignore[import-untyped]

LETTERS: Final = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: no letter looks like another or like a digit."""

LENGTH: Final = 6
_CODE: Final = re2.compile(r"(?i)\bclw[ -]?([0-9a-hjkmnp-tv-z]{6})\b")
TEXT_READ: Final = 4096


def code_of(key: bytes, site: str, visitor: str) -> str:
    """The visitor's code, without "clw-": 30 bits, the same each time."""
    mac = hmac.digest(key, f"{site}\0{visitor}".encode(), hashlib.sha256)
    number = int.from_bytes(mac[:8], "big")
    return "".join(LETTERS[(number >> (5 * n)) & 31] for n in range(LENGTH))


def shown(code: str) -> str:
    """The code as people see and type it."""
    return f"clw-{code}"


def code_in(text: str) -> str | None:
    """The first code in a text."""
    found = _CODE.search(text[:TEXT_READ])
    return None if found is None else found.group(1).lower()
