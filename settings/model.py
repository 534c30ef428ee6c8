"""The models of all settings. For loading, values from the environment and errors, see `load.py`."""

import re
from datetime import date
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

LANGUAGES = ("de", "en", "fi", "fr", "nl", "ru")
PLACEHOLDERS = ("click_id", "order_id", "amount", "currency", "channel", "event", "consent", "commission")

Language = Literal["de", "en", "fi", "fr", "nl", "ru"]
PageType = Literal["home", "category", "product", "search", "cart", "checkout", "confirmation", "account"]
# What a shop system's own word for a state means; empty: nothing is said by it.
WebhookState = Literal[
    "", "seen", "held", "placed", "paid", "part_refunded", "refunded", "cancelled", "charged_back", "test"
]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


def _host(value: str) -> str:
    value = value.lower()
    if not re.fullmatch(r"(\*\.)?[a-z0-9_]([a-z0-9._-]*[a-z0-9])?(:\d+)?|\[[0-9a-f:.]+\](:\d+)?", value):
        raise ValueError(
            'not a host name; write for example "shop.example", "*.shop.example" or "localhost:8000"'
        )
    return value


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


def _one_host(value: str) -> str:
    value = _host(value)
    port = value.rpartition(":")[2]
    if value.startswith("*") or (port.isdigit() and not 0 < int(port) < 65536):
        raise ValueError('not a single host; write for example "shop.internal" or "shop.internal:8000"')
    return value


def _prefix(value: str) -> str:
    # The whole tag must have at most 150 bytes, and the path is compared as raw bytes.
    if not re.fullmatch(r"/[A-Za-z0-9._~/-]{0,30}/", value) or "//" in value:
        raise ValueError(
            'a path of ASCII letters, digits, "-", ".", "_", "~", with "/" at both ends, up to 32 bytes'
        )
    return value


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, OSError, ValueError) as error:
        raise ValueError('not an IANA time zone; write for example "Europe/Berlin"') from error
    return value


