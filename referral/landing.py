"""What a visitor brings along, read from the landing address and the referrer, byte for byte.

A click id is percent-decoded and nothing else: `+` stays `+` (networks encode a blank as %20, and some ids
hold a plus), a bad escape stays as it is, case and blanks are kept. A parameter that is there twice counts
with its last value: a network's redirect adds its id behind the address it was given, so an earlier one was
copied along with a link. A parameter's name counts in any case where only one spelling of it is in use.

A click arrives by a navigation from outside to a page before the checkout. Any other is read too, but marked
as suspicious (`Touch.doubt`): scripts, extensions and people put ids into addresses of the shop they are at.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from ..settings.model import Site
from ..settings.platforms import platform_of
from .catalogue import Catalogue, LandingParam, Network
from .macros import unfilled
from .masking import SEARCH_PARAMS, Masking, masked_path, masked_text
from .network_cookies import NetworkCookies
from .query import Pair, filled, printable, raw_pairs
from .search import word_query
from .touches import CHECKOUT, ELSEWHERE, INSIDE, Click, Touch

ID_LENGTH = 512  # bytes of a click id, the longest known (ttclid) have under 400; a longer one is no click id
CLICKS = 8  # click ids of one landing
CAMPAIGN_LENGTH = 200  # characters of a campaign parameter, cut off
LANDING_LENGTH = 1000  # characters of the landing address
PATH_LENGTH = 300  # characters of its path where the address is too long
REFERRER_LENGTH = 300  # characters of the referrer
REFERRER_READ = 4096  # bytes of a Referer header that are looked at

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_REFERRER = re.compile(
    rb"(https?|android-app)://(?:[^/?#@]*@)?(\[[0-9a-f:.]+\]|[^/?#@:\[\]\x00-\x20]+)(:\d+)?(/[^?#]*)?(?:\?([^#]*))?",
    re.IGNORECASE,
)
# A query that was appended to a path without its question mark, or with an escaped one.
_APPENDED = re.compile(rb"&|(%3f)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What a parameter of the landing address says: whose click id it holds. `network` is empty for a plain
    partner's own parameter."""

    network: str
    param: str
    partner: str | None
    fallback: bool = False


@dataclass(frozen=True, slots=True)
class _Composed:
    """A click id that is put together from several parameters."""

    meaning: _Meaning
    parts: tuple[bytes, ...]
    value: bytes


@dataclass(frozen=True, slots=True)
class Dropped:
    """A parameter of a partner's that held no click id. `why` is "empty", "nothing" (`null`, `0`), "unfilled"
    (a macro) or "too long"."""

    partner: str
    param: str
    why: str


def _never(path: bytes, query: bytes) -> bool:
    return False


