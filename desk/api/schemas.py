"""The bodies of the API's responses. Amounts are decimal text with a dot, times RFC 3339 in UTC."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ...orders.model import Channel, OrderState
from ...payouts.account import State as CommissionState
from ...service.ordering.lines import Kind


class Shape(BaseModel):
    """The base of all: what is not declared is not sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Error(Shape):
    """Why a call was refused, and what to do. A claim of an agent is refused in its protocol's words, too."""

    error: str
    type: str | None = Field(None, description="invalid_request: by the Agentic Commerce Protocol.")
    code: str | None = Field(None, description="pii_not_allowed, invalid_type or idempotency_conflict.")
    message: str | None = None
    param: str | None = Field(None, description="The JSON path of what is refused.")


class Recorded(Shape):
    """An order as it stands after a report of it."""

    id: str
    total: str | None = Field(description="None if only a refund or a cancellation was reported so far.")
    currency: str | None
    state: OrderState
    channel: Channel
    created: bool = Field(description="Whether this report was the first of the order.")
    held: str | None = Field(None, description="Why its partner is not notified yet.")
    report: int | None = Field(None, description="The number of a report that named no order.")


class Waiting(Shape):
    """A report without an order number that fits no order for sure yet; or any report, while the ledger
    cannot be reached and it waits in the journal: then `report` is null, and `id` the order's number."""

    id: str | None
    report: int | None
    waiting: str
    candidates: list[str]


class Commission(Shape):
    """What a partner earns by an order. `amount` is null where the site has no terms, `value` is its part of
    the order's amount. `locked` and `paid` are what was settled and paid."""

    order: str
    partner: str
    state: CommissionState
    approved: bool = Field(description="Of an amended one: whether it is approved, and not pending.")
    currency: str
    amount: str | None
    value: str | None
    locked: str | None
    paid: str | None
    channel: str
    placed_at: str | None
    waits_until: str | None = Field(description="When it is approved by itself, while it waits for that.")
    decided_at: str | None
    changed_at: str | None
    ref: str | None = Field(description="The last settlement or payout.")


class Commissions(Shape):
    """A page of commissions. `next` is the cursor of the next page; null on the last one."""

    commissions: list[Commission]
    next: str | None


class Decided(Shape):
    """The partners whose commission changed, and all commissions of the order as they are now."""

    changed: list[str]
    commissions: list[Commission]


class Rules(Shape):
    """The newest revision of the site's rules, 0 for those of its settings; `in_force` is the one that this
    process runs, which follows within seconds. `settings`: they are those of the settings."""

    revision: int
    in_force: int
    settings: bool
    text: str = Field(description="In TOML, with [[rules]].")
    at: str | None
    by: str | None
    note: str


class Item(Shape):
    """A line of an order. `price` is for one unit, `discount` and `tax` are for the line."""

    id: str
    name: str
    category: str
    quantity: str
    price: str | None
    discount: str | None
    tax: str | None


class Order(Shape):
    """An order as its reports add up."""

    id: str = Field(description="Its first number, normalised.")
    spelling: str = Field(description="The number as the shop writes it.")
    state: OrderState
    total: str | None
    currency: str | None
    refunded: str
    net: str | None
    shipping: str | None
    tax: str | None
    discount: str | None
    coupon: str | None
    customer: Literal["new", "returning"] | None
    items: list[Item]
    channel: Channel
    source: str = Field(description="Who said its amount: page, browser, agent, api, webhook or import.")
    visitor: str | None
    conversation: str | None
    agent: str | None
    partner: str | None = Field(description="Who earns it.")
    reason: str = Field(description="Why this partner earns it, or why nobody does.")
    placed_at: str
    recorded_at: str
    version: int = Field(description="Counts the changes of the order.")


class Orders(Shape):
    """A page of orders, newest first."""

    orders: list[Order]
    next: str | None = Field(description="The `cursor` of the next page; None on the last one.")


class Step(Shape):
    """One step of an order's history, in words."""

    at: str
    kind: Kind
    text: str
    details: list[str]


class Share(Shape):
    """One partner's part of an order, from 0 to 1."""

    partner: str
    part: str
    reason: str


class Postback(Shape):
    """One call that is due to a partner, or was."""

    id: str
    partner: str
    sequence: int
    event: str
    amount: str
    currency: str
    state: str
    attempts: int
    created_at: str
    finished_at: str | None
    why: str


class OrderStory(Shape):
    """An order with its whole history: reports, corrections, credit, and the calls to partners."""

    order: Order
    numbers: list[str] = Field(description="Further numbers of the same order.")
    shares: list[Share]
    postbacks: list[Postback]
    history: list[Step]


class Claims(Shape):
    """What led a visitor to the shop, as agents tell a checkout."""

    affiliate_attribution: list[dict[str, str]] = Field(
        description="For the Agentic Commerce Protocol: `first` with the session, `last` with its completion."
    )
    attribution: dict[str, str] = Field(description="For the Universal Commerce Protocol.")


