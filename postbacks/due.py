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
    found = {}
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
        return replace(last, event=CANCEL, amount=nothing, click_id=reported.click_id, before=before)
    if reported.event == CANCEL or _values(reported) != _values(now):
        return replace(now, event=ADJUST, before=reported.amount)
    return None


def _text(amount: Decimal | None, currency: str) -> str:
    return "" if amount is None else amount_text(amount, currency)


def _values(report: Report) -> tuple[str, str, str]:
    return report.amount, report.currency, report.click_id


def _content(report: Report) -> tuple[object, ...]:
    said = (
        report.commission,
        report.channel,
        report.voucher,
        report.consent,
        report.tcf,
        report.items,
        report.customer,
        report.email_sha256,
    )
    return report.event, *_values(report), *said


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
        own = _reports(every)
        waiting = [row for row in own if _waits(row)]
        last = next((row.report for row in reversed(own) if _may_be_reported(row)), None)
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


def with_verdicts(
    rows: Sequence[Postback],
    planned: Plan,
    wanted: Mapping[str, str | None],
    able: Callable[[Report], Doubt | None],
) -> Plan:
    """The plan with what networks are told of the commissions: `wanted` is APPROVE or DECLINE by partner,
    None where there is no decision to tell; nothing changes for a partner that it does not name. `rows` are
    all postbacks of the order.

    Each decision is told once, after the network was told of the order as it stands. What was not sent yet is
    told anew after a change. `able` says why no call can be made; with an empty text nobody needs to know.
    """
    superseded, added = list(planned.superseded), list(planned.added)
    changed = {one.id: one for one in planned.changed}
    for partner, word in sorted(wanted.items()):
        own = [
            changed.get(row.id, row) for row in rows if row.partner == partner and row.id not in superseded
        ]
        new = [one for one in planned.added if one.report.partner == partner]
        reported = [row for row in _reports(own) if row.state != "superseded"]
        last: Postback | Planned | None = new[-1] if new else reported[-1] if reported else None
        told = _told(own)
        if last is None or last.report.event == CANCEL or last.state in ("held", "refused", "dead"):
            word = None
        number = last.sequence if last is not None else 0
        kept = told[-1] if told and told[-1].event == word else None
        if kept is not None and _waits(kept) and kept.sequence < number:
            kept = None
        superseded += [row.id for row in told if row is not kept and _waits(row)]
        if word is None or last is None or kept is not None:
            continue
        report = replace(last.report, event=word, before="")
        doubt = able(report)
        if doubt is None or doubt.text:
            every: Sequence[Postback | Planned] = (*rows, *added)
            sequence = max((one.sequence for one in every if one.report.partner == partner), default=0)
            state: State = "due" if doubt is None else "held"
            kind, why = (None, None) if doubt is None else (doubt.kind, doubt.text)
            added.append(Planned(sequence + 1, report, state, kind, why))
    return Plan(tuple(superseded), planned.changed, tuple(added))


def _reports(rows: Sequence[Postback]) -> list[Postback]:
    """Those about the order itself."""
    return [row for row in rows if row.event not in VERDICTS]


def told_again(rows: Sequence[Postback], planned: Plan, word: str | None) -> Plan:
    """The plan for calls about the order with the decision `word` after them, if there was a call for it
    before, and it was not sent. `rows` are all postbacks of the order to the partner."""
    before = next((row for row in reversed(rows) if row.event == word), None)
    if not rows or (word is not None and before is None):
        return planned
    doubt = Doubt(before.hold, before.why or "") if before is not None and before.hold is not None else None
    return with_verdicts(rows, planned, {rows[0].partner: word}, lambda report: doubt)


def _told(rows: Sequence[Postback]) -> list[Postback]:
    """The decisions that the network has heard of, or is to hear of."""
    return [row for row in rows if row.event in VERDICTS and row.state != "superseded"]


def after_dead(rows: Sequence[Postback], dead: Postback) -> Plan:
    """What becomes of the later events for a partner when one before them could not be delivered: of an order
    that it never took, it hears as of a new one, and of a decision about the order after that."""
    if dead.event in VERDICTS:
        return Plan()
    own = [row for row in rows if row.partner == dead.partner]
    told = _told(own)
    return told_again(own, _anew(own), told[-1].event if told else None)


def _anew(rows: Sequence[Postback]) -> Plan:
    later = [row for row in _reports(rows) if _waits(row)]
    if not later:
        return Plan()
    last = later[-1]
    wanted = replace(last.report, event=last.event if last.event == CANCEL else NEW, before="")
    found = plan(rows, {last.partner: wanted})
    return replace(
        found,
        changed=(),
        added=tuple(replace(p, state=last.state, hold=last.hold, why=last.why) for p in found.added),
    )


