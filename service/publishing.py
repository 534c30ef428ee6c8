"""Tells the shop's own endpoints what happens in the ledger: `[[sites.endpoints]]`.

An endpoint is told one event after the other, in the order in which they were written, by one process at a
time. Events are read a hundred at a time. Its cursor in the ledger goes on once a second, so that a process
that is killed repeats at most the events of its last second. While an endpoint fails it is asked again with
growing pauses, and what it has yet to be told waits in the ledger; after some days it is disabled.
"""

import asyncio
import contextlib
import random
import secrets
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from ..events.events import Events
from ..postbacks.client import Client, Progress
from ..postbacks.outgoing import KINDS, Event, event_call, event_of, wants
from ..postbacks.verdict import JITTER, Answered, Verdict, judge_each
from ..settings.model import Delivery, EventEndpoint
from ..stores.ledger.books import Ledger
from ..stores.ledger.endpoints import EndpointRow, number_of
from ..stores.ledger.exports import ExportEntry, Wanted

POLL_SECONDS: Final = 1.0
AT_ONCE: Final = 16  # endpoints that are told at the same time
IN_A_ROW: Final = 1000  # events of one endpoint, before another one has its turn
AT_A_TIME: Final = 100  # events that are read together
NOTE_SECONDS: Final = 1.0  # between two notes of how far an endpoint was told
FAR: Final = 10_000
"""Changes of other sites after which an endpoint's cursor goes on, so that it need not pass them all at once
when there is something for it."""

LEASE_MARGIN: Final = 15.0  # seconds beyond the timeout of a call, for further calls and storing
LONGEST_PAUSE: Final = 3600.0
DISABLED_AFTER: Final = 5 * 86400.0
"""Seconds of failures without a success in between after which an endpoint is disabled."""

NOTICE_AFTER: Final = 3  # failures in a row
REFUSALS: Final = 6
"""Times that an endpoint may refuse the same event as such before it is left out."""

_REFUSED: Final = frozenset({400, 413, 422})
_GONE: Final = 410

Configured = Callable[[], Iterable[tuple[str, EventEndpoint]]]
_Key = tuple[str, str]


