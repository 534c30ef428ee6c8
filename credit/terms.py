"""The terms by which a site's orders are credited, as plain data that the ledger keeps with each decision."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from hashlib import blake2b
from typing import Any, Final, Literal, get_args

from msgspec import convert, to_builtins

from ..referral.touches import Click

Model = Literal["last", "first", "linear", "position"]
MODELS: Final[tuple[Model, ...]] = get_args(Model)


Closed = Literal["web", "chat", "phone"]
Coupons = Literal["click_first", "code_first", "code_only", "blocked"]
Effect = Literal["keep", "unpaid", "take"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A partner's terms for some orders or items. `partners`: whose they are; empty: of all. They apply to
    orders placed from `since` until before `until` (unix seconds) for which all lines of `when` are true.

    `percent` of the amount, `fixed` for the order, `per_item` for each piece, at most `cap` for the order,
    all in `currency` if that is given. One with `pay` has no rate: of what the rates give, so many percent
    are paid. `unpaid`: the order is reported, and nothing is paid. `months`: for so long after the first
    order renewals of a subscription earn; 0: never, None: for ever. `hold_days`: so many days after the
    order its commission is approved by itself; None: as the partner's.
    """

    name: str
    partners: tuple[str, ...] = ()
    since: float | None = None
    until: float | None = None
    when: tuple[str, ...] = ()
    percent: Decimal | None = None
    fixed: Decimal | None = None
    per_item: Decimal | None = None
    cap: Decimal | None = None
    currency: str | None = None
    pay: Decimal | None = None
    unpaid: bool = False
    months: int | None = 0
    hold_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelRule:
    """What an arrival after the partner's last click does to its credit: nothing (`keep`), the order is
    reported and not paid (`unpaid`), or nobody earns it (`take`). `arrivals` are kinds of arrivals, `seconds`
    how long before the order it counts. Empty `partners`: all."""

    name: str
    then: Effect
    arrivals: tuple[str, ...] = ()
    partners: tuple[str, ...] = ()
    when: tuple[str, ...] = ()
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """An agreement between partners: of what the partner `of` gets, each of `to` gets so many percent."""

    name: str
    of: str
    to: tuple[tuple[str, Decimal], ...]
    when: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """When a partner's code counts as leaked: so many orders within `days` by buyers who never came by the
    partner, and so many percent of all orders with it. 0 orders: never."""

    orders: int = 0
    percent: int = 80
    days: int = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Further:
    """The terms beyond the plain ones. `codes` are the coupons of partners, in folded case, `coupons` what a
    partner's codes are worth, if that is not `coupon`. Clicks of `soft` partners do not take an order from
    another click of the `soft_seconds` before. `operator` is the percentage of the commission for orders in
    the chat that goes to the chat's operator. `zone` is the time zone of the facts. `ignore_claims`: what
    agents claim of an order earns nothing."""

    rates: tuple[Rate, ...] = ()
    codes: Mapping[str, str] = field(default_factory=dict)
    coupon: Coupons = "click_first"
    coupons: Mapping[str, Coupons] = field(default_factory=dict)
    soft: tuple[str, ...] = ()
    soft_seconds: int = 86400
    channels: tuple[ChannelRule, ...] = ()
    splits: tuple[Split, ...] = ()
    operator: Decimal = Decimal()
    operator_name: str = ""
    leaks: Mapping[str, Leak] = field(default_factory=dict)
    zone: str = "UTC"
    ignore_claims: bool = False
    hold_days: int = 30
    holds: Mapping[str, int] = field(default_factory=dict)

    @property
    def asks(self) -> bool:
        """Whether anything of the order itself matters."""
        return bool(self.rates or self.codes or self.channels or self.splits)


PLAIN: Final = Further()


