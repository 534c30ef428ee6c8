"""Page views as a running clew records them, for trying rules."""

import json
from collections.abc import Sequence

from clew.stores.ledger.traffic import Recorded


def visits(now: float, count: int = 40) -> Sequence[Recorded]:
    """Visitors who look at a product, go to the cart and leave there."""
    found = []
    for number in range(count):
        at = now - 3 * 3600 + number
        for page, (kind, seconds) in enumerate((("product", 30), ("cart", 25), ("cart", 0))):
            facts = {"page": {"type": kind, "seconds": 0}, "visit": {"pages": page + 1, "seconds": 0}}
            view = f"{number:04}-{page}-view"
            found.append(Recorded("shop", f"v{number:025}", view, 1, at, 0, 1.0, json.dumps(facts)))
            at += seconds
    return found
