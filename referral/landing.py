"""What a visitor brings with him, read from the landing address and the referrer, byte for byte.

A click id is percent-decoded and nothing else: `+` stays `+` (networks encode a blank as %20, and some ids
hold a plus), a bad escape stays as it is, case and blanks are kept. A parameter that is there twice counts
with its last value: a network's redirect adds its id behind the address it was given, so an earlier one was
copied along with a link.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from ..settings.model import Site
from .catalogue import Catalogue, LandingParam, Network
from .network_cookies import NetworkCookies
from .query import Pair, filled, pairs, printable, raw_pairs
from .search import word_query
from .touches import Click, Touch

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


class LandingReader:
    """Reads landings of one site, and says which cookies its networks get. Without I/O and without state."""

    def __init__(self, site: Site, catalogue: Catalogue) -> None:
        self._hosts = tuple(h.lower() for h in site.hosts)
        self._payment_hosts = catalogue.payment_hosts
        self._utm = {name.encode("ascii"): name for name in catalogue.utm}
        self._exact: dict[bytes, _Meaning] = {}
        self._any_case: dict[bytes, _Meaning] = {}
        self._composed: list[_Composed] = []
        self._cookies = NetworkCookies(site, catalogue)
        self._compile(site, catalogue)
        composing = (name for c in self._composed for name in c.parts)
        self._kept = frozenset((*self._utm, *self._cookies.landing_params, *composing))

    def _compile(self, site: Site, catalogue: Catalogue) -> None:
        """Fill the tables in order of precedence: the first to claim a name keeps it."""
        enabled = [(p, catalogue.networks[p.network]) for p in site.partners if p.network is not None]
        # A name that the site's owner wrote down himself goes before what networks usually take.
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

    def _claim(self, network: Network, param: LandingParam, partner: str | None) -> None:
        meaning = _Meaning(network.id, param.name, partner, param.fallback)
        name = param.name.encode("utf-8")
        if param.parts:
            parts = tuple(p.encode("utf-8") for p in param.parts)
            if not any(c.parts == parts for c in self._composed):
                self._composed.append(_Composed(meaning, parts, param.value.encode("utf-8")))
        elif param.any_case:
            self._any_case.setdefault(name.lower(), meaning)
        else:
            self._exact.setdefault(name, meaning)

    def _meaning(self, name: bytes) -> _Meaning | None:
        return self._exact.get(name) or self._any_case.get(name.lower())

    # -- reading

    def read(
        self, query: bytes, path: bytes, referrer: bytes | None, now: float, host: str = ""
    ) -> Touch | None:
        """The touch of a landing; None without a click id, a campaign parameter or a foreign referrer.

        `query` and `path` are raw, as they came; `now` in unix seconds. `host` is the host that was asked
        for, with its port if it has one: referrers from there, or from the site's `hosts`, are the shop
        itself. Where neither is known, no referrer counts as foreign.
        """
        if not query and (not referrer or _came_from(referrer, host)):
            return None
        given = list(pairs(query))
        clicks = self._clicks(given)
        campaign = self._campaign(query, given)
        foreign = self._foreign(referrer, host) if referrer else ""
        if not (clicks or campaign or foreign):
            return None
        return Touch(int(now), clicks, campaign, foreign, self._landing(path, query))

    def _clicks(self, given: list[Pair]) -> tuple[Click, ...]:
        found: dict[_Meaning, tuple[int, bytes]] = {}
        for place, (name, value) in enumerate(given):
            if (meaning := self._meaning(name)) is not None and 0 < len(value) <= ID_LENGTH:
                found[meaning] = (place, value)
        if self._composed:
            self._compose(given, found)
        sure = {(m.network, m.partner) for m in found if not m.fallback}
        kept = [(m, *v) for m, v in found.items() if not m.fallback or (m.network, m.partner) not in sure]
        if len(kept) > CLICKS:
            kept = sorted(kept, key=lambda k: (k[0].partner is not None, k[1]))[-CLICKS:]
        return tuple(
            Click(m.network, m.param, value.decode("utf-8", "surrogateescape"), m.partner)
            for m, _, value in sorted(kept, key=lambda k: k[1])
        )

    def _compose(self, given: list[Pair], found: dict[_Meaning, tuple[int, bytes]]) -> None:
        last = {name: (place, value) for place, (name, value) in enumerate(given) if value}
        for composed in self._composed:
            parts = [last[name] for name in composed.parts if name in last]
            if len(parts) < len(composed.parts):
                continue
            value = filled(composed.value, dict(zip(composed.parts, (v for _, v in parts), strict=True)))
            if value is not None and len(value) <= ID_LENGTH:
                found[composed.meaning] = (max(place for place, _ in parts), value)

    def _campaign(self, query: bytes, given: list[Pair]) -> dict[str, str]:
        campaign: dict[str, str] = {}
        for (name, _), (_, raw) in zip(given, raw_pairs(query), strict=True):
            if (key := self._utm.get(name)) is not None:
                # Campaign words are written by people's tools, as forms are: a plus is a blank.
                text = unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8", "replace")
                if text := _CONTROL.sub(" ", text).strip()[:CAMPAIGN_LENGTH]:
                    campaign[key] = text
        return campaign

    def _foreign(self, referrer: bytes, host: str) -> str:
        """A referrer as it is kept: scheme, host, path and search word; empty if it is none of another's."""
        match = _REFERRER.match(referrer[:REFERRER_READ])
        if match is None or not (self._hosts or host):
            return ""
        scheme, name, port, path, query = match.groups()
        scheme_text = scheme.decode("ascii").lower()
        name_text = name.lower().decode("ascii", "replace").rstrip(".")
        port_text = (
            "" if port in (None, {"http": b":80", "https": b":443"}.get(scheme_text)) else port.decode()
        )
        if self._is_own(name_text, port_text, host.lower()) or self._pays(name_text):
            return ""
        kept = f"{scheme_text}://{name_text}{port_text}{printable(path or b'/')}"[:REFERRER_LENGTH]
        word = word_query(query.decode("utf-8", "replace")) if query else ""
        return f"{kept}?{word}" if word and len(kept) + len(word) < REFERRER_LENGTH else kept

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
        """Path and query, printable. Of a very long query, the parameters that matter to attribution."""
        text = printable(path)
        whole = f"{text}?{printable(query)}" if query else text
        if len(whole) <= LANDING_LENGTH:
            return whole
        text = text[:PATH_LENGTH]
        room = LANDING_LENGTH - len(text)
        kept: list[tuple[int, str]] = []
        marked = ((i, p) for i, p in enumerate(query.split(b"&")) if self._matters(p))
        for place, pair in sorted(((i, printable(p)) for i, p in marked), key=lambda m: len(m[1])):
            if len(pair) >= room:
                break
            kept.append((place, pair))
            room -= len(pair) + 1
        return text + "?" * bool(kept) + "&".join(pair for _, pair in sorted(kept))

    def _matters(self, pair: bytes) -> bool:
        name = unquote_to_bytes(pair.partition(b"=")[0])
        return name in self._kept or self._meaning(name) is not None

    # -- cookies

    def set_cookies(self, touch: Touch, secure: bool) -> list[bytes]:
        """Values for Set-Cookie: the cookies of the networks that are partners here and sent this touch.

        `secure` tells that the landing came by https.
        """
        return self._cookies.set_cookies(touch, secure)


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
