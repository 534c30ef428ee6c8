"""Notes each minute which agents are there for conversations: this tells what they cost, and how well their
time is used."""

import asyncio
import secrets
from datetime import datetime
from typing import Final

from ..events.events import Events
from ..stores.ledger.books import Ledger
from ..stores.ledger.errors import LedgerConflictError
from ..stores.ledger.turns import take_turn
from .agents import AgentLoads
from .clock import Clock
from .sites import Sites

EVERY: Final = 60.0
LONGEST: Final = 150.0
"""Seconds that one sample stands for at most: while clew did not run, it is not known who was there."""


class Staffing:
    """Samples who is there at all sites, in one process at a time."""

    def __init__(
        self, ledger: Ledger, agents: AgentLoads, sites: Sites, events: Events, clock: Clock
    ) -> None:
        self._ledger = ledger
        self._agents = agents
        self._sites = sites
        self._events = events
        self._clock = clock
        self._holder = secrets.token_hex(8)
        self._last: float | None = None

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.sample()
            except Exception as error:
                self._events.failed(error, site="", where="staffing")

    async def sample(self) -> None:
        """Add the time since the last sample of this process, for those who are there now. Raises
        LedgerError."""
        now = self._clock.now()
        try:
            mine = await self._ledger.db.transact(
                lambda tx: take_turn(tx, "desk days", self._holder, now, now + LONGEST, 2 * LONGEST)
            )
        except LedgerConflictError:
            mine = False
        last, self._last = self._last, now if mine else None
        if not mine:
            return
        passed = EVERY if last is None else min(LONGEST, max(0.0, now - last))
        there = {}
        for site in self._agents.sites_to_sample():
            day = datetime.fromtimestamp(now, self._sites[site].zone).date().isoformat()
            for name, capacity in self._agents.there(site, now):
                there[site, name, day] = (passed, passed * capacity)
        if there:
            await self._ledger.desk_days.add(there)
