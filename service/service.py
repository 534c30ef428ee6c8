"""A running clew: its sites and its stores, for as long as the process lives."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from ..chat.hub import Hub
from ..events.events import Events
from ..events.metrics import reset_ended
from ..orders.selector_watch import SelectorWatch
from ..postbacks.delivery import Worker
from ..postbacks.tokens import Tokens
from ..referral.catalogue import Network
from ..referral.networks_file import load as load_catalogue
from ..settings.changes import Changes
from ..settings.load import Problem, logged_problem
from ..settings.model import JOURNAL, Settings, Site
from ..stores.housekeeping import PRUNE_EVERY
from ..stores.journal import Journal, JournalError
from ..stores.ledger import retention
from ..stores.ledger.addresses import sqlite_path
from ..stores.ledger.books import Ledger
from ..stores.ledger.errors import LedgerAwayError, LedgerError
from ..stores.ledger.probe import Fresh, Probe
from ..stores.ledger.rule_keeping import usual_window
from ..stores.ledger.sqlite import SqliteDatabase
from ..stores.presence import Presence
from ..stores.readings import Readings
from ..stores.shared import SharesLevels
from ..stores.signs import Signs
from ..stores.talks import Talks
from ..stores.visits import Visits
from ..stores.visits_engines import visits_at
from ..stores.watch import Watch
from . import workflow
from .adapting import Adapting
from .agents import AgentLoads
from .asking import Asking
from .attention import Attention
from .attribution import Attribution
from .auditing import Auditing
from .callbacks import CallbackDesk
from .chat_orders import ChatOrders
from .click_signs import CROWD_SECONDS
from .click_writing import ClickWriter
from .clicks import ClickCounts
from .clock import LEAST_STEP, Clock
from .cobrowsing import CoBrowsing
from .conversations import Conversations
from .decisions import Decisions
from .desk_work import DeskWork
from .exposing import ExposureWriter
from .fact_calls import FactCalls
from .files import Files
from .forgetting import Forgetter
from .handing import Handing
from .invite_offers import InviteOffers
from .invite_texts import InviteTexts
from .inviting import Inviting, RuleEnds
from .judging import Judge
from .limits import Limits, Rate
from .mailing import Mailer
from .offers import OfferDesk
from .ordering.lost import LostOrders
from .ordering.reading import PageReader
from .ordering.recording import Ordering
from .ordering.undoing import Undoing
from .ordering.webhooks import Webhooks
from .outside import Outside
from .own_talk import OwnTalk
from .provider_hooks import ProviderHooks
from .provider_pages import ProviderPages
from .provider_polling import ProviderPolling
from .publishing import Publisher
from .rule_editing import RuleEditing
from .rule_reports import RuleReports
from .rule_reviews import RuleReviewing
from .rule_sets import RuleSets
from .shared_limits import SharedLimits
from .sites import Sites, SiteTable
from .staffing import Staffing
from .tasks import Tasks
from .text_calls import TextCalls
from .traffic import TrafficWriter
from .trial_runs import TrialRuns
from .visitors import Visitors
from .workflow import Workflow

Reachable = Callable[[str], Awaitable[bool | None]]
OnSwap = Callable[[Settings, Changes], None]

SHOWN_SITES = 50  # maximum number of sites named in an event
REOPEN_EVERY = 2.0  # seconds between two attempts to open the ledger while its server does not respond
MEASURE_EVERY = 30.0  # seconds between two measurements of the ledger's clock
NOTICES_EVERY = 3.0  # seconds between two transactions that write notices
# Seconds between two looks at reports without an order, which a process that ended may have left behind.
JOIN_EVERY = 20.0


# Keys of a site that determine the selectors for its pages.
SELECTORS = ("cart", "order", "platform", "page_types")

# Seconds between two readings of one inbox, which many desks share.
INBOX_PAUSE = 0.5


class Service:
    """Create it, `start` it in its event loop, `stop` it.

    The constructor raises the errors of the settings' parts; `clew check` finds all of them beforehand.
    """

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = self._replaced = settings
        self.clock = clock or Clock()
        self.clock.jumped = self._clock_jumped
        catalogue = load_catalogue()
        self.sites = Sites(settings, catalogue)
        self.registry = CollectorRegistry()
        self.events = Events(self.registry, self.clock.monotonic)
        self.pages = PageReader(self.events)
        self.limits = Limits(settings.limits, self.events, self.clock.monotonic)
        self.sites.count_clicks(lambda key, count: self.limits.crowded(key, Rate(count, CROWD_SECONDS)))
        self.selector_watch = SelectorWatch(self.events, self.clock.monotonic)
        self.hub = Hub(has_site=self.sites.__contains__)
        # In a busy hour each of many desks asks for its inbox every second.
        self.inboxes = Readings[tuple[str, int, str | None], Mapping[str, Any]](INBOX_PAUSE)
        self.tasks = Tasks()
        self.ledger = Ledger(settings.ledger)
        self.retention = retention.Retention(self.ledger.db, self._window_of)
        self.ledger.forgetting.window_of = self._window_of
        self.visits: Visits = self._visit_store(settings.store)
        self.journal = Journal(journal_path(settings))
        self.worker = self._new_worker(catalogue.networks)
        self.publisher = Publisher(
            self.ledger, self.sites.endpoints, settings.delivery, self.clock.now, self.events
        )
        self.mailer = Mailer(
            self.ledger, lambda: self.settings.smtp, self._settings_of, self.clock.now, self.events
        )
        self._build_watches()
        self._build_verbs()
        self.ledger_probe = Probe(lambda: self.ledger.db.probe(self.clock.now()), self._not_writable)
        self.visits_probe = Probe(self.visits.probe, self._visits_not_writable)
        # By site and state. Cached: a million may wait for a partner whose server is down.
        self.postback_counts = Fresh(lambda: self.ledger.outbox.counts_by_site(self.sites), share=0.05)
        self.ready = False
        # Whether a site's shop can be reached, None if not known; set by the mount that connects to it.
        self.shop_reachable: Reachable = _nobody_knows
        # Called with new settings, for example by the mount that connects to the shops.
        self.on_swap: list[OnSwap] = []

    def _new_worker(self, networks: Mapping[str, Network]) -> Worker:
        """The worker that delivers the postbacks."""
        return Worker(
            self.ledger.outbox,
            self.sites.partner,
            networks,
            self.settings.delivery,
            self.clock.now,
            self.events,
            tokens=Tokens(self.ledger.networks, self.settings.secret.get_secret_value(), self.clock.now),
            ids=self.ledger.networks,
        )

    def _window_of(self, name: str) -> float:
        site = self._settings_of(name)
        return usual_window(name) if site is None else site.invites.window_days * 86400.0

    def _settings_of(self, name: str) -> Site | None:
        site = self.sites.get(name)
        return None if site is None else site.settings

    def _build_watches(self) -> None:
        """Create what keeps the processes, the ledger and the visit store in sync."""
        self.presence = Presence(self.hub, self.ledger, self.clock.now, self.tasks.later)
        self.signs = Signs(self.hub, self.visits, self.clock.monotonic, self._signs_failed)
        self.agents = AgentLoads(self.ledger, self.clock, lambda: self.sites.table.by_name)
        self.desk_work = DeskWork(
            *(self.ledger, self.agents, self.hub, self.events, self.clock),
            lambda name: self.sites.table.by_name.get(name),
            self.tasks.later,
        )
        self.auditing = Auditing(self.ledger.audit, self.limits, self.events, self.clock.now)
        self.visitors = Visitors(self.visits, self.limits, self.events, self.clock)
        self.talks = Talks(self.ledger, self.visits, self.clock.now, self._talk_not_noted)
        self.rule_editing = RuleEditing(self.ledger.rule_revisions, self.ledger.rule_reviews)
        self.rule_sets = RuleSets(self.ledger.rule_revisions, self.sites, self.events, self.tasks.later)
        self.watch = Watch(
            self.hub,
            self.ledger,
            self.visits,
            self.talks,
            self.sites,
            self.clock.now,
            self._refresh,
            self._watch_failed,
            self._ledger_answers,
        )
        self._journalled = 0  # the number of the journal's next entry when the ledger answered last

    def _build_verbs(self) -> None:
        """Create attribution, decisions, ordering and conversations, each with the parts that it needs."""
        self.conversations = Conversations(
            self.ledger,
            self.visits,
            self.visitors,
            self.talks,
            self.limits,
            self.hub,
            self.events,
            self.clock,
            self.settings.secret.get_secret_value(),
            self.tasks.later,
            self.desk_work.soon,
            lambda: self.settings.smtp is not None,
        )
        self.own_talk = OwnTalk(
            self.ledger,
            self.conversations,
            self.talks,
            self.visits,
            self.limits,
            self.hub,
            self.events,
            self.clock,
        )
        self.attention = Attention(self.ledger, self.conversations, self.signs, self.limits)
        self.cobrowsing = CoBrowsing(
            self.ledger,
            self.visits,
            self.conversations,
            self.signs,
            self.limits,
            self.events,
            self.clock,
        )
        self.files = Files(self.ledger, self.conversations, self.limits, self.events, self.clock)
        self.asking = Asking(self.ledger, self.conversations, self.limits, self.events, self.clock)
        self.offers = OfferDesk(self.ledger, self.conversations, self.events, self.clock)
        self.ordering = Ordering(
            self.ledger,
            self.visits,
            self.journal,
            self.events,
            self.clock,
            self.worker.wake,
            self.tasks.later,
        )
        self.workflow = Workflow(
            self.ledger,
            self.events,
            self.clock,
            lambda: self.settings.sites,
            self.sites.partner,
            self.worker.wake,
        )
        self.undoing = Undoing(self.ledger, self.visits, self.events, self.clock, self.worker.wake)
        self.callbacks = CallbackDesk(
            self.ledger,
            self.ordering,
            self.conversations,
            self.signs,
            self.limits,
            self.events,
            self.clock,
        )
        self.lost = LostOrders(self.ledger, self.visits)
        self.webhooks = Webhooks(self.ledger, self.ordering, self.events, self.clock)
        self._build_providers()
        self.handing = Handing(self.visitors, self.events, self.clock)
        self.clicks = ClickCounts()
        calls = FactCalls(self.events, self.clock, self.tasks.later)
        self.outside = Outside(self.visits, self.ledger, self.events, self.clock, calls, self.limits)
        self.attribution = Attribution(
            self.visits,
            self.visitors,
            self.ordering,
            self.pages,
            self.selector_watch,
            self.events,
            self.clock,
            self.clicks,
            self.tasks.later,
            self.handing,
            self.outside,
        )
        self.click_writer = ClickWriter(
            *(self.clicks, self.ledger.partner_clicks, self.attribution.click_watch),
            *(self.sites, self.events, self.clock),
        )
        self.forgetter = Forgetter(self.ledger, self.visits, self.journal.path, self.events, self.clock)
        self.exposures = ExposureWriter(self.ledger.exposures, self.events)
        self.traffic = TrafficWriter(self.ledger.traffic, self.agents, self.limits, self.events)
        self.rule_reports = RuleReports(self.ledger, self.events, self.clock, self.tasks.later)
        self.trial_runs = TrialRuns(self.ledger, self.events, self.clock, self.tasks.later)
        self.rule_reviewing = RuleReviewing(self.ledger, self.rule_reports, self.events, self.clock)
        self.judge = Judge(
            *(self.ledger, self.sites, self.rule_reports.freeze, self.rule_reviewing.tell),
            *(self.events, self.clock),
        )
        self.staffing = Staffing(self.ledger, self.agents, self.sites, self.events, self.clock)
        self.invite_offers = InviteOffers(
            self.ledger, self.visits, self.limits, self.events, self.clock, self.tasks.later
        )
        self.inviting = Inviting(
            *(self.limits, self.visitors, self.exposures, self.events, self.clock, self.invite_offers),
            self.conversations.client_mark,
        )
        self.text_calls = TextCalls(self.events, self.clock, self.tasks.later)
        self.adapting = Adapting(self.ledger.rule_looks, self.sites, self.inviting, self.events, self.clock)
        self.decisions = Decisions(
            self.visits,
            self.visitors,
            self.attribution,
            self.talks,
            self.agents,
            self.forgetter,
            self.events,
            self.clock,
            self.tasks.later,
            self.handing,
            self.inviting,
            self.outside,
            InviteTexts(self.text_calls, self.invite_offers),
            self.traffic,
        )

    def _build_providers(self) -> None:
        """Create what hears from other companies' chats."""
        self.chat_orders = ChatOrders(self.ledger, self.visits, self.ordering, self.events)
        self.provider_hooks = ProviderHooks(
            self.ledger,
            self.visits,
            self.talks,
            self.chat_orders,
            self.limits,
            self.hub,
            self.events,
            self.clock,
            lambda: self.settings,
        )
        self.provider_polling = ProviderPolling(
            self.ledger, self.events, self.clock, lambda: self.settings.sites
        )
        self.provider_pages = ProviderPages(
            self.ledger,
            self.conversations,
            self.visitors,
            self.talks,
            self.limits,
            self.events,
            self.clock,
        )

    def _visit_store(self, address: str) -> Visits:
        db, ledger = self.ledger.db, sqlite_path(self.settings.ledger)
        lock = db.write_lock if isinstance(db, SqliteDatabase) else None
        return visits_at(address, self._visits_answer, ledger=ledger, write_lock=lock)

    async def _refresh(self) -> None:
        """Something was written into the ledger."""
        self.rule_sets.look()
        await self.agents.refresh()

    def _visits_answer(self, why: str | None, seconds: float) -> None:
        if why is None:
            self.watch.visits_are_back()
            self.events.emit("visits_up", site="", seconds=round(seconds, 1))
        else:
            self.events.notice("visits_down", site="", key="visits", why=why)

    def _clock_jumped(self, before: float, step: float) -> None:
        key = "back" if step < 0 else "forward"
        self.events.notice("clock_jump", site="", key=key, before=round(before), seconds=round(step))
        if step < 0:
            self.sites.clock_set_back(before, -step)

    def _talk_not_noted(self, site: str, error: Exception) -> None:
        self.events.failed(error, site=site, where="talk")

    def _watch_failed(self, error: Exception) -> None:
        self.events.failed(error, site="", where="watch")

    def _signs_failed(self, error: Exception) -> None:
        self.events.failed(error, site="", where="signs")

    def _ledger_answers(self) -> None:
        self.events.is_back("ledger_down", orders=self.journal.next - self._journalled)
        self._journalled = self.journal.next

    def _not_writable(self, error: Exception) -> None:
        self.events.failed(error, site="", where="ready")

    def _visits_not_writable(self, error: Exception) -> None:
        self.visitors.failed("", "ready", error)

    async def open(self) -> None:
        """Open the stores. Raises the stores' errors."""
        await self.ledger.db.open()
        await self.visits.open()

    async def close(self) -> None:
        """Close the stores."""
        self.talks.stop()
        self.outside.close()
        self.pages.close()
        self.journal.close()
        await self.visits.close()
        await self.ledger.db.close()

    async def start(self) -> None:
        """Open the stores and start to deliver. Raises the stores' errors.

        If the ledger's server does not respond yet, nothing is raised: clew tries again, pages are sent, and
        orders wait in the journal.
        """
        await self._open_ledger()
        await self.follow_clock()
        await self.visits.open()
        await self._open_journal()
        await self.rule_sets.begin()
        await self.watch.begin()
        self.tasks.last(
            [
                ("clew-rules", self.rule_sets.run()),
                ("clew-delivery", self.worker.run()),
                ("clew-publishing", self.publisher.run()),
                ("clew-mail", self.mailer.run()),
                ("clew-clock", self._keep_time()),
                ("clew-prune", self._prune()),
                ("clew-retention", self._retain()),
                ("clew-reports", self._join_waiting()),
                ("clew-workflow", self._work_on_commissions()),
                ("clew-watch", self.watch.run()),
                ("clew-signs", self.signs.run()),
                ("clew-desk", self.desk_work.run()),
                ("clew-notices", self._keep_notices()),
                ("clew-exposures", self.exposures.run()),
                ("clew-traffic", self.traffic.run()),
                ("clew-rule-ends", RuleEnds(self.sites, self.events, self.clock).run()),
                ("clew-verdicts", self.judge.run()),
                ("clew-adapting", self.adapting.run()),
                ("clew-staffing", self.staffing.run()),
                ("clew-presence", self.provider_polling.run()),
            ]
        )
        if isinstance(self.visits, SharesLevels):
            secret = self.settings.secret.get_secret_value()
            shared = SharedLimits(self.limits, self.visits, secret)
            self.tasks.last([("clew-limits", shared.run())])
        self.ready = True

    async def _open_ledger(self) -> None:
        try:
            await self.ledger.db.open()
        except LedgerAwayError as error:
            self._not_open(error)
            self.tasks.last([("clew-ledger-open", self._reopen_ledger())])

    async def _reopen_ledger(self) -> None:
        while True:
            await asyncio.sleep(REOPEN_EVERY)
            try:
                await self.ledger.db.open()
            except (LedgerError, OSError) as error:
                self._not_open(error)
            else:
                await self.follow_clock()
                return

    def _not_open(self, error: Exception) -> None:
        self.events.failed(error, site="", where="ledger")

    async def _open_journal(self) -> None:
        """Record the orders that wait in the journal. If it cannot be opened, only the ledger is used."""
        try:
            left = await self.journal.open()
        except JournalError as error:
            self.events.failed(error, site="", where="journal")
            return
        if left:
            self.events.emit("journal_replayed", site="", orders=len(left))
        for number, entry in left:
            name = str(entry["sighting"]["site"])
            if (site := self.sites.get(name)) is None:
                # The site may be added again, for example when it is moved to another file.
                self.events.notice("order_waiting", site="", key=name, order=entry["sighting"].get("id"))
            else:
                self.tasks.later(self.ordering.replay(site, number, entry))

    def swap(self, settings: Settings, table: SiteTable | None = None) -> Changes:
        """Switch to these settings in one step of the loop. They must be valid, and must not change keys in
        `settings.changes.FIXED`. Requests in progress keep the settings that they started with. `table` is
        the settings' table if it was already created in another thread."""
        before = self.sites.table
        changes = self.sites.swap(settings, table)
        self._replaced, self.settings = self.settings, settings
        self.limits.use(settings.limits)
        for name in changes.changed:
            old, new = before.by_name[name], self.sites.table.by_name[name]
            if any(getattr(old, key) != getattr(new, key) for key in SELECTORS):
                # The counts of the old selectors do not apply to the new ones.
                self.selector_watch.forget(name)
        for name in changes.removed:
            self.hub.end(name)
            self.selector_watch.forget(name)
            self.pages.forget(name)
        if changes.added or changes.removed:
            # Also of sites that were removed earlier: what was under way then has counted since.
            known, added = self.sites.table.by_name, frozenset(changes.added)
            self.events.forget(lambda name: name != "" and (name not in known or name in added))
        self.rule_sets.swapped(changes)
        for notify in self.on_swap:
            notify(settings, changes)
        return changes

    def announce_swap(self, changes: Changes) -> None:
        """Report that new settings are in use; one of several workers calls this."""
        named = {field.name: _some(getattr(changes, field.name)) for field in fields(changes)}
        self.events.emit("reloaded", site="", sites=len(self.sites), **named)
        self.tasks.later(self.auditing.reloaded(self._replaced, self.settings, changes))
        before = {site.name: site for site in self._replaced.sites}
        self.tasks.later(self.rule_sets.review(before, changes))
        if changes.added:
            self.tasks.later(asyncio.to_thread(reset_ended, frozenset(changes.added)))

    def refuse_swap(self, problems: Sequence[Problem], *, requested: bool) -> None:
        """Report that new settings were rejected, and why; each time if the reload was `requested`."""
        found = [logged_problem(problem) for problem in problems]
        if requested:
            self.events.unlimit("reload_refused", site="", key=found[0])
        self.events.notice("reload_refused", site="", key=found[0], why=found[0], errors=len(found))

    def socket_taken(self, by: str, why: str) -> None:
        """Report that a name of the socket for `clew reload` could not be bound. `by` is the user who has it,
        `why` describes the consequence."""
        self.events.notice("reload_socket_taken", site="", key=by or why, by=by or "nobody else", why=why)

    def announce(self, **details: Any) -> None:
        """Report that clew is ready; a server does so once it listens, with its `addresses`."""
        self.events.emit("started", site="", sites=_some(self.sites), **details)

    async def stop(self) -> None:
        """Wait for work in progress, then close the stores."""
        if not self.ready:
            return
        self.ready = False
        self.presence.stop()
        await self.tasks.stop()
        await self.write_notices()
        await self.click_writer.write()
        await self.exposures.write()
        await self.traffic.write()
        await self.close()
        self.events.emit("stopped", site="")

    async def follow_clock(self) -> None:
        """Measure the time of the ledger's server, which all machines go by. If it does not answer, the time
        goes on as it was measured before, or as this machine has it."""
        try:
            await self.clock.follow(self.ledger.db)
        except LedgerError:
            return
        if abs(self.clock.off) > LEAST_STEP:
            self.events.notice("clock_off", site="", key="clock", seconds=round(self.clock.off, 1))

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(MEASURE_EVERY)
            await self.follow_clock()

    async def _prune(self) -> None:
        while True:
            try:
                await self.visits.prune(self.clock.now())
            except Exception as error:
                self.events.failed(error, site="", where="prune")
            await asyncio.sleep(PRUNE_EVERY)

    async def _join_waiting(self) -> None:
        while True:
            await asyncio.sleep(JOIN_EVERY)
            try:
                await self.ordering.join_waiting(self.sites.get)
            except Exception as error:
                self.events.failed(error, site="", where="reports")

    async def _work_on_commissions(self) -> None:
        while True:
            await asyncio.sleep(workflow.EVERY)
            try:
                await self.workflow.step()
            except Exception as error:
                self.events.failed(error, site="", where="commissions")

    async def _retain(self) -> None:
        # Not while clew starts.
        await asyncio.sleep(retention.FIRST)
        while True:
            await self.apply_retention()
            await asyncio.sleep(retention.EVERY)

    async def apply_retention(self) -> None:
        """Delete rows from the ledger that are older than the settings allow."""
        days = self.settings.retention.model_dump()
        try:
            gone = await self.retention.apply(days, self.clock.now())
            settled = await self.ledger.forgetting.settle(self.clock.now())
            if files := await self.files.prune(self.settings.sites):
                gone = {**gone, "files": files}
        except Exception as error:
            self.events.failed(error, site="", where="retention")
            return
        if shares := settled.rows.get("shares"):
            gone = {**gone, "click_ids": shares}
        if gone:
            self.events.emit("pruned", site="", **gone)

    async def _keep_notices(self) -> None:
        while True:
            await asyncio.sleep(NOTICES_EVERY)
            await self.write_notices()
            await self.click_writer.write()

    async def write_notices(self) -> None:
        """Write the notices to the ledger. If that fails, they are kept."""
        noted = self.events.take_noted()
        if not noted:
            return
        try:
            await self.ledger.notices.add(noted, self.clock.now())
        except Exception as error:
            self.events.put_back(noted)
            self.events.failed(error, site="", where="notices")


def journal_path(settings: Settings) -> Path:
    """The file in which orders wait for the ledger: `journal`, or a file in the ledger's folder."""
    if settings.journal is not None:
        return Path(settings.journal)
    ledger = sqlite_path(settings.ledger)
    return (ledger.parent if ledger is not None else Path()) / JOURNAL


async def _nobody_knows(site: str) -> bool | None:
    return None


def _some(names: Collection[str]) -> list[str]:
    """The first names, and the number of the others."""
    more = [f"and {len(names) - SHOWN_SITES} more"] if len(names) > SHOWN_SITES else []
    return [*islice(names, SHOWN_SITES), *more]
