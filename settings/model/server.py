"""The whole file: what is not a site's own."""

from decimal import Decimal
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from .base import Addresses, Model, OneHost, Sender
from .facts import Geo
from .limits import Limits
from .site import Desk, Site


def listen_address(value: str) -> str:
    """`HOST:PORT`, with an IPv6 address in brackets. Raises ValueError."""
    host, _, port = value.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]") if host.startswith("[") and host.endswith("]") else host
    numbered = port.isascii() and port.isdigit() and int(port[:6]) < 65536
    if not bare or (":" in bare and bare == host) or not numbered:
        raise ValueError('not an address and port; write for example "127.0.0.1:9180" or "[::1]:9180"')
    return value


class Delivery(Model):
    """How postbacks are sent. Times in seconds."""

    timeout: Decimal = Field(Decimal(20), gt=0, le=60)
    schedule: list[int] = [5, 30, 90, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]


class Upstream(Model):
    """Limits of connections to the shops. Times in seconds."""

    connect_timeout: Decimal = Field(Decimal(5), gt=0)
    response_timeout: Decimal = Field(Decimal(60), gt=0)
    idle_timeout: Decimal = Field(Decimal(60), gt=0)
    connections: int = Field(500, ge=1)
    connections_total: int | None = Field(None, ge=1)
    websockets: int | None = Field(None, ge=1)
    websocket_idle: Decimal = Field(Decimal(600), gt=0)
    keep_alive: Decimal = Field(Decimal(4), ge=0)
    via: str = Field("", pattern=r"^[A-Za-z0-9._-]{0,64}$")

    @property
    def most_connections(self) -> int:
        """`connections_total`, or its default: one busy shop can then use all of its `connections`, since it
        gets half of the total."""
        return self.connections_total or 4 * self.connections


class Smtp(Model):
    """The mail server that takes the answers of agents. Times in seconds."""

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:_-]{1,255}$")]
    port: int | None = Field(None, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str | None = None
    password: SecretStr | None = None
    sender: Sender
    ca_file: str | None = None
    timeout: Decimal = Field(Decimal(30), gt=0, le=300)
    per_hour: int = Field(200, ge=1, le=100_000)
    schedule: list[Annotated[int, Field(ge=1)]] = Field(
        [60, 300, 900, 3600, 7200, 14400, 28800, 43200, 86400], min_length=1, max_length=30
    )

    @model_validator(mode="after")
    def _password_is_safe(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password belong together: write both or none")
        if self.password is not None and self.security == "none":
            raise ValueError('a password needs security = "starttls" or "tls", or others can read it')
        return self

    @property
    def at_port(self) -> int:
        """`port`, or the usual one (RFC 8314, RFC 6409)."""
        return self.port or {"starttls": 587, "tls": 465, "none": 25}[self.security]


class Retention(Model):
    """How many days the ledger keeps what is not an order, a credit or a sum."""

    raw: int = Field(30, ge=1, le=3650)
    webhooks: int = Field(30, ge=1, le=3650)
    attempts: int = Field(180, ge=1, le=3650)
    conversations: int = Field(400, ge=1, le=3650)
    exposures: int = Field(400, ge=1, le=3650)
    traffic: int = Field(14, ge=1, le=90)
    notices: int = Field(90, ge=1, le=3650)
    sessions: int = Field(1, ge=1, le=3650)
    audit: int = Field(730, ge=1, le=3650)


JOURNAL: Final = "clew-orders.journal"
"""What the names of the journal's files begin with."""


class Settings(Model):
    """The whole file."""

    secret: SecretStr = Field(min_length=32)
    previous_secrets: list[SecretStr] = []
    store: str = "sqlite:clew-visits.db"
    ledger: str = "sqlite:clew.db"
    journal: str | None = None
    include: list[Annotated[str, Field(min_length=1)]] = []
    forwarded_host: bool = False
    desk_host: OneHost | None = None
    trusted_proxies: list[Addresses] = []
    metrics_token: SecretStr | None = None
    log: Literal["console", "json"] = "console"
    log_level: Literal["info", "warning", "error"] = "info"
    strict: bool = False
    watch: bool = False
    ops: Annotated[str, AfterValidator(listen_address)] | None = None
    delivery: Delivery = Delivery()
    upstream: Upstream = Upstream()
    limits: Limits = Limits()
    retention: Retention = Retention()
    desk: Desk = Desk()
    smtp: Smtp | None = None
    geo: Geo = Geo()
    sites: list[Site] = Field(min_length=1)
