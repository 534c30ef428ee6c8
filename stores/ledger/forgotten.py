"""Who has been forgotten: a digest of each visitor and e-mail hash, so that nothing late brings it back."""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from sqlalchemy import bindparam, insert, select

from ...orders.sighting import Sighting
from .connection import Connection
from .prepared import Prepared
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
    known = {row[0] for row in await tx.execute(select(_F.digest).where(_F.digest.in_(digests)))}
    new = [{"digest": one, "site": site, "at": now} for one in dict.fromkeys(digests) if one not in known]
    if new:
        await tx.execute(insert(forgotten_table), new)


async def refuse_forgotten(tx: Connection, sighting: Sighting) -> None:
    """Raise ForgottenError if a sighting that is about to be written names somebody who is forgotten."""
    visitors = {digest(sighting.site, VISITOR, v): v for v in (sighting.visitor, sighting.carrier) if v}
    emails = {digest(sighting.site, EMAIL, e): e for e in (sighting.email_hash,) if e}
    if not visitors and not emails:
        return
    # Writers of the same person, or of a placeholder that many guests share, do not wait for each other.
    await _lock(tx, [*visitors, *emails], shared=True)
    digests = [*visitors, *emails]
    given = {f"digest{place}": one for place, one in enumerate(digests)}
    found = {row[0] for row in await tx.execute(_marked(len(digests)), given)}
    if found:
        raise ForgottenError(
            [visitors[one] for one in found & visitors.keys()], [emails[one] for one in found & emails.keys()]
        )


async def _lock(tx: Connection, digests: Iterable[str], *, shared: bool = False) -> None:
    # In one order, so that two do not wait for each other.
    await tx.lock(*(f"forgotten {one}" for one in sorted(set(digests))), shared=shared)


@lru_cache
def _marked(count: int) -> Prepared:
    """Which of so many digests are those of somebody who is forgotten."""
    digests = [bindparam(f"digest{place}", type_=_F.digest.type) for place in range(count)]
    return Prepared(select(_F.digest).where(_F.digest.in_(digests)))
