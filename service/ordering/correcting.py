"""People's decisions about orders: held postbacks are sent or refused, and wrong values are corrected. Each
decision is a new entry in the order's history with name and reason; nothing is edited in place."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from ...orders.checks import checked_text
from ...orders.doubt import Doubt, agent_doubt
from ...orders.model import STATES, OrderError, OrderState
from ...orders.money import amount_text, checked_currency
from ...orders.net import GROSS, NetRule
from ...orders.sighting import UNKNOWN, Consented, Correction, Sighting
from ...postbacks.due import VERDICTS
from ...postbacks.model import Postback
from ...referral.touches import Touch
from ...settings.model import Hold, Partner
from ...stores.ledger.again import OutboxError
from ...stores.ledger.books import Ledger
from ...stores.ledger.known import Known
from ...stores.ledger.orders import StoredOrder
from .book import Entry, Kept, OrderBook

WHY_LENGTH: Final = 300
_UNLIMITED: Final = Hold()


async def correct(
    ledger: Ledger,
    partners: Sequence[Partner],
    order: StoredOrder,
    now: float,
    *,
    by: str,
    why: str,
    state: str | None = None,
    amount: Decimal | None = None,
    currency: str | None = None,
    partner: str | None = None,
    hold: Hold = _UNLIMITED,
    visitor: str | None = None,
    touches: tuple[Touch, ...] = (),
    consent: Consented | None = None,
    seen: int | None = None,
) -> Entry:
    """Correct an order: its state, its amount, or the partner that earns it (an empty text for nobody). None
    keeps a value. The partners are notified of the difference.

    With `visitor` it is also said whose the order is, with that visitor's `touches`; `consent` is what is
    known of the buyer's at the order.
    `partners` are those of the site. An amount above the limit of `hold` waits for another agent. `seen` is
    how many decisions of people about the order `by` knows of (`decisions`), by default all. Raises
    OrderError for invalid values, if nothing is corrected, and if another person was faster.
    """
    seen = len(await decisions(ledger, order)) if seen is None else seen
    total, code = _corrected(order, amount, currency)
    right_state, right_partner = _state(state), _partner(partner, partners)
    if total is None and right_state is None and right_partner is None:
        raise OrderError("nothing to correct: give a state, an amount or a partner")
    doubt = None
    if total is not None or right_partner:
        doubt = agent_doubt(by, total or order.total, code or order.currency, hold)
    return await _add(
        ledger,
        partners,
        order,
        now,
        Correction(by=by, why=checked_text(why, "why", WHY_LENGTH), partner=right_partner),
        seen,
        total=total,
        currency=code,
        state=right_state,
        doubts=() if doubt is None else (doubt,),
        whose={} if visitor is None else _whose(visitor, touches, consent),
    )


async def decisions(ledger: Ledger, order: StoredOrder) -> Sequence[Correction]:
    """What people have decided about an order, oldest first."""
    return _decisions(await ledger.histories.known(order.site, [order.order_id]))


def _decisions(known: Sequence[Known]) -> Sequence[Correction]:
    stored = sorted((s for one in known for s in one.sightings), key=lambda s: s.row)
    return [s.sighting.correction for s in stored if s.sighting.correction is not None]


def _unchanged(known: Sequence[Known], by: str, seen: int) -> None:
    """Raise OrderError if somebody else has decided about the order since `by` looked at it: who decides
    knows what is decided already, or two settle one thing in two ways."""
    faster = next((one for one in _decisions(known)[seen:] if one.by != by), None)
    if faster is not None:
        raise OrderError(f"{faster.by} has decided about it meanwhile ({faster.why}): look at it again")


def _whose(visitor: str, touches: tuple[Touch, ...], consent: Consented | None) -> dict[str, Any]:
    plain = tuple(touch.to_json() for touch in touches)
    known = UNKNOWN if consent is None else consent
    return {"visitor": visitor, "touches": plain, "consent": known}


def _state(value: str | None) -> OrderState | None:
    found = next((state for state in STATES if state == value), None)
    if value is not None and found is None:
        raise OrderError(f"state: {value[:40]!r} is no state; there are: {', '.join(STATES)}")
    return found


def _partner(value: str | None, partners: Sequence[Partner]) -> str | None:
    known = [partner.id for partner in partners]
    if value and value not in known:
        there = ", ".join(known) or "none"
        raise OrderError(f"partner: the site has no {value[:40]!r}; there are: {there}")
    return value


async def settle(
    ledger: Ledger,
    partners: Callable[[str], list[Partner]],
    postback_id: str,
    now: float,
    *,
    by: str,
    send: bool = True,
    amount: Decimal | None = None,
    currency: str | None = None,
    site: str | None = None,
    hold: Hold = _UNLIMITED,
) -> Entry:
    """Settle an order whose postback is held: send it, with another amount if one is given, or refuse it. A
    refused postback may still be sent. What no call can tell can only be refused.

    `partners` are those of a site by its name. `by` is who decides. With `site` only a postback of that site
    is found. An amount above the limit of `hold` waits for another agent. Raises OutboxError for an unknown
    id, for any other state, and if `by` must not decide alone; OrderError for an invalid amount, and if
    another person was faster.
    """
    found = await ledger.outbox.get(postback_id, site=site)
    if found is None:
        raise OutboxError(f"{postback_id}: no such postback")
    if found.state not in ("held", "refused"):
        raise OutboxError(f"{postback_id}: it is {found.state}, not held")
    if found.state == "held" and found.hold == "manual" and (send or found.event in VERDICTS):
        raise OutboxError(f"{postback_id}: {found.why}; then mark it as reported")
    order = await ledger.orders.at(found.order)
    if order is None:
        raise OutboxError(f"{postback_id}: its reports were moved to another order")
    seen = len(await decisions(ledger, order))
    found = await ledger.outbox.get(postback_id) or found
    if found.state not in ("held", "refused"):
        raise OutboxError(f"{postback_id}: it is {found.state}, not held")
    if send and by in await _recorders(ledger, order):
        raise OutboxError(f"{postback_id}: {by} recorded it, so another agent has to release it")
    right = _corrected(order, amount, currency)
    doubt = agent_doubt(by, *right, hold)
    return await _add(
        ledger,
        partners(found.site),
        order,
        now,
        Correction(by=by, why=found.why or "", release=send and doubt is None, refuse=not send),
        seen,
        total=right[0],
        currency=right[1],
        doubts=() if doubt is None else (doubt,),
    )


async def _recorders(ledger: Ledger, order: StoredOrder) -> frozenset[str]:
    """The agents who recorded an amount above their limit that waits for another agent."""
    if not any(doubt.kind == "agent" for doubt in order.doubts):
        return frozenset()
    known = await ledger.histories.known(order.site, [order.order_id])
    sightings = [stored.sighting for one in known for stored in one.sightings]
    return frozenset(
        s.agent for s in sightings if s.agent is not None and any(d.kind == "agent" for d in s.doubts)
    )


async def _add(
    ledger: Ledger,
    partners: Sequence[Partner],
    order: StoredOrder,
    now: float,
    correction: Correction,
    seen: int,
    *,
    total: Decimal | None = None,
    currency: str | None = None,
    state: OrderState | None = None,
    doubts: tuple[Doubt, ...] = (),
    whose: Mapping[str, Any] = {},
) -> Entry:
    sighting = Sighting(
        site=order.site,
        source="agent",
        at=now,
        id=order.order_id,
        total=total,
        currency=currency,
        state=state,
        agent=correction.by,
        doubts=doubts,
        correction=correction,
        **whose,
    )
    rule = order.details.get("net_rule")
    kept = Kept(partners, GROSS if rule is None else NetRule.from_json(rule))
    return await OrderBook(ledger).add(
        sighting, kept, now, check=lambda known: _unchanged(known, correction.by, seen)
    )


def _corrected(
    order: StoredOrder, amount: Decimal | None, currency: str | None
) -> tuple[Decimal | None, str | None]:
    """The validated new amount of an order; nothing if it is not changed."""
    if amount is None and currency is None:
        return None, None
    code = checked_currency(currency) if currency is not None else order.currency
    right = order.total if amount is None else amount
    if right is None or code is None:
        raise OrderError("total: the order has no amount yet; give both the amount and the currency")
    total = Decimal(amount_text(right, code))
    if total != right or total < 0:
        raise OrderError(
            f"total: {code} has fewer digits after the separator than {right}, or it is negative"
        )
    return total, code


def settled(entry: Entry, postback_id: str) -> Postback:
    """The postback that results from a decision. Raises OutboxError if there is none."""
    if not entry.postbacks:
        raise OutboxError(f"{postback_id}: there is nothing left to report to the partner")
    return next((row for row in entry.postbacks if row.id == postback_id), entry.postbacks[-1])
