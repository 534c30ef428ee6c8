"""The server's processes: one, or several workers. A worker that dies is replaced, within bounds; one that
can never start ends the whole with its status. Other settings are taken by all workers or by none."""

import logging
import pickle
import queue
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import Pipe
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from ...service.swapping import SWAP_SECONDS
from ...settings.changes import Changes
from ...settings.load import Problem
from ...settings.loader import Loader
from ...settings.model import Settings
from ...settings.reloading import Reloader, ReloadError
from . import control
from .following import Follower, Update
from .running import Running, ServeConfig, say_where
from .terminal import Terminal

# A worker that dies is replaced; so many in so many seconds, and something is wrong that a restart does not
# mend: whoever started clew has to hear of it.
MOST_RESTARTS = 10
WITHIN_SECONDS = 60.0
# A worker that does not answer for so long hangs. Its first answer comes after its imports.
HUNG_SECONDS = 30.0
# How long a worker that serves may take to make other settings ready; one that starts takes them in any case
# before it serves.
PREPARE_SECONDS = 10.0
STARTING_SECONDS = 1.0

_LOG = logging.getLogger("clew.proxy")


class Worker(Process):
    """One worker. Asked whether it lives without waiting for the answer: a signal to stop must not wait for a
    worker that is still starting, as it does in uvicorn's own."""

    was_ready = False
    _asked: float | None = None
    _outbox: "queue.SimpleQueue[object] | None" = None
    _reading: "threading.Lock | None" = None

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], base: int) -> None:
        self._base = base
        self._orders, self._obeys = Pipe()
        super().__init__(config, sockets)

    @property
    def server(self) -> uvicorn.Server:
        """The server that runs in the worker."""
        if self._server is None:
            self._server = Running(self.config)
        return self._server

    def start(self) -> None:
        """Start it."""
        super().start()
        self._obeys.close()
        # A pipe that is full must not hold up whoever sends: the worker may be starting, or hang.
        self._outbox, self._reading = queue.SimpleQueue(), threading.Lock()
        arguments = (self._outbox, self._reading)
        threading.Thread(target=self._send_all, args=arguments, name="clew-orders", daemon=True).start()

    def _send_all(self, outbox: "queue.SimpleQueue[object]", reading: threading.Lock) -> None:
        # Nobody reads any more once the worker has ended: sending fails then, and does not wait.
        with suppress(OSError, ValueError):
            while (message := outbox.get()) is not None:
                self._orders.send(message)
        with reading:
            self._orders.close()

    def close(self) -> None:
        """Give back what its orders were sent with, once it has ended."""
        if self._outbox is not None:
            self._outbox.put(None)

    def send(self, *message: object) -> None:
        """Send an order; see `Follower`."""
        if self._outbox is not None:
            self._outbox.put(message)

    def answer(self, kind: str, number: int, seconds: float) -> Any:
        """Wait for the answer to an order of this number; None if it does not come."""
        until = time.monotonic() + seconds
        assert self._reading is not None
        with suppress(OSError, EOFError, pickle.UnpicklingError):
            while self.process.is_alive() and (left := until - time.monotonic()) > 0:
                with self._reading:
                    if not self._orders.poll(min(left, 0.2)):
                        continue
                    found_kind, found_number, value = self._orders.recv()
                if (found_kind, found_number) == (kind, number):
                    return value
        return None

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """What runs in the worker; it says by itself that it serves, and does not wait to be asked."""
        # It is for the process that started it, which reloads for all.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        server = self.server
        assert isinstance(server, Running)
        server.on_started = lambda: self.child_conn.send(True)
        server.follower = Follower(self._obeys, self._base)
        super().target(sockets)

    def is_alive(self, timeout: float = HUNG_SECONDS) -> bool:
        """Whether it runs, and has answered within `timeout` seconds."""
        now = time.monotonic()
        try:
            # First what it said before it died.
            while self.parent_conn.poll(0):
                self.was_ready |= self.parent_conn.recv() is True
                self._asked = None
            if self._asked is None:
                self.parent_conn.send(b"ping")
                self._asked = now
        except (OSError, EOFError, pickle.UnpicklingError):
            return False
        return self.process.is_alive() and now - self._asked < timeout

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_outbox", "_reading")}


