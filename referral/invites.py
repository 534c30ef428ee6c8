"""The invites that a visitor got: they are part of its record, so that the limits hold over pages, tabs and
visits."""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from ..settings.model import MOST_INVITES

VIEWS: Final = 3
"""Page views that an invite remembers: the tabs in which it is shown."""
VIEW_LETTERS: Final = 10
TEXT_LETTERS: Final = 500
EXPOSED: Final = 40
"""Experiments that a record remembers. Of one that was dropped, the ledger is told again."""
WITHDRAWN: Final = 50
"""Events that a record remembers because they withdraw invites."""

STEPS: Final = ("eligible", "assigned", "rendered", "seen", "dismissed", "accepted", "went_on")
"""What happens to a visitor in an experiment, in this order; each counts once. It goes on by another page of
the same visit."""
_ASSIGNED: Final = 1 << STEPS.index("assigned")
_LEFT: Final = 1 << len(STEPS)
_NEXT: Final = 1 << len(STEPS) + 1


class Offer(Struct, frozen=True, array_like=True):
    """The invite of a rule in a visit (by the visit's number). `at` is when the browser first got it,
    `last_at` when something last happened to it; `pages` counts the page views for which it was given,
    `views` are the last of them. `seen` counts those on which it was in view; `end` is dismissed, accepted,
    withdrawn or empty. `text` is what it said last, where that is not the same for everybody."""

    rule: str
    visit: int
    at: float
    last_at: float
    pages: int = 0
    views: tuple[str, ...] = ()
    seen: int = 0
    end: str = ""
    text: str = ""

    def on(self, view: str) -> bool:
        """Whether it was given for this page view, as far as is known."""
        return view[:VIEW_LETTERS] in self.views


class Record(Protocol):
    """What the changes of this module change of a visitor's record."""

    visits: int
    offers: tuple[Offer, ...]
    dismissals: int
    exposed: Mapping[str, int]
    withdrawn: tuple[str, ...]


def offer_of(offers: Sequence[Offer], rule: str, visit: int) -> Offer | None:
    """The invite of a rule in a visit."""
    return next((one for one in reversed(offers) if one.visit == visit and one.rule == rule), None)


def offered(offers: Sequence[Offer], rule: str) -> Offer | None:
    """The newest invite of a rule, in whichever visit; None if the visitor never got one."""
    return next((one for one in reversed(offers) if one.rule == rule), None)


def ignored(offers: Sequence[Offer], visit: int, pages: Mapping[str, int], most: int) -> int:
    """How many invites of a visit were seen, neither answered nor dismissed, and are over: given on as many
    pages as they may be (`pages` by rule, else `most`), or followed by another one."""
    own = [one for one in offers if one.visit == visit]
    return sum(
        1
        for place, one in enumerate(own, 1)
        if one.seen and not one.end and (one.pages >= pages.get(one.rule, most) or place < len(own))
    )


def _with(offers: tuple[Offer, ...], offer: Offer) -> tuple[Offer, ...]:
    """The invites with this one in its place; the views and texts of earlier visits are not needed any
    more."""
    kept = [
        offer if (one.visit, one.rule) == (offer.visit, offer.rule) else one
        for one in (
            one if one.visit == offer.visit or not one.views else replace(one, views=(), text="")
            for one in offers
        )
    ]
    if offer not in kept:
        kept.append(offer)
    return tuple(kept[-MOST_INVITES:])


class Offered(Struct, frozen=True):
    """The browser gets the invite of a rule for a page view. Nothing happens if the visitor's invites are not
    `before` any more, or it is not in this `visit` (0 for whichever): another tab was faster, and what it
    changed has to be looked at first."""

    before: tuple[Offer, ...]
    rule: str
    view: str
    text: str = ""
    visit: int = 0

    def apply(self, visitor: Record, now: float) -> None:
        """One more page on which it is given."""
        if visitor.offers != self.before or self.visit not in (0, visitor.visits):
            return
        found = offer_of(visitor.offers, self.rule, visitor.visits)
        one = found or Offer(self.rule, visitor.visits, now, now)
        views = (*one.views, self.view[:VIEW_LETTERS])[-VIEWS:]
        text = self.text[:TEXT_LETTERS]
        one = replace(one, pages=one.pages + 1, views=views, last_at=now, text=text)
        visitor.offers = _with(visitor.offers, one)


