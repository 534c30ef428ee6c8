"""What the sightings of one order come to: its amounts and state, whose it is, and what stands against
telling a partner. Each value names the sighting that it comes from.

Pure. The result depends on the sightings and the times that they carry, not on the order in which they are
given.

Which sighting counts, field by field:
- a person's correction, then the shop's server (API, webhook), an import, a page or an agent; the browser
  only where nobody else reports the order, or as far as it says whose it is;
- of one rank, what a selector or a server said before what was guessed from structured data;
- of two from a server, an import or a person, the later one (by `as_of`, where the sender says it): it
  corrects. Of two pages, the earlier one: a reload says nothing new.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final, Literal

from .doubt import Doubt
from .join import numbers_of
from .model import SALES, STATES, Channel, Item, OrderState, Refund
from .money import amount_text
from .sighting import CORRECTION, RANK, UNKNOWN, Consented, Sighting, standing

_SERVER: Final = RANK["api"]
_CORRECTS: Final = RANK["import"]
"""From this rank on a later word takes the place of an earlier one."""

_OF_AMOUNT: Final = ("amount", "currency", "agent")

NAMED_BY_BROWSER: Final = Doubt(
    "browser",
    "the shop's server reported the order, but not its visitor: only a browser says whose it is. "
    "POST orders with `visitor` settles it",
)


@dataclass(frozen=True, slots=True)
class Order:
    """One order as it stands. None is what nobody has said.

    `number` is the order's first number, `spelling` as the shop writes it. `placed_at` is in unix seconds;
    `has_own_time` is whether a source named it.
    `refunded` is the money that went back by `refunds`, each once. `recurring`: it renews a subscription.
    `net_rule` is what of it counts for partners, as plain data (`orders/net.py`).
    `doubts` is what stands against telling a partner; `refused`: a
    person decided that it is reported to none. `partner` is a person's choice of who earns it: an empty text
    for nobody, None where nobody chose. `sources` has by field name the `Sighting.key` that a value
    comes from. `forgotten`: it is known whose it was, and that visitor was forgotten. `consent` is the
    visitor's when it ordered.
    """

    number: str
    spelling: str
    state: OrderState
    placed_at: float
    total: Decimal | None
    currency: str | None
    net: Decimal | None
    shipping: Decimal | None
    tax: Decimal | None
    discount: Decimal | None
    refunded: Decimal
    coupon: str | None
    customer: Literal["new", "returning"] | None
    channel: Channel | None
    items: tuple[Item, ...] | None
    visitor: str | None
    conversation: str | None
    agent: str | None
    doubts: tuple[Doubt, ...]
    refused: bool
    partner: str | None
    sources: Mapping[str, str]
    has_own_time: bool = False
    forgotten: bool = False
    consent: Consented = UNKNOWN
    refunds: tuple[Refund, ...] = ()
    recurring: bool = False
    email_hash: str | None = None
    net_rule: Mapping[str, Any] | None = None

    @property
    def is_sale(self) -> bool:
        """Whether a partner can earn by it."""
        return self.state in SALES and self.total is not None

    @property
    def amount(self) -> Decimal:
        """What the customer has paid and not got back; nothing where it is no sale."""
        return max((self.total or Decimal()) - self.refunded, Decimal()) if self.is_sale else Decimal()


class _Pick:
    """Chooses, for each field, the sighting that counts, and remembers which it was."""

    def __init__(self, sightings: Iterable[Sighting]) -> None:
        self._by_weight = sorted(sightings, key=_weight, reverse=True)
        self.sources: dict[str, str] = {}

    def sighting(self, field: str, says: Callable[[Sighting], object]) -> Sighting | None:
        """The first one by weight that says something of the field."""
        found = next((s for s in self._by_weight if says(s) is not None), None)
        if found is not None:
            self.sources[field] = found.key
        return found

    def value(self, field: str) -> Any:
        """The field's value by the sighting that counts."""
        found = self.sighting(field, lambda s: getattr(s, field))
        return None if found is None else getattr(found, field)

    def unnoted(self, field: str) -> Any:
        """The same, without a note of its source: the value is nothing that the order's story tells."""
        return next((found for s in self._by_weight if (found := getattr(s, field)) is not None), None)


