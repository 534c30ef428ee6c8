"""What rules bring: verdicts, and the figures of conversations by rule, text, partner, agent and week."""

from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...service.rule_lines import Line
from ...service.rule_reports import Report
from ..guard import Refused
from .auth import AgentContext, signed_in
from .charts import Chart, largest
from .owner import drawings, owner_page
from .result_tables import NO_RULE, money, percent, sheets
from .sheets import Cell, sheet

PERIODS: Final = (1, 4, 13, 26, 53)
"""Weeks that the page may look back."""

AGAIN: Final = "4"
"""Seconds after which a page whose figures are still being counted is loaded again."""

CSV_WAIT: Final = 60.0


def _weeks(request: Request) -> int:
    asked = request.query_params.get("weeks", "")
    return next((n for n in PERIODS if str(n) == asked), 13)


@signed_in
async def results(request: Request, context: AgentContext) -> Response:
    """The report on the site's rules."""
    weeks = _weeks(request)
    report = await context.at.service.rule_reports.of(context.at.site, weeks)
    if report is None:
        page = await owner_page(
            request, context, "results.html", weeks=weeks, periods=PERIODS, report=None, csv=""
        )
        page.headers["Refresh"] = AGAIN
        return page
    tables = sheets(report)
    return await owner_page(
        request,
        context,
        "results.html",
        weeks=weeks,
        periods=PERIODS,
        report=report,
        drawings=await drawings(_charts(report)) if report.all.kpi.talks else [],
        sheets=[(one.name, one.table()) for one in tables.values()],
        money=money,
        percent=percent,
        csv=f"?weeks={weeks}",
    )


@signed_in
async def results_csv(request: Request, context: AgentContext) -> Response:
    """One of its tables as CSV."""
    context.at.take("exports")
    name = request.path_params["sheet"]
    report = await context.at.service.rule_reports.of(context.at.site, _weeks(request), CSV_WAIT)
    if report is None:
        raise Refused(503, "The figures are still being counted. Try again in a minute.")
    found = sheets(report).get(name)
    if found is None:
        raise Refused(404, "There is no such table, or nothing to show in it.")
    rows: Sequence[Sequence[Cell]] = found.lines()

    async def parts() -> AsyncIterator[Sequence[Sequence[Cell]]]:
        yield rows

    return sheet(request, f"results-{name}", found.names(), parts())


def _charts(report: Report) -> list[Chart]:
    weeks = [(line.name[5:], line.kpi) for line in report.by_week]
    found = [
        Chart("Contacts by week", "columns", [(name, Decimal(kpi.talks)) for name, kpi in weeks]),
        Chart(
            "Ordered, % of conversations by week",
            "columns",
            [(name, _percent(kpi.ordered, kpi.sales_talks)) for name, kpi in weeks],
        ),
        Chart(
            "Satisfied, % of ratings by week",
            "columns",
            [(name, _percent(kpi.satisfied, kpi.ratings)) for name, kpi in weeks],
        ),
        Chart(
            "Utilisation of agents, % by week",
            "columns",
            [(name, Decimal(str(round(100 * (kpi.utilisation or 0), 1)))) for name, kpi in weeks],
        ),
    ]
    for currency in sorted(report.all.kpi.revenue)[:2]:
        values = [(name, kpi.revenue.get(currency, Decimal())) for name, kpi in weeks]
        found.append(Chart(f"Revenue by week, {currency}", "columns", values))
    found.append(Chart("Contacts by rule", "bars", largest(_of(report.by_rule), "others")))
    return found


def _of(lines: Sequence[Line]) -> list[tuple[str, Decimal]]:
    return [(line.name or NO_RULE, Decimal(line.kpi.talks)) for line in lines]


def _percent(part: int, of: int) -> Decimal:
    return Decimal(str(round(100 * part / of, 1))) if of else Decimal()


routes: list[BaseRoute] = [
    Route("/desk/results", results, methods=["GET"]),
    Route("/desk/results/{sheet}.csv", results_csv, methods=["GET"]),
]
