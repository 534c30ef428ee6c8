"""Other settings for a service that runs, from another thread than its own."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

from ..settings.changes import Changes
from ..settings.load import Problem
from ..settings.model import Settings
from ..settings.reloading import ReloadError
from .service import Service
from .sites import SiteTable

T = TypeVar("T")

CALL_SECONDS = 5.0
# What a call in a loop may take in all: until it begins, and until it ends; and some room.
SWAP_SECONDS = 2 * CALL_SECONDS + 2.0


class LoopClosedError(Exception):
    """The loop has ended, and calls nothing more."""


def called(loop: asyncio.AbstractEventLoop, work: Callable[[], T]) -> T:
    """Call in a loop's thread, from another one, and wait for it. Raises what the call raises; TimeoutError
    where the loop does not come to it, and LoopClosedError where it has ended: then it is not called."""
    future: Future[T] = Future()

    def call() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError as error:
        raise LoopClosedError from error
    try:
        return future.result(CALL_SECONDS)
    except TimeoutError:
        if future.cancel():
            raise
        # It has begun after all.
        return future.result(CALL_SECONDS)


class OneProcess:
    """The service of a server with one process, or of an app; see `settings.reloading.Target`."""

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop) -> None:
        self._service = service
        self._loop = loop

    @property
    def settings(self) -> Settings:
        """Those in use."""
        return self._service.settings

    def apply(self, settings: Settings) -> Changes:
        """Swap them in, in one step of the loop, and tell of it."""

        table = SiteTable(settings)

        def swap() -> Changes:
            changes = self._service.swap(settings, table)
            self._service.announce_swap(changes)
            return changes

        try:
            return called(self._loop, swap)
        except TimeoutError as error:
            raise ReloadError("the server did not come to it in time") from error
        except LoopClosedError as error:
            raise ReloadError("the server is stopping") from error

    def unchanged(self) -> None:
        """Tell of it."""
        with suppress(TimeoutError, LoopClosedError):
            called(self._loop, lambda: self._service.announce_swap(Changes()))

    def refuse(self, problems: Sequence[Problem], *, requested: bool) -> None:
        """Tell of it."""
        with suppress(TimeoutError, LoopClosedError):
            called(self._loop, lambda: self._service.refuse_swap(problems, requested=requested))
