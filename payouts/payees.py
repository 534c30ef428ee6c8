"""Whom clew pays, and what the settings say of it."""

from decimal import Decimal

from ..settings.model import Partner, Site
from .account import minor


def is_paid_here(partner: Partner) -> bool:
    """Whether clew makes the payouts of a partner. A network pays its own partners, and bills the shop."""
    return partner.network is None or partner.payout is not None


def carried(site: Site, partner: Partner, currency: str, amount: int) -> str:
    """Why nothing is paid now by the terms."""
    if amount <= 0:
        return "nothing is due" if not amount else "it is negative, and deducted from the next payout"
    own = partner.payout.minimum if partner.payout is not None else {}
    least = own.get(currency)
    if least is None:
        least = (site.payer.minimum if site.payer is not None else {}).get(currency, Decimal())
    if amount < minor(least, currency):
        return f"it is below the minimum of {least} {currency}, and carried over"
    return ""


def impossible(site: Site, partner: Partner, currency: str) -> str:
    """What is missing for a payout."""
    own = partner.payout
    if own is None:
        return f"partner {partner.id} has no account: add [sites.partners.payout]"
    if own.method == "csv" or currency != "EUR":
        return ""
    if own.iban is None:
        return f'partner {partner.id} has no IBAN: add `iban`, or method = "csv", to its `payout`'
    if site.payer is None or site.payer.iban is None:
        return f"site {site.name} has no account to pay from: add [sites.payer] with `name` and `iban`"
    return ""
