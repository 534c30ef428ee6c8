"""A store on another machine that does not answer costs one request a moment, and the next ones nothing."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from .visits import VisitsError, VisitsUnavailableError

# How long a caller waits for one round trip; a change takes two at most without a conflict.
ANSWER_SECONDS = 0.15
# It is counted in steps, each from the end of the one before: where this process is held up for longer, which
# is one step, the answer may have come meanwhile, and is read in the next one.
STEPS = 5
# How long a probe may take; no request waits for it.
PROBE_SECONDS = 2.0
# Before the probes of a store that has failed. The first comes at once: often it was our own process that was
# held up, or one connection that broke.
RESTS = (0.1, 1.0, 2.0, 5.0)
# A store that has answered for so long begins again with the first of RESTS.
STEADY_SECONDS = 30.0

T = TypeVar("T")

Told = Callable[[str | None, float], None]
"""Hears why a store is not asked any more, or None once it is again; and how many seconds that took."""


class Breaker:
    """Asks a store as long as it answers. `probe` tries to use it, and raises VisitsError."""

    def __init__(self, name: str, probe: Callable[[], Awaitable[None]], told: Told) -> None:
        self.why: str | None = None
        """Why the store is not asked; None while it is."""
        self.name = name
        self._probe = probe
        self._told = told
        self._rest = 0
        self._up_since = float("-inf")
        self._recovery: asyncio.Task[None] | None = None

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """The answer. Raises VisitsUnavailableError at once while the store is down."""
        if self.why is not None:
            raise VisitsUnavailableError(self.why)
        try:
            async with asyncio.timeout(None) as limit:
                patience = _Patience(limit)
                try:
                    return await question()
                finally:
                    patience.end()
        except TimeoutError:
            self.trip(late := f"{self.name} does not answer within {ANSWER_SECONDS:g} s")
            raise VisitsUnavailableError(late) from None
        except VisitsUnavailableError as error:
            self.trip(str(error))
            raise

    def trip(self, why: str) -> None:
        """Ask no more until a probe succeeds."""
        if self.why is not None:
            return
        self.why = why
        if time.monotonic() - self._up_since > STEADY_SECONDS:
            self._rest = 0
        self._told(why, 0.0)
        self._recovery = asyncio.create_task(self._recover(), name="clew-visits-probe")

    async def _recover(self) -> None:
        began = time.monotonic()
        while self.why is not None:
            await asyncio.sleep(RESTS[self._rest])
            self._rest = min(self._rest + 1, len(RESTS) - 1)
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._probe()
            except TimeoutError:
                self.why = f"{self.name} does not answer within {PROBE_SECONDS:g} s"
            except VisitsError as error:
                self.why = str(error)
            except Exception as error:
                self.why = f"{self.name}: {error!r}"
            else:
                self.why = None
        self._up_since = time.monotonic()
        self._told(None, self._up_since - began)

    async def close(self) -> None:
        """Stop probing."""
        if self._recovery is not None:
            self._recovery.cancel()
            with suppress(asyncio.CancelledError):
                await self._recovery
            self._recovery = None


class _Patience:
    """Has a timeout expire after ANSWER_SECONDS in which the loop has run."""

    def __init__(self, limit: asyncio.Timeout) -> None:
        self._limit = limit
        self._left = STEPS
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(ANSWER_SECONDS / STEPS, self._step)

    def _step(self) -> None:
        self._left -= 1
        if self._left:
            self._timer = self._loop.call_later(ANSWER_SECONDS / STEPS, self._step)
        else:
            self._limit.reschedule(self._loop.time())

    def end(self) -> None:
        """The answer has come."""
        self._timer.cancel()
