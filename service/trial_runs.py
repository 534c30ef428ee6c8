"""Tries drafts of rules for the pages of the desk, in a program of its own; one at a time, and never the same
twice within minutes."""

import asyncio
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from hashlib import blake2b
from typing import IO, Any, Final

import msgspec

from ..events.events import Events
from ..settings.model import Site
from ..stores.ledger.books import Ledger
from .clock import Clock
from .programs import ProgramError, Programs
from .rule_trials import DAY, shown_invites
from .trial_program import Result, Trial, settings_of

VIEWS: Final = 20_000
"""Page views that are tried: the newest."""

SECONDS: Final = 10.0
"""A trial ends after this time; what it starts with and reads takes a few seconds more."""

ENDS: Final = 60.0
FRESH: Final = 300.0
"""How long a result is taken as it is, in seconds."""

WAIT: Final = 15.0
"""How long a page waits for a result; one that takes longer is there the next time."""

KEPT: Final = 50
WAITING: Final = 10
"""Trials that may wait for their turn, of all sites; of a site one."""

_Key = tuple[str, bytes, float]


class BusyError(Exception):
    """Others are being tried; the text says what to do."""


class TrialRuns:
    """The trials of all sites. `later` runs work in the background."""

    def __init__(
        self,
        ledger: Ledger,
        events: Events,
        clock: Clock,
        later: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._ledger = ledger
        self._events = events
        self._clock = clock
        self._later = later
        self._programs = Programs()
        self._turn = asyncio.Lock()
        self._kept: OrderedDict[_Key, tuple[float, Result]] = OrderedDict()
        self._under_way: dict[str, tuple[_Key, asyncio.Future[Result]]] = {}

    async def of(self, site: Site, rules: str, days: float, wait: float = WAIT) -> Result | None:
        """What rules (JSON, as they were checked) come to on the last days; None if that takes longer than
        `wait` seconds, and it is being found out. Raises BusyError, ProgramError and the ledger's errors."""
        settings = msgspec.json.encode(settings_of(site))
        key = (site.name, blake2b(settings + rules.encode(), digest_size=16).digest(), days)
        now = self._clock.now()
        kept = self._kept.get(key)
        if kept is not None and abs(now - kept[0]) < FRESH:
            return kept[1]
        under_way = self._under_way.get(site.name)
        if under_way is None:
            if len(self._under_way) >= WAITING:
                raise BusyError("Rules of other sites are being tried. Try again in a minute")
            made = asyncio.get_running_loop().create_future()
            under_way = self._under_way[site.name] = key, made
            self._later(self._make(site, rules, days, key, made))
        elif under_way[0] != key:
            raise BusyError("Other rules of this site are being tried. Try again in a minute")
        done, _ = await asyncio.wait({under_way[1]}, timeout=wait)
        return under_way[1].result() if done else None

    async def _make(
        self, site: Site, rules: str, days: float, key: _Key, made: "asyncio.Future[Result]"
    ) -> None:
        try:
            async with self._turn:
                found = await self._tried(site, rules, days)
        except Exception as error:
            self._events.failed(error, site=site.name, where="rule trial")
            made.set_exception(error)
            # Nobody may be waiting any more.
            made.exception()
        except BaseException:
            made.cancel()
            raise
        else:
            self._kept.pop(key, None)
            self._kept[key] = self._clock.now(), found
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            made.set_result(found)
        finally:
            del self._under_way[site.name]

    async def _tried(self, site: Site, rules: str, days: float) -> Result:
        now = self._clock.now()
        shown = await shown_invites(self._ledger, site, now)
        trial = Trial(settings_of(site), rules, shown, now, SECONDS)
        with tempfile.TemporaryFile() as file:
            await asyncio.to_thread(_write, file, trial)
            async for rows in self._ledger.traffic.batches(site.name, now - days * DAY, VIEWS):
                await asyncio.to_thread(_write, file, rows)
            await asyncio.to_thread(file.flush)
            command = [sys.executable, "-I", "-m", f"{__package__}.trial_program"]
            ended = await self._programs.run(command, file, ENDS)
        if ended.code:
            raise ProgramError(f"the trial ended with {ended.code}")
        return await asyncio.to_thread(msgspec.json.decode, ended.output, type=Result)


def _write(file: IO[bytes], line: Any) -> None:
    file.write(msgspec.json.encode(line) + b"\n")
