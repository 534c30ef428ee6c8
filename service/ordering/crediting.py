"""The terms by which a site's orders are credited, and what they ask of the ledger beside an order."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import cast

from ...credit.arrivals import DAY, SKEW
from ...credit.coupons import code_of
from ...credit.decision import Decision, decide
from ...credit.fraud import Evidence, Suspicion, both, partners_of, suspicions
from ...credit.inputs import Inputs
from ...credit.sale import Beside
from ...credit.terms import Policy
from ...orders.history import Order
from ...orders.model import Channel
from ...orders.net import NetRule
from ...orders.sighting import Sighting
from ...referral.touches import Touch, merge
from ...settings.model import Partner
from ...stores.ledger.books import Ledger
from ...stores.ledger.known import Known
from ...stores.visits import Visits, VisitsError
from ..site import SiteRuntime
from .evidence import email_of, touches_of

# Of how many other devices of a customer the arrivals count, and how many of them.
LINKED_VISITORS = 5
LINKED_TOUCHES = 20


class SiteCrediting:
    """The current terms by which a site's orders are credited."""

    def __init__(self, site: SiteRuntime, ledger: Ledger, visits: Visits) -> None:
        self._site = site
        self._ledger = ledger
        self._visits = visits

    @property
    def net_rule(self) -> NetRule:
        """That of the site."""
        return self._site.net_rule

    def decide(self, inputs: Inputs, known: Known | None) -> tuple[Policy, Decision]:
        """Decide by the site's terms."""
        return self._site.policy, decide(inputs, self._site.policy)

    async def channel(self, order: Order, known: Known | None) -> tuple[Channel, str | None]:
        """`chat` if the visitor wrote within the window before it ordered; a conversation that started after
        the order does not count. A report may have its own channel."""
        if order.channel is not None:
            return order.channel, order.conversation
        if order.forgotten and known is not None:
            return cast("Channel", known.channel), known.conversation
        if order.conversation is not None:
            return "chat", order.conversation
        if order.visitor is None:
            return "web", None
        since = order.placed_at - self._site.settings.chat.window_hours * 3600
        # Messages stored before an order that is recorded now are earlier, even if the clock was set back.
        until = order.placed_at if order.has_own_time else order.placed_at + DAY
        talks = self._ledger.conversations
        talked_in = await talks.visitor_talked(self._site.name, order.visitor, since, until)
        return ("chat" if talked_in is not None else "web"), talked_in

    async def beside(self, order: Order, seen: Sequence[Sighting], known: Known | None) -> Beside | None:
        """What the terms ask of the ledger beside the order. What was found stays as it was."""
        asked = self._site.asked
        if not asked.sale:
            return None
        last = known.decided.inputs.sale if known is not None and known.decided is not None else None
        beside = Beside() if last is None else last.beside
        row = 0 if known is None else known.row
        if asked.past and beside.earlier is None:
            beside = await self._with_past(beside, order, seen, row)
        if asked.leaks and not beside.code_orders:
            beside = await self._with_code(beside, order, row)
        return beside

    async def _with_past(self, beside: Beside, order: Order, seen: Sequence[Sighting], row: int) -> Beside:
        """With the customer's earlier orders, if it is known who that is."""
        email = email_of(seen)
        if email is None and order.visitor is None:
            return beside
        past = await self._ledger.customers.past(
            self._site.name, row=row, before=order.placed_at, visitor=order.visitor, email=email
        )
        return replace(beside, earlier=past.count, first_at=past.first_at, origin=past.origin)

    async def _with_code(self, beside: Beside, order: Order, row: int) -> Beside:
        """With the uses of a partner's code in other orders."""
        further = self._site.terms.further
        code = code_of(order.coupon, further)
        leak = further.leaks.get(code.partner) if code is not None else None
        if code is None or leak is None or order.coupon is None:
            return beside
        orders, strangers = await self._ledger.customers.code_uses(
            self._site.name,
            row=row,
            coupon=order.coupon,
            partner=code.partner,
            since=order.placed_at - leak.days * DAY,
            until=order.placed_at,
        )
        return replace(beside, code_orders=orders, code_strangers=strangers)

    async def linked(self, order: Order, seen: Sequence[Sighting], known: Known | None) -> tuple[Touch, ...]:
        """The arrivals of other visitors with the same e-mail hash, as far as they consented to be kept. Only
        if the buyer of this order consented too."""
        if not self._site.settings.credit.cross_device:
            return ()
        email = email_of(seen)
        if email is None or order.forgotten or order.consent.state not in ("granted", "assumed"):
            return ()
        others = await self._ledger.customers.linked(
            self._site.name, email, order.visitor or "", LINKED_VISITORS
        )
        found = []
        for other in others:
            visitor = await self._visits.get(self._site.name, other)
            if visitor is not None and not visitor.forgotten:
                found.append(visitor.touches)
        own = {touch.to_json().__repr__() for touch in touches_of(order, seen)}
        return tuple(t for t in merge(*found) if repr(t.to_json()) not in own)[-LINKED_TOUCHES:]

    async def suspicions(
        self, order: Order, seen: Sequence[Sighting], touches: tuple[Touch, ...], known: Known | None
    ) -> tuple[Suspicion, ...]:
        """What is suspicious of the order now, and what was before."""
        decided = None if known is None else known.decided
        before = () if decided is None else decided.inputs.suspicions
        site, partners = self._site, partners_of(touches, self._site.terms)
        code = code_of(order.coupon, site.terms.further)
        if not order.is_sale or not (partners or code):
            return before
        evidence = Evidence(
            email=email_of(seen),
            pace=await self._paces(order, {*partners, *(() if code is None else (code.partner,))}),
            untagged={t.landing for t in touches if not site.has_tag(t.landing)},
        )
        visitor = None
        if order.visitor is not None:
            with suppress(VisitsError):
                visitor = await self._visits.get(site.name, order.visitor)
        if visitor is not None and not visitor.forgotten:
            since, until = order.placed_at - DAY, order.placed_at + SKEW
            recent = {p: sum(since <= at <= until for at in times) for p, times in visitor.again.items()}
            seen_pages = visitor.seen_at > 0
            evidence = replace(evidence, views=seen_pages, own=visitor.own, again=recent)
        now = suspicions(site.suspects, order.placed_at, touches, site.terms, evidence)
        return both(before, now)

    async def _paces(self, order: Order, partners: Collection[str]) -> dict[str, str]:
        """Why partners have too many orders just now."""
        rules = self._site.settings.fraud
        if not rules.orders:
            return {}
        pace = await self._ledger.paces.of(self._site.name, order.placed_at)
        found = {p: pace.excess(p, order.placed_at, rules.orders, float(rules.factor)) for p in partners}
        return {partner: why for partner, why in found.items() if why}

    def partner(self, partner: str) -> Partner | None:
        """A partner of the site."""
        return self._site.partners.get(partner)
