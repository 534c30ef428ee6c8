"""A partner's own pages: what came of its clicks. All work without JavaScript."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...credit.commission import paid_part
from ...orders.money import minor_digits
from ...payouts.account import worded
from ...service.before_after import Change, compared
from ...stores.ledger.commissions import Commission, CommissionSum, Cursor, WantedCommissions, place
from ...stores.ledger.partner_book import Detail
from ...stores.ledger.totals import Total, Weeks
from ..guard import Refused
from .charts import Chart, Drawing, drawn
from .partner_door import PartnerContext, for_partner, partner_page
from .partner_words import Words
from .sheets import Cell, Table, sheet

WEEKS: Final = 13
"""Weeks of the chart: the present one, and a quarter of a year before it."""

SHOWN: Final = 50
PAYOUTS: Final = 12
FILE_COST: Final = 10
"""Pages that a file counts as."""

STEP: Final = 200
MOST_LINES: Final = 100_000
"""Lines of one file. The next file begins where it ends."""


@dataclass(frozen=True, slots=True)
class Sum:
    """What a period comes to in one currency, as text; `states` are number and commission by state."""

    currency: str
    orders: str
    value: str
    commission: str
    states: Sequence[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Line:
    """An order of a list, as text."""

    number: str
    placed: str
    at: str
    amount: str
    refunded: str
    order_state: str
    channel: str
    state: str
    commission: str
    part: str
    paid: str
    in_review: bool


# -- the overview


@for_partner
async def overview(request: Request, context: PartnerContext) -> Response:
    """This week and this month, the weeks before, and whether they have changed."""
    at, words = context.at, context.words
    now, zone, ledger = at.service.clock.now(), at.site.zone, at.service.ledger
    weeks = Weeks.until(now, WEEKS, zone)
    today = datetime.fromtimestamp(now, zone).date()
    month = datetime(today.year, today.month, 1, tzinfo=zone).timestamp()
    totals = await ledger.totals.of([context.site], weeks, now, partner=context.partner)
    clicks = await _clicks(context, weeks)
    periods = []
    for name, since in (("this_week", weeks.starts[-1]), ("this_month", month)):
        sums = await ledger.partner_book.sums(context.site, context.partner, since, weeks.end, now)
        periods.append((words[name], _sums(words, sums)))
    change = await _change(context, now)
    return partner_page(
        request,
        context,
        "partner.html",
        here="/",
        periods=periods,
        charts=_charts(context, weeks, totals),
        weeks=_weeks(context, weeks, totals, clicks),
        change=change,
        payouts=await _payouts(context),
    )


async def _payouts(context: PartnerContext) -> Table | None:
    """The newest payouts; None without any."""
    words, zone = context.words, context.at.site.zone
    found = await context.at.service.ledger.payouts.list(context.site, partner=context.partner, limit=PAYOUTS)
    rows = [
        (
            one.period,
            words.day(datetime.fromtimestamp(one.made_at, zone).date()),
            words.number(one.lines),
            words.units(one.amount, one.currency),
        )
        for one in found
    ]
    names = ("period", "made_on", "lines", "amount")
    columns = [(words[name], name in ("lines", "amount")) for name in names]
    return Table(words["payouts"], columns, rows) if rows else None


def _sums(words: Words, found: Sequence[CommissionSum]) -> list[Sum]:
    by_currency: dict[str, list[CommissionSum]] = {}
    for one in found:
        by_currency.setdefault(one.currency, []).append(one)
    return [
        Sum(
            currency,
            words.number(sum(s.count for s in sums if s.state != "declined")),
            words.units(sum(s.value for s in sums if s.state != "declined"), currency),
            words.units(sum(s.amount for s in sums if s.state != "declined"), currency),
            [(_named_sum(words, s), words.number(s.count), words.units(s.amount, currency)) for s in sums],
        )
        for currency, sums in by_currency.items()
    ]


def _named_sum(words: Words, one: CommissionSum) -> str:
    return words.named("state", worded(one.state, approved=one.approved).replace(", ", "_"))


async def _clicks(context: PartnerContext, weeks: Weeks) -> Mapping[float, int]:
    """The clicks of each week, by its start."""
    zone = context.at.site.zone
    days = [datetime.fromtimestamp(start, zone).date() for start in (*weeks.starts, weeks.end)]
    found = await context.at.service.ledger.partner_clicks.of(
        context.site, context.partner, days[0].isoformat(), days[-1].isoformat()
    )
    return {
        start: sum(n for day, n in found.items() if since.isoformat() <= day < until.isoformat())
        for start, since, until in zip(weeks.starts, days, days[1:], strict=False)
    }


def _charts(context: PartnerContext, weeks: Weeks, totals: Sequence[Total]) -> list[Drawing]:
    words, zone = context.words, context.at.site.zone
    names = [words.short_day(datetime.fromtimestamp(start, zone).date()) for start in weeks.starts]
    counts = _orders(weeks, totals)
    charts = [(words["orders_a_week"], [Decimal(n) for n in counts])]
    for currency in sorted({total.currency for total in totals if total.commission}):
        earned = [
            sum((t.commission for t in totals if (t.week, t.currency) == (start, currency)), Decimal())
            for start in weeks.starts
        ]
        charts.append((words["commission_a_week"].format(currency), earned))
    return [
        Drawing(title, drawn(Chart(title, "columns", list(zip(names, values, strict=True))), words.language))
        for title, values in charts[:3]
        if any(values)
    ]


def _orders(weeks: Weeks, totals: Sequence[Total]) -> list[int]:
    """The orders of each week that earn something, as the sums of a period count them."""
    return [sum(total.earning for total in totals if total.week == start) for start in weeks.starts]


def _weeks(
    context: PartnerContext, weeks: Weeks, totals: Sequence[Total], clicks: Mapping[float, int]
) -> Table:
    """A line for each week, the newest first: clicks, orders, of these by channel, and the commission."""
    words, zone, found = context.words, context.at.site.zone, list[Sequence[str]]()
    for start in reversed(weeks.starts):
        own = [total for total in totals if total.week == start]
        earned: dict[str, Decimal] = {}
        for total in own:
            earned[total.currency] = earned.get(total.currency, Decimal()) + total.commission
        chat = sum(total.earning for total in own if total.channel == "chat")
        phone = sum(total.earning for total in own if total.channel == "phone")
        found.append(
            (
                words.day(datetime.fromtimestamp(start, zone).date()),
                words.number(clicks[start]),
                words.number(sum(total.earning for total in own)),
                words.number(chat),
                words.number(phone),
                ", ".join(words.money(amount, currency) for currency, amount in earned.items() if currency),
            )
        )
    names = ("week_of", "clicks", "orders", "of_it_chat", "of_it_phone", "commission")
    return Table(words["weeks"], [(words[name], name != "week_of") for name in names], found)


# -- before and after


@dataclass(frozen=True, slots=True)
class Changed:
    """Before and after, as text. `named` says which day, `says` what came out of it."""

    named: str
    rows: Sequence[tuple[str, str, str]]
    says: str
    how: str


async def _change(context: PartnerContext, now: float) -> Changed:
    """The weeks before the day that the shop has set, and those after it; else the last weeks and the ones
    before them."""
    at, words, zone = context.at, context.words, context.at.site.zone
    settings, ledger = at.site.settings.partner_pages, at.service.ledger
    day = settings.change
    today = datetime.fromtimestamp(now, zone).date()
    this_monday = today - timedelta(days=today.weekday())
    if day is None:
        middle = after = this_monday - timedelta(weeks=settings.weeks)
    else:
        middle = day - timedelta(days=day.weekday())
        # The week in which it changed belongs to neither side.
        after = middle if day == middle else middle + timedelta(weeks=1)
    first = await ledger.partner_book.first_order(context.site, context.partner)
    sides: list[list[int]] = []
    for start, end in (
        (middle - timedelta(weeks=settings.weeks), min(middle, this_monday)),
        (after, min(after + timedelta(weeks=settings.weeks), this_monday)),
    ):
        mondays = [start + timedelta(weeks=n) for n in range(max(0, (end - start).days // 7))]
        times = [datetime(d.year, d.month, d.day, tzinfo=zone).timestamp() for d in mondays]
        # Weeks in which the partner had not begun yet say nothing, nor does a part of one.
        times = [time for time in times if first is not None and time >= first]
        if not times:
            sides.append([])
            continue
        closing = datetime(end.year, end.month, end.day, tzinfo=zone).timestamp()
        weeks = Weeks(tuple(times), closing)
        totals = await ledger.totals.of([context.site], weeks, now, partner=context.partner)
        sides.append(_orders(weeks, totals))
    return _told(words, compared(*sides), day, settings.change_name)


def _told(words: Words, change: Change, day: date | None, name: str) -> Changed:
    named = words["change_last"] if day is None else words["change_day"].format(words.day(day))
    if day is not None and name:
        named = f"{named} ({name})"
    rows = [
        (words[side], words.number(weeks), words.number(round(Decimal(mean), 1)))
        for side, weeks, mean in (
            ("before", change.weeks_before, change.before),
            ("after", change.weeks_after, change.after),
        )
    ]
    if change.ratio is None or change.low is None or change.high is None:
        return Changed(named, rows, words["verdict_too_few"], words["change_how"])
    parts = [words.difference(Decimal(value - 1)) for value in (change.ratio, change.low, change.high)]
    says = f"{words['change_interval'].format(*parts)} {words['verdict_' + change.verdict.replace(' ', '_')]}"
    return Changed(named, rows, says, words["change_how"])


# -- the orders


@for_partner
async def orders(request: Request, context: PartnerContext) -> Response:
    """The newest orders, a page at a time; `before` is the number of the last one of the page before."""
    after = await _after(request, context)
    found, lines = await _lines(context, after, SHOWN)
    return partner_page(
        request,
        context,
        "partner_orders.html",
        here="/orders",
        lines=lines,
        more=found[-1] if len(found) == SHOWN else None,
    )


async def _after(request: Request, context: PartnerContext) -> Cursor | None:
    """Where the page before ended, by the order's number and its currency. Raises Refused (404)."""
    number = request.query_params.get("before", "")[:200]
    if not number:
        return None
    found = await context.at.service.ledger.partner_book.place(context.site, context.partner, number)
    if found is None:
        # The same for an order that is not there and for one of somebody else.
        raise Refused(404, context.words["no_order"])
    return (*found, context.partner, request.query_params.get("currency", "")[:3])


