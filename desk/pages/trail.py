"""What an agent sees of a visitor: its arrivals, search words, pages and cart.

All of it comes from a browser and may be false or an attack. No URL becomes a link, not even one of the shop:
a query that exploits a hole in the shop would run with the agent's rights. Queries
are not shown either.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from ...referral.masking import one_line
from ...referral.search import search_word
from ...referral.touches import DOUBTS, Touch
from ...referral.visitor import VISIT_GAP, Page, Visitor
from ...service.page_names import path_name, short_titles
from ...stores.watch import LIVE_SECONDS

ARRIVALS = 5
SHOP_WORDS = ("q", "search", "query", "s")
# Search engines that say where a visitor comes from but, since about 2013, seldom what it looked for.
SILENT_ENGINES = frozenset(
    {"google", "bing", "yahoo", "duckduckgo", "ecosia", "yandex", "baidu", "qwant", "startpage", "seznam"}
)
CAMPAIGN = {
    "utm_source": "Source",
    "utm_medium": "Medium",
    "utm_campaign": "Campaign",
    "utm_content": "Content",
}
Own = Callable[[str], bool]
"""Whether a host, with its port, is the shop's."""

_END = re.compile(r"[?#]")  # of an address without query and fragment


@dataclass(frozen=True, slots=True)
class Step:
    """One page view, with the page's name and path. `seconds` is the time on the page, None where not known;
    `now` while it is shown."""

    at: float
    name: str
    path: str
    seconds: float | None
    now: bool
    word: str | None


@dataclass(frozen=True, slots=True)
class Visit:
    """A run of page views, newest first."""

    at: float
    seconds: float
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class ClickLine:
    """A click id of a network, and the partner who earns by it."""

    network: str
    partner: str | None
    param: str
    value: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """One touch. `word` is what was searched for; `silent` names an engine that did not pass it on; `doubt`
    says why its clicks are suspicious."""

    at: float
    clicks: tuple[ClickLine, ...]
    campaign: tuple[tuple[str, str], ...]
    referrer: str
    landing: str
    word: str | None
    silent: str | None
    doubt: str


@dataclass(frozen=True, slots=True)
class VisitorSummary:
    """A summary of the visitor. Times in unix seconds."""

    live: bool
    seen_at: float
    first_at: float
    visit_at: float
    visits: int
    pages: int
    ordered_at: float
    cart: tuple[tuple[str, str], ...]
    invites: tuple[tuple[str, str], ...]
    arrivals: tuple[Arrival, ...]
    words: tuple[str, ...]
    trail: tuple[Visit, ...]
    page: Step | None


def summary(visitor: Visitor, is_own: Own, now: float) -> VisitorSummary:
    """The summary."""
    live = abs(now - visitor.seen_at) < LIVE_SECONDS  # the clock may have been set back
    trail = _trail(visitor, is_own, live)
    words = dict.fromkeys(step.word for visit in trail for step in visit.steps if step.word)
    return VisitorSummary(
        live=live,
        seen_at=visitor.seen_at,
        first_at=visitor.first_at,
        # No page was shown yet: the landing alone is known.
        visit_at=visitor.visit_at or visitor.seen_at or visitor.first_at,
        visits=visitor.visits,
        pages=visitor.pages,
        ordered_at=visitor.ordered_at,
        cart=_cart(visitor.cart),
        invites=_invites(visitor),
        arrivals=tuple(_arrival(t) for t in reversed(visitor.touches[-ARRIVALS:])),
        words=tuple(words),
        trail=trail,
        page=trail[0].steps[0] if trail else None,
    )


@dataclass(frozen=True, slots=True)
class ShortSummary:
    """The visitor in a line: whether it is on the site, on which page it is or was last, and its cart."""

    live: bool
    page: str
    cart: str


def short_summary(visitor: Visitor, now: float) -> ShortSummary:
    """The visitor in a line."""
    live = abs(now - visitor.seen_at) < LIVE_SECONDS
    steps = _trail(visitor, lambda host: False, live)
    cart = next((value for name, value in _cart(visitor.cart) if name == "Value"), "")
    return ShortSummary(live, steps[0].steps[0].name if steps else "", cart)


