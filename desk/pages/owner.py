"""What the owner's pages share: the sites that a person may see, periods, tables and charts."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response

from ...orders.money import amount_text
from ...stores.ledger.totals import Weeks
from ..guard import Refused
from ..ways import ROOT
from .auth import AgentContext
from .charts import Chart, Drawing, drawn
from .live import page_mark
from .render import desk_path, page

ROWS: Final = 50
"""Most rows of a table on a page."""

ALL: Final = "all"
MOST_SITES: Final = 20
"""Most sites that are looked at together."""

PERIODS: Final = (4, 13, 26, 53)
"""Weeks that a page may look back."""


def seen_sites(context: AgentContext) -> list[str]:
    """The sites of which a person may see this page, that of the page first. On a shop's host there is no
    other: the session is worth nothing elsewhere, and scripts of the shop are near."""
    own = context.at.site.name
    if context.at.way is None:
        return [own]
    others = (name for name in context.at.service.sites if name != own and context.may_at(name))
    return [own, *sorted(others)]


def wanted_sites(request: Request, context: AgentContext) -> tuple[str, list[str]]:
    """The value of the parameter `site`, and the sites that it means: without it the page's own, for `all`
    all that the person may see, of very many the first. Raises Refused (404) for any other."""
    seen, name = seen_sites(context), request.query_params.get("site", "")
    if not name or name == context.at.site.name:
        return "", [context.at.site.name]
    if name == ALL and len(seen) > 1:
        return ALL, seen[:MOST_SITES]
    if name not in seen:
        raise Refused(404, "There is no such site, or your account is not for it.")
    return name, [name]


def desk_of(request: Request, context: AgentContext, site: str) -> str:
    """The path of a site's desk; other sites' are reached on the desk's own host only."""
    return desk_path(request) if site == context.at.site.name else f"{ROOT}/site/{site}/desk"


def zone_of(context: AgentContext) -> ZoneInfo:
    """The site's time zone."""
    return ZoneInfo(context.at.site.settings.time_zone)


def weeks_of(request: Request, context: AgentContext) -> tuple[int, Weeks]:
    """The parameter `weeks`, 13 if it is none of PERIODS, and those weeks up to now."""
    asked = request.query_params.get("weeks", "")
    number = next((n for n in PERIODS if str(n) == asked), 13)
    return number, Weeks.until(context.at.service.clock.now(), number, zone_of(context))


def day_of(request: Request, name: str, zone: ZoneInfo, *, after: bool = False) -> float | None:
    """The beginning of a day that a form sends, or with `after` its end, in unix seconds; None without one.
    Raises Refused (422)."""
    typed = request.query_params.get(name, "").strip()
    if not typed:
        return None
    try:
        day = datetime.strptime(typed[:20], "%Y-%m-%d").date() + timedelta(days=int(after))  # noqa: DTZ007
        return datetime.combine(day, time(), zone).timestamp()
    except (ValueError, OverflowError):
        raise Refused(422, f"{name}: {typed[:20]!r} is no day; write for example 2026-11-26.") from None


def figure(amount: Decimal, currency: str) -> str:
    """An amount with the currency's minor digits; below zero with a minus."""
    text = amount_text(abs(amount), currency) if currency else f"{abs(amount):f}"
    return f"-{text}" if amount < 0 else text


async def drawings(charts: Sequence[Chart]) -> list[Drawing]:
    """The charts that have a value, drawn in a thread."""
    some = [chart for chart in charts if chart.values]
    return await asyncio.to_thread(lambda: [Drawing(chart.title, drawn(chart)) for chart in some])


async def owner_page(
    request: Request, context: AgentContext, template: str, status: int = 200, **values: object
) -> Response:
    """A page of the owner."""
    return page(
        request,
        template,
        status,
        mark=await page_mark(context.at),
        current=None,
        agent=context.session.agent,
        csrf=context.session.csrf,
        seen=seen_sites(context),
        **values,
    )
