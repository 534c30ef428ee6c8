"""A sighting: one report that an order exists or changed, as it came.

Sightings are append-only. What all sightings of one order come to is computed from them (`orders/join.py`,
`orders/history.py`), so a later report corrects an earlier one, and nothing is edited in place.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final, Literal

from .doubt import Doubt
from .model import Item, OrderSeen, Refund, RefundItem, Source

RANK: Final[Mapping[Source, int]] = {
    "browser": 0,
    "page": 1,
    "agent": 1,
    "import": 2,
    "api": 3,
    "webhook": 3,
}
"""Which source counts more. A page is a hint: anybody may open it, and it may be misread. A browser can say
anything. The shop's server knows."""

CORRECTION: Final = 4
"""The rank of a person's correction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """A person's decision about an order: who decided, and why.

    `release` sends what is held, `refuse` tells the partners nothing of this order. `partner` is the id of
    the partner who earns it, an empty text for nobody; None leaves the credit as it is. `undoes` is the key
    of a sighting that counts no more: all of this content until then.
    """

    by: str
    why: str
    release: bool = False
    refuse: bool = False
    partner: str | None = None
    undoes: str = ""


@dataclass(frozen=True, slots=True)
class Consented:
    """The visitor's consent when a sighting was made: `assumed` where the site asks nobody, `unknown` where
    nothing is known of it. `basis` is what shows it: the source, and when the choice was made. `tcf` is the
    TC string, for networks that take one."""

    state: Literal["granted", "denied", "pending", "assumed", "unknown"]
    basis: str = ""
    tcf: str = ""


UNKNOWN: Final = Consented("unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting(OrderSeen):
    """What one source said of an order, and when.

    `at` is when clew was told, in unix seconds. `visitor`, `carrier` (the token that the shop keeps with the
    order), `email_hash`, `coupon` and `conversation` are evidence of whose the order is, and `touches` the
    visitor's arrivals as plain data. `consent` is the visitor's at that time; None in what people say.
    `doubts` are what stood against this sighting when it came. `forgotten` are the names of the fields that
    it had before a person asked to be forgotten. Until `undo_until` whoever recorded it may undo it, and no
    partner is told of it. `key` names its content.
    """

    site: str
    at: float
    visitor: str | None = None
    carrier: str | None = None
    conversation: str | None = None
    agent: str | None = None
    touches: tuple[Mapping[str, Any], ...] = ()
    consent: Consented | None = None
    doubts: tuple[Doubt, ...] = ()
    correction: Correction | None = None
    forgotten: tuple[str, ...] = ()
    undo_until: float | None = None
    key: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        content = {k: v for k, v in self.to_json().items() if k not in _NOT_CONTENT}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        object.__setattr__(self, "key", blake2b(text.encode("utf-8"), digest_size=16).hexdigest())

    @classmethod
    def of(cls, seen: OrderSeen, **context: Any) -> "Sighting":
        """A sighting of what was seen; `context` are the fields that a sighting adds."""
        values = {f.name: getattr(seen, f.name) for f in fields(OrderSeen)}
        return cls(**values | context)

    @property
    def rank(self) -> int:
        """How much this sighting counts beside others; see `RANK`."""
        return CORRECTION if self.correction is not None else RANK[self.source]

    @property
    def of_server(self) -> bool:
        """Whether the shop's own server said it."""
        return self.source in ("api", "webhook")

    @property
    def names_visitor(self) -> bool:
        """Whether it says whose the order is, or did so before that visitor was forgotten."""
        return self.visitor is not None or "visitor" in self.forgotten

    def forget(self, visitors: Collection[str] = (), emails: Collection[str] = ()) -> "Sighting":
        """The sighting without what names one of these visitors or e-mail hashes. It still tells that
        somebody was named, and that it was in the chat, so that the order stays what it is."""
        gone = [name for name in ("visitor", "carrier") if getattr(self, name) in visitors]
        gone += ["conversation"] if gone and self.conversation is not None else []
        touches = () if gone else self.touches
        channel = self.channel or ("chat" if "conversation" in gone else None)
        gone += ["email_hash"] if self.email_hash in emails else []
        if not gone:
            return self
        left: dict[str, Any] = dict.fromkeys(gone)
        if touches and self.visitor is None:
            # The address at which the order's visit began, as the shop keeps it.
            touches, gone = (), [*gone, "touches"]
        forgotten = tuple(sorted({*self.forgotten, *gone}))
        if self.consent is not None:
            left["consent"] = Consented(self.consent.state)
        return replace(self, **left, touches=touches, channel=channel, forgotten=forgotten)

    def to_json(self) -> dict[str, Any]:
        """Plain data for the ledger, without what was not said."""
        values = ((name, getattr(self, name)) for name in _KEPT)
        return {n: plain(v) for n, v in values if v is not None and v is not False and v != ()}

    @classmethod
    def from_json(
        cls, data: Mapping[str, Any], key: str | None = None, items: tuple[Item, ...] | None = None
    ) -> "Sighting":
        """The reverse of `to_json`. Its key and its items cost most of it: `key` and `items` are those of the
        data, where they are known."""
        values: dict[str, Any] = dict.fromkeys(("id", "total", "currency", "state"))
        known: dict[str, Any] = {} if items is None else {"items": items}
        values |= {n: _READ[n](v) if n in _READ else v for n, v in data.items() if n not in known}
        if key is None:
            return cls(**values, **known)
        found = object.__new__(cls)
        for name, value in {**_DEFAULTS, **values, **known, "key": key}.items():
            object.__setattr__(found, name, value)
        return found


