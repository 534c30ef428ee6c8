"""When to look: at counts fixed beforehand and at whole weeks, on what is ripe. Needs neither numpy nor
scipy.

Who looks after each conversation and stops at the first difference finds one in every third comparison of
equals (`make bench NAME=verdicts`). So a verdict may change only at a few looks.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import date, timedelta

from msgspec import Struct

from .counts import Count

# Conversations of a rule, and visitors of each text.
RULE_LOOKS = (100, 150, 200)
TEXT_LOOKS = (500, 1000, 1500, 2000)
WEEK = 7


def whole_weeks(started: date, today: date) -> date | None:
    """The day at whose start the last whole week since `started` was over, in the site's time zone; None
    before the first. Weekdays differ, so what is counted are whole weeks: a look takes what began before this
    day."""
    weeks = (today - started).days // WEEK
    return started + timedelta(days=weeks * WEEK) if weeks > 0 else None


def next_look(plan: Sequence[int], taken: Sequence[int]) -> int | None:
    """The count at which the next look is due, after looks at the counts `taken`; None after the last. A look
    that comes late, at 170 of 150, stands for all that it passed."""
    return next((count for count in plan if not taken or count > taken[-1]), None)


def look_due(plan: Sequence[int], taken: Sequence[int], n: int) -> bool:
    """Whether a look at `n`, counted up to the end of a whole week, is due."""
    due = next_look(plan, taken)
    return due is not None and n >= due


def days_until(plan: Sequence[int], a_day: float, window_days: float) -> tuple[int, int] | None:
    """In how many days a rule gets its first look and its last, with so many conversations a day of which
    each ripens for `window_days`; in whole weeks. None if there are none."""
    if a_day <= 0:
        return None
    weeks = [math.ceil((count / a_day + window_days) / WEEK) for count in (plan[0], plan[-1])]
    return max(1, weeks[0]) * WEEK, max(1, weeks[1]) * WEEK


class Talk(Struct, frozen=True):
    """A conversation of a rule: when it began, and when its visitor ordered, in seconds since the epoch.
    `ordered` is the order of the same visit that was there before the conversation, if any, else the first
    one after it, else None."""

    began: float
    ordered: float | None = None


class Ripe(Struct, frozen=True):
    """`count`: orders of conversations that began at least a window ago. `waiting`: conversations that did
    not. `after_order`: conversations that began when the order was already placed; they are in neither."""

    count: Count
    waiting: int
    after_order: int


def ripe(talks: Iterable[Talk], now: float, window: float) -> Ripe:
    """Count the orders within `window` seconds of the conversation, only where all of that time is over: else
    a rule would look worse the newer its conversations are. A talk after the order did not bring it (it is
    left out: not a failure either)."""
    orders = n = waiting = after = 0
    for talk in talks:
        if talk.ordered is not None and talk.ordered < talk.began:
            after += 1
        elif talk.began + window > now:
            waiting += 1
        else:
            n += 1
            orders += talk.ordered is not None and talk.ordered <= talk.began + window
    return Ripe(Count(orders, n), waiting, after)
