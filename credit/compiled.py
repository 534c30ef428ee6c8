"""The terms of a site, from its settings."""

from collections.abc import Mapping

from ..referral.catalogue import Network
from ..settings.model import Partner, Site
from .terms import Terms, Window

DEFAULT_LOOKBACK_DAYS = 30


def terms_for(site: Site, networks: Mapping[str, Network], clicks: Mapping[tuple[str, str], str]) -> Terms:
    """The terms of a site. `networks` are those of its partners, by the partner's id; `clicks` is the partner
    that a click earns for, by network and parameter."""
    credit = site.credit
    return Terms(
        {p.id: _lookback(p, networks.get(p.id)) for p in site.partners},
        frozenset(p.id for p in site.partners if p.inside_clicks),
        partners=clicks,
        model=credit.model,
        ends=credit.ends,
        compare=tuple(dict.fromkeys(credit.compare)),
        windows=tuple(Window(w.days, w.network, w.partner, w.channel) for w in credit.lookback),
    )


def _lookback(partner: Partner, network: Network | None) -> int:
    if partner.lookback_days is not None:
        return partner.lookback_days
    return (network.lookback_days if network else None) or DEFAULT_LOOKBACK_DAYS
