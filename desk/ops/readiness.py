"""Readiness, for load balancers."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...postbacks.model import State
from ...service.service import Service

# A shop that hangs must not delay the response by its connect timeout.
SHOP_SECONDS = 5.0


# The maximum of shops that are tried, in the order of the settings: it is enough that one can be reached.
SHOPS = 100


@dataclass(frozen=True, slots=True)
class Readiness:
    """`why` is empty if it is ready. `shops`: whether each site's shop can be reached, None if clew does not
    connect to it, or did not try. `visits` is why the visit store cannot be used, empty if it can: pages go
    on without it, on every machine alike, so that alone makes none of them not ready."""

    ready: bool
    why: str = ""
    shops: dict[str, bool | None] = field(default_factory=dict)
    visits: str = ""


async def readiness(service: Service, sites: Sequence[str]) -> Readiness:
    """For these sites together: not ready without the ledger, while clew starts or stops, or if no shop of
    theirs can be reached."""
    if (failure := await service.ledger_probe.failure()) is not None:
        waiting = service.journal.waiting
        counted = (
            f"{waiting} {'report waits' if waiting == 1 else 'reports wait'} in the journal of this process"
        )
        return Readiness(False, f"the ledger takes no orders, {counted}: {failure}")
    if not service.ready or service.hub.closed:
        return Readiness(False, "starting or stopping")
    visits = await service.visits_probe.failure() or ""
    tried = sites[:SHOPS]
    found = await asyncio.gather(*(_reachable(service, site) for site in tried))
    shops = {**dict.fromkeys(sites), **dict(zip(tried, found, strict=True))}
    if found and all(reached is False for reached in found):
        why = "the shop cannot be reached" if len(found) == 1 else "no shop can be reached"
        return Readiness(False, why, shops, visits)
    return Readiness(True, "", shops, visits)


async def postbacks_of(service: Service, site: str) -> dict[State, int] | None:
    """How many postbacks of a site wait, by state, at most two seconds ago; None if the ledger fails. Call it
    only for clients that may see the numbers."""
    try:
        return (await service.postback_counts.get()).get(site, {})
    except Exception as error:
        service.events.failed(error, site="", where="ready")
        return None


async def _reachable(service: Service, site: str) -> bool | None:
    try:
        async with asyncio.timeout(SHOP_SECONDS):
            return await service.shop_reachable(site)
    except TimeoutError:
        return False
