"""What of a call and its answer people may read: secrets not at all, of a click id only its beginning."""

import re

MASK = "..."  # needs no percent-encoding, so a masked address is still one
SHOWN = 4  # characters of a click id: enough to tell two calls apart, too few to claim the click
_SECRET_PAIR = re.compile(
    r"([?&][^=&#]*(?:token|secret|key|pass|pwd|sig|hash|auth)[^=&#]*=)[^&#]*", re.IGNORECASE
)
_USER = re.compile(r"(?<=://)[^/?#@]*@")


def masked_click(click_id: str) -> str:
    """The beginning of a click id, if enough of it stays hidden."""
    return (click_id[:SHOWN] if len(click_id) >= 3 * SHOWN else "") + MASK


def masked_address(url: str) -> str:
    """An address without its user, and without the values of parameters whose name sounds like a secret."""
    return _USER.sub(f"{MASK}@", _SECRET_PAIR.sub(rf"\1{MASK}", url))


def hide(text: str, hidden: tuple[str, ...]) -> str:
    """The text with each hidden value masked; what is shorter than four characters would hide too much."""
    for value in sorted(hidden, key=len, reverse=True):
        if len(value) >= SHOWN:
            text = text.replace(value, MASK)
    return text
