"""A shop on an address that is not its own, for a try on one's own machine: which headers have to change so
that the browser stays there, and which so that the shop sees a browser that is on its own address.

Bodies are not rewritten: an absolute link in a page leads to the shop itself.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from ..injector.heads import Headers
from .hops import IDENTITY, UNDERSCORED

_PORTS: Mapping[bytes, bytes] = {b"http": b":80", b"https": b":443"}
_ADDRESS = re.compile(rb"(?:([a-z]+):)?//([^/?#\\]*)(.*)", re.IGNORECASE | re.DOTALL)
_REFRESH = re.compile(rb"(\s*[0-9.]*\s*[;,]\s*(?:url\s*=\s*)?[\"']?)(.*)", re.IGNORECASE | re.DOTALL)
_UPGRADE = re.compile(rb"(^|[;,])\s*upgrade-insecure-requests\s*(?=[;,]|$)", re.IGNORECASE)
# A name with one of these is a promise that the cookie has Secure: without it every browser refuses the
# cookie, with it most take it from http://localhost (RFC 6265bis §4.1.3, W3C Secure Contexts §3.1).
_PROMISING = (b"__host-", b"__secure-")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Two origins, as browsers write them: lower case, without a default port. Example: shop
    `https://shop.example`, local `http://localhost:8080`."""

    shop: bytes
    local: bytes

    @property
    def authority(self) -> bytes:
        """The shop's Host header."""
        return self.shop.partition(b"://")[2]


def origin(scheme: bytes, authority: bytes) -> bytes:
    """An origin as browsers write it (RFC 6454 §6.2)."""
    return scheme.lower() + b"://" + authority.lower().removesuffix(_PORTS.get(scheme.lower(), b":"))


def to_shop(headers: Headers, addresses: Addresses) -> Headers:
    """A request's headers as a browser on the shop's own address sends them: Host, Origin and Referer (shops
    compare them against forgery), and nothing that tells of a proxy. Names in lower case."""
    changes: Mapping[bytes, Callable[[bytes], bytes]] = {
        b"host": lambda _: addresses.authority,
        b"origin": lambda value: addresses.shop if value == addresses.local else value,
        b"referer": lambda value: _moved(value, addresses.local, addresses.shop) or value,
    }
    return [
        (name, changes[name](value) if name in changes else value)
        for name, value in headers
        if name not in IDENTITY and name not in UNDERSCORED
    ]


def to_local(headers: Headers, addresses: Addresses) -> Headers:
    """A response's headers as the local address can keep them; names in any spelling, in order.

    Location, Content-Location and Refresh that lead to the shop lead to the local address. Cookies lose a
    Domain that covers the shop, and on http what only https may have. Strict-Transport-Security,
    Public-Key-Pins and Alt-Svc are promises about the shop's own address and are left out, and on http so is
    the directive upgrade-insecure-requests of a Content-Security-Policy.
    """
    changed: Headers = []
    for name, value in headers:
        change = _CHANGES.get(name.lower())
        new = value if change is None else change(value, addresses)
        if new is not None:
            changed.append((name, new))
    return changed


def leads_away(location: bytes, addresses: Addresses) -> bytes | None:
    """The origin to which a Location of the shop leads if that is neither of the two, else None."""
    found = _ADDRESS.fullmatch(location)
    if found is None:
        return None
    there = origin(found[1] or addresses.shop.partition(b":")[0], found[2])
    return None if there in (*_shop_origins(addresses.shop), addresses.local) else there


def _shop_origins(shop: bytes) -> tuple[bytes, ...]:
    # A shop on https that calls itself http does not know of the TLS in front of it. The other way round it
    # does, and to answer with the local address would send the browser in a circle.
    scheme, _, authority = shop.partition(b"://")
    return (shop, b"http://" + authority) if scheme == b"https" else (shop,)


def _moved(address: bytes, *origins: bytes) -> bytes | None:
    """`address` with the last of `origins` in place of any other one; None if it begins with none of them."""
    *known, new = origins
    found = _ADDRESS.fullmatch(address)
    if found is None:
        return None
    scheme = found[1] or known[0].partition(b":")[0]
    return new + found[3] if origin(scheme, found[2]) in known else None


def _location(value: bytes, addresses: Addresses) -> bytes:
    return _moved(value, *_shop_origins(addresses.shop), addresses.local) or value


def _refresh(value: bytes, addresses: Addresses) -> bytes:
    found = _REFRESH.fullmatch(value)
    return value if found is None else found[1] + _location(found[2], addresses)


def _left_out(value: bytes, addresses: Addresses) -> None:
    return None


def _policy(value: bytes, addresses: Addresses) -> bytes | None:
    if not addresses.local.startswith(b"http:"):
        return value
    kept = _UPGRADE.sub(rb"\1", value)
    return kept if kept.strip(b" \t;,") else None


def _cookie(value: bytes, addresses: Addresses) -> bytes:
    """The cookie's name and value are kept byte for byte, and so are attributes that are not known."""
    pair, *attributes = value.split(b";")
    insecure = addresses.local.startswith(b"http:")
    promising = pair.strip().lower().startswith(_PROMISING)
    kept = [pair]
    for attribute in attributes:
        name, _, text = attribute.partition(b"=")
        name, text = name.strip().lower(), text.strip().lower()
        if name == b"domain" and _covers(text, addresses.authority):
            continue
        # SameSite=None and Partitioned need Secure.
        needs_https = name in (b"secure", b"partitioned") or (name, text) == (b"samesite", b"none")
        if insecure and needs_https and not promising:
            continue
        kept.append(attribute)
    return b";".join(kept)


@lru_cache(maxsize=256)
def _covers(domain: bytes, authority: bytes) -> bool:
    """RFC 6265 §5.1.3: the host itself, or a domain above it."""
    host = authority if authority.endswith(b"]") else authority.partition(b":")[0]
    domain = domain.removeprefix(b".")
    return host == domain or host.endswith(b"." + domain)


_CHANGES: Mapping[bytes, Callable[[bytes, Addresses], bytes | None]] = {
    b"alt-svc": _left_out,
    b"content-location": _location,
    b"content-security-policy": _policy,
    b"content-security-policy-report-only": _policy,
    b"location": _location,
    b"public-key-pins": _left_out,
    b"refresh": _refresh,
    b"set-cookie": _cookie,
    b"strict-transport-security": _left_out,
}