async def _lines(
    context: PartnerContext, after: Cursor | None, limit: int
) -> tuple[Sequence[Commission], list[Line]]:
    ledger = context.at.service.ledger
    wanted = WantedCommissions(site=context.site, partner=context.partner)
    found = await ledger.commissions.page(wanted, limit=limit, after=after)
    rows = [one.order for one in found]
    details = await ledger.partner_book.details(context.site, context.partner, rows)
    return found, [_line(context, one, details[one.order]) for one in found if one.order in details]


def _state(one: Commission, detail: Detail) -> str:
    """The state of a commission, as the sums count it, also where the shop does not send its call. What is
    held says no more than that it is looked at: why is the shop's."""
    return "review" if detail.doubt else worded(one.state, approved=one.waits_until is None)


def _line(context: PartnerContext, one: Commission, detail: Detail) -> Line:
    words, zone = context.words, context.at.site.zone
    placed = datetime.fromtimestamp(one.placed_at, zone)
    whole = detail.part == 1
    return Line(
        number=detail.number,
        placed=words.moment(placed),
        at=placed.isoformat(timespec="seconds"),
        amount=words.units(one.value, one.currency),
        refunded=words.money(detail.refunded, one.currency) if whole and detail.refunded else "",
        order_state=words.named("order", detail.state),
        channel=words.named("channel", one.channel),
        state=words.named("state", _state(one, detail).replace(", ", "_")),
        commission=words.units(one.amount, one.currency),
        part="" if detail.part is None or whole else words.percent(detail.part),
        paid="" if not one.amount else words.percent(paid_part(detail.lines)),
        in_review=detail.doubt,
    )


