"""Which requests are events: those that the site's settings or its platform's preset name, as far as a rule
asks for the event."""

from collections.abc import Collection, Iterable, Sequence

from ..settings.addresses import Patterns, patterns_of
from ..settings.model import PageType, Signal

# Of a shop without a preset: addresses in the words of most shop systems.
USUAL: tuple[Signal, ...] = (
    Signal(
        event="add_to_cart",
        path=[
            *("*/cart/add*", "*/cart/*/add*", "*/basket/add*", "*add-to-cart*", "*add_to_cart*"),
            *("*/checkout/cart/add*", "*addtocart*", "*/warenkorb/add*", "*/panier/add*"),
        ],
        status=["2xx", "3xx"],
    ),
    Signal(
        event="login_failed",
        path=["*login*", "*signin*", "*sign-in*", "*anmelden*", "*connexion*"],
        # Who is let in is sent on to another page.
        status=["200", "400", "401", "403", "422"],
        selector="input[type=password]",
    ),
    Signal(
        event="login_failed",
        path=["*login*", "*signin*", "*sign-in*", "*anmelden*", "*connexion*"],
        status=["401", "403"],
    ),
    Signal(
        event="coupon_refused",
        path=["*coupon*", "*voucher*", "*discount*", "*promo*", "*gutschein*"],
        status=["400", "404", "409", "422"],
    ),
    Signal(
        event="payment_failed",
        path=["*/payment*", "*/checkout/pay*", "*/zahlung*"],
        status=["400", "402", "422"],
    ),
    Signal(
        event="search_empty",
        page="search",
        method="GET",
        selector=".no-results, .no-result, .search-no-results, .no-search-results, "
        ".woocommerce-no-products-found, "
        "#no-results, .empty-search, .search__no-results, .template-search__results .empty",
    ),
)


class Watched:
    """One signal, compiled."""

    __slots__ = ("_statuses", "event", "json_path", "kind", "method", "paths", "selector")

    def __init__(self, signal: Signal) -> None:
        self.event = signal.event
        self.kind = signal.page
        self.method = signal.method
        self.paths = tuple(signal.path)
        self.selector = signal.selector
        self.json_path = signal.json_path
        self._statuses = tuple(signal.status)

    def answers(self, status: int) -> bool:
        """Whether a response with this status may be the event."""
        if not self._statuses:
            return True
        text = str(status)
        return text in self._statuses or f"{text[0]}xx" in self._statuses


class Signals:
    """The signals of a site for the events that its rules ask about."""

    def __init__(self, own: Sequence[Signal], preset: Sequence[Signal], wanted: Collection[str]) -> None:
        # Those of a preset count for events that the settings do not name, the usual ones for the rest.
        found = [*own]
        for others in (preset, USUAL):
            named = {signal.event for signal in found}
            found += [signal for signal in others if signal.event not in named]
        self.wanted = frozenset(wanted)
        self._watched = tuple(Watched(signal) for signal in found if signal.event in self.wanted)
        # What scripts of pages may cause, with no page view after it.
        self.by_scripts = any(one.method != "GET" for one in self._watched)
        # Those of all signals together: an address may be long, and is decoded once.
        every = [(path, one) for one in self._watched for path in one.paths]
        self._patterns: Patterns = patterns_of(tuple(path for path, _ in every))
        self._of_pattern = tuple(one for _, one in every)

    def __bool__(self) -> bool:
        return bool(self._watched)

    def of(self, method: str, path: bytes, query: bytes, kind: PageType | None) -> tuple[Watched, ...]:
        """The signals that a request may be."""
        return tuple(self._matching(method, path, query, kind))

    def _matching(self, method: str, path: bytes, query: bytes, kind: PageType | None) -> Iterable[Watched]:
        fitting: frozenset[Watched] | None = None
        for one in self._watched:
            if one.method not in (method, "any"):
                continue
            if one.kind is not None and one.kind != kind:
                continue
            if one.paths and fitting is None:
                fitting = frozenset(self._of_pattern[n] for n in self._patterns.all(path, query))
            if not one.paths or (fitting is not None and one in fitting):
                yield one
