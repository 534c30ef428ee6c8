"""Rewrites headers for a shop that is served on a local address: responses so that the browser stays there,
and requests so that the shop sees its own address. Pure functions.

Bodies are not rewritten: an absolute link in a page leads to the shop itself.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ...injector.heads import Headers
from ..exchange import hostrewrite
from ..exchange.hostrewrite import FOR_ITS_OWN_HOST, MOVES, authority, cookie, host_name
from ..http.hops import IDENTITY, UNDERSCORED

_PORTS: Mapping[bytes, bytes] = {b"http": b":80", b"https": b":443"}
_ADDRESS = re.compile(rb"(?:([a-z]+):)?//([^/?#\\]*)(.*)", re.IGNORECASE | re.DOTALL)
_UPGRADE = re.compile(rb"(^|[;,])\s*upgrade-insecure-requests\s*(?=[;,]|$)", re.IGNORECASE)
_POLICIES = frozenset({b"content-security-policy", b"content-security-policy-report-only"})
# Cookie names with these prefixes require the attribute Secure: without it every browser rejects the cookie,
# with it most accept it from http://localhost (RFC 6265bis §4.1.3, W3C Secure Contexts §3.1).
_NEED_SECURE = (b"__host-", b"__secure-")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Two origins in browsers' spelling: lower case, without a default port. Example: shop
    `https://shop.example`, local `http://localhost:8080`."""

    shop: bytes
    local: bytes

    @property
    def authority(self) -> bytes:
        """The shop's Host header."""
        return self.shop.partition(b"://")[2]


def origin(scheme: bytes, authority: bytes) -> bytes:
    """An origin in browsers' spelling (RFC 6454 §6.2)."""
    return scheme.lower() + b"://" + authority.lower().removesuffix(_PORTS.get(scheme.lower(), b":"))


def to_shop(headers: Headers, addresses: Addresses) -> Headers:
    """A request's headers, changed to those of a browser on the shop's own address: Host, Origin and Referer
    (shops compare them to detect forgery), and no headers of a proxy. Names in lower case."""
    kept = [pair for pair in headers if pair[0] not in IDENTITY and pair[0] not in UNDERSCORED]
    return [
        (name, addresses.authority if name == b"host" else value)
        for name, value in hostrewrite.to_shop(kept, addresses.local, addresses.shop)
    ]


def to_local(headers: Headers, addresses: Addresses) -> Headers:
    """A response's headers, rewritten for the local address. Names may have any spelling; order is kept.

    The shop's origin is replaced by the local one, and a cookie's Domain that covers the shop is removed (see
    `hostrewrite`). On http, cookies also lose the attributes that require https. Headers about the shop's
    own host (Strict-Transport-Security, Alt-Svc and the like) are removed, and on http so is the directive
    upgrade-insecure-requests of a Content-Security-Policy.
    """
    origins = frozenset(_shop_origins(addresses.shop))
    hosts = frozenset({host_name(addresses.authority)})
    own = host_name(authority(addresses.local))
    changed: Headers = []
    for name, value in headers:
        lower = name.lower()
        if lower in FOR_ITS_OWN_HOST or lower == b"alt-svc":
            continue
        if (move := MOVES.get(lower)) is not None:
            value = move(value, origins, addresses.local)
        elif lower == b"set-cookie":
            value = _cookie(cookie(value, hosts, own), addresses)
        elif lower in _POLICIES:
            value = _policy(value, addresses)
            if not value:
                continue
        changed.append((name, value))
    return changed


def leaves_to(location: bytes, addresses: Addresses) -> bytes | None:
    """The origin that the shop's Location points to if it is neither of the two, else None."""
    found = _ADDRESS.fullmatch(location)
    if found is None:
        return None
    there = origin(found[1] or addresses.shop.partition(b":")[0], found[2])
    return None if there in (*_shop_origins(addresses.shop), addresses.local) else there


def _shop_origins(shop: bytes) -> tuple[bytes, ...]:
    # A shop on https that writes http addresses does not know of the TLS in front of it. A shop on http that
    # redirects to https means another address: replacing it would cause a redirect loop.
    scheme, _, authority = shop.partition(b"://")
    return (shop, b"http://" + authority) if scheme == b"https" else (shop,)


def _policy(value: bytes, addresses: Addresses) -> bytes:
    if not addresses.local.startswith(b"http:"):
        return value
    kept = _UPGRADE.sub(rb"\1", value)
    return kept if kept.strip(b" \t;,") else b""


def _cookie(value: bytes, addresses: Addresses) -> bytes:
    """On http, without attributes that need https: Secure, and SameSite=None and Partitioned, which need
    Secure."""
    pair, *attributes = value.split(b";")
    if not addresses.local.startswith(b"http:") or pair.strip().lower().startswith(_NEED_SECURE):
        return value
    kept = [pair]
    for attribute in attributes:
        name, _, text = attribute.partition(b"=")
        name, text = name.strip().lower(), text.strip().lower()
        if name not in (b"secure", b"partitioned") and (name, text) != (b"samesite", b"none"):
            kept.append(attribute)
    return b";".join(kept)
