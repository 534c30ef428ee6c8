"""Joins sightings into orders: which sightings are about one order, and by which evidence.

Pure, and the result does not depend on the order in which the sightings came. What cannot be joined for sure
is a proposal for a person, never a guess.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from .sighting import Sighting

WINDOW: Final = 2 * 3600.0
"""Seconds between two sightings of one order that are joined by anything but a number: a payment at a bank
takes longer than a visit."""

Evidence = Literal["number", "carrier", "coupon", "email", "amount", "person"]
# From the strongest to the weakest. The amount within the window never joins alone: two customers may order
# the same thing.
_LEVELS: Final[Sequence[Evidence]] = ("carrier", "coupon", "email", "amount")


@dataclass(frozen=True, slots=True)
class Member:
    """A sighting of an order, and the evidence that it belongs to it, strongest first."""

    sighting: Sighting
    by: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """The sightings of one order, in order of their time. `numbers` are all its numbers, sorted."""

    numbers: tuple[str, ...]
    members: tuple[Member, ...]

    @property
    def sightings(self) -> tuple[Sighting, ...]:
        """The sightings, in order of their time."""
        return tuple(member.sighting for member in self.members)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A sighting without a number that may belong to one of these orders, each named by its first number,
    with the evidence for it. Without candidates it waits for an order that fits."""

    sighting: Sighting
    candidates: tuple[tuple[str, tuple[Evidence, ...]], ...]


def join(
    sightings: Iterable[Sighting], placed: Mapping[str, str] = {}
) -> tuple[tuple[Joined, ...], tuple[Proposal, ...]]:
    """The orders that these sightings of one site make up, and what is left for a person.

    `placed` is what people decided: a sighting's key → the number of the order that it belongs to, whatever
    number it names itself.
    """
    every = sorted({(s.at, s.key): s for s in sightings}.values(), key=lambda s: (s.at, s.key))
    numbered = [s for s in every if s.numbers or s.key in placed]
    groups = _by_number(numbered, placed)
    members: dict[str, list[Member]] = {
        name: [Member(s, ("person",) if s.key in placed else ("number",)) for s in group]
        for name, group in groups.items()
    }
    proposals = []
    for sighting in every:
        if sighting.numbers or sighting.key in placed:
            continue
        found = {name: by for name, group in groups.items() if (by := _evidence(sighting, group))}
        name = _only_one(found)
        if name is not None:
            members[name].append(Member(sighting, found[name]))
        else:
            proposals.append(Proposal(sighting, tuple(sorted(found.items()))))
    joined = tuple(
        Joined(_numbers(ms, placed), tuple(sorted(ms, key=lambda m: (m.sighting.at, m.sighting.key))))
        for _, ms in sorted(members.items())
    )
    return joined, tuple(proposals)


def numbers_of(sighting: Sighting, placed: Mapping[str, str]) -> tuple[str, ...]:
    """The numbers by which a sighting is joined: the one that a person chose, else its own."""
    return (placed[sighting.key],) if sighting.key in placed else sighting.numbers


def _by_number(sightings: Sequence[Sighting], placed: Mapping[str, str]) -> dict[str, list[Sighting]]:
    """Sightings that share a number, directly or through others, under the smallest of their numbers."""
    parent: dict[str, str] = {}

    def root(number: str) -> str:
        while (up := parent.setdefault(number, number)) != number:
            parent[number] = number = parent[up]
        return number

    for sighting in sightings:
        first, *others = numbers_of(sighting, placed)
        for other in (first, *others):
            low, high = sorted((root(first), root(other)))
            parent[high] = low
    groups: defaultdict[str, list[Sighting]] = defaultdict(list)
    for sighting in sightings:
        groups[root(numbers_of(sighting, placed)[0])].append(sighting)
    return dict(groups)


def _evidence(sighting: Sighting, group: Sequence[Sighting]) -> tuple[Evidence, ...]:
    """What speaks for a sighting without a number being about the order of these; nothing where its amount
    is another, or none of them is near in time."""
    near = [s for s in group if abs((s.placed_at or s.at) - (sighting.placed_at or sighting.at)) <= WINDOW]
    amounts = {(s.total, s.currency) for s in near if s.total is not None}
    amount = (sighting.total, sighting.currency)
    if not near or (sighting.total is not None and amounts and amount not in amounts):
        return ()
    shared = {
        "carrier": not _carriers(sighting).isdisjoint(c for s in near for c in _carriers(s)),
        "coupon": _shares(sighting.coupon, (s.coupon for s in near)),
        "email": _shares(sighting.email_hash, (s.email_hash for s in near)),
        "amount": sighting.total is not None and amount in amounts,
    }
    return tuple(level for level in _LEVELS if shared[level])


def _carriers(sighting: Sighting) -> frozenset[str]:
    """What the order carries of ours: the token, and the visitor that a token or a page named."""
    return frozenset(c for c in (sighting.carrier, sighting.visitor) if c is not None)


def _shares(value: str | None, others: Iterable[str | None]) -> bool:
    return value is not None and value in others


def _only_one(found: Mapping[str, tuple[Evidence, ...]]) -> str | None:
    """The order that a sighting belongs to for sure: the only one with the strongest evidence.

    The carrier is enough alone. A coupon or an e-mail needs the amount beside it: many customers use one
    coupon, and one customer orders twice. Two orders with the same evidence are a question for a person.
    """
    sure = {name: by for name, by in found.items() if by[0] == "carrier" or (len(by) > 1 and "amount" in by)}
    if not sure:
        return None
    strongest = max(map(_strength, sure.values()))
    best = [name for name, by in sure.items() if _strength(by) == strongest]
    return best[0] if len(best) == 1 else None


def _strength(by: Sequence[Evidence]) -> tuple[bool, ...]:
    return tuple(level in by for level in _LEVELS)


def _numbers(members: Sequence[Member], placed: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted({n for m in members for n in numbers_of(m.sighting, placed)}))
