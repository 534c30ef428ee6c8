"""Settings that change while clew runs: asked for by `clew reload`, SIGHUP or `reload()`, or seen on disk.

One thread reads, validates and has the whole applied, one reload after the other. What is wrong is told, and
what runs goes on as it was.
"""

import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
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

# How often the files are looked at; a change is taken once a file has stayed as it is between two looks.
WATCH_SECONDS = 0.4
# Looking may take this part of the time at the most: with very many files it is done less often.
WATCH_PART = 0.03
# A change that could not be applied is tried again after so long, where the files are watched.
RETRY_SECONDS = 5.0

_LOG = logging.getLogger("clew.settings")

Answer = Callable[["Reloaded"], None]
"""Tells who asked for a reload what became of it."""

Questions = Callable[[socket.socket], Sequence[Answer]]
"""Takes from a listening socket who asks there for a reload."""


class ReloadError(Exception):
    """Valid settings were not taken by all workers, and so by none; or clew is stopping."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What became of a reload. Without errors among the `problems` the settings are in use now; `seconds` is
    how long it took."""

    problems: tuple[Problem, ...] = ()
    changes: Changes = field(default_factory=Changes)
    sites: int = 0
    seconds: float = 0.0

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Why the settings are not in use; empty if they are."""
        return tuple(problem for problem in self.problems if problem.severity == "error")


class Target(Protocol):
    """What runs by the settings. Called from the reloader's thread."""

    @property
    def settings(self) -> Settings:
        """Those in use."""

    def apply(self, settings: Settings) -> Changes:
        """Serve by other settings, all at once. Raises ReloadError."""

    def unchanged(self) -> None:
        """Tell that a reload was asked for, and that nothing has changed."""

    def refuse(self, problems: Sequence[Problem], *, asked: bool) -> None:
        """Tell that other settings were not taken: each time where they were `asked` for."""


class Reloader:
    """Reloads the settings that `loader` reads, for `target`; at the sockets `listening` others ask for a
    reload, by `questions`."""

    def __init__(
        self,
        loader: Loader,
        target: Target,
        listening: Sequence[socket.socket] = (),
        questions: Questions = lambda sock: (),
    ) -> None:
        self._loader = loader
        self._target = target
        self._listening = listening
        self._questions = questions
        self._asked: SimpleQueue[Future[Reloaded]] = SimpleQueue()
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_in, False)
        self._ended = False
        self._thread: threading.Thread | None = None
        # Guards the pipe, which must not be written to once it is closed. A signal's handler may interrupt
        # whoever holds it, in the same thread.
        self._lock = threading.RLock()
        self._closed = False
        # Of the files as they were last loaded, well or not, and as they were last looked at.
        self._loaded: Mapping[str, Stamp | None] = loader.stamps()
        self._seen = self._loaded
        self._look_at = 0.0
        self._could_look = True

    def start(self) -> None:
        """Begin to answer; what was asked for before is done now."""
        if self._thread is None and not self._ended:
            self._thread = threading.Thread(target=self._run, name="clew-reload", daemon=True)
            self._thread.start()

    def request(self) -> None:
        """Ask for a reload; may be called from a signal's handler. Does nothing after the end."""
        with self._lock:
            if not self._closed:
                with suppress(OSError):  # the pipe is full of such requests
                    os.write(self._wake_in, b"r")

    def ask(self) -> Future[Reloaded]:
        """Ask for a reload, and for what becomes of it; ReloadError if it ends first."""
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
        """Do nothing more; who still waits gets a ReloadError."""
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
        """Who waits, without those that have given up. None of these can give up from now on."""
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
            for sock in self._listening:
                sock.setblocking(False)
                selector.register(sock, selectors.EVENT_READ)
            selector.register(self._wake_out, selectors.EVENT_READ)
            while not self._ended:
                ready = [key.fileobj for key, _ in selector.select(self._wait())]
                if self._ended:
                    return
                listening = [sock for sock in self._listening if sock in ready]
                asking = [answer for sock in listening for answer in self._questions(sock)]
                if self._wake_out in ready and os.read(self._wake_out, 4096):
                    asking += [future.set_result for future in self._taken()] or [_nobody]
                if asking:
                    result = self.reload(asked=True)
                    for answer in asking:
                        _tell(answer, result)
                elif self._target.settings.watch and time.monotonic() >= self._look_at:
                    self._try_to_look()

    def _wait(self) -> float | None:
        return max(0.0, self._look_at - time.monotonic()) if self._target.settings.watch else None

    def _try_to_look(self) -> None:
        try:
            self._look()
        except Exception:
            if self._could_look:
                _LOG.exception("the settings' files cannot be looked at; clew goes on trying")
            self._could_look = False
            self._look_at = time.monotonic() + RETRY_SECONDS
        else:
            self._could_look = True

    def _look(self) -> None:
        began = time.monotonic()
        now = self._loader.stamps()
        changed = {path for path in now.keys() | self._loaded.keys() if _differ(path, now, self._loaded)}
        moving = {path for path in changed if _differ(path, now, self._seen)}
        self._seen = now
        took = time.monotonic() - began
        self._look_at = time.monotonic() + max(WATCH_SECONDS, took / WATCH_PART)
        if changed - moving:
            self.reload(hold=moving)

    def reload(self, hold: Collection[str] = (), *, asked: bool = False) -> Reloaded:
        """Read what changed, validate all, have it applied. Files in `hold` are left as they were. Where it
        was `asked` for, its outcome is told in any case."""
        began = time.monotonic()
        previous = self._loaded
        try:
            before = self._loader.stamps()
            loaded = self._loader.load(hold, self._target.settings)
            # Those that were held back are still to be read.
            held = {path: self._loaded[path] for path in hold if path in self._loaded}
            self._loaded = {path: stamp for path, stamp in before.items() if path not in hold} | held
            result = self._applied(loaded, asked)
        except Exception as error:
            # It is no fault of the files: where they are watched it is tried again.
            self._loaded = previous
            self._look_at = time.monotonic() + RETRY_SECONDS
            why = str(error) if isinstance(error, ReloadError) else f"the reload failed: {error!r}"
            result = self._failed(why)
        if result.errors:
            self._refuse(result.errors, asked)
        return Reloaded(result.problems, result.changes, result.sites, time.monotonic() - began)

    def _refuse(self, problems: Sequence[Problem], asked: bool) -> None:
        try:
            self._target.refuse(problems, asked=asked)
        except Exception:
            _LOG.exception("a reload was refused, and that could not be told")

    def _applied(self, loaded: Loaded, asked: bool) -> Reloaded:
        settings, running = loaded.settings, self._target.settings
        if settings is None or settings == running:
            if asked and settings is not None:
                self._target.unchanged()
            return Reloaded(loaded.problems, sites=len(running.sites))
        changes = self._target.apply(settings)
        return Reloaded(loaded.problems, changes, len(settings.sites))

    def _failed(self, why: str) -> Reloaded:
        problem = Problem(str(self._loader.path), "", None, why, "what runs goes on as it was")
        return Reloaded((problem,), sites=len(self._target.settings.sites))


def _nobody(result: Reloaded) -> None:
    """A signal waits for no answer."""


def _tell(answer: Answer, result: Reloaded) -> None:
    try:
        answer(result)
    except Exception:
        _LOG.exception("the outcome of a reload could not be told to who asked for it")


def _differ(path: str, one: Mapping[str, Stamp | None], other: Mapping[str, Stamp | None]) -> bool:
    return (path in one) != (path in other) or one.get(path) != other.get(path)
