"""Words beside an amount, by their meaning; loaded from words.toml."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

_DATA = tomllib.loads(files(__package__).joinpath("words.toml").read_text("utf-8"))


def _words(name: str) -> frozenset[str]:
    return frozenset(_DATA["words"][name].split())


TAX: Final = _words("tax")
SHIPPING: Final = _words("shipping")
INCLUDED: Final = _words("included")
SMALL: Final = _words("small")
REDUCTION: Final = _words("reduction")
COUNTS: Final = _words("counts")
FROM: Final = _words("from")
RATE: Final = _words("rate")
PER: Final = _words("per")
UNIT: Final = _words("unit")
NUMBERS: Final = _words("numbers")
OTHER: Final = _words("other")
MULTIPLIERS: Final = _words("multipliers")
TOTAL: Final = _words("total")
KNOWN: Final = TAX | SHIPPING | INCLUDED | SMALL | OTHER | TOTAL
"""Words that may follow an amount without a sign of its currency."""

MINOR: Final[Mapping[str, frozenset[str]]] = {w: frozenset(c.split()) for w, c in _DATA["minor"].items()}
"""Words for minor units, and the currencies that have them."""
