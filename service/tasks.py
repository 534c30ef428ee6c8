"""Background tasks."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

import structlog

STOP_SECONDS = 10


class Tasks:
    """Tasks that run as long as clew does, and tasks that end by themselves."""

    def __init__(self) -> None:
        self._lasting: list[asyncio.Task[None]] = []
        self._work: set[asyncio.Task[None]] = set()

    def last(self, works: Iterable[tuple[str, Coroutine[Any, Any, None]]]) -> None:
        """Run these, each with its name, until `stop`."""
        self._lasting += [asyncio.create_task(work, name=name) for name, work in works]

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` in the background; `stop` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._work.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            structlog.get_logger("clew").error("fault", where="background", exc_info=error)

    async def stop(self) -> None:
        """Cancel the lasting tasks, and wait up to ten seconds for the others."""
        for task in self._lasting:
            task.cancel()
        if self._work:
            _, late = await asyncio.wait(set(self._work), timeout=STOP_SECONDS)
            for work in late:
                work.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await asyncio.gather(*self._lasting, return_exceptions=True)
