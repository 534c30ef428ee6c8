"""Reloads the settings of a running clew: by `clew reload`, SIGHUP or `reload()`, or when a file changes.

One thread reads, validates and applies the settings, one reload after the other. Errors are reported, and the
settings in use stay unchanged.
"""

import logging
import os
import selectors
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Protocol

from .changes import Changes
from .included import Stamp
from .load import Problem
from .loader import Loaded, Loader
from .model import Settings

# How often the files are checked; a change is applied once a file is unchanged between two checks.
WATCH_SECONDS = 0.4
# Maximum share of time for checks: with very many files they are less frequent.
WATCH_PART = 0.03
# With `watch`, a change that could not be applied is tried again after so long.
RETRY_SECONDS = 5.0

_LOG = logging.getLogger("clew.settings")


class ReloadError(Exception):
    """Not all workers could apply valid settings, so none did; or clew is stopping."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The result of a reload. If there is no error among the `problems`, the new settings are in use.
    `seconds` is its duration."""

    problems: tuple[Problem, ...] = ()
    changes: Changes = field(default_factory=Changes)
    sites: int = 0
    seconds: float = 0.0

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Why the settings are not in use; empty if they are."""
        return tuple(problem for problem in self.problems if problem.severity == "error")


class Target(Protocol):
    """The running clew, whose settings are replaced. Called from the reloader's thread."""

    @property
    def settings(self) -> Settings:
        """The settings in use."""

    def apply(self, settings: Settings) -> Changes:
        """Replace all settings at once. Raises ReloadError."""

    def unchanged(self) -> None:
        """Report that a requested reload found no changes."""

    def refuse(self, problems: Sequence[Problem], *, requested: bool) -> None:
        """Report that settings were refused; if the reload was `requested`, even if reported before."""


class Reloader:
    """Reloads the settings of `target` with `loader`."""

    def __init__(self, loader: Loader, target: Target) -> None:
        self._loader = loader
        self._target = target
        self._asked: SimpleQueue[Future[Reloaded]] = SimpleQueue()
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_in, False)
        self._ended = False
        self._thread: threading.Thread | None = None
        # Guards the pipe, which must not be written to after it was closed. Re-entrant, since a signal
        # handler may interrupt the holder in the same thread.
        self._lock = threading.RLock()
        self._closed = False
        # The stamps of the files when they were last loaded (even with errors), and when they were last
        # checked.
        self._loaded: Mapping[str, Stamp | None] = loader.stamps()
        self._seen = self._loaded
        self._check_at = 0.0
        self._check_worked = True

    def start(self) -> None:
        """Start the thread; requests that are waiting are handled now."""
        if self._thread is None and not self._ended:
            self._thread = threading.Thread(target=self._run, name="clew-reload", daemon=True)
            self._thread.start()

    def request(self) -> None:
        """Request a reload; may be called from a signal handler. Does nothing after `stop`."""
        with self._lock:
            if not self._closed:
                with suppress(OSError):  # the pipe is full of such requests
                    os.write(self._wake_in, b"r")

    def ask(self) -> Future[Reloaded]:
        """Request a reload. The future has its result, or ReloadError after `stop`."""
        future: Future[Reloaded] = Future()
        with self._lock:
            self._asked.put(future)
            if self._closed:
                self._refuse_waiting()
            else:
                self.request()
                self.start()
        return future

    def stop(self) -> None:
        """Stop the thread. Waiting requests fail with ReloadError."""
        with self._lock:
            self._ended = True
            if self._thread is None:
                self._close()
            else:
                self.request()

    def _close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._wake_out)
                os.close(self._wake_in)
            self._refuse_waiting()

    def _refuse_waiting(self) -> None:
        for future in self._taken():
            future.set_exception(ReloadError("clew is stopping"))

    def _taken(self) -> list[Future[Reloaded]]:
        """The waiting requests that were not cancelled; they can no longer be."""
        found: list[Future[Reloaded]] = []
        with suppress(Empty):
            while True:
                future = self._asked.get_nowait()
                if future.set_running_or_notify_cancel():
                    found.append(future)
        return found

    # -- the thread

    def _run(self) -> None:
        try:
            self._serve()
        finally:
            self._close()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_out, selectors.EVENT_READ)
            while not self._ended:
                requested = bool(selector.select(self._wait()))
                if self._ended:
                    return
                if requested:
                    os.read(self._wake_out, 4096)
                    waiting = self._taken()
                    result = self.reload(requested=True)
                    for future in waiting:
                        future.set_result(result)
                elif self._target.settings.watch and time.monotonic() >= self._check_at:
                    self._try_check()

    def _wait(self) -> float | None:
        return max(0.0, self._check_at - time.monotonic()) if self._target.settings.watch else None

    def _try_check(self) -> None:
        try:
            self._check()
        except Exception:
            if self._check_worked:
                _LOG.exception("the settings files cannot be checked for changes; clew will try again")
            self._check_worked = False
            self._check_at = time.monotonic() + RETRY_SECONDS
        else:
            self._check_worked = True

    def _check(self) -> None:
        began = time.monotonic()
        now = self._loader.stamps()
        changed = {path for path in now.keys() | self._loaded.keys() if _differ(path, now, self._loaded)}
        moving = {path for path in changed if _differ(path, now, self._seen)}
        self._seen = now
        took = time.monotonic() - began
        self._check_at = time.monotonic() + max(WATCH_SECONDS, took / WATCH_PART)
        if changed - moving:
            self.reload(hold=moving)

    def reload(self, hold: Collection[str] = (), *, requested: bool = False) -> Reloaded:
        """Read changed files, validate all, and apply the result. Files in `hold` keep their last version.
        If it was `requested`, its result is reported in any case."""
        began = time.monotonic()
        previous = self._loaded
        try:
            before = self._loader.stamps()
            loaded = self._loader.load(hold, self._target.settings)
            # Files that were held back are still to be read.
            held = {path: self._loaded[path] for path in hold if path in self._loaded}
            self._loaded = {path: stamp for path, stamp in before.items() if path not in hold} | held
            result = self._applied(loaded, requested)
        except Exception as error:
            # Not an error in the files: with `watch` it is tried again.
            self._loaded = previous
            self._check_at = time.monotonic() + RETRY_SECONDS
            why = str(error) if isinstance(error, ReloadError) else f"the reload failed: {error!r}"
            result = self._failed(why)
        if result.errors:
            self._refuse(result.errors, requested)
        return Reloaded(result.problems, result.changes, result.sites, time.monotonic() - began)

    def _refuse(self, problems: Sequence[Problem], requested: bool) -> None:
        try:
            self._target.refuse(problems, requested=requested)
        except Exception:
            _LOG.exception("a refused reload could not be reported")

    def _applied(self, loaded: Loaded, requested: bool) -> Reloaded:
        settings, running = loaded.settings, self._target.settings
        if settings is None or settings == running:
            if requested and settings is not None:
                self._target.unchanged()
            return Reloaded(loaded.problems, sites=len(running.sites))
        changes = self._target.apply(settings)
        return Reloaded(loaded.problems, changes, len(settings.sites))

    def _failed(self, why: str) -> Reloaded:
        problem = Problem(str(self._loader.path), "", None, why, "the settings in use are unchanged")
        return Reloaded((problem,), sites=len(self._target.settings.sites))


def _differ(path: str, one: Mapping[str, Stamp | None], other: Mapping[str, Stamp | None]) -> bool:
    return (path in one) != (path in other) or one.get(path) != other.get(path)
