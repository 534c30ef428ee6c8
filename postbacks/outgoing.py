"""What an endpoint of the shop's own is told: events made of the ledger's rows, and the signed call for one.

An event says how a row of the ledger stands, so it needs no copy of it: it is made when it is sent. Its id
comes from the number of the row's last change (`stores/ledger/changes.py`), so that a repeat has the same id,
and the next change another. Standard Webhooks 1.0.0.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

from ..orders.model import SALES
from ..settings.model import EventEndpoint
from .call import Call
from .masking import masked_address
from .render import ANY_2XX, signing

ORDER_EVENTS: Final[Mapping[str, str]] = {
    "order.created": "An order was recorded.",
    "order.updated": "An order changed: its amount, its state, its items, or a doubt about it was settled.",
    "order.held": "An order was recorded or changed, and is in doubt: `held` says why.",
    "order.refunded": "A part of an order or all of it was refunded or charged back.",
    "order.cancelled": "An order is none, or none any more: cancelled, or a test.",
    "order.merged": "An order turned out to be another one: `merged_into`.",
}
CREDIT_EVENTS: Final[Mapping[str, str]] = {
    "credit.changed": "Who earns an order was decided, for the first time or anew.",
}
POSTBACK_EVENTS: Final[Mapping[str, str]] = {
    "postback.delivered": "A partner took the report of an order or a change.",
    "postback.dead": "A partner did not take a report, and it is not sent again by itself.",
    "postback.unknown": "A report was sent, and it is not known whether the partner has it.",
    "postback.refused": "A report is not sent: a person decided so, or there is nothing to report "
    "(`why` says which).",
}
HOLD_EVENTS: Final[Mapping[str, str]] = {
    "postback.held": "A report is not sent yet: `hold` and `why` say what stands against it.",
    "postback.released": "A report that was held is sent after all: `why` says who settled it, and how.",
}
COMMISSION_EVENTS: Final[Mapping[str, str]] = {
    "commission.amended": "What a partner earns by an order changed, also less than was settled before.",
    "commission.approved": "A commission was approved: by its hold period, a person or the network's file.",
    "commission.declined": "A commission was declined.",
    "commission.settled": "A commission became part of a settlement, `ref`.",
    "commission.paid": "A commission was paid: by the payout `ref`, or as the network reports (`source`).",
}
PAYOUT_EVENTS: Final[Mapping[str, str]] = {
    "payout.made": "What a partner is owed for a period was paid: its file can be fetched.",
}
OFFER_EVENTS: Final[Mapping[str, str]] = {
    "offer.sent": "An agent sent a visitor a link, perhaps with a coupon or a cart.",
    "offer.clicked": "The visitor followed it, for the first time.",
    "offer.ordered": "An order followed from it: `order_id`, by its coupon or its click (`followed_by`).",
}
TALK_EVENTS: Final[Mapping[str, str]] = {
    "conversation.opened": "A conversation was opened, or opened again, by its visitor or an agent (`by`).",
    "conversation.assigned": "A conversation was assigned to an agent.",
    "conversation.taken": "An agent took a conversation, or took it over from another one (`before`).",
    "conversation.transferred": "An agent gave a conversation to another one, or to a department.",
    "conversation.released": "A conversation is for others, because its agent (`before`) has gone.",
    "conversation.closed": "A conversation was closed.",
    "conversation.rated": "A visitor rated its conversation: `rating`, 1 to 5.",
    "conversation.blocked": "An agent blocked the visitor of a conversation for a time.",
    "conversation.unblocked": "A lead ended a block of the visitor of a conversation.",
    "conversation.mailed": "Answers were sent to the visitor by mail.",
    "conversation.mail_failed": "Answers could not be sent by mail, and will not be tried again.",
    "conversation.noted": "An agent added an internal note; its text comes only with `personal`.",
}
PRESENCE_EVENTS: Final[Mapping[str, str]] = {
    "agent.presence": "An agent is available, away or at the end of a shift (`leaving`).",
}
LOAD_EVENTS: Final[Mapping[str, str]] = {
    "agents.busy": "The agents of a site have no time for more conversations.",
    "agents.free": "They have time again.",
}
RULES_EVENTS: Final[Mapping[str, str]] = {
    "rules.changed": "People set the rules of a site, or had those of its settings in force again.",
}
CALLBACK_EVENTS: Final[Mapping[str, str]] = {
    "callback.asked": "A visitor wants to be called.",
    "callback.missed": "The visitor was called, and not reached.",
    "callback.reached": "The visitor was reached.",
    "callback.ordered": "An order was closed in the call: `order_id`.",
    "callback.dropped": "The visitor is not called.",
}
TEST: Final = "webhook.test"
TYPES: Final[Mapping[str, str]] = {
    **ORDER_EVENTS,
    **CREDIT_EVENTS,
    **COMMISSION_EVENTS,
    **POSTBACK_EVENTS,
    **HOLD_EVENTS,
    **PAYOUT_EVENTS,
    **OFFER_EVENTS,
    **CALLBACK_EVENTS,
    **TALK_EVENTS,
    **PRESENCE_EVENTS,
    **LOAD_EVENTS,
    **RULES_EVENTS,
    TEST: "`clew webhooks test` was called.",
}
KINDS: Final = (
    *("orders", "credits", "commissions", "postbacks", "holds", "payouts", "offers", "callbacks", "talks"),
    "revisions",
)
"""The kinds of rows of which there are events: see `stores/ledger/export_rows.py`."""

_WORDS: Final[Mapping[str, str]] = {"clawback": "amended", "locked": "settled"}

_REFUNDED = ("part_refunded", "refunded", "charged_back")
_PERSONAL = ("visitor", "conversation", "agent")
_ORDER = (
    *("order_id", "spelling", "version", "state", "total", "currency", "refunded", "net", "shipping", "tax"),
    *("discount", "customer", "coupon", "channel", "source", "placed_at", "recorded_at", "merged_into"),
)
_SHARE = ("partner", "part", "earned", "earned_currency", "operator", "reason")
_POSTBACK = (
    *("id", "order_id", "partner", "sequence", "event", "state", "amount", "currency", "attempts"),
    *("last_status", "created_at", "why"),
)
_COMMISSION = (
    *("order_id", "partner", "currency", "change", "amount", "state", "part", "source", "by", "why", "ref"),
)
_OFFER = (
    *("offer", "label", "page", "cart", "coupon", "sent_at", "expires_at", "clicked_at", "order_id"),
    "followed_by",
)
_TALK = (
    *("conversation", "by", "agent", "before", "department", "why", "rule", "first_answer", "length"),
    *("messages", "rating", "orders"),
)
_CALLBACK = ("callback", "language", "wished_at", "calls", "order_id", "partner", "made_at")
_CALLER = ("visitor", "phone", "topic", "agent")
_REVISION = ("revision", "by", "note", "rules", "origin")
_PAYOUT = ("name", "partner", "period", "currency", "amount", "lines", "made_at")


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `timestamp` is when it happened, RFC 3339."""

    id: str
    type: str
    timestamp: str
    data: Mapping[str, Any]

    @property
    def body(self) -> str:
        """The payload: JSON in ASCII."""
        found = {"type": self.type, "timestamp": self.timestamp, "data": self.data}
        return json.dumps(found, separators=(",", ":"))


