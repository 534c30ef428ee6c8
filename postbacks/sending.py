"""Makes one call: builds it, marks its rows as sending before the first byte, and stores what the response
says of each of them."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from ..settings.model import Delivery
from .batches import Batches
from .building import Builder, PartnerGoneError, TooEarlyError, TooLateError
from .call import Call, RenderError
from .client import Client, Progress
from .lookups import LookUpError
from .masking import hide
from .model import Attempt, Postback
from .outcomes import OUTCOMES, report, stored
from .partners import Partners
from .protocols import Events, Ids, Outbox
from .results import FIRST_SECONDS
from .tokens import TokenError
from .verdict import (
    UNAUTHORIZED,
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

LEASE_MARGIN = 15.0  # seconds beyond the timeout of a call, for storing its response
BEGIN_SECONDS = 5.0  # for marking a row as sending, if its call is cancelled meanwhile


class LeaseLostError(Exception):
    """Another worker has the row now, so nothing may be sent."""


class Flight:
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


class Sender:
    """`sent` is called when a request leaves, `ended` when its slot is free again. `chance` returns a
    number from 0 to 1 that spreads retries. Once `stopping` is set no call begins."""

    def __init__(
        self,
        outbox: Outbox,
        partners: Partners,
        builder: Builder,
        batches: Batches,
        delivery: Delivery,
        now: Callable[[], float],
        events: Events,
        chance: Callable[[], float],
        ids: Ids | None,
        sent: Callable[[Flight], None],
        ended: Callable[[Client, Flight], None],
    ) -> None:
        self._outbox = outbox
        self._partners = partners
        self._builder = builder
        self._batches = batches
        self._delivery = delivery
        self._now = now
        self._events = events
        self._chance = chance
        self._ids = ids
        self._sent = sent
        self._ended = ended
        self.stopping = False

    def lease_end(self) -> float:
        """Until when the rows of a call that begins now are leased."""
        return self._now() + float(self._delivery.timeout) + LEASE_MARGIN

    async def deliver(self, client: Client, flight: Flight) -> None:
        """Make the call, and store its outcome."""
        if (call := await self._built(client, flight)) is None:
            return
        # What was asked before took its time.
        flight.until = self.lease_end()
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

    async def _built(self, client: Client, flight: Flight) -> Call | None:
        """The call; None if there is none, and what becomes of the rows is stored."""
        try:
            return await self._builder.build(client, flight.rows)
        except RenderError as error:
            await self._unbuilt(flight, Verdict("dead", str(error)))
        except TooLateError as late:
            await self._held(flight, str(late))
        except (PartnerGoneError, TokenError, LookUpError) as error:
            if isinstance(error, TokenError) and not error.pending:
                first = flight.postback
                self._events.notice("partner_token", site=first.site, key=first.partner, why=str(error))
            # It may return, for example if its site is moved from one file to another.
            await self._finish(flight, "", [Verdict("retry", str(error))] * len(flight.rows))
        except TooEarlyError as early:
            await self._release(flight, at=early.until)
        except Exception as error:
            # A bug in clew: a retry would fail the same way, so a person has to see it.
            self._events.emit("fault", site=flight.postback.site, where="postback", error=repr(error))
            await self._unbuilt(flight, Verdict("dead", f"the call could not be built: {error!r}"))
        return None

    async def _unbuilt(self, flight: Flight, verdict: Verdict) -> None:
        """No call could be built. Of several reports one may be at fault: each is tried alone."""
        if len(flight.rows) == 1:
            await self._finish(flight, "", [verdict])
            return
        self._batches.part(flight.rows)
        await self._release(flight)

    async def _held(self, flight: Flight, why: str) -> None:
        """What comes too late for a call waits for a person; what may have arrived before is dead. Of several
        reports each is looked at alone."""
        row = flight.postback
        if len(flight.rows) > 1 or row.attempts:
            await self._unbuilt(flight, Verdict("dead", why))
            return
        held = partial(self._outbox.hold, row, f"{why}: report it by hand", self._now())
        await stored(self._events, row, held)
        self._batches.settled(row)
        report(self._events, row, "held", why)

    async def _release(self, flight: Flight, at: float | None = None) -> None:
        """Give the rows back: nothing of them was sent, or all was refused."""
        later = {} if at is None else {"at": at}
        for row in flight.rows:
            released = partial(self._outbox.release, row, flight.until, **later)
            await stored(self._events, row, released)

    async def _made(self, client: Client, flight: Flight, call: Call) -> Result | None:
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
                raise LeaseLostError
            flight.ledger += time.monotonic() - waited
            self._sent(flight)

        if not self.stopping:
            flight.call = asyncio.create_task(client.make(call, before, flight.progress))
            try:
                return await flight.call
            except LeaseLostError:
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

    async def _begin(self, flight: Flight) -> None:
        """Mark the rows as sending, up to the first whose lease was lost."""
        for row in flight.rows:
            begun = await self._outbox.begin(row, flight.until)
            if begun is None:
                return
            flight.began[row.id] = begun

    async def _judged(self, flight: Flight, call: Call, result: Result) -> None:
        repeats = self._partners.repeats(flight.postback)
        verdicts = judge_each(call, result, self._now(), repeats=repeats)
        if isinstance(result, Answered):
            if result.status == UNAUTHORIZED and await self._builder.refused_token(flight.postback):
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
        job = self._job(flight, result)
        await self._finish(flight, call.masked, verdicts, call.hidden, took, job)

    async def _keep(self, flight: Flight, verdicts: Sequence[Verdict], result: Answered) -> None:
        """Keep what the network calls the order, if later calls need it."""
        found = self._partners.entry(flight.postback)
        if self._ids is None or found is None or verdicts[0].outcome != "delivered":
            return
        keep = found[1].keep
        if not keep or len(flight.rows) > 1:
            return
        value, row = kept_value(result.body, keep), flight.postback
        if value:
            await stored(self._events, row, partial(self._ids.keep, row.order, row.partner, value))
        else:
            error = f"the response has no {keep}"
            self._events.emit("fault", site=row.site, where="postback", error=error)

    def _job(self, flight: Flight, result: Result) -> tuple[str, float]:
        """What the network calls the call, if it says later what became of it, and the seconds until it is to
        be asked; else empty."""
        found = self._partners.entry(flight.postback)
        if found is None or found[1].result is None or not isinstance(result, Answered):
            return "", 0.0
        after = found[1].result.after
        return kept_value(result.body, found[1].job), FIRST_SECONDS if after is None else float(after)

    async def _finish(
        self,
        flight: Flight,
        request: str,
        verdicts: Sequence[Verdict],
        hidden: tuple[str, ...] = (),
        took: float | None = None,
        job: tuple[str, float] = ("", 0.0),
    ) -> None:
        now = self._now()
        for row, verdict in zip(flight.rows, verdicts, strict=True):
            tried = row.attempts + 1
            state, next_at = settle(verdict, tried, now, self._delivery.schedule, self._chance())
            if job[0] and state == "delivered":
                state, next_at = "accepted", now + job[1]
            outcome = OUTCOMES[state]
            answer = hide(verdict.answer, hidden)
            attempt = Attempt(now, request, verdict.status, answer, outcome)
            begun = flight.began.get(row.id, row)
            await stored(
                self._events,
                row,
                partial(self._outbox.finish, begun, attempt, state, next_at, job[0] or None),
            )
            if outcome != "retry":
                self._batches.settled(row)
            if took is not None:
                self._events.took("postback", row.site, outcome, took)
            report(self._events, row, outcome, answer, request=request, status=verdict.status, attempt=tried)
