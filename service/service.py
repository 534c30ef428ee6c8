"""A running clew: its sites and its stores, for as long as the process lives."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from ..chat.hub import Hub
from ..events.journal import Journal
from ..orders.model import OrderSeen
from ..orders.unmatched import Unmatched
from ..postbacks.delivery import Worker
from ..referral.catalogue import load as load_catalogue
from ..referral.touches import Touch
from ..settings.model import Settings
from ..stores.housekeeping import PRUNE_EVERY
from ..stores.ledger.books import Ledger
from ..stores.ledger.database import sqlite_path
from ..stores.ledger.orders import Recorded
from ..stores.ledger.probe import Fresh, Probe
from ..stores.visits import SqliteVisits, Visits
from .asking import Timely
from .clock import Clock
from .facts import Desk, LedgerFacts
from .limits import Limits, network_of
from .ordering import recording as ordering
from .ordering.doubts import Shown
from .ordering.reading import PageReader
from .presence import Presence
from .site import SiteRuntime
from .sites import Sites
from .watch import Watch

DESK_MAX_AGE = 2.0
NOTICES_EVERY = 3.0  # one transaction for all that was noticed meanwhile
STOP_SECONDS = 10
KNOWN_HOSTS = 20  # that are listed where a host fits none


class StoreAddressError(ValueError):
    """The `store` setting is no place where clew can keep visits."""


class Service:
    """Build it, `start` it in the loop it shall live in, `stop` it.

    Building raises what the settings' parts raise; `clew check` finds the same beforehand, all at once.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        catalogue = load_catalogue()
        self.sites = Sites(settings, catalogue)
        self.registry = CollectorRegistry()
        self.journal = Journal(self.registry)
        self.pages = PageReader(self.journal)
        self.limits = Limits(settings.limits, self.journal, self.monotonic)
        self._clock = Clock(self._clock_jumped)
        self.unmatched = Unmatched(self.journal)
        self.hub = Hub()
        self.ledger = Ledger(settings.ledger)
        self.visits: Visits = self._visit_store(settings.store)
        self.worker = Worker(
            self.ledger.outbox,
            self.sites.partner,
            catalogue.networks,
            settings.delivery,
            self.now,
            self.journal,
        )
        self.presence = Presence(self)
        self.watch = Watch(self)
        self.asking = Timely[LedgerFacts](self._no_facts)
        self.ledger_probe = Probe(lambda: self.ledger.db.probe(self.now()), self._not_writable)
        # By site and state. Counting them goes through all there ever were.
        self.postback_counts = Fresh(lambda: self.ledger.outbox.counts_by_site(self.sites))
        self.ready = False
        # Whether a site's shop can be reached, by the site's name; told by the mount that connects to it.
        self.shops_reachable: Mapping[str, Callable[[], Awaitable[bool]]] = {}
        self._desks: dict[str, tuple[float, Desk]] = {}
        self._work: set[asyncio.Task[None]] = set()
        self._lasting: list[asyncio.Task[None]] = []

    def _visit_store(self, address: str) -> Visits:
        path = sqlite_path(address)
        if path is None:
            raise StoreAddressError(
                f"store = {address!r}: only SQLite is served so far; write sqlite:clew-visits.db"
            )
        ledger = sqlite_path(self.settings.ledger)
        one_file = ledger is not None and path.resolve() == ledger.resolve()
        return SqliteVisits(path, self.ledger.db.write_lock if one_file else None)

    def now(self) -> float:
        """The time, in unix seconds. What waits or expires within the process goes by a steady clock."""
        return self._clock.now()

    def _clock_jumped(self, before: float, step: float) -> None:
        key = "back" if step < 0 else "forward"
        self.journal.notice("clock_jump", site="", key=key, before=round(before), seconds=round(step))
        if step < 0:
            for site in self.sites.values():
                site.clock_set_back(before, -step)

    def _no_facts(self, site: str, error: Exception) -> None:
        self.journal.notice("fault", site=site, key="decide", where="decide", error=repr(error))

    def _not_writable(self, error: Exception) -> None:
        self.journal.emit("fault", site="", where="ready", error=repr(error))

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def client_mark(self, client: str | None) -> str | None:
        """A text that is the same for all of a client network, and tells nobody which one that is."""
        network = network_of(client)
        if network is None:
            return None
        key = hashlib.blake2b(self.settings.secret.get_secret_value().encode()).digest()
        return hashlib.blake2b(network.encode(), digest_size=8, key=key).hexdigest()

    async def open(self) -> None:
        """Open the stores. Raises what the stores raise."""
        await self.ledger.db.open()
        await self.visits.open()

    async def close(self) -> None:
        """Close the stores."""
        self.asking.stop()
        self.pages.close()
        await self.visits.close()
        await self.ledger.db.close()

    async def start(self) -> None:
        """Open the stores and begin to deliver. Raises what the stores raise."""
        await self.open()
        self._lasting = [
            asyncio.create_task(self.worker.run(), name="clew-delivery"),
            asyncio.create_task(self._prune(), name="clew-prune"),
            asyncio.create_task(self.watch.run(), name="clew-watch"),
            asyncio.create_task(self._keep_notices(), name="clew-notices"),
        ]
        self.ready = True

    def announce(self, **fields: Any) -> None:
        """Tell that clew is ready; a server does so once it listens, with its `addresses`."""
        self.journal.emit("started", site="", sites=list(self.sites), **fields)

    async def stop(self) -> None:
        """Let running work end, then close the stores."""
        if not self.ready:
            return
        self.ready = False
        for task in self._lasting:
            task.cancel()
        if self._work:
            _, late = await asyncio.wait(set(self._work), timeout=STOP_SECONDS)
            for work in late:
                work.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await asyncio.gather(*self._lasting, return_exceptions=True)
        await self.write_notices()
        await self.close()
        self.journal.emit("stopped", site="")

    async def _prune(self) -> None:
        while True:
            try:
                await self.visits.prune(self.now())
            except Exception as error:
                self.journal.emit("fault", site="", where="prune", error=repr(error))
            await asyncio.sleep(PRUNE_EVERY)

    async def _keep_notices(self) -> None:
        while True:
            await asyncio.sleep(NOTICES_EVERY)
            await self.write_notices()

    async def write_notices(self) -> None:
        """Write what the journal noticed into the ledger; what a failing ledger does not take is kept."""
        noted = self.journal.take_noted()
        if not noted:
            return
        try:
            await self.ledger.notices.add(noted, self.now())
        except Exception as error:
            self.journal.put_back(noted)
            self.journal.notice("fault", site="", key="notices", where="notices", error=repr(error))

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` after what is going on now; `stop` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work_done)

    def _work_done(self, task: "asyncio.Task[None]") -> None:
        self._work.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            structlog.get_logger("clew").error("fault", where="background", exc_info=error)

    def note_no_site(self, host: str) -> None:
        """Tell that a request's host fits no site, with the hosts that do: a name that was forgotten in the
        settings would otherwise pass silently."""
        known = self.sites.hosts
        shown = ", ".join(known[:KNOWN_HOSTS]) + (", …" if len(known) > KNOWN_HOSTS else "")
        self.journal.notice("host_unknown", site="", key=host.lower() or "(none)", known=shown)

    def note_untrusted(self, site: SiteRuntime, peer: str | None, header: str, *, by: str = "") -> None:
        """Tell that a peer is a proxy and not believed, with the setting to write. `header` is the one that
        is not believed, or missing; `by` is the header that shows it, if it is another."""
        network = network_of(peer) or ""
        self.journal.notice(
            "proxy_untrusted",
            site=site.name,
            key=f"{by or header} from {network}",
            header=header,
            peer=network,
            setting=f'trusted_proxies = ["{network}"]',
        )

    def desk_known(self, site: SiteRuntime) -> Desk:
        """The same as `desk_of`, as it was when somebody last asked."""
        known = self._desks.get(site.name)
        return known[1] if known is not None else Desk()

    async def desk_of(self, site: SiteRuntime) -> Desk:
        """How many agents are there and how busy; at most two seconds old."""
        asked = time.monotonic()
        known = self._desks.get(site.name)
        if known is not None and asked - known[0] < DESK_MAX_AGE:
            return known[1]
        now = self.now()
        online = await self.ledger.agents.online(site.name, now)
        counts = await self.ledger.conversations.counts(site.name)
        desk = Desk(online, sum(counts.values()))
        self._desks[site.name] = (asked, desk)
        return desk

    async def record_order(
        self,
        site: SiteRuntime,
        order: OrderSeen,
        *,
        visitor: str | None = None,
        touches: tuple[Touch, ...] = (),
        conversation: str | None = None,
        agent: str | None = None,
        shown: Shown | None = None,
    ) -> Recorded:
        """See `ordering.record_order`."""
        return await ordering.record_order(
            self,
            site,
            order,
            visitor=visitor,
            touches=touches,
            conversation=conversation,
            agent=agent,
            shown=shown,
        )
