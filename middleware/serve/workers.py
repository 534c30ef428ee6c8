"""The server's processes: one, or several workers. A worker that dies is replaced, within bounds; one that
can never start ends the whole with its status."""

import logging
import pickle
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from .running import Running, ServeConfig, say_where

# A worker that dies is replaced; so many in so many seconds, and something is wrong that a restart does not
# mend: whoever started clew has to hear of it.
MOST_RESTARTS = 10
WITHIN_SECONDS = 60.0
# A worker that does not answer for so long hangs. Its first answer comes after its imports.
HUNG_SECONDS = 30.0

_LOG = logging.getLogger("clew.proxy")


class Worker(Process):
    """One worker. Asked whether it lives without waiting for the answer: a signal to stop must not wait for a
    worker that is still starting, as it does in uvicorn's own."""

    was_ready = False
    _asked: float | None = None

    @property
    def server(self) -> uvicorn.Server:
        """The server that runs in the worker."""
        if self._server is None:
            self._server = Running(self.config)
        return self._server

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """What runs in the worker; it says by itself that it serves, and does not wait to be asked."""
        server = self.server
        assert isinstance(server, Running)
        server.on_started = lambda: self.child_conn.send(True)
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


class Workers(Multiprocess):
    """All workers. `status` is the exit status of the whole: 0, or that of the worker that failed."""

    processes: list[Process]

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self.status = 0
        self._once_ready = False
        self._deaths: deque[float] = deque(maxlen=MOST_RESTARTS)

    def init_processes(self) -> None:
        """Start them."""
        for _ in range(self.processes_num):
            self.processes.append(self._started())

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
            if not self._may_go_on(process, hung):
                self.should_exit.set()
                return
            self.processes[place] = self._started()

    def _started(self) -> Worker:
        worker = Worker(self.config, self.sockets)
        worker.start()
        return worker

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


def _status(code: int | None) -> int:
    """A worker's exit code as the status of the whole, which is never that of success."""
    if code is None or code == 0:
        return 1
    return 128 - code if code < 0 else code


def run(config: ServeConfig, sockets: Sequence[socket.socket]) -> None:
    """Serve until a signal. Raises SystemExit where a server could not start, or went on failing."""
    config.configure_logging()
    if config.workers > 1:
        workers = Workers(config, list(sockets))
        workers.run()
        if workers.status:
            sys.exit(workers.status)
        return
    server = Running(config)
    # uvicorn raises the signal once more when all is done; told to stop, a program that stops has not failed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server.run(list(sockets))
    except KeyboardInterrupt:
        return
    if not server.started:
        sys.exit(STARTUP_FAILURE)
