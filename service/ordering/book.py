"""Adds a sighting to the history of its order, and computes the order, its credit, and the postbacks due."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from ...credit.decision import Decision, decide, doubts_of, repriced
from ...credit.fraud import Suspicion
from ...credit.inputs import Inputs
from ...credit.sale import Beside, sale_of
from ...credit.terms import Policy
from ...orders.doubt import Doubt
from ...orders.history import Order, project
from ...orders.join import numbers_of
from ...orders.model import Channel
from ...orders.net import GROSS, NetRule, netted
from ...orders.sighting import Sighting, adds_nothing, standing
from ...payouts.standing import standings
from ...postbacks.approvals import verdict_doubt
from ...postbacks.due import email_for, manual, reports
from ...postbacks.model import Postback
from ...referral.networks_file import load as load_catalogue
from ...referral.touches import Touch
from ...settings.model import Partner
from ...stores.ledger.books import Ledger
from ...stores.ledger.errors import LedgerBusyError
from ...stores.ledger.forgotten import ForgottenError
from ...stores.ledger.history import Change
from ...stores.ledger.known import Known, Stored, placed_of
from ...stores.ledger.orders import StoredOrder
from ...stores.locks import KeyedLocks
from ...stores.retries import pause
from .crowded import has_room, is_looping, loop_doubt, replaced
from .evidence import touches_of

TRIES: Final = 10
"""Maximum number of times that a change is computed because another writer changed the order meanwhile."""

TURN_SECONDS: Final = 10.0
"""How long a report waits for earlier ones of the same order. A ledger that does not answer keeps each for
seconds."""

SERVER: Final = "the shop's server"

SIGHTINGS: Final = 200
"""Maximum number of an order's sightings from pages, and as many from browsers; those in doubt are counted
separately. Anybody may open a page, and a browser can report orders that do not exist yet."""


class Crediting(Protocol):
    """The rules by which orders of one site are credited."""

    def decide(self, inputs: Inputs, known: Known | None) -> tuple[Policy, Decision]:
        """The policy, and the decision who earns the order."""

    async def channel(self, order: Order, known: Known | None) -> tuple[Channel, str | None]:
        """The channel of the order, and its conversation."""

    async def beside(self, order: Order, seen: Sequence[Sighting], known: Known | None) -> Beside | None:
        """What the ledger knows beside the order; None if the terms ask nothing of the order itself."""

    async def linked(self, order: Order, seen: Sequence[Sighting], known: Known | None) -> tuple[Touch, ...]:
        """The arrivals of the same customer on other devices, where the site counts them."""

    async def suspicions(
        self, order: Order, seen: Sequence[Sighting], touches: tuple[Touch, ...], known: Known | None
    ) -> tuple[Suspicion, ...]:
        """What is suspicious of the order, and what was found suspicious before."""

    def partner(self, partner: str) -> Partner | None:
        """A partner of the site."""

    @property
    def net_rule(self) -> NetRule:
        """What of an order counts for partners."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The result of a sighting. `before` and `after` are the order; `added` is False if the sighting repeated
    known values. `postbacks` are those that are new or changed their state. `crowded`: the shop's server has
    reported the order so often that this was kept in place of an earlier report, or not at all."""

    sighting: Sighting
    before: StoredOrder | None
    after: StoredOrder
    added: bool = True
    postbacks: tuple[Postback, ...] = ()
    crowded: bool = False


class OrderBook:
    """Adds to the histories of orders."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._turns = KeyedLocks[tuple[str, str | None]]()

    async def add(
        self,
        sighting: Sighting,
        terms: Crediting,
        now: float,
        *,
        raw: str | None = None,
        check: Callable[[Sequence[Known]], None] = lambda _: None,
    ) -> Entry:
        """Add a sighting with an order number. Writes sighting, order, credit and the postbacks due in one
        transaction, or nothing. `check` may object, by an error, to what is known of the order when it is
        written. Raises the ledger's errors, and those of `check`."""
        # Of many reports of one order at the same time, this process writes one after the other. Otherwise,
        # each that is written makes all others compute anew, and most give up.
        place = (sighting.site, sighting.numbers[0] if sighting.numbers else None)
        turn = self._turns.of(place)
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await turn.acquire()
        except TimeoutError:
            raise LedgerBusyError(f"order {sighting.id}: too many reports of it wait; try again") from None
        try:
            return await self._add(sighting, terms, now, raw, check)
        finally:
            turn.release()

    async def _add(
        self,
        sighting: Sighting,
        terms: Crediting,
        now: float,
        raw: str | None,
        check: Callable[[Sequence[Known]], None],
    ) -> Entry:
        for tries in range(1, TRIES + 1):
            found = await self._ledger.histories.known(sighting.site, sighting.numbers)
            check(found)
            if found and (elsewhere := await self._placed_elsewhere(sighting)) is not None:
                return Entry(sighting, elsewhere, elsewhere, added=False)
            if _contradicted(found, sighting):
                # It would join all orders that are reported with this further number.
                sighting = replace(sighting, further=())
                continue
            found = tuple(sorted(found, key=lambda one: not _is_named(one)))
            known, others = (found[0], found[1:]) if found else (None, ())
            before = None if known is None else await self._ledger.orders.at(known.row)
            if known is not None and before is not None and _says_nothing_new(known, others, sighting):
                return Entry(sighting, before, before, added=False)
            kept, dropped = sighting, None
            if known is not None and before is not None and sighting.of_server and not has_room(known):
                room = replaced(known, sighting)
                if room is None:
                    return Entry(sighting, before, before, added=False, crowded=True)
                kept, dropped = room
            change = await self._change(kept, known, others, before, terms, now, raw, dropped)
            try:
                written = await self._ledger.histories.write(change)
            except ForgottenError as gone:
                sighting, raw = sighting.forget(gone.visitors, gone.emails), None
                continue
            if written is None:
                await pause(tries)
                continue
            return Entry(sighting, before, written.order, True, written.postbacks, dropped is not None)
        raise LedgerBusyError(f"order {sighting.id}: it keeps changing; try again")

    async def _placed_elsewhere(self, sighting: Sighting) -> StoredOrder | None:
        """The order to which a person moved this report; None if it was not moved."""
        if sighting.correction is not None:
            return None
        number = await self._ledger.loose.placed(sighting.site, sighting.key)
        known = () if number is None else await self._ledger.histories.known(sighting.site, [number])
        return await self._ledger.orders.at(known[0].row) if known else None

    async def _change(
        self,
        sighting: Sighting,
        known: Known | None,
        others: Sequence[Known],
        before: StoredOrder | None,
        terms: Crediting,
        now: float,
        raw: str | None,
        dropped: Stored | None,
    ) -> Change:
        kept = [s for one in (known, *others) if one is not None for s in one.sightings]
        earlier = [s.sighting for s in kept]
        seen = [*(s.sighting for s in kept if s is not dropped), sighting]
        change = await change_of(sighting.site, seen, placed_of(kept), known, terms, now)
        if is_looping([*earlier, sighting]):
            change = replace(change, order=_doubted(change.order, (), loop_doubt()))
        frozen = sighting.of_server and is_looping(earlier)
        if frozen and known is not None and (last := known.decided) is not None:
            change = replace(change, inputs=last.inputs, policy=last.policy, decision=last.decision)
        return replace(
            change,
            sighting=sighting,
            settlement=_settlement(sighting, before),
            others=others,
            raw=raw,
            dropped=dropped,
            frozen=frozen,
        )


