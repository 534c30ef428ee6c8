"""The addresses of PostgreSQL servers, for the settings `ledger` and `store`: those of libpq.

Its manual lists the parameters: https://www.postgresql.org/docs/current/libpq-connect.html. asyncpg knows
some of them and sends the others to the server, which refuses them. No error shows any of an address but the
names of parameters: the rest may be a password, also where it is not in its place.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit, urlunsplit

ENCODE: Final = "percent-encode the characters @ : / ? # of a password: @ is %40"
FORM: Final = "write postgresql://USER:PASSWORD@HOST:5432/DATABASE"

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.%-]+)(?::(\d{1,5}))?", re.ASCII)
_NAME = re.compile(r"[a-z_]{1,30}")
_FILES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")
_PASSED: Final = frozenset(
    {
        *_FILES,
        "user",
        "password",
        "sslmode",
        "sslpassword",
        "sslnegotiation",
        "ssl_min_protocol_version",
        "ssl_max_protocol_version",
        "krbsrvname",
        "gsslib",
        "service",
        "options",
    }
)
_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# The values with which a connection of libpq would be the same.
_WITHOUT_EFFECT: Final = {
    "channel_binding": ("disable", "prefer"),
    "gssencmode": ("disable", "prefer"),
    "client_encoding": ("utf8", "utf-8", "auto"),
    "load_balance_hosts": ("disable",),
    "target_session_attrs": ("any", "read-write", "primary"),
    "keepalives": ("1",),
    "sslcompression": ("0",),
    "sslsni": ("1",),
}
_HINTS: Final = {
    "channel_binding": "leave it out, and write sslmode=verify-full to be sure of the server",
    "target_session_attrs": "leave it out: of several hosts, the one that accepts writes is used",
    "load_balance_hosts": "leave it out: of several hosts, the one that accepts writes is used",
    "hostaddr": "write the address as the host",
    "gssencmode": "leave it out, and write sslmode=verify-full for an encrypted connection",
}
# Where distributions keep the certificates that they trust.
_SYSTEM_CERTIFICATES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


class PostgresAddressError(ValueError):
    """An address that cannot be used; `hint` says what to write."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message}; {hint}")
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """Where a database is. `dsn` is for asyncpg, without the hosts; a host of None is what asyncpg looks for
    by itself, PGHOST or a socket. `seconds` is `connect_timeout`, for each host."""

    dsn: str = field(repr=False)
    hosts: tuple[tuple[str | None, int | None], ...]
    target: str = "primary"
    seconds: float | None = None
    application: str | None = None
    files: tuple[tuple[str, Path], ...] = ()

    @property
    def shown(self) -> str:
        """The hosts, for people."""
        return ",".join(_shown(*one) for one in self.hosts)


def parse_postgres(address: str) -> PostgresAddress:
    """What a `postgresql://` address says. Raises PostgresAddressError."""
    try:
        parts = urlsplit(address)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        raise PostgresAddressError("the postgresql:// address cannot be read", ENCODE) from None
    if parts.fragment:
        raise PostgresAddressError("the postgresql:// address holds a #", ENCODE)
    hosts = _hosts(parts, options)
    path = parts.path.strip("/")
    database = unquote(path) or options.pop("dbname", "") or options.pop("database", "")
    if not database or "/" in path:
        raise PostgresAddressError("the postgresql:// address names no database", FORM)
    options.pop("dbname", None)
    options.pop("database", None)
    seconds, application = _seconds(options), options.pop("application_name", None)
    application = application or options.pop("fallback_application_name", None)
    options.pop("fallback_application_name", None)
    _check(options, shown="@" not in parts.query)
    target = options.pop("target_session_attrs", "any")
    _use_system_certificates(options)
    netloc = parts.netloc.rpartition("@")[0] + "@" if "@" in parts.netloc else ""
    return PostgresAddress(
        dsn=urlunsplit(("postgresql", netloc, f"/{path or database}", urlencode(options), "")),
        hosts=hosts,
        # Of several servers only one takes changes.
        target="primary" if target == "any" else target,
        seconds=seconds,
        application=application or None,
        files=tuple((name, Path(options[name])) for name in _FILES if options.get(name)),
    )


def _hosts(parts: SplitResult, options: dict[str, str]) -> tuple[tuple[str | None, int | None], ...]:
    """The hosts and their ports; a host with a slash is a folder with a socket."""
    named = parts.netloc.rpartition("@")[2]
    host, ports = options.pop("host", ""), options.pop("port", "")
    found: list[tuple[str | None, int | None]] = []
    for one in named.split(",") if named else []:
        match = _HOST.fullmatch(one)
        if match is None or (match[2] and not 0 < int(match[2]) < 65536):
            raise PostgresAddressError(
                "the postgresql:// address names no host and port that can be read", ENCODE
            )
        found.append((unquote(match[1]).strip("[]"), int(match[2]) if match[2] else None))
    found = found or [(one or None, None) for one in host.split(",")]
    if ports:
        each = ports.split(",")
        if not all(re.fullmatch(r"\d{1,5}", one) for one in each) or len(each) not in (1, len(found)):
            raise PostgresAddressError("the postgresql:// address has ports that cannot be read", FORM)
        each *= len(found) if len(each) == 1 else 1
        found = [(one, int(port)) for (one, _), port in zip(found, each, strict=True)]
    return tuple(found)


def _seconds(options: dict[str, str]) -> float | None:
    """`connect_timeout`; 0 and less mean libpq's own, which is none: ours then."""
    value = options.pop("connect_timeout", "")
    if value and not re.fullmatch(r"-?\d{1,4}", value):
        raise PostgresAddressError("connect_timeout is no whole number of seconds", "write connect_timeout=5")
    return float(value) if value and int(value) > 0 else None


def _check(options: dict[str, str], *, shown: bool) -> None:
    """Remove what has no effect. Raises PostgresAddressError for what clew cannot do."""
    for name, value in list(options.items()):
        if name in _WITHOUT_EFFECT:
            if value.lower() not in _WITHOUT_EFFECT[name]:
                hint = _HINTS.get(name, "leave it out")
                raise PostgresAddressError(f"clew cannot do what {name} asks for here", hint)
            if name != "target_session_attrs":
                del options[name]
        elif name not in _PASSED:
            told = repr(name) if shown and _NAME.fullmatch(name) else "one parameter"
            raise PostgresAddressError(
                f"{told} is no parameter of a postgresql:// address that clew knows",
                _HINTS.get(name, f"leave it out; {ENCODE}"),
            )
    if (mode := options.get("sslmode")) is not None and mode not in _SSL_MODES:
        raise PostgresAddressError("sslmode has no such value", f"write one of {', '.join(_SSL_MODES)}")


def _use_system_certificates(options: dict[str, str]) -> None:
    """`sslrootcert=system`, which asyncpg does not know: the certificates that this machine trusts."""
    if options.get("sslrootcert") != "system":
        return
    # As in libpq: anybody may have a certificate for some name.
    if options.setdefault("sslmode", "verify-full") != "verify-full":
        raise PostgresAddressError("sslrootcert=system needs sslmode=verify-full", "write both")
    there = next((one for one in _SYSTEM_CERTIFICATES if Path(one).is_file()), None)
    if there is None:
        raise PostgresAddressError(
            "this machine has no certificates for sslrootcert=system",
            "install its package ca-certificates, or write the path of a file",
        )
    options["sslrootcert"] = there


def _shown(host: str | None, port: int | None) -> str:
    name = "its socket" if host is None else f"[{host}]" if ":" in host else host
    return name if port is None else f"{name}:{port}"
