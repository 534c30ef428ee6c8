"""The worker that delivers due postbacks.

No postback is delivered twice: its row is stored as `sending` before the first byte of the call is sent, and
a call with an unknown outcome is repeated only if the destination ignores repeated calls. None is lost: every
row ends as `delivered`, or as `dead` or `unknown` with a reason for a person to see.
"""

import asyncio
import contextlib
import math
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, Protocol

from ..referral.calls import CallEntry
from ..referral.catalogue import Network
from ..settings.model import Delivery, Partner
from .ahead import Ahead
from .batches import REPORTS, Batches, account_of
from .call import Call, RenderError
from .client import CONNECT_SECONDS, Client, Progress
from .lookups import LookUpError, look_up
from .masking import hide
from .model import Attempt, Outcome, Postback, State, Waiting
from .network_call import PURPOSE, chosen, network_call, usable, window_over
from .pace import AHEAD, CALLS_PER_DESTINATION, TOTAL, Pace, Room
from .render import render, repeats_are_safe
from .tokens import TokenError, Tokens
from .verdict import (
    Answered,
    NotSent,
    Result,
    Unanswered,
    Verdict,
    judge_each,
    kept_value,
    refused_together,
    settle,
)

CANDIDATES = 1000  # rows read in a round
READ = 64  # about so many if few would do
OPEN = 2 * TOTAL  # calls of which something is left to do: more begin only when outcomes are stored
UNAUTHORIZED = 401
POLL_SECONDS = 5.0  # maximum delay until a row of another process is seen
EXPIRE_SECONDS = 1.0  # between two looks for calls that were interrupted
CLAIM_SECONDS = CONNECT_SECONDS + 5
CLAIM_MARGIN = (
    2.0  # seconds of a claim that a token or an order's id may not use, for storing what comes of it
)
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

    async def hold(self, postback: Postback, why: str) -> None:
        """Hold a row of which nothing was sent: a person has to report it."""

    async def release(self, postback: Postback, until: float, *, at: float | None = None) -> None:
        """Release a row of which nothing was sent; it is due as before, or at another time."""

    async def next_due(self) -> float | None:
        """When the next row is due."""


class Ids(Protocol):
    """The part of the ledger with what networks call orders; see `stores.ledger.networks.Networks`."""

    async def keep(self, order: int, partner: str, value: str) -> None:
        """Keep what the network calls the order."""

    async def kept(self, order: int, partner: str) -> str:
        """What the network calls the order; empty if it is not known."""

    async def take(self, account: str, limit: int, now: float) -> float:
        """Count a call to an account. Returns 0, or the seconds until one is free if there is none."""


class Events(Protocol):
    """Receives events."""

    def emit(self, name: str, *, site: str, **fields: Any) -> None:
        """Report that `name` happened."""

    def notice(self, name: str, *, site: str, key: str, **fields: Any) -> bool:
        """Report something that needs a person."""

    def failed(self, error: BaseException, *, site: str, where: str) -> None:
        """Report that something of clew's own failed."""

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


class _TooEarlyError(Exception):
    """The network does not take the call yet."""

    def __init__(self, until: float) -> None:
        self.until = until
        super().__init__(f"not before {until}")


class _TooLateError(Exception):
    """The network does not take the call any more."""


# Why no call can be made, now or at all.
_UNSENT = (RenderError, LookUpError, TokenError, _TooEarlyError, _PartnerGoneError, _TooLateError)


class _Flight:
    """Claimed postbacks in one call."""

    def __init__(self, rows: Sequence[Postback], destination: str, until: float) -> None:
        self.rows = rows
        self.postback = rows[0]
        self.destination = destination
        self.until = until
        self.marking = False  # whether the row may be marked as sending
        self.began: dict[str, Postback] = {}  # by id
        self.progress = Progress()
        self.call: asyncio.Task[Result] | None = None
        self.ledger = 0.0  # seconds of the call spent in the ledger
        self.seconds: float | None = None  # the destination's response time, once the call has ended
        self.ended = False  # whether its slot is free again