HEADS: Final = (
    *("order", "placed_at", "order_state", "amount", "currency", "refunded", "part", "channel"),
    *("state", "commission", "paid_percent", "settled", "paid_out"),
)
"""The columns of the file: for programs, so the same in every language."""


@for_partner
async def orders_file(request: Request, context: PartnerContext) -> Response:
    """All orders as CSV, from the newest on, or from behind the order `before`; MOST_LINES at most."""
    context.at.take("partner_pages", cost=FILE_COST)
    after = await _after(request, context)
    name = f"orders-{context.partner}"
    return sheet(request, name, HEADS, _parts(context, after))


async def _parts(context: PartnerContext, after: Cursor | None) -> AsyncIterator[Sequence[Sequence[Cell]]]:
    ledger = context.at.service.ledger
    wanted = WantedCommissions(site=context.site, partner=context.partner)
    for _ in range(MOST_LINES // STEP):
        found = await ledger.commissions.page(wanted, limit=STEP, after=after)
        rows = [one.order for one in found]
        details = await ledger.partner_book.details(context.site, context.partner, rows)
        yield [_cells(context, one, details[one.order]) for one in found if one.order in details]
        if len(found) < STEP:
            return
        after = place(found[-1])


def _cells(context: PartnerContext, one: Commission, detail: Detail) -> Sequence[Cell]:
    placed = datetime.fromtimestamp(one.placed_at, context.at.site.zone)
    digits = minor_digits(one.currency)

    def amount(units: int | None) -> str:
        return "" if units is None else f"{Decimal(units).scaleb(-digits):f}"

    return (
        detail.number,
        placed.isoformat(timespec="seconds"),
        detail.state,
        amount(one.value),
        one.currency,
        f"{detail.refunded:f}" if detail.part == 1 and detail.refunded else "",
        "" if detail.part is None else f"{detail.part:f}",
        one.channel,
        _state(one, detail),
        amount(one.amount),
        "" if one.amount is None else f"{(paid_part(detail.lines) * 100).normalize():f}",
        amount(one.locked),
        amount(one.paid),
    )


routes: list[BaseRoute] = [
    Route("/desk/partner/", overview, methods=["GET"]),
    Route("/desk/partner/orders", orders, methods=["GET"]),
    Route("/desk/partner/orders.csv", orders_file, methods=["GET"]),
]
