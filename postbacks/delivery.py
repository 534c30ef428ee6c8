"""The worker that delivers due postbacks.

No postback is delivered twice: its row is stored as `sending` before the first byte of the call is sent, and
a call with an unknown outcome is repeated only if the destination ignores repeated calls. None is lost: every
row ends as `delivered`, or as `dead` or `unknown` with a reason for a person to see.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, Protocol

from ..referral.catalogue import Network
from ..settings.model import Delivery, Partner
from .call import Call, RenderError
from .client import CONNECT_SECONDS, Client, Progress
from .masking import hide
from .model import Attempt, Outcome, Postback, State, Waiting
from .pace import CALLS_PER_DESTINATION, TOTAL, Pace
from .render import render, repeats_are_safe
from .verdict import NotSent, Result, Unanswered, Verdict, judge, settle

CANDIDATES = 1000  # rows read in a round
POLL_SECONDS = 5.0  # maximum delay until a row of another process is seen
CLAIM_SECONDS = CONNECT_SECONDS + 5
LEASE_MARGIN = 15.0  # seconds beyond the timeout of a call, for storing its response
GRACE_SECONDS = 10.0  # for responses to arrive when the worker is stopped
LAST_SECONDS = 4.0  # after that, for storing unknown outcomes and releasing leases
BEGIN_SECONDS = 5.0  # for marking a row as sending, if its call is cancelled meanwhile
# Seconds before each attempt to store a response, or that nothing was sent: a failover takes about so long.
FINISH_TRIES = (0.0, 1.0, 3.0, 10.0, 20.0)


class Outbox(Protocol):
    """The part of the ledger that the worker uses; see `stores.ledger.outbox.Outbox`."""

    async def expire(self, now: float, repeats: Callable[[Postback], bool]) -> tuple[Postback, ...]:
        """Settle the rows whose call was interrupted."""

    async def waiting(self, now: float, *, each: int, limit: int) -> tuple[Waiting, ...]:
        """The rows that are due and not leased."""

    async def claim(self, ids: Sequence[str], now: float, until: float) -> tuple[Postback, ...]:
        """Lease rows."""

    async def begin(self, postback: Postback, until: float) -> Postback | None:
        """Mark a row as sending."""

    async def finish(self, postback: Postback, attempt: Attempt, state: State, next_at: float) -> bool:
        """Store an attempt."""

    async def release(self, postback: Postback, until: float) -> None:
        """Release a row of which nothing was sent."""

    async def next_due(self) -> float | None:
        """When the next row is due."""


class Events(Protocol):
    """Receives events."""

    def emit(self, name: str, *, site: str, **fields: Any) -> None:
        """Report that `name` happened."""

    def notice(self, name: str, *, site: str, key: str, **fields: Any) -> bool:
        """Report something that needs a person."""

    def took(self, what: Literal["postback"], site: str, outcome: str, seconds: float) -> None:
        """Record the duration of a call by its outcome."""


# The outcome of an attempt by the state after it.
_OUTCOMES: Mapping[State, Outcome] = MappingProxyType(
    {"due": "retry", "delivered": "delivered", "dead": "dead", "unknown": "unknown"}
)


class _LeaseLostError(Exception):
    """Another worker has the row now, so nothing may be sent."""


class _PartnerGoneError(Exception):
    """The partner is no longer in the settings."""


class _Flight:
    """A claimed postback in progress."""

    def __init__(self, postback: Postback, destination: str, until: float) -> None:
        self.postback = postback
        self.destination = destination
        self.until = until
        self.marking = False  # whether the row may be marked as sending
        self.began: Postback | None = None
        self.progress = Progress()
        self.call: asyncio.Task[Result] | None = None
        self.ledger = 0.0  # seconds of the call spent in the ledger
        self.seconds: float | None = None  # the destination's response time, once the call has ended


class Worker:
    """Delivers postbacks while `run` runs.

    `lookup` returns a partner of the current settings by site and id, `networks` is the catalogue by id,
    `now` returns unix seconds, and `chance` a number from 0 to 1 that spreads retries.
    """

    def __init__(
        self,
        outbox: Outbox,
        lookup: Callable[[str, str], Partner | None],
        networks: Mapping[str, Network],
        delivery: Delivery,
        now: Callable[[], float],
        events: Events,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._outbox = outbox
        self._lookup = lookup
        self._networks = networks
        self._delivery = delivery
        self._now = now
        self._events = events
        self._chance = chance
        self._wake = asyncio.Event()
        self._flights: dict[asyncio.Task[None], _Flight] = {}
        self._pace = Pace()
        self._slow: frozenset[str] = frozenset()  # destinations already reported
        self._stopping = False

    def wake(self) -> None:
        """Notify the worker of a new row in the outbox. Call it in the worker's loop, after the commit."""
        self._wake.set()

    async def run(self) -> None:
        """Deliver until cancelled; then wait for pending responses for a while, and release unsent rows."""
        self._stopping = False
        async with Client(float(self._delivery.timeout), TOTAL) as client:
            begun: asyncio.Task[float] | None = None
            try:
                while True:
                    self._wake.clear()
                    # Shielded: if it were cancelled, the rows that it has claimed would stay leased.
                    begun = asyncio.create_task(self._round(client), name="clew-delivery-round")
                    delay = await asyncio.shield(begun)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(delay):
                            await self._wake.wait()
            finally:
                await self._stop(begun)

    # -- selecting rows

    async def _round(self, client: Client) -> float:
        """Start due rows that have a slot. Returns the seconds until the next round, unless woken earlier."""
        try:
            now = self._now()
            for row in await self._outbox.expire(now, self._repeats):
                self._report(row, _OUTCOMES[row.state], row.last_answer or "")
            waiting = await self._outbox.waiting(now, each=CALLS_PER_DESTINATION, limit=CANDIDATES)
            chosen = self._with_room(waiting)
            if chosen:
                for postback in await self._outbox.claim(chosen, now, now + CLAIM_SECONDS):
                    self._start(client, postback)
            if len(chosen) < len(waiting):
                # A slot is freed when a call ends, which wakes this loop, or when one counts as slow.
                slow = self._pace.next_slow()
                return POLL_SECONDS if slow is None else min(POLL_SECONDS, max(0.0, slow))
            due = await self._outbox.next_due()
        except Exception as error:
            # The ledger is not available or locked: due rows stay due.
            self._events.emit("fault", site="", where="delivery", error=repr(error))
            return POLL_SECONDS
        return POLL_SECONDS if due is None else min(POLL_SECONDS, max(0.0, due - self._now()))

    def _with_room(self, waiting: Sequence[Waiting]) -> list[str]:
        room = self._pace.room()
        self._report_slow(waiting)
        destinations = ((row.id, self._destination(row.site, row.partner)) for row in waiting)
        return [row for row, destination in destinations if room.take(destination)]

    def _report_slow(self, waiting: Sequence[Waiting]) -> None:
        """Report a destination that has become slow while postbacks wait for it."""
        slow = self._pace.slow()
        new = slow.keys() - self._slow
        self._slow = frozenset(slow)
        for row in waiting if new else ():
            if (destination := self._destination(row.site, row.partner)) in new:
                seconds = round(slow[destination], 1)
                self._events.notice("partner_slow", site=row.site, key=row.partner, seconds=seconds)
                new.discard(destination)

    def _destination(self, site: str, partner_id: str) -> str:
        partner = self._lookup(site, partner_id)
        if partner is None:
            return f"{site}/{partner_id}"
        address = partner.endpoint or partner.postback
        return "/".join(address.split("/", 3)[:3]) if address else str(partner.network)

    def _start(self, client: Client, postback: Postback) -> None:
        until = self._now() + float(self._delivery.timeout) + LEASE_MARGIN
        flight = _Flight(postback, self._destination(postback.site, postback.partner), until)
        task = asyncio.create_task(self._deliver(client, flight), name=f"clew-postback-{postback.id}")
        self._flights[task] = flight
        self._pace.begin(flight, flight.destination)
        task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        flight = self._flights.pop(task)
        self._pace.end(flight, flight.seconds)
        self._wake.set()

    # -- one postback

    async def _deliver(self, client: Client, flight: _Flight) -> None:
        postback = flight.postback
        try:
            call = self._rendered(postback)
        except RenderError as error:
            await self._finish(flight, "", Verdict("dead", str(error)))
            return
        except _PartnerGoneError as error:
            # It may return, for example if its site is moved from one file to another.
            await self._finish(flight, "", Verdict("retry", str(error)))
            return
        except Exception as error:
            # A bug in clew: a retry would fail the same way, so a person has to see it.
            self._events.emit("fault", site=postback.site, where="postback", error=repr(error))
            await self._finish(flight, "", Verdict("dead", f"the call could not be built: {error!r}"))
            return
        began = time.monotonic()
        try:
            result = await self._made(client, flight, call)
        except Exception as error:
            # The ledger failed, or a bug. Nothing was sent unless the call had begun.
            self._events.emit("fault", site=postback.site, where="delivery", error=repr(error))
            result = Unanswered(repr(error)) if flight.progress.sent else NotSent(repr(error))
            if flight.marking and flight.began is None and not flight.progress.sent:
                # Whether the row is marked as sending is not known: the connection may have been lost between
                # COMMIT and its answer. If it stayed so, its outcome would count as unknown.
                await self._stored(postback, lambda: self._outbox.release(postback, flight.until))
                return
        if result is not None:
            verdict = judge(call, result, self._now(), repeats=self._repeats(postback))
            flight.seconds = time.monotonic() - began - flight.ledger
            took = None if isinstance(result, NotSent) else flight.seconds
            await self._finish(flight, call.masked, verdict, call.hidden, took)

    def _rendered(self, postback: Postback) -> Call:
        partner = self._lookup(postback.site, postback.partner)
        if partner is None:
            raise _PartnerGoneError(
                f"the settings of site {postback.site} no longer have a partner {postback.partner}"
            )
        return render(partner, postback.report, self._network(partner), self._now(), postback_id=postback.id)

    async def _made(self, client: Client, flight: _Flight, call: Call) -> Result | None:
        """The call's result; None if nothing was sent and the row is released or another worker's."""

        async def before() -> None:
            waited = time.monotonic()
            flight.marking = True
            begin = asyncio.create_task(self._outbox.begin(flight.postback, flight.until))
            try:
                flight.began = await asyncio.shield(begin)
            except asyncio.CancelledError:
                # The row may still be marked as sending, and it can be released only after that.
                await asyncio.wait({begin}, timeout=BEGIN_SECONDS)
                if begin.done() and not begin.cancelled() and begin.exception() is None:
                    flight.began = begin.result()
                else:
                    begin.cancel()
                raise
            if flight.began is None:
                raise _LeaseLostError
            flight.ledger += time.monotonic() - waited
            self._pace.sent(flight)

        if not self._stopping:
            flight.call = asyncio.create_task(client.make(call, before, flight.progress))
            try:
                return await flight.call
            except _LeaseLostError:
                return None
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
            if flight.progress.sent:
                return Unanswered("clew was stopped before the response arrived")
        await self._outbox.release(flight.postback, flight.until)
        return None

    async def _finish(
        self,
        flight: _Flight,
        request: str,
        verdict: Verdict,
        hidden: tuple[str, ...] = (),
        took: float | None = None,
    ) -> None:
        postback, now = flight.postback, self._now()
        tried = postback.attempts + 1
        state, next_at = settle(verdict, tried, now, self._delivery.schedule, self._chance())
        outcome = _OUTCOMES[state]
        answer = hide(verdict.answer, hidden)
        attempt = Attempt(now, request, verdict.status, answer, outcome)
        row = flight.began or postback
        await self._stored(postback, lambda: self._outbox.finish(row, attempt, state, next_at))
        if took is not None:
            self._events.took("postback", postback.site, outcome, took)
        self._report(postback, outcome, answer, request=request, status=verdict.status, attempt=tried)

    async def _stored(self, postback: Postback, write: Callable[[], Awaitable[object]]) -> None:
        """Write to the ledger, again if that fails."""
        for wait in FINISH_TRIES:
            await asyncio.sleep(wait)
            try:
                await write()
                return
            except Exception as error:
                self._events.emit("fault", site=postback.site, where="delivery", error=repr(error))

    # -- helpers

    def _network(self, partner: Partner) -> Network | None:
        return self._networks.get(partner.network) if partner.network is not None else None

    def _repeats(self, postback: Postback) -> bool:
        partner = self._lookup(postback.site, postback.partner)
        return partner is not None and repeats_are_safe(partner, self._network(partner), postback.event)

    def _report(self, postback: Postback, outcome: str, answer: str, **fields: Any) -> None:
        if outcome in ("dead", "unknown"):
            self._events.notice(
                "postback_failed",
                site=postback.site,
                key=f"{postback.partner} {outcome}",
                partner=postback.partner,
                order=postback.report.order_id,
                outcome=outcome,
                status=fields.get("status"),
                answer=answer,
            )
        self._events.emit(
            "postback",
            site=postback.site,
            partner=postback.partner,
            order=postback.report.order_id,
            channel=postback.report.channel,
            outcome=outcome,
            answer=answer,
            postback=postback.id,
            **fields,
        )

    async def _stop(self, begun: asyncio.Task[float] | None) -> None:
        """Start no more calls, release unsent rows, and wait for responses during the grace period."""
        self._stopping = True
        loop = asyncio.get_running_loop()
        until = loop.time() + GRACE_SECONDS
        for flight in self._flights.values():
            if flight.call is not None and not flight.progress.sent:
                flight.call.cancel()
        if begun is not None and not begun.done():
            # The rows that it claims are released by their flights, which send nothing now.
            await asyncio.wait({begun}, timeout=LAST_SECONDS)
        if self._flights:
            await asyncio.wait(list(self._flights), timeout=until - loop.time())
        for flight in self._flights.values():
            if flight.call is not None:
                flight.call.cancel()
        if self._flights:
            await asyncio.wait(list(self._flights), timeout=LAST_SECONDS)
        late = [*self._flights, *([begun] if begun is not None and not begun.done() else [])]
        for task in late:
            # The ledger does not respond: these leases will expire.
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
