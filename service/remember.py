"""Who is stored: a visitor whose cookie has come back, its second sign of life.

A landing or a `decide` without our cookie leaves nothing here: what it brought is in the cookie that its
answer sets, sealed, and a browser that does not send that back would never be found again.
"""

from collections.abc import Sequence

from ..referral.cookie import Known
from ..referral.visitor import Change, Visitor
from .service import Service
from .site import SiteRuntime


async def remember(
    service: Service,
    site: SiteRuntime,
    known: Known,
    changes: Sequence[Change],
    client: str | None,
    stored: Visitor | None = None,
) -> Visitor:
    """Fold changes into the visitor; `stored` is what the store said of it, if it was asked.

    Raises LimitedError where it would be new to the store and too many are, and what the store raises.
    """
    if stored is None and await service.visits.get(site.name, known.visitor) is None:
        service.limits.take("visitors", site.name, client)
    return await service.visits.change(
        site.name, known.visitor, [known.restored, *changes], service.clock.now()
    )
