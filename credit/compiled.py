"""The terms of a site, from its settings."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from ..referral.catalogue import Network
from ..settings.model import Partner, Site
from ..settings.model import Terms as TermsSettings
from .arrivals import DAY
from .channels import DIRECT
from .coupons import folded
from .facts import lines_of
from .terms import ChannelRule, Further, Leak, Rate, Split, Terms, Window

DEFAULT_LOOKBACK_DAYS = 30


def terms_for(site: Site, networks: Mapping[str, Network], clicks: Mapping[tuple[str, str], str]) -> Terms:
    """The terms of a site. `networks` are those of its partners, by the partner's id; `clicks` is the partner
    that a click earns for, by network and parameter. Raises ConditionError for an invalid line."""
    credit = site.credit
    found = Terms(
        {p.id: _lookback(p, networks.get(p.id)) for p in site.partners},
        frozenset(p.id for p in site.partners if p.inside_clicks),
        partners=clicks,
        model=credit.model,
        ends=credit.ends,
        compare=tuple(dict.fromkeys(credit.compare)),
        windows=tuple(Window(w.days, w.network, w.partner, w.channel) for w in credit.lookback),
        further=_further(site),
    )
    further = found.further
    for rate in further.rates:
        lines_of(rate.when)
    for rule in further.channels:
        lines_of(rule.when)
    for split in further.splits:
        lines_of(split.when)
    return found


@dataclass(frozen=True, slots=True)
class Asked:
    """What terms and calls ask of an order beyond its arrivals: anything at all (`sale`), the customer's
    earlier orders (`past`), the uses of a coupon (`leaks`), visits that began without an arrival (`direct`).
    What nobody asks is not read from the ledger.
    """

    sale: bool
    past: bool
    leaks: bool
    direct: bool


def asked_by(terms: Further, networks: Iterable[Network] = ()) -> Asked:
    """What these terms ask, and the calls to these networks, of which many say whether a customer is new."""
    told = any(network.takes_customer for network in networks)
    whens = [rate.when for rate in terms.rates] + [rule.when for rule in terms.channels]
    whens += [split.when for split in terms.splits]
    names = {name for when in whens for name in lines_of(when).names.get("order", ())}
    past = (
        told or not names.isdisjoint({"customer", "earlier"}) or any(rate.months != 0 for rate in terms.rates)
    )
    direct = any(not rule.arrivals or DIRECT in rule.arrivals for rule in terms.channels)
    return Asked(terms.asks or told, past, bool(terms.leaks), direct)


def _lookback(partner: Partner, network: Network | None) -> int:
    if partner.lookback_days is not None:
        return partner.lookback_days
    return (network.lookback_days if network else None) or DEFAULT_LOOKBACK_DAYS


def _further(site: Site) -> Further:
    credit, zone = site.credit, ZoneInfo(site.time_zone)
    rates = [_rate(t, (p.id,), zone) for p in site.partners for t in p.terms]
    rates += [_rate(t, (), zone) for t in credit.terms]
    soft = [
        p.id for p in site.partners if p.soft or (p.network is not None and p.network in credit.soft_networks)
    ]
    return Further(
        rates=tuple(rates),
        codes={folded(code): p.id for p in site.partners for code in p.codes},
        coupon=credit.coupon,
        coupons={p.id: p.coupon for p in site.partners if p.coupon is not None},
        soft=tuple(sorted(soft)),
        soft_seconds=credit.soft_hours * 3600,
        channels=tuple(
            ChannelRule(
                name=rule.name,
                then=rule.then,
                arrivals=tuple(rule.arrivals),
                partners=tuple(rule.partners),
                when=tuple(rule.when),
                seconds=None if rule.days is None else float(rule.days * DAY),
            )
            for rule in credit.channels
        ),
        splits=tuple(
            Split(name=s.name, of=s.of, to=tuple(sorted(s.to.items())), when=tuple(s.when))
            for s in credit.splits
        ),
        operator=credit.operator_percent,
        operator_name=credit.operator,
        leaks={
            p.id: Leak(orders=orders, percent=credit.leak_percent, days=credit.leak_days)
            for p in site.partners
            if p.codes and (orders := credit.leak_orders if p.leak_orders is None else p.leak_orders)
        },
        zone=site.time_zone,
        ignore_claims=credit.claims == "ignore",
        hold_days=credit.hold_days,
        holds={p.id: p.hold_days for p in site.partners if p.hold_days is not None},
    )


def _rate(terms: TermsSettings, partners: tuple[str, ...], zone: ZoneInfo) -> Rate:
    until = None if terms.until is None else terms.until + timedelta(days=1)
    months = {"none": 0, "lifetime": None}
    return Rate(
        name=terms.name,
        partners=partners,
        since=_midnight(terms.since, zone),
        until=_midnight(until, zone),
        when=tuple(terms.when),
        percent=terms.percent,
        fixed=terms.fixed,
        per_item=terms.per_item,
        cap=terms.cap,
        currency=terms.currency,
        pay=terms.pay,
        unpaid=terms.report_only,
        hold_days=terms.hold_days,
        months=months[terms.renewals] if isinstance(terms.renewals, str) else terms.renewals,
    )


def _midnight(day: date | None, zone: ZoneInfo) -> float | None:
    return None if day is None else datetime.combine(day, time(), zone).timestamp()
