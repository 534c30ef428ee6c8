"""An order that is told of, for the first time or again: what is in the log, and what a later word changes.

A page is a hint, the shop's server is the truth. As long as no partner has been told, a better word
corrects what was recorded: an amount, who the visitor is, that it is a sale after all. After that it is a
conflict for a person.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import cast

from ...events.events import Events
from ...orders.doubt import Doubt, Kind
from ...orders.model import Channel, OrderSeen, State
from ...orders.money import amount_text
from ...postbacks.model import Postback
from ...referral.credit import Considered, Credit
from ...referral.visitor import Visitor
from ...stores.ledger.books import Ledger
from ...stores.ledger.orders import Recorded
from ..clock import Clock
from ..site import SiteRuntime
from .doubts import Shown, amounts_doubt
from .weighing import Weighed, reports_of, weighed_of

SERVER = "the shop's server"
# Whose word counts more, on an order's amount and state.
_RANK: Mapping[str, int] = {"browser": 0, "page": 1, "agent": 1, "api": 2}
NAMED_BY_BROWSER = Doubt(
    "browser",
    "the shop's server told of the order, but not of its visitor: only a browser says whose it is. "
    "POST orders with `visitor` settles it",
)
# An order that was in one of these may become a sale: the money has come.
NOT_YET: frozenset[State] = frozenset({"payment_due", "problem"})


class Sightings:
    """Tells of orders, and sees to what is told of them besides. `due` is called when a postback is due."""

    def __init__(self, ledger: Ledger, events: Events, clock: Clock, due: Callable[[], None]) -> None:
        self._ledger = ledger
        self._events = events
        self._clock = clock
        self._due = due

    def recorded(self, recorded: Recorded, weighed: Weighed) -> None:
        """Tell of a new order, its credit, and a doubt that holds it."""
        self._events.emit(
            "order",
            site=recorded.site,
            order=recorded.order_id,
            total=amount_text(recorded.total, recorded.currency),
            currency=recorded.currency,
            state=recorded.state,
            channel=recorded.channel,
            source=recorded.source,
            visitor=recorded.visitor,
        )
        self._notify_credit(recorded, weighed)

    async def again(
        self,
        site: SiteRuntime,
        order: OrderSeen,
        known: Recorded,
        who: Visitor | None,
        visitor: str | None,
        conversation: str | None,
        shown: Shown | None,
    ) -> bool:
        """See to the sighting of an order that is known; whether it told whose the order is. Raises what the
        ledger raises."""
        seen = _with_known(order, known)
        weighed = await weighed_of(
            self._ledger,
            site,
            seen,
            who,
            conversation,
            shown,
            self._clock.now(),
            confirmed=known.source == "api",
        )
        others = visitor is not None and known.visitor is not None and visitor != known.visitor
        # A browser can say anything, also of an order that the shop has told of.
        weaker = order.source == "browser" and known.source != "browser"
        # Anybody can open a page without our cookie: that says nothing of whose the order is.
        nobody = visitor is None and order.source in ("page", "browser")
        paid = order.is_sale and known.state in NOT_YET and not nobody and not weaker
        # A browser can tell of any number before the order is placed: what the shop sent takes its place.
        by_browser = "browser" in (known.source, known.named_by)
        better = order.source == "page" and by_browser and not nobody and not (others and weighed.doubt)
        named = visitor is not None and (known.visitor is None or order.source == "api" or better)
        decided = corrected = False
        if order.is_sale and (paid or better or (named and visitor != known.visitor)):
            if not named:
                weighed = _of_the_known(seen, known, weighed, visitor)
            decided = await self._decide_anew(seen, known, weighed, visitor if named else None, better)
        if decided and not named:
            corrected = order.source == "api"
        elif order.source == "api" and known.source != "api" and order.is_sale:
            corrected = await self._confirm(site, seen, known, visitor)
        same = (order.total, order.currency) == (known.total, known.currency)
        agrees = same and not others and order.is_sale == (known.state == "placed")
        if agrees or corrected or (decided and (same or not better)):
            event = "order_repeated" if same or not corrected else "order_corrected"
            self._events.emit(event, site=site.name, order=order.id, source=order.source, visitor=visitor)
            return decided and named
        why = _conflict(order, known, others)
        # A page is no word against what the server told, nor a browser against the shop.
        wrong = not same and not decided and _RANK[order.source] == _RANK[known.source]
        if wrong or (not order.is_sale and not weaker):
            await self._ledger.outbox.hold(known.row, Doubt("conflict", why))
        self._events.notice("order_conflict", site=site.name, key=order.id, order=order.id, why=why)
        return decided and named

    async def _decide_anew(
        self,
        seen: OrderSeen,
        known: Recorded,
        weighed: Weighed,
        visitor: str | None,
        better: bool,
    ) -> bool:
        """Decide on the order as it was seen now; `visitor` is whose it is, None for who it was before."""
        if visitor in (None, known.visitor) and weighed.credit.partner is None and known.partner is not None:
            weighed = _as_credited(seen, known, weighed)
        done = await self._ledger.orders.anew(
            known,
            seen,
            overrides=_RANK[seen.source] >= _RANK[known.source],
            visitor=visitor,
            channel=weighed.channel,
            conversation=weighed.conversation,
            credit=weighed.credit,
            reports=weighed.reports,
            doubt=weighed.doubt,
            now=self._clock.now(),
            refused_stands=better,
        )
        if done:
            self._due()
            self._notify_credit(known, weighed)
        return done

    async def _confirm(
        self, site: SiteRuntime, order: OrderSeen, known: Recorded, visitor: str | None
    ) -> bool:
        """The shop's server tells of an order: its amount counts, and what is held is due with it, unless
        only a browser says whose the order is. False if a partner was told another amount before."""
        same = (order.total, order.currency) == (known.total, known.currency)
        # Two that agree are not doubted because a third, the orders before, were smaller.
        doubt = None if same else await amounts_doubt(self._ledger.orders, site, order, {})
        confirmed = await self._ledger.outbox.confirm(
            known.row,
            self._clock.now(),
            by=SERVER,
            total=Decimal(order.total),
            currency=order.currency,
            doubt=doubt,
            unsure=NAMED_BY_BROWSER if visitor is None and known.named_by == "browser" else None,
        )
        for row in confirmed.changed:
            if row.state == "held":
                self._notify_held(known, Doubt(cast("Kind", row.hold), row.why or ""))
            else:
                notify_settled(self._events, row, SERVER)
        if confirmed.changed:
            self._due()
        return not confirmed.too_late

    def _notify_credit(self, recorded: Recorded, weighed: Weighed) -> None:
        """Tell who earns an order, and of a doubt that holds it."""
        earned = weighed.credit
        self._events.emit(
            "credit",
            site=recorded.site,
            order=recorded.order_id,
            partner=earned.partner,
            reason=earned.reason,
            visitor=recorded.visitor,
        )
        if weighed.doubt is not None:
            self._notify_held(recorded, weighed.doubt)

    def _notify_held(self, recorded: Recorded, doubt: Doubt) -> None:
        fields = {"order": recorded.order_id, "partner": recorded.partner, "why": doubt.text}
        if doubt.kind == "confirm":  # nothing is wrong yet
            self._events.emit("order_held", site=recorded.site, key=doubt.kind, **fields)
        else:
            self._events.notice("order_held", site=recorded.site, key=doubt.kind, **fields)


def notify_settled(events: Events, row: Postback, by: str) -> None:
    """Tell what became of a postback that was in doubt, and who decided."""
    _notify_postback(events, "postback_settled", row, by)


def notify_retried(events: Events, row: Postback, by: str) -> None:
    """Tell that a postback is sent once more, and who wants it."""
    _notify_postback(events, "postback_retried", row, by)


def _notify_postback(events: Events, event: str, row: Postback, by: str) -> None:
    events.emit(
        event,
        site=row.site,
        postback=row.id,
        order=row.report.order_id,
        state=row.state,
        amount=row.report.amount,
        currency=row.report.currency,
        agent=by,
    )


def _with_known(order: OrderSeen, known: Recorded) -> OrderSeen:
    """A sighting with what is known better from before: the amount that the server told, the moment at which
    the order was there already. What only a browser told is not known."""
    if known.source == "browser":
        return order
    if _RANK[order.source] < _RANK[known.source]:
        order = replace(order, total=known.total, currency=known.currency, figures=())
    return replace(
        order,
        placed_at=known.placed_at if order.placed_at is None else order.placed_at,
        spelling=order.spelling or known.spelling,
        coupon=order.coupon or known.coupon,
    )


def _of_the_known(seen: OrderSeen, known: Recorded, weighed: Weighed, visitor: str | None) -> Weighed:
    """A sighting that does not say whose the order is, or is not believed in that: whose it was at first."""
    if visitor is not None and visitor == known.visitor:
        return weighed
    doubt = weighed.doubt
    if visitor is not None:
        doubt = doubt or Doubt("conflict", "shown to another visitor than at first")
    elif known.named_by == "browser":
        doubt = NAMED_BY_BROWSER
    return replace(_as_credited(seen, known, weighed), doubt=doubt)


def _as_credited(order: OrderSeen, known: Recorded, weighed: Weighed) -> Weighed:
    """Who tells of it now knows nothing of the visitor: what was decided at first stands."""
    considered = tuple(Considered(**touch) for touch in known.considered)
    earned = Credit(known.partner, known.click, known.touched_at, known.reason, considered)
    channel = order.channel or cast("Channel", known.channel)
    reports = reports_of(order, channel, earned, known.placed_at)
    return replace(weighed, channel=channel, conversation=known.conversation, credit=earned, reports=reports)


def _conflict(order: OrderSeen, known: Recorded, others: bool) -> str:
    parts = []
    if (order.total, order.currency) != (known.total, known.currency):
        parts.append(
            f"{known.total} {known.currency} by the {known.source}, "
            f"then {order.total} {order.currency} by the {order.source}"
        )
    if order.state != known.state:
        parts.append(f"{known.state}, then {order.state}")
    if others:
        parts.append("shown to another visitor than at first")
    return "told of in two ways: " + "; ".join(parts)
