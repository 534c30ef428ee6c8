"""Records reported orders: each report is a sighting, which is credited, stored, and reported to partners."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, TypeVar

from msgspec import structs

from ...events.events import Events
from ...orders.model import SALES, OrderSeen
from ...orders.sighting import UNKNOWN, Consented, Sighting
from ...referral.consent.decision import ASSUMED, ConsentState
from ...referral.touches import Touch, merge
from ...referral.visitor import VISIT_GAP, Ordered, Visitor
from ...stores.errors import may_pass
from ...stores.journal import Journal, JournalError
from ...stores.ledger.books import Ledger
from ...stores.ledger.known import Stored
from ...stores.ledger.orders import StoredOrder
from ...stores.visits import Visits
from ..clock import Clock
from ..site import SiteRuntime
from .book import Entry, OrderBook, held
from .crediting import SiteCrediting
from .doubts import Shown, doubts_of
from .notify import notify
from .placing import ANY, WAITING_SECONDS, Placed, Placing

# Seconds that the shop's server waits for the ledger before its report goes to the journal.
ANSWER_SECONDS = 2.0
# Pauses between the attempts to write an order that will not be reported again.
PAUSES = (0.2, 1.0, 5.0, 20.0)
# Seconds after which an order that the ledger has not accepted is written to the journal.
JOURNAL_AFTER = 0.15
# Seconds for which orders are written to the journal at once after the ledger has not accepted one.
BREAKER = 5.0

# Most waiting reports that are looked at again in one go.
LOOKED_AT = 50


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Recorded:
    """The result of a report. `created` is whether the order is new. `held` says why its partner is not
    notified yet, or None. `counts` is whether the report is new and the order's amount is the one in it."""

    order: StoredOrder
    created: bool
    held: str | None
    counts: bool = False


