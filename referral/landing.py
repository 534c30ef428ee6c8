"""Reads click ids, campaign parameters and the referrer of a landing request, byte for byte.

A click id is only percent-decoded: `+` stays `+` (networks encode a blank as %20, and some ids contain a
plus), an invalid escape stays unchanged, case and blanks are kept. Of a repeated parameter the last value
counts: a network's redirect appends its id to the URL, so an earlier one was copied with a link. Names are
case-insensitive if only one spelling is in use.

A click arrives by a navigation from outside to a page before the checkout. Any other click is read too, but
marked as suspicious (`Touch.doubt`): scripts, extensions and people add ids to URLs within the shop.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from ..settings.hosts import host_key, is_among
from ..settings.model import Site
from ..settings.platforms import platform_of
from .catalogue import Catalogue, LandingParam, Network
from .macros import unfilled
from .masking import OFTEN_LENGTH, SEARCH_PARAMS, Masking, masked_path, masked_text
from .network_cookies import NetworkCookies
from .query import Pair, filled, printable, raw_pairs
from .search import word_query
from .touches import CHECKOUT, ELSEWHERE, INSIDE, Click, Touch

ID_LENGTH = 512  # maximum bytes of a click id; the longest known (ttclid) have less than 400
CLICKS = 8  # click ids of one landing
CAMPAIGN_LENGTH = 200  # characters of a campaign parameter, truncated
LANDING_LENGTH = 1000  # characters of the landing URL
PATH_LENGTH = 300  # characters of its path if the URL is too long
REFERRER_LENGTH = 300  # characters of the referrer
REFERRER_READ = 4096  # bytes of a Referer header that are read
HOST_LENGTH = 255  # characters of a host's name (RFC 1035 §2.3.4)

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_REFERRER = re.compile(
    rb"(https?|android-app)://(?:[^/?#@]*@)?(\[[0-9a-f:.]+\]|[^/?#@:\[\]\x00-\x20]+)(:\d+)?(/[^?#]*)?(?:\?([^#]*))?",
    re.IGNORECASE,
)
# A parameter of a visit's first page that a line of a rule names.
_LANDED = re.compile(r"""visit\.landing_query(?:\.(\w+)|\[\s*['"]([^'"\\]+)['"])""")
# A query that was appended to a path without its question mark, or with an escaped one.
_APPENDED = re.compile(rb"&|(%3f)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Meaning:
    """The network and partner to which a landing parameter's click id belongs. `network` is empty for a plain
    partner's own parameter."""

    network: str
    param: str
    partner: str | None
    fallback: bool = False


@dataclass(frozen=True, slots=True)
class _Composed:
    """A click id that is composed of several parameters."""

    meaning: _Meaning
    parts: tuple[bytes, ...]
    value: bytes


@dataclass(frozen=True, slots=True)
class Dropped:
    """A partner's parameter without a click id. `why` is "empty", "nothing" (`null`, `0`), "unfilled" (a
    macro) or "too long"."""

    partner: str
    param: str
    why: str


def _never(path: bytes, query: bytes) -> bool:
    return False


class LandingReader:
    """Reads the landings of one site, and makes its networks' cookies. No I/O and no state.

    `closes` says whether a raw path and query belong to the checkout or the confirmation page. `masking`
    masks URLs for this site.
    """

    def __init__(
        self, site: Site, catalogue: Catalogue, closes: Callable[[bytes, bytes], bool] = _never
    ) -> None:
        self._hosts = frozenset(site.hosts)
        self._payment_hosts = catalogue.payment_hosts
        self._checkout_hosts = frozenset(host_key(host) for host in site.checkout_hosts)
        self._closes = closes
        self._utm = {name.encode("ascii"): name for name in catalogue.utm}
        self._exact: dict[bytes, _Meaning] = {}
        self._any_case: dict[bytes, _Meaning] = {}
        self._composed: list[_Composed] = []
        self._cookies = NetworkCookies(site, catalogue)
        self._compile(site, catalogue)
        self._parts = frozenset(name for c in self._composed for name in c.parts)
        kept = (*self._utm, *self._cookies.landing_params)
        self.masking = Masking(
            (name.decode("utf-8") for name in (*self._exact, *self._parts)),
            (*(name.decode("ascii") for name in kept), *_site_params(site)),
        )

    def _compile(self, site: Site, catalogue: Catalogue) -> None:
        """Fill the tables in order of precedence: the first to claim a name keeps it."""
        enabled = [(p, catalogue.networks[p.network]) for p in site.partners if p.network is not None]
        # A name in the settings has precedence over the networks' usual names.
        for partner in site.partners:
            if partner.param is not None:
                meaning = _Meaning(partner.network or "", partner.param, partner.id)
                self._exact.setdefault(partner.param.encode("ascii"), meaning)
        for partner, network in enabled:
            for param in network.landing_params:
                if not (param.shared and partner.param is not None):
                    self._claim(network, param, partner.id)
        # Clicks of other networks are stored too if the name is unambiguous, but earn nothing.
        for network in catalogue.networks.values():
            for param in network.landing_params:
                if not param.shared:
                    self._claim(network, param, None)
        self._fold(lambda meaning: meaning.partner is not None)
        self._fold(lambda meaning: meaning.partner is None)

    def _fold(self, among: Callable[[_Meaning], bool]) -> None:
        """Make names case-insensitive if only one spelling is in use: `clickid` and `clickId` differ."""
        spellings: dict[bytes, list[_Meaning]] = {}
        for name, meaning in self._exact.items():
            if among(meaning):
                spellings.setdefault(name.lower(), []).append(meaning)
        for name, meanings in spellings.items():
            if len(meanings) == 1:
                self._any_case.setdefault(name, meanings[0])

    def _claim(self, network: Network, param: LandingParam, partner: str | None) -> None:
        meaning = _Meaning(network.id, param.name, partner, param.fallback)
        name = param.name.encode("utf-8")
        if param.parts:
            parts = tuple(p.encode("utf-8") for p in param.parts)
            if not any(c.parts == parts for c in self._composed):
                self._composed.append(_Composed(meaning, parts, param.value.encode("utf-8")))
        else:
            self._exact.setdefault(name, meaning)
            if param.any_case:
                self._any_case.setdefault(name.lower(), meaning)

    def _meaning(self, name: bytes) -> _Meaning | None:
        return self._exact.get(name) or self._any_case.get(name.lower())

    def _asks_for(self, name: bytes) -> bool:
        return self._meaning(name) is not None or name.lower() in self._utm

    def _tells(self, name: bytes) -> bool:
        return self._asks_for(name) or name in self._parts

    def _asked(self, query: bytes) -> Iterator[Pair]:
        """The raw pairs with a known name, from a text that may not be a query."""
        return (p for p in raw_pairs(query, self._asks_for) if self._asks_for(unquote_to_bytes(p[0])))

    def given(self, path: bytes, query: bytes, fragment: bytes) -> tuple[Pair, ...]:
        """The raw pairs of a URL that tell of an arrival; a click id's parts only in the query."""
        return (
            *self._asked(_appended(path)),
            *self._asked(_of_fragment(fragment)),
            *(p for p in raw_pairs(query, self._asks_for) if self._tells(unquote_to_bytes(p[0]))),
        )

    def partners(self) -> dict[tuple[str, str], str]:
        """By network and parameter of a click, the partner that it earns for."""
        meanings = (*self._any_case.values(), *self._exact.values(), *(c.meaning for c in self._composed))
        return {(m.network, m.param): m.partner for m in meanings if m.partner is not None}

    # -- reading

    def read(
        self,
        query: bytes,
        path: bytes,
        referrer: bytes | None,
        now: float,
        host: str = "",
        *,
        fragment: bytes = b"",
        same_origin: bool = False,
        shown_at: str | None = None,
        dropped: list[Dropped] | None = None,
    ) -> Touch | None:
        """The touch of a landing; None without a click id, a campaign parameter or a foreign referrer.

        `query`, `path` and `fragment` are raw; `now` in unix seconds. `host` is the requested host, with its
        port if it has one: referrers from there, or from the site's `hosts`, are the shop itself. If neither
        is known, no referrer counts as foreign. `same_origin`: the browser says that the navigation came from
        a page of this origin. `shown_at`: the host of the URL, where a script tells it. Parameters without a
        click id are added to `dropped`.
        """
        given: tuple[Pair, ...] = ()
        if query or fragment or _appended(path):
            short = len(path) + len(query) + len(fragment) <= OFTEN_LENGTH
            given = (_given_often if short else _given)(self, path, query, fragment)
        if not given and (not referrer or _came_from(referrer, host)):
            return None
        clicks = self._clicks([(unquote_to_bytes(n), _decoded(v)) for n, v in given], dropped)
        campaign = self._campaign(given)
        foreign, own = self._referrer(referrer, host) if referrer else ("", False)
        if not (clicks or campaign or foreign):
            return None
        doubt = ""
        if clicks:
            elsewhere = shown_at is not None and not self.is_own(shown_at, host)
            doubt = self._doubt(path, query, elsewhere, own or (same_origin and not referrer))
        return Touch(int(now), clicks, campaign, foreign, self._landing(path, query), doubt)

    def _doubt(self, path: bytes, query: bytes, elsewhere: bool, inside: bool) -> str:
        if elsewhere:
            return ELSEWHERE
        if self._closes(path, query):
            return CHECKOUT
        return INSIDE if inside else ""

    def _clicks(self, given: list[Pair], dropped: list[Dropped] | None) -> tuple[Click, ...]:
        found: dict[_Meaning, tuple[int, bytes]] = {}
        refused: dict[_Meaning, str] = {}
        # From the end: of a repeated parameter the last value counts.
        for place, (name, value) in reversed(list(enumerate(given))):
            if (meaning := self._meaning(name)) is None or meaning in found:
                continue
            if why := _why_none(value, meaning.param):
                refused.setdefault(meaning, why)
            else:
                found[meaning] = (place, value)
        if self._composed:
            self._compose(given, found)
        if dropped is not None:
            dropped += [
                Dropped(m.partner, m.param, why) for m, why in refused.items() if m.partner and m not in found
            ]
        sure = {(m.network, m.partner) for m in found if not m.fallback}
        kept = [(m, *v) for m, v in found.items() if not m.fallback or (m.network, m.partner) not in sure]
        if len(kept) > CLICKS:
            kept = sorted(kept, key=lambda k: (k[0].partner is not None, k[1]))[-CLICKS:]
        return tuple(
            Click(m.network, m.param, value.decode("utf-8", "surrogateescape"), m.partner)
            for m, _, value in sorted(kept, key=lambda k: k[1])
        )

    def _compose(self, given: list[Pair], found: dict[_Meaning, tuple[int, bytes]]) -> None:
        last = {
            name: (place, value)
            for place, (name, value) in enumerate(given)
            if name in self._parts and not _why_none(value, "")
        }
        for composed in self._composed:
            parts = [last[name] for name in composed.parts if name in last]
            if len(parts) < len(composed.parts):
                continue
            value = filled(composed.value, dict(zip(composed.parts, (v for _, v in parts), strict=True)))
            if value is not None and len(value) <= ID_LENGTH:
                found[composed.meaning] = (max(place for place, _ in parts), value)

    def _campaign(self, given: Iterable[Pair]) -> dict[str, str]:
        campaign: dict[str, str] = {}
        for name, raw in given:
            if (key := self._utm.get(unquote_to_bytes(name).lower())) is not None:
                # Campaign parameters are form-encoded: a plus is a blank.
                # An escaped character has up to 12 bytes.
                raw = raw[: 12 * CAMPAIGN_LENGTH].replace(b"+", b" ")
                text = unquote_to_bytes(raw).decode("utf-8", "replace")
                text = masked_text(_CONTROL.sub(" ", text).strip())[:CAMPAIGN_LENGTH]
                if text and unfilled(text) != "unfilled":
                    campaign[key] = text
        return campaign

    def _referrer(self, referrer: bytes, host: str) -> tuple[str, bool]:
        """A foreign referrer as it is stored: scheme, host, path and search term, else an empty text; and
        whether the referrer is the shop itself."""
        match = _REFERRER.match(referrer[:REFERRER_READ])
        if match is None or len(match[2]) > HOST_LENGTH or not (self._hosts or host):
            return "", False
        scheme, name, port, path, query = match.groups()
        scheme_text = scheme.decode("ascii").lower()
        name_text = name.lower().decode("ascii", "replace").rstrip(".")
        port_text = (
            "" if port in (None, {"http": b":80", "https": b":443"}.get(scheme_text)) else port.decode()
        )
        # The name of an Android app is a reversed host name.
        if scheme_text != "android-app" and self.is_own(name_text + port_text, host):
            return "", True
        if self._pays(name_text) or name_text + port_text in self._checkout_hosts:
            return "", False
        kept = f"{scheme_text}://{name_text}{port_text}{masked_path(printable(path or b'/'))}"[
            :REFERRER_LENGTH
        ]
        word = word_query(query.decode("utf-8", "replace")) if query else ""
        return (f"{kept}?{word}" if word and len(kept) + len(word) < REFERRER_LENGTH else kept), False

    def is_own(self, host: str, requested: str) -> bool:
        """Whether a page's host (with its port, if it has one) is the requested one or one of the site's."""
        return is_among(host, self._hosts) or (bool(requested) and host_key(host) == host_key(requested))

    def _pays(self, name: str) -> bool:
        labels = name.split(".")
        return any(".".join(labels[i:]) in self._payment_hosts for i in range(len(labels) - 1))

    def _landing(self, path: bytes, query: bytes) -> str:
        """Path and query as they may be stored. Of a very long query, as many parameters as fit."""
        text = masked_path(printable(path[: 2 * LANDING_LENGTH]))
        given = self.masking.pairs(query)
        whole = f"{text}?{'&'.join(given)}" if given else text
        if len(whole) <= LANDING_LENGTH:
            return whole
        text = text[:PATH_LENGTH]
        room = LANDING_LENGTH - len(text)
        kept: list[tuple[int, str]] = []
        for place, pair in sorted(((i, p) for i, p in enumerate(given) if "=" in p), key=lambda m: len(m[1])):
            if len(pair) >= room:
                break
            kept.append((place, pair))
            room -= len(pair) + 1
        return text + "?" * bool(kept) + "&".join(pair for _, pair in sorted(kept))

    # -- cookies

    def set_cookies(self, touch: Touch, secure: bool, host: str = "") -> list[bytes]:
        """Values for Set-Cookie: the cookies of this touch's networks that are partners of the site.

        `secure`: the landing was on https; `host` is the requested one.
        """
        return self._cookies.set_cookies(touch, secure, host)

    def necessary(self, touch: Touch) -> Touch | None:
        """The part of a touch that needs no consent by its networks' rules, None if there is none."""
        return self._cookies.necessary(touch)

    def unset_cookies(self, secure: bool, host: str = "") -> list[bytes]:
        """Values for Set-Cookie that delete the cookies of the site's networks."""
        return self._cookies.unset_cookies(secure, host)


def _given(reader: LandingReader, path: bytes, query: bytes, fragment: bytes) -> tuple[Pair, ...]:
    return reader.given(path, query, fragment)


# For all sites: a shop's pages are few, and each is looked at again and again. An entry keeps its reader.
_given_often = lru_cache(1024)(_given)


def _came_from(referrer: bytes, host: str) -> bool:
    """Whether a referrer begins with the requested host, as that of most page views does."""
    begin = referrer.find(b"://") + 3
    end = begin + len(host)
    return (
        begin > 2
        and host != ""
        and referrer[begin:end] == host.encode("latin-1", "replace")
        and referrer[end : end + 1] in (b"/", b"")
    )


def _site_params(site: Site) -> Iterator[str]:
    """Parameters of the site's page types and searches, those in `keep_query`, and what partners' sub ids and
    the rules' lines about landing pages name."""
    yield from (*SEARCH_PARAMS, *site.keep_query)
    yield from (partner.sub_param for partner in site.partners if partner.sub_param is not None)
    waiting: list[object] = [rule.when for rule in site.rules]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield from (plain or quoted for plain, quoted in _LANDED.findall(one))
        elif isinstance(one, list | dict):
            waiting.extend(one.values() if isinstance(one, dict) else one)
    platform = platform_of(site)
    patterns = [*site.page_types, *site.never, *(p for p, _ in (platform.page_types if platform else ()))]
    if site.order is not None:
        patterns.append(site.order.page)
    for pattern in patterns:
        yield from (part.partition("=")[0] for part in pattern.partition("?")[2].split("&"))


def _decoded(value: bytes) -> bytes:
    """The percent-decoded value; a value that is too long for an id in any case is returned unchanged."""
    return unquote_to_bytes(value) if len(value) <= 3 * ID_LENGTH else value


def _why_none(value: bytes, param: str) -> str:
    if len(value) > ID_LENGTH:
        return "too long"
    return unfilled(value.decode("utf-8", "replace"), param)


def _appended(path: bytes) -> bytes:
    """A query that is part of the path by mistake: `/mug&ref=A`, `/mug%3Fref%3DA`."""
    found = _APPENDED.search(path) if b"&" in path or b"%" in path else None
    if found is None:
        return b""
    rest = path[found.end() :]
    return unquote_to_bytes(rest) if found[1] else rest


def _of_fragment(fragment: bytes) -> bytes:
    """Parameters after the `#`: appended to a link by a tool, or those of a single-page application."""
    return fragment.rpartition(b"?")[2].lstrip(b"!/") if b"=" in fragment else b""
