"""What an order's reports say of whose it is: arrivals, and the hash of an address. Pure."""

from collections.abc import Sequence

from ...orders.history import Order
from ...orders.sighting import Sighting
from ...referral.touches import Touch, merge


def email_of(seen: Sequence[Sighting]) -> str | None:
    """The e-mail hash of an order's customer; the last one that was reported."""
    return next((s.email_hash for s in reversed(seen) if s.email_hash is not None), None)


def touches_of(order: Order, seen: Sequence[Sighting]) -> tuple[Touch, ...]:
    """The arrivals of the order's visitor, from all sightings that name it. If none does, those that the
    shop's server keeps with the order. And those that agents claim of it: of each kind of claim the first
    one, so that nobody can take an order with a later claim."""
    found: list[tuple[Touch, ...]] = []
    claimed: set[str] = set()
    for sighting in seen:
        touches = tuple(Touch.from_json(touch) for touch in sighting.touches)
        if sighting.visitor == order.visitor and (sighting.visitor or sighting.of_server):
            found.append(tuple(touch for touch in touches if not touch.claim))
        if sighting.of_server:
            found.append(tuple(touch for touch in touches if touch.claim and touch.claim not in claimed))
            claimed.update(touch.claim for touch in touches if touch.claim)
    return merge(*found)
