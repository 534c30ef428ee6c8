"""Checks whether a visitor's cookie is valid on all hosts of a site."""

from collections.abc import Iterator

from ..settings.model import Site
from ..settings.positions import KeyPath
from ..settings.wording import Wording
from .domains import registrable, without_port


def cookie_problems(site: Site, path: KeyPath) -> Iterator[Wording]:
    """Cookie domains that browsers refuse, and hosts that cannot share a cookie."""
    names = [without_port(host).removeprefix("*.") for host in site.hosts]
    if site.cookie_domain is None:
        handed = {without_port(host) for host in site.checkout_hosts}
        yield from _apart([name for name in names if name not in handed], path)
        return
    domain = site.cookie_domain.lower().removeprefix(".")
    if "." in domain and registrable(domain) is None:
        message = f"{domain} is a public suffix, for which browsers refuse cookies"
        yield Wording((*path, "cookie_domain"), message, 'use your own domain, such as "shop.example"')
        return
    for number, (host, name) in enumerate(zip(site.hosts, names, strict=True)):
        # RFC 6265 §5.3, step 6.
        if name != domain and not name.endswith(f".{domain}"):
            message = (
                f"{host} does not belong to the cookie domain {domain}: browsers would refuse the cookie"
            )
            yield Wording((*path, "hosts", number), message, "correct cookie_domain, or leave it out")


def _apart(names: list[str], path: KeyPath) -> Iterator[Wording]:
    if len(names) < 2:
        return  # without the list of public suffixes, which takes 0.15 s
    domains = sorted({domain for name in names if (domain := registrable(name)) is not None})
    if len(domains) > 1:
        message = f"{domains[0]} and {domains[1]} cannot share cookies: a visitor of one is new on the other"
        hint = "make each domain a site of its own, or redirect all visitors to one of them"
        yield Wording((*path, "hosts"), message, hint, "warning")
