"""What is due to a partner: the difference between what was reported to it and how the order stands.

Pure. One event for each change that matters to the partner: a new order, another amount, an order or a share
that is gone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from ..credit.decision import Decision, Share
from ..credit.division import divided
from ..credit.sale import left_of
from ..orders.doubt import Doubt, Kind
from ..orders.history import Order
from ..orders.model import Item
from ..orders.money import amount_text
from ..referral.catalogue import Network
from ..referral.consent.bits import UnreadableError
from ..referral.consent.tcf import decode
from ..settings.model import Partner
from .model import Postback, Report, State
from .network_call import PURPOSE, unable

NEW, ADJUST, CANCEL = "order", "adjust", "cancel"
APPROVE, DECLINE = "approve", "decline"
VERDICTS: Final = frozenset({APPROVE, DECLINE})
"""What a network is told of the commission. All other events are about the order."""
EVENTS: Final[Sequence[str]] = (NEW, ADJUST, CANCEL)


def reports(
    order: Order, decision: Decision, channel: str, email: Callable[[str], str] = lambda partner: ""
) -> dict[str, Report]:
    """By partner, what each should have of the order as it stands: its part of the amount. Empty where nobody
    earns it, or it is no sale and never was one to a partner. `email` is the hash of the customer's address
    for a partner that may have it (see `email_for`)."""
    if order.total is None or order.currency is None:
        return {}
    # A partner's coupon earns without a click.
    coded = {one.partner for one in decision.considered if one.code}
    found, left = {}, left_of(order)
    for share, own in zip(decision.shares, _divided(order, decision.shares), strict=True):
        if share.click is None and not (share.partner in coded and order.coupon):
            continue
        found[share.partner] = Report(
            event=NEW if order.is_sale else CANCEL,
            partner=share.partner,
            click_id=share.click.value if share.click is not None else "",
            click_param=share.click.param if share.click is not None else "",
            order_id=order.number,
            amount=amount_text(own.amount, order.currency),
            currency=order.currency,
            channel=channel,
            order_time=int(order.placed_at),
            landing_time=int(share.touched_at or 0),
            voucher=order.coupon or "",
            state=order.state,
            consent=order.consent.state,
            tcf=order.consent.tcf,
            commission=_text(None if share.commission is None else share.commission.amount, order.currency),
            items=own.items,
            left=left,
            customer=order.customer or "",
            discount=_text(own.discount, order.currency),
            tax=_text(own.tax, order.currency),
            shipping=_text(own.shipping, order.currency),
            email_sha256=email(share.partner),
        )
    return found


def email_for(order: Order, partner: Partner | None, networks: Mapping[str, Network]) -> str:
    """The hash of the customer's address for a partner whose network takes it, with the visitor's consent at
    the order; where that is a TC string, with its consent to this vendor. Else empty."""
    network = networks.get(partner.network or "") if partner is not None else None
    if not order.email_hash or order.consent.state != "granted" or network is None or not network.takes_email:
        return ""
    if network.vendor is not None and order.consent.tcf:
        try:
            if decode(order.consent.tcf).permits(network.vendor):
                return ""
        except UnreadableError:
            return ""
    return order.email_hash


@dataclass(frozen=True, slots=True)
class _Own:
    """A share's part of an order's amounts."""

    amount: Decimal
    items: tuple[Item, ...] | None
    discount: Decimal | None
    tax: Decimal | None
    shipping: Decimal | None


def _divided(order: Order, shares: Sequence[Share]) -> list[_Own]:
    """The parts of each share, which add up: in all, and for each item."""
    if len(shares) == 1:
        return [_Own(order.amount, order.items, order.discount, order.tax, order.shipping)]
    parts, currency = [share.part for share in shares], order.currency or ""

    def of(amount: Decimal | None) -> Sequence[Decimal | None]:
        return [None] * len(parts) if amount is None else divided(amount, currency, parts, fine=True)

    lines = [(item, of(item.price), of(item.discount), of(item.tax)) for item in order.items or ()]
    found = []
    totals = divided(order.amount, currency, parts), of(order.discount), of(order.tax), of(order.shipping)
    for n, (amount, discount, tax, shipping) in enumerate(zip(*totals, strict=True)):
        items = tuple(replace(i, price=p[n], discount=d[n], tax=t[n]) for i, p, d, t in lines)
        found.append(_Own(amount, None if order.items is None else items, discount, tax, shipping))
    return found


def change(reported: Report | None, now: Report | None) -> Report | None:
    """The event that brings a partner from what was reported to it to what holds now; None where nothing is
    new.

    A partner to which nothing was reported gets no cancellation. One that got a cancellation and earns again
    gets a change: it has a record of the order.
    """
    if reported is None:
        return None if now is None or now.event == CANCEL else now
    if now is None or now.event == CANCEL:
        if reported.event == CANCEL:
            return None
        last = reported if now is None else now
        nothing = amount_text(Decimal(), last.currency)
        before = reported.amount
        return replace(
            last,
            event=CANCEL,
            amount=nothing,
            click_id=reported.click_id,
            commission=last.commission and nothing,
            before=before,
            left_before=reported.left,
        )
    if reported.event == CANCEL or values(reported) != values(now):
        return replace(now, event=ADJUST, before=reported.amount, left_before=reported.left)
    return None


def _text(amount: Decimal | None, currency: str) -> str:
    return "" if amount is None else amount_text(amount, currency)


def values(report: Report) -> tuple[str, str, str]:
    """What a change of is a change for the partner."""
    return report.amount, report.currency, report.click_id


def _content(report: Report) -> tuple[object, ...]:
    said = (
        report.commission,
        report.channel,
        report.voucher,
        report.consent,
        report.tcf,
        report.items,
        report.left,
        report.customer,
        report.email_sha256,
    )
    return report.event, *values(report), *said


@dataclass(frozen=True, slots=True)
class Planned:
    """A postback to be added for one partner of the order."""

    sequence: int
    report: Report
    state: State
    hold: Kind | None
    why: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What changes in an order's postbacks: `superseded` are not sent any more, `changed` are those whose
    call stays and whose state is another, `added` are new. The first two are named by their id."""

    superseded: tuple[str, ...] = ()
    changed: tuple[Postback, ...] = ()
    added: tuple[Planned, ...] = ()


