"""Masks calls and responses for logs and people: no secrets, and only the beginning of a click id."""

import re

MASK = "..."  # needs no percent-encoding, so a masked URL stays valid
SHOWN = 4  # characters of a click id: enough to distinguish two calls, too few to claim the click
_SECRET_PAIR = re.compile(
    r"([?&][^=&#]*(?:token|secret|key|pass|pwd|sig|hash|auth)[^=&#]*=)[^&#]*", re.IGNORECASE
)
_USER = re.compile(r"(?<=://)[^/?#@]*@")


def masked_click(click_id: str) -> str:
    """The beginning of a click id, if the rest is long enough."""
    return (click_id[:SHOWN] if len(click_id) >= 3 * SHOWN else "") + MASK


def masked_address(url: str) -> str:
    """A URL without its user, and without the values of parameters whose name suggests a secret."""
    return _USER.sub(f"{MASK}@", _SECRET_PAIR.sub(rf"\1{MASK}", url))


def hide(text: str, hidden: tuple[str, ...]) -> str:
    """The text with each hidden value masked, except values of fewer than four characters."""
    for value in sorted(hidden, key=len, reverse=True):
        if len(value) >= SHOWN:
            text = text.replace(value, MASK)
    return text
