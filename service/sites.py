"""The sites of a running clew, by name and by the Host header of a request.

A site is compiled when it is first requested, and dropped when many others were requested since. One with
many rules is compiled in a thread: until then its pages are served without rules, and what asks for rules
waits. New settings are swapped in between two steps of the loop: a request in progress keeps the site that it
started with.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import islice

from ..referral.catalogue import Catalogue
from ..settings.changes import Changes
from ..settings.hosts import host_key, spellings
from ..settings.model import EventEndpoint, Partner, Rule, Settings, Site
from ..stores.ledger.rule_revisions import Stored
from .click_signs import Crowd, nobody
from .origin import LONGEST_HOST
from .rules_in_force import UnfitError, rules_of
from .site import SiteRuntime

# Maximum number of compiled sites: each takes some 30 KB, and a third of a millisecond to compile again.
KEPT = 1000
# Number of sites compiled at the start, so that the first visitor does not wait, and errors are found early.
AT_ONCE = 50
# Maximum number of removed partners that are remembered, for calls that were already due.
FORMER = 10_000
CLOCK_JUMPS = 20
# A site with more rules, or more bytes of a revision's JSON, is not compiled in the loop: a rule takes 50 µs.
MANY_RULES = 100
MANY_BYTES = 32 << 10


class SiteTable:
    """The sites of one version of the settings, by name and host. May be created in any thread."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.by_name: dict[str, Site] = {site.name: site for site in settings.sites}
        self.by_host = {host: site.name for site in settings.sites for host in site.hosts}
        # The site for every host that no other site has.
        self.any_host = next((site.name for site in settings.sites if not site.hosts), None)
        self.desk_host = host_key(settings.desk_host) if settings.desk_host else None
        prefixes = {site.prefix.encode("ascii") for site in settings.sites}
        self.prefixes = tuple(prefixes)
        self.roots = frozenset(prefix[:-1] for prefix in prefixes)
        self.hosts = sorted(self.by_host)
        self.at = lru_cache(maxsize=4096)(self._find)
        # Compiled sites that wait for the swap.
        self.compiled: dict[str, SiteRuntime] = {}

    def _find(self, host: str) -> str | None:
        return next((self.by_host[one] for one in spellings(host) if one in self.by_host), self.any_host)


