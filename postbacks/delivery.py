"""The worker that delivers what is due, beside the service that records it.

Nothing is sent twice: a row is on the disk as `sending` before its call's first byte leaves, and a call whose
outcome is unknown is sent again only where the destination drops repeats. Nothing is dropped: every row ends
as `delivered`, or as `dead` or `unknown` with its reason, for a person to see.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
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

CANDIDATES = 1000  # rows looked at in a round
POLL_SECONDS = 5.0  # how late a row of another process may be seen
CLAIM_SECONDS = CONNECT_SECONDS + 5
LEASE_MARGIN = 15.0  # seconds beyond the timeout of a call, for writing down its answer
GRACE_SECONDS = 10.0  # for answers to come in when the worker is stopped
LAST_SECONDS = 4.0  # after that, for writing down what is unknown, and for giving leases back
BEGIN_SECONDS = 5.0  # for a row to be marked as sending, when its call is cancelled meanwhile
FINISH_TRIES = (0.0, 1.0, 3.0)  # seconds before each try to write an answer down


class Outbox(Protocol):
    """What the worker asks of the ledger; `stores.ledger.outbox.Outbox` says what each does."""

    async def expire(self, now: float, repeats: Callable[[Postback], bool]) -> tuple[Postback, ...]:
        """Settle the rows whose call was cut off."""

    async def waiting(self, now: float, *, each: int, limit: int) -> tuple[Waiting, ...]:
        """What is due and held by nobody."""

    async def claim(self, ids: Sequence[str], now: float, until: float) -> tuple[Postback, ...]:
        """Lease rows."""

    async def begin(self, postback: Postback, until: float) -> Postback | None:
        """Mark a row as sending."""

    async def finish(self, postback: Postback, attempt: Attempt, state: State, next_at: float) -> bool:
        """Write an attempt down."""

    async def release(self, postback: Postback, until: float) -> None:
        """Give a row back of which nothing was sent."""

    async def next_due(self) -> float | None:
        """When there is something to do next."""


class Journal(Protocol):
    """Where events are told."""

    def emit(self, name: str, *, site: str, **fields: Any) -> None:
        """Tell that `name` happened."""

    def notice(self, name: str, *, site: str, key: str, **fields: Any) -> bool:
        """Tell of something that needs a person."""

    def took(self, what: Literal["postback"], site: str, outcome: str, seconds: float) -> None:
        """Note how long a call took, by what it came to."""


# What an attempt came to, by the state that it left behind.
_OUTCOMES: Mapping[State, Outcome] = MappingProxyType(
    {"due": "retry", "delivered": "delivered", "dead": "dead", "unknown": "unknown"}
)


class _LeaseLostError(Exception):
    """Another worker has taken the row over, so nothing may be sent."""


class _PartnerGoneError(Exception):
    """The settings know the partner no more."""


class _Flight:
    """A claimed postback on its way."""

    def __init__(self, postback: Postback, destination: str, until: float) -> None:
        self.postback = postback
        self.destination = destination
        self.until = until
        self.began: Postback | None = None
        self.progress = Progress()
        self.call: asyncio.Task[Result] | None = None
        self.ledger = 0.0  # seconds of the call that were the ledger's
        self.seconds: float | None = None  # that the destination took, once it has answered or failed to


class Worker:
    """Delivers postbacks while `run` runs.

    `lookup` gives a partner by site and id as the settings have it now, `networks` the catalogue by id,
    `now` gives unix seconds, `chance` a number from 0 to 1 that spreads retries.
    """

    def __init__(
        self,
        outbox: Outbox,
        lookup: Callable[[str, str], Partner | None],
        networks: Mapping[str, Network],
        delivery: Delivery,
        now: Callable[[], float],
        journal: Journal,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._outbox = outbox
        self._lookup = lookup
        self._networks = networks
        self._delivery = delivery
        self._now = now
        self._journal = journal
        self._chance = chance
        self._wake = asyncio.Event()
        self._flights: dict[asyncio.Task[None], _Flight] = {}
        self._pace = Pace()
        self._slow: frozenset[str] = frozenset()  # that were told of
        self._stopping = False

    def wake(self) -> None:
        """Say that there is something new in the outbox; call it in the worker's loop, after the commit."""
        self._wake.set()

    async def run(self) -> None:
        """Deliver until cancelled; then let answers come in for a while, and give back what was not sent."""
        self._stopping = False
        async with Client(float(self._delivery.timeout), TOTAL) as client:
            begun: asyncio.Task[float] | None = None
            try:
                while True:
                    self._wake.clear()
                    # Cancelled in the middle, nobody would know of the rows that it has claimed.
                    begun = asyncio.create_task(self._round(client), name="clew-delivery-round")
                    delay = await asyncio.shield(begun)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(delay):
                            await self._wake.wait()
            finally:
                await self._stop(begun)

    # -- what to deliver

    async def _round(self, client: Client) -> float:
        """Start what is due and has room; the seconds until there may be more to do, if nobody wakes us."""
        try:
            now = self._now()
            for row in await self._outbox.expire(now, self._repeats):
                self._tell(row, _OUTCOMES[row.state], row.last_answer or "")
            waiting = await self._outbox.waiting(now, each=CALLS_PER_DESTINATION, limit=CANDIDATES)
            chosen = self._with_room(waiting)
            if chosen:
                for postback in await self._outbox.claim(chosen, now, now + CLAIM_SECONDS):
                    self._start(client, postback)
            if len(chosen) < len(waiting):
                # A call that ends makes room, and wakes us; so does one that turns out to be slow.
                turns = self._pace.turns()
                return POLL_SECONDS if turns is None else min(POLL_SECONDS, max(0.0, turns))
            due = await self._outbox.next_due()
        except Exception as error:
            # The ledger is away or locked: what is due stays due.
            self._journal.emit("fault", site="", where="delivery", error=repr(error))
            return POLL_SECONDS
        return POLL_SECONDS if due is None else min(POLL_SECONDS, max(0.0, due - self._now()))

    def _with_room(self, waiting: Sequence[Waiting]) -> list[str]:
        room = self._pace.room()
        self._tell_slow(waiting)
        destinations = ((row.id, self._destination(row.site, row.partner)) for row in waiting)
        return [row for row, destination in destinations if room.take(destination)]

    def _tell_slow(self, waiting: Sequence[Waiting]) -> None:
        """Tell of a destination that has become slow while more waits for it."""
        slow = self._pace.slow()
        new = slow.keys() - self._slow
        self._slow = frozenset(slow)
        for row in waiting if new else ():
            if (destination := self._destination(row.site, row.partner)) in new:
                seconds = round(slow[destination], 1)
                self._journal.notice("partner_slow", site=row.site, key=row.partner, seconds=seconds)
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
            # It may come back, as a site does that is moved from one file to another.
            await self._finish(flight, "", Verdict("retry", str(error)))
            return
        except Exception as error:
            # A bug of ours: the same again at the next try, so a person has to see it.
            self._journal.emit("fault", site=postback.site, where="postback", error=repr(error))
            await self._finish(flight, "", Verdict("dead", f"the call could not be built: {error!r}"))
            return
        began = time.monotonic()
        try:
            result = await self._made(client, flight, call)
        except Exception as error:
            # The ledger failed, or a bug: nothing was sent unless the call had begun.
            self._journal.emit("fault", site=postback.site, where="delivery", error=repr(error))
            result = Unanswered(repr(error)) if flight.progress.sent else NotSent(repr(error))
        if result is not None:
            verdict = judge(call, result, self._now(), repeats=self._repeats(postback))
            flight.seconds = time.monotonic() - began - flight.ledger
            took = None if isinstance(result, NotSent) else flight.seconds
            await self._finish(flight, call.masked, verdict, call.hidden, took)

    def _rendered(self, postback: Postback) -> Call:
        partner = self._lookup(postback.site, postback.partner)
        if partner is None:
            raise _PartnerGoneError(
                f"site {postback.site} has no partner {postback.partner} in its settings any more"
            )
        return render(partner, postback.report, self._network(partner), self._now(), postback_id=postback.id)

    async def _made(self, client: Client, flight: _Flight, call: Call) -> Result | None:
        """The call's result; None if nothing was sent and the row is in other hands or given back."""

        async def before() -> None:
            waited = time.monotonic()
            begin = asyncio.create_task(self._outbox.begin(flight.postback, flight.until))
            try:
                flight.began = await asyncio.shield(begin)
            except asyncio.CancelledError:
                # The row may be marked all the same, and whoever gives it back has to come after that.
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
                return Unanswered("clew was stopped before the answer came")
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
        for wait in FINISH_TRIES:
            await asyncio.sleep(wait)
            try:
                await self._outbox.finish(flight.began or postback, attempt, state, next_at)
                break
            except Exception as error:
                self._journal.emit("fault", site=postback.site, where="delivery", error=repr(error))
        if took is not None:
            self._journal.took("postback", postback.site, outcome, took)
        self._tell(postback, outcome, answer, request=request, status=verdict.status, attempt=tried)

    # -- helpers

    def _network(self, partner: Partner) -> Network | None:
        return self._networks.get(partner.network) if partner.network is not None else None

    def _repeats(self, postback: Postback) -> bool:
        partner = self._lookup(postback.site, postback.partner)
        return partner is not None and repeats_are_safe(partner, self._network(partner))

    def _tell(self, postback: Postback, outcome: str, answer: str, **fields: Any) -> None:
        self._journal.emit(
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
        """Start nothing more, give back what was not sent, and wait for answers for as long as the grace."""
        self._stopping = True
        loop = asyncio.get_running_loop()
        until = loop.time() + GRACE_SECONDS
        for flight in self._flights.values():
            if flight.call is not None and not flight.progress.sent:
                flight.call.cancel()
        if begun is not None and not begun.done():
            # What it claims is given back by its flights, which start nothing now.
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
            # The ledger does not answer: their leases run out.
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