def project(sightings: Sequence[Sighting], placed: Mapping[str, str] = {}) -> Order:
    """The order that these sightings, all of one order, come to. Raises ValueError where there are none, or
    none names a number. `placed`: see `join`."""
    reports, sightings = sightings, standing(sightings)
    naming = _naming(sightings)
    counted = _counted(sightings, naming)
    pick = _Pick(counted)
    # A report of a refund may know only a number that no customer sees.
    numbered = pick.sighting("number", lambda s: placed.get(s.key) or s.id)
    numbered = numbered or pick.sighting("number", lambda s: numbers_of(s, placed) or None)
    if numbered is None:
        raise ValueError("no sighting names the order's number")
    spelled = pick.sighting("spelling", lambda s: None if s.key in placed else s.spelling)
    money = pick.sighting("total", lambda s: s.total)
    refunds = _refunds(sightings)
    refunded = sum((refund.amount for refund in refunds), Decimal())
    state = _state(pick, counted, money, refunded)
    if naming is not None:
        pick.sources["visitor"] = naming.key
    ruling = max((s for s in sightings if _rules(s)), key=_weight, default=None)
    chosen = pick.sighting("partner", lambda s: s.correction and s.correction.partner)
    channel: Channel | None = pick.value("channel")
    partner = None if chosen is None or chosen.correction is None else chosen.correction.partner
    if (undo := _undo(sightings)) is not None:
        # Nothing is left of it but who undid it. It is still of the channel in which it was recorded.
        channel, partner = channel or _channel_of(reports), ""
        pick.sources |= {"partner": undo.key, "state": undo.key}
    return Order(
        number=numbers_of(numbered, placed)[0],
        spelling=(spelled and spelled.spelling) or numbers_of(numbered, placed)[0],
        state=state,
        placed_at=_placed_at(pick, counted),
        total=None if money is None else money.total,
        currency=None if money is None else money.currency,
        net=pick.value("net"),
        shipping=pick.value("shipping"),
        tax=pick.value("tax"),
        discount=pick.value("discount"),
        refunded=refunded,
        coupon=pick.value("coupon"),
        customer=pick.value("customer"),
        channel=channel,
        items=pick.value("items"),
        visitor=None if naming is None else naming.visitor,
        conversation=pick.value("conversation"),
        agent=pick.value("agent"),
        doubts=_doubts(sightings, money, naming, chosen, ruling),
        refused=ruling is not None and ruling.correction is not None and ruling.correction.refuse,
        partner=partner,
        sources=pick.sources,
        has_own_time=any(s.placed_at is not None for s in counted),
        forgotten=_is_forgotten(sightings, naming),
        refunds=refunds,
        recurring=any(s.recurring for s in sightings),
        email_hash=pick.unnoted("email_hash"),
        consent=_consent(pick, sightings, naming),
    )


def _undo(sightings: Sequence[Sighting]) -> Sighting | None:
    """Who undid all that was reported of an order, if nothing else stands."""
    undone = [s for s in sightings if s.correction is not None and s.correction.undoes]
    return max(undone, key=_weight) if len(undone) == len(sightings) else None


def _channel_of(reports: Sequence[Sighting]) -> Channel | None:
    """The channel of a report that does not stand any more: where an agent recorded it, in a conversation."""
    told = next((s.channel for s in reports if s.channel is not None), None)
    return told or ("chat" if any(s.conversation is not None for s in reports) else None)


def _counted(sightings: Sequence[Sighting], naming: Sighting | None) -> Sequence[Sighting]:
    """Those whose words count. A browser can tell any coupon and any date of an order whose number somebody
    knows or guesses, also before it is placed. Where others report the order, only the browser that says
    whose it is counts, which holds the order."""
    others = [s for s in sightings if s.source != "browser"]
    if naming is not None and naming.source == "browser" and others:
        others.append(naming)
    return others or sightings


def _is_settled(sighting: Sighting) -> bool:
    """Whether its amount is the order's, and not that of an order which waits for its money."""
    return sighting.rank >= _CORRECTS or sighting.state not in ("seen", "held")


def _weight(sighting: Sighting) -> tuple[int, bool, bool, float, str]:
    """Greater counts more."""
    return sighting.rank, not sighting.guess, _is_settled(sighting), _time(sighting), sighting.key


def _time(sighting: Sighting) -> float:
    """Greater counts more: the later one where it corrects, else the earlier one."""
    at = sighting.at if sighting.as_of is None else sighting.as_of
    return at if sighting.rank >= _CORRECTS else -at


def _refunds(sightings: Iterable[Sighting]) -> tuple[Refund, ...]:
    """All refunds, each once by its id. If one has several amounts, that of more weight counts; if some name
    its items, and that one does not, theirs do."""
    refunds: dict[str, Refund] = {}
    for sighting in sorted((s for s in sightings if s.rank >= _CORRECTS), key=_weight):
        for refund in sighting.refunds:
            before = refunds.get(refund.id)
            items = refund.items or (before.items if before is not None else ())
            refunds[refund.id] = replace(refund, items=items)
    return tuple(refunds[name] for name in sorted(refunds))