_DEFAULTS: Final = {f.name: f.default for f in fields(Sighting) if f.default is not MISSING}
_KEPT: Final = tuple(f.name for f in fields(Sighting) if f.init and f.name != "figures")
_NOT_CONTENT: Final = ("at", "doubts", "touches", "consent", "undo_until")


def standing(sightings: Sequence[Sighting]) -> Sequence[Sighting]:
    """Those that nobody has undone."""
    undone = [(c.undoes, s.at) for s in sightings if (c := s.correction) is not None and c.undoes]
    if not undone:
        return sightings
    return [s for s in sightings if not any(s.key == key and s.at <= at for key, at in undone)]


def adds_nothing(known: Sequence[Sighting], new: Sighting) -> bool:
    """Whether a sighting repeats what its source said before: a reload, a webhook that is sent again.

    `known` are the order's sightings in order of arrival. A server that says 100, then 90, then 100 again
    means it, so what has no time of its own is compared with the last one of its source only. A person's
    correction repeats one if nothing was said since; who releases or refuses means what is held now. What
    was undone may be said again.
    """
    known = standing(known)
    if new.correction is not None:
        settles = new.correction.release or new.correction.refuse
        last = known[-1] if known else None
        return not settles and last is not None and (last.key, last.doubts) == (new.key, new.doubts)
    same_source = [s for s in known if s.source == new.source and s.correction is None]
    if new.of_server and new.as_of is None:
        same_source = same_source[-1:]
    return any(s.key == new.key for s in same_source)


def plain(value: object) -> object:
    """A value of a sighting as plain data; amounts as decimal text."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    if isinstance(value, Item | Refund | RefundItem | Doubt | Correction | Consented):
        found = ((name, getattr(value, name)) for name in type(value).__slots__)
        return {name: plain(one) for name, one in found if one != ()}
    return value


def item_of(data: Mapping[str, Any]) -> Item:
    """An item from its plain data."""
    amounts = ("quantity", "price", "discount", "tax")
    values: dict[str, Any] = {n: Decimal(v) if n in amounts and v else v for n, v in data.items()}
    return Item(**values)


def _refund(data: Mapping[str, Any]) -> Refund:
    items = tuple(
        RefundItem(i["id"], Decimal(i["quantity"]), None if i["amount"] is None else Decimal(i["amount"]))
        for i in data.get("items", ())
    )
    return Refund(data["id"], Decimal(data["amount"]), items)


_READ: Final[Mapping[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(("total", "net", "shipping", "tax", "discount"), Decimal),
    "further": tuple,
    "touches": tuple,
    "forgotten": tuple,
    "items": lambda rows: tuple(item_of(row) for row in rows),
    "refunds": lambda rows: tuple(_refund(row) for row in rows),
    "doubts": lambda rows: tuple(Doubt(**row) for row in rows),
    "correction": lambda row: Correction(**row),
    "consent": lambda row: Consented(**row),
}
