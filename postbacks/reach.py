"""Which addresses a call may go to: protection against server-side request forgery (SSRF).

The author of a postback's URL, and the operator of its host's name server, could otherwise make clew call
services that only clew's machine can reach: a cloud's metadata service with its credentials, a database.

- A literal IP address is called as the owner wrote it: loopback for tests and for a relay on this machine; a
  private network too, with a warning of `clew check`.
- A host name may resolve to any address, and to another one tomorrow. It is called only at public addresses.
  It is resolved once for each call, which then connects to the address that was checked. `localhost` is
  loopback (RFC 6761 §6.3).
- Link-local addresses, the clouds' metadata services and addresses of no host are always refused.

`allow_private = true` on a partner disables these checks.
"""

import re
import socket
import unicodedata
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, Literal

Address = IPv4Address | IPv6Address
Kind = Literal["public", "loopback", "private", "refused"]

# Metadata services at addresses that are not link-local: AWS and Google Cloud by IPv6, Alibaba Cloud, Oracle
# Cloud, Azure's platform service.
_METADATA: Final = frozenset(
    map(ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"))
)
_METADATA_NAMES: Final = frozenset(("metadata.google.internal", "metadata.goog", "metadata"))
_NAT64: Final = IPv6Network("64:ff9b::/96")
# What the Internet routes (IANA, IPv6 Global Unicast Address Space). Python takes for global what is only of
# old or special use beside it: site-local addresses, local NAT64, IPv4-compatible ones.
_ROUTED: Final = IPv6Network("2000::/3")
_DOCUMENTED: Final = IPv6Network("3fff::/20")
_PROTOCOL: Final = IPv4Network("192.0.0.0/24")
_RELAYS: Final = IPv4Network("192.88.99.0/24")
_THIS_NETWORK: Final = IPv4Network("0.0.0.0/8")
_NUMERIC: Final = re.compile(r"(?:0[xX][0-9a-fA-F]*|[0-9]+)(?:\.(?:0[xX][0-9a-fA-F]*|[0-9]+)){0,3}")


def kind_of(address: Address) -> Kind:
    """The kind of an address; for IPv4 embedded in IPv6, the kind of the IPv4 address."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return kind_of(inner)
    if address in _METADATA or address.is_link_local or address.is_unspecified or address.is_multicast:
        return "refused"
    if address.is_loopback:
        return "loopback"
    if isinstance(address, IPv4Address) and (address in _THIS_NETWORK or address.is_reserved):
        return "refused"
    return "public" if address.is_global and _is_routed(address) else "private"


def _is_routed(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return address not in _PROTOCOL and address not in _RELAYS
    return address in _ROUTED and address not in _DOCUMENTED


def written(host: str) -> Address | None:
    """The IP address that a host is written as, None for a name. Also in the forms that `connect` accepts,
    such as `0xa9fea9fe`, `2852039166` and `127.1`. `localhost` is 127.0.0.1."""
    host = unicodedata.normalize("NFKC", host).strip("[]").partition("%")[0].rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return IPv4Address("127.0.0.1")
    try:
        return ip_address(host)
    except ValueError:
        pass
    if _NUMERIC.fullmatch(host):
        try:
            return IPv4Address(socket.inet_aton(host))
        except OSError:
            return None
    return None


def refusal(host: str) -> str | None:
    """Why a host is never called; None if it may be, or if it is a name that must be resolved first."""
    address = written(host)
    if address is None:
        known = host.lower().rstrip(".") in _METADATA_NAMES
        return f"{host} is a cloud's metadata service" if known else None
    if kind_of(address) != "refused":
        return None
    return f"{address} is link-local, a cloud's metadata service, or not an address of a host"


def allowed(host: str, found: Sequence[Address]) -> list[Address]:
    """The addresses of a name that may be called. Raises ValueError if there are none."""
    kept = [address for address in found if kind_of(address) == "public"]
    if not kept:
        shown = ", ".join(map(str, found[:3])) or "nothing"
        raise ValueError(
            f"{host} resolves to {shown}, which is not public; if that is meant, set allow_private = true"
        )
    return kept
