"""Cached answers to questions that any client may ask, computed at most once in a while."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

# For any number of requests; a load balancer sends one every few seconds.
FRESH_SECONDS = 2.0
# Timeout of one attempt, shorter than a load balancer's.
TRY_SECONDS = 3.0

T = TypeVar("T")


class Fresh(Generic[T]):
    """The result of `ask`, at most two seconds old; older if computing it would take more than `share` of the
    time."""

    def __init__(self, ask: Callable[[], Awaitable[T]], share: float = 1.0) -> None:
        self._ask = ask
        self._share = share
        self._until = float("-inf")
        self._asking: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """The result. Raises the errors of `ask`. Concurrent callers share one attempt."""
        known = self._asking
        if known is None or (known.done() and time.monotonic() >= self._until):
            known = self._asking = asyncio.create_task(self._try(), name="clew-fresh")
        return await asyncio.shield(known)

    async def _try(self) -> T:
        began = time.monotonic()
        try:
            return await self._ask()
        finally:
            ended = time.monotonic()
            self._until = max(ended + FRESH_SECONDS, began + (ended - began) / self._share)


class Probe:
    """Whether an order could be recorded now. `attempt` tries it, and raises if the ledger cannot be used."""

    def __init__(self, attempt: Callable[[], Awaitable[None]], failed: Callable[[Exception], None]) -> None:
        self._attempt = attempt
        self._failed = failed
        self._found = Fresh(self._ask)

    async def failure(self) -> str | None:
        """Why the ledger cannot be written, or None; at most two seconds old."""
        return await self._found.get()

    async def _ask(self) -> str | None:
        try:
            async with asyncio.timeout(TRY_SECONDS):
                await self._attempt()
        except Exception as error:
            self._failed(error)
            return str(error).partition("\n")[0] or type(error).__name__
        return None
