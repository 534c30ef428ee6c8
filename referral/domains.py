"""The domain of a site's cookies, so that a visitor is the same on all its hosts.

A host-only cookie of `shop.example` is not sent to `www.shop.example`. If several hosts of a site have a
common registrable domain, cookies are set for the narrowest domain of all of them. Browsers refuse cookies
for a public suffix such as `co.uk` or `myshopify.com` (RFC 6265 §5.3, step 5): publicsuffix.org, with its
private section.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from ipaddress import ip_address
from typing import Any


@cache
def _suffixes() -> Any:
    # Loading takes 0.2 s, and only sites with several hosts need it.
    from publicsuffixlist import PublicSuffixList  # type: ignore[import-not-found, unused-ignore]

    return PublicSuffixList()


def without_port(host: str) -> str:
    """A Host value or a setting of `hosts` without its port, in lower case."""
    name, colon, port = host.lower().rpartition(":")
    return (name if colon and port.isdecimal() else host.lower()).rstrip(".")


def registrable(name: str) -> str | None:
    """The registrable domain of a host name; None for an IP address, a single label (`localhost`) and a
    public suffix."""
    name = name.removeprefix("*.")
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        found = _suffixes().privatesuffix(name) if "." in name else None
        return found if isinstance(found, str) else None
    return None


def shared_domains(hosts: Iterable[str]) -> tuple[str, ...]:
    """The narrowest common domain of the hosts, for each registrable domain with several hosts or a
    wildcard."""
    groups: dict[str, set[str]] = {}
    for name in {without_port(host) for host in hosts}:
        domain = registrable(name)
        if domain is not None:
            groups.setdefault(domain, set()).add(name)
    return tuple(
        _common([name.removeprefix("*.").split(".") for name in names])
        for names in groups.values()
        if len(names) > 1 or any(name.startswith("*.") for name in names)
    )


def _common(names: Sequence[Sequence[str]]) -> str:
    shared: list[str] = []
    for labels in zip(*(reversed(name) for name in names), strict=False):
        if len(set(labels)) > 1:
            break
        shared.insert(0, labels[0])
    return ".".join(shared)


class CookieDomains:
    """The `Domain` attribute of a site's cookies. `setting` is `cookie_domain`, which has precedence over
    `hosts`."""

    def __init__(self, hosts: Sequence[str] = (), setting: str | None = None) -> None:
        self._setting = setting.lower().removeprefix(".") if setting else None
        several = len(hosts) > 1 or any(host.startswith("*.") for host in hosts)
        self._domains = (self._setting,) if self._setting else shared_domains(hosts) if several else ()

    def of(self, host: str) -> str | None:
        """The domain for a response from this host; None for a host-only cookie. Without a host, the
        setting."""
        if not host:
            return self._setting
        name = without_port(host)
        return next((d for d in self._domains if name == d or name.endswith(f".{d}")), None)
