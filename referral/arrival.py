"""Merges an arrival into what is known of a visitor.

Pure. Used for a landing request, and for a page from a cache that the browser reports to `decide`.
"""

from collections.abc import Sequence
from dataclasses import replace

from msgspec import Struct, structs

from .consent.signals import Consent
from .cookie import Known, new_visitor_id
from .touches import Touch, merge, with_shown
from .visitor import Change, Page, Touched


class Arrival(Struct, frozen=True):
    """The result of an arrival.

    `known` is the new content of the visitor's cookie; `renew`: the browser does not have it yet. `touch` is
    the visitor's touch, None if it is not an arrival; `new`: the touch was not known before. `changes` are
    those for the visit store.
    """

    known: Known
    touch: Touch | None = None
    new: bool = False
    renew: bool = False
    changes: Sequence[Change] = ()


def arrive(
    known: Known | None,
    touch: Touch | None,
    consent: Consent,
    now: float,
    page: Page | None = None,
    *,
    agreed: bool = False,
) -> Arrival:
    """A visitor arrives with `touch`. `known` is the content of its cookie; if None, `page` goes into the new
    one; without it, the page was only requested, and nobody may have seen it. Without consent nothing is
    stored, and no cookie is set. `agreed`: the visitor was asked, which its cookie then says."""
    seen = known or Known(new_visitor_id(), (), int(now), page)
    if consent is not Consent.GRANTED:
        return Arrival(seen)
    renew = known is None or known.stale
    if page is not None:
        if touch is not None and touch.clicks:
            touch = structs.replace(touch, shown=True)
        shown = with_shown(seen.touches, now, touch.clicks if touch is not None else ())
        if shown is not seen.touches:
            seen, renew = replace(seen, touches=shown), True
    if agreed and not seen.agreed:
        seen, renew = replace(seen, agreed=True, necessary=False), True
    if touch is None:
        return Arrival(seen, renew=renew)
    touches = merge(seen.touches, (touch,))
    if touches == seen.touches:
        # A suspicious touch that is known is not an arrival: the shop passes its id from page to page.
        return Arrival(seen, None if touch.doubt else touch, renew=renew)
    return Arrival(replace(seen, touches=touches), touch, new=True, renew=True, changes=(Touched(touch),))


def arrive_unrecognised(known: Known | None, necessary: Touch | None, now: float) -> Arrival:
    """A visitor who has not consented arrives with the part of a touch that needs no consent. `known` is its
    cookie for such touches, or for its conversation."""
    seen = replace(known, necessary=True) if known else Known(new_visitor_id(), (), int(now), necessary=True)
    return Arrival(seen) if necessary is None else arrive(seen, necessary, Consent.GRANTED, now)