def _state(
    pick: _Pick, sightings: Sequence[Sighting], money: Sighting | None, refunded: Decimal
) -> OrderState:
    """The state that the source of the highest rank reports.

    Where its sender gives times (`as_of`), the latest state. Where it gives none, the furthest: "placed" and
    "cancelled" may arrive in any order, and a cancelled order is seldom placed again. One without a time that
    came after the latest state counts if it is further. Of pages the earliest that says that this is no sale,
    or that it is; a payment that comes later counts.
    """
    with_state = [s for s in sightings if s.state is not None]
    if not with_state:
        undone = (s.correction for s in sightings if s.correction is not None and s.correction.undoes)
        return "cancelled" if any(undone) else "seen"
    top = max(s.rank for s in with_state)
    of_top = [s for s in with_state if s.rank == top]
    if top >= CORRECTION:
        found = max(of_top, key=_weight)
    elif top >= _CORRECTS:
        found = _latest(of_top)
    else:
        # Anybody can open a page without our cookie: that does not say that the money has come.
        named = [s for s in of_top if s.names_visitor] or of_top
        settled = [s for s in named if STATES.index(s.state or "seen") >= STATES.index("placed")]
        found = max(settled or named, key=_weight)
    pick.sources["state"] = found.key
    state = found.state or "seen"
    if refunded and state in SALES:
        whole = money is not None and money.total is not None and refunded >= money.total
        return "refunded" if whole else "part_refunded"
    return state


def _latest(reports: Sequence[Sighting]) -> Sighting:
    """Of reports with a state, see `_state`."""

    def far(one: Sighting) -> int:
        return STATES.index(one.state or "seen")

    dated = max(
        (s for s in reports if s.as_of is not None), key=lambda s: (s.as_of, far(s), s.key), default=None
    )
    since = 0.0 if dated is None else dated.as_of or 0.0
    others = [s for s in reports if s.as_of is None and s.at >= since]
    return max(
        others if dated is None else [dated, *others], key=lambda s: (far(s), s.as_of is not None, s.key)
    )


def _placed_at(pick: _Pick, sightings: Sequence[Sighting]) -> float:
    """When the order was placed, as reported; else when clew got the first report. Never later than that."""
    first = min(sightings, key=lambda s: (s.at, s.key))
    dated = pick.sighting("placed_at", lambda s: s.placed_at)
    if dated is None or dated.placed_at is None:
        pick.sources["placed_at"] = first.key
        return first.at
    return min(dated.placed_at, first.at)


def _naming(sightings: Iterable[Sighting]) -> Sighting | None:
    """The sighting that says whose the order is: the server's; else the earliest page of a visitor who was
    seen at the checkout, before what a browser told, before anybody who opened the page."""
    named = [s for s in sightings if s.names_visitor]

    def counts(sighting: Sighting) -> tuple[object, ...]:
        bought = not any(doubt.kind == "checkout" for doubt in sighting.doubts)
        sure = sighting.rank if sighting.rank >= _CORRECTS else 0
        return sure, bought, sighting.rank, _time(sighting), sighting.key

    return max(named, key=counts, default=None)


def _is_forgotten(sightings: Iterable[Sighting], naming: Sighting | None) -> bool:
    """Whether what the order is credited by is forgotten: its visitor, or arrivals without one."""
    if naming is not None:
        return naming.visitor is None
    return any("touches" in s.forgotten for s in sightings)


def _consent(pick: _Pick, sightings: Sequence[Sighting], naming: Sighting | None) -> Consented:
    """The consent of whose the order is. What its browser told on a page counts before what is kept of it; of
    pages whose visitor is not known the earliest does, since who has refused is not recognised."""
    whose = None if naming is None else naming.visitor
    known = [
        (s, s.consent)
        for s in sightings
        if s.consent is not None and (naming is None or not s.names_visitor or s.visitor == whose)
    ]

    def counts(one: tuple[Sighting, Consented]) -> tuple[object, ...]:
        sighting, consent = one
        chosen = consent.state not in ("pending", "unknown")
        of_page = chosen and sighting.rank <= RANK["page"] and sighting.agent is None
        return of_page, chosen, consent.state == "pending", sighting.names_visitor, _weight(sighting)

    found = max(known, key=counts, default=None)
    if found is None:
        return UNKNOWN
    pick.sources["consent"] = found[0].key
    return found[1]


