"""The server's processes: one, or several workers. A worker that dies is replaced, within limits; if none can
start, the server exits with its status. New settings are used by all workers or by none."""

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
from .running import Running, ServeConfig, print_addresses
from .terminal import Terminal, hold_hang_up, release_hang_up

# After so many restarts in so many seconds the server stops: a restart does not fix the cause, and the
# process manager has to know.
MOST_RESTARTS = 10
WITHIN_SECONDS = 60.0
# A worker that does not answer a ping for this long hangs. It answers the first one after its imports, which
# takes a second; on a machine that is overloaded while it starts everything again, a minute.
HUNG_SECONDS = 30.0
IMPORT_SECONDS = 120.0
# How long a serving worker may take to prepare new settings; a starting one takes them before it serves in
# any case.
PREPARE_SECONDS = 10.0
STARTING_SECONDS = 1.0

_LOG = logging.getLogger("clew.proxy")


class Worker(Process):
    """One worker process. A ping does not wait for its answer: a signal to stop must not wait for a worker
    that is still starting, as it does in uvicorn's own class."""

    was_ready = False
    _pinged_at: float | None = None
    _answered = False
    _outbox: "queue.SimpleQueue[object] | None" = None
    _reading: "threading.Lock | None" = None

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], base: int) -> None:
        self._base = base
        self._commands, self._worker_end = Pipe()
        super().__init__(config, sockets)

    @property
    def server(self) -> uvicorn.Server:
        """The server that runs in the worker."""
        if self._server is None:
            self._server = Running(self.config)
        return self._server

    def start(self) -> None:
        """Start the process."""
        super().start()
        self._worker_end.close()
        # A full pipe must not block the sender: the worker may be starting, or hang.
        self._outbox, self._reading = queue.SimpleQueue(), threading.Lock()
        arguments = (self._outbox, self._reading)
        threading.Thread(target=self._send_all, args=arguments, name="clew-commands", daemon=True).start()

    def _send_all(self, outbox: "queue.SimpleQueue[object]", reading: threading.Lock) -> None:
        # After the worker has ended, sending fails instead of blocking.
        with suppress(OSError, ValueError):
            while (message := outbox.get()) is not None:
                self._commands.send(message)
        with reading:
            self._commands.close()

    def close(self) -> None:
        """Close the pipe of the commands, after the worker has ended."""
        if self._outbox is not None:
            self._outbox.put(None)

    def send(self, *message: object) -> None:
        """Send a command; see `Follower`."""
        if self._outbox is not None:
            self._outbox.put(message)

    def reply(self, kind: str, number: int, seconds: float) -> Any:
        """Wait for the reply to the command of this number; None if there is none in time."""
        until = time.monotonic() + seconds
        assert self._reading is not None
        with suppress(OSError, EOFError, pickle.UnpicklingError):
            while self.process.is_alive():
                # What has come is read, also if another worker took all the time.
                left = max(0.0, until - time.monotonic())
                with self._reading:
                    if not self._commands.poll(min(left, 0.2)):
                        if left:
                            continue
                        return None
                    found_kind, found_number, value = self._commands.recv()
                if (found_kind, found_number) == (kind, number):
                    return value
        return None

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """The main function of the worker. It reports without being asked when it serves."""
        # The parent process handles it, and reloads for all workers.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        server = self.server
        assert isinstance(server, Running)
        server.on_started = lambda: self.child_conn.send(True)
        server.follower = Follower(self._worker_end, self._base)
        super().target(sockets)

    def is_alive(self, timeout: float = HUNG_SECONDS) -> bool:
        """Whether it runs, and has answered within `timeout` seconds (the first time, IMPORT_SECONDS)."""
        now = time.monotonic()
        try:
            # First the messages from before it died.
            while self.parent_conn.poll(0):
                self.was_ready |= self.parent_conn.recv() is True
                self._pinged_at = None
                self._answered = True
            if self._pinged_at is None:
                self.parent_conn.send(b"ping")
                self._pinged_at = now
        except (OSError, EOFError, pickle.UnpicklingError):
            return False
        patience = timeout if self._answered else max(timeout, IMPORT_SECONDS)
        return self.process.is_alive() and now - self._pinged_at < patience

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_outbox", "_reading")}