def event_of(
    site: str, kind: str, rows: Sequence[Mapping[str, Any]], cursor: str, held: str | None, personal: bool
) -> Event | None:
    """The event of a row of the ledger; None if there is none of it. `rows` are its lines in an export of
    this kind, `cursor` the one behind it. `held` says why the order's partners are not notified."""
    name = "evt_" + blake2b(f"{site}|{cursor}".encode(), digest_size=16).hexdigest()
    first = rows[0]
    if kind == "orders":
        data = {key: first[key] for key in _ORDER} | {"held": held}
        if personal:
            data |= {key: first[key] for key in _PERSONAL}
        return Event(name, _order_type(first, held), str(first["changed_at"]), {"site": site, **data})
    if kind == "credits":
        shares = [{key: row[key] for key in _SHARE} for row in rows if row["partner"] is not None]
        about = {"order_id": first["order_id"], "version": first["order_version"], "reason": first["reason"]}
        return Event(
            name, "credit.changed", str(first["decided_at"]), {"site": site, **about, "shares": shares}
        )
    if kind == "commissions":
        if (word := _commission_word(first)) is None:
            return None
        data = {key: first[key] for key in _COMMISSION}
        return Event(name, f"commission.{word}", str(first["at"]), {"site": site, **data})
    if kind == "payouts":
        data = {key: first[key] for key in _PAYOUT}
        return Event(name, "payout.made", str(first["made_at"]), {"site": site, **data})
    if kind == "revisions":
        data = {key: first[key] for key in _REVISION}
        return Event(name, "rules.changed", str(first["at"]), {"site": site, **data})
    if kind == "offers":
        return _offer_event(site, name, first, personal)
    if kind == "talks":
        return _talk_event(name, site, first, personal)
    if kind == "callbacks":
        return _callback_event(site, name, first, personal)
    if kind == "holds":
        word = "held" if first["state"] == "held" else "released"
        data = {key: first[key] for key in (*_POSTBACK, "hold")}
        return Event(name, f"postback.{word}", str(first["since"]), {"site": site, **data})
    kind_of_end = f"postback.{first['state']}"
    if kind_of_end not in POSTBACK_EVENTS:
        return None
    data = {key: first[key] for key in _POSTBACK}
    return Event(name, kind_of_end, str(first["finished_at"]), {"site": site, **data})


