"""A lead's page: who is there now and how busy, and what the conversations of a day or a week came to."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...chat.figures import Figures, Line, Spread
from ...service.facts import AgentLoad
from ...stores.ledger.desk_agents import Colleague
from ..times import brief
from .auth import AgentContext, signed_in
from .charts import MOST_BARS, Chart, largest
from .owner import ROWS, day_of, drawings, figure, owner_page, zone_of
from .sheets import Cell, Table, sheet

NOBODY, NO_RULE, NONE, OTHERS = "nobody", "no rule", "none", "others"
PERIODS: Final = {"day": "Day", "week": "Week"}
MATRIX_RULES: Final = 8
"""Rules of the matrix, those with most conversations."""

_COLUMNS = (
    *("Conversations", "Unanswered", "First answer, median", "90 %", "Length, median", "90 %"),
    *("Messages, median", "Rating", "Satisfied", "Rated", "With order", "Orders", "Revenue"),
)


@dataclass(frozen=True, slots=True)
class Span:
    """The time that a page shows: a day, or the week from Monday on that it is in. Times in unix seconds."""

    period: str
    day: str
    start: float
    end: float
    before: str
    after: str | None

    @classmethod
    def of(cls, request: Request, context: AgentContext) -> "Span":
        """The parameters `day` and `period`; today without them. Raises Refused (422) for what is no day."""
        zone, now = zone_of(context), context.at.service.clock.now()
        period = "week" if request.query_params.get("period") == "week" else "day"
        asked = day_of(request, "day", zone)
        today = datetime.fromtimestamp(now, zone).date()
        day = today if asked is None else datetime.fromtimestamp(asked, zone).date()
        day = min(day, today)
        first = day - timedelta(days=day.weekday()) if period == "week" else day
        length = timedelta(days=7 if period == "week" else 1)
        start, end = (datetime.combine(d, time(), zone).timestamp() for d in (first, first + length))
        after = first + length
        return cls(
            *(period, day.isoformat(), start, end, (first - length).isoformat()),
            after.isoformat() if after <= today else None,
        )


async def _figures(context: AgentContext, span: Span) -> Figures:
    at = context.at
    return await at.service.ledger.talk_figures.of(
        at.site.name, span.start, span.end, at.service.clock.now(), zone_of(context), at.site.hours.open_at
    )


@dataclass(frozen=True, slots=True)
class Now:
    """How the team stands: those who have a desk open, the load, the open conversations and how many of them
    wait for an answer."""

    people: Sequence[Colleague]
    load: AgentLoad | None
    open: int
    waiting: int


async def _now(context: AgentContext) -> Now:
    at = context.at
    service, name, now = at.service, at.site.name, at.service.clock.now()
    people = await service.ledger.assignment.colleagues(name, service.desk_work.terms(at.site.settings), now)
    count, waiting = await service.ledger.inbox.numbers(name)
    return Now(people, service.agents.of(name, now), count, waiting)


@signed_in
async def team(request: Request, context: AgentContext) -> Response:
    """The page."""
    span = Span.of(request, context)
    found = await _figures(context, span)
    tables = list(_tables(found, span))
    return await owner_page(
        request,
        context,
        "team.html",
        now=await _now(context),
        chat=context.at.site.settings.chat,
        span_=span,
        periods=PERIODS,
        line=found.all,
        found=found,
        together=_together(found.all),
        drawings=await drawings(_charts(found, span)) if found.all.talks else [],
        sheets=tables,
        money=_money,
        percent=_percent,
        csv=f"team.csv?day={span.day}&period={span.period}",
    )


# -- charts

_Value = Callable[[Line], float | None]


def _charts(found: Figures, span: Span) -> list[Chart]:
    hours = [(f"{hour}", found.hours.get(hour, Line())) for hour in range(24)]
    agents = [(name or NOBODY, line) for name, line in found.agents.items()]
    charts = [
        Chart("Conversations by hour", "columns", _values(hours, lambda one: one.talks)),
        Chart("First answer by hour, median in seconds", "columns", _values(hours, _first)),
    ]
    if span.period == "week":
        days = [(day[5:], line) for day, line in sorted(found.days.items())]
        charts.insert(0, Chart("Conversations by day", "columns", _values(days, lambda one: one.talks)))
    bars: Sequence[tuple[str, _Value]] = [
        ("Conversations by agent", lambda one: one.talks or None),
        ("Orders by agent", lambda one: one.orders or None),
    ]
    for title, value in bars:
        charts.append(Chart(title, "bars", largest(_values(agents, value, known=True), OTHERS)))
    # A sum of medians says nothing: of more agents than there is room for, those with most conversations.
    busiest = sorted(agents, key=lambda one: -one[1].talks)[:MOST_BARS]
    more: Sequence[tuple[str, _Value]] = [
        ("First answer by agent, median in seconds", _first),
        ("Length by agent, median in minutes", lambda one: _per(one.length.median, 60)),
        ("Rating by agent, average of 1 to 5", lambda one: one.rating),
    ]
    return charts + [Chart(title, "bars", _values(busiest, value, known=True)) for title, value in more]


def _first(line: Line) -> float | None:
    return line.first_answer.median


def _per(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


def _values(
    lines: Sequence[tuple[str, Line]], value: _Value, *, known: bool = False
) -> list[tuple[str, Decimal]]:
    """The values of lines; with `known` of those that have one, else 0 for those without."""
    found = [(name, value(line)) for name, line in lines]
    return [(name, Decimal(str(round(one or 0, 1)))) for name, one in found if one is not None or not known]


# -- tables


def _tables(found: Figures, span: Span) -> Iterator[Table]:
    """The tables behind the charts."""
    if span.period == "week":
        yield _table("By day", "Day", sorted(found.days.items()))
    hours = [(f"{hour}:00", line) for hour, line in sorted(found.hours.items())]
    yield _table("By hour in which they began", "Hour", hours)
    yield _table("By agent", "Agent", _by_size(found.agents, NOBODY))
    yield _matrix(found)
    yield _table("By rule", "Rule", _by_size(found.rules, NO_RULE))
    yield _table("By department", "Department", _by_size(found.departments, NONE))


def _by_size(lines: Mapping[str | None, Line], nothing: str) -> list[tuple[str, Line]]:
    ordered = sorted(lines.items(), key=lambda one: (-one[1].talks, one[0] or ""))
    return [(name or nothing, line) for name, line in ordered]


def _table(title: str, name: str, lines: Sequence[tuple[str, Line]]) -> Table:
    columns = [(name, False), *((column, True) for column in _COLUMNS)]
    return Table(title, columns, [[key, *_cells(line)] for key, line in lines[:ROWS]])


def _cells(line: Line) -> list[Cell]:
    first, length = line.first_answer, line.length
    return [
        *(line.talks, line.unanswered, _brief(first.median), _brief(first.p90)),
        *(_brief(length.median), _brief(length.p90), _number(line.messages.median), _number(line.rating)),
        *(_percent(line.satisfied, line.ratings), line.ratings, _percent(line.ordered, line.talks)),
        *(line.orders, _money(line.revenue)),
    ]


def _together(line: Line) -> Table:
    """The spreads of all conversations."""

    def row(name: str, spread: Spread, shown: Callable[[float | None], str | None]) -> list[Cell]:
        return [name, spread.n, shown(spread.median), shown(spread.p90)]

    return Table(
        "All conversations",
        [("Figure", False), ("Number", True), ("Median", True), ("90 % within", True)],
        [
            row("First answer", line.first_answer, _brief),
            row("Length", line.length, _brief),
            row("Messages", line.messages, _number),
        ],
    )


def _matrix(found: Figures) -> Table:
    """What each agent makes of the conversations of each rule: seed E14."""
    rules = [name for name, _ in sorted(found.rules.items(), key=lambda one: -one[1].talks)][:MATRIX_RULES]
    agents = sorted(found.agents.items(), key=lambda one: (-one[1].talks, one[0] or ""))[:ROWS]

    def cell(agent: str | None, rule: str | None) -> str | None:
        line = found.pairs.get((agent, rule))
        return None if line is None or not line.talks else f"{line.talks} / {line.orders}"

    columns = [("Agent", False), *((rule or NO_RULE, True) for rule in rules)]
    rows: list[Sequence[Cell]] = [
        [agent or NOBODY, *(cell(agent, rule) for rule in rules)] for agent, line in agents if line.talks
    ]
    return Table("By agent and rule: conversations / orders", columns, rows)


def _brief(seconds: float | None) -> str | None:
    return None if seconds is None else brief(seconds)


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f}".removesuffix(".0")


def _percent(part: int, of: int) -> str | None:
    return f"{100 * part / of:.0f} %" if of else None


def _money(revenue: Mapping[str, Decimal]) -> str | None:
    return (
        ", ".join(f"{figure(amount, currency)} {currency}".strip() for currency, amount in revenue.items())
        or None
    )


# -- CSV

_CSV = (
    *("by", "name", "rule", "conversations", "unanswered", "first_answers", "first_answer_median"),
    *("first_answer_p90", "length_median", "length_p90", "messages_median", "messages_p90", "ratings"),
    *("rating", "satisfied", "ordered", "orders", "revenue", "currency"),
)


@signed_in
async def team_csv(request: Request, context: AgentContext) -> Response:
    """The figures as CSV: durations in seconds, a line for each currency of the revenue."""
    context.at.take("exports")
    found = await _figures(context, Span.of(request, context))

    async def parts() -> AsyncIterator[Sequence[Sequence[Cell]]]:
        yield [row for by, name, rule, line in _lines(found) for row in _rows(by, name, rule, line)]

    return sheet(request, "team", _CSV, parts())


def _lines(found: Figures) -> Iterator[tuple[str, str | None, str | None, Line]]:
    yield "all", None, None, found.all
    for day, line in sorted(found.days.items()):
        yield "day", day, None, line
    for hour, line in sorted(found.hours.items()):
        yield "hour", str(hour), None, line
    for by, lines in (("agent", found.agents), ("rule", found.rules), ("department", found.departments)):
        for name, line in sorted(lines.items(), key=lambda one: one[0] or ""):
            yield by, name, None, line
    for (agent, rule), line in sorted(
        found.pairs.items(), key=lambda one: (one[0][0] or "", one[0][1] or "")
    ):
        yield "agent and rule", agent, rule, line


def _rows(by: str, name: str | None, rule: str | None, line: Line) -> Iterator[Sequence[Cell]]:
    first, length, messages = line.first_answer, line.length, line.messages
    values: list[Cell] = [
        *(by, name, rule, line.talks, line.unanswered, first.n),
        *(_exact(one) for one in (first.median, first.p90, length.median, length.p90)),
        *(_exact(messages.median), _exact(messages.p90), line.ratings, _exact(line.rating)),
        *(line.satisfied, line.ordered, line.orders),
    ]
    for currency, amount in line.revenue.items() or (("", Decimal()),):
        yield [*values, figure(amount, currency), currency or None]


def _exact(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}".rstrip("0").rstrip(".")


routes: list[BaseRoute] = [
    Route("/desk/team", team, methods=["GET"]),
    Route("/desk/team.csv", team_csv, methods=["GET"]),
]
