"""What conversations come to: first answers, length, ratings and orders, by agent, hour, rule and department.
No I/O: a test feeds it values."""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

K = TypeVar("K")

MOST_STARS: Final = 5
SATISFIED: Final = 4
"""The lowest rating, of 1 to 5, of a visitor who was satisfied."""

BEST: Final = 10
"""Conversations that are listed as the best."""


@dataclass(frozen=True, slots=True)
class Order:
    """A sale in a conversation, or after it: what the customer paid and did not get back."""

    amount: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation, as far as figures need it. Times in unix seconds. `agent` has it, or has answered it
    first if nobody has it any more; `answered_by` has answered first; `last_at` is the last message."""

    id: str
    started_at: float
    last_at: float
    messages: int
    answered_at: float | None = None
    answered_by: str | None = None
    agent: str | None = None
    rule: str | None = None
    department: str | None = None
    rating: int | None = None
    orders: Sequence[Order] = ()

    @property
    def first_answer(self) -> float | None:
        """How long the visitor waited for the first answer, in seconds."""
        return None if self.answered_at is None else max(0.0, self.answered_at - self.started_at)

    @property
    def length(self) -> float:
        """From its first message to its last, in seconds."""
        return max(0.0, self.last_at - self.started_at)


@dataclass(frozen=True, slots=True)
class Spread:
    """Of `n` values the median and the 90th percentile, both None without any."""

    n: int = 0
    median: float | None = None
    p90: float | None = None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """That of these values. The 90th percentile is the nearest rank: one of the values, so that nine of
        ten were no longer."""
        if not values:
            return cls()
        ordered, n = sorted(values), len(values)
        median = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
        return cls(n, median, ordered[math.ceil(0.9 * n) - 1])


@dataclass(frozen=True, slots=True)
class Line:
    """What several conversations come to. `first_answer` and `length` in seconds; `unanswered` are those in
    which nobody has answered, `ordered` those with an order. `revenue` is by currency."""

    talks: int = 0
    unanswered: int = 0
    first_answer: Spread = Spread()
    length: Spread = Spread()
    messages: Spread = Spread()
    ratings: int = 0
    rating: float | None = None
    satisfied: int = 0
    ordered: int = 0
    orders: int = 0
    revenue: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a time: all together and by the hour of the day, the day, agent, rule and department, in
    which the conversations began; None stands for those without one. `outside` are the conversations that
    began outside the office hours: they are no part of the times of first answers. `cut`: there are more
    conversations, which were left out."""

    all: Line = Line()
    hours: Mapping[int, Line] = field(default_factory=dict)
    days: Mapping[str, Line] = field(default_factory=dict)
    agents: Mapping[str | None, Line] = field(default_factory=dict)
    rules: Mapping[str | None, Line] = field(default_factory=dict)
    departments: Mapping[str | None, Line] = field(default_factory=dict)
    pairs: Mapping[tuple[str | None, str | None], Line] = field(default_factory=dict)
    best: Sequence[Talk] = ()
    outside: int = 0
    cut: bool = False


class _Sums:
    """Values that are being collected."""

    __slots__ = ("answers", "lengths", "messages", "orders", "ratings", "revenue", "unanswered")

    def __init__(self) -> None:
        self.answers: list[float] = []
        self.lengths: list[float] = []
        self.messages: list[float] = []
        self.ratings: list[int] = []
        self.orders: list[int] = []
        self.revenue: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.unanswered = 0

    def add(self, talk: Talk) -> None:
        self.lengths.append(talk.length)
        self.messages.append(talk.messages)
        self.unanswered += talk.answered_at is None
        if talk.rating is not None:
            self.ratings.append(talk.rating)
        if talk.orders:
            self.orders.append(len(talk.orders))
            for order in talk.orders:
                self.revenue[order.currency] += order.amount

    def line(self) -> Line:
        return Line(
            talks=len(self.lengths),
            unanswered=self.unanswered,
            first_answer=Spread.of(self.answers),
            length=Spread.of(self.lengths),
            messages=Spread.of(self.messages),
            ratings=len(self.ratings),
            rating=statistics.fmean(self.ratings) if self.ratings else None,
            satisfied=sum(one >= SATISFIED for one in self.ratings),
            ordered=len(self.orders),
            orders=sum(self.orders),
            revenue=dict(sorted(self.revenue.items())),
        )


def figures(
    talks: Iterable[Talk],
    zone: ZoneInfo,
    open_at: Callable[[float], bool] = lambda at: True,
    *,
    cut: bool = False,
) -> Figures:
    """The figures of these conversations, in the order in which they began. Hours and days are those of the
    zone; `open_at` says whether a time is within the office hours."""
    every: list[Talk] = list(talks)
    whole, outside = _Sums(), 0
    hours, days = defaultdict[int, _Sums](_Sums), defaultdict[str, _Sums](_Sums)
    agents, rules, departments = (defaultdict[str | None, _Sums](_Sums) for _ in range(3))
    pairs = defaultdict[tuple[str | None, str | None], _Sums](_Sums)
    for talk in every:
        began = datetime.fromtimestamp(talk.started_at, UTC).astimezone(zone)
        own = [
            *(whole, hours[began.hour], days[began.date().isoformat()], rules[talk.rule]),
            departments[talk.department],
        ]
        for sums in (*own, agents[talk.agent], pairs[talk.agent, talk.rule]):
            sums.add(talk)
        if not open_at(talk.started_at):
            outside += 1
        elif talk.first_answer is not None:
            # To the one who gave it, whoever has the conversation now.
            for sums in (*own, agents[talk.answered_by], pairs[talk.answered_by, talk.rule]):
                sums.answers.append(talk.first_answer)
    best = sorted((talk for talk in every if talk.orders or talk.rating == MOST_STARS), key=_worth)
    return Figures(
        whole.line(),
        _lines(hours),
        _lines(days),
        _lines(agents),
        _lines(rules),
        _lines(departments),
        _lines(pairs),
        best=best[:BEST],
        outside=outside,
        cut=cut,
    )


def _lines(group: Mapping[K, _Sums]) -> dict[K, Line]:
    return {key: sums.line() for key, sums in group.items()}


def _worth(talk: Talk) -> tuple[object, ...]:
    """Those with an order first, of these the best rated."""
    return not talk.orders, -(talk.rating or 0), -len(talk.orders), talk.started_at
