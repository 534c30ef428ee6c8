"""Where a site's orders come from, what of them counts, and when one is in doubt."""

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from .base import Currency, Endpoint, Model

# What a shop system's own word for a state means; empty: nothing is said by it.
WebhookState = Literal[
    "", "seen", "held", "placed", "paid", "part_refunded", "refunded", "cancelled", "charged_back", "test"
]


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
    own_clicks: int = Field(10, ge=0, le=50)
    crawlers: bool = True
    automated: Literal["note", "hold"] = "note"
    unseen: bool = True
    network_clicks: int = Field(60, ge=0, le=100_000)
    clicks: int = Field(200, ge=0, le=10_000_000)
    orders: int = Field(20, ge=0, le=1_000_000)
    factor: Decimal = Field(Decimal(5), gt=1, le=1000)
    brand: list[Annotated[str, Field(min_length=2, max_length=100)]] = Field([], max_length=200)


class Cart(Model):
    """CSS selectors for the cart on the shop's pages, for example in the header."""

    value: str | None = None
    items: str | None = None
    currency: str | None = None
    products: str | None = None


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
    endpoint: Endpoint | None = None
