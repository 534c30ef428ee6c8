"""Work that must not be interrupted by a cancellation."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def undisturbed(work: Awaitable[T]) -> T:
    """Await `work` to its end. A cancellation meanwhile is raised afterwards.

    For work in a thread: cancelling the wait for a database statement would leave the statement running, with
    its locks, while the caller continues.
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
