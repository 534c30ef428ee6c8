"""What visitors in experiments and conversations came to, as sums: added up by rule, text, partner, agent and
week, and kept where the rows themselves are deleted. No I/O."""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Final

from msgspec import Struct

from ..settings.model.invites import Goal as Goal

Sums = dict[str, Decimal]
"""Numbers by measure. Amounts have their currency behind a blank: `revenue EUR`."""

BUCKETS: Final = (0, 30, 60, 120, 180, 300, 600)
"""Seconds on the site, from which a visitor counts to a group."""

STEPS: Final = ("eligible", "assigned", "rendered", "seen", "dismissed", "accepted", "went_on")
UNITS: Final = (
    *STEPS,
    *("conversations", "post_purchase", "orders", "conversation_orders", "matured", "matured_orders"),
    *("matured_conversations", "matured_conversation_orders", "over", "exits"),
)
"""What visitors in experiments are counted by; see `ArmCounts` of the ledger. `over` are those whose visit is
over since they were assigned, `exits` those of them who looked at no other page."""


class Experimented(Struct, frozen=True, order=True):
    """What visitors in experiments are summed by: `rule` is empty for the hold-out."""

    rule: str
    edition: str
    arm: str


class Talked(Struct, frozen=True, order=True):
    """What conversations are summed by; empty: none, nobody. `arm` is the text that led to them."""

    rule: str
    arm: str
    partner: str
    agent: str


class WeekSums(Struct, frozen=True):
    """What a time came to."""

    exposed: Mapping[Experimented, Sums]
    talked: Mapping[Talked, Sums]


def add(to: Sums, more: Mapping[str, Decimal | int]) -> Sums:
    """Add sums to others, which are returned."""
    for name, value in more.items():
        if value:
            to[name] = to.get(name, Decimal()) + value
    return to


def added(weeks: Iterable[WeekSums]) -> WeekSums:
    """What several times came to."""
    exposed: dict[Experimented, Sums] = {}
    talked: dict[Talked, Sums] = {}
    for week in weeks:
        for one, sums in week.exposed.items():
            add(exposed.setdefault(one, {}), sums)
        for other, sums in week.talked.items():
            add(talked.setdefault(other, {}), sums)
    return WeekSums(exposed, talked)


def by(talked: Mapping[Talked, Sums], key: Callable[[Talked], str | None]) -> dict[str, Sums]:
    """The sums of conversations by a key; those without are left out."""
    found: dict[str, Sums] = {}
    for one, sums in talked.items():
        name = key(one)
        if name is not None:
            add(found.setdefault(name, {}), sums)
    return found


def amounts(sums: Sums, measure: str) -> dict[str, Decimal]:
    """The amounts of a measure by currency."""
    start = f"{measure} "
    return {name.removeprefix(start): value for name, value in sorted(sums.items()) if name.startswith(start)}


def bucket_of(seconds: int) -> int:
    """The group of a time on the site: the seconds that it begins with."""
    return max(start for start in BUCKETS if start <= max(0, seconds))
