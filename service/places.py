"""Where a client's address is: by a header of a trusted proxy, or by a database in MaxMind's format.

The database is read from memory that the system shares between processes, 10 to 30 µs a lookup. A new file in
its place is opened within a minute.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, Final

from ..settings.model import Geo
from ..settings.wording import Wording

CHECK_SECONDS: Final = 60.0
NAME_LENGTH: Final = 100  # characters of a name from the database
_NOTHING: Final[Mapping[str, str]] = {}


class Places:
    """Finds places by one setting. `trusted` are the proxies whose header counts."""

    def __init__(self, geo: Geo, trusted: Sequence[IPv4Network | IPv6Network]) -> None:
        self._header = geo.header.lower().encode("ascii") if geo.header is not None else None
        self._database = None if geo.database is None else _database(geo.database)
        self._trusted = tuple(trusted)

    def country(self, fields: Mapping[bytes, bytes], peer: str | None, client: str | None) -> str | None:
        """The code of the country, two letters; None if it is not known. The header counts before the
        database."""
        if self._header is not None and (value := fields.get(self._header)) and self._trusts(peer):
            code = value[:8].decode("latin-1").strip().upper()
            # XX and T1 are Cloudflare's, for "unknown" and Tor.
            if len(code) == 2 and code.isascii() and code.isalpha() and code != "XX":
                return code
        return self.at(client).get("country")

    def at(self, client: str | None) -> Mapping[str, str]:
        """What the database knows of an address: `country`, `region`, `city`."""
        if self._database is None or client is None:
            return _NOTHING
        return self._database.find(client)

    def _trusts(self, peer: str | None) -> bool:
        if peer is None:
            return False
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self._trusted)


class _Database:
    def __init__(self, path: str) -> None:
        self._path = path
        self._reader: Any = None
        self._stamp: tuple[int, int, int] | None = None
        self._checked = float("-inf")

    def find(self, client: str) -> Mapping[str, str]:
        reader = self._current()
        if reader is None:
            return _NOTHING
        try:
            record: Any = reader.get(client)
        except (RuntimeError, ValueError):  # no address, or a damaged file
            return _NOTHING
        return _names(record) if isinstance(record, dict) else _NOTHING

    def _current(self) -> Any:
        """The reader of the file that is there now; the last one if it cannot be read."""
        now = time.monotonic()
        if now - self._checked < CHECK_SECONDS:
            return self._reader
        self._checked = now
        try:
            status = os.stat(self._path)
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
            if stamp != self._stamp:
                self._reader = opened(self._path)
                self._stamp = stamp
        except (OSError, ValueError):
            return self._reader
        return self._reader


_database = lru_cache(maxsize=16)(_Database)  # one for all sites and settings


def opened(path: str) -> Any:
    """The reader of a database. Raises OSError and ValueError."""
    # Imported here: few sites have one.
    import maxminddb

    try:
        return maxminddb.open_database(path)
    except maxminddb.InvalidDatabaseError as error:
        raise ValueError(str(error)) from error


def geo_problems(data: Mapping[str, Any]) -> Iterator[Wording]:
    """What is wrong with the setting `geo` of the main file, beyond its form."""
    geo = data.get("geo")
    if not isinstance(geo, dict):
        return
    if isinstance(path := geo.get("database"), str) and path.startswith("/"):
        try:
            opened(path).close()
        except (OSError, ValueError) as error:
            hint = "write the full path of a database of countries or cities in MaxMind's format"
            yield Wording(("geo", "database"), f"cannot be used: {error}", hint)
    if geo.get("header") and not data.get("trusted_proxies"):
        yield Wording(
            ("geo", "header"),
            "is never used: no proxy is trusted, and anybody else could write any country into it",
            "list your CDN's networks in `trusted_proxies`",
            "warning",
        )


def _names(record: Mapping[str, Any]) -> Mapping[str, str]:
    """The names of a record. Databases of countries alone have the code at the top."""
    found: dict[str, str] = {}
    country: Any = record.get("country") or record.get("registered_country")
    code: Any = country.get("iso_code") if isinstance(country, dict) else record.get("country_code", country)
    if isinstance(code, str):
        found["country"] = code[:2].upper()
    divisions: Any = record.get("subdivisions")
    region = divisions[0] if isinstance(divisions, list) and divisions else None
    for key, part in (("region", region), ("city", record.get("city"))):
        names: Any = part.get("names") if isinstance(part, dict) else None
        name = (names.get("en") or next(iter(names.values()), None)) if isinstance(names, dict) else None
        if isinstance(name, str):
            found[key] = name[:NAME_LENGTH]
    return found
