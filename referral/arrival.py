"""A visitor arrives: what it brought joins what is known of it.

Pure, and the one place where that is decided: for a landing that clew sees itself, and for a page that came
from a cache, of which the browser tells.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from .cookie import Known, new_visitor_id
from .touches import Touch, merge
from .visitor import Change, Page, Touched


class Consent(Enum):
    """What a visitor said to being recognised and credited to a partner."""

    GRANTED = "granted"
    DENIED = "denied"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Arrival:
    """What an arrival comes to.

    `known` is what the visitor's cookie says from now on; `renew`: the browser does not hold it yet.
    `touch` is what the visitor brought, None where that is no arrival; `new` says whether it was not known
    before. `changes` is what the store has to know.
    """

    known: Known
    touch: Touch | None = None
    new: bool = False
    renew: bool = False
    changes: Sequence[Change] = ()


def arrive(
    known: Known | None, touch: Touch | None, consent: Consent, now: float, page: Page | None = None
) -> Arrival:
    """A visitor comes with `touch`. `known` is what its cookie says, None without one: then `page` goes into
    the new one. Without consent nothing is kept, and no cookie is set."""
    seen = known or Known(new_visitor_id(), (), int(now), page)
    if consent is not Consent.GRANTED:
        return Arrival(seen)
    renew = known is None or known.stale
    if touch is None:
        return Arrival(seen, renew=renew)
    touches = merge(seen.touches, (touch,))
    if touches == seen.touches:
        # A suspicious one that is known is no arrival: the shop hands its id from page to page.
        return Arrival(seen, None if touch.doubt else touch, renew=renew)
    return Arrival(replace(seen, touches=touches), touch, new=True, renew=True, changes=(Touched(touch),))
