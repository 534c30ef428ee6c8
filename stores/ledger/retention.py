"""What of the ledger is deleted after a time: what came in and went out word for word, and talks.

Orders, credits, postbacks and sums stay. It goes in small transactions with pauses between them, and one
process at a time does it, by a turn that is kept in the ledger.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from sqlalchemy import Select, delete, func, select, update

from .blocks import delete_ended
from .connection import Connection
from .database import Database
from .errors import LedgerConflictError
from .files import delete_files
from .mails import forget_mails
from .rule_keeping import WindowOf, keep_exposed, usual_window
from .schema import (
    agent_sessions,
    attempts,
    audit,
    callbacks,
    conversation_tags,
    conversations,
    deliveries,
    desk_links,
    desk_log,
    exposures,
    files,
    login_steps,
    messages,
    notices,
    offers,
    partner_sessions,
    postbacks,
    provider_states,
    sightings,
    traffic,
)
from .turns import take_turn

STEP_ROWS: Final = 100
"""Rows of a transaction."""

EVERY: Final = 3600.0
"""Seconds between two rounds, over all processes."""

FIRST: Final = 60.0
"""Seconds from the start of a process to its first round."""

TURN_SECONDS = 60.0
PAUSE = 0.05
DAY = 86400.0
_TURN = "retention"


class Retention:
    """Deletes what is older than its time."""

    def __init__(self, db: Database, window_of: WindowOf = usual_window) -> None:
        self._db = db
        self._window_of = window_of
        self._holder = secrets.token_hex(8)

    async def apply(self, days: Mapping[str, int], now: float, pause: float = PAUSE) -> Mapping[str, int]:
        """Delete all that is older than `days` says for its kind (keys of KINDS); how many rows of each went.
        Nothing if another process does it, or has done it within the hour."""
        gone: dict[str, int] = {}
        for kind, age in days.items():
            while True:
                count = await self._step(kind, now - age * DAY, now)
                if count is None:
                    return gone
                if count:
                    gone[kind] = gone.get(kind, 0) + count
                if count < STEP_ROWS:
                    break
                await asyncio.sleep(pause)
        await self._db.transact(lambda tx: self._take(tx, now, now + EVERY))
        return gone

    async def _step(self, kind: str, before: float, now: float) -> int | None:
        """One transaction; how many rows went, None if the turn is another process's."""

        async def work(tx: Connection) -> int | None:
            if not await self._take(tx, now, now + TURN_SECONDS):
                return None
            if kind == "exposures":
                return await _exposures(tx, before, now, self._window_of)
            return await KINDS[kind](tx, before)

        try:
            return await self._db.transact(work)
        except LedgerConflictError:
            # Two processes took the first turn of all.
            return None

    async def _take(self, tx: Connection, now: float, until: float) -> bool:
        return await take_turn(tx, _TURN, self._holder, now, until, 2 * EVERY)


async def _ids(tx: Connection, query: Select[Any]) -> list[Any]:
    return [row[0] for row in (await tx.execute(query.limit(STEP_ROWS))).all()]


async def _raw(tx: Connection, before: float) -> int:
    own = sightings.c
    ids = await _ids(tx, select(own.id).where(own.raw.is_not(None), own.at < before))
    await tx.execute(update(sightings).where(own.id.in_(ids)).values(raw=None))
    return len(ids)


async def _webhooks(tx: Connection, before: float) -> int:
    ids = await _ids(tx, select(deliveries.c.id).where(deliveries.c.at < before))
    await tx.execute(delete(deliveries).where(deliveries.c.id.in_(ids)))
    # What providers' webhooks told of whose a conversation will be, and the codes of visitors.
    await tx.execute(delete(provider_states).where(provider_states.c.at < before))
    return len(ids)


async def _attempts(tx: Connection, before: float) -> int:
    own, calls = attempts.c, postbacks.c
    # What is not finished may need its history yet.
    finished = select(own.id, own.postback).join(postbacks, calls.id == own.postback)
    query = finished.where(own.at < before, calls.finished_at < before).limit(STEP_ROWS)
    rows = (await tx.execute(query)).all()
    await tx.execute(delete(attempts).where(own.id.in_([row.id for row in rows])))
    named = calls.id.in_({row.postback for row in rows})
    await tx.execute(update(postbacks).where(named).values(last_answer=None))
    return len(rows)


