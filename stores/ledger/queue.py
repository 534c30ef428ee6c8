"""The statements of the queue of due postbacks, compiled once."""

from functools import lru_cache

from sqlalchemy import bindparam, func, or_, select, text, update

from .prepared import Prepared, values_of
from .schema import postbacks as postbacks_table

_C = postbacks_table.c

# The heads of the partners' queues are found by leaps through the index, then the first rows of each queue.
# Site and partner are compared one by one: of a pair SQLite uses the site alone, and goes through all of it.
_TEXT = """
WITH RECURSIVE heads(id) AS (
    SELECT (SELECT id FROM postbacks WHERE state = 'due' ORDER BY site, partner LIMIT 1)
    UNION ALL
    SELECT coalesce(
        (SELECT n.id FROM postbacks AS n
        WHERE n.state = 'due' AND n.site = h.site AND n.partner > h.partner
        ORDER BY n.partner LIMIT 1),
        (SELECT n.id FROM postbacks AS n
        WHERE n.state = 'due' AND n.site > h.site
        ORDER BY n.site, n.partner LIMIT 1)
    )
    FROM heads JOIN postbacks AS h ON h.id = heads.id
)
SELECT id, site, partner, event FROM (
    SELECT w.id, w.site, w.partner, w.event, w.next_at,
        row_number() OVER (PARTITION BY w.site, w.partner ORDER BY w.next_at, w.id) AS turn
    FROM heads JOIN postbacks AS h ON h.id = heads.id {queue} (
        SELECT {columns} FROM postbacks AS d
        WHERE d.state = 'due' AND d.site = h.site AND d.partner = h.partner AND d.next_at <= :now
            AND (d.lease_until IS NULL OR d.lease_until <= :now)
            AND NOT EXISTS (
                SELECT 1 FROM postbacks AS e WHERE e."order" = d."order" AND e.partner = d.partner
                AND e.sequence < d.sequence AND e.state IN ('due', 'sending', 'accepted')
            )
        ORDER BY d.next_at, d.id LIMIT :each
    ) {named}
) AS queued
ORDER BY turn, next_at, id LIMIT :limit
"""
# SQLite has no LATERAL. With IN, PostgreSQL asks for each queue anew for each postback that there ever was.
WAITING = {
    "sqlite": text(_TEXT.format(queue="JOIN postbacks AS w ON w.id IN", columns="d.id", named="")),
    "postgresql": text(
        _TEXT.format(
            queue="CROSS JOIN LATERAL", columns="d.id, d.site, d.partner, d.event, d.next_at", named="AS w"
        )
    ),
}
QUEUES = {
    name: Prepared(query.columns(_C.id, _C.site, _C.partner, _C.event)) for name, query in WAITING.items()
}


@lru_cache
def claim(count: int) -> Prepared:
    """Lease so many rows, if they are due and free."""
    ids = [bindparam(f"id{place}", type_=_C.id.type) for place in range(count)]
    now = bindparam("now", type_=_C.next_at.type)
    # Written so that no index fits it: SQLite would go through all that is due instead of a few ids.
    is_due = (func.coalesce(_C.state, "") == "due") & (_C.next_at + 0 <= now)
    is_free = or_(_C.lease_until.is_(None), _C.lease_until <= now)
    free = select(_C.id).where(_C.id.in_(ids), is_due, is_free).with_for_update(skip_locked=True)
    leased = update(postbacks_table).where(_C.id.in_(free)).values(lease_until=bindparam("until"))
    return Prepared(leased.returning(*postbacks_table.c))


_INTERRUPTED = select(postbacks_table).where(
    _C.state == "sending", _C.lease_until <= bindparam("now", type_=_C.next_at.type)
)
IS_CUT_OFF = Prepared(_INTERRUPTED.limit(1))
CUT_OFF_ROWS = Prepared(_INTERRUPTED.with_for_update(skip_locked=True))
_OWN = (_C.id == bindparam("row"), _C.lease_until == bindparam("lease"))
BEGIN = Prepared(
    update(postbacks_table)
    .where(*_OWN, _C.state == "due")
    .values(state="sending", lease_until=bindparam("until"), attempts=bindparam("tried"))
)
_OUTCOME = values_of(
    [_C[n] for n in ("state", "attempts", "next_at", "last_answer", "last_status", "finished_at")]
)
FINISH = Prepared(update(postbacks_table).where(*_OWN).values(lease_until=None, **_OUTCOME))
FINISH_ACCEPTED = Prepared(
    update(postbacks_table)
    .where(*_OWN)
    .values(lease_until=None, **_OUTCOME, **values_of([_C.job, _C.accepted_at]))
)
# A late delivery counts, as long as nobody else has the row: nothing is left to send.
FINISH_DELIVERED = Prepared(
    update(postbacks_table)
    .where(_OWN[0], or_(_OWN[1], _C.lease_until.is_(None)))
    .values(lease_until=None, **_OUTCOME)
)
