"""How the calls to partners stand: counted by partner and state, for the pages of the owner."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Final

from sqlalchemy import func, select

from ...postbacks.model import OPEN, STATES, State
from .connection import Connection
from .database import Database
from .schema import postbacks
from .totals import SECONDS, Kept

LOOKED_AT: Final = 200
"""Postbacks among which the last errors are looked for, of each state."""

_ENDED: Final[tuple[State, ...]] = tuple(state for state in STATES if state not in OPEN)
_FAILED: Final[tuple[State, ...]] = ("dead", "unknown", "due")
_P = postbacks.c


@dataclass(frozen=True, slots=True)
class Failure:
    """What a partner's server answered last where a call failed: a time in unix seconds, the HTTP status
    (None: no response), and the text."""

    at: float
    state: State
    status: int | None
    answer: str


@dataclass(frozen=True, slots=True)
class CallCounts:
    """The calls to a partner by state: those that are open (`postbacks.model.OPEN`), whenever they came up,
    and of the ended ones those of a time. `oldest` is when the oldest due one came up, in unix seconds."""

    counts: Mapping[State, int]
    oldest: float | None
    failure: Failure | None

    @property
    def share(self) -> float | None:
        """The share of the calls with an outcome that was delivered, from 0 to 1; None without any."""
        failed = self.counts["dead"] + self.counts["unknown"]
        ended = self.counts["delivered"] + failed
        return self.counts["delivered"] / ended if ended else None


class Calls:
    """The counts. They only read the ledger."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._kept = Kept[Mapping[str, CallCounts]]()

    async def of(self, site: str, start: float, end: float, now: float) -> Mapping[str, CallCounts]:
        """By partner, how the site's calls stand; of the ended ones those that came up from `start` and
        before `end`. At most `totals.FRESH` seconds old at `now`. Raises LedgerError."""
        return await self._kept.get((site, start, end), now, lambda: self.read(site, start, end))

    async def read(self, site: str, start: float, end: float) -> Mapping[str, CallCounts]:
        """The same as it is now."""

        async def work(connection: Connection) -> Mapping[str, CallCounts]:
            counts: defaultdict[str, dict[State, int]] = defaultdict(lambda: dict.fromkeys(STATES, 0))
            oldest: dict[str, float] = {}
            # One state at a time: each is a part of an index, and no row is read.
            for state in STATES:
                first, last = (start, end) if state in _ENDED else (0.0, inf)
                query = (
                    select(_P.partner, func.count(), func.min(_P.created_at))
                    .where(_P.site == site, _P.state == state)
                    # Also where it is any time: else SQLite takes another index, and reads the rows.
                    .where(_P.created_at >= first, _P.created_at < last)
                    .group_by(_P.partner)
                )
                for partner, number, at in await connection.execute(query):
                    counts[partner][state] = number
                    if state == "due":
                        oldest[partner] = at
            failures = await _failures(connection, site)
            return {
                partner: CallCounts(found, oldest.get(partner), failures.get(partner))
                for partner, found in counts.items()
            }

        return await self._db.query(work, SECONDS)


async def _failures(connection: Connection, site: str) -> Mapping[str, Failure]:
    found: dict[str, Failure] = {}
    columns = (_P.partner, _P.created_at, _P.finished_at, _P.state, _P.last_status, _P.last_answer)
    for state in _FAILED:
        newest = select(*columns).where(_P.site == site, _P.state == state).order_by(_P.created_at.desc())
        for row in await connection.execute(newest.limit(LOOKED_AT)):
            at = row.finished_at or row.created_at
            if row.last_answer and (row.partner not in found or found[row.partner].at < at):
                found[row.partner] = Failure(at, row.state, row.last_status, row.last_answer)
    return found