class OrderEvent(Shape):
    """`data` of the events about an order: as it stands. `version` counts its changes, by which events are
    put in order. With `personal` in the endpoint's settings, `visitor`, `conversation` and `agent` are
    there too."""

    site: str
    order_id: str
    spelling: str | None
    version: int
    state: str
    total: str | None
    currency: str | None
    refunded: str
    net: str | None
    shipping: str | None
    tax: str | None
    discount: str | None
    customer: Literal["new", "returning"] | None
    coupon: str | None
    channel: Channel
    source: str
    placed_at: str
    recorded_at: str
    merged_into: str | None
    held: str | None = Field(description="Why its partners are not notified yet.")
    visitor: str | None = None
    conversation: str | None = None
    agent: str | None = None


class ShareEvent(Shape):
    """A partner's part of an order, from 0 to 1, and what this decision gives it. What it earns in the end,
    once people have approved or declined it, `GET commissions` says."""

    partner: str
    part: str
    earned: str | None
    earned_currency: str | None
    operator: str | None
    reason: str


class CreditEvent(Shape):
    """`data` of credit.changed: who earns an order, by its `version`. Without shares nobody does."""

    site: str
    order_id: str
    version: int
    reason: str
    shares: list[ShareEvent]


class PostbackEvent(Shape):
    """`data` of the events about a report to a partner. `sequence` counts an order's reports to it."""

    site: str
    id: str
    order_id: str
    partner: str
    sequence: int
    event: str
    state: str
    amount: str
    currency: str
    attempts: int
    last_status: int | None
    created_at: str
    why: str | None


class HoldEvent(PostbackEvent):
    """`data` of the events about a report that is held, and about its release."""

    hold: str | None = Field(description="The kind of doubt, while it is held.")


class CommissionEvent(Shape):
    """`data` of the events about a partner's commission for an order. Amounts are decimal text, null where
    the site has no terms."""

    site: str
    order_id: str
    partner: str
    currency: str
    change: str | None = Field(description="What this adds to it; of what was settled or paid, the sum.")
    amount: str | None = Field(description="The whole commission as it stands.")
    state: str = Field(description="As it stands: pending, amended, approved, declined, locked or paid.")
    part: str
    source: str = Field(description="credit, hold, person, network, file, settlement or payout.")
    by: str
    why: str
    ref: str | None = Field(description="The settlement or the payout.")


class PayoutEvent(Shape):
    """`data` of payout.made: the sum that a partner gets for a period."""

    site: str
    name: str
    partner: str
    period: str
    currency: str
    amount: str
    lines: int
    made_at: str


class OfferEvent(Shape):
    """`data` of offer.…: a link that an agent sent; with `personal` also visitor, conversation and agent."""

    site: str
    offer: int
    label: str
    page: str
    cart: str | None
    coupon: str | None
    sent_at: str
    expires_at: str
    clicked_at: str | None
    order_id: str | None
    followed_by: str | None


class TalkEvent(Shape):
    """`data` of the events about what is done with a conversation."""

    site: str
    conversation: str
    by: str | None = Field(description="The agent who did it; null for the visitor or the program.")
    agent: str | None = Field(description="Who has it now.")
    before: str | None = Field(description="Who had it.")
    department: str | None
    why: str | None = Field(description="Of released: left or gone. Of rated: the rating.")
    rule: str | None = Field(description="The rule whose invite started it.")
    first_answer: int | None = Field(
        description="Seconds from the first message to the first answer; null while there is none."
    )
    length: int = Field(description="Seconds from the first message to the last, so far.")
    messages: int = Field(description="Messages of people, so far.")
    rating: int | None = Field(description="The visitor's rating, 1 to 5.")
    orders: int = Field(description="Sales that are credited to it, so far.")
    visitor: str | None = Field(None, description="Only with `personal`.")
    note: str | None = Field(None, description="The text of a note. Only with `personal`.")


class PresenceEvent(Shape):
    """`data` of agent.presence."""

    site: str
    agent: str
    presence: str = Field(description="available, away or leaving.")


class LoadEvent(Shape):
    """`data` of agents.busy and agents.free."""

    site: str
    talks: int = Field(description="Conversations that took a place then.")
    places: int = Field(description="How many the agents could handle.")


class RulesEvent(Shape):
    """`data` of rules.changed: the revision of a site's rules that is the newest from then on."""

    site: str
    revision: int
    by: str
    note: str
    rules: int = Field(description="How many there are.")
    origin: str = Field(description="people; or settings: those of the settings are in force again.")


class CallbackEvent(Shape):
    """`data` of callback.…: a visitor who wants to be called; with `personal` also visitor, phone, topic and
    agent."""

    site: str
    callback: int
    language: str
    wished_at: str | None
    calls: int
    order_id: str | None
    partner: str | None
    made_at: str


class TestEvent(Shape):
    """`data` of webhook.test."""

    site: str


class Went(Shape):
    """Rows of one table."""

    table: str
    rows: int
    what: str


class Receipt(Shape):
    """What was deleted of a person, what was kept, and why."""

    site: str
    visitors: list[str]
    email_hashes: list[str]
    dry_run: bool
    went: list[Went]
    stayed: list[Went]
    notes: list[str]


class Document(BaseModel):
    """An OpenAPI document."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
