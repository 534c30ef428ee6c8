"""The client of a request, and the headers that report it to the shop.

A peer in a trusted network is one of the site's own proxies, and its report of the client is believed. Any
other peer can write anything into `X-Forwarded-*`: these headers are dropped, and the shop gets the address,
scheme and host of this connection.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, Literal

from ...injector.heads import Header, Headers, value, values
from ...service.origin import LONGEST_HOST, Origin
from ..http.hops import HOP_BY_HOP, IDENTITY, UNDERSCORED, without_options

__all__ = ["Networks", "Origin", "Origins", "forwarded_headers", "is_trusted", "origin_of"]

Networks = Sequence[IPv4Network | IPv6Network]
Scheme = Literal["http", "https"]

_SCHEMES: Mapping[str, Scheme] = {"http": "http", "https": "https", "ws": "http", "wss": "https"}

# Written again from one Origin, so that they cannot contradict each other. Our server has handled `Expect`.
_REPLACED = frozenset(
    {b"expect", b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip"}
)
_DROPPED_FROM_PROXIES = HOP_BY_HOP | UNDERSCORED | _REPLACED
_DROPPED_FROM_CLIENTS = _DROPPED_FROM_PROXIES | IDENTITY

# No address is longer (45 characters, a port, a zone), and hops left of the last sixteen are useless. These
# limits also bound the caches below.
_LONGEST_HOP = 80
_MOST_HOPS = 16


# All that `origin_of` reads. What is longer than usual is not kept, so that strangers fill no memory.
_OF_ORIGIN = frozenset({b"host", b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"})
KNOWN_ORIGINS, LONGEST_KNOWN = 4096, 400


def is_trusted(peer: str | None, trusted: Networks) -> bool:
    """Whether the peer is a trusted proxy. A peer without an address is not."""
    if not trusted or peer is None:
        return False
    address = _address(peer)
    return address is not None and _within(address, trusted)


def origin_of(scope: Mapping[str, Any], trusted: Networks, forwarded_host: bool = False) -> Origin:
    """Client, scheme and host of an ASGI connection.

    The client is the right-most hop that is not trusted: everything to its left was written by that hop
    itself. If a hop is not an address (`unknown`, or obfuscated, RFC 7239 §6), the client is the proxy that
    reported it. `X-Forwarded-For` takes precedence over `Forwarded`, because proxies that set only the first
    forward the client's own `Forwarded`. The host is empty if there is no Host header. A host reported by a
    trusted proxy is used only with `forwarded_host`, since many forward the client's own X-Forwarded-Host.
    """
    headers: Headers = scope["headers"]
    peer: str | None = scope["client"][0] if scope.get("client") else None
    scheme = _SCHEMES[scope["scheme"]]
    host = (value(headers, b"host") or b"").strip(b" \t")
    if not is_trusted(peer, trusted):
        direct = _direct if len(host) <= LONGEST_HOST else _direct.__wrapped__
        return direct(peer, scheme, host)
    client, proxies = peer, 1
    for hop in reversed(_hops(headers)):
        address = _address(hop)
        if address is None:
            break
        client = str(address)
        if not _within(address, trusted):
            break
        proxies += 1
    their_scheme, their_host = _reported(headers, proxies)
    scheme, own_host = _SCHEMES.get(their_scheme.lower(), scheme), host.decode("latin-1")
    if forwarded_host and 0 < len(their_host) <= LONGEST_HOST:
        return Origin(client, scheme, their_host, their_host != own_host)
    return Origin(client, scheme, own_host)


# Headers in which proxies report the client, the most important first.
_PROXY_FIELDS = (b"x-forwarded-proto", b"x-forwarded-for", b"forwarded")


def untrusted_field(fields: Mapping[bytes, bytes], peer: str | None, trusted: Networks) -> str | None:
    """The name of a proxy's header that the peer sent, if the peer is not trusted; else None."""
    for name in _PROXY_FIELDS:
        if name in fields:
            return None if peer is None or is_trusted(peer, trusted) else name.decode().title()
    return None


class Origins:
    """The same for all connections of one process, by the settings' `trusted_proxies` and `forwarded_host`:
    requests of one client say the same of it, again and again."""

    def __init__(self, trusted: Networks, forwarded_host: bool) -> None:
        self._trusted = trusted
        self._forwarded_host = forwarded_host
        self._known = lru_cache(maxsize=KNOWN_ORIGINS)(self._find)

    def of(self, scope: Mapping[str, Any]) -> Origin:
        """Of one connection; see `origin_of`."""
        peer: str | None = scope["client"][0] if scope.get("client") else None
        fields = tuple([pair for pair in scope["headers"] if pair[0] in _OF_ORIGIN])
        is_short = sum([len(text) for _, text in fields]) <= LONGEST_KNOWN
        return (self._known if is_short else self._find)(peer, scope["scheme"], fields)

    def _find(self, peer: str | None, scheme: str, fields: tuple[Header, ...]) -> Origin:
        scope = {"client": None if peer is None else (peer, 0), "scheme": scheme, "headers": fields}
        return origin_of(scope, self._trusted, self._forwarded_host)


