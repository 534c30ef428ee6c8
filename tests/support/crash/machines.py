"""What gets killed: `clew serve` and its workers."""

import asyncio
import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from clews import ClewFolder
from processes import NotReadyError, Program, free_port

from .stores import Place, Stores

# A server that is killed again and again gets its address back, and is started by hand if it ends.
STARTS: Final = 20


class Machine:
    """One `clew serve` on a port that stays the same, with a folder of its own."""

    def __init__(
        self, folder: Path, settings: str, environ: Mapping[str, str], workers: int, place: Place
    ) -> None:
        self.address = place.host, free_port()
        self.events: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.replayed = 0
        self.home = ClewFolder(folder, settings, environ)
        self._workers = workers
        self._inside = place.inside
        self._program: Program | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        host, port = self.address
        command = [*self._inside, sys.executable, "-m", "clew", "serve", "--config", str(self.home.settings)]
        command += ["--host", host, "--port", str(port), "--workers", str(self._workers)]
        program = Program(command, environ=self.home.environ, cwd=self.home.path, on_line=self._heard)
        self._program = program
        try:
            program.wait_for_port(port, 60, host)
        except BaseException:
            self.kill()
            raise

    def revive(self) -> None:
        """Start it as a process manager would: again where it ends. Raises NotReadyError."""
        for left in reversed(range(STARTS)):
            try:
                self.start()
            except NotReadyError:
                if not left:
                    raise
                threading.Event().wait(0.5)
            else:
                return

    @property
    def last_words(self) -> str | None:
        """What it printed at the end, if it ended by itself; else None."""
        if self._program is None or self._program.running:
            return None
        return self._program.tail(5)

    def kill(self) -> None:
        """SIGKILL to all its processes."""
        if self._program is not None:
            self._program.kill()
            self._program = None

    def kill_worker(self, which: float) -> bool:
        """SIGKILL to one of its workers, chosen by any number; False where there is none."""
        workers = [] if self._program is None else _workers(self._program.pid)
        if not workers:
            return False
        with suppress(ProcessLookupError):
            os.kill(workers[int(which * 1000) % len(workers)], signal.SIGKILL)
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
            self.faults["traceback"] += line.startswith("Traceback")
            return
        self.events[str(found.get("event"))] += 1
        if found.get("event") == "fault":
            self.faults[f"{found.get('where')}: {str(found.get('error')).partition('(')[0]}"] += 1
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
        # What a machine said that ended by itself.
        self.ended: list[str] = []
        self._turns = [asyncio.Lock() for _ in machines]

    async def fail(self, kind: str, seconds: float) -> None:
        """Have something fail, and wait until it is there again."""
        what, _, number = kind.partition(" ")
        if what == "clew":
            machine = self.machines[int(number) - 1]
            async with self._turns[int(number) - 1]:
                await asyncio.to_thread(machine.kill)
                await asyncio.sleep(seconds)
                await asyncio.to_thread(machine.revive)
        elif kind == "worker":
            if not self.machines[0].kill_worker(seconds):
                return
        else:
            await asyncio.to_thread(self.stores.fail, kind, seconds)
        self.failures[kind] += 1

    async def mind(self) -> None:
        """Start whichever machine ends by itself, as a process manager does, until cancelled. It does when a
        worker is killed before the first one serves: it may be the settings."""
        while True:
            for machine, turn in zip(self.machines, self._turns, strict=True):
                async with turn:
                    if (words := machine.last_words) is not None:
                        self.ended.append(words)
                        await asyncio.to_thread(machine.kill)
                        await asyncio.to_thread(machine.revive)
            await asyncio.sleep(0.5)

    def total(self, event: str) -> int:
        """How often all machines logged an event."""
        return sum(machine.events[event] for machine in self.machines)
