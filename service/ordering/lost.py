"""Proposals for orders that nobody earns, although something points to a partner. A person decides: nothing
is credited by itself."""

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal

from ...credit.arrivals import DAY
from ...credit.decision import decide
from ...credit.inputs import Inputs
from ...orders.checks import checked_text
from ...orders.ids import normalised
from ...orders.model import OrderError
from ...orders.sighting import Consented
from ...referral.touches import Touch, merge
from ...settings.model import Hold
from ...stores.ledger.books import Ledger
from ...stores.ledger.lost import AMONG, Unearned
from ...stores.ledger.totals import Kept
from ...stores.visits import Visits, VisitsError
from ..site import SiteRuntime
from .book import Entry
from .correcting import WHY_LENGTH, correct, decisions

LOOKED_AT: Final = 500  # orders that nobody earns
NEWEST: Final = 100  # the same, where pages ask
SECONDS: Final = 3.0  # most time of the look-up, where pages ask
EVERY: Final = 2**31 - 1
SINCE_DAYS: Final = 30
CODE_DAYS: Final = 90
LINKED_VISITORS: Final = 5
_STATES: Final[Sequence[Literal["granted", "assumed", "unknown"]]] = ("granted", "assumed", "unknown")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A partner to which an order may belong, and the evidence in words. `visitor` and `touches` are those of
    the click that a call to the partner needs; without one the partner is told by hand."""

    partner: str
    evidence: tuple[str, ...]
    visitor: str | None = None
    touches: tuple[Touch, ...] = ()


@dataclass(frozen=True, slots=True)
class LostOrder:
    """An order that nobody earns, and the partners to which it may belong, the one with the most evidence
    first."""

    order: Unearned
    proposals: tuple[Proposal, ...]


@dataclass(slots=True)
class _Found:
    evidence: dict[str, list[str]] = field(default_factory=dict)
    clicks: dict[str, tuple[str, tuple[Touch, ...]]] = field(default_factory=dict)

    def add(self, partner: str, why: str) -> None:
        self.evidence.setdefault(partner, []).append(why)

    def proposals(self) -> Iterator[Proposal]:
        ranked = sorted(self.evidence, key=lambda p: (p not in self.clicks, -len(self.evidence[p]), p))
        for partner in ranked:
            visitor, touches = self.clicks.get(partner, (None, ()))
            yield Proposal(partner, tuple(self.evidence[partner]), visitor, touches)


class LostOrders:
    """Finds orders that nobody earns, and credits them to whom a person says."""

    def __init__(self, ledger: Ledger, visits: Visits) -> None:
        self._ledger = ledger
        self._visits = visits
        self._kept = Kept[Sequence[LostOrder]]()

    async def find(
        self,
        site: SiteRuntime,
        now: float,
        *,
        since: float | None = None,
        reported: Mapping[str, Collection[str]] | None = None,
        limit: int = LOOKED_AT,
        among: int = EVERY,
        seconds: float | None = None,
    ) -> Sequence[LostOrder]:
        """The orders with evidence, newest first, of the newest `limit` that nobody earns, of the newest
        `among` of the site. `since` is the time when they were recorded, 30 days ago by default; `reported`
        has by partner the normalised numbers of the orders that its own report has. Raises the ledger's
        errors: LedgerBusyError if to look for them takes longer than about `seconds`."""
        since = now - SINCE_DAYS * DAY if since is None else since
        found = []
        unearned = self._ledger.lost.unearned
        for order in await unearned(site.name, since, limit, among=among, seconds=seconds):
            proposals = await self._proposals(site, order, now, reported or {})
            if proposals:
                found.append(LostOrder(order, proposals))
        return found

    async def newest(self, site: SiteRuntime, now: float) -> Sequence[LostOrder]:
        """The orders with evidence, of the newest `NEWEST` that nobody earns, of the last 30 days: as they
        were at most a minute ago, or at the last call of `assign`. Raises the ledger's errors."""

        async def read() -> Sequence[LostOrder]:
            return await self.find(site, now, limit=NEWEST, among=AMONG, seconds=SECONDS)

        return await self._kept.get(site.name, now, read)

    async def assign(
        self, site: SiteRuntime, number: str, partner: str, now: float, *, by: str, why: str, hold: Hold
    ) -> Entry:
        """Credit an order that nobody earns to a partner, as a correction with name and reason: with the
        click of the evidence, if there is one, so that the partner is told. Raises OrderError if nothing
        points to the partner, and if another person was faster."""
        number = normalised(number, "order").id
        order = await self._ledger.orders.get(site.name, number)
        if order is None:
            raise OrderError(f"order: there is no {number!r} at {site.name}")
        self._kept.drop(site.name)
        seen = len(await decisions(self._ledger, order))
        found = await self._ledger.lost.one(order.row)
        if found is None:
            raise OrderError(f"order: {number} is no sale that nobody earns, or a person has decided it")
        proposals = await self._proposals(site, found, now, {})
        proposal = next((one for one in proposals if one.partner == partner), None)
        if proposal is None:
            there = ", ".join(one.partner for one in proposals) or "none"
            raise OrderError(
                f"partner: nothing points to {partner!r}; proposed: {there}. Correct the order instead"
            )
        why = checked_text(why, "why", WHY_LENGTH)
        why = f"{why} ({'; '.join(proposal.evidence)})"[:WHY_LENGTH]
        decided = None if found.decided is None else found.decided.inputs.consent
        consent = next((Consented(state) for state in _STATES if state == decided), None)
        entry = await correct(
            self._ledger,
            list(site.partners.values()),
            order,
            now,
            by=by,
            why=why,
            partner=partner,
            hold=hold,
            visitor=proposal.visitor,
            touches=proposal.touches,
            consent=consent,
            seen=seen,
        )
        self._kept.drop(site.name)
        return entry

    async def _proposals(
        self, site: SiteRuntime, order: Unearned, now: float, reported: Mapping[str, Collection[str]]
    ) -> tuple[Proposal, ...]:
        found = _Found()
        async for visitor, what in self._visitors(site, order):
            await self._click(found, site, order, now, visitor, what)
        if order.coupon:
            code = await self._ledger.lost.code(site.name, order.coupon, order.placed_at - CODE_DAYS * DAY)
            if code is not None and code[0] in site.partners:
                partner, own, every = code
                found.add(
                    partner,
                    f"its coupon {order.coupon}: {partner} earned {own} of {every} orders with it that were "
                    f"credited within {CODE_DAYS} days",
                )
        for partner, numbers in reported.items():
            if order.number in numbers:
                found.add(partner, f"the report of {partner} has the order")
        return tuple(found.proposals())

    async def _visitors(self, site: SiteRuntime, order: Unearned) -> AsyncIterator[tuple[str, str]]:
        """Visitors who may be the buyer, and why."""
        seen = set()
        if order.visitor is not None:
            seen.add(order.visitor)
            yield order.visitor, "the buyer's own visit"
        if order.conversation is not None:
            talk = await self._ledger.conversations.get(site.name, order.conversation)
            if talk is not None and talk.visitor not in seen:
                seen.add(talk.visitor)
                yield talk.visitor, "the visitor of the order's conversation"
        if order.email is not None:
            others = await self._ledger.customers.linked(
                site.name, order.email, order.visitor or "", LINKED_VISITORS
            )
            for other in others:
                if other not in seen:
                    seen.add(other)
                    yield other, "a visitor who ordered with the same e-mail hash"

    async def _click(
        self, found: _Found, site: SiteRuntime, order: Unearned, now: float, visitor: str, what: str
    ) -> None:
        """Add the click of a visitor that would have earned the order by the site's terms."""
        before = Inputs(order.placed_at, now) if order.decided is None else order.decided.inputs
        if before.consent not in _STATES:
            return
        stored = None
        with suppress(VisitsError):
            stored = await self._visits.get(site.name, visitor)
        if stored is None or stored.forgotten or not stored.touches:
            return
        touches = merge(before.touches, stored.touches)
        decision = decide(replace(before, decided_at=now, touches=touches), site.policy)
        share = next((share for share in decision.shares if share.click is not None), None)
        if share is None or share.touched_at is None:
            return
        when = datetime.fromtimestamp(share.touched_at, site.zone).strftime("%Y-%m-%d %H:%M %Z")
        found.add(share.partner, f"{what} came by {share.partner} at {when}")
        found.clicks.setdefault(share.partner, (visitor, stored.touches))
