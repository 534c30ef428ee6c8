"""A report to a partner, and the postback that carries it: the values, the state and the attempts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..orders.doubt import Kind

# due: waits for its time. sending: the call's first byte may have left. delivered, dead: done. unknown: it
# was sent and no answer came back. held: in doubt, and not sent before a person or the shop's server says so.
# refused: a person said that it is not to be sent.
State = Literal["due", "sending", "delivered", "dead", "unknown", "held", "refused"]
Outcome = Literal["delivered", "retry", "dead", "unknown"]
STATES: tuple[State, ...] = ("due", "sending", "delivered", "dead", "unknown", "held", "refused")


@dataclass(frozen=True, slots=True)
class Report:
    """What happened to an order, for one partner. `amount` is decimal text with the currency's minor digits.

    Times are unix seconds. `click_id` is the value of `Click.value`: bytes outside UTF-8 as surrogate
    escapes; `click_param` is the landing parameter it came in, empty where that is not known.
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

    def to_json(self) -> dict[str, Any]:
        """Plain data for the ledger."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Report":
        """The reverse of `to_json`."""
        return cls(**data)


@dataclass(frozen=True, slots=True)
class Postback:
    """A row of the outbox. `order` is the ledger's own number of the order; times are unix seconds.

    `attempts` counts the calls that were tried. With `lease_until` a worker holds the row until then: while
    `due` it has not sent anything, while `sending` it may have. `hold` is the kind of doubt while it is held,
    `why` the doubt in words, and who settled it.
    `last_status` is the HTTP status of the last answer, None where none came.
    """

    id: str
    order: int
    site: str
    partner: str
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


@dataclass(frozen=True, slots=True)
class Waiting:
    """A postback that is due and that nobody holds."""

    id: str
    site: str
    partner: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to deliver: the call with its secrets masked, the status and the answer if one came."""

    at: float
    request: str
    status: int | None
    answer: str
    outcome: Outcome
