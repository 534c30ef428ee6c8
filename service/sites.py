"""The sites of a running clew: by name, by the Host header of a request, and by what is clew's own."""

from collections.abc import Iterator, Mapping
from functools import lru_cache

from ..referral.catalogue import Catalogue
from ..settings.hosts import host_key
from ..settings.model import Partner, Settings
from .origin import LONGEST_HOST
from .site import SiteRuntime


class Sites(Mapping[str, SiteRuntime]):
    """The sites by their names. Building raises what `SiteRuntime` raises."""

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self._by_name = {s.name: SiteRuntime(settings, s, catalogue) for s in settings.sites}
        self._desk_host = host_key(settings.desk_host) if settings.desk_host else None
        self._by_host = {host: site for site in self._by_name.values() for host in site.settings.hosts}
        # Takes every host that no other site has.
        self._any_host = next((site for site in self._by_name.values() if not site.settings.hosts), None)
        self._at = lru_cache(maxsize=1024)(self._find)

    def __getitem__(self, name: str) -> SiteRuntime:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def at(self, host: str) -> SiteRuntime | None:
        """The site that serves a Host header, or None. A port counts only where the settings name one."""
        return self._at(host) if len(host) <= LONGEST_HOST else self._any_host

    def _find(self, host: str) -> SiteRuntime | None:
        host = host.lower()
        name, _, port = host.rpartition(":")
        if not port.isdigit():
            name = host
        name = name.rstrip(".")
        for candidate in (host, name):
            if (site := self._by_host.get(candidate)) is not None:
                return site
        parent = name.partition(".")[2]
        while parent:
            if (site := self._by_host.get(f"*.{parent}")) is not None:
                return site
            parent = parent.partition(".")[2]
        return self._any_host

    @property
    def hosts(self) -> list[str]:
        """All hosts of the settings, in the order of the alphabet."""
        return sorted(self._by_host)

    def is_desk_host(self, host: str) -> bool:
        """Whether a Host header names the desk's own host (`desk_host`)."""
        return self._desk_host is not None and host_key(host) == self._desk_host

    def own(self, path: bytes) -> bool:
        """Whether a raw path is clew's own at any site: no shop gets it, also by a host that no site has."""
        return any(site.owns(path) for site in self._by_name.values())

    def partner(self, site: str, partner: str) -> Partner | None:
        """A partner by site and id, as the settings have it."""
        found = self._by_name.get(site)
        return found.partners.get(partner) if found else None
