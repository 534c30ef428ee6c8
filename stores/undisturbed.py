"""Work that a cancellation may not cut in the middle."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def undisturbed(work: Awaitable[T]) -> T:
    """Await `work` to its end. A cancellation meanwhile is raised when it has ended, not before.

    For what runs in a thread: cancelling the wait for a database's statement leaves the statement running,
    with the locks that it takes, while whoever was cancelled believes that it is over.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # so that nobody misses it
        raise cancelled
    return task.result()