async def change_of(
    site: str,
    seen: Sequence[Sighting],
    placed: Mapping[str, str],
    known: Known | None,
    terms: Crediting,
    now: float,
) -> Change:
    """What these sightings, all of one order, make of it. `known` is the order as it is in the ledger."""
    order, counting = project(seen, placed), standing(seen)
    if known is not None and _is_named(known):
        # The number under which the order was reported to the partner.
        order = replace(order, number=known.number)
    rule = GROSS if _is_persons(order, seen) else terms.net_rule
    if not rule.is_gross:
        order = replace(order, net_rule=rule.to_json())
    channel, conversation = await terms.channel(order, known)
    beside = await terms.beside(order, counting, known)
    counted, missing = netted(order, rule)
    touches, linked = touches_of(order, counting), await terms.linked(order, counting, known)
    inputs = Inputs(
        order_time=order.placed_at,
        decided_at=now,
        touches=touches,
        consent=order.consent.state,
        partner=order.partner,
        chosen_by=_chosen_by(order, seen),
        channel=channel,
        sale=None if beside is None else sale_of(counted, beside),
        linked=linked,
        suspicions=await terms.suspicions(order, counting, (*touches, *linked), known),
    )
    networks = load_catalogue().networks
    kept = _kept(order, known, inputs)
    inputs, policy, decision = kept or (inputs, *terms.decide(inputs, known))
    for doubt in doubts_of(inputs, policy, decision):
        order = _doubted(order, seen, doubt)
    if missing and order.is_sale:
        asked = f"[sites.net] asks for what the order does not say: {', '.join(missing)}"
        order = _doubted(order, seen, Doubt("net", asked))
    return Change(
        site=site,
        sighting=None,
        joined_by="number",
        order=order,
        numbers=tuple(dict.fromkeys(number for s in seen for number in numbers_of(s, placed))),
        channel=channel,
        conversation=conversation,
        inputs=inputs,
        policy=policy,
        decision=decision,
        wanted=reports(
            _with_customer(counted, inputs),
            decision,
            channel,
            lambda partner: email_for(order, terms.partner(partner), networks),
        ),
        standings=standings(counted, decision, policy.terms),
        manual=lambda report: manual(terms.partner(report.partner), report, networks, now),
        able=lambda report: verdict_doubt(terms.partner(report.partner), report, networks, now),
        at=now,
        known=known,
        seen=seen,
        send_at=max((s.undo_until or 0.0 for s in counting), default=0.0),
    )