class LandingReader:
    """Reads landings of one site, and says which cookies its networks get. Without I/O and without state.

    `closes` tells of a raw path and query whether they are the checkout's or the confirmation page's.
    `masking` is what of an address may be kept and shown at this site.
    """

    def __init__(
        self, site: Site, catalogue: Catalogue, closes: Callable[[bytes, bytes], bool] = _never
    ) -> None:
        self._hosts = tuple(h.lower() for h in site.hosts)
        self._payment_hosts = catalogue.payment_hosts
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
        # A name that the site's owner wrote down goes before what networks usually take.
        for partner in site.partners:
            if partner.param is not None:
                meaning = _Meaning(partner.network or "", partner.param, partner.id)
                self._exact.setdefault(partner.param.encode("ascii"), meaning)
        for partner, network in enabled:
            for param in network.landing_params:
                if not (param.shared and partner.param is not None):
                    self._claim(network, param, partner.id)
        # Other networks' clicks are kept too, as far as the name leaves no doubt, but earn nothing.
        for network in catalogue.networks.values():
            for param in network.landing_params:
                if not param.shared:
                    self._claim(network, param, None)
        self._fold(lambda meaning: meaning.partner is not None)
        self._fold(lambda meaning: meaning.partner is None)

    def _fold(self, among: Callable[[_Meaning], bool]) -> None:
        """Let names count in any case. Two spellings may be two things: `clickid` and `clickId` are."""
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

    def _asked(self, query: bytes) -> Iterator[Pair]:
        """Raw pairs that somebody asks for, out of what need not be a query."""
        return (p for p in raw_pairs(query, self._asks_for) if self._asks_for(unquote_to_bytes(p[0])))

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
        elsewhere: bool = False,
        dropped: list[Dropped] | None = None,
    ) -> Touch | None:
        """The touch of a landing; None without a click id, a campaign parameter or a foreign referrer.

        `query`, `path` and `fragment` are raw, as they came; `now` in unix seconds. `host` is the host that
        was asked for, with its port if it has one: referrers from there, or from the site's `hosts`, are the
        shop itself. Where neither is known, no referrer counts as foreign. `same_origin`: the browser says
        that a page of this origin led here. `elsewhere`: the address is none of the site's. What was no click
        id goes into `dropped`.
        """
        appended = _appended(path)
        if not (query or fragment or appended) and (not referrer or _came_from(referrer, host)):
            return None
        given = [
            *self._asked(appended),
            *self._asked(_of_fragment(fragment)),
            *raw_pairs(query, self._asks_for),
        ]
        clicks = self._clicks([(unquote_to_bytes(n), _decoded(v)) for n, v in given], dropped)
        campaign = self._campaign(given)
        foreign, own = self._referrer(referrer, host) if referrer else ("", False)
        if not (clicks or campaign or foreign):
            return None
        doubt = self._doubt(path, query, elsewhere, own or (same_origin and not referrer)) if clicks else ""
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
        # From the end: of a parameter that is there twice the last value counts.
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

    def _campaign(self, given: list[Pair]) -> dict[str, str]:
        campaign: dict[str, str] = {}
        for name, raw in given:
            if (key := self._utm.get(unquote_to_bytes(name).lower())) is not None:
                # Campaign words are written by people's tools, as forms are: a plus is a blank.
                # An escaped character takes up to 12 bytes.
                raw = raw[: 12 * CAMPAIGN_LENGTH].replace(b"+", b" ")
                text = unquote_to_bytes(raw).decode("utf-8", "replace")
                text = masked_text(_CONTROL.sub(" ", text).strip())[:CAMPAIGN_LENGTH]
                if text and unfilled(text) != "unfilled":
                    campaign[key] = text
        return campaign

    def _referrer(self, referrer: bytes, host: str) -> tuple[str, bool]:
        """A referrer as it is kept: scheme, host, path and search word; empty if it is none of another's. And
        whether it is the shop itself."""
        match = _REFERRER.match(referrer[:REFERRER_READ])
        if match is None or not (self._hosts or host):
            return "", False
        scheme, name, port, path, query = match.groups()
        scheme_text = scheme.decode("ascii").lower()
        name_text = name.lower().decode("ascii", "replace").rstrip(".")
        port_text = (
            "" if port in (None, {"http": b":80", "https": b":443"}.get(scheme_text)) else port.decode()
        )
        # An app's name reads like a host's, the other way round.
        if scheme_text != "android-app" and self._is_own(name_text, port_text, host.lower()):
            return "", True
        if self._pays(name_text):
            return "", False
        kept = f"{scheme_text}://{name_text}{port_text}{masked_path(printable(path or b'/'))}"[
            :REFERRER_LENGTH
        ]
        word = word_query(query.decode("utf-8", "replace")) if query else ""
        return (f"{kept}?{word}" if word and len(kept) + len(word) < REFERRER_LENGTH else kept), False

    def is_own(self, host: str, asked: str) -> bool:
        """Whether a page's host (with its port, if it has one) is that which was asked for, or the site's."""
        name, colon, port = host.lower().rpartition(":")
        if not port.isdecimal():
            name, colon, port = host.lower(), "", ""
        return self._is_own(name.rstrip("."), "" if port in ("80", "443") else colon + port, asked.lower())

    def _is_own(self, name: str, port: str, asked: str) -> bool:
        for own in (*self._hosts, re.sub(r":(80|443)$", "", asked)):
            if own.startswith("*."):
                if name.endswith(own[1:]):
                    return True
            elif own in (name, name + port):
                return True
        return False

    def _pays(self, name: str) -> bool:
        labels = name.split(".")
        return any(".".join(labels[i:]) in self._payment_hosts for i in range(len(labels) - 1))

    def _landing(self, path: bytes, query: bytes) -> str:
        """Path and query as they may be kept. Of a very long query, the parameters that matter."""
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
        """Values for Set-Cookie: the cookies of the networks that are partners here and sent this touch.

        `secure` tells that the landing came by https; `host` is the one that was asked for.
        """
        return self._cookies.set_cookies(touch, secure, host)


def _came_from(referrer: bytes, host: str) -> bool:
    """Whether a referrer plainly names the host that is asked now: what most page views have."""
    begin = referrer.find(b"://") + 3
    end = begin + len(host)
    return (
        begin > 2
        and host != ""
        and referrer[begin:end] == host.encode("latin-1", "replace")
        and referrer[end : end + 1] in (b"/", b"")
    )


def _site_params(site: Site) -> Iterator[str]:
    """Parameters that tell the site's kinds of pages and its searches, and those that its owner keeps."""
    yield from (*SEARCH_PARAMS, *site.keep_query)
    platform = platform_of(site)
    patterns = [*site.page_types, *site.never, *(p for p, _ in (platform.page_types if platform else ()))]
    if site.order is not None:
        patterns.append(site.order.page)
    for pattern in patterns:
        yield from (part.partition("=")[0] for part in pattern.partition("?")[2].split("&"))


def _decoded(value: bytes) -> bytes:
    """A value percent-decoded; one that is too long for an id either way stays."""
    return unquote_to_bytes(value) if len(value) <= 3 * ID_LENGTH else value


def _why_none(value: bytes, param: str) -> str:
    if len(value) > ID_LENGTH:
        return "too long"
    return unfilled(value.decode("utf-8", "replace"), param)


def _appended(path: bytes) -> bytes:
    """What stands in a path but is a query: `/mug&ref=A`, `/mug%3Fref%3DA`."""
    found = _APPENDED.search(path) if b"&" in path or b"%" in path else None
    if found is None:
        return b""
    rest = path[found.end() :]
    return unquote_to_bytes(rest) if found[1] else rest


def _of_fragment(fragment: bytes) -> bytes:
    """Parameters behind the `#`: of a link that a tool appended them to, or of a shop that is one page."""
    return fragment.rpartition(b"?")[2].lstrip(b"!/") if b"=" in fragment else b""
