"""The partners of the current settings, and how each gets its calls."""

from collections.abc import Callable, Mapping

from ..orders.doubt import Doubt
from ..referral.calls import CallEntry
from ..referral.catalogue import Network
from ..settings.model import Partner
from .approvals import verdict_doubt
from .model import Postback, Report
from .network_call import PURPOSE, chosen
from .render import repeats_are_safe


class Partners:
    """`lookup` returns a partner of the current settings by site and id, None if there is none; `networks` is
    the catalogue by id."""

    def __init__(self, lookup: Callable[[str, str], Partner | None], networks: Mapping[str, Network]) -> None:
        self._lookup = lookup
        self._networks = networks

    def with_network(self, site: str, partner: str) -> tuple[Partner, Network | None] | None:
        """A partner and its network, None if it has none."""
        found = self._lookup(site, partner)
        if found is None:
            return None
        return found, self._networks.get(found.network) if found.network is not None else None

    def entry(self, postback: Postback) -> tuple[Partner, CallEntry] | None:
        """The catalogue's call for a postback; None where there is none."""
        found = self.with_network(postback.site, postback.partner)
        if found is None or found[1] is None:
            return None
        entry = chosen(found[0], found[1], PURPOSE[postback.event])
        return None if entry is None else (found[0], entry)

    def able(self, now: float) -> Callable[[str, Report], Doubt | None]:
        """Why no call can tell a network of a decision about a commission, by site and report."""
        return lambda site, report: verdict_doubt(
            self._lookup(site, report.partner), report, self._networks, now
        )

    def destination(self, site: str, partner: str) -> str:
        """What the calls of a partner go to: its own address or its network."""
        found = self._lookup(site, partner)
        if found is None:
            return f"{site}/{partner}"
        address = found.endpoint or found.postback
        return "/".join(address.split("/", 3)[:3]) if address else str(found.network)

    def repeats(self, postback: Postback) -> bool:
        """Whether the receiver ignores a call that it had already."""
        found = self.with_network(postback.site, postback.partner)
        return found is not None and repeats_are_safe(*found, postback.event)

    def may_repeat(self, postback: Postback) -> bool:
        """Whether the receiver may get a call again that it may have had: its own partner asks for it, so a
        network alone can say no, where it would count the order twice."""
        found = self.with_network(postback.site, postback.partner)
        return found is not None and (found[1] is None or repeats_are_safe(*found, postback.event))
