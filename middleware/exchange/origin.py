"""Who sent a request, and the headers by which the shop learns it.

A peer in a trusted network is one of our own proxies, and what it reports of the client counts. Any other
peer can write anything into `X-Forwarded-*`: that is dropped, and the shop gets what this connection shows.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, Literal

from ...injector.heads import Header, Headers, value, values
from ...service.origin import LONGEST_HOST, Origin
from ..http.hops import HOP_BY_HOP, IDENTITY, UNDERSCORED, without_options

__all__ = ["Networks", "Origin", "forwarded_headers", "is_trusted", "origin_of"]

Networks = Sequence[IPv4Network | IPv6Network]
Scheme = Literal["http", "https"]

_SCHEMES: Mapping[str, Scheme] = {"http": "http", "https": "https", "ws": "http", "wss": "https"}

# Set anew from one value, so that no two of them can disagree. `Expect` was answered by our own server.
_REPLACED = frozenset(
    {b"expect", b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip"}
)
_DROPPED_FROM_PROXIES = HOP_BY_HOP | UNDERSCORED | _REPLACED
_DROPPED_FROM_CLIENTS = _DROPPED_FROM_PROXIES | IDENTITY

# Nothing longer is an address (45 characters, a port, a zone), nor a host name with its port; what a client
# put left of sixteen hops is of no use to anybody. This bounds the caches below, too.
_LONGEST_HOP = 80
_MOST_HOPS = 16


def is_trusted(peer: str | None, trusted: Networks) -> bool:
    """Whether the peer is one of our own proxies. One without an address is not."""
    if not trusted or peer is None:
        return False
    address = _address(peer)
    return address is not None and _within(address, trusted)


def origin_of(scope: Mapping[str, Any], trusted: Networks, forwarded_host: bool = False) -> Origin:
    """Client, scheme and host of an ASGI connection.

    The client is the right-most hop that is not trusted: everything left of it was written by that hop
    itself. A hop that is no address (`unknown`, an obfuscated one, RFC 7239 §6) ends the walk at the proxy
    that reported it. `X-Forwarded-For` is read before `Forwarded`: proxies that set only the first pass a
    client's own `Forwarded` on. The host is empty if there is no Host header. A host that a trusted
    proxy reports counts only with `forwarded_host`, since many pass on a client's own X-Forwarded-Host.
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


# Headers by which proxies report the client, the most important first.
_PROXY_FIELDS = (b"x-forwarded-proto", b"x-forwarded-for", b"forwarded")


def untrusted_field(fields: Mapping[bytes, bytes], peer: str | None, trusted: Networks) -> str | None:
    """The name of a proxy's header that the peer sent, if the peer is not trusted; else None."""
    for name in _PROXY_FIELDS:
        if name in fields:
            return None if peer is None or is_trusted(peer, trusted) else name.decode().title()
    return None


@lru_cache(maxsize=4096)
def _direct(peer: str | None, scheme: Scheme, host: bytes) -> Origin:
    return Origin(peer, scheme, host.decode("latin-1"))


def forwarded_headers(
    scope_headers: Headers, origin: Origin, trusted_peer: bool, peer: str | None = None
) -> Headers:
    """A request's headers as they go to the shop: order and duplicates kept, bytes untouched.

    Gone are hop-by-hop fields and those that Connection names (RFC 9110 §7.6.1), identity that an untrusted
    peer invented, and names that a CGI or WSGI shop would read as one of the protected ones. Added are
    `X-Forwarded-For`, `-Proto`, `-Host`, `X-Real-IP` and `Forwarded` (RFC 7239), all from `origin`. From a
    trusted peer the chain it sent is kept and its own address, `peer`, appended.
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


def _node(hop: str) -> str:
    """A node as `Forwarded` writes it: IPv6 in brackets and quotes; what is no address becomes `unknown`."""
    address = _address(hop)
    if address is None:
        return "unknown"
    return f'"[{address}]"' if isinstance(address, IPv6Address) else str(address)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _hops(headers: Headers) -> list[str]:
    """The addresses that the proxies before us report, in order."""
    chain = values(headers, b"x-forwarded-for")
    if chain:
        found = [hop.strip(" \t") for hop in b",".join(chain).decode("latin-1").split(",")]
    else:
        found = [text for name, text in _elements(headers) if name == "for"]
    return [hop if len(hop) <= _LONGEST_HOP else "unknown" for hop in found if hop][-_MOST_HOPS:]


def _reported(headers: Headers, proxies: int) -> tuple[str, str]:
    """Scheme and host as the outermost of our `proxies` reports them; empty where it reports none.

    A proxy either replaces these headers or appends to them: in a list, the outermost of our own proxies
    wrote the element that many places from the right.
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
    """The parameters of all `Forwarded` elements, names in lower case. A comma or semicolon within quotes,
    which no address, scheme or host has, ends a parameter early and makes it no address."""
    for found in values(headers, b"forwarded"):
        for element in found.decode("latin-1").split(","):
            for parameter in element.split(";"):
                name, equals, text = parameter.partition("=")
                if equals:
                    yield name.strip(" \t").lower(), text.strip(' \t"')


@lru_cache(maxsize=1024)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address without port, brackets or zone; IPv4 within IPv6 is IPv4. None for what is no address."""
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