async def _conversations(tx: Connection, before: float) -> int:
    own, talk = messages.c, conversations.c
    old = select(own.id, own.conversation).join(conversations, talk.id == own.conversation)
    rows = (await tx.execute(old.where(own.at < before, talk.updated_at < before).limit(STEP_ROWS))).all()
    ids = [row.id for row in rows]
    await delete_files(tx, await _ids(tx, select(files.c.id).where(files.c.message.in_(ids))))
    await tx.execute(delete(messages).where(own.id.in_(ids)))
    gone = ("last", "page", "client", "waiting_since", "rating_text", "invite")
    emptied: dict[str, Any] = {"said": 0, **dict.fromkeys(gone)}
    named = talk.id.in_({row.conversation for row in rows}) & (talk.updated_at < before)
    await tx.execute(update(conversations).where(named).values(state="closed", **emptied))
    for gone in {row.conversation for row in rows}:
        await forget_mails(tx, gone)
    # Agents may have written anything into a tag.
    kept = select(talk.id).where(named)
    await tx.execute(delete(conversation_tags).where(conversation_tags.c.conversation.in_(kept)))
    of_work, of_offers = await _desk_work(tx, before), await _offers(tx, before)
    of_calls = await _old_callbacks(tx, before)
    return max(len(rows), of_work, of_offers, of_calls, await delete_ended(tx, before, STEP_ROWS))


async def _desk_work(tx: Connection, before: float) -> int:
    """What was done with old conversations, notes too; how many rows."""
    own, talk = desk_log.c, conversations.c
    done = select(own.id).outerjoin(conversations, talk.id == own.conversation)
    old = done.where(own.at < before, func.coalesce(talk.updated_at, own.at) < before)
    ids = await _ids(tx, old)
    await tx.execute(delete(desk_log).where(own.id.in_(ids)))
    return len(ids)


async def _old_callbacks(tx: Connection, before: float) -> int:
    own = callbacks.c
    ids = await _ids(tx, select(own.id).where(own.changed_at < before))
    await tx.execute(delete(callbacks).where(own.id.in_(ids)))
    return len(ids)


async def _offers(tx: Connection, before: float) -> int:
    """What agents wrote into old links, and to whom; how many rows."""
    own = offers.c
    ids = await _ids(tx, select(own.id).where(own.made_at < before, own.label != ""))
    bare = {"label": "", "page": "/", "cart": None, "visitor": None, "client_id": None}
    await tx.execute(update(offers).where(own.id.in_(ids)).values(**bare))
    return len(ids)


async def _exposures(tx: Connection, before: float, now: float, window_of: WindowOf) -> int:
    ids = await _ids(tx, select(exposures.c.id).where(exposures.c.changed_at < before))
    await keep_exposed(tx, ids, now, window_of)
    await tx.execute(delete(exposures).where(exposures.c.id.in_(ids)))
    return len(ids)


async def _traffic(tx: Connection, before: float) -> int:
    ids = await _ids(tx, select(traffic.c.id).where(traffic.c.at < before))
    await tx.execute(delete(traffic).where(traffic.c.id.in_(ids)))
    return len(ids)


async def _notices(tx: Connection, before: float) -> int:
    ids = await _ids(tx, select(notices.c.id).where(notices.c.last_at < before))
    await tx.execute(delete(notices).where(notices.c.id.in_(ids)))
    return len(ids)


async def _sessions(tx: Connection, before: float) -> int:
    own = agent_sessions.c
    tokens = await _ids(tx, select(own.token).where(own.expires_at < before))
    await tx.execute(delete(agent_sessions).where(own.token.in_(tokens)))
    of_partners = partner_sessions.c
    others = await _ids(tx, select(of_partners.token).where(of_partners.expires_at < before))
    await tx.execute(delete(partner_sessions).where(of_partners.token.in_(others)))
    return len(tokens) + len(others) + await _ways_in(tx, before)


async def _ways_in(tx: Connection, before: float) -> int:
    """Logins that were not finished, and links that ended."""
    steps, links = login_steps.c, desk_links.c
    tokens = await _ids(tx, select(steps.token).where(steps.expires_at < before))
    await tx.execute(delete(login_steps).where(steps.token.in_(tokens)))
    ids = await _ids(tx, select(links.id).where(links.expires_at < before))
    await tx.execute(delete(desk_links).where(links.id.in_(ids)))
    return len(tokens) + len(ids)


async def _audit(tx: Connection, before: float) -> int:
    ids = await _ids(tx, select(audit.c.id).where(audit.c.at < before))
    await tx.execute(delete(audit).where(audit.c.id.in_(ids)))
    return len(ids)


KINDS: Final[Mapping[str, Callable[[Connection, float], Awaitable[int]]]] = {
    "raw": _raw,
    "webhooks": _webhooks,
    "attempts": _attempts,
    "conversations": _conversations,
    "traffic": _traffic,
    "notices": _notices,
    "sessions": _sessions,
    "audit": _audit,
}
"""Deletes at most STEP_ROWS rows of a kind that are from before a time (unix seconds); how many."""