@dataclass(frozen=True, slots=True)
class Window:
    """A lookback window of `days` for the clicks of a network or a partner, or for orders of a channel (web,
    chat, phone). None: any."""

    days: int
    network: str | None = None
    partner: str | None = None
    channel: str | None = None

    def applies(self, network: str, partner: str, channel: str) -> bool:
        """Whether it is the window of this click for an order of this channel."""
        pairs = ((self.network, network), (self.partner, partner), (self.channel, channel))
        return all(wanted is None or wanted == given for wanted, given in pairs)


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms for a decision.

    `lookback_days` is by partner id, for the site's current partners; the first of `windows` that applies has
    precedence. `inside` are those whose terms accept clicks made inside the shop. `partners` is the partner
    that a click earns for now, by network and parameter; it may be newer than the click. `set_back` lists
    when the clock was set back: the time before, and the seconds. `model` is how an order is divided between
    the clicks that count, `ends` the percentage of the first and of the last of them in the model
    `position`, `compare` are models that are only shown. `further` are the terms beyond these.
    """

    lookback_days: Mapping[str, int]
    inside: frozenset[str] = frozenset()
    set_back: tuple[tuple[float, float], ...] = ()
    partners: Mapping[tuple[str, str], str] = field(default_factory=dict)
    model: Model = "last"
    ends: int = 40
    compare: tuple[Model, ...] = ()
    windows: tuple[Window, ...] = ()
    further: Further = PLAIN

    def partner(self, click: Click) -> str | None:
        """The partner that a click earns for."""
        return self.partners.get((click.network, click.param), click.partner)

    def lookback(self, click: Click, partner: str, channel: str) -> int:
        """The lookback window in days of a partner's click, for an order of this channel."""
        if self.windows:
            for window in self.windows:
                if window.applies(click.network, partner, channel):
                    return window.days
        return self.lookback_days[partner]

    def to_json(self) -> dict[str, Any]:
        """Plain data, the same for the same terms. What has its default is left out."""
        data = {
            "lookback_days": dict(sorted(self.lookback_days.items())),
            "inside": sorted(self.inside),
            "set_back": [list(jump) for jump in self.set_back],
            "partners": [[*click, partner] for click, partner in sorted(self.partners.items())],
        }
        further = {
            "model": (self.model, "last"),
            "ends": (self.ends, 40),
            "compare": (list(self.compare), []),
            "windows": ([[w.days, w.network, w.partner, w.channel] for w in self.windows], []),
            "further": (to_builtins(self.further), to_builtins(PLAIN)),
        }
        return data | {name: value for name, (value, usual) in further.items() if value != usual}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Terms":
        """The reverse of `to_json`."""
        return cls(
            dict(data["lookback_days"]),
            frozenset(data["inside"]),
            tuple((before, step) for before, step in data["set_back"]),
            {(network, param): partner for network, param, partner in data["partners"]},
            model=data.get("model", "last"),
            ends=data.get("ends", 40),
            compare=tuple(data.get("compare", ())),
            windows=tuple(Window(*window) for window in data.get("windows", ())),
            further=convert(data["further"], Further) if "further" in data else PLAIN,
        )


class Policy:
    """The terms by which orders are credited, and the version of the rules that read them. `version` is the
    same for the same policy."""

    def __init__(self, terms: Terms, rules: str = "") -> None:
        self.terms = terms
        self.model = rules or f"{terms.model}-{RULES}"

    @cached_property
    def data(self) -> dict[str, Any]:
        """Plain data for the ledger."""
        return {"model": self.model, "terms": self.terms.to_json()}

    @cached_property
    def version(self) -> str:
        """Names the policy: a digest of its data, hex."""
        text = json.dumps(self.data, sort_keys=True, separators=(",", ":"))
        return blake2b(text.encode("utf-8"), digest_size=12).hexdigest()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Policy":
        """The reverse of `data`."""
        return cls(Terms.from_json(data["terms"]), data["model"])


RULES: Final = "click-1"
"""The version of the rules: it changes when the same inputs would be decided otherwise."""
