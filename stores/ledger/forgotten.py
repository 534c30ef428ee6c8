"""Who has been forgotten: a digest of each visitor and e-mail hash, so that nothing late brings it back."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from sqlalchemy import insert, select

from ...orders.sighting import Sighting
from .adding import Absent, PresentError, Row
from .connection import Connection
from .schema import forgotten as forgotten_table

VISITOR: Final = "visitor"
EMAIL: Final = "email"
_F = forgotten_table.c


class ForgottenError(LookupError):
    """A sighting names somebody who has been forgotten: these visitors and e-mail hashes."""

    def __init__(self, visitors: Iterable[str], emails: Iterable[str]) -> None:
        super().__init__("it names somebody who has been forgotten")
        self.visitors = frozenset(visitors)
        self.emails = frozenset(emails)


def digest(site: str, kind: str, value: str) -> str:
    """What is kept of somebody who has been forgotten: it tells whether a known value is the one, and nothing
    else."""
    return blake2b(f"{kind}\0{site}\0{value}".encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


async def mark(tx: Connection, site: str, visitors: Iterable[str], emails: Iterable[str], now: float) -> None:
    """Note that these are forgotten, once nobody else is about to write of them."""
    digests = [digest(site, VISITOR, v) for v in visitors] + [digest(site, EMAIL, e) for e in emails]
    await _lock(tx, digests)
    await tx.lock(*_late(digests))
    known = {row[0] for row in await tx.execute(select(_F.digest).where(_F.digest.in_(digests)))}
    new = [{"digest": one, "site": site, "at": now} for one in dict.fromkeys(digests) if one not in known]
    if new:
        await tx.execute(insert(forgotten_table), new)


@dataclass(frozen=True, slots=True)
class People:
    """Those whom a sighting names, by their digest."""

    visitors: Mapping[str, str]
    emails: Mapping[str, str]

    @property
    def absent(self) -> Absent:
        """None of them may be forgotten."""
        return Absent(_F.digest, (*self.visitors, *self.emails))

    def forgotten(self, found: str) -> ForgottenError:
        """The error that says that this one is."""
        visitor, email = self.visitors.get(found), self.emails.get(found)
        return ForgottenError(filter(None, [visitor]), filter(None, [email]))


async def keep_from_forgetting(tx: Connection, sighting: Sighting) -> People | None:
    """Let nobody whom a sighting names be forgotten until the end of the transaction. Returns those, for
    `add_unless_forgotten`; None if it names nobody."""
    visitors = {digest(sighting.site, VISITOR, v): v for v in (sighting.visitor, sighting.carrier) if v}
    emails = {digest(sighting.site, EMAIL, e): e for e in (sighting.email_hash,) if e}
    if not visitors and not emails:
        return None
    # Writers of the same person, or of a placeholder that many guests share, do not wait for each other.
    await _lock(tx, [*visitors, *emails], shared=True)
    return People(visitors, emails)


async def add_unless_forgotten(
    tx: Connection, rows: Sequence[Row], people: People | None
) -> Sequence[int | None]:
    """Add rows; their numbers. Raises ForgottenError, and the transaction must end, if one of the people is
    forgotten."""
    if not rows:
        return ()
    try:
        return await tx.add(rows, None if people is None else people.absent)
    except PresentError as error:
        assert people is not None
        raise people.forgotten(error.value) from None


async def not_forgotten(tx: Connection, visitors: Collection[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    """Those of these visitors, each with its site first, who are not forgotten. Nobody of them can be until
    the end of the transaction: what is written in the background may come after the wish."""
    known = {digest(site, VISITOR, visitor): (site, visitor) for site, visitor in visitors}
    await tx.lock(*_late(known), shared=True)
    gone = await tx.execute(select(_F.digest).where(_F.digest.in_(sorted(known))))
    return frozenset(known.values()) - {known[row[0]] for row in gone}


def _late(digests: Iterable[str]) -> list[str]:
    """The locks of writers of many people at once: sixteen for all, since PostgreSQL has room for some
    thousands of locks in all transactions together."""
    return [f"forgotten late {part}" for part in sorted({one[0] for one in digests})]


async def _lock(tx: Connection, digests: Iterable[str], *, shared: bool = False) -> None:
    # In one order, so that two do not wait for each other.
    await tx.lock(*(f"forgotten {one}" for one in sorted(set(digests))), shared=shared)
