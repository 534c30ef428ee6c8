"""The facts that terms can ask about: the order, one of its items, the click, its partner."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, get_args
from zoneinfo import ZoneInfo

from ..referral.touches import Touch
from ..rules.conditions import Condition, compile_line
from ..rules.evaluation import Moment, Plan
from ..rules.facts import WEEKDAYS, Fact, Facts, Vocabulary
from .channels import CHANNELS, channel_of
from .sale import Line, Sale
from .terms import Closed

TERM_FACTS = Vocabulary(
    (
        Fact("order.total", "double", "The order's total."),
        Fact("order.paid", "double", "The total without what was refunded."),
        Fact("order.currency", "string", "Its currency, an ISO 4217 code."),
        Fact("order.channel", "string", "Where it was closed: web, chat, phone.", get_args(Closed)),
        Fact("order.coupon", "string", "The coupon that was used, as the shop writes it."),
        Fact(
            "order.customer",
            "string",
            "Whether the customer is new or returning: as the shop says, else by the ledger.",
            ("new", "returning"),
        ),
        Fact("order.earlier", "int", "How many earlier orders of the customer are in the ledger."),
        Fact("order.items", "int", "How many different items it has."),
        Fact("order.recurring", "bool", "Whether it renews a subscription."),
        Fact("order.date", "string", 'The day it was placed, such as "2026-12-24".'),
        Fact("order.hour", "int", "The hour, 0 to 23.", most=23),
        Fact("order.weekday", "string", "The day of the week: mon, tue, wed, thu, fri, sat, sun.", WEEKDAYS),
        Fact("item.id", "string", "The item's id or SKU. Only items with true lines count."),
        Fact("item.name", "string", "Its name."),
        Fact("item.category", "string", "Its category or product group."),
        Fact("item.price", "double", "Its price for one unit."),
        Fact("item.quantity", "double", "How many were ordered."),
        Fact("partner.id", "string", "The partner that the click earns for."),
        Fact("partner.network", "string", "That partner's network, empty for a plain partner."),
        Fact("touch.channel", "string", f"The kind of the arrival: {', '.join(CHANNELS)}.", CHANNELS),
        Fact("touch.network", "string", "The network of its click id."),
        Fact("touch.param", "string", "The parameter that its click id was in."),
        Fact("touch.age_days", "int", "How long before the order it was, in full days."),
        Fact("touch.landing", "string", "The page that it led to."),
        Fact("touch.referrer", "string", "The URL that it came from."),
        Fact("campaign.source", "string", "Its utm_source."),
        Fact("campaign.medium", "string", "Its utm_medium."),
        Fact("campaign.name", "string", "Its utm_campaign."),
        Fact("campaign.term", "string", "Its utm_term."),
        Fact("campaign.content", "string", "Its utm_content."),
    )
)

_CAMPAIGN = {
    "utm_source": "source",
    "utm_medium": "medium",
    "utm_campaign": "name",
    "utm_term": "term",
    "utm_content": "content",
}


class Lines:
    """The compiled lines of one entry."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._conditions: list[Condition] = [compile_line(text, vocabulary=TERM_FACTS) for text in texts]
        self._plan = Plan(self._conditions, TERM_FACTS)
        self.names = self._plan.names

    def hold(self, facts: Facts) -> bool:
        """Whether all lines are true."""
        if not self._conditions:
            return True
        moment = Moment(self._conditions, self._plan, facts)
        return moment.all_hold(range(len(self._conditions)))


@lru_cache(maxsize=4096)
def lines_of(texts: tuple[str, ...]) -> Lines:
    """The lines compiled, once for all decisions. Raises ConditionError."""
    return Lines(texts)


def of_order(sale: Sale, channel: str, order_time: float, zone: str) -> Mapping[str, Any]:
    """The group `order`, without what is not known."""
    local = datetime.fromtimestamp(order_time, UTC).astimezone(ZoneInfo(zone))
    found: dict[str, Any] = {
        "channel": channel,
        "recurring": sale.recurring,
        "date": local.date().isoformat(),
        "hour": local.hour,
        "weekday": WEEKDAYS[local.weekday()],
    }
    if sale.total is not None:
        found |= {"total": float(sale.total), "paid": float(sale.paid)}
    named = {
        "currency": sale.currency,
        "coupon": sale.coupon,
        "customer": sale.customer,
        "earlier": sale.earlier,
    }
    if sale.lines:
        found["items"] = len(sale.lines)
    return found | {name: value for name, value in named.items() if value is not None}


def of_item(line: Line | None) -> Mapping[str, Any]:
    """The group `item`."""
    if line is None:
        return {}
    found: dict[str, Any] = {"id": line.id, "quantity": float(line.quantity)}
    if line.price is not None:
        found["price"] = float(line.price)
    return found | {n: v for n, v in (("name", line.name), ("category", line.category)) if v}


def of_touch(
    touch: Touch | None, order_time: float, network: str, param: str
) -> dict[str, Mapping[str, Any]]:
    """The groups `touch` and `campaign`."""
    if touch is None:
        return {}
    found: dict[str, Any] = {
        "channel": channel_of(touch),
        "network": network,
        "param": param,
        "age_days": max(0, int((order_time - touch.at) // 86400)),
    }
    named = {"landing": touch.landing, "referrer": touch.referrer}
    campaign = {_CAMPAIGN[k]: v for k, v in touch.campaign.items() if k in _CAMPAIGN}
    return {"touch": found | {n: v for n, v in named.items() if v}, "campaign": campaign}