def _is_persons(order: Order, seen: Sequence[Sighting]) -> bool:
    """Whether a person entered the order's amount: it counts as it is."""
    return any(s.correction is not None and s.key == order.sources.get("total") for s in seen)


def _is_named(known: Known) -> bool:
    """Whether a report says the order's number, and not only further ones."""
    named = (one.placed or one.sighting.id for one in known.sightings if not one.by_evidence)
    return any(number is not None for number in named)


def _kept(order: Order, known: Known | None, now: Inputs) -> tuple[Inputs, Policy, Decision] | None:
    """The last decision if its inputs were deleted; None if it can be repeated. A person's choice counts in
    any case."""
    if known is None or known.decided is None:
        return None
    before = known.decided
    # Of arrivals on another device only, whose visitor was forgotten.
    linked = before.inputs.forgotten and before.visitor is not None and before.visitor == order.visitor
    if not order.forgotten and not linked:
        return None
    if now.partner == before.inputs.partner:
        inputs = replace(before.inputs, sale=now.sale if before.inputs.sale is not None else None)
        return inputs, before.policy, repriced(before.decision, inputs, before.policy)
    inputs = replace(now, touches=(), forgotten=True)
    return inputs, before.policy, decide(inputs, before.policy)


def _with_customer(order: Order, inputs: Inputs) -> Order:
    """The order with what the ledger knows of the customer, where the shop says nothing."""
    known = None if inputs.sale is None else inputs.sale.customer
    return order if known is None else replace(order, customer=known)


def _doubted(order: Order, seen: Sequence[Sighting], doubt: Doubt) -> Order:
    """The order with a doubt about its credit, unless a person released it."""
    released = any(s.correction is not None and s.correction.release for s in seen)
    return order if released else replace(order, doubts=(*order.doubts, doubt))