def _rules(sighting: Sighting) -> bool:
    correction = sighting.correction
    return correction is not None and (correction.release or correction.refuse)


def _doubts(
    sightings: Sequence[Sighting],
    money: Sighting | None,
    naming: Sighting | None,
    chosen: Sighting | None,
    ruling: Sighting | None,
) -> tuple[Doubt, ...]:
    """What stands against telling a partner, after what the shop's server and people said."""
    if ruling is not None and ruling.correction is not None and ruling.correction.release:
        sightings = [s for s in sightings if s.at > ruling.at]
        money = money if money in sightings else None
        naming = naming if naming in sightings else None
        chosen = chosen if chosen in sightings else None
    found: list[Doubt] = []
    if money is not None:
        found += _about_amount(sightings, money)
    if naming is not None:
        found += _about_naming(sightings, naming)
        found += _about_buyer(sightings, naming)
    if chosen is not None:
        found += (doubt for doubt in chosen.doubts if doubt.kind == "agent")
    found += _about_state(sightings)
    return tuple(dict.fromkeys(found))


def _about_amount(sightings: Iterable[Sighting], money: Sighting) -> Iterable[Doubt]:
    others = [s for s in sightings if s.total is not None and s.source != money.source]
    agree = any((s.total, s.currency) == (money.total, money.currency) and s.rank > 0 for s in others)
    if not agree:
        # Two that agree are not doubted because the orders before were smaller.
        yield from (doubt for doubt in money.doubts if doubt.kind in _OF_AMOUNT)
    if money.rank >= _CORRECTS:
        return
    alike = [
        s
        for s in sightings
        if s.rank == money.rank and s.total is not None and _is_settled(s) == _is_settled(money)
    ]
    amounts = {(s.total, s.currency): s for s in sorted(alike, key=lambda s: (s.at, s.key), reverse=True)}
    if len(amounts) > 1:
        listed = "; ".join(sorted(f"{_amount(s)} by the {s.source}" for s in amounts.values()))
        yield Doubt("conflict", f"it was reported with different amounts: {listed}")


def _about_naming(sightings: Sequence[Sighting], naming: Sighting) -> Iterable[Doubt]:
    """Doubts about the order's visitor. A server that names the visitor settles them. A server that only
    reports the order settles doubts about earlier pages: whoever opens a page later may be a stranger. What a
    browser told is settled by a page of the shop that showed its visitor the same order."""
    by_server = [s for s in sightings if s.of_server and s.state is not None and s.state in SALES]
    if naming.rank >= _SERVER:
        return
    if naming.source == "browser" and by_server:
        yield NAMED_BY_BROWSER
        return
    for doubt in naming.doubts:
        if doubt.kind == "confirm" and by_server:
            continue
        if doubt.kind == "checkout" and any(s.at >= naming.at for s in by_server):
            continue
        if doubt.kind == "browser" and any(
            s.source == "page" and s.visitor == naming.visitor for s in sightings
        ):
            continue
        if doubt.kind not in _OF_AMOUNT:
            yield doubt


def _about_buyer(sightings: Sequence[Sighting], naming: Sighting) -> Iterable[Doubt]:
    """An order that waited for its money on its buyer's page, and is paid on another visitor's."""
    if naming.state in SALES or any(s.rank >= _CORRECTS and s.state in SALES for s in sightings):
        return
    own = [s for s in sightings if not s.names_visitor or s.visitor == naming.visitor]
    if not any(s.state in SALES for s in own) and any(s.state in SALES for s in sightings):
        yield Doubt("conflict", "shown as a sale to another visitor than at first")


def _about_state(sightings: Sequence[Sighting]) -> Iterable[Doubt]:
    """A page or an agent that contradicts the recorded sale."""
    if any(s.rank >= _CORRECTS and s.state is not None for s in sightings):
        return
    states = {s.state for s in sightings if s.rank == RANK["page"] and s.state is not None}
    if not SALES.isdisjoint(states) and (against := {s for s in states if _undone(s)}):
        yield Doubt("conflict", f"it was reported as placed, and as {', '.join(sorted(map(str, against)))}")


def _undone(state: OrderState | None) -> bool:
    return state is not None and STATES.index(state) > STATES.index("part_refunded")


def _amount(sighting: Sighting) -> str:
    if sighting.total is None or sighting.currency is None:
        return str(sighting.total)
    return f"{amount_text(sighting.total, sighting.currency)} {sighting.currency}"
