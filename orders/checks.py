"""Checks for every text of an order, from any source."""

import unicodedata

from .model import OrderError

TEXT_LENGTH = 200  # characters; the ledger's columns hold as many
# Control characters, lone surrogates (which databases refuse), line and paragraph separators.
_REFUSED = ("Cc", "Cs", "Zl", "Zp")


def checked_text(text: str, part: str, length: int = TEXT_LENGTH) -> str:
    """The text without blanks around it.

    Raises OrderError naming `part` unless 1 to `length` characters are left, none a control character.
    """
    found = text.strip()
    if not found:
        raise OrderError(f"{part}: it is empty")
    if len(found) > length:
        raise OrderError(f"{part}: it has {len(found)} characters; at most {length} are allowed")
    if any(unicodedata.category(c) in _REFUSED for c in found):
        raise OrderError(f"{part}: {found[:40]!r} has a control character")
    return found