def _offer_event(site: str, name: str, row: Mapping[str, Any], personal: bool) -> Event:
    word = "ordered" if row["order_id"] else "clicked" if row["clicked_at"] else "sent"
    data = {key: row[key] for key in _OFFER}
    if personal:
        data |= {key: row[key] for key in _PERSONAL}
    return Event(name, f"offer.{word}", str(row["changed_at"]), {"site": site, **data})


def _talk_event(name: str, site: str, row: Mapping[str, Any], personal: bool) -> Event:
    if row["kind"] == "presence":
        data = {"site": site, "agent": row["agent"], "presence": row["why"]}
        return Event(name, "agent.presence", str(row["at"]), data)
    if row["kind"] == "load":
        talks, _, places = str(row["internal"]).partition("/")
        data = {"site": site, "talks": int(talks), "places": int(places)}
        return Event(name, f"agents.{row['why']}", str(row["at"]), data)
    word = "noted" if row["kind"] == "note" else row["kind"]
    data = {"site": site, **{key: row[key] for key in _TALK}}
    if personal:
        data |= {"visitor": row["visitor"], "note": row["internal"]}
    return Event(name, f"conversation.{word}", str(row["at"]), data)


def _callback_event(site: str, name: str, row: Mapping[str, Any], personal: bool) -> Event:
    word = "asked" if row["state"] == "open" else row["state"]
    data = {key: row[key] for key in (*_CALLBACK, *(_CALLER if personal else ()))}
    return Event(name, f"callback.{word}", str(row["changed_at"]), {"site": site, **data})


def _commission_word(row: Mapping[str, Any]) -> str | None:
    """None for the first entry: the credit decision has its own event."""
    kind = str(row["kind"])
    if kind == "credited":
        return "amended" if row["known"] else None
    return _WORDS.get(kind, kind)


def _order_type(row: Mapping[str, Any], held: str | None) -> str:
    state = row["state"]
    if state == "merged":
        return "order.merged"
    if state in _REFUNDED:
        return "order.refunded"
    if state not in SALES:
        return "order.cancelled" if state != "held" else "order.held"
    if held is not None:
        return "order.held"
    return "order.created" if row["version"] == 1 else "order.updated"


def trial_event(site: str, now: float) -> Event:
    """What `clew webhooks test` sends."""
    moment = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    name = "evt_" + blake2b(f"{site}|test|{now}".encode(), digest_size=16).hexdigest()
    return Event(name, TEST, moment, {"site": site})


def wants(endpoint: EventEndpoint, event: Event) -> bool:
    """Whether an endpoint is told of an event: by its type, or by its kind with `.*`."""
    named = {event.type, event.type.partition(".")[0] + ".*"}
    return not endpoint.events or not named.isdisjoint(endpoint.events)


def event_call(endpoint: EventEndpoint, event: Event, now: float) -> Call:
    """The signed call for an event. While a secret is replaced there is a signature for each, with a blank
    between them. Raises SecretError."""
    at = datetime.fromtimestamp(int(now), UTC)
    secrets = (endpoint.secret, *endpoint.previous_secrets)
    what = f"endpoint {endpoint.name}: secret"
    signatures = [signing(one.get_secret_value(), what).sign(event.id, at, event.body) for one in secrets]
    return Call(
        method="POST",
        url=endpoint.url,
        headers={
            "Content-Type": "application/json",
            "webhook-id": event.id,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": " ".join(signatures),
        },
        body=event.body.encode("ascii"),
        masked=f"POST {masked_address(endpoint.url)} {event.type}",
        success=ANY_2XX,
        gone=True,
        allow_private=endpoint.allow_private,
    )