class Ordering:
    """Records orders, credits them, and makes postbacks due. `due` is called when a postback is due, `later`
    runs what goes on in the background."""

    def __init__(
        self,
        ledger: Ledger,
        visits: Visits,
        journal: Journal,
        events: Events,
        clock: Clock,
        due: Callable[[], None],
        later: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._ledger = ledger
        self._journal = journal
        self._visits = visits
        self._events = events
        self._clock = clock
        self._due = due
        self._later = later
        self._book = OrderBook(ledger)
        self._placing = Placing(ledger)
        self._broken_until = 0.0  # on the monotonic clock
        self._looked_at = 0  # the ledger's number of a report

    async def record(
        self,
        site: SiteRuntime,
        seen: OrderSeen,
        *,
        visitor: str | None,
        touches: tuple[Touch, ...] = (),
        conversation: str | None = None,
        agent: str | None = None,
        shown: Shown | None = None,
        raw: str | None = None,
        at: float | None = None,
        consent: Consented | None = None,
        undo: float = 0.0,
    ) -> Recorded:
        """Write a sighting, and the resulting order: its amounts and state, who earns it, and the postbacks
        due or held.

        `touches` are those of the visitor's cookie. `shown` is given for an order that a page showed; `at` is
        the time if it is in the past. `consent` is the visitor's consent in the page's request; without it,
        that in its record. For `undo` seconds it can be undone, and no partner is told of it. Raises the
        ledger's errors.
        """
        now = self._clock.now()
        known = await self._visitor(site, visitor, touches)
        sighting = Sighting.of(
            seen,
            site=site.name,
            at=now if at is None else at,
            visitor=visitor,
            conversation=conversation,
            agent=agent,
            touches=tuple(touch.to_json() for touch in _arrivals(site, known)),
            consent=consent or _kept_consent(site, known),
            doubts=await doubts_of(self._ledger.orders, site, seen, known, shown, now, agent),
            undo_until=now + undo if undo else None,
        )
        terms = SiteCrediting(site, self._ledger, self._visits)
        entry = await self._book.add(sighting, terms, now, raw=raw)
        if entry.postbacks:
            self._due()
        notify(self._events, entry)
        if sighting.further and not entry.sighting.further:
            numbers = ", ".join(sighting.further)
            why = f"the further number {numbers} was also reported with another order, and is ignored"
            fields = {"order": entry.after.order_id, "why": why}
            self._events.notice("order_conflict", site=site.name, key=entry.after.order_id, **fields)
        joined = False
        # Also for a repeat, since the reporter retries if this failed.
        if await self._ledger.loose.any(site.name):
            placed = await self._placing.join_near(entry.after.row, terms, now)
            self._notify_placed(placed)
            joined = any(one.changed for one in placed)
        if visitor is not None and entry.after.visitor == visitor and _ends_shopping(entry, shown):
            await self._note_ordered(site, visitor, entry.after.placed_at, shown)
        if entry.before is None and not joined:
            doubt = held(entry.postbacks)
            return Recorded(entry.after, True, None if doubt is None else doubt.text, True)
        after = await self._ledger.orders.at(entry.after.row) if joined else None
        held_for = await self._ledger.outbox.held(entry.after.row)
        counts = entry.added and entry.after.sources.get("total") == entry.sighting.key
        return Recorded(after or entry.after, entry.before is None, held_for, counts)

    async def record_unnumbered(
        self,
        site: SiteRuntime,
        seen: OrderSeen,
        *,
        visitor: str | None,
        touches: tuple[Touch, ...] = (),
        at: float | None = None,
    ) -> Placed:
        """Keep a report without an order number, and join it to its order if the match is certain; else a
        person assigns it. `at` is the time if it is in the past. Raises the ledger's errors."""
        now = self._clock.now()
        known = await self._visitor(site, visitor, touches)
        sighting = Sighting.of(
            seen,
            site=site.name,
            at=now if at is None else at,
            visitor=visitor,
            touches=tuple(touch.to_json() for touch in _arrivals(site, known)),
            consent=_kept_consent(site, known),
            doubts=await doubts_of(self._ledger.orders, site, seen, known, None, now),
        )
        placed = await self._placing.add(sighting, SiteCrediting(site, self._ledger, self._visits), now)
        self._notify_placed([placed])
        if placed.order is None:
            self._events.emit("report_waiting", site=site.name, report=placed.stored.row)
        if placed.given_up:
            self._events.notice("report_given_up", site=site.name, key="reports", reports=placed.given_up)
        return placed

    async def move(
        self, site: SiteRuntime, report: int, number: str, *, by: str, why: str, seen: int | None = ANY
    ) -> Placed:
        """Move a report to the order with this number; see `Placing.move`."""
        terms, now = SiteCrediting(site, self._ledger, self._visits), self._clock.now()
        placed = await self._placing.move(site.name, report, number, terms, now, by=by, why=why, seen=seen)
        self._notify_placed([placed], agent=by)
        return placed

    async def waiting(self, site: str, limit: int) -> tuple[tuple[Stored, Sequence[str]], ...]:
        """The reports without an order, newest first, each with the numbers of the orders to which it may
        belong."""
        since = self._clock.now() - WAITING_SECONDS
        waiting = await self._ledger.loose.waiting(site, since, limit)
        return tuple([(stored, await self._placing.candidates(stored)) for stored in waiting])

    async def waiting_count(self, site: str) -> int:
        """The number of reports without an order."""
        return await self._ledger.loose.count(site, self._clock.now() - WAITING_SECONDS)

    async def join_waiting(self, sites: Callable[[str], SiteRuntime | None]) -> None:
        """Look again at the next reports that wait for an order. A process that ends between an order and the
        look at the reports that belong to it leaves them behind. Raises what the ledger raises."""
        now = self._clock.now()
        found = await self._ledger.loose.next_waiting(self._looked_at, now - WAITING_SECONDS, LOOKED_AT)
        for stored in found:
            self._looked_at = stored.row
            if (site := sites(stored.sighting.site)) is not None:
                terms = SiteCrediting(site, self._ledger, self._visits)
                self._notify_placed([await self._placing.join(stored, terms, now)])
        if len(found) < LOOKED_AT:
            self._looked_at = 0

    def _notify_placed(self, placed: Iterable[Placed], agent: str | None = None) -> None:
        for one in placed:
            if one.postbacks:
                self._due()
            if one.changed:
                self._events.emit(
                    "report_placed",
                    site=one.stored.sighting.site,
                    report=one.stored.row,
                    order=one.order,
                    agent=agent,
                )

    async def record_seen(
        self,
        site: SiteRuntime,
        order: OrderSeen,
        visitor: str | None,
        touches: tuple[Touch, ...],
        shown: Shown | None = None,
        safe: Callable[[], None] = lambda: None,
        consent: Consented | None = None,
    ) -> None:
        """Record an order that a page showed. It will not be reported again, so `safe` is called once it is
        on disk: in the ledger, or, if that does not accept it at once, in this machine's journal. From there
        it is retried until the ledger accepts it, also after a restart. If both fail, the whole order is
        logged.
        """
        at = self._clock.now()

        def record() -> Coroutine[Any, Any, Recorded]:
            return self.record(
                site, order, visitor=visitor, touches=touches, shown=shown, at=at, consent=consent
            )

        first, number = asyncio.ensure_future(record()), None
        try:
            patience = 0 if self._clock.monotonic() < self._broken_until else JOURNAL_AFTER
            await asyncio.wait({first}, timeout=patience)
            if first.done() and first.exception() is None:
                safe()
                return
            self._broken_until = self._clock.monotonic() + BREAKER
            number = await self._journalled(site, order, visitor, touches, shown, at, consent)
            if number is not None:
                safe()
            told = self._telling(site, order) if number is not None else None
            failure = await self._retried(first, record, for_ever=number is not None, told=told)
        except asyncio.CancelledError:
            first.cancel()
            if number is None:
                self._notify_unrecorded(site, order, visitor, touches, None)
            raise
        if failure is not None:
            self._notify_unrecorded(site, order, visitor, touches, failure)
        elif number is not None:
            await self._journal.done(number)

    async def record_reported(
        self, site: SiteRuntime, order: OrderSeen, visitor: str | None, touches: tuple[Touch, ...]
    ) -> Recorded | Placed | None:
        """Record what the shop's server reported. None if the ledger does not take it now: then it is on the
        disk, in this machine's journal, and retried from there until the ledger accepts it, also after a
        restart. Raises the ledger's errors if it is in neither."""
        at = self._clock.now()

        def record() -> Coroutine[Any, Any, Recorded | Placed]:
            if not order.numbers:
                return self.record_unnumbered(site, order, visitor=visitor, touches=touches, at=at)
            return self.record(site, order, visitor=visitor, touches=touches, at=at)

        first = asyncio.ensure_future(record())
        broken = self._clock.monotonic() < self._broken_until
        try:
            await asyncio.wait({first}, timeout=JOURNAL_AFTER if broken else ANSWER_SECONDS)
            if first.done() and (first.exception() is None or not may_pass(first.exception())):
                return first.result()
            self._broken_until = self._clock.monotonic() + BREAKER
            number = await self._journalled(site, order, visitor, touches, None, at, None)
        except asyncio.CancelledError:
            first.cancel()
            raise
        if number is None:
            return await first
        self._later(self._record_journalled(first, record, number, self._telling(site, order)))
        return None

    async def _record_journalled(
        self,
        first: asyncio.Future[Recorded | Placed],
        record: Callable[[], Coroutine[Any, Any, Recorded | Placed]],
        number: int,
        told: Callable[[], None],
    ) -> None:
        await self._retried(first, record, for_ever=True, told=told)
        await self._journal.done(number)

    def _telling(self, site: SiteRuntime, order: OrderSeen) -> Callable[[], None]:
        """Tells that the order waits in the journal."""

        def tell() -> None:
            waiting = self._journal.waiting
            self._events.notice(
                "order_journalled", site=site.name, key="ledger", order=order.id, waiting=waiting
            )

        return tell

    async def _retried(
        self,
        first: asyncio.Future[T],
        record: Callable[[], Coroutine[Any, Any, T]],
        *,
        for_ever: bool,
        told: Callable[[], None] | None = None,
    ) -> Exception | None:
        """Retry until the order is recorded. Returns the last error if it gives up. `told` is called when
        an attempt fails: one that is only slow needs nobody."""
        failure: Exception | None = None
        pauses = chain(PAUSES, repeat(PAUSES[-1]) if for_ever else ())
        for pause in pauses:
            try:
                await first
            except Exception as error:
                failure = error
            else:
                return None
            if told is not None:
                told()
            await asyncio.sleep(pause)
            first = asyncio.ensure_future(record())
        try:
            await first
        except Exception as error:
            failure = error
        else:
            failure = None
        return failure

    async def _journalled(
        self,
        site: SiteRuntime,
        order: OrderSeen,
        visitor: str | None,
        touches: tuple[Touch, ...],
        shown: Shown | None,
        at: float,
        consent: Consented | None,
    ) -> int | None:
        """Write an order to the journal. Returns its number there, or None if that fails."""
        plain = tuple(touch.to_json() for touch in touches)
        sighting = Sighting.of(order, site=site.name, at=at, visitor=visitor, touches=plain, consent=consent)
        how = None if shown is None else [shown.page, shown.came, shown.by_browser]
        try:
            number = await self._journal.add({"sighting": sighting.to_json(), "shown": how})
        except JournalError as error:
            self._events.failed(error, site=site.name, where="journal")
            return None
        return number

    async def replay(self, site: SiteRuntime, number: int, entry: Mapping[str, Any]) -> None:
        """Record an order that an earlier process left in the journal."""
        seen = Sighting.from_json(entry["sighting"])
        shown = None if entry["shown"] is None else Shown(*entry["shown"])
        touches = tuple(Touch.from_json(touch) for touch in seen.touches)

        def record() -> Coroutine[Any, Any, Recorded | Placed]:
            if not seen.numbers:
                return self.record_unnumbered(site, seen, visitor=seen.visitor, touches=touches, at=seen.at)
            return self.record(
                site,
                seen,
                visitor=seen.visitor,
                touches=touches,
                shown=shown,
                at=seen.at,
                consent=seen.consent,
            )

        await self._retried(asyncio.ensure_future(record()), record, for_ever=True)
        await self._journal.done(number)

    def _notify_unrecorded(
        self,
        site: SiteRuntime,
        order: OrderSeen,
        visitor: str | None,
        touches: tuple[Touch, ...],
        failure: BaseException | None,
    ) -> None:
        self._events.emit(
            "order_unrecorded",
            site=site.name,
            order=order.id,
            total=str(order.total),
            currency=order.currency,
            coupon=order.coupon,
            visitor=visitor,
            touches=[touch.to_json() for touch in touches],
            error=repr(failure),
        )

    async def _visitor(
        self, site: SiteRuntime, visitor: str | None, touches: tuple[Touch, ...]
    ) -> Visitor | None:
        """The stored visitor, with the touches of its cookie."""
        if visitor is None:
            return Visitor("", touches=touches) if touches else None
        try:
            known = await self._visits.get(site.name, visitor)
        except Exception as error:
            # Only the cookie's touches are used then.
            self._events.failed(error, site=site.name, where="order")
            known = None
        if known is None:
            return Visitor(visitor, touches=touches)
        if known.forgotten:
            # Nor does its cookie count any more.
            return None
        return structs.replace(known, touches=merge(known.touches, touches))

    async def _note_ordered(
        self, site: SiteRuntime, visitor: str, placed: float, shown: Shown | None
    ) -> None:
        page = shown.page if shown is not None else ""
        try:
            await self._visits.change(site.name, visitor, [Ordered(placed, page)], self._clock.now())
        except Exception as error:
            self._events.failed(error, site=site.name, where="order")


def _ends_shopping(entry: Entry, shown: Shown | None) -> bool:
    """Whether a report tells that the visitor has bought what was in its cart. A later one, such as that the
    order was shipped or cancelled, says nothing of the cart that the visitor has then."""
    before, after = entry.before, entry.after
    if not entry.added or after.state == "cancelled":
        return False
    new = before is None or before.visitor != after.visitor
    return (
        new
        or shown is not None
        or (before is not None and before.state not in SALES and after.state in SALES)
    )


def seen_consent(state: ConsentState) -> Consented:
    """The visitor's consent in a request, for a sighting."""
    if state is ASSUMED:
        return Consented("assumed")
    return Consented(state.consent.value, state.basis, state.tcf)


def _arrivals(site: SiteRuntime, known: Visitor | None) -> tuple[Touch, ...]:
    """The visitor's arrivals. One whose visit began without any came directly; where the terms ask about
    that, it is an arrival too."""
    if known is None:
        return ()
    began = int(known.visit_at)
    if not site.asked.direct or not began or any(t.at >= began - VISIT_GAP for t in known.touches):
        return known.touches
    return (*known.touches, Touch(began))


def _kept_consent(site: SiteRuntime, known: Visitor | None) -> Consented:
    """The consent of a visitor by its record."""
    if not site.consent.asks:
        return Consented("assumed")
    return Consented("granted", known.consent) if known is not None and known.consent else UNKNOWN
