"""What recorded page views suggest for rules: how long to wait, and where visitors leave. No I/O."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .dry_run import PageView

LEAST: Final = 30
"""Page views of a kind, or visits, without which nothing is suggested."""

OTHER: Final = "other"
"""A page of no kind."""

LONGEST: Final = 1800
"""Seconds that a rule may wait."""

DONE: Final = ("confirmation",)
"""Kinds of pages at which a visit may well end."""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds on the site, or on pages of a kind: quartiles, over `count` recorded visits or page views.
    `wait` is what a rule may wait for: the median, None without enough of them."""

    what: str
    count: int
    lower: float
    median: float
    upper: float

    @property
    def wait(self) -> int | None:
        """The median in whole seconds, as a rule may wait for."""
        return max(1, round(self.median)) if self.count >= LEAST else None


@dataclass(frozen=True, slots=True)
class Exits:
    """Page views of a kind or at a step a day, and how many of them were the last of their visit. `share` is
    the part of these page views, `of_all` the part of all exits; `count` are the recorded page views.
    `candidate`: it is left more often than pages on the whole, so that a rule may help there."""

    what: str
    count: int
    views: float
    exits: float
    share: float
    of_all: float
    candidate: bool


@dataclass(frozen=True, slots=True)
class Suggested:
    """What page views suggest. `site` are the times of visits with more than one page, None without any."""

    site: Times | None
    pages: tuple[Times, ...]
    exits: tuple[Exits, ...]
    steps: tuple[Exits, ...]

    def rules(self) -> Iterator[dict[str, Any]]:
        """Rules to start from, as tables: a default rule that waits for the median time on the site, and one
        for each kind of page that is left more often than others, which waits as long as those stay who go
        on."""
        if self.site is not None and self.site.wait is not None:
            wait = f"{min(self.site.wait, LONGEST)}s"
            yield {"name": "suggested-default", "action": "invite", "wait": wait, "default": True}
        waits = {one.what: one.wait for one in self.pages}
        for one in self.exits:
            if one.candidate:
                line = "!has(page.type)" if one.what == OTHER else f"page.type == '{one.what}'"
                table = {"name": f"suggested-{one.what}", "when": [line], "action": "invite"}
                stays = waits.get(one.what)
                yield table if stays is None else {**table, "wait_page": f"{min(stays, LONGEST)}s"}


def suggest(views: Sequence[PageView], days: float, until: float) -> Suggested:
    """From page views of each visitor in their order. `until` is the time (unix seconds) before which a visit
    must have had its last page to be over. How long a last page was shown is hardly known, so only pages from
    which visitors went on have times."""
    pages: dict[str, list[tuple[float, float]]] = {}
    for view in views:
        if not view.left:
            pages.setdefault(_kind(view), []).append((view.shown, view.weight))
    found = [_times(kind, values) for kind, values in sorted(pages.items())]
    over = [view for view in views if not view.left or view.at < until]
    return Suggested(_site(views, until), tuple(found), _exits(over, days, _kind), _exits(over, days, _step))


def _kind(view: PageView) -> str:
    return str(view.facts.get("page", {}).get("type", OTHER))


def _step(view: PageView) -> str | None:
    step = view.facts.get("checkout", {}).get("step")
    return f"step {step}" if step else None


def _site(views: Sequence[PageView], until: float) -> Times | None:
    values = [(last.at + last.shown - first.at, first.weight) for first, last in _visits(views, until)]
    return _times("site", values) if values else None


def _visits(views: Sequence[PageView], until: float) -> Iterator[tuple[PageView, PageView]]:
    """The first and the last page view of each visit of several pages that is over."""
    first: PageView | None = None
    for view in views:
        if first is None:
            first = view
        if view.left:
            if first is not view and view.at < until:
                yield first, view
            first = None


def _times(what: str, values: list[tuple[float, float]]) -> Times:
    values.sort()
    return Times(what, len(values), *(_quantile(values, part) for part in (0.25, 0.5, 0.75)))


def _quantile(values: Sequence[tuple[float, float]], part: float) -> float:
    """The least value below which there is at least this part of the weight."""
    wanted, below = part * sum(weight for _, weight in values), 0.0
    for value, weight in values:
        below += weight
        if below >= wanted:
            return value
    return values[-1][0]


def _exits(
    views: Sequence[PageView], days: float, place_of: Callable[[PageView], str | None]
) -> tuple[Exits, ...]:
    counts: dict[str, list[float]] = {}
    for view in views:
        if (place := place_of(view)) is not None:
            own = counts.setdefault(place, [0, 0.0, 0.0])
            own[0] += 1
            own[1] += view.weight
            own[2] += view.weight if view.left else 0.0
    left = sum(own[2] for own in counts.values())
    every = sum(view.weight for view in views)
    usual = sum(view.weight for view in views if view.left) / every if every else 0.0
    found = [
        Exits(
            place,
            int(count),
            seen / days,
            gone / days,
            gone / seen,
            gone / left if left else 0.0,
            count >= LEAST and gone / seen > usual and place not in DONE,
        )
        for place, (count, seen, gone) in counts.items()
    ]
    return tuple(sorted(found, key=lambda one: (-one.exits, one.what)))
