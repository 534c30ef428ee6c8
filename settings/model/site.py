"""One shop."""

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from .actions import Persona, Phone
from .base import Host, Language, Model, OneHost, PageType, TimeZone
from .chat import Callback, Chat, Hours, Widget
from .credit import Credit
from .facts import Calendar, CustomFact, FactName, ProductPage, Score, Signal
from .invites import Costs, Invites, Traffic
from .offers import Offers
from .orders import Carry, Cart, Fraud, Hold, Net, Order, Webhook
from .partners import Partner, PartnerPages
from .payouts import BankAccount
from .rules import Rule
from .sharing import CoBrowsing, Files

SecondFactor = Literal["off", "owners", "all"]
"""Who has to have a second factor at the desk."""


def _upstream(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme == "unix":
        if not parts.path.startswith("/"):
            raise ValueError('a socket is written with its full path: "unix:/run/shop.sock"')
        return value
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(
            'not a shop\'s address; write for example "http://127.0.0.1:8000", "https://…" or "unix:/…"'
        )
    if parts.port == 0:  # reading `port` also raises ValueError for an invalid port
        raise ValueError("0 is not a valid port; write a port from 1 to 65535")
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
        raise ValueError("write only scheme, host and port: each request is forwarded with its own path")
    return value.rstrip("/")


def _prefix(value: str) -> str:
    # The whole tag must have at most 150 bytes, and the path is compared as raw bytes.
    if not re.fullmatch(r"/[A-Za-z0-9._~/-]{0,30}/", value) or "//" in value:
        raise ValueError(
            'a path of ASCII letters, digits, "-", ".", "_", "~", with "/" at both ends, up to 32 bytes'
        )
    return value


def _called(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
        raise ValueError('not a URL to call; write for example "https://crm.example/hooks/clew"')
    return value


def _event_type(value: str) -> str:
    if not re.fullmatch(r"[a-z]+\.(?:[a-z_]+|\*)", value):
        raise ValueError('not a type of event; write for example "order.created" or "order.*"')
    return value


class Consent(Model):
    """When visitors may be recognised: see docs/privacy.md."""

    mode: Literal["ask", "assume", "strict"] = "assume"
    purposes: list[Literal["preferences", "statistics", "marketing"]] = Field(["marketing"], min_length=1)
    gpc: Literal["always", "us", "ignore"] = "us"
    service: str = Field("clew", min_length=1, max_length=64)
    necessary_clicks: bool = False


ApiScope = Literal[
    "orders:write",
    "orders:read",
    "commissions:write",
    "rules:read",
    "rules:write",
    "export",
    "forget",
    "attribution",
]
"""What a token for programs may do."""


class ApiToken(Model):
    """A token for one program, with its scopes."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    token: SecretStr
    scopes: list[ApiScope] = Field(min_length=1)


class EventEndpoint(Model):
    """An address of the shop's own that is told what happens: see docs/webhooks.md."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    url: Annotated[str, AfterValidator(_called)]
    secret: SecretStr
    previous_secrets: list[SecretStr] = Field([], max_length=2)
    events: list[Annotated[str, AfterValidator(_event_type)]] = Field([], max_length=50)
    personal: bool = False
    allow_private: bool = False


class Desk(Model):
    """Rules for the accounts of the desk."""

    second_factor: SecondFactor = "off"


class SiteDesk(Model):
    """The same for the accounts of one site; None: as for all sites."""

    second_factor: SecondFactor | None = None


class Site(Model):
    """One shop: its hosts, its upstream, its partners and its rules."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    hosts: list[Host] = []
    upstream: Annotated[str, AfterValidator(_upstream)] | None = None
    upstream_host: OneHost | None = None
    prefix: Annotated[str, AfterValidator(_prefix)] = "/-/clew/"
    platform: str | None = None
    page_types: dict[str, PageType] = {}
    checkout_steps: list[str] = Field([], max_length=20)
    language: Language = "en"
    time_zone: TimeZone = "UTC"
    debug: bool = False
    api_token: SecretStr | None = None
    api_tokens: list[ApiToken] = []
    inject: bool = True
    never: list[str] = []
    admin: list[str] | None = None
    ignore_no_transform: bool = False
    compress: bool = True
    cookie_domain: str | None = None
    checkout_hosts: list[OneHost] = Field([], max_length=20)
    checkout_secret: SecretStr | None = Field(None, min_length=32)
    keep_query: list[Annotated[str, Field(min_length=1, max_length=64)]] = []
    partners: list[Partner] = []
    rules: list[Rule] = []
    invites: Invites = Invites()
    traffic: Traffic = Traffic()
    costs: Costs = Costs()
    personas: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")], Persona] = Field(
        {}, max_length=50
    )
    phone: Phone = Phone()
    order: Order | None = None
    hold: Hold = Hold()
    fraud: Fraud = Fraud()
    cart: Cart = Cart()
    product: ProductPage = ProductPage()
    signals: list[Signal] = Field([], max_length=100)
    score: Score = Score()
    facts: dict[FactName, CustomFact] = Field({}, max_length=50)
    slow_seconds: float = Field(4.0, gt=0, le=600)
    widget: Widget = Widget()
    chat: Chat = Chat()
    hours: Hours | None = None
    calendar: Calendar | None = None
    callback: Callback | None = None
    files: Files = Files()
    offers: Offers = Offers()
    cobrowsing: CoBrowsing = CoBrowsing()
    credit: Credit = Credit()
    payer: BankAccount | None = None
    consent: Consent = Consent()
    net: Net = Net()
    carry: Carry = Carry()
    partner_pages: PartnerPages = PartnerPages()
    webhooks: dict[str, Webhook] = {}
    endpoints: list[EventEndpoint] = Field([], max_length=10)
    desk: SiteDesk = SiteDesk()