def plan(
    rows: Sequence[Postback],
    wanted: Mapping[str, Report],
    *,
    doubts: Sequence[Doubt] = (),
    refused: bool = False,
    settlement: str = "",
    manual: Callable[[Report], Doubt | None] = lambda report: None,
) -> Plan:
    """Bring an order's partners from what was reported to them to `wanted`, by partner (see `reports`).

    `rows` are all postbacks of the order in the order of their sequence. What has not been sent is folded
    into one. `doubts` hold it, unless a person `refused` it; `settlement` is who settled them, and how.
    `manual` says of a report why no call can be made of it.
    """
    superseded: list[str] = []
    changed: list[Postback] = []
    added: list[Planned] = []
    for partner in sorted({row.partner for row in rows} | wanted.keys()):
        every = [row for row in rows if row.partner == partner]
        own = about_order(every)
        waiting = [row for row in own if waits(row)]
        last = next((row.report for row in reversed(own) if may_be_reported(row)), None)
        event = change(last, wanted.get(partner))
        if event is None:
            superseded += [row.id for row in waiting]
            if last is None:
                # The partner never took it, and is not to have it any more: nobody should send it again.
                superseded += [row.id for row in own if row.state == "dead"]
            continue
        against = next(filter(None, (*doubts, manual(event), _without_click(event))), None)
        same = next((row for row in waiting if _content(row.report) == _content(event)), None)
        # A person's refusal keeps back what stood then. A cancellation is reported all the same.
        kept_back = refused and (event.event != CANCEL or same is not None)
        nothing = against is not None and against.kind == "nothing"
        state: State = "refused" if kept_back or nothing else "due" if against is None else "held"
        hold = against if state == "held" or (nothing and not kept_back) else None
        superseded += [row.id for row in waiting if row is not same]
        kind = None if hold is None else hold.kind
        why = _why(waiting, settlement) if hold is None else hold.text
        if same is None:
            sequence = max((row.sequence for row in every), default=0) + 1
            added.append(Planned(sequence, event, state, kind, why))
        elif (same.state, same.hold, same.why) != (state, kind, why):
            changed.append(replace(same, state=state, hold=kind, why=why))
    return Plan(tuple(superseded), tuple(changed), tuple(added))


def about_order(rows: Sequence[Postback]) -> list[Postback]:
    """Those about the order itself, not about a decision on its commission."""
    return [row for row in rows if row.event not in VERDICTS]


def _why(waiting: Sequence[Postback], settlement: str) -> str | None:
    """Of a call that is not held: what held it before, and who settled it."""
    before = waiting[-1] if waiting else None
    if before is None or before.state not in ("held", "refused"):
        return before.why if before is not None else None
    return "; ".join(filter(None, (before.why, settlement))) or None


def waits(row: Postback) -> bool:
    """Whether nothing of it was sent."""
    return row.state in ("held", "refused") or (row.state == "due" and row.attempts == 0)


def may_be_reported(row: Postback) -> bool:
    """Whether the partner may have heard of it. A call that failed is tried again, and may yet arrive."""
    sent = row.state in ("sending", "accepted", "delivered", "unknown")
    return sent or (row.state == "due" and row.attempts > 0)


def _without_click(event: Report) -> Doubt | None:
    """Why a call cannot be made whose click id is not kept any more."""
    if event.click_id:
        return None
    if event.voucher and not event.landing_time:
        why = f"{event.partner} earns the order by its coupon {event.voucher}, without a click"
        return Doubt("manual", f"{why}: report it by hand, by the order's number")
    what = {NEW: "the order came about", ADJUST: "the order was changed", CANCEL: "the order was cancelled"}
    why = "after its visitor was forgotten, and the click id with it"
    return Doubt("manual", f"{what[event.event]} {why}: report it by hand, by the order's number")


def manual(
    partner: Partner | None, report: Report, networks: Mapping[str, Network], now: float
) -> Doubt | None:
    """Why no call can tell the partner of this report; None if one can. `networks` is the catalogue by id.

    A signed webhook tells of all events, a URL template of all if it has `{event}` in it, a network of those
    for which it has a call.
    """
    if partner is None:
        return None
    if partner.network is not None:
        network = networks.get(partner.network)
        if network is not None and (none := network.nothing.get(PURPOSE[report.event])) is not None:
            return Doubt("nothing", f"there is nothing to report to {network.name}: {none}")
        why = unable(partner, network, report, now) if network is not None else None
    elif report.event == NEW or partner.secret is not None or "{event}" in (partner.postback or ""):
        why = None
    else:
        why = "its `postback` has no {event}"
    if why is None:
        return None
    said = {ADJUST: "changed", CANCEL: "cancelled"}.get(report.event)
    after = f"the order was {said} after it was reported, and " if said is not None else ""
    return Doubt("manual", f"{after}{why}: report it by hand")
