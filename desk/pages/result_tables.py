"""The tables of the report on rules: as they stand on pages, and the same exactly, for a spreadsheet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from ...rules.kpis import Kpi
from ...rules.sums import Sums
from ...rules.verdicts.counts import Count, Interval
from ...service.rule_lines import Line
from ...service.rule_reports import Report
from ...service.rule_results import RuleRow, TextTest
from ..times import brief
from .owner import ROWS, figure
from .sheets import Cell, Table

NO_RULE, NOBODY, NO_PARTNER, ALL = "no rule", "nobody", "no partner", "all"
MATRIX_RULES: Final = 8
"""Rules of the matrix, those with most conversations."""


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole."""

    count: Count


@dataclass(frozen=True, slots=True)
class Part:
    """A share as a number: 0.12 is 12 %; None where nothing was counted. `points`: a difference of shares."""

    value: float | None
    points: bool = False


@dataclass(frozen=True, slots=True)
class Seconds:
    """A length of time."""

    value: float


@dataclass(frozen=True, slots=True)
class Money:
    """Amounts by currency."""

    amounts: Mapping[str, Decimal]


Value = str | int | float | Share | Part | Seconds | Money | Interval | None


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table: its name in addresses, its title, its columns by their names in files, and its rows."""

    name: str
    title: str
    columns: Sequence[tuple[str, str, bool]]
    rows: Sequence[Sequence[Value]]

    def table(self) -> Table:
        """As it stands on a page: of many rows the first ones."""
        shown = [[_shown(value) for value in row] for row in self.rows[:ROWS]]
        return Table(self.title, [(title, number) for title, _, number in self.columns], shown)

    def names(self) -> list[str]:
        """The columns of the file. An interval has two, and so has a share: its parts."""
        return [name for _, column, _ in self._kinds() for name in column]

    def lines(self) -> list[list[Cell]]:
        """The rows of the file."""
        kinds = [kind for _, _, kind in self._kinds()]
        return [
            [cell for value, kind in zip(row, kinds, strict=True) for cell in _exact(value, kind)]
            for row in self.rows
        ]

    def _kinds(self) -> list[tuple[str, list[str], type]]:
        found = []
        for place, (title, name, _) in enumerate(self.columns):
            values = [row[place] for row in self.rows if row[place] is not None]
            kind = type(values[0]) if values else str
            names = {Share: [name, f"{name}_of"], Interval: [f"{name}_low", f"{name}_high"]}
            found.append((title, names.get(kind, [name]), kind))
        return found


def _shown(value: Value) -> Cell:
    match value:
        case None:
            return None
        case Share(count):
            # Of nothing there is no rate.
            return f"{percent(count.rate)} of {count.n:,}" if count.n else "0 of 0"
        case Part(number, points):
            return None if number is None else f"{100 * number:+.1f} points" if points else percent(number)
        case Seconds(number):
            return brief(number)
        case Money(found):
            return money(found)
        case Interval(low=low, high=high):
            # From 0 to 100 % is what nothing tells.
            return f"{percent(low)} to {percent(high)}" if low > 0 or high < 1 else "anything"
        case float():
            return f"{value:.1f}"
    return value


def _exact(value: Value, kind: type) -> list[Cell]:
    if value is None:
        return [None, None] if kind in (Share, Interval) else [None]
    match value:
        case Share(count):
            return [count.successes, count.n]
        case Part(number, _) | Seconds(number):
            return [None] if number is None else [f"{number:.6g}"]
        case Money(found):
            return [money(found)]
        case Interval(low=low, high=high):
            return [f"{low:.6g}", f"{high:.6g}"]
        case float():
            return [f"{value:.6g}"]
    return [value]


def percent(share: float) -> str:
    """17.3 %."""
    return f"{100 * share:.1f} %"


def money(found: Mapping[str, Decimal]) -> str | None:
    """Amounts of several currencies."""
    return ", ".join(f"{figure(one, name)} {name}".strip() for name, one in sorted(found.items())) or None


def sheets(report: Report) -> dict[str, Sheet]:
    """All tables of a report, by name."""
    found = [
        rules(report.rules),
        texts(report.texts),
        figures("week", "By week, from Monday on", "Week", "week", report, report.by_week),
        figures("rule", "By rule", "Rule", "rule", report, report.by_rule, NO_RULE),
        figures("text", "By text", "Rule and text", "text", report, report.by_text),
        figures("partner", "By partner", "Partner", "partner", report, report.by_partner, NO_PARTNER),
        figures("agent", "By agent", "Agent", "agent", report, report.by_agent, NOBODY),
        matrix(report.pairs),
        acceptance(report),
        carts(report),
        guards(report),
        steps(report),
    ]
    return {sheet.name: sheet for sheet in found if sheet.rows}


def rules(rows: Sequence[RuleRow]) -> Sheet:
    """The verdicts on rules: one of five words, always with the number and its interval."""
    columns = [
        *(("Rule", "rule", False), ("Verdict", "verdict", False), ("Reached", "reached", True)),
        *(("95 %", "interval", True), ("Estimate", "estimate", True), ("Target", "target", True)),
        *(("Next look at", "next_look", True), ("After a purchase", "after_purchase", True)),
        *(("Goal", "goal", False), ("Stage", "stage", False)),
    ]
    return Sheet(
        "verdicts",
        "Verdicts on rules",
        columns,
        [
            [
                *(row.rule, row.verdict.word, Share(row.verdict.now), row.verdict.interval),
                *(
                    Part(row.verdict.estimate if row.verdict.now.n else None),
                    Part(row.target),
                    row.verdict.next_look,
                    row.post,
                ),
                *(row.goal, row.stage or None),
            ]
            for row in rows
        ],
    )


def texts(tests: Sequence[TextTest]) -> Sheet:
    """The verdicts on texts."""
    columns = [
        *(
            ("Text", "text", False),
            ("Verdict", "verdict", False),
            ("Chatted of those who saw it", "chatted", True),
        ),
        *(("95 %", "interval", True), ("Better than the best other", "better", True)),
        *(("Costs if wrong", "loss", True), ("Next look at", "next_look", True)),
    ]
    rows: list[list[Value]] = []
    for test in tests:
        for place, row in enumerate(test.rows, 1):
            name, verdict = f"{test.rule} / {row.text}", row.verdict
            if verdict is None:
                rows.append([name, f"place {place}", Share(row.seen), None, None, None, None])
                continue
            word = "the lot is broken" if test.broken else verdict.word
            told = all(other.seen.n for other in test.rows)
            better, loss = (verdict.better, verdict.loss) if told else (None, None)
            rest: list[Value] = [Part(better), Part(loss), verdict.next_look]
            rows.append([name, word, Share(row.seen), verdict.interval, *rest])
    return Sheet("texts", "Verdicts on texts", columns, rows)


def figures(
    name: str, title: str, first: str, column: str, report: Report, lines: Sequence[Line], nothing: str = ""
) -> Sheet:
    """The five figures of each line, with cost and what it brings."""
    columns = [
        *(
            (first, column, False),
            ("Contacts", "contacts", True),
            ("After a purchase", "after_purchase", True),
        ),
        *(("Ordered", "ordered", True), ("Orders", "orders", True), ("Revenue", "revenue", True)),
        *(("Average order", "average_order", True), ("Satisfied", "satisfied", True)),
        *(("Rating", "rating", True), ("Work", "work_seconds", True), ("Utilisation", "utilisation", True)),
        ("Commission", "commission", True),
    ]
    if report.costs:
        columns += [
            ("Cost", "cost", True),
            ("Cost per contact", "cost_per_contact", True),
            ("ROI", "roi", True),
        ]
    detailed = name == "text"
    rows: list[list[Value]] = [
        [_called(line, detailed=detailed) or nothing, *_kpi(line.kpi, report)] for line in lines
    ]
    if name == "rule" and rows:
        rows.append([ALL, *_kpi(report.all.kpi, report)])
    return Sheet(name, title, columns, rows)


def _called(line: Line, *, detailed: bool) -> str:
    return f"{line.name} / {line.detail or NOBODY}" if detailed else line.name


def _kpi(kpi: Kpi, report: Report) -> list[Value]:
    found: list[Value] = [
        *(kpi.talks, kpi.post, Share(Count(kpi.ordered, max(kpi.ordered, kpi.sales_talks))), kpi.orders),
        *(Money(kpi.revenue), Money(kpi.order), Share(Count(kpi.satisfied, kpi.ratings)), kpi.rating),
        *(Seconds(float(kpi.work)), None if kpi.utilisation is None else Part(kpi.utilisation)),
        Money(kpi.commission),
    ]
    if report.costs:
        found += [
            *(_one(kpi.cost, report.currency), _one(kpi.per_contact, report.currency)),
            None if kpi.roi is None else Part(float(kpi.roi)),
        ]
    return found


def matrix(pairs: Mapping[tuple[str, str], Sums]) -> Sheet:
    """What each agent makes of the conversations of each rule: seed E14."""
    of_rule: dict[str, Decimal] = {}
    of_agent: dict[str, Decimal] = {}
    for (agent, rule), sums in pairs.items():
        of_rule[rule] = of_rule.get(rule, Decimal()) + sums.get("talks", 0)
        of_agent[agent] = of_agent.get(agent, Decimal()) + sums.get("talks", 0)
    names = sorted(of_rule, key=lambda name: (-of_rule[name], name))[:MATRIX_RULES]

    def cell(agent: str, rule: str) -> str | None:
        sums = pairs.get((agent, rule))
        if sums is None or not sums.get("talks"):
            return None
        rated = int(sums.get("ratings", 0))
        rating = f" / {sums['stars'] / rated:.1f}" if rated else ""
        return f"{int(sums['talks'])} / {int(sums.get('ordered', 0))}{rating}"

    columns = [("Agent", "agent", False), *((name or NO_RULE, name or "no_rule", True) for name in names)]
    rows: list[list[Value]] = [
        [agent or NOBODY, *(cell(agent, name) for name in names)]
        for agent in sorted(of_agent, key=lambda name: (-of_agent[name], name))
    ]
    return Sheet("matrix", "By agent and rule: conversations / with an order / rating", columns, rows)


def acceptance(report: Report) -> Sheet:
    """Who takes invites, by time on the site and of new and returning visitors: seed D2, D3."""
    columns = [("Visitors", "visitors", False), ("Accepted", "accepted", True), ("95 %", "interval", True)]
    rows: list[list[Value]] = []
    for one in report.acceptance:
        if one.seconds is not None:
            name = f"after {brief(one.seconds)} on the site" if one.seconds else "at once"
        else:
            name = "new" if one.new else "returning"
        rows.append([name, Share(one.count), one.interval])
    return Sheet("acceptance", "Accepted invites", columns, rows)


def carts(report: Report) -> Sheet:
    """The cart at the invite and at the order, and the order beside that of all customers: seed B24, B26."""
    columns = [
        *(("Rule", "rule", False), ("Orders", "orders", True), ("Cart at the invite", "before", True)),
        *(("At the order", "after", True), ("Grown by", "grown", True)),
        *(("Average order", "average_order", True), ("Of all customers", "average_of_all", True)),
        ("Above that by", "above", True),
    ]
    rows: list[list[Value]] = []
    for line in (*report.by_rule, Line(ALL, report.all.kpi)):
        kpi = line.kpi
        for currency in sorted({*kpi.order, *kpi.before}):
            before, after = kpi.before.get(currency), kpi.after.get(currency)
            own, every = kpi.order.get(currency), report.order.get(currency)
            rows.append(
                [
                    *(line.name or NO_RULE, kpi.carts.get(currency, 0)),
                    *(_one(before, currency), _one(after, currency), _more(before, after)),
                    *(_one(own, currency), _one(every, currency), _more(every, own)),
                ]
            )
    return Sheet("carts", "Carts and orders", columns, rows)


def _one(amount: Decimal | None, currency: str) -> Money | None:
    return None if amount is None else Money({currency: amount})


def _more(of: Decimal | None, value: Decimal | None) -> Part | None:
    return Part(float(value / of - 1)) if of and value is not None else None


def guards(report: Report) -> Sheet:
    """Whether invites drive visitors away: seed D16."""
    columns = [
        *(("Rule", "rule", False), ("Left after the invite", "left", True)),
        *(("Without an invite", "without", True), ("Difference", "difference", True)),
        *(("95 %, points", "between", False), ("Put away", "dismissed", True)),
    ]
    rows: list[list[Value]] = []
    for one in report.guards:
        apart = None if one.without is None else Part(one.exits.rate - one.without.rate, points=True)
        between = one.difference
        said = None if between is None else f"{100 * between.low:+.1f} to {100 * between.high:+.1f}"
        without = None if one.without is None else Share(one.without)
        rows.append([one.rule or ALL, Share(one.exits), without, apart, said, Share(one.dismissed)])
    return Sheet("guardrails", "Visits that ended on the page of the invite", columns, rows)


def steps(report: Report) -> Sheet:
    """How far visitors came, by rule, version and arm; each counts once."""
    names = ("eligible", "assigned", "rendered", "seen", "dismissed", "accepted", "conversations", "orders")
    more = ("post_purchase", "matured", "matured_orders")
    columns = [
        *(("Rule", "rule", False), ("Version", "version", False), ("Arm", "arm", False)),
        *((name.replace("_", " ").capitalize(), name, True) for name in (*names, *more)),
    ]
    rows: list[list[Value]] = [
        [one.rule or ALL, one.edition, one.arm, *(int(sums.get(name, 0)) for name in (*names, *more))]
        for one, sums in sorted(report.exposed.items())
    ]
    return Sheet("steps", "Visitors in experiments", columns, rows)
