"""A report to a partner, and the postback that delivers it: values, state and attempts."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, Literal, get_args

from ..orders.doubt import Kind
from ..orders.model import Item
from ..orders.sighting import item_of, plain

# due: waits for its time. sending: the first byte of the call may have been sent. delivered, dead: final.
# unknown: it was sent, and there was no response. held: in doubt, not sent until a person or the shop's
# server confirms it. accepted: the network has it, and says later what became of it. refused: it is not sent,
# because a person decided so, or there is nothing to report.
# superseded: it was not sent, because a later one says what holds now.
State = Literal["due", "sending", "accepted", "delivered", "dead", "unknown", "held", "refused", "superseded"]
Outcome = Literal["delivered", "accepted", "retry", "dead", "unknown"]
STATES: tuple[State, ...] = get_args(State)
# Those that wait for a person.
STUCK: tuple[State, ...] = ("held", "dead", "unknown")
# Those that are not settled: few, whatever was delivered before.
OPEN: tuple[State, ...] = ("due", "sending", "accepted", *STUCK)


@dataclass(frozen=True, slots=True)
class Report:
    """An event of an order, for one partner. Amounts are decimal text with the currency's minor digits.

    Times are unix seconds. `click_id` is the value of `Click.value`, with bytes outside UTF-8 as surrogate
    escapes; `click_param` is its landing parameter, empty if that is not known. `consent` is the visitor's
    when it ordered (`Consented.state`), `tcf` its TC string, empty if there is none. `before` is the amount
    that was reported last, empty in the first report. `items` are the order's, None if they are not known.
    `left` has for each item what of its value was not refunded, and `left_before` the same of the report
    before; empty where no refund names items.
    `commission` is the partner's by the site's terms.
    `customer` is new or returning, `email_sha256` the hash of the address. Empty text: not known.
    """

    event: str
    partner: str
    click_id: str
    order_id: str
    amount: str
    currency: str
    channel: str
    order_time: int
    landing_time: int
    voucher: str = ""
    click_param: str = ""
    state: str = "placed"
    consent: str = "unknown"
    tcf: str = ""
    before: str = ""
    items: tuple[Item, ...] | None = None
    customer: str = ""
    discount: str = ""
    tax: str = ""
    shipping: str = ""
    email_sha256: str = ""
    commission: str = ""
    left: tuple[Decimal, ...] = ()
    left_before: tuple[Decimal, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data for the ledger."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: plain(value) for name, value in values if name in _ALWAYS or value}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Report":
        """The reverse of `to_json`."""
        items = data.get("items")
        left = {name: tuple(map(Decimal, data.get(name, ()))) for name in ("left", "left_before")}
        return cls(**{**data, **left, "items": None if items is None else tuple(map(item_of, items))})


# Kept even where they are empty: others read them from the ledger.
_ALWAYS = frozenset(field.name for field in fields(Report)[:14])


@dataclass(frozen=True, slots=True)
class Postback:
    """A row of the outbox. `order` is the ledger's own number of the order; times are unix seconds.
    `sequence` numbers the postbacks of one order to one partner.

    `attempts` counts the attempted calls. `lease_until`: until then a worker has the row; while `due` it has
    not sent anything, while `sending` it may have. `hold` is the kind of doubt while the postback is held,
    `why` the doubt in words, and who settled it. `last_status` is the HTTP status of the last response, None
    if there was none. `job` is what the network calls the call while it is `accepted`, since `accepted_at`.
    """

    id: str
    order: int
    site: str
    partner: str
    sequence: int
    event: str
    report: Report
    state: State
    attempts: int
    next_at: float
    lease_until: float | None
    last_answer: str | None
    created_at: float
    finished_at: float | None
    hold: Kind | None = None
    why: str | None = None
    last_status: int | None = None
    job: str | None = None
    accepted_at: float | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A postback that is due and not leased."""

    id: str
    site: str
    partner: str
    event: str = "order"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One delivery attempt: the call with its secrets masked, and the status and body of the response."""

    at: float
    request: str
    status: int | None
    answer: str
    outcome: Outcome