class Publisher:
    """Tells endpoints while `run` runs. `configured` returns the endpoints of the current settings, with
    their sites; `now` returns unix seconds, and `chance` a number from 0 to 1 that spreads retries."""

    def __init__(
        self,
        ledger: Ledger,
        configured: Configured,
        delivery: Delivery,
        now: Callable[[], float],
        events: Events,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._ledger = ledger
        self._configured = configured
        self._delivery = delivery
        self._now = now
        self._events = events
        self._chance = chance
        self._holder = secrets.token_hex(8)
        # The ends of the ledger when it was looked at first and last, and behind each site's changes since.
        self._first: Mapping[str, str] = {}
        self._looked: Mapping[str, str] = {}
        self._changed: dict[str, dict[str, str]] = {}
        self._turn: _Key | None = None  # the one that was begun last
        self._tasks: dict[_Key, asyncio.Task[bool]] = {}
        self._wake = asyncio.Event()  # an endpoint has more to be told

    async def run(self) -> None:
        """Tell endpoints until cancelled."""
        async with Client(float(self._delivery.timeout), AT_ONCE) as client:
            try:
                while True:
                    self._wake.clear()
                    try:
                        await self._round(client)
                    except Exception as error:
                        self._events.failed(error, site="", where="webhooks")
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(POLL_SECONDS):
                            await self._wake.wait()
            finally:
                for task in self._tasks.values():
                    task.cancel()
                await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _round(self, client: Client) -> None:
        """Begin to tell the endpoints for which there may be something."""
        configured = {(site, one.name): one for site, one in self._configured()}
        if not configured:
            return
        ends = await self._look()
        rows = {(row.site, row.name): row for row in await self._ledger.endpoints.list()}
        # In turn, or the first ones would keep the others waiting while they have much to be told.
        keys = sorted(configured)
        begin = 0 if self._turn is None else bisect_right(keys, self._turn)
        for key in (*keys[begin:], *keys[:begin]):
            if len(self._tasks) >= AT_ONCE:
                break
            if key not in self._tasks and self._is_due(key, rows.get(key)):
                task = asyncio.create_task(self._serve(client, key, configured[key], ends))
                self._tasks[key], self._turn = task, key
                task.add_done_callback(partial(self._ended, key))

    async def _look(self) -> Mapping[str, str]:
        """Note which sites have changes since the last time. Returns the ends of the ledger."""
        book = self._ledger.endpoints
        if not self._looked:
            self._first = self._looked = await book.ends()
            return self._looked
        ends, changed = await book.changed(self._looked)
        for site, by_kind in changed.items():
            self._changed.setdefault(site, {}).update(by_kind)
        self._looked = ends
        return ends

    def _ended(self, key: _Key, task: asyncio.Task[bool]) -> None:
        self._tasks.pop(key, None)
        if not task.cancelled() and task.result():
            self._wake.set()

    def _is_due(self, key: _Key, row: EndpointRow | None) -> bool:
        if row is None:
            return True
        if row.disabled_at is not None or row.next_at > self._now():
            return False
        # What other sites have written is nothing for it.
        ends = dict(self._first)
        for site in ("", row.site):  # what concerns all sites, and its own
            for kind, end in self._changed.get(site, {}).items():
                ends[kind] = _further(ends[kind], end)
        return any(
            _further(row.cursors.get(kind), ends[kind]) != row.cursors.get(kind)
            or number_of(self._looked[kind]) - number_of(row.cursors.get(kind)) > FAR
            for kind in KINDS
        )

    @property
    def _lease(self) -> float:
        return self._now() + float(self._delivery.timeout) + LEASE_MARGIN

    async def _serve(
        self, client: Client, key: _Key, endpoint: EventEndpoint, ends: Mapping[str, str]
    ) -> bool:
        """Tell an endpoint for a while; whether there is more to tell it at once."""
        book = self._ledger.endpoints
        try:
            until = self._lease
            row = await book.take(*key, self._holder, ends, self._now(), until)
            if row is None:
                return False
            # A kind of event that is new begins with what is written from now on.
            turn = _Turn(row, {**ends, **row.cursors}, until, self._now())
            try:
                return await self._tell_all(client, turn, endpoint, ends)
            finally:
                await asyncio.shield(book.note(row, self._holder, holder=None, until=None, **turn.values()))
        except Exception as error:
            self._events.failed(error, site=key[0], where="webhooks")
            return False

    async def _tell_all(
        self, client: Client, turn: "_Turn", endpoint: EventEndpoint, ends: Mapping[str, str]
    ) -> bool:
        """Tell an endpoint all that was written up to `ends`, if it takes all and others need not wait;
        whether there is more at once."""
        left, site = IN_A_ROW, turn.row.site
        for kind in KINDS:
            while True:
                given = (kind, Wanted(site), turn.cursors[kind], max(1, min(left, AT_A_TIME)))
                found = await self._ledger.exports.entries(*given)
                if not found:
                    # Others' rows need not be looked at again.
                    turn.cursors[kind] = _further(turn.cursors[kind], ends[kind])
                    break
                if left == 0:
                    return True
                left -= len(found)
                for event, cursor in await self._events_of(site, kind, found, endpoint):
                    told = event is None or await self._tell(client, turn, endpoint, event, kind, cursor)
                    if not told:
                        return False
                    turn.cursors[kind] = cursor
        return False

    async def _events_of(
        self, site: str, kind: str, found: Sequence[ExportEntry], endpoint: EventEndpoint
    ) -> list[tuple[Event | None, str]]:
        """The event of each entry, None where the endpoint is not told of it, and the cursor behind it."""
        held: Mapping[str, str] = {}
        if kind == "orders":
            numbers = [str(one.rows[0]["order_id"]) for one in found]
            held = await self._ledger.endpoints.held(site, numbers)
        events = []
        for one in found:
            why = held.get(str(one.rows[0].get("order_id")))
            event = event_of(site, kind, one.rows, one.cursor, why, endpoint.personal)
            events.append((event if event is not None and wants(endpoint, event) else None, one.cursor))
        return events

    async def _tell(
        self,
        client: Client,
        turn: "_Turn",
        endpoint: EventEndpoint,
        event: Event,
        kind: str,
        cursor: str,
    ) -> bool:
        """Tell an endpoint of one event, with the `cursor` behind it; whether to go on with the next one. How
        far it was told is written down now and then, and before another process could take it over."""
        now = self._now()
        if now >= turn.noted_at + NOTE_SECONDS or now + float(self._delivery.timeout) >= turn.until:
            turn.noted_at, turn.until = now, self._lease
            if not await self._ledger.endpoints.note(
                turn.row, self._holder, until=turn.until, **turn.values()
            ):
                return False
        call = event_call(endpoint, event, now)
        result = await client.make(call, _nothing, Progress())
        (verdict,) = judge_each(call, result, now, repeats=True)
        status = result.status if isinstance(result, Answered) else None
        if verdict.outcome == "delivered":
            turn.told = {
                "attempts": 0,
                "failing_since": None,
                "next_at": 0.0,
                "sent_at": now,
                "last_answer": None,
                "last_status": status,
            }
            turn.row = replace(turn.row, attempts=0, failing_since=None)
            name = turn.row.name
            self._events.emit("event_sent", site=turn.row.site, endpoint=name, type=event.type, id=event.id)
            return True
        after = {**turn.cursors, kind: cursor}
        failed, values = self._failed(turn.row, event, verdict, status)
        turn.told = values
        if failed:
            return False
        # It is left out.
        turn.cursors = after
        turn.row = replace(turn.row, attempts=0, failing_since=None)
        return True

    def _failed(
        self, row: EndpointRow, event: Event, verdict: Verdict, status: int | None
    ) -> tuple[bool, dict[str, Any]]:
        """Whether an endpoint that did not take an event waits for its next try, or else goes on without it;
        and how it stands."""
        now, attempts = self._now(), row.attempts + 1
        since = row.failing_since if row.failing_since is not None else now
        schedule = self._delivery.schedule or [60]
        pause = min(LONGEST_PAUSE, max(schedule[min(attempts, len(schedule)) - 1], verdict.wait))
        values: dict[str, Any] = {
            "attempts": attempts,
            "failing_since": since,
            "next_at": now + pause * (1 + JITTER * self._chance()),
            "last_status": status,
            "last_answer": verdict.answer[:300],
        }
        about = {"endpoint": row.name, "why": verdict.answer[:300] or f"status {status}"}
        if status in _REFUSED and attempts >= REFUSALS:
            fields = {**about, "type": event.type, "id": event.id, "order": event.data.get("order_id")}
            self._events.notice("event_refused", site=row.site, key=row.name, **fields)
            return False, values | {"attempts": 0, "failing_since": None, "next_at": now}
        if status == _GONE or now - since > DISABLED_AFTER:
            values |= {"disabled_at": now, "why": about["why"]}
            self._events.notice("endpoint_disabled", site=row.site, key=row.name, **about)
        elif attempts >= NOTICE_AFTER:
            self._events.notice("endpoint_failing", site=row.site, key=row.name, attempts=attempts, **about)
        return True, values


@dataclass(slots=True)
class _Turn:
    """An endpoint while this process tells it: `cursors` are how far, `told` is how it stands, `until` the
    end of its lease, and `noted_at` when that was written down last."""

    row: EndpointRow
    cursors: dict[str, str]
    until: float
    noted_at: float
    told: dict[str, Any] = field(default_factory=dict)

    def values(self) -> dict[str, Any]:
        """What is written down of it."""
        return {**self.told, "cursors": dict(self.cursors)}


async def _nothing() -> None:
    """Nothing has to be written before an event is sent: it may be sent again."""


def _further(cursor: str | None, end: str) -> str:
    """The later one of two cursors."""

    return end if cursor is None or number_of(end) >= number_of(cursor) else cursor