@lru_cache(maxsize=4096)
def _direct(peer: str | None, scheme: Scheme, host: bytes) -> Origin:
    return Origin(peer, scheme, host.decode("latin-1"))


def forwarded_headers(
    scope_headers: Headers, origin: Origin, trusted_peer: bool, peer: str | None = None
) -> Headers:
    """A request's headers for the shop; order, duplicates and bytes of those that are kept do not change.

    Removed are hop-by-hop headers and those that Connection names (RFC 9110 §7.6.1), identity headers of an
    untrusted peer, and names that a CGI or WSGI shop would confuse with one of these. Added are
    `X-Forwarded-For`, `-Proto`, `-Host`, `X-Real-IP` and `Forwarded` (RFC 7239), all from `origin`. The chain
    of a trusted peer is kept, and the peer's own address, `peer`, is appended.
    """
    dropped = _DROPPED_FROM_PROXIES if trusted_peer else _DROPPED_FROM_CLIENTS
    kept = [pair for pair in scope_headers if pair[0] not in dropped]
    if connection := value(scope_headers, b"connection"):
        options = [connection] if connection == b"keep-alive" else values(scope_headers, b"connection")
        kept = without_options(kept, options)
    if trusted_peer and peer:
        kept += _identity((*_hops(scope_headers), peer), origin)
    else:
        kept += _own_identity(origin.client, origin.scheme, origin.host)
    return kept


@lru_cache(maxsize=4096)
def _own_identity(client: str | None, scheme: Scheme, host: str) -> tuple[Header, ...]:
    return _identity((client,), Origin(client, scheme, host))


def _identity(chain: tuple[str | None, ...], origin: Origin) -> tuple[Header, ...]:
    scheme, host = origin.scheme.encode(), origin.host.encode("latin-1")
    hops = [hop for hop in chain if hop]
    elements = [f"for={_node(hop)}" for hop in hops] or ["for=unknown"]
    elements[-1] += f";proto={origin.scheme}"
    if host:
        elements[-1] += f";host={_quoted(origin.host)}"
    pairs: list[Header] = []
    if hops:
        pairs.append((b"x-forwarded-for", ", ".join(hops).encode("latin-1")))
    if origin.client:
        pairs.append((b"x-real-ip", origin.client.encode("latin-1")))
    pairs.append((b"x-forwarded-proto", scheme))
    if host:
        pairs.append((b"x-forwarded-host", host))
    pairs.append((b"forwarded", ", ".join(elements).encode("latin-1")))
    return tuple(pairs)


@lru_cache(maxsize=4096)
def _node(hop: str) -> str:
    """A node in the syntax of `Forwarded`: IPv6 in brackets and quotes, `unknown` if it is not an address."""
    address = _address(hop)
    if address is None:
        return "unknown"
    return f'"[{address}]"' if isinstance(address, IPv6Address) else str(address)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _hops(headers: Headers) -> list[str]:
    """The addresses that the proxies in front report, in order."""
    chain = values(headers, b"x-forwarded-for")
    if chain:
        found = [hop.strip(" \t") for hop in b",".join(chain).decode("latin-1").split(",")]
    else:
        found = [text for name, text in _elements(headers) if name == "for"]
    return [hop if len(hop) <= _LONGEST_HOP else "unknown" for hop in found if hop][-_MOST_HOPS:]


def _reported(headers: Headers, proxies: int) -> tuple[str, str]:
    """The scheme and host that the outermost trusted proxy reports, each empty if it reports none.

    `proxies` is the number of trusted proxies. A proxy either replaces these headers or appends to them, so
    the outermost one wrote the element at that place from the right.
    """
    protos, hosts = values(headers, b"x-forwarded-proto"), values(headers, b"x-forwarded-host")
    if protos or hosts:
        return _from_right(protos, proxies), _from_right(hosts, proxies)
    elements = list(_elements(headers))
    return _pick([v for n, v in elements if n == "proto"], proxies), _pick(
        [v for n, v in elements if n == "host"], proxies
    )


def _from_right(found: list[bytes], place: int) -> str:
    return _pick([part.strip(" \t") for part in b",".join(found).decode("latin-1").split(",")], place)


def _pick(parts: list[str], place: int) -> str:
    return parts[-min(place, len(parts))] if parts else ""


def _elements(headers: Headers) -> Iterator[tuple[str, str]]:
    """The parameters of all `Forwarded` elements, names in lower case. A comma or semicolon inside quotes,
    which no address, scheme or host contains, ends a parameter early, so that its value is not valid."""
    for found in values(headers, b"forwarded"):
        for element in found.decode("latin-1").split(","):
            for parameter in element.split(";"):
                name, equals, text = parameter.partition("=")
                if equals:
                    yield name.strip(" \t").lower(), text.strip(' \t"')


@lru_cache(maxsize=1024)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address without port, brackets or zone; IPv4-mapped IPv6 as IPv4. None if it is not an address."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address


def _within(address: IPv4Address | IPv6Address, networks: Networks) -> bool:
    return any(address in network for network in networks)
