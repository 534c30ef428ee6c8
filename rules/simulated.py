"""What the policy of a site would do with the visitors of recorded page views: which of the rules whose lines
are true would act on each page, and what keeps the others back. No I/O.

It is the policy itself that is asked, with a record that the simulated invites are written into. What people
would do with them is not known: as many accept and dismiss as did so far, by a lot that is always the same,
and the others leave them unanswered. The agents are as busy as they were.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from heapq import heapify, heappop, heappush
from typing import Final

from ..referral.invites import Invited, Offer, Offered
from ..settings.model import Rule
from .experiments import place_of
from .facts import Facts
from .policy import Asked, Case, Load, Policy
from .ranked import Refusal

TRIES: Final = 5
"""How often a rule is asked for on a page, where it is kept back for a time only."""

_LOT: Final = blake2b(b"what becomes of an invite", digest_size=32).digest()

Unable = Callable[[Rule, float], Refusal | None]


@dataclass(frozen=True, slots=True)
class Answers:
    """The parts of invites that are accepted, by rule and for others, and that are dismissed."""

    accepted: Mapping[str, float]
    usual: float
    dismissed: float

    def to(self, rule: str, visitor: str, visit: int) -> str:
        """What one visitor does: accepted, dismissed, or nothing."""
        lot = place_of(_LOT, f"{visitor}\0{visit}\0{rule}")
        accepts = self.accepted.get(rule, self.usual)
        return "accepted" if lot < accepts else "dismissed" if lot < accepts + self.dismissed else ""


@dataclass(slots=True)
class _Record:
    """What is known of a visitor; see `referral.invites.Record`."""

    visits: int = 0
    offers: tuple[Offer, ...] = ()
    dismissals: int = 0
    exposed: Mapping[str, int] = field(default_factory=dict)
    withdrawn: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of a rule on a page whose lines are true: it acts, or comes `behind` another one, or is
    `held` by what the policy says (`Refusal.by`)."""

    rule: Rule
    behind: str = ""
    held: str = ""


class Simulated:
    """One site. Page views come by visitor and time. `unable` says of an invite why it has nothing to offer
    at a time."""

    def __init__(self, policy: Policy, answers: Answers, unable: Unable = lambda rule, now: None) -> None:
        self._policy = policy
        self._answers = answers
        self._unable = unable
        self._visitor = ""
        self._record = _Record()
        self._talks = self._ordered = False
        self._views = 0

    def view(
        self,
        visitor: str,
        visit: int,
        at: float,
        within: float,
        facts: Facts,
        matched: Sequence[tuple[float, Rule]],
    ) -> list[Outcome]:
        """What becomes of the rules that are true on a page, each after so many seconds, in the order in
        which they are asked. The page is shown for `within` seconds."""
        self._enter(visitor, visit, facts)
        found: dict[str, Outcome] = {}
        acted: list[tuple[int, Rule]] = []
        invites: Rule | None = None
        queue = [(after, place, 0) for place, (after, _) in enumerate(matched)]
        heapify(queue)
        while queue:
            after, place, times = heappop(queue)
            rule = matched[place][1]
            first = next((one for before, one in acted if before < place), None)
            refusal = None if first is not None else self._ask(rule, at + after, facts)
            if refusal is not None and refusal.by == "per_page":
                first = invites
            if first is not None:
                found[rule.name] = Outcome(rule, behind=first.name)
                continue
            if refusal is None:
                found[rule.name] = Outcome(rule)
                acted.append((place, rule))
                if rule.invites:
                    invites = rule
                    self._give(rule, at + after)
                continue
            found[rule.name] = Outcome(rule, held=refusal.by)
            if refusal.seconds is not None and after + refusal.seconds <= within and times < TRIES:
                heappush(queue, (after + max(1.0, refusal.seconds), place, times + 1))
        return [found[rule.name] for _, rule in matched]

    def _enter(self, visitor: str, visit: int, facts: Facts) -> None:
        """A page view begins."""
        if visitor != self._visitor:
            self._visitor, self._record = visitor, _Record()
        if visit != self._record.visits:
            self._record = replace(self._record, visits=visit)
            self._talks = self._ordered = False
        self._views += 1
        self._ordered |= _shows_order(facts) or facts.get("order", {}).get("placed") is True
        happened = facts.get("events", {}).items()
        self._record.withdrawn = tuple(name for name, count in happened if count)

    def _ask(self, rule: Rule, now: float, facts: Facts) -> Refusal | None:
        record = self._record
        case = Case(
            visitor=self._visitor,
            view=self._name,
            now=now,
            visit=record.visits,
            offers=record.offers,
            talks=self._talks or facts.get("chat", {}).get("open") is True,
            ordered=self._ordered,
            on_order=_shows_order(facts),
            load=_load(facts),
            # The arms of experiments are taken as parts of all.
            recognised=False,
            withdrawn=record.withdrawn,
            unable=lambda rule: self._unable(rule, now),
        )
        return Asked(self._policy, case)(rule, False)

    @property
    def _name(self) -> str:
        return f"{self._views:010}"

    def _give(self, rule: Rule, now: float) -> None:
        """An invite is shown, seen, and maybe answered."""
        record = self._record
        Offered(record.offers, rule.name, self._name).apply(record, now)
        Invited(rule.name, "seen").apply(record, now)
        if answer := self._answers.to(rule.name, self._visitor, record.visits):
            Invited(rule.name, answer).apply(record, now)
        self._talks |= answer == "accepted"


def _shows_order(facts: Facts) -> bool:
    return facts.get("page", {}).get("type") == "confirmation"


def _load(facts: Facts) -> Load | None:
    """The agents as they were; None if it was not known who is there."""
    known = facts.get("agents", {})
    if "online" not in known:
        return None
    return Load(known["online"] > 0, int(known.get("free", 0)), bool(known.get("busy", False)))
