"""Switches a running service to new settings, from another thread."""

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

T = TypeVar("T")

CALL_SECONDS = 5.0
# Timeouts of a call in the loop: until it starts, until it ends, and in total.
SWAP_SECONDS = 2 * CALL_SECONDS + 2.0


class LoopClosedError(Exception):
    """The loop has ended and runs no more calls."""


def called(loop: asyncio.AbstractEventLoop, work: Callable[[], T]) -> T:
    """Call `work` in a loop's thread from another thread, and wait for the result.

    Raises the errors of the call, TimeoutError if the loop does not run it in time, and LoopClosedError if
    the loop has ended. In the last two cases `work` is not called.
    """
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
        # It has started just now.
        return future.result(CALL_SECONDS)


class OneProcess:
    """The service of a server with one process, or of an app; see `settings.reloading.Target`."""

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop) -> None:
        self._service = service
        self._loop = loop

    @property
    def settings(self) -> Settings:
        """The settings in use."""
        return self._service.settings

    def apply(self, settings: Settings) -> Changes:
        """Switch to these settings in one step of the loop, and report it."""

        table = self._service.sites.prepare(settings)

        def swap() -> Changes:
            changes = self._service.swap(settings, table)
            self._service.announce_swap(changes)
            return changes

        try:
            return called(self._loop, swap)
        except TimeoutError as error:
            raise ReloadError("the server was too busy to switch in time") from error
        except LoopClosedError as error:
            raise ReloadError("the server is stopping") from error

    def unchanged(self) -> None:
        """Report a reload without changes."""
        with suppress(TimeoutError, LoopClosedError):
            called(self._loop, lambda: self._service.announce_swap(Changes()))

    def refuse(self, problems: Sequence[Problem], *, requested: bool) -> None:
        """Report a rejected reload."""
        with suppress(TimeoutError, LoopClosedError):
            called(self._loop, lambda: self._service.refuse_swap(problems, requested=requested))
