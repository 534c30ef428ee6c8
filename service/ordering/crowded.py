"""A bound for what the shop's own server adds to one order: a shop whose reports run in a loop, each with
another amount or state, must not make an order grow for ever.

So many of its reports are kept; then each new one takes the place of an earlier one that no value of the
order comes from. The order stays what it is with all of them: its last state, and every refund. Its credit
stays as it is, and what its partners are to be told is held, until a person has looked.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from ...orders.doubt import Doubt
from ...orders.history import Order, project
from ...orders.sighting import Sighting
from ...stores.ledger.known import Known, Stored, placed_of
from .evidence import touches_of

REPORTS: Final = 200
"""Reports of one order by the shop's server that are kept. An order has some ten in its life."""

REFUNDS: Final = 1000
"""Refunds of one order that are taken over from reports that are not kept."""

TRIED: Final = 8
"""Reports of which is tried whether the order needs them."""


def is_looping(seen: Sequence[Sighting]) -> bool:
    """Whether the shop's server has reported an order so often that it seems to run in a loop. `seen` are the
    order's sightings in order of arrival. What came before a person released the order does not count; after
    that, half as many are too many, since some of the earlier ones are still kept."""
    released = [n for n, s in enumerate(seen) if s.correction is not None and s.correction.release]
    if not released:
        return sum(map(_counts, seen)) >= REPORTS
    return sum(map(_counts, seen[released[-1] + 1 :])) >= REPORTS // 2


def loop_doubt() -> Doubt:
    """What then stands against the order."""
    return Doubt(
        "loop",
        f"the shop's server has reported the order {REPORTS} times, each time in another way: its reports "
        "may run in a loop. Stop it, and release the order",
    )


def has_room(known: Known) -> bool:
    """Whether a further report by the shop's server is kept beside the others."""
    return sum(_counts(stored.sighting) for stored in known.sightings) < REPORTS


def replaced(known: Known, new: Sighting) -> tuple[Sighting, Stored] | None:
    """The report as it is kept, and the earlier one in whose place; None if the order needs all of them."""
    stored, placed = known.sightings, placed_of(known.sightings)
    every = [s.sighting for s in stored]
    whole = _come_to([*every, new], placed)
    named = whole[0].sources.values()
    keys = Counter(s.key for s in (*every, new))
    numbers = Counter(number for s in (*every, new) for number in s.numbers)
    refunds = Counter(refund.id for s in (*every, new) for refund in s.refunds)
    found = [
        one
        for one in [s for s in stored if _counts(s.sighting)][1:]  # the first says when the order was placed
        if one.sighting.key not in placed
        and (one.sighting.key not in named or keys[one.sighting.key] > 1)
        and all(numbers[number] > 1 for number in one.sighting.numbers)
    ]
    for one in found[:TRIED]:
        only = tuple(refund for refund in one.sighting.refunds if refunds[refund.id] == 1)
        if only and len(refunds) > REFUNDS:
            continue
        kept = replace(new, refunds=(*only, *new.refunds)) if only else new
        rest = [s.sighting for s in stored if s is not one]
        order, touches = _come_to([*rest, kept], placed)
        sources = {name: new.key if key == kept.key else key for name, key in order.sources.items()}
        if (replace(order, sources=sources), touches) == whole:
            return kept, one
    return None


def _counts(sighting: Sighting) -> bool:
    return sighting.of_server and sighting.correction is None


def _come_to(seen: Sequence[Sighting], placed: Mapping[str, str]) -> tuple[Order, object]:
    order = project(seen, placed)
    return order, touches_of(order, seen)