def _trail(visitor: Visitor, is_own: Own, live: bool) -> tuple[Visit, ...]:
    runs: list[list[Page]] = []
    names = short_titles(page.title for page in visitor.trail)
    for page in visitor.trail:
        if runs and page.at - runs[-1][-1].at <= VISIT_GAP:
            runs[-1].append(page)
        else:
            runs.append([page])
    return tuple(
        _visit(run, names, is_own, visitor.seen_at if number == 0 else None, live and number == 0)
        for number, run in enumerate(reversed(runs))
    )


def _visit(
    run: list[Page],
    names: Mapping[str, str],
    is_own: Own,
    seen_at: float | None,
    live: bool,
) -> Visit:
    ends = [*(p.at for p in run[1:]), seen_at]
    steps = [
        _step(page, names, is_own, None if end is None else max(0.0, end - page.at), live and page is run[-1])
        for page, end in zip(run, ends, strict=True)
    ]
    last = seen_at if seen_at is not None else run[-1].at
    return Visit(run[0].at, max(0.0, last - run[0].at), tuple(reversed(steps)))


def _step(page: Page, names: Mapping[str, str], is_own: Own, seconds: float | None, now: bool) -> Step:
    parts, name = _split(page.url), names[one_line(page.title)]
    if parts is None or not (parts.scheme or parts.netloc or parts.path):
        return Step(page.at, name or one_line(page.url), one_line(page.url), seconds, now, None)
    own = parts.scheme in ("http", "https") and is_own(parts.netloc)
    path = parts.path or "/"
    return Step(
        at=page.at,
        name=name or path_name(path),
        path=one_line(unquote(path) if own else _END.split(page.url, maxsplit=1)[0]),
        seconds=seconds,
        now=now,
        word=_shop_word(parts) if own else None,
    )


def _arrival(touch: Touch) -> Arrival:
    parts = _split(touch.referrer)
    host = parts.netloc.lower().rpartition("@")[2] if parts is not None else ""
    word = search_word(touch)
    engine = not word and any(label in SILENT_ENGINES for label in host.split("."))
    return Arrival(
        at=touch.at,
        clicks=tuple(
            ClickLine(
                one_line(c.network), c.partner and one_line(c.partner), one_line(c.param), one_line(c.value)
            )
            for c in touch.clicks
        ),
        campaign=tuple(
            (label, one_line(touch.campaign[name]))
            for name, label in CAMPAIGN.items()
            if touch.campaign.get(name)
        ),
        referrer=one_line(host),
        landing=one_line(unquote(touch.landing.partition("?")[0])),
        word=one_line(word) if word else None,
        silent=one_line(host.removeprefix("www.")) if engine else None,
        doubt=DOUBTS.get(touch.doubt, ""),
    )


def _shop_word(parts: SplitResult) -> str | None:
    try:
        query = dict(parse_qsl(parts.query, max_num_fields=200))
    except ValueError:
        return None
    found = (query[name].strip() for name in SHOP_WORDS if name in query)
    # `s=2` may be a step or a sort order: a word has a letter in it.
    return next((one_line(word) for word in found if any(c.isalpha() for c in word)), None)


def _cart(cart: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    lines = []
    if "value" in cart:
        lines.append(("Value", one_line(f"{cart['value']} {cart.get('currency', '')}".strip())))
    if "items" in cart:
        lines.append(("Items", one_line(cart["items"])))
    return tuple(lines)


def _invites(visitor: Visitor) -> tuple[tuple[str, str], ...]:
    """Each rule that invited it in this visit, with the last outcome."""
    outcomes: dict[str, str] = {}
    for what, rules in (
        ("seen", visitor.seen),
        ("dismissed", visitor.dismissed),
        ("accepted", visitor.accepted),
    ):
        outcomes.update(dict.fromkeys(rules, what))
    return tuple((one_line(rule), what) for rule, what in outcomes.items())


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:
        return None