class Workers(Multiprocess):
    """All workers. `status` is the exit status of the whole: 0, or that of the worker that failed."""

    processes: list[Process]

    def __init__(self, config: ServeConfig, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self.status = 0
        self.reloader: Reloader | None = None
        self._terminal = Terminal()
        self._once_ready = False
        self._deaths: deque[float] = deque(maxlen=MOST_RESTARTS)
        # A worker that is started meanwhile takes either the old settings and the order, or the new ones.
        self._lock = threading.Lock()
        self._number = 0
        # The number of the swap that brought the settings in use.
        self._swapped = 0

    def init_processes(self) -> None:
        """Start them."""
        for _ in range(self.processes_num):
            self._start_at(None)

    def keep_subprocess_alive(self) -> None:
        """Replace those that have died, unless that is of no use."""
        for place, process in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            assert isinstance(process, Worker)
            alive = process.is_alive()
            if process.was_ready and not self._once_ready:
                self._once_ready = True
                assert isinstance(self.config, ServeConfig)
                say_where(self.sockets, self.config.ops)
            if alive:
                continue
            hung = process.exitcode is None
            process.kill()
            process.join()
            process.close()
            if not self._may_go_on(process, hung):
                self.should_exit.set()
                return
            self._start_at(place)

    def handle_hup(self) -> None:
        """SIGHUP: read the settings again, or, where it says that the terminal has gone, stop."""
        if self._terminal.has_gone():
            self.should_exit.set()
        elif self.reloader is not None:
            self.reloader.request()

    def handle_ttin(self) -> None:
        """SIGTTIN: one worker more."""
        self.processes_num += 1
        self._start_at(None)

    def handle_ttou(self) -> None:
        """SIGTTOU: one worker less, but the last."""
        if self.processes_num <= 1:
            return
        self.processes_num -= 1
        with self._lock:
            worker = self.processes.pop()
        worker.terminate()
        worker.join()
        assert isinstance(worker, Worker)
        worker.close()

    def _start_at(self, place: int | None) -> None:
        with self._lock:
            worker = Worker(self.config, self.sockets, self._swapped)
            worker.start()
            if place is None:
                self.processes.append(worker)
            else:
                self.processes[place] = worker

    def _may_go_on(self, worker: Worker, hung: bool) -> bool:
        ended = "did not answer" if hung else f"ended with status {_status(worker.exitcode)}"
        if not self._once_ready:
            # None has ever served: the same would happen again (settings, ledger, addresses).
            self.status = _status(worker.exitcode)
            _LOG.error("a worker could not start and %s; its error stands above. clew stops", ended)
            return False
        now = time.monotonic()
        full = len(self._deaths) == MOST_RESTARTS
        if full and now - self._deaths[0] < WITHIN_SECONDS:
            self.status = _status(worker.exitcode)
            _LOG.error(
                "worker %s %s, and %d were replaced within %d seconds. clew stops",
                *(worker.pid, ended, MOST_RESTARTS, WITHIN_SECONDS),
            )
            return False
        self._deaths.append(now)
        _LOG.warning("worker %s %s; another one is started", worker.pid, ended)
        return True

    # -- other settings: called from the reloader's thread

    @property
    def settings(self) -> Settings:
        """See `Target`."""
        assert isinstance(self.config, ServeConfig)
        return self.config.app.settings

    def apply(self, settings: Settings) -> Changes:
        """See `Target`. First every worker makes the settings ready, then all are told to swap."""
        assert isinstance(self.config, ServeConfig)
        update = Update.between(self.config.app.settings, settings, self._swapped)
        with self._lock:
            self._number = number = self._number + 1
            asked = self._workers()
            for worker in asked:
                worker.send("prepare", number, update)
        begun = time.monotonic()
        for worker in asked:
            patience = begun + (PREPARE_SECONDS if worker.was_ready else STARTING_SECONDS)
            why = worker.answer("ready", number, max(0.0, patience - time.monotonic()))
            if why != "" and (why is not None or worker.was_ready) and worker.process.is_alive():
                for other in asked:
                    other.send("drop", number)
                raise ReloadError(f"worker {worker.pid} {why or 'did not answer'}")
        with self._lock:
            self.config.app.settings = settings
            self._swapped = number
            workers = self._workers()
            for worker in workers:
                if worker not in asked:
                    worker.send("prepare", number, update)
                worker.send("swap", number, worker is workers[0])
        for worker in asked:
            if worker.was_ready and worker.answer("swapped", number, SWAP_SECONDS) is None:
                _LOG.warning("worker %s did not say that it serves by the new settings", worker.pid)
        return update.changes

    def unchanged(self) -> None:
        """See `Target`."""
        self._tell_one("unchanged", None)

    def refuse(self, problems: Sequence[Problem], *, asked: bool) -> None:
        """See `Target`."""
        self._tell_one("refused", (list(problems), asked))

    def _tell_one(self, kind: str, value: object) -> None:
        with self._lock:
            for worker in self._workers()[:1]:
                worker.send(kind, 0, value)

    def _workers(self) -> list[Worker]:
        return [worker for worker in self.processes if isinstance(worker, Worker)]


def _status(code: int | None) -> int:
    """A worker's exit code as the status of the whole, which is never that of success."""
    if code is None or code == 0:
        return 1
    return 128 - code if code < 0 else code


def run(config: ServeConfig, sockets: Sequence[socket.socket], loader: Loader) -> None:
    """Serve until a signal. Raises SystemExit where a server could not start, or went on failing."""
    config.configure_logging()
    listening = control.listen(loader.path)
    target = Workers(config, list(sockets)) if config.workers > 1 else Running(config)
    reloader = Reloader(loader, target, listening, control.questions)
    if isinstance(target, Workers):
        _run_workers(target, reloader)
    else:
        _run_one(target, list(sockets), reloader)


def _run_workers(workers: Workers, reloader: Reloader) -> None:
    workers.reloader = reloader
    reloader.start()
    workers.run()
    reloader.stop()
    if workers.status:
        sys.exit(workers.status)


def _run_one(server: Running, sockets: list[socket.socket], reloader: Reloader) -> None:
    server.on_started = reloader.start
    terminal = Terminal()

    def hang_up(*_: object) -> None:
        if terminal.has_gone():
            signal.raise_signal(signal.SIGTERM)
        else:
            reloader.request()

    signal.signal(signal.SIGHUP, hang_up)
    # uvicorn raises the signal once more when all is done; told to stop, a program that stops has not failed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server.run(sockets)
    except KeyboardInterrupt:
        return
    finally:
        reloader.stop()
    if not server.started:
        sys.exit(STARTUP_FAILURE)