def retried(rows: Sequence[Postback], row: Postback) -> Plan | None:
    """What is sent when a person has an event sent again after later ones about the same order, which it must
    not follow; None where that is the event itself. `rows` are all postbacks of the order to the partner.

    A later event says all that holds now. Only a change may have come to nothing at a partner that never got
    the event before it: to such a partner the order is reported as a new one, which it ignores if it has it.
    Where it is not known either whether the change came, it follows: a partner that has the order as it was
    before needs it.

    A decision is told after the order as it stands, unless a later one was made.
    """
    if row.event in VERDICTS:
        return _verdict_again(rows, row)
    later = [one for one in _reports(rows) if one.sequence > row.sequence and one.state != "superseded"]
    sent = [one for one in later if not _waits(one)]
    if not later or (row.state != "dead" and not sent):
        return None
    last = later[-1]
    anew = any(one.event == NEW and one.state == "delivered" for one in sent)
    if row.state == "dead" or last is not sent[-1] or last.event != ADJUST or anew:
        return Plan(superseded=(row.id,))
    reports = [replace(last.report, event=NEW, before="")]
    if last.state != "delivered":
        reports.append(last.report)
    first = max(one.sequence for one in rows) + 1
    added = (Planned(number, report, "due", None, None) for number, report in enumerate(reports, first))
    return Plan((row.id,), (), tuple(added))


def _verdict_again(rows: Sequence[Postback], row: Postback) -> Plan | None:
    gone = Plan(superseded=(row.id,))
    if (told := _told(rows)) and told[-1].id != row.id:
        return gone
    about = [one for one in _reports(rows) if one.state != "superseded"]
    last = about[-1] if about else None
    if last is None or (last.sequence < row.sequence and last.state not in ("held", "refused", "dead")):
        return None
    return with_verdicts(rows, gone, {row.partner: row.event}, lambda report: None)


def resent(rows: Sequence[Postback], row: Postback, event: str, why: str) -> Plan:
    """What is sent when a person tells a partner again what it has taken, because its own report says
    otherwise. `rows` are all postbacks of the order to the partner, `row` is the one that it took last.

    Raises ValueError if it did not take it, or if a later one says what holds now.
    """
    if row.state != "delivered":
        raise ValueError(f"it is {row.state}, not delivered")
    others = rows if row.event in VERDICTS else _reports(rows)
    if any(one.sequence > row.sequence and one.state != "superseded" for one in others):
        raise ValueError("a later one about the order says what holds now")
    if (event == CANCEL) != (row.event == CANCEL):
        raise ValueError(f"the partner was told {row.event!r}: correct the order to tell it {event!r}")
    before = "" if event == NEW else row.report.amount
    report = replace(row.report, event=event, before=before)
    sequence = max(one.sequence for one in rows) + 1
    return Plan(added=(Planned(sequence, report, "due", None, why),))


def _why(waiting: Sequence[Postback], settlement: str) -> str | None:
    """Of a call that is not held: what held it before, and who settled it."""
    before = waiting[-1] if waiting else None
    if before is None or before.state not in ("held", "refused"):
        return before.why if before is not None else None
    return "; ".join(filter(None, (before.why, settlement))) or None


def _waits(row: Postback) -> bool:
    """Whether nothing of it was sent."""
    return row.state in ("held", "refused") or (row.state == "due" and row.attempts == 0)


def _may_be_reported(row: Postback) -> bool:
    """Whether the partner may have heard of it. A call that failed is tried again, and may yet arrive."""
    return row.state in ("sending", "delivered", "unknown") or (row.state == "due" and row.attempts > 0)


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


NOBODY_ASKS: Final = Doubt("manual", "")


def verdict_doubt(
    partner: Partner | None, report: Report, networks: Mapping[str, Network], now: float
) -> Doubt | None:
    """Why a network gets no call for an approval or a refusal; None if it does. An approval that it takes by
    no call is not told: a network pays what nobody has declined."""
    network = networks.get(partner.network) if partner is not None and partner.network is not None else None
    if partner is None or network is None:
        return NOBODY_ASKS
    why = unable(partner, network, report, now)
    if why is None:
        return None
    if report.event == APPROVE:
        return NOBODY_ASKS
    return Doubt("manual", f"the commission was declined, and {why}: report it by hand")


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