class Workers(Multiprocess):
    """All workers. `status` is the exit status of the server: 0, or that of the worker that failed."""

    processes: list[Process]

    def __init__(self, config: ServeConfig, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self.status = 0
        self.reloader: Reloader | None = None
        self._terminal = Terminal()
        self._once_ready = False
        self._deaths: deque[float] = deque(maxlen=MOST_RESTARTS)
        # A worker that is started meanwhile gets either the old settings and the command, or the new ones.
        self._lock = threading.Lock()
        self._number = 0
        # The number of the swap that brought the settings in use.
        self._swapped = 0

    def init_processes(self) -> None:
        """Start them."""
        for _ in range(self.processes_num):
            self._start_at(None)
        assert isinstance(self.config, ServeConfig)
        if self.config.socket_taken[1]:
            self._send_to_one("socket_taken", self.config.socket_taken)

    def keep_subprocess_alive(self) -> None:
        """Replace workers that have died, unless the server has to stop."""
        for place, process in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            assert isinstance(process, Worker)
            alive = process.is_alive()
            if process.was_ready and not self._once_ready:
                self._once_ready = True
                assert isinstance(self.config, ServeConfig)
                print_addresses(self.sockets, self.config.ops)
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
        """SIGHUP: reload the settings, or stop if the terminal was closed."""
        if self._terminal.has_gone():
            self.should_exit.set()
        elif self.reloader is not None:
            self.reloader.request()

    def handle_ttin(self) -> None:
        """SIGTTIN: start one more worker."""
        self.processes_num += 1
        self._start_at(None)

    def handle_ttou(self) -> None:
        """SIGTTOU: stop one worker, unless it is the last."""
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
            # A process has the signals held that its parent holds: it would end while it still imports.
            hold_hang_up()
            try:
                worker.start()
            finally:
                release_hang_up()
            if place is None:
                self.processes.append(worker)
            else:
                self.processes[place] = worker

    def _may_go_on(self, worker: Worker, hung: bool) -> bool:
        ended = "did not answer" if hung else f"ended with status {_status(worker.exitcode)}"
        if not self._once_ready:
            # No worker has served yet: a restart would fail the same way (settings, ledger, addresses).
            self.status = _status(worker.exitcode)
            _LOG.error("a worker could not start and %s; its error is logged above. clew stops", ended)
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
        _LOG.warning("worker %s %s; a new one is started", worker.pid, ended)
        return True

    # -- other settings: called from the reloader's thread

    @property
    def settings(self) -> Settings:
        """See `Target`."""
        assert isinstance(self.config, ServeConfig)
        return self.config.app.settings

    def apply(self, settings: Settings) -> Changes:
        """See `Target`. First every worker prepares the settings, then all swap them in."""
        assert isinstance(self.config, ServeConfig)
        update = Update.between(self.config.app.settings, settings, self._swapped)
        with self._lock:
            self._number = number = self._number + 1
            recipients = self._workers()
            for worker in recipients:
                worker.send("prepare", number, update)
        begun = time.monotonic()
        for worker in recipients:
            patience = begun + (PREPARE_SECONDS if worker.was_ready else STARTING_SECONDS)
            why = worker.reply("ready", number, max(0.0, patience - time.monotonic()))
            if why != "" and (why is not None or worker.was_ready) and worker.process.is_alive():
                for other in recipients:
                    other.send("drop", number)
                raise ReloadError(f"worker {worker.pid} {why or 'did not answer'}")
        with self._lock:
            self.config.app.settings = settings
            self._swapped = number
            workers = self._workers()
            for worker in workers:
                if worker not in recipients:
                    worker.send("prepare", number, update)
                worker.send("swap", number, worker is workers[0])
        until = time.monotonic() + SWAP_SECONDS
        for worker in recipients:
            left = max(0.0, until - time.monotonic())
            if worker.was_ready and worker.reply("swapped", number, left) is None:
                _LOG.warning("worker %s did not confirm that it uses the new settings", worker.pid)
        return update.changes

    def unchanged(self) -> None:
        """See `Target`."""
        self._send_to_one("unchanged", None)

    def refuse(self, problems: Sequence[Problem], *, requested: bool) -> None:
        """See `Target`."""
        self._send_to_one("refused", (list(problems), requested))

    def _send_to_one(self, kind: str, value: object) -> None:
        with self._lock:
            for worker in self._workers()[:1]:
                worker.send(kind, 0, value)

    def _workers(self) -> list[Worker]:
        return [worker for worker in self.processes if isinstance(worker, Worker)]


def _status(code: int | None) -> int:
    """A worker's exit code as the server's exit status, which is never 0."""
    if code is None or code == 0:
        return 1
    return 128 - code if code < 0 else code


def run(config: ServeConfig, sockets: Sequence[socket.socket], loader: Loader) -> None:
    """Serve until a signal. Raises SystemExit if the server could not start, or its workers kept failing."""
    config.configure_logging()
    listening = control.listen(loader.path)
    config.socket_taken = (listening.taken_by, listening.warning)
    target = Workers(config, list(sockets)) if config.workers > 1 else Running(config)
    reloader = Reloader(loader, target)
    requests = control.Control(listening.sockets, reloader.ask)
    if isinstance(target, Workers):
        _run_workers(target, reloader, requests)
    else:
        _run_one(target, list(sockets), reloader, requests)


def _run_workers(workers: Workers, reloader: Reloader, requests: control.Control) -> None:
    workers.reloader = reloader
    reloader.start()
    requests.start()
    release_hang_up()
    workers.run()
    reloader.stop()
    requests.stop()
    if workers.status:
        sys.exit(workers.status)


def _run_one(
    server: Running, sockets: list[socket.socket], reloader: Reloader, requests: control.Control
) -> None:
    def started() -> None:
        reloader.start()
        requests.start()

    server.on_started = started
    terminal = Terminal()

    def hang_up(*_: object) -> None:
        if terminal.has_gone():
            signal.raise_signal(signal.SIGTERM)
        else:
            reloader.request()

    signal.signal(signal.SIGHUP, hang_up)
    release_hang_up()
    # uvicorn raises the signal once more after the shutdown; a stop on SIGTERM is not a failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server.run(sockets)
    except KeyboardInterrupt:
        return
    finally:
        reloader.stop()
        requests.stop()
    if not server.started:
        sys.exit(STARTUP_FAILURE)