class Worker:
    """Delivers postbacks while `run` runs.

    `lookup` returns a partner of the current settings by site and id, `networks` is the catalogue by id,
    `now` returns unix seconds, and `chance` a number from 0 to 1 that spreads retries. `tokens` and `ids` are
    for networks whose calls need an OAuth token, or the network's own id of an order.
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
        tokens: Tokens | None = None,
        ids: Ids | None = None,
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
        self._tokens = tokens
        self._ids = ids
        self._batches = Batches(self._with_network)
        self._slow: frozenset[str] = frozenset()  # destinations already reported
        self._stopping = False
        self._expired_at = -math.inf
        self._repeating: set[str] = set()
        self._ahead = Ahead()
        self._more = False  # whether the last round left rows to the next one
        self._choosing = False  # whether a round is in progress
        self._missed = False  # whether a call has landed since it began
        self._partners = 1  # that had rows waiting in the last round

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

    # -- on request

    def may_repeat(self, postback: Postback) -> bool:
        """Whether the receiver may get a call again that it may have had: its own partner asks for it, so a
        network alone can say no, where it would count the order twice."""
        found = self._with_network(postback.site, postback.partner)
        return found is not None and (found[1] is None or self._repeats(postback))

    @contextlib.contextmanager
    def alone(self, postback: str) -> Iterator[bool]:
        """Whether nobody else in this process is about to send this one again, until the block ends."""
        free = postback not in self._repeating
        self._repeating.add(postback)
        try:
            yield free
        finally:
            if free:
                self._repeating.discard(postback)

    async def repeat(self, postback: Postback) -> Attempt:
        """Make a call once more, now, whatever its state, and change nothing of that. It has the id, the
        sequence number and the values that it had. The attempt is `delivered`, `unknown` or `dead`, never to
        be tried again by itself."""
        flight = _Flight([postback], self._destination(postback.site, postback.partner), 0.0)
        request = ""
        hidden: tuple[str, ...] = ()

        async def before() -> None:
            return

        async with Client(float(self._delivery.timeout), 1) as client:
            try:
                call = await self._rendered(client, flight)
            except _UNSENT as error:
                verdict = Verdict("dead", str(error))
            else:
                request, hidden = call.masked, call.hidden
                result = await client.make(call, before, flight.progress)
                verdict = judge_each(call, result, self._now(), repeats=False)[0]
        outcome: Outcome = "dead" if verdict.outcome == "retry" else verdict.outcome
        answer = hide(verdict.answer, hidden)
        attempt = Attempt(self._now(), request, verdict.status, answer, outcome)
        self._events.emit(
            "postback",
            site=postback.site,
            partner=postback.partner,
            order=postback.report.order_id,
            channel=postback.report.channel,
            outcome=outcome,
            answer=answer,
            postback=postback.id,
            request=request,
            status=verdict.status,
            attempt=postback.attempts + 1,
        )
        return attempt

    # -- selecting rows

    async def _round(self, client: Client) -> float:
        """Start due rows that have a slot. Returns the seconds until the next round, unless woken earlier."""
        self._choosing, self._missed = True, False
        try:
            now = self._now()
            await self._expire(now)
            for late in self._ahead.over(now):
                self._batches.unused(late[0])
            waiting = await self._outbox.waiting(now, each=self._each(), limit=CANDIDATES)
            room = self._pace.room(self._ahead.counts())
            chosen = self._with_room(waiting, room)
            if chosen:
                claimed = await self._outbox.claim(chosen, now, now + CLAIM_SECONDS)
                for rows in self._batches.together(claimed):
                    self._ahead.add(self._destination(rows[0].site, rows[0].partner), rows)
            self._begin_calls(client, self._ahead.destinations())
            self._more = len(chosen) < len(waiting)
            if self._more:
                if any(self._ahead.count(place) <= most // 2 for place, most in room.filled.items()):
                    return 0.0
                # A slot is freed when a call ends, which wakes this loop, or when one counts as slow.
                until = [s for s in (self._pace.next_slow(), self._batches.wait) if s is not None]
                return min(POLL_SECONDS, max(0.0, min(until, default=POLL_SECONDS)))
            if self._missed:
                return 0.0
            due = await self._outbox.next_due()
        except Exception as error:
            # The ledger is not available or locked: due rows stay due.
            self._more = False
            self._events.failed(error, site="", where="delivery")
            return POLL_SECONDS
        finally:
            self._choosing = False
        if due is None:
            return POLL_SECONDS
        if (delay := due - self._now()) <= 0:
            self._expired_at = -math.inf  # it may be the end of a lease
        return min(POLL_SECONDS, max(0.0, delay))

    async def _expire(self, now: float) -> None:
        """Settle interrupted calls, at most once a second."""
        if 0 <= now - self._expired_at < EXPIRE_SECONDS:
            return
        self._expired_at = now
        for row in await self._outbox.expire(now, self._repeats):
            self._report(row, _OUTCOMES[row.state], row.last_answer or "")

    def _each(self) -> int:
        """How many rows of each partner are read: a few, but not few in all."""
        if self._batches.several:
            return REPORTS
        return min(AHEAD, max(CALLS_PER_DESTINATION, READ // self._partners))

    def _with_room(self, waiting: Sequence[Waiting], room: Room) -> list[str]:
        self._partners = max(1, len({(row.site, row.partner) for row in waiting}))
        self._report_slow(waiting)
        return self._batches.choose(waiting, room, self._destination)

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

    def _begin_calls(self, client: Client, destinations: Sequence[str]) -> None:
        """Begin the claimed calls to these destinations that have a slot."""
        if self._stopping:
            return
        room = self._pace.room()
        for destination in destinations:
            while self._ahead.count(destination) and len(self._flights) < OPEN and room.take(destination):
                self._start(client, destination, self._ahead.take(destination))

    def _start(self, client: Client, destination: str, rows: Sequence[Postback]) -> None:
        until = self._now() + float(self._delivery.timeout) + LEASE_MARGIN
        flight = _Flight(rows, destination, until)
        task = asyncio.create_task(self._deliver(client, flight), name=f"clew-postback-{rows[0].id}")
        self._flights[task] = flight
        self._pace.begin(flight, destination)
        task.add_done_callback(partial(self._landed, client))

    def _landed(self, client: Client, task: asyncio.Task[None]) -> None:
        """All is done. A later event of the same order may be sent now."""
        flight = self._flights.pop(task)
        self._ended(client, flight)
        self._missed = True
        if not self._more or not self._ahead.count(flight.destination) or len(self._flights) == OPEN - 1:
            self._wake.set()

    def _ended(self, client: Client, flight: _Flight) -> None:
        """A call has ended, and its slot is free, though its outcome may not be stored yet."""
        if flight.ended:
            return
        flight.ended = True
        self._pace.end(flight, flight.seconds)
        if not flight.progress.sent:
            self._batches.unused(flight.postback)
        if self._ahead.count(flight.destination):
            self._begin_calls(client, (flight.destination,))
        left = self._ahead.count(flight.destination)
        # A round in progress looks itself whether the calls ahead have become few.
        if self._more and (left == 0 or (left <= AHEAD // 2 and not self._choosing)):
            self._wake.set()

    # -- one call

    async def _deliver(self, client: Client, flight: _Flight) -> None:
        try:
            call = await self._rendered(client, flight)
        except RenderError as error:
            await self._unbuilt(flight, Verdict("dead", str(error)))
            return
        except _TooLateError as late:
            await self._held(flight, str(late))
            return
        except (_PartnerGoneError, TokenError, LookUpError) as error:
            if isinstance(error, TokenError) and not error.pending:
                first = flight.postback
                self._events.notice("partner_token", site=first.site, key=first.partner, why=str(error))
            # It may return, for example if its site is moved from one file to another.
            await self._finish(flight, "", [Verdict("retry", str(error))] * len(flight.rows))
            return
        except _TooEarlyError as early:
            await self._release(flight, at=early.until)
            return
        except Exception as error:
            # A bug in clew: a retry would fail the same way, so a person has to see it.
            self._events.emit("fault", site=flight.postback.site, where="postback", error=repr(error))
            await self._unbuilt(flight, Verdict("dead", f"the call could not be built: {error!r}"))
            return
        # What was asked before took its time.
        flight.until = self._now() + float(self._delivery.timeout) + LEASE_MARGIN
        began = time.monotonic()
        try:
            result = await self._made(client, flight, call)
        except Exception as error:
            # The ledger failed, or a bug. Nothing was sent unless the call had begun.
            self._events.failed(error, site=flight.postback.site, where="delivery")
            result = Unanswered(repr(error)) if flight.progress.sent else NotSent(repr(error))
            if flight.marking and not flight.progress.sent and len(flight.began) < len(flight.rows):
                # Whether the row is marked as sending is not known: the connection may have been lost between
                # COMMIT and its answer. If it stayed so, its outcome would count as unknown.
                await self._release(flight)
                return
        if result is not None:
            flight.seconds = time.monotonic() - began - flight.ledger
            self._ended(client, flight)
            await self._judged(flight, call, result)

    async def _judged(self, flight: _Flight, call: Call, result: Result) -> None:
        repeats = self._repeats(flight.postback)
        verdicts = judge_each(call, result, self._now(), repeats=repeats)
        if isinstance(result, Answered):
            if result.status == UNAUTHORIZED and await self._dropped_token(flight):
                verdicts = tuple(replace(verdict, outcome="retry") for verdict in verdicts)
            elif refused_together(call, verdicts, result):
                # One of them may be at fault for all.
                self._batches.part(flight.rows)
                await self._release(flight)
                return
            if alone := [row for row, v in zip(flight.rows, verdicts, strict=True) if v.alone]:
                self._batches.part(alone)
            await self._keep(flight, verdicts, result)
        took = None if isinstance(result, NotSent) else flight.seconds
        await self._finish(flight, call.masked, verdicts, call.hidden, took)

    async def _held(self, flight: _Flight, why: str) -> None:
        """What comes too late for a call waits for a person; what may have arrived before is dead. Of several
        reports each is looked at alone."""
        row = flight.postback
        if len(flight.rows) > 1 or row.attempts:
            await self._unbuilt(flight, Verdict("dead", why))
            return
        await self._stored(row, partial(self._outbox.hold, row, f"{why}: report it by hand"))
        self._batches.settled(row)
        self._report(row, "held", why)

    async def _unbuilt(self, flight: _Flight, verdict: Verdict) -> None:
        """No call could be built. Of several reports one may be at fault: each is tried alone."""
        if len(flight.rows) == 1:
            await self._finish(flight, "", [verdict])
            return
        self._batches.part(flight.rows)
        await self._release(flight)

    async def _release(self, flight: _Flight, at: float | None = None) -> None:
        """Give the rows back: nothing of them was sent, or all was refused."""
        later = {} if at is None else {"at": at}
        for row in flight.rows:
            await self._stored(row, partial(self._outbox.release, row, flight.until, **later))

    async def _rendered(self, client: Client, flight: _Flight) -> Call:
        first = flight.postback
        partner = self._lookup(first.site, first.partner)
        if partner is None:
            raise _PartnerGoneError(
                f"the settings of site {first.site} no longer have a partner {first.partner}"
            )
        network, now = self._network(partner), self._now()
        if network is None:
            return render(partner, first.report, network, now, postback_id=first.id, at=first.created_at)
        entry = usable(partner, network, PURPOSE[first.event])
        early = max(row.report.order_time + (entry.after or 0) for row in flight.rows)
        if early > now and entry.after is not None:
            raise _TooEarlyError(early)
        for row in flight.rows:
            if (over := window_over(network, entry, row.report, now)) is not None:
                raise _TooLateError(over)
        token = ""
        if self._tokens is not None and entry.oauth is not None:
            asked = self._tokens.get(client, partner, entry)
            token = await self._claimed(flight, f"{network.name} gave no token", asked)
        kept: list[str] = []
        if self._ids is not None and any(param.source == "kept" for param in entry.params):
            kept = [await self._ids.kept(row.order, row.partner) for row in flight.rows]
            if entry.lookup is not None and not kept[0]:
                await self._paced(partner, entry.lookup)
                asked = look_up(client, partner, network, entry.lookup, first.report, now, token)
                kept = [await self._claimed(flight, f"{network.name} did not say its id of the order", asked)]
                await self._ids.keep(first.order, first.partner, kept[0])
        await self._paced(partner, entry)
        reports = [row.report for row in flight.rows]
        call = network_call(partner, reports, network, now, token=token, kept=kept)
        return replace(call, allow_private=partner.allow_private)

    async def _claimed(self, flight: _Flight, failed: str, asked: Coroutine[None, None, str]) -> str:
        """The answer to what a network is asked before the call, while the rows are leased: after that,
        another worker may have them. Raises LookUpError, beginning with `failed`, if none comes in time."""
        leased = flight.postback.lease_until
        left = (CLAIM_SECONDS if leased is None else leased - self._now()) - CLAIM_MARGIN
        if left < CLAIM_MARGIN:
            # It waited for its slot: claimed anew, it has more time.
            asked.close()
            raise _TooEarlyError(flight.postback.next_at)
        try:
            async with asyncio.timeout(left):
                return await asked
        except TimeoutError:
            raise LookUpError(f"{failed} within {left:.3g} seconds") from None

    async def _paced(self, partner: Partner, entry: CallEntry) -> None:
        """Count a call to an account, with those of all workers. Raises _TooEarlyError."""
        if self._ids is None or entry.per_minute is None:
            return
        now = self._now()
        if wait := await self._ids.take(account_of(partner, entry), entry.per_minute, now):
            raise _TooEarlyError(now + wait)

    async def _made(self, client: Client, flight: _Flight, call: Call) -> Result | None:
        """The call's result; None if nothing was sent and the rows are released or another worker's."""

        async def before() -> None:
            waited = time.monotonic()
            flight.marking = True
            begin = asyncio.create_task(self._begin(flight))
            try:
                await asyncio.shield(begin)
            except asyncio.CancelledError:
                # The rows may still be marked as sending, and they can be released only after that.
                await asyncio.wait({begin}, timeout=BEGIN_SECONDS)
                begin.cancel()
                raise
            if len(flight.began) < len(flight.rows):
                raise _LeaseLostError
            flight.ledger += time.monotonic() - waited
            self._pace.sent(flight)

        if not self._stopping:
            flight.call = asyncio.create_task(client.make(call, before, flight.progress))
            try:
                return await flight.call
            except _LeaseLostError:
                if len(flight.rows) > 1:
                    await self._release(flight)
                return None
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
            if flight.progress.sent:
                return Unanswered("clew was stopped before the response arrived")
        for row in flight.rows:
            await self._outbox.release(row, flight.until)
        return None

    async def _begin(self, flight: _Flight) -> None:
        """Mark the rows as sending, up to the first whose lease was lost."""
        for row in flight.rows:
            begun = await self._outbox.begin(row, flight.until)
            if begun is None:
                return
            flight.began[row.id] = begun

    async def _keep(self, flight: _Flight, verdicts: Sequence[Verdict], result: Answered) -> None:
        """Keep what the network calls the order, if later calls need it."""
        found = self._with_network(flight.postback.site, flight.postback.partner)
        if self._ids is None or found is None or found[1] is None or verdicts[0].outcome != "delivered":
            return
        entry = chosen(found[0], found[1], PURPOSE[flight.postback.event])
        if entry is None or not entry.keep or len(flight.rows) > 1:
            return
        value, row = kept_value(result.body, entry.keep), flight.postback
        if value:
            await self._stored(row, partial(self._ids.keep, row.order, row.partner, value))
        else:
            error = f"the response has no {entry.keep}"
            self._events.emit("fault", site=row.site, where="postback", error=error)

    async def _dropped_token(self, flight: _Flight) -> bool:
        """Whether the call had a token, which is forgotten now: it may have been revoked."""
        found = self._with_network(flight.postback.site, flight.postback.partner)
        if self._tokens is None or found is None or found[1] is None:
            return False
        entry = chosen(found[0], found[1], PURPOSE[flight.postback.event])
        if entry is None or entry.oauth is None:
            return False
        await self._tokens.drop(found[0], entry)
        return True

    async def _finish(
        self,
        flight: _Flight,
        request: str,
        verdicts: Sequence[Verdict],
        hidden: tuple[str, ...] = (),
        took: float | None = None,
    ) -> None:
        now = self._now()
        for row, verdict in zip(flight.rows, verdicts, strict=True):
            tried = row.attempts + 1
            state, next_at = settle(verdict, tried, now, self._delivery.schedule, self._chance())
            outcome = _OUTCOMES[state]
            answer = hide(verdict.answer, hidden)
            attempt = Attempt(now, request, verdict.status, answer, outcome)
            begun = flight.began.get(row.id, row)
            await self._stored(row, partial(self._outbox.finish, begun, attempt, state, next_at))
            if outcome != "retry":
                self._batches.settled(row)
            if took is not None:
                self._events.took("postback", row.site, outcome, took)
            self._report(row, outcome, answer, request=request, status=verdict.status, attempt=tried)

    async def _stored(self, postback: Postback, write: Callable[[], Awaitable[object]]) -> None:
        """Write to the ledger, again if that fails."""
        for wait in FINISH_TRIES:
            if wait:
                await asyncio.sleep(wait)
            try:
                await write()
                return
            except Exception as error:
                self._events.failed(error, site=postback.site, where="delivery")

    # -- helpers

    def _with_network(self, site: str, partner_id: str) -> tuple[Partner, Network | None] | None:
        partner = self._lookup(site, partner_id)
        return None if partner is None else (partner, self._network(partner))

    def _network(self, partner: Partner) -> Network | None:
        return self._networks.get(partner.network) if partner.network is not None else None

    def _repeats(self, postback: Postback) -> bool:
        partner = self._lookup(postback.site, postback.partner)
        return partner is not None and repeats_are_safe(partner, self._network(partner), postback.event)

    def _report(self, postback: Postback, outcome: str, answer: str, **fields: Any) -> None:
        if outcome in ("dead", "unknown", "held"):
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
            # It begins no call now; the rows that it claims are released below.
            await asyncio.wait({begun}, timeout=LAST_SECONDS)
        given_back = asyncio.create_task(self._give_back())
        if self._flights:
            await asyncio.wait(list(self._flights), timeout=until - loop.time())
        for flight in self._flights.values():
            if flight.call is not None:
                flight.call.cancel()
        await asyncio.wait([*self._flights, given_back], timeout=LAST_SECONDS)
        late = [
            *self._flights,
            *(task for task in (begun, given_back) if task is not None and not task.done()),
        ]
        for task in late:
            # The ledger does not respond: these leases will expire.
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _give_back(self) -> None:
        """Release what is claimed and has not begun."""
        rows = [row for call in self._ahead.all() for row in call]
        released = [self._outbox.release(row, row.lease_until or 0.0) for row in rows]
        for result in await asyncio.gather(*released, return_exceptions=True):
            if isinstance(result, Exception):
                self._events.failed(result, site="", where="delivery")
