"""What partners bring and what they earn: revenue and commission by partner, channel and week; the partners
and the networks side by side."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...payouts.account import worded
from ...postbacks.model import STATES, State
from ...stores.ledger.calls import CallCounts, Failure
from ...stores.ledger.totals import Total, Weeks
from .auth import AgentContext, signed_in
from .charts import Chart, largest
from .owner import PERIODS, ROWS, drawings, figure, owner_page, wanted_sites, weeks_of
from .render import times
from .sheets import Cell, Table, sheet

NOBODY: Final = "nobody"
OTHERS: Final = "others"
CHARTED: Final = 2
"""Currencies that get charts, those with most orders."""

Key = Callable[[Total], str]
_COUNTED = ("Orders", "Undone", "Revenue", "Commission", "Currency")


@dataclass(slots=True)
class _Line:
    """What several totals of one currency come to."""

    orders: int = 0
    undone: int = 0
    revenue: Decimal = Decimal()
    commission: Decimal = Decimal()

    def add(self, total: Total, orders: int) -> None:
        self.orders += orders
        self.undone += total.undone
        self.revenue += total.revenue
        self.commission += total.commission

    def cells(self, currency: str) -> list[Cell]:
        amounts = (figure(self.revenue, currency), figure(self.commission, currency))
        return [self.orders, self.undone, *amounts, currency or None]


def _by(totals: Iterable[Total], key: Key, *, whole: bool = False) -> dict[tuple[str, str], _Line]:
    """Lines by key and currency, which are never added to each other. `whole`: an order that several partners
    share counts once."""
    found: defaultdict[tuple[str, str], _Line] = defaultdict(_Line)
    for total in totals:
        found[key(total), total.currency].add(total, total.main if whole else total.orders)
    return dict(found)


def _partner(total: Total) -> str:
    return total.partner or NOBODY


def _table(title: str, name: str, lines: Mapping[tuple[str, str], _Line], *, by_size: bool) -> Table:
    """A table of the lines; of more than ROWS the largest, or the newest."""
    rows = sorted(lines.items(), key=lambda one: (one[0][1], -one[1].revenue) if by_size else one[0][::-1])
    columns = [(name, False), *((column, column != "Currency") for column in _COUNTED)]
    shown = rows[:ROWS] if by_size else rows[-ROWS:]
    return Table(title, columns, [[key, *line.cells(currency)] for (key, currency), line in shown])


def _charts(totals: Sequence[Total], week: Key, weeks: Sequence[str]) -> list[Chart]:
    count: defaultdict[str, int] = defaultdict(int)
    for total in totals:
        count[total.currency] += total.main
    found = []
    for currency in sorted((c for c in count if c), key=lambda c: (-count[c], c))[:CHARTED]:
        own = [total for total in totals if total.currency == currency]
        by_week, by_partner = _by(own, week), _by((t for t in own if t.partner), _partner)
        empty = _Line()
        found += [
            Chart(
                f"Revenue by week, {currency}",
                "columns",
                [(name, by_week.get((name, currency), empty).revenue) for name in weeks],
            ),
            Chart(
                f"Commission by week, {currency}",
                "columns",
                [(name, by_week.get((name, currency), empty).commission) for name in weeks],
            ),
            Chart(
                f"Revenue by partner, {currency}",
                "bars",
                largest([(name, line.revenue) for (name, _), line in by_partner.items()], OTHERS),
            ),
            Chart(
                f"Revenue by channel, {currency}",
                "bars",
                largest(
                    [(n, line.revenue) for (n, _), line in _by(own, lambda t: t.channel).items()], OTHERS
                ),
            ),
        ]
    return found


@signed_in
async def revenue(request: Request, context: AgentContext) -> Response:
    """Revenue and commission by week, partner and channel, with charts."""
    site, sites = wanted_sites(request, context)
    number, weeks = weeks_of(request, context)
    clock = times(context.at)
    found = await context.at.service.ledger.totals.of(sites, weeks, clock.now)
    names = {start: clock.day_month(start) for start in weeks.starts}
    by_week = _by(found, lambda total: f"{clock.iso(total.week)[:10]}", whole=True)
    return await owner_page(
        request,
        context,
        "revenue.html",
        site_name=site,
        weeks=number,
        periods=PERIODS,
        drawings=await drawings(_charts(found, lambda t: names[t.week], list(names.values()))),
        sheets=[
            _table("By week, from Monday on", "Week", by_week, by_size=False),
            _table("By partner", "Partner", _by(found, _partner), by_size=True),
            _table("By channel", "Channel", _by(found, lambda t: t.channel, whole=True), by_size=True),
        ],
        csv=f"revenue.csv?{request.url.query}",
    )


@signed_in
async def revenue_csv(request: Request, context: AgentContext) -> Response:
    """The same by site, week, partner, channel and currency, as CSV."""
    context.at.take("exports")
    _, sites = wanted_sites(request, context)
    _, weeks = weeks_of(request, context)
    clock = times(context.at)
    found = await context.at.service.ledger.totals.of(sites, weeks, clock.now)

    async def parts() -> AsyncIterator[Sequence[Sequence[Cell]]]:
        yield [
            [
                *(total.site, clock.iso(total.week)[:10], total.partner, total.channel),
                *(total.orders, total.main, total.undone),
                *(figure(total.revenue, total.currency), figure(total.commission, total.currency)),
                total.currency,
            ]
            for total in sorted(found, key=lambda t: (t.site, t.week, t.partner or "", t.channel, t.currency))
        ]

    columns = ("site", "week", "partner", "channel", "orders", "main", "undone")
    return sheet(request, "revenue", (*columns, "revenue", "commission", "currency"), parts())


# -- partners and networks

_OPEN: Final[tuple[State, ...]] = ("due", "held", "dead", "unknown", "delivered")
_NONE = CallCounts(dict.fromkeys(STATES, 0), None, None)


@signed_in
async def partners(request: Request, context: AgentContext) -> Response:
    """Each partner: orders, revenue and commission of a time, and how its calls stand."""
    number, weeks = weeks_of(request, context)
    at, now = context.at, context.at.service.clock.now()
    totals = await at.service.ledger.totals.of([at.site.name], weeks, now)
    calls = await at.service.ledger.calls.of(at.site.name, weeks.starts[0], weeks.end, now)
    lines = _by((total for total in totals if total.partner), _partner)
    known = [*at.site.partners, *sorted({name for name, _ in lines} | set(calls))]
    names = list(dict.fromkeys(known))
    states = await at.service.ledger.totals.states(at.site.name, weeks, now)
    return await owner_page(
        request,
        context,
        "partners.html",
        weeks=number,
        periods=PERIODS,
        more=max(0, len(names) - ROWS),
        clicks=await _clicks(context, weeks),
        commissions=Table(
            "Commissions by state",
            [
                ("Partner", False),
                ("State", False),
                ("Number", True),
                ("Commission", True),
                ("Currency", False),
            ],
            [
                [
                    o.partner,
                    worded(o.state, approved=o.approved),
                    o.count,
                    figure(o.amount, o.currency),
                    o.currency,
                ]
                for o in states[:ROWS]
            ],
        ),
        rows=[
            (
                name,
                sorted((currency, line) for (one, currency), line in lines.items() if one == name),
                calls.get(name, _NONE),
            )
            for name in names[:ROWS]
        ],
        figure=figure,
        states=_OPEN,
        csv=f"partners.csv?{request.url.query}",
    )


async def _clicks(context: AgentContext, weeks: Weeks) -> Mapping[str, int]:
    """The clicks of each partner in these weeks."""
    clock, clicks = times(context.at), context.at.service.ledger.partner_clicks
    days = (clock.iso(weeks.starts[0])[:10], clock.iso(weeks.end)[:10])
    return await clicks.by_partner(context.at.site.name, *days)


@signed_in
async def partners_csv(request: Request, context: AgentContext) -> Response:
    """The same as CSV, a line for each partner and currency."""
    context.at.take("exports")
    _, weeks = weeks_of(request, context)
    at, now = context.at, context.at.service.clock.now()
    totals = await at.service.ledger.totals.of([at.site.name], weeks, now)
    calls = await at.service.ledger.calls.of(at.site.name, weeks.starts[0], weeks.end, now)
    lines = _by((total for total in totals if total.partner), _partner)
    clicks = await _clicks(context, weeks)
    for name in (*at.site.partners, *calls, *clicks):
        if not any(one == name for one, _ in lines):
            lines[name, ""] = _Line()

    async def parts() -> AsyncIterator[Sequence[Sequence[Cell]]]:
        yield [
            [
                name,
                clicks.get(name, 0),
                *line.cells(currency),
                *(calls.get(name, _NONE).counts[state] for state in _OPEN),
            ]
            for (name, currency), line in sorted(lines.items())
        ]

    columns = ("partner", "clicks", *(name.lower() for name in _COUNTED), *_OPEN)
    return sheet(request, "partners", columns, parts())


@dataclass(slots=True)
class _Network:
    """The calls of all partners of a network, and what their orders come to, by currency."""

    name: str
    partners: list[str]
    counts: dict[State, int]
    oldest: float | None = None
    failure: Failure | None = None
    lines: tuple[tuple[str, _Line], ...] = ()

    @property
    def share(self) -> float | None:
        return CallCounts(self.counts, self.oldest, self.failure).share


@signed_in
async def networks(request: Request, context: AgentContext) -> Response:
    """The networks side by side: calls by state, the last error, and what they brought."""
    number, weeks = weeks_of(request, context)
    at, now = context.at, context.at.service.clock.now()
    totals = await at.service.ledger.totals.of([at.site.name], weeks, now)
    calls = await at.service.ledger.calls.of(at.site.name, weeks.starts[0], weeks.end, now)
    network_of = {name: partner.network or "own call" for name, partner in at.site.partners.items()}
    found: dict[str, _Network] = {}
    for name in dict.fromkeys([*network_of, *calls]):
        network = network_of.get(name, "no longer in the settings")
        own = found.setdefault(network, _Network(network, [], dict.fromkeys(STATES, 0)))
        _add(own, name, calls.get(name, _NONE))
    by_network = _by((t for t in totals if t.partner), lambda t: network_of.get(_partner(t), ""))
    for own in found.values():
        own.lines = tuple(sorted((c, line) for (one, c), line in by_network.items() if one == own.name))
    return await owner_page(
        request,
        context,
        "networks.html",
        weeks=number,
        periods=PERIODS,
        rows=sorted(found.values(), key=lambda one: one.name)[:ROWS],
        figure=figure,
        states=(*_OPEN[:4], "sending", "accepted", "delivered"),
    )


def _add(network: _Network, partner: str, calls: CallCounts) -> None:
    network.partners.append(partner)
    for state, number in calls.counts.items():
        network.counts[state] += number
    if calls.oldest is not None:
        network.oldest = min(calls.oldest, network.oldest or calls.oldest)
    if calls.failure is not None and (network.failure is None or network.failure.at < calls.failure.at):
        network.failure = calls.failure


routes: list[BaseRoute] = [
    Route("/desk/revenue", revenue, methods=["GET"]),
    Route("/desk/revenue.csv", revenue_csv, methods=["GET"]),
    Route("/desk/partners", partners, methods=["GET"]),
    Route("/desk/partners.csv", partners_csv, methods=["GET"]),
    Route("/desk/networks", networks, methods=["GET"]),
]
