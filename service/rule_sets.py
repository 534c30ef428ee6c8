"""Has all processes run the newest revision of each site's rules.

A revision is written by the desk or by `clew rules`. Each process hears of it as of everything that is
written into the ledger, within a second. It compiles the rules in a thread, and swaps them in between two
steps of the loop: a decision sees the old rules or the new ones. Which revision is in force depends on the
ledger, the settings and the version of clew alone, so that all processes agree: the newest one that compiles,
or else the settings' rules.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from ..events.events import Events
from ..settings.changes import Changes
from ..settings.model import Site
from ..stores.ledger.rule_revisions import RuleRevisions, Stored
from .rule_checks import doubts
from .rules_in_force import UnfitError
from .site import SiteRuntime
from .sites import Sites

AT_ONCE: Final = 500
"""Revisions that are looked at together."""

AGAIN: Final = 2.0
"""Seconds until the ledger is asked again after it has failed."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A revision that does not compile, and why."""

    number: int
    why: str


class RuleSets:
    """The revisions of rules, as this process runs them. `later` runs work in the background."""

    def __init__(
        self,
        books: RuleRevisions,
        sites: Sites,
        events: Events,
        later: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._books = books
        self._sites = sites
        self._events = events
        self._later = later
        self._after: int | None = None  # the last row that was looked at
        self._refused: dict[str, Refused] = {}
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        sites.unfit = self._unfit

    def refused(self, site: str) -> Refused | None:
        """The newest revision of a site, if it does not compile."""
        return self._refused.get(site)

    def look(self) -> None:
        """Something was written into the ledger."""
        self._wake.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.refresh()
            except Exception as error:
                self._events.failed(error, site="", where="rules")
                await asyncio.sleep(AGAIN)
                self._wake.set()

    async def begin(self) -> None:
        """Read what is in force before the first visitor comes. If the ledger does not answer, sites begin
        with the rules of their settings. Never raises."""
        try:
            await self.refresh()
        except Exception as error:
            self._events.failed(error, site="", where="rules")
            self._wake.set()

    async def refresh(self) -> None:
        """Take what was written since the last time. Raises LedgerError."""
        async with self._turn:
            if self._after is None:
                await self._read_all()
                return
            while rows := await self._books.after(self._after, AT_ONCE):
                for site in dict.fromkeys(site for _, site in rows):
                    await self._take(site)
                self._after = rows[-1][0]

    async def _read_all(self) -> None:
        last = await self._books.last()
        compiled = {name: self._sites.stored.get(name) for name in self._sites.compiled()}
        for one in await self._books.all_stored(last):
            self._sites.stored[one.site] = one
        for name, before in compiled.items():
            if self._sites.stored.get(name) != before:
                await self._take(name)
        self._after = last

    async def take(self, site: str) -> None:
        """Compile the newest revision of a site that compiles, and use it. Raises LedgerError."""
        async with self._turn:
            await self._take(site)

    async def _take(self, site: str) -> None:
        before = self._sites.stored.get(site)
        newest = stored = await self._books.stored(site)
        refused: Refused | None = None
        while True:
            try:
                runtime = await self._compiled(site, stored)
                break
            except UnfitError as error:
                assert stored is not None
                refused = refused or Refused(stored.number, str(error))
                stored = await self._books.stored(site, stored.number)
        if refused is None:
            self._refused.pop(site, None)
        else:
            self._refused[site] = refused
        if runtime is None:  # the settings do not have this site now
            if newest is not None:
                self._sites.stored[site] = newest
            return
        self._sites.use(runtime, stored)
        number = 0 if stored is None else stored.number
        if refused is not None:
            self._events.notice(
                *("rules_refused",),
                site=site,
                key=str(refused.number),
                revision=refused.number,
                why=refused.why,
                in_force=number,
            )
        if stored is not None and stored.number != (0 if before is None else before.number):
            self._events.emit(
                *("rules_changed",),
                site=site,
                revision=number,
                by=stored.by,
                rules=len(runtime.settings.rules),
                settings=stored.rules is None,
            )

    async def _compiled(self, site: str, stored: Stored | None) -> SiteRuntime | None:
        """A site by the settings of now, compiled in a thread; None if they do not have it. Raises
        UnfitError."""
        while site in self._sites:
            table = self._sites.table
            runtime = await asyncio.to_thread(self._sites.build, table, site, stored)
            if self._sites.table is table:
                return runtime
        return None

    def _unfit(self, stored: Stored, error: UnfitError) -> None:
        """A revision did not compile as a site was first requested: until an earlier one is found, it has the
        rules of its settings."""
        self._sites.stored.pop(stored.site, None)
        self._refused[stored.site] = Refused(stored.number, str(error))
        self._later(self._find_other(stored.site))

    async def _find_other(self, site: str) -> None:
        try:
            await self.take(site)
        except Exception as error:
            self._events.failed(error, site=site, where="rules")

    # -- new settings

    def swapped(self, changes: Changes) -> None:
        """New settings are in use: a revision that did not compile may do so now."""
        for name in changes.changed:
            if name in self._refused:
                self._later(self._find_other(name))

    async def review(self, before: dict[str, Site], changes: Changes) -> None:
        """Report what new settings mean for rules that people have set: they stay in force, whatever the
        settings say. `before` are the sites of the old settings."""
        for name in (*changes.changed, *changes.added):
            stored, site = self._sites.stored.get(name), self._sites.settings_of(name)
            if stored is None or stored.rules is None or site is None:
                continue
            old = before.get(name)
            if old is not None and old.rules != site.rules:
                self._events.notice("rules_overridden", site=name, key="settings", revision=stored.number)
            try:
                found = await asyncio.to_thread(doubts, stored, site)
            except Exception as error:
                self._events.failed(error, site=name, where="rules")
                continue
            if found:
                self._events.notice(
                    *("rules_doubtful",),
                    site=name,
                    key=str(stored.number),
                    revision=stored.number,
                    why="; ".join(found),
                )