def _postback(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(
            'not a URL to call; write for example "https://partner.example/postback?click={click_id}"'
        )
    if "{" in parts.netloc:
        raise ValueError("the host must not contain a placeholder")
    for name in re.findall(r"\{([^{}]*)\}", value):
        if name not in PLACEHOLDERS:
            known = ", ".join(f"{{{p}}}" for p in PLACEHOLDERS)
            raise ValueError(f"unknown placeholder {{{name}}}; known are {known}")
    return value


def _called(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
        raise ValueError('not a URL to call; write for example "https://crm.example/hooks/clew"')
    return value


def _endpoint(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError('write scheme, host and port of a relay or test host: "https://relay.example"')
    return value.rstrip("/")


def _written(value: object) -> object:
    # ipaddress accepts integers and booleans as addresses.
    if not isinstance(value, str):
        raise ValueError('a network is written in quotes, for example "10.0.0.0/8"')
    return value


def _email(value: str) -> str:
    found = value.strip().lower()
    if re.fullmatch(r"[0-9a-f]{64}", found) or re.fullmatch(r"[^@\s]{1,64}@[^@\s]{1,255}", found):
        return found
    raise ValueError("not an e-mail address, nor the SHA-256 of one in hex")


def listen_address(value: str) -> str:
    """`HOST:PORT`, with an IPv6 address in brackets. Raises ValueError."""
    host, _, port = value.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]") if host.startswith("[") and host.endswith("]") else host
    numbered = port.isascii() and port.isdigit() and int(port[:6]) < 65536
    if not bare or (":" in bare and bare == host) or not numbered:
        raise ValueError('not an address and port; write for example "127.0.0.1:9180" or "[::1]:9180"')
    return value


class Model(BaseModel):
    """The base of all models: unknown keys are errors, and values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=False)


class Terms(Model):
    """What a partner earns by some orders or items; the first entry that applies counts."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    when: list[str] = Field([], max_length=20)
    since: date | None = None
    until: date | None = None
    percent: Decimal | None = Field(None, ge=0, le=100)
    fixed: Decimal | None = Field(None, ge=0, le=1_000_000)
    per_item: Decimal | None = Field(None, ge=0, le=1_000_000)
    cap: Decimal | None = Field(None, ge=0, le=1_000_000)
    currency: Currency | None = None
    pay: Decimal | None = Field(None, ge=0, le=100)
    report_only: bool = False
    renewals: Literal["none", "lifetime"] | Annotated[int, Field(ge=1, le=240)] = "none"
    hold_days: int | None = Field(None, ge=0, le=3650)


CouponPolicy = Literal["click_first", "code_first", "code_only", "blocked"]
# batch: what is approved is settled when a period is closed; live: at once.
Settlement = Literal["batch", "live"]


_NO_LIBRARY: Final = "accounts need a library that is not installed: pip install 'clew[payout]'"


def _iban(value: str) -> str:
    try:
        from schwifty import IBAN
        from schwifty.exceptions import SchwiftyException
    except ImportError:
        raise ValueError(
            "payouts need libraries that are not installed: pip install 'clew[payout]'"
        ) from None
    try:
        return IBAN(value).compact
    except SchwiftyException as error:
        raise ValueError(f"not an IBAN: {error}") from None


def _bic(value: str) -> str:
    try:
        from schwifty import BIC
        from schwifty.exceptions import SchwiftyException
    except ImportError:
        raise ValueError(
            "payouts need libraries that are not installed: pip install 'clew[payout]'"
        ) from None
    try:
        return BIC(value).compact
    except SchwiftyException as error:
        raise ValueError(f"not a BIC: {error}") from None


Minimum = dict[Currency, Annotated[Decimal, Field(ge=0, le=1_000_000)]]


class Account(Model):
    """Whose account money goes to, or comes from."""

    name: str = Field(min_length=1, max_length=70)
    iban: Annotated[str, AfterValidator(_iban)] | None = None
    bic: Annotated[str, AfterValidator(_bic)] | None = None
    minimum: Minimum = {}


class Creditor(Account):
    """How a partner is paid: see docs/payouts.md."""

    method: Literal["sepa", "csv"] = "sepa"


class Partner(Model):
    """A partner: in a network of the catalogue, or a plain one with a parameter and a postback URL."""

    id: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    network: str | None = None
    # Which of the texts are secret the network's entry says, which these models do not know: so all are.
    settings: dict[str, SecretStr | int | bool] = {}
    # By category or id of an item.
    commission_groups: dict[str, str] = {}
    param: str | None = Field(None, pattern=r"^[A-Za-z0-9_.~-]{1,64}$")
    postback: Annotated[str, AfterValidator(_postback)] | None = None
    secret: SecretStr | None = None
    lookback_days: int | None = Field(None, ge=1, le=400)
    endpoint: Annotated[str, AfterValidator(_endpoint)] | None = None
    retry_unknown: bool | None = None
    allow_private: bool = False
    inside_clicks: bool = False
    soft: bool = False
    codes: list[Annotated[str, Field(max_length=200)]] = Field([], max_length=1000)
    coupon: CouponPolicy | None = None
    leak_orders: int | None = Field(None, ge=0, le=100_000)
    hold_days: int | None = Field(None, ge=0, le=3650)
    settlement: Settlement | None = None
    emails: list[Annotated[str, AfterValidator(_email)]] = Field([], max_length=100)
    own_networks: list[Annotated[IPv4Network | IPv6Network, BeforeValidator(_written)]] = Field(
        [], max_length=100
    )
    brand_bidding: bool = False
    payout: Creditor | None = None
    terms: list[Terms] = Field([], max_length=100)

    @property
    def plain_settings(self) -> dict[str, str | int | bool]:
        """`settings` with their values as they are, for a call."""
        return {
            key: value.get_secret_value() if isinstance(value, SecretStr) else value
            for key, value in self.settings.items()
        }

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.network is None and (self.param is None or self.postback is None):
            raise ValueError(
                "a partner needs either `network` (with `settings`) or both `param` and `postback`; "
                "see docs/settings.md#partners"
            )
        if self.network is not None and (self.postback is not None or self.secret is not None):
            raise ValueError(
                "`postback` and `secret` are only for a plain partner: remove them, or remove `network`"
            )
        if self.network is None and self.commission_groups:
            raise ValueError("`commission_groups` is only for a network: remove it")
        if self.network is None and self.endpoint is not None:
            raise ValueError("`endpoint` is only for a network: the URL of a plain partner is `postback`")
        return self


class Rule(Model):
    """When to show, invite or hide: all lines of `when` must be true; the first match by priority acts."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    when: list[str] = []
    action: Literal["show", "invite", "hide"]
    priority: int = 0
    text: str | dict[Language, str] | None = None
    question: bool = True
    enabled: bool = True


class Order(Model):
    """Where the order is on the confirmation page: CSS selectors, or `jsonld`."""

    page: str = Field(min_length=1)
    id: str = "jsonld"
    total: str = "jsonld"
    currency: str = "jsonld"
    confirm: Literal["visit", "server", "none"] = "visit"
    browser: Literal["hold", "send", "ignore"] = "hold"


class Hold(Model):
    """When an order's amount is in doubt, so that its postback waits for a person's decision."""

    amounts: bool = True
    factor: Decimal = Field(Decimal(8), gt=1, le=1000)
    orders: int = Field(5, ge=2, le=50)
    agent_limit: Decimal | None = Field(None, ge=0)


class Fraud(Model):
    """When an order's credit is in doubt, so that its postback waits for a person's decision: see
    docs/credit.md#fraud. 0 switches a count off."""

    self_referral: bool = True
    own_clicks: int = Field(10, ge=0, le=1000)
    crawlers: bool = True
    automated: Literal["note", "hold"] = "note"
    unseen: bool = True
    network_clicks: int = Field(60, ge=0, le=100_000)
    orders: int = Field(20, ge=0, le=1_000_000)
    factor: Decimal = Field(Decimal(5), gt=1, le=1000)
    brand: list[Annotated[str, Field(min_length=2, max_length=100)]] = Field([], max_length=200)


class Cart(Model):
    """CSS selectors for the cart on the shop's pages, for example in the header."""

    value: str | None = None
    items: str | None = None
    currency: str | None = None


class Widget(Model):
    """The look of the chat, and what happens if no rule acts."""

    default: Literal["show", "hide"] = "show"
    title: str | dict[Language, str] | None = None
    color: str = Field("#1b5e9e", pattern=r"^#[0-9a-fA-F]{6}$")
    side: Literal["left", "right"] = "right"
    dismissals: int = Field(1, ge=1, le=100)
    invite_pages: int = Field(3, ge=1, le=50)


ChatAttribute = Literal["partner", "campaign", "cart", "page"]


class Chat(Model):
    """The chat: clew's own or that of a provider; how long before an order a conversation counts, and limits
    against abuse."""

    provider: str | None = None
    ids: dict[str, str] = {}
    attributes: tuple[ChatAttribute, ...] = ()
    load: Literal["click", "page"] = "click"
    csp: Literal["report", "extend"] = "report"
    mail: str | None = Field(None, pattern=r"^[^\s@<>\"?&]{1,64}@[A-Za-z0-9.-]{1,190}$")

    window_hours: int = Field(24, ge=1, le=24 * 60)
    message_length: int = Field(4000, ge=100, le=20000)
    messages_per_minute: int = Field(20, ge=1, le=600)
    per_agent: int = Field(3, ge=1, le=50)


class Lookback(Model):
    """The lookback window of some clicks; the first one in the list that applies counts."""

    days: int = Field(ge=1, le=400)
    network: str | None = None
    partner: str | None = None
    channel: Literal["web", "chat", "phone"] | None = None


Arriving = Literal[
    "paid_search",
    "paid_social",
    "display",
    "mail",
    "ai",
    "search",
    "social",
    "campaign",
    "referral",
    "direct",
]


class ChannelRule(Model):
    """What an arrival of another channel after the partner's click does to its credit; the first one that
    applies acts."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    arrivals: list[Arriving] = []
    then: Literal["keep", "unpaid", "take"]
    days: int | None = Field(None, ge=1, le=400)
    partners: list[str] = []
    when: list[str] = Field([], max_length=20)


class Split(Model):
    """An agreement between partners about a part of what one of them earns."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    of: str
    to: dict[str, Annotated[Decimal, Field(gt=0, le=100)]] = Field(min_length=1)
    when: list[str] = Field([], max_length=20)


CreditModel = Literal["last", "first", "linear", "position"]


class Credit(Model):
    """Who earns an order: see docs/credit.md."""

    model: CreditModel = "last"
    ends: int = Field(40, ge=0, le=50)
    compare: list[CreditModel] = []
    lookback: list[Lookback] = Field([], max_length=200)
    soft_hours: int = Field(24, ge=1, le=720)
    soft_networks: list[str] = []
    coupon: CouponPolicy = "click_first"
    leak_orders: int = Field(20, ge=0, le=100_000)
    leak_percent: int = Field(80, ge=1, le=100)
    leak_days: int = Field(7, ge=1, le=90)
    channels: list[ChannelRule] = Field([], max_length=100)
    splits: list[Split] = Field([], max_length=100)
    terms: list[Terms] = Field([], max_length=100)
    categories: list[str] = []
    hold_days: int = Field(30, ge=0, le=3650)
    settlement: Settlement = "batch"
    operator: str = Field("", max_length=64)
    operator_percent: Decimal = Field(Decimal(0), ge=0, le=100)
    cross_device: bool = False


class Consent(Model):
    """When visitors may be recognised: see docs/privacy.md."""

    mode: Literal["ask", "assume", "strict"] = "assume"
    purposes: list[Literal["preferences", "statistics", "marketing"]] = Field(["marketing"], min_length=1)
    gpc: Literal["always", "us", "ignore"] = "us"
    service: str = Field("clew", min_length=1, max_length=64)
    necessary_clicks: bool = False


ApiScope = Literal["orders:write", "orders:read", "commissions:write", "export", "forget", "attribution"]
"""What a token for programs may do."""


class ApiToken(Model):
    """A token for one program, with its scopes."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    token: SecretStr
    scopes: list[ApiScope] = Field(min_length=1)


class Net(Model):
    """What of an order's amount counts for partners: see docs/settings.md#net."""

    tax: Literal["include", "exclude"] = "include"
    shipping: Literal["include", "exclude"] = "include"
    discount: Literal["deduct", "ignore"] = "deduct"
    without: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field([], max_length=100)
    currency: Currency | None = None
    rates: dict[Currency, Annotated[Decimal, Field(gt=0, le=1_000_000)]] = {}

    @model_validator(mode="after")
    def _currency_of_rates(self) -> Self:
        if self.rates and self.currency is None:
            raise ValueError('`rates` need `currency`, the one to convert to: currency = "EUR"')
        return self


class PartnerPages(Model):
    """What partners' pages compare: see docs/partners.md."""

    change: date | None = None
    change_name: str = Field("", max_length=100)
    weeks: int = Field(4, ge=3, le=26)


class Carry(Model):
    """How clew's token gets into the shop's cart and order: see docs/getting-started.md#orders-by-webhook."""

    header: bool = False
    cart: Literal["shopify"] | None = None


class Webhook(Model):
    """A shop system that reports orders by webhooks: see docs/api.md#webhooks."""

    secret: SecretStr
    previous_secrets: list[SecretStr] = []
    states: dict[str, WebhookState] = {}
    store: str | None = Field(None, pattern=r"^[A-Za-z0-9_-]{1,64}$")
    token: SecretStr | None = None
    endpoint: Annotated[str, AfterValidator(_endpoint)] | None = None


def _event_type(value: str) -> str:
    if not re.fullmatch(r"[a-z]+\.(?:[a-z_]+|\*)", value):
        raise ValueError('not a type of event; write for example "order.created" or "order.*"')
    return value


class EventEndpoint(Model):
    """An address of the shop's own that is told what happens: see docs/webhooks.md."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    url: Annotated[str, AfterValidator(_called)]
    secret: SecretStr
    previous_secrets: list[SecretStr] = Field([], max_length=2)
    events: list[Annotated[str, AfterValidator(_event_type)]] = Field([], max_length=50)
    personal: bool = False
    allow_private: bool = False


class Site(Model):
    """One shop: its hosts, its upstream, its partners and its rules."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    hosts: list[Annotated[str, AfterValidator(_host)]] = []
    upstream: Annotated[str, AfterValidator(_upstream)] | None = None
    upstream_host: Annotated[str, AfterValidator(_one_host)] | None = None
    prefix: Annotated[str, AfterValidator(_prefix)] = "/-/clew/"
    platform: str | None = None
    page_types: dict[str, PageType] = {}
    language: Language = "en"
    time_zone: Annotated[str, AfterValidator(_time_zone)] = "UTC"
    debug: bool = False
    api_token: SecretStr | None = None
    api_tokens: list[ApiToken] = []
    inject: bool = True
    never: list[str] = []
    admin: list[str] | None = None
    ignore_no_transform: bool = False
    compress: bool = True
    cookie_domain: str | None = None
    checkout_hosts: list[Annotated[str, AfterValidator(_one_host)]] = Field([], max_length=20)
    checkout_secret: SecretStr | None = Field(None, min_length=32)
    keep_query: list[Annotated[str, Field(min_length=1, max_length=64)]] = []
    partners: list[Partner] = []
    rules: list[Rule] = []
    order: Order | None = None
    hold: Hold = Hold()
    fraud: Fraud = Fraud()
    cart: Cart = Cart()
    widget: Widget = Widget()
    chat: Chat = Chat()
    credit: Credit = Credit()
    payer: Account | None = None
    consent: Consent = Consent()
    net: Net = Net()
    carry: Carry = Carry()
    partner_pages: PartnerPages = PartnerPages()
    webhooks: dict[str, Webhook] = {}
    endpoints: list[EventEndpoint] = Field([], max_length=10)


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


class Retention(Model):
    """How many days the ledger keeps what is not an order, a credit or a sum."""

    raw: int = Field(30, ge=1, le=3650)
    webhooks: int = Field(30, ge=1, le=3650)
    attempts: int = Field(180, ge=1, le=3650)
    conversations: int = Field(400, ge=1, le=3650)
    notices: int = Field(90, ge=1, le=3650)
    sessions: int = Field(1, ge=1, le=3650)


class Bound(Model):
    """One limit: for each client network, for each site, and in total."""

    client: int = Field(ge=1)
    site: int = Field(ge=1)
    all: int = Field(ge=1)


class Limits(Model):
    """Limits on what anonymous clients can make clew store, compute or hold open.

    For the periods see `service/limits.py`.

    The defaults suffice for an office or a mobile network behind one IPv4 address, and for a sale.
    """

    visitors: Bound = Bound(client=120, site=3000, all=10000)
    decides: Bound = Bound(client=1200, site=30000, all=60000)
    events: Bound = Bound(client=300, site=6000, all=20000)
    browser_orders: Bound = Bound(client=30, site=600, all=3000)
    reads: Bound = Bound(client=600, site=12000, all=30000)
    messages: Bound = Bound(client=120, site=1200, all=6000)
    conversations: Bound = Bound(client=20, site=600, all=3000)
    text: Bound = Bound(client=400_000, site=10_000_000, all=50_000_000)
    logins: Bound = Bound(client=20, site=300, all=600)
    tokens: Bound = Bound(client=20, site=300, all=600)
    exports: Bound = Bound(client=60, site=120, all=600)
    webhooks: Bound = Bound(client=60, site=600, all=3000)
    partner_pages: Bound = Bound(client=120, site=600, all=3000)
    partner_links: Bound = Bound(client=20, site=300, all=600)
    resends: Bound = Bound(client=20, site=200, all=1000)
    streams: Bound = Bound(client=100, site=2000, all=5000)
    desk_streams: Bound = Bound(client=200, site=500, all=2000)
    uploads: Bound = Bound(client=50, site=500, all=2000)
    websockets: Bound = Bound(client=100, site=500, all=5000)
    connections: Bound = Bound(client=512, site=20_000, all=20_000)

    @field_validator("*", mode="before")
    @classmethod
    def _partly(cls, value: object, info: ValidationInfo) -> object:
        """Keys that a table leaves out keep their defaults."""
        if not isinstance(value, dict) or info.field_name is None:
            return value
        default = cls.model_fields[info.field_name].default
        assert isinstance(default, Bound)
        return {**default.model_dump(), **value}


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
    desk_host: Annotated[str, AfterValidator(_one_host)] | None = None
    trusted_proxies: list[Annotated[IPv4Network | IPv6Network, BeforeValidator(_written)]] = []
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
    sites: list[Site] = Field(min_length=1)
