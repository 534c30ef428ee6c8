"""Whether clew can do its work: what a load balancer asks before it sends visitors."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...postbacks.model import State
from ...service.service import Service

# A shop that hangs would keep the answer back for as long as its own time to connect.
SHOP_SECONDS = 5.0


# Of thousands so many are asked, the first of the settings: whether any answers is what counts.
SHOPS = 100


@dataclass(frozen=True, slots=True)
class Readiness:
    """`why` is empty where all is well; `shops` tells by site whether its shop can be reached, None where
    clew does not connect to it, or did not ask."""

    ready: bool
    why: str = ""
    shops: dict[str, bool | None] = field(default_factory=dict)


async def readiness(service: Service, sites: Sequence[str]) -> Readiness:
    """For these sites together: not ready without the ledger, while clew starts or stops, or if no shop of
    theirs can be reached."""
    if (failure := await service.ledger_probe.failure()) is not None:
        return Readiness(False, f"no order can be recorded: {failure}")
    if not service.ready or service.hub.closed:
        return Readiness(False, "starting or stopping")
    asked = sites[:SHOPS]
    found = await asyncio.gather(*(_reachable(service, site) for site in asked))
    shops = {**dict.fromkeys(sites), **dict(zip(asked, found, strict=True))}
    if found and all(reached is False for reached in found):
        why = "the shop cannot be reached" if len(found) == 1 else "no shop can be reached"
        return Readiness(False, why, shops)
    return Readiness(True, "", shops)


async def postbacks_of(service: Service, site: str) -> dict[State, int] | None:
    """How many postbacks of a site are in each state, at most two seconds ago; None if the ledger does not
    say. For those who may see it: whoever may not makes nobody count."""
    try:
        return (await service.postback_counts.get()).get(site, {})
    except Exception as error:
        service.events.emit("fault", site="", where="ready", error=repr(error))
        return None


async def _reachable(service: Service, site: str) -> bool | None:
    try:
        async with asyncio.timeout(SHOP_SECONDS):
            return await service.shop_reachable(site)
    except TimeoutError:
        return False
