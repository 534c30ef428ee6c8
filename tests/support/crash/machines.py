"""What gets killed: `clew serve`, its workers, and the servers of its stores."""

import asyncio
import json
import os
import signal
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final, Protocol

from clews import ClewFolder
from database_servers import free_port
from processes import NotReadyError, Program

# How long another program keeps the ledger's file locked: longer than clew waits before it takes its journal.
LOCK_SECONDS: Final = 1.5


class Stores(Protocol):
    """Where the ledger and the visits are."""

    machines: int
    workers: int
    kinds: Mapping[str, int]

    def start(self) -> None:
        """Make them ready."""

    def settings(self, folder: Path) -> str:
        """Their addresses in the settings of a machine."""

    def fail(self, kind: str, seconds: float) -> None:
        """Have one of them fail, for so many seconds."""

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What the ledger holds."""

    def remove(self) -> None:
        """Leave nothing behind."""


class SqliteStores:
    """Two files, and another program that locks the ledger now and then."""

    machines = 1
    workers = 2
    kinds: Mapping[str, int] = {"clew": 4, "worker": 3, "ledger locked": 3}

    def __init__(self, folder: Path) -> None:
        self._ledger = folder / "ledger.db"
        self._visits = folder / "visits.db"

    def start(self) -> None:
        """Nothing: clew makes them."""

    def settings(self, folder: Path) -> str:
        """Their addresses."""
        return f'store = "sqlite:{self._visits}"\nledger = "sqlite:{self._ledger}"\n'

    def fail(self, kind: str, seconds: float) -> None:
        """Lock the ledger."""
        with closing(sqlite3.connect(self._ledger, isolation_level=None, timeout=20)) as other:
            other.execute("BEGIN IMMEDIATE")
            threading.Event().wait(LOCK_SECONDS + seconds)
            other.execute("ROLLBACK")

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What the ledger holds."""
        with closing(sqlite3.connect(f"file:{self._ledger}?mode=ro", uri=True, timeout=20)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query)]

    def remove(self) -> None:
        """Nothing: they are in the run's folder."""


class Machine:
    """One `clew serve` on a port that stays the same, with a folder of its own."""

    def __init__(self, folder: Path, settings: str, environ: Mapping[str, str], workers: int) -> None:
        self.port = free_port()
        self.events: Counter[str] = Counter()
        self.replayed = 0
        self.cries: list[str] = []
        self.home = ClewFolder(folder, settings, environ)
        self._workers = workers
        self._program: Program | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        command = [sys.executable, "-m", "clew", "serve", "--config", str(self.home.settings)]
        command += ["--port", str(self.port), "--workers", str(self._workers)]
        program = Program(command, environ=self.home.environ, cwd=self.home.path, on_line=self._heard)
        self._program = program
        try:
            program.wait_for_port(self.port, 60)
        except BaseException:
            self.kill()
            raise

    def revive(self, tries: int) -> None:
        """Start it as whoever minds it would: once more where it ends, since a store may be down. Raises
        NotReadyError."""
        for left in reversed(range(tries)):
            try:
                self.start()
            except NotReadyError:
                if not left:
                    raise
                threading.Event().wait(0.5)
            else:
                return

    def kill(self) -> None:
        """SIGKILL to all its processes."""
        if self._program is not None:
            self._program.kill()
            self._program = None

    def kill_worker(self, which: float) -> bool:
        """SIGKILL to one of its workers, chosen by a number from 0 to 1; False where there is none."""
        workers = [] if self._program is None else _workers(self._program.pid)
        if not workers:
            return False
        with suppress(ProcessLookupError):
            os.kill(workers[int(which * len(workers)) % len(workers)], signal.SIGKILL)
        return True

    def end(self) -> None:
        """Stop it as a person would."""
        if self._program is not None:
            self._program.end()
            self._program = None

    def journal_bytes(self) -> int:
        """What waits in its journal."""
        return sum(file.stat().st_size for file in self.home.path.glob("orders.journal.*"))

    def _heard(self, line: str) -> None:
        found: Any = None
        with suppress(ValueError):
            found = json.loads(line)
        if not isinstance(found, dict):
            if "Traceback" in line and len(self.cries) < 100:
                self.cries.append(line)
            return
        self.events[str(found.get("event"))] += 1
        if found.get("event") == "journal_replayed":
            self.replayed += int(found["orders"])


def _workers(pid: int) -> list[int]:
    """The worker processes of a server, oldest first; not Python's resource tracker."""
    found = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in file.read_text().split():
            with suppress(OSError):
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(int(child))
    return sorted(found)


class Fleet:
    """All machines and their stores, one of which fails now and then."""

    def __init__(self, stores: Stores, machines: Sequence[Machine]) -> None:
        self.stores = stores
        self.machines = machines
        self.failures: Counter[str] = Counter()
        self._turn = 0

    @property
    def kinds(self) -> Mapping[str, int]:
        """What may fail, by weight."""
        return self.stores.kinds

    async def fail(self, kind: str, seconds: float) -> None:
        """Have something fail, and wait until it is there again."""
        self._turn += 1
        machine = self.machines[self._turn % len(self.machines)]
        if kind == "clew":
            await asyncio.to_thread(machine.kill)
            await asyncio.sleep(seconds)
            await asyncio.to_thread(machine.revive, 20)
        elif kind == "worker":
            if not machine.kill_worker(seconds / 1.5):
                return
        else:
            await asyncio.to_thread(self.stores.fail, kind, seconds)
        self.failures[kind] += 1

    def total(self, event: str) -> int:
        """How often all machines told of an event."""
        return sum(machine.events[event] for machine in self.machines)
