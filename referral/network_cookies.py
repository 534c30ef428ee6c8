"""The networks' own cookies, set on the landing response as the shop's server would set them.

clew does not read them: they are for a network's own script on the shop's pages, or for the shop.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from ..settings.model import Site
from .catalogue import Catalogue, Cookie
from .domains import CookieDomains
from .query import filled, pairs, placeholders
from .touches import UNNEEDED, Click, Touch, doubted

_OCTETS = re.compile(rb"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+")  # RFC 6265 §4.1.1
_LANDING_TIME = b"landing_time:"


class NetworkCookies:
    """The cookies of the networks that are partners of a site."""

    def __init__(self, site: Site, catalogue: Catalogue) -> None:
        partners = [p for p in site.partners if p.network is not None]
        self._domains = CookieDomains(site.hosts, site.cookie_domain)
        self._cookies = {p.network: catalogue.networks[p.network].cookies for p in partners if p.network}
        self._necessary = {
            p.network: condition
            for p in partners
            if p.network and (condition := catalogue.networks[p.network].necessary)
        }
        self._inside = frozenset(p.id for p in partners if p.inside_clicks)
        self._own_params = {(p.network, p.param) for p in partners if p.param is not None}
        self.landing_params = frozenset(
            n for cookies in self._cookies.values() for c in cookies for n in _reads(c)
        ) | {name.encode("ascii") for name, _ in self._necessary.values()}

    def set_cookies(self, touch: Touch, secure: bool, host: str = "") -> list[bytes]:
        """Values for Set-Cookie, for each click that earns a partner credit.

        Without `secure` the flag Secure is left out, because browsers would not store the cookie. A click id
        with characters that are not allowed in a cookie gets none, because an encoded value would be another
        click id.
        """
        landing = _landing_params(touch)
        domain = self._domains.of(host)
        given: dict[str, bytes] = {}
        for click in touch.clicks:
            if click.partner is None or doubted(touch, click.partner, self._inside):
                continue
            for cookie in self._cookies.get(click.network, ()):
                if self._applies(cookie, click, landing):
                    value = filled(cookie.value.encode("ascii"), _values(cookie, click, touch.at, landing))
                    if value is not None and _OCTETS.fullmatch(value):
                        given[cookie.name] = self._written(cookie, value, secure, domain)
        return list(given.values())

    def necessary(self, touch: Touch) -> Touch | None:
        """A touch with only those clicks that their networks mark as strictly necessary, and nothing else
        of it but the landing; None without any."""
        landing = _landing_params(touch)
        clicks = tuple(
            click
            for click in touch.clicks
            if click.partner is not None
            and (condition := self._necessary.get(click.network)) is not None
            and _is_there(condition, landing)
            and not doubted(touch, click.partner, self._inside)
        )
        return Touch(touch.at, clicks, landing=touch.landing, consent=UNNEEDED) if clicks else None

    def unset_cookies(self, secure: bool, host: str = "") -> list[bytes]:
        """Values for Set-Cookie that delete all cookies that `set_cookies` may have set."""
        domain = self._domains.of(host)
        named = {cookie.name: cookie for cookies in self._cookies.values() for cookie in cookies}
        return [self._written(replace(cookie, days=0), b"", secure, domain) for cookie in named.values()]

    def _applies(self, cookie: Cookie, click: Click, landing: Mapping[bytes, bytes]) -> bool:
        if (
            cookie.of
            and click.param not in cookie.of
            and (click.network, click.param) not in self._own_params
        ):
            return False
        if cookie.when is not None and not _is_there(cookie.when, landing):
            return False
        return cookie.unless is None or not _is_there(cookie.unless, landing)

    def _written(self, cookie: Cookie, value: bytes, secure: bool, domain: str | None) -> bytes:
        parts = [cookie.name.encode("ascii") + b"=" + value, b"Max-Age=%d" % (cookie.days * 86400), b"Path=/"]
        if domain is not None:
            parts.append(b"Domain=" + domain.encode("ascii"))
        if cookie.secure and secure:
            parts.append(b"Secure")
        if cookie.http_only:
            parts.append(b"HttpOnly")
        # Browsers refuse SameSite=None without Secure (RFC 6265bis §5.7).
        if cookie.same_site is not None and (secure or cookie.same_site != "None"):
            parts.append(b"SameSite=" + cookie.same_site.encode("ascii"))
        return b"; ".join(parts)


def _landing_params(touch: Touch) -> dict[bytes, bytes]:
    return dict(pairs(touch.landing.partition("?")[2].encode("ascii", "replace")))


def _reads(cookie: Cookie) -> Iterator[bytes]:
    """The parameters of the landing URL that a cookie's conditions or value use."""
    yield from (condition[0].encode("ascii") for condition in (cookie.when, cookie.unless) if condition)
    yield from placeholders(cookie.value.encode("ascii"))


def _values(cookie: Cookie, click: Click, at: int, landing: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    own = {b"click_id": click.value.encode("utf-8", "surrogateescape")}
    for name in placeholders(cookie.value.encode("ascii")):
        if name.startswith(_LANDING_TIME):
            pattern = name.removeprefix(_LANDING_TIME).decode("ascii")
            own[name] = datetime.fromtimestamp(at, UTC).strftime(pattern).encode("ascii")
    return {**landing, **own}


def _is_there(condition: tuple[str, str | None], landing: Mapping[bytes, bytes]) -> bool:
    name, wanted = condition
    found = landing.get(name.encode("ascii"))
    return bool(found) if wanted is None else found == wanted.encode("ascii")