def _settlement(sighting: Sighting, before: StoredOrder | None) -> str:
    """How a sighting settles held postbacks, as text."""
    correction = sighting.correction
    by = correction.by if correction is not None else SERVER if sighting.of_server else "a later report"
    if correction is not None and (correction.refuse or correction.undoes):
        return f"{'refused' if correction.refuse else 'undone'} by {by}"
    if sighting.total is not None and before is not None and sighting.total != before.total:
        was = f"{before.total} {before.currency}"
        return f"corrected from {was} to {sighting.total} {sighting.currency} by {by}"
    return f"released by {by}"


def _contradicted(found: Sequence[Known], sighting: Sighting) -> bool:
    """Whether a source reported the same further number for two orders with different numbers."""
    if sighting.id is None:
        # A refund or a dispute, of the order that has this further number.
        return False
    return any(
        stored.sighting.source == sighting.source and stored.sighting.id not in (None, *sighting.numbers)
        for known in found
        if sighting.further and not any(sighting.id in s.sighting.numbers for s in known.sightings)
        for stored in known.sightings
    )


def _says_nothing_new(known: Known, others: Sequence[Known], sighting: Sighting) -> bool:
    if others:
        return False
    seen = [stored.sighting for stored in known.sightings]
    if sighting.source in ("page", "browser"):
        # Sightings of less weight must not displace those of more.
        alike = sum(s.source == sighting.source and bool(s.doubts) == bool(sighting.doubts) for s in seen)
        if alike >= SIGHTINGS:
            return True
    if any(s.forgotten for s in seen):
        # It may repeat what was said of somebody who has been forgotten meanwhile.
        named = [v for v in (sighting.visitor, sighting.carrier, sighting.email_hash) if v is not None]
        if adds_nothing(seen, sighting.forget(named, named)):
            return True
    return adds_nothing(seen, sighting)


def _chosen_by(order: Order, seen: Sequence[Sighting]) -> str:
    chosen = next((s.correction for s in seen if s.key == order.sources.get("partner")), None)
    if chosen is None:
        return ""
    return f"{'undone' if chosen.undoes else 'chosen'} by {chosen.by}: {chosen.why}"


class Kept:
    """The terms of an order's last decision, for a person's correction, which changes only the order."""

    def __init__(self, partners: Sequence[Partner] = (), net_rule: NetRule = GROSS) -> None:
        self._partners = {partner.id: partner for partner in partners}
        self._net_rule = net_rule

    @property
    def net_rule(self) -> NetRule:
        """That of the last decision."""
        return self._net_rule

    def decide(self, inputs: Inputs, known: Known | None) -> tuple[Policy, Decision]:
        """The last decision, unless a person chose a partner."""
        if known is None or known.decided is None:
            raise LookupError("there is no such order")
        policy, before = known.decided.policy, known.decided
        same = inputs.partner == before.inputs.partner and inputs.sale is None
        return policy, before.decision if same else decide(inputs, policy)

    async def beside(self, order: Order, seen: Sequence[Sighting], known: Known | None) -> Beside | None:
        """What was known at the last decision."""
        sale = None if known is None or known.decided is None else known.decided.inputs.sale
        return None if sale is None else sale.beside

    async def linked(self, order: Order, seen: Sequence[Sighting], known: Known | None) -> tuple[Touch, ...]:
        """Those of the last decision."""
        return () if known is None or known.decided is None else known.decided.inputs.linked

    async def suspicions(
        self, order: Order, seen: Sequence[Sighting], touches: tuple[Touch, ...], known: Known | None
    ) -> tuple[Suspicion, ...]:
        """Those of the last decision."""
        return () if known is None or known.decided is None else known.decided.inputs.suspicions

    async def channel(self, order: Order, known: Known | None) -> tuple[Any, str | None]:
        """The channel of the last decision."""
        if known is None:
            raise LookupError("there is no such order")
        return known.channel, known.conversation

    def partner(self, partner: str) -> Partner | None:
        """A partner of the site."""
        return self._partners.get(partner)


def held(postbacks: Sequence[Postback]) -> Doubt | None:
    """Why an order is not reported to its partner yet."""
    for row in postbacks:
        if row.state == "held" and row.hold is not None:
            return Doubt(row.hold, row.why or "")
    return None
