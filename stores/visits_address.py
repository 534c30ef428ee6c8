"""The addresses that the setting `store` may hold: docs/settings.md#store lists the forms.

No error shows any of an address but its scheme: the rest may be a password, also where it is not in its
place.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from .ledger.addresses import sqlite_path
from .postgres_address import ENCODE as _ENCODE
from .postgres_address import PostgresAddress, PostgresAddressError, parse_postgres

FORMS = (
    'write "sqlite:clew-visits.db", "redis://HOST:6379/0", "redis+sentinel://HOST:26379,HOST/NAME/0", '
    '"redis+cluster://HOST:6379,HOST" or "postgresql://USER@HOST/DATABASE"; see docs/settings.md#store'
)

_REDIS = re.compile(r"(redis|rediss)(?:\+(sentinel|cluster))?", re.ASCII)
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::(\d{1,5}))?", re.ASCII)
TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")

Kind = Literal["server", "sentinel", "cluster"]


class StoreAddressError(ValueError):
    """The setting `store` is no place where clew can keep visits; `hint` says what to write."""

    def __init__(self, message: str, hint: str = FORMS) -> None:
        super().__init__(f"store: {message}; {hint}")
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """One or more hosts of a Redis. `name` is the master's where `kind` is sentinel. `options` are those of
    the address."""

    kind: Kind
    hosts: tuple[tuple[str, int], ...]
    tls: bool = False
    name: str = ""
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    options: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def shown(self) -> str:
        """For people: where it is, without user and password."""
        hosts = ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"Redis {self.name} by Sentinel at {hosts}" if self.kind == "sentinel" else f"Redis at {hosts}"


def parse(address: str) -> Path | RedisAddress | PostgresAddress:
    """Where the visits are. Raises StoreAddressError."""
    if (path := sqlite_path(address)) is not None:
        return path
    scheme, _, rest = address.partition("://")
    if not rest:
        raise StoreAddressError("is no address of a store")
    if scheme in ("postgresql", "postgres"):
        try:
            return parse_postgres(address)
        except PostgresAddressError as error:
            raise StoreAddressError(error.message, error.hint) from None
    found = _REDIS.fullmatch(scheme)
    if found is None:
        shown = scheme if re.fullmatch(r"[a-z0-9+.-]{1,30}", scheme) else "this"
        raise StoreAddressError(f"{shown}:// is none of the stores that clew knows")
    kinds: dict[str | None, Kind] = {None: "server", "sentinel": "sentinel", "cluster": "cluster"}
    return _redis(scheme, kinds[found[2]], rest, tls=found[1] == "rediss")


def _redis(scheme: str, kind: Kind, rest: str, *, tls: bool) -> RedisAddress:
    try:
        parts = urlsplit(f"//{rest}")
    except ValueError:
        raise StoreAddressError(f"the {scheme}:// address cannot be read", _ENCODE) from None
    if parts.fragment:
        raise StoreAddressError(f"the {scheme}:// address holds a #", _ENCODE)
    user, _, hosts = parts.netloc.rpartition("@")
    username, _, password = user.partition(":")
    name, database = _path(scheme, kind, parts.path)
    return RedisAddress(
        kind=kind,
        hosts=_hosts(scheme, kind, hosts),
        tls=tls,
        name=name,
        database=database,
        username=unquote(username) or None,
        password=unquote(password) or None,
        options=_options(scheme, kind, parts.query, tls=tls),
    )


def _hosts(scheme: str, kind: Kind, text: str) -> tuple[tuple[str, int], ...]:
    hosts: list[tuple[str, int]] = []
    for one in text.split(","):
        found = _HOST.fullmatch(one)
        if found is None or (found[2] and not 0 < int(found[2]) < 65536):
            raise StoreAddressError(
                f"the {scheme}:// address names no host and port that can be read", _ENCODE
            )
        hosts.append((found[1].strip("[]"), int(found[2] or (26379 if kind == "sentinel" else 6379))))
    if kind == "server" and len(hosts) > 1:
        raise StoreAddressError(
            f"{scheme}:// is one server", f"write {scheme}+sentinel:// or {scheme}+cluster:// for several"
        )
    return tuple(hosts)


def _path(scheme: str, kind: Kind, path: str) -> tuple[str, int]:
    """The master's name and the database's number."""
    parts = [unquote(part) for part in path.strip("/").split("/") if part]
    name = ""
    if kind == "sentinel":
        if not parts:
            raise StoreAddressError(
                f"the {scheme}:// address lacks the master's name", f"write {scheme}://HOST:26379/NAME/0"
            )
        name = parts.pop(0)
    if kind == "cluster" and parts:
        raise StoreAddressError(
            "a Redis Cluster has no numbered databases", "leave out what follows the hosts"
        )
    if len(parts) > 1 or (parts and not re.fullmatch(r"[0-9]{1,4}", parts[0])):
        raise StoreAddressError(f"the {scheme}:// address ends in no database number", f"{_ENCODE}")
    return name, int(parts[0]) if parts else 0


def _options(scheme: str, kind: Kind, query: str, *, tls: bool) -> dict[str, str]:
    known = (TLS_FILES if tls else ()) + (_SENTINEL_OPTIONS if kind == "sentinel" else ())
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in known:
            there = ", ".join(known) or "none"
            shown = repr(name) if re.fullmatch(r"[a-z_]{1,30}", name) else "there is one that"
            raise StoreAddressError(
                f"{shown} is no option of {scheme}://", f"options are: {there}; {_ENCODE}"
            )
    return options
