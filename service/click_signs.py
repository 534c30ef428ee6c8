"""What a request shows of who made a click: a crawler, a program, a crowd behind one address, the partner."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address

from msgspec.structs import replace

from ..referral.clients import automation_of, crawler_of
from ..referral.touches import AUTOMATED, BOT, CROWD, OWN, Touch
from ..settings.model import Site
from .limits import is_of_clients, networks_of

CROWD_SECONDS = 3600.0

Crowd = Callable[[str, int], bool]
"""Counts one more of a key. Whether there were more than so many within an hour."""


def nobody(key: str, count: int) -> bool:
    """Counts nothing."""
    return False


class Clicks:
    """Marks the clicks of one site. `crowd` counts them."""

    crowd: Crowd = staticmethod(nobody)

    def __init__(self, site: Site) -> None:
        self._site = site.name
        self._rules = site.fraud
        self._own = tuple((network, p.id) for p in site.partners for network in p.own_networks)

    def partners(self, touch: Touch) -> tuple[str, ...]:
        """The partners of a touch's clicks."""
        return tuple(dict.fromkeys(click.partner for click in touch.clicks if click.partner is not None))

    def owners(self, client: str | None) -> tuple[str, ...]:
        """The partners from whose networks a client is."""
        return _owners(self._own, client) if self._own and client is not None else ()

    def marked(
        self,
        touch: Touch,
        known: tuple[Touch, ...],
        fields: Mapping[bytes, bytes],
        client: str | None,
        *,
        secure: bool,
    ) -> Touch:
        """The touch with what its request shows. `known` are the visitor's touches: a click among them is not
        counted again. `fields` are the headers by name in lower case; `secure`: it came by https."""
        partners = self.partners(touch)
        if not partners or any(one.clicks == touch.clicks for one in known):
            return touch
        if self._rules.crawlers and not touch.doubt and crawler_of(fields.get(b"user-agent", b"")):
            return replace(touch, doubt=BOT)
        signs = []
        if automation_of(fields, secure=secure):
            signs.append(AUTOMATED)
        if self._is_crowd(partners, client):
            signs.append(CROWD)
        if not set(partners).isdisjoint(self.owners(client)):
            signs.append(OWN)
        return replace(touch, signs=tuple(signs)) if signs else touch

    def _is_crowd(self, partners: tuple[str, ...], client: str | None) -> bool:
        most, networks = self._rules.network_clicks, networks_of(client)
        if not most or not networks or not is_of_clients(networks[0][0]):
            return False
        keys = [
            (f"{self._site}\0{partner}\0{key}", most * factor)
            for partner in partners
            for key, factor in networks
        ]
        # Each is counted, whatever was found of the one before it.
        return sum(self.crowd(*one) for one in keys) > 0


@lru_cache(maxsize=4096)
def _owners(own: tuple[tuple[IPv4Network | IPv6Network, str], ...], client: str) -> tuple[str, ...]:
    try:
        address = ip_address(client.partition("%")[0])
    except ValueError:
        return ()
    address = getattr(address, "ipv4_mapped", None) or address
    return tuple(dict.fromkeys(partner for network, partner in own if address in network))
