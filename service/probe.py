"""Whether an order could be recorded now: tried by writing, at most once in a while."""

import asyncio
import time
from collections.abc import Awaitable, Callable

# However many ask, so that asking costs nothing; a load balancer asks every few seconds.
FRESH_SECONDS = 2.0
# For one try, so that an answer comes within a load balancer's patience.
TRY_SECONDS = 3.0


class Probe:
    """Asks `attempt`, which raises where the ledger cannot be used, and remembers what it said."""

    def __init__(self, attempt: Callable[[], Awaitable[None]], failed: Callable[[Exception], None]) -> None:
        self._attempt = attempt
        self._failed = failed
        self._asked_at = float("-inf")
        self._failure: str | None = None
        self._asking: asyncio.Task[None] | None = None

    async def failure(self) -> str | None:
        """Why nothing can be written, None if it can; at most two seconds old. Who asks meanwhile waits for
        the same try."""
        if time.monotonic() - self._asked_at >= FRESH_SECONDS:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask(), name="clew-probe")
            await asyncio.shield(self._asking)
        return self._failure

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(TRY_SECONDS):
                await self._attempt()
        except Exception as error:
            self._failure = str(error).partition("\n")[0] or type(error).__name__
            self._failed(error)
        else:
            self._failure = None
        self._asked_at = time.monotonic()
