"""What rows came to that are deleted: exposures after their time, and whatever names a person who asks to be
forgotten. Their sums stay, by day and without the person, so that figures do not change by it."""

import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Literal

from msgspec import structs
from sqlalchemy import insert, select, update

from ...rules.sums import Experimented, Sums, Talked, WeekSums, add
from .connection import Connection
from .schema import rule_sums

Kind = Literal["exposure", "talk"]
NOON: Final = 43200.0
_R = rule_sums.c


def day_of(at: float) -> str:
    """The day of a time, in UTC: the sites' own zones may change, the sums do not."""
    return datetime.fromtimestamp(at, UTC).date().isoformat()


async def keep_sums(
    tx: Connection, site: str, day: str, kept: Mapping[Experimented, Sums] | Mapping[Talked, Sums]
) -> None:
    """Add to the sums of a day, in the transaction that deletes the rows."""
    if not kept:
        return
    await tx.lock(f"rule sums {site}")
    for one, sums in sorted(kept.items()):
        kind: Kind = "exposure" if isinstance(one, Experimented) else "talk"
        key = json.dumps(structs.astuple(one), ensure_ascii=False)
        same = (_R.site == site, _R.day == day, _R.kind == kind, _R.key == key)
        before = (await tx.execute(select(_R.sums).where(*same))).first()
        whole = add(_read({} if before is None else before.sums), sums)
        values = {name: f"{value:f}" for name, value in whole.items()}
        if before is None:
            await tx.execute(insert(rule_sums).values(site=site, day=day, kind=kind, key=key, sums=values))
        else:
            await tx.execute(update(rule_sums).where(*same).values(sums=values))


async def kept_sums(connection: Connection, site: str, start: float, end: float) -> WeekSums:
    """The sums of the days whose noon is within a time."""
    query = select(_R.kind, _R.key, _R.sums).where(
        _R.site == site, _R.day >= day_of(start - NOON), _R.day <= day_of(end)
    )
    query = query.add_columns(_R.day)
    exposed: defaultdict[Experimented, Sums] = defaultdict(dict)
    talked: defaultdict[Talked, Sums] = defaultdict(dict)
    for row in (await connection.execute(query)).all():
        noon = datetime.fromisoformat(row.day).replace(tzinfo=UTC).timestamp() + NOON
        if not start <= noon < end:
            continue
        if row.kind == "exposure":
            add(exposed[Experimented(*json.loads(row.key))], _read(row.sums))
        else:
            add(talked[Talked(*json.loads(row.key))], _read(row.sums))
    return WeekSums(exposed, talked)


def _read(stored: Mapping[str, Any]) -> Sums:
    return {name: Decimal(value) for name, value in stored.items()}
