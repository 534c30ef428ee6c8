"""The worker that delivers due postbacks: it chooses and leases them, and begins their calls (`sending.py`).

No postback is delivered twice: its row is stored as `sending` before the first byte of the call is sent, and
a call with an unknown outcome is repeated only if the destination ignores repeated calls. None is lost: every
row ends as `delivered`, or as `dead` or `unknown` with a reason for a person to see.
"""

import asyncio
import contextlib
import math
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from ..referral.catalogue import Network
from ..settings.model import Delivery, Partner
from .ahead import Ahead
from .batches import REPORTS, Batches
from .building import CLAIM_SECONDS, Builder
from .client import Client
from .model import Postback, Waiting
from .outcomes import OUTCOMES, report
from .pace import AHEAD, CALLS_PER_DESTINATION, TOTAL, Pace, Room
from .partners import Partners
from .protocols import Events, Ids, Outbox
from .repeating import Repeats
from .results import Results
from .sending import Flight, Sender
from .tokens import Tokens

CANDIDATES = 1000  # rows read in a round
READ = 64  # about so many if few would do
OPEN = 2 * TOTAL  # calls of which something is left to do: more begin only when outcomes are stored
POLL_SECONDS = 5.0  # maximum delay until a row of another process is seen
EXPIRE_SECONDS = 1.0  # between two looks for calls that were interrupted
GRACE_SECONDS = 10.0  # for responses to arrive when the worker is stopped
LAST_SECONDS = 4.0  # after that, for storing unknown outcomes and releasing leases


class Worker:
    """Delivers postbacks while `run` runs.

    `lookup` returns a partner of the current settings by site and id, `networks` is the catalogue by id,
    `now` returns unix seconds, and `chance` a number from 0 to 1 that spreads retries. `tokens` and `ids` are
    for networks whose calls need an OAuth token, or the network's own id of an order. `repeats` sends a call
    again at a partner's wish.
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
        self._delivery = delivery
        self._now = now
        self._events = events
        self._wake = asyncio.Event()
        self._flights: dict[asyncio.Task[None], Flight] = {}
        self._pace = Pace()
        self._ahead = Ahead()
        self.partners = Partners(lookup, networks)
        self._batches = Batches(self.partners.with_network)
        builder = Builder(self.partners, now, tokens, ids)
        self.repeats = Repeats(builder, delivery, now, events)
        self._results = Results(outbox, builder, now, events, settled=self._wake.set)
        self._sender = Sender(
            outbox,
            self.partners,
            builder,
            self._batches,
            delivery,
            now,
            events,
            chance,
            ids,
            sent=self._pace.sent,
            ended=self._ended,
        )
        self._slow: frozenset[str] = frozenset()  # destinations already reported
        self._expired_at = -math.inf
        self._more = False  # whether the last round left rows to the next one
        self._choosing = False  # whether a round is in progress
        self._missed = False  # whether a call has landed since it began
        self._waiting_partners = 1  # that had rows in the last round

    def wake(self) -> None:
        """Notify the worker of a new row in the outbox. Call it in the worker's loop, after the commit."""
        self._wake.set()
        self._results.wake()

    async def run(self) -> None:
        """Deliver until cancelled; then wait for pending responses for a while, and release unsent rows."""
        self._sender.stopping = False
        async with Client(float(self._delivery.timeout), TOTAL) as client:
            begun: asyncio.Task[float] | None = None
            results = asyncio.create_task(self._results.run(client), name="clew-delivery-results")
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
                results.cancel()
                await self._stop(begun)
                await asyncio.gather(results, return_exceptions=True)

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
                    self._ahead.add(self.partners.destination(rows[0].site, rows[0].partner), rows)
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
        for row in await self._outbox.expire(now, self.partners.repeats):
            report(self._events, row, OUTCOMES[row.state], row.last_answer or "")

    def _each(self) -> int:
        """How many rows of each partner are read: a few, but not few in all."""
        if self._batches.several:
            return REPORTS
        return min(AHEAD, max(CALLS_PER_DESTINATION, READ // self._waiting_partners))

    def _with_room(self, waiting: Sequence[Waiting], room: Room) -> list[str]:
        self._waiting_partners = max(1, len({(row.site, row.partner) for row in waiting}))
        self._report_slow(waiting)
        return self._batches.choose(waiting, room, self.partners.destination)

    def _report_slow(self, waiting: Sequence[Waiting]) -> None:
        """Report a destination that has become slow while postbacks wait for it."""
        slow = self._pace.slow()
        new = slow.keys() - self._slow
        self._slow = frozenset(slow)
        for row in waiting if new else ():
            if (destination := self.partners.destination(row.site, row.partner)) in new:
                seconds = round(slow[destination], 1)
                self._events.notice("partner_slow", site=row.site, key=row.partner, seconds=seconds)
                new.discard(destination)

    def _begin_calls(self, client: Client, destinations: Sequence[str]) -> None:
        """Begin the claimed calls to these destinations that have a slot."""
        if self._sender.stopping:
            return
        room = self._pace.room()
        for destination in destinations:
            while self._ahead.count(destination) and len(self._flights) < OPEN and room.take(destination):
                self._start(client, destination, self._ahead.take(destination))

    def _start(self, client: Client, destination: str, rows: Sequence[Postback]) -> None:
        flight = Flight(rows, destination, self._sender.lease_end())
        task = asyncio.create_task(self._sender.deliver(client, flight), name=f"clew-postback-{rows[0].id}")
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

    def _ended(self, client: Client, flight: Flight) -> None:
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

    async def _stop(self, begun: asyncio.Task[float] | None) -> None:
        """Start no more calls, release unsent rows, and wait for responses during the grace period."""
        self._sender.stopping = True
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
