"""Asks networks what became of calls that they have accepted.

Nothing is sent again here: the questions change nothing at the network, so that one may be asked twice.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from .building import UNSENT, Builder, TooEarlyError
from .client import Client, Progress
from .masking import hide
from .model import Attempt, Postback, State
from .outcomes import report, stored
from .protocols import Events, Outbox
from .tokens import TokenError
from .verdict import UNAUTHORIZED, Answered, Verdict, judge_each

FIRST_SECONDS = 60.0  # until the first question, if the entry does not say
GIVE_UP_SECONDS = 7 * 86400.0  # after that a person has to find out
ROWS = 100  # asked for in a round
CALLS = 4  # questions at the same time
LEASE_SECONDS = 120.0
POLL_SECONDS = 5.0  # maximum delay until a row of another process is seen


class Results:
    """Asks while `run` runs. `now` returns unix seconds; `settled` is called when an outcome is stored: later
    events of the order wait for it."""

    def __init__(
        self,
        outbox: Outbox,
        builder: Builder,
        now: Callable[[], float],
        events: Events,
        settled: Callable[[], None],
    ) -> None:
        self._outbox = outbox
        self._builder = builder
        self._now = now
        self._events = events
        self._settled = settled
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look at once whether there is something to ask."""
        self._wake.set()

    async def run(self, client: Client) -> None:
        """Ask until cancelled. What was asked then is asked again when its lease ends."""
        while True:
            self._wake.clear()
            try:
                delay = await self._round(client)
            except Exception as error:
                self._events.failed(error, site="", where="results")
                delay = POLL_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._wake.wait()

    async def _round(self, client: Client) -> float:
        """Ask for all that is due. Returns the seconds until the next round, unless woken earlier."""
        due, now = await self._outbox.next_result(), self._now()
        if due is None or due > now:
            return POLL_SECONDS if due is None else min(POLL_SECONDS, due - now)
        rows = await self._outbox.claim_accepted(now, now + LEASE_SECONDS, limit=ROWS)
        jobs: dict[tuple[str, str, str, str], list[Postback]] = defaultdict(list)
        for row in rows:
            jobs[row.site, row.partner, row.event, row.job or ""].append(row)
        limit = asyncio.Semaphore(CALLS)

        async def one(job: Sequence[Postback]) -> None:
            async with limit:
                await self._asked(client, job)

        await asyncio.gather(*(one(job) for job in jobs.values()))
        return 0.0 if rows else POLL_SECONDS

    async def _asked(self, client: Client, rows: Sequence[Postback]) -> None:
        """Ask for the outcome of one call, which carried these rows."""
        first = rows[0]
        try:
            call = await self._builder.question(client, rows)
        except TooEarlyError as early:
            await stored(self._events, first, partial(self._outbox.ask_later, rows, early.until))
            return
        except UNSENT as error:
            # The partner's settings may be mended, or the token come.
            if isinstance(error, TokenError) and not error.pending:
                self._events.notice("partner_token", site=first.site, key=first.partner, why=str(error))
            await self._not_yet(rows, str(error))
            return
        except Exception as error:
            self._events.failed(error, site=first.site, where="results")
            await self._not_yet(rows, repr(error))
            return
        result = await client.make(call, _nothing, Progress())
        if not isinstance(result, Answered):
            await self._not_yet(rows, result.reason)
            return
        if result.status == UNAUTHORIZED:
            await self._builder.refused_token(first)
        if result.status >= 400 or not result.complete:
            await self._not_yet(rows, f"status {result.status}")
            return
        verdicts = judge_each(call, result, self._now(), repeats=False)
        for row, verdict in zip(rows, verdicts, strict=True):
            if verdict.outcome == "retry":
                await self._not_yet([row], verdict.answer)
            else:
                answer = hide(verdict.answer, call.hidden)
                await self._settle(row, replace(verdict, answer=answer), call.masked)

    async def _not_yet(self, rows: Sequence[Postback], why: str) -> None:
        """The outcome is not known yet: ask later, the later the longer it takes."""
        now = self._now()
        for row in rows:
            age = now - (now if row.accepted_at is None else row.accepted_at)
            if age >= GIVE_UP_SECONDS:
                said = f"the network accepted it, and did not say in {age / 86400:.0f} days what became of it"
                await self._settle(row, Verdict("unknown", f"{said}: {why}"), "")
            else:
                at = now + max(FIRST_SECONDS, age / 2)
                await stored(self._events, row, partial(self._outbox.ask_later, [row], at))

    async def _settle(self, row: Postback, verdict: Verdict, request: str) -> None:
        """Store the outcome: delivered, dead, or unknown."""
        now, outcome = self._now(), verdict.outcome
        state: State = "delivered" if outcome == "delivered" else "dead" if outcome == "dead" else "unknown"
        attempt = Attempt(now, request, verdict.status, verdict.answer, outcome)
        await stored(self._events, row, partial(self._outbox.finish, row, attempt, state, now))
        told = {"request": request, "status": verdict.status, "attempt": row.attempts}
        report(self._events, row, outcome, verdict.answer, **told)
        self._settled()


async def _nothing() -> None:
    """Nothing has to be written before a question: it may be repeated."""