class Sites(Mapping[str, SiteRuntime]):
    """The sites by name. The constructor compiles the first ones and raises the errors of `SiteRuntime`."""

    def __init__(self, settings: Settings, catalogue: Catalogue, kept: int = KEPT) -> None:
        self._catalogue = catalogue
        self._kept = kept
        self.table = SiteTable(settings)
        self._compiled: OrderedDict[str, SiteRuntime] = OrderedDict()
        # Sites that are being compiled in threads: how they stand without their rules, and the work.
        self._coming: dict[str, tuple[SiteRuntime, asyncio.Task[None]]] = {}
        self._former: OrderedDict[tuple[str, str], Partner] = OrderedDict()
        # Steps of the clock, for sites that are compiled later.
        self._set_back: tuple[tuple[float, float], ...] = ()
        self._crowd: Crowd = nobody
        # The newest revision of each site's rules; a site without one has those of its settings.
        self.stored: dict[str, Stored] = {}
        # Called for a revision that does not compile, after which `stored` has another one, or none.
        self.unfit: Callable[[Stored, UnfitError], None] = self._without
        for name in islice(self.table.by_name, min(AT_ONCE, kept)):
            self._compile(name)

    def endpoints(self) -> Iterator[tuple[str, EventEndpoint]]:
        """The endpoints for events of all sites, with the name of each one's site."""
        return ((name, one) for name, site in self.table.by_name.items() for one in site.endpoints)

    def __getitem__(self, name: str) -> SiteRuntime:
        site = self._compiled.get(name)
        if site is None:
            return self._compile(name)
        self._compiled.move_to_end(name)
        return site

    def at_once(self, name: str) -> SiteRuntime:
        """A site, for a request: the same as by its name, but one with many rules that has to be compiled
        comes without its rules (`ready` is false), and is compiled in a thread meanwhile."""
        if name in self._compiled or not self._has_many(name):
            return self[name]
        found = self._coming.get(name)
        if found is None:
            light = SiteRuntime(
                self.table.settings,
                self.table.by_name[name].model_copy(update={"rules": []}),
                self._catalogue,
            )
            light.ready = False
            self._equip(light)
            task = asyncio.get_running_loop().create_task(self._bring(name))
            # A failure is told to those who wait; if nobody does, the next request tries again.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            found = self._coming[name] = light, task
        return found[0]

    async def whole(self, name: str) -> SiteRuntime:
        """A site with its rules, waiting until they are compiled. Raises KeyError, and the errors of
        `SiteRuntime`."""
        while name not in self._compiled and self._has_many(name):
            self.at_once(name)
            await asyncio.shield(self._coming[name][1])
        return self[name]

    def _has_many(self, name: str) -> bool:
        stored = self.stored.get(name)
        if stored is None or stored.rules is None:
            return len(self.table.by_name[name].rules) > MANY_RULES
        return len(stored.rules) > MANY_BYTES

    async def _bring(self, name: str) -> None:
        """Compile a site in a thread, by the settings and the revision of the moment when that is done."""
        try:
            while name in self.table.by_name and name not in self._compiled:
                table, stored = self.table, self.stored.get(name)
                try:
                    site = await asyncio.to_thread(self.build, table, name, stored)
                except UnfitError as error:
                    if stored is not None and self.stored.get(name) is stored:
                        self.unfit(stored, error)
                    continue
                if self.table is table and self.stored.get(name) is stored and name not in self._compiled:
                    self._keep(site)
        finally:
            found = self._coming.get(name)
            if found is not None and found[1] is asyncio.current_task():
                del self._coming[name]

    def has_rules(self, name: str) -> bool:
        """Whether a site has rules, without compiling it."""
        stored = self.stored.get(name)
        if stored is None or stored.rules is None:
            return bool(self.table.by_name[name].rules)
        return stored.rules != "[]"

    def __contains__(self, name: object) -> bool:
        return name in self.table.by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self.table.by_name)

    def __len__(self) -> int:
        return len(self.table.by_name)

    def _compile(self, name: str) -> SiteRuntime:
        try:
            site = self.build(self.table, name, self.stored.get(name))
        except UnfitError as error:
            self.unfit(self.stored[name], error)
            return self._compile(name)
        self._keep(site)
        return site

    def build(self, table: SiteTable, name: str, stored: Stored | None) -> SiteRuntime:
        """Compile a site with a revision of its rules, in any thread. Raises UnfitError, and the errors of
        `SiteRuntime`."""
        return SiteRuntime(table.settings, table.by_name[name], self._catalogue, stored)

    def _equip(self, site: SiteRuntime) -> None:
        site.set_back(self._set_back)
        site.clicks.crowd = self._crowd

    def _keep(self, site: SiteRuntime) -> None:
        self._equip(site)
        self._compiled[site.name] = site
        if len(self._compiled) > self._kept:
            self._compiled.popitem(last=False)

    def _without(self, stored: Stored, error: UnfitError) -> None:
        self.stored.pop(stored.site, None)

    def use(self, site: SiteRuntime, stored: Stored | None) -> None:
        """Have a site, compiled from the current table, take the place of the one with the same name, in one
        step: a request that is under way keeps the one that it began with."""
        if stored is None:
            self.stored.pop(site.name, None)
        else:
            self.stored[site.name] = stored
        self._keep(site)

    def compiled(self) -> Sequence[str]:
        """The names of the sites that are compiled."""
        return [*self._compiled]

    def rules(self, name: str, having: str = "") -> Sequence[Rule]:
        """The rules of a site that are in force, without compiling it; of a revision without this text, none.
        One that does not parse has none either."""
        stored = self.stored.get(name)
        if stored is None or stored.rules is None:
            return self.table.by_name[name].rules
        try:
            return rules_of(stored.rules) if having in stored.rules else ()
        except UnfitError:
            return ()

    def count_clicks(self, crowd: Crowd) -> None:
        """Count clicks by client network with this counter."""
        self._crowd = crowd
        for site in self._compiled.values():
            site.clicks.crowd = crowd

    def verify(self) -> None:
        """Compile each site once, if the settings were not validated. Raises the errors of `SiteRuntime`."""
        self.try_out(self.table.settings)

    def try_out(self, settings: Settings) -> None:
        """The same for other settings, which are not used."""
        for site in settings.sites:
            SiteRuntime(settings, site, self._catalogue)

    def prepare(self, settings: Settings) -> SiteTable:
        """The table of other settings for `swap`, with the changed sites compiled if they are in use, so that
        no request waits for that: a site with 10,000 rules takes a second. May be called in any thread.
        Raises the errors of `SiteRuntime`."""
        table = SiteTable(settings)
        for name in Changes.between(self.table.by_name, table.by_name).changed:
            if name in self._compiled:
                # A revision that does not fit is told when the site is compiled again.
                with suppress(UnfitError):
                    table.compiled[name] = self.build(table, name, self.stored.get(name))
        return table

    def swap(self, settings: Settings, table: SiteTable | None = None) -> Changes:
        """Switch to these settings and return what changed. Unchanged sites stay compiled. `table` is the
        settings' table if it was already prepared."""
        table = table or SiteTable(settings)
        old, new = self.table.by_name, table.by_name
        changes = Changes.between(old, new)
        for name in (*changes.changed, *changes.removed):
            self._compiled.pop(name, None)
            self._coming.pop(name, None)
            staying = {partner.id for partner in new[name].partners} if name in new else set()
            for partner in old[name].partners:
                if partner.id not in staying:
                    self._former[name, partner.id] = partner
        while len(self._former) > FORMER:
            self._former.popitem(last=False)
        self.table = table
        for site in self._compiled.values():
            site.locate(settings)
        for name, compiled in table.compiled.items():
            stored = self.stored.get(name)
            # Another revision may have come meanwhile.
            if compiled.revision == (0 if stored is None else stored.number):
                self._keep(compiled)
        table.compiled.clear()
        return changes

    def clock_set_back(self, before: float, seconds: float) -> None:
        """Record that the clock was set back: earlier touches then seem later than they were, which matters
        for credit."""
        # Touches from before an earlier step now seem even later.
        earlier = [(at, step + seconds) for at, step in self._set_back]
        self._set_back = (*earlier, (before, seconds))[-CLOCK_JUMPS:]
        for site in self._compiled.values():
            site.set_back(self._set_back)

    def at(self, host: str) -> SiteRuntime | None:
        """The site for a Host header, or None; see `at_once`. A port is compared only if the settings have
        one."""
        table = self.table
        name = table.at(host) if len(host) <= LONGEST_HOST else table.any_host
        return None if name is None else self.at_once(name)

    def settings_of(self, name: str) -> Site | None:
        """A site's own settings, without those of its platform, and without compiling it."""
        return self.table.by_name.get(name)

    @property
    def hosts(self) -> list[str]:
        """All hosts of the settings, sorted."""
        return self.table.hosts

    def is_desk_host(self, host: str) -> bool:
        """Whether a Host header names the desk's own host (`desk_host`)."""
        desk_host = self.table.desk_host
        return desk_host is not None and host_key(host) == desk_host

    def own(self, path: bytes) -> bool:
        """Whether a raw path is under any site's prefix. No shop gets such a request, even for an unknown
        host."""
        return path.startswith(self.table.prefixes) or path in self.table.roots

    def partner(self, site: str, partner: str) -> Partner | None:
        """A partner by site and id, from the current settings, or from the last that had it: calls that were
        due when a partner was removed are still made."""
        found = self.table.by_name.get(site)
        for one in found.partners if found else ():
            if one.id == partner:
                return one
        return self._former.get((site, partner))