class Invited(Struct, frozen=True):
    """What became of an invite: `what` is seen, dismissed or accepted."""

    rule: str
    what: str

    def apply(self, visitor: Record, now: float) -> None:
        """An invite ends once; that it was accepted counts more than that another tab dismissed it. A browser
        can tell anything: what the visitor never got, and more pages than it got, do not count. One of an
        earlier visit, whose page is still open, is one of this visit now."""
        one = offer_of(visitor.offers, self.rule, visitor.visits)
        if one is None:
            earlier = offered(visitor.offers, self.rule)
            if earlier is None:
                return
            one = replace(earlier, visit=visitor.visits, pages=1, seen=0, end="")
        if self.what == "seen":
            one = replace(one, seen=min(one.seen + 1, one.pages))
        elif one.end in ("", "dismissed", "withdrawn") and one.end != self.what:
            visitor.dismissals += (self.what == "dismissed") - (one.end == "dismissed")
            one = replace(one, end=self.what)
        visitor.offers = _with(visitor.offers, replace(one, last_at=now))


class Withdrawn(Struct, frozen=True):
    """These events happened: invites that they withdraw do not come any more in this visit. `rules` are those
    whose invites are shown now."""

    events: tuple[str, ...]
    rules: tuple[str, ...] = ()

    def apply(self, visitor: Record, now: float) -> None:
        """One that is shown ends, unless it was answered before."""
        visitor.withdrawn = tuple(dict.fromkeys((*visitor.withdrawn, *self.events)))[-WITHDRAWN:]
        for rule in self.rules:
            found = offer_of(visitor.offers, rule, visitor.visits)
            if found is not None and not found.end:
                visitor.offers = _with(visitor.offers, replace(found, end="withdrawn"))


ARM_BIT: Final = 16
"""From this bit on, the number of an experiment has the arm, where the lot may change."""


def kept_arm(exposed: Mapping[str, int], key: str) -> int:
    """The arm that the record has for an experiment; 0 for none."""
    return exposed.get(key, 0) >> ARM_BIT


def moved_on(exposed: Mapping[str, int], *, same_visit: bool) -> Mapping[str, int]:
    """The record's experiments after another page: those in which the visitor was assigned have one bit more,
    by which it is known whether it went on in the same visit. See `going_on`."""
    new = _NEXT if same_visit else _LEFT
    if all(bits & (_NEXT | _LEFT) or not bits & _ASSIGNED for bits in exposed.values()):
        return exposed
    return {
        key: bits | new if bits & _ASSIGNED and not bits & (_NEXT | _LEFT) else bits
        for key, bits in exposed.items()
    }


def going_on(exposed: Mapping[str, int]) -> list[str]:
    """The experiments of which the ledger is yet to be told that the visitor went on."""
    went_on = 1 << STEPS.index("went_on")
    return [key for key, bits in exposed.items() if bits & _NEXT and not bits & went_on]


class Exposed(Struct, frozen=True):
    """The visitor got so far in some experiments: steps by the experiment, as bits of STEPS."""

    steps: Mapping[str, int]

    def apply(self, visitor: Record, now: float) -> None:
        """Join them."""
        found = dict(visitor.exposed)
        for key, steps in self.steps.items():
            known = found.pop(key, 0)
            # The first arm stays, also if two tabs were given one at the same time.
            found[key] = known | (steps & (1 << ARM_BIT) - 1 if known >> ARM_BIT else steps)
        visitor.exposed = dict(list(found.items())[-EXPOSED:])
