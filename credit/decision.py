"""A credit decision: from what an order was credited, every touch that was considered, and the shares.

A decision keeps its inputs, so it can be replayed: the same inputs give the same decision. A change of the
order, of what is known of its visitor, or a person's word makes a new decision beside the old one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from ..referral.touches import UNNEEDED, Click, Touch
from .arrivals import Arrival, Considered, in_order, weigh
from .division import parts
from .models import WORDS, weights
from .terms import Model, Policy, Terms
from .words import counted, divided_words, percent, span


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a decision goes by, beside the policy.

    `order_time` is when the order was placed, `decided_at` the time of the decision, in unix seconds.
    `consent` is the visitor's at the order (`Consented.state`); that at each landing is in the touches.
    `partner` is a person's choice: an empty text for nobody, None where nobody chose, with its reason in
    `chosen_by`. `forgotten`: the visitor asked to be forgotten, and its touches are not kept any more, so the
    decision cannot be replayed. `channel` is where the order was closed.
    """

    order_time: float
    decided_at: float
    touches: tuple[Touch, ...] = ()
    consent: str = "unknown"
    partner: str | None = None
    chosen_by: str = ""
    forgotten: bool = False
    channel: str = "web"

    def to_json(self) -> dict[str, Any]:
        """Plain data for the ledger."""
        data = {
            "order_time": self.order_time,
            "decided_at": self.decided_at,
            "touches": [touch.to_json() for touch in self.touches],
            "consent": self.consent,
            "partner": self.partner,
            "chosen_by": self.chosen_by,
            "channel": self.channel,
        }
        return {**data, "forgotten": True} if self.forgotten else data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Inputs":
        """The reverse of `to_json`."""
        return cls(**{**data, "touches": tuple(Touch.from_json(t) for t in data["touches"])})


@dataclass(frozen=True, slots=True)
class Share:
    """One partner's part of an order. `part` is from 0 to 1. `click` and `touched_at` (unix seconds) are None
    if the partner earns without a known click."""

    partner: str
    click: Click | None
    touched_at: float | None
    part: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class Compared:
    """What another model would give: the part of each partner, by its id, the largest first."""

    model: Model
    parts: tuple[tuple[str, Decimal], ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """Who earns an order: no, one or several shares, the largest part first, which add up to 1; the reason in
    a text for people; and every touch that was considered, oldest first, with its verdict. `compared` is what
    other models would give."""

    shares: tuple[Share, ...]
    reason: str
    considered: tuple[Considered, ...]
    compared: tuple[Compared, ...] = ()

    @classmethod
    def of(
        cls,
        shares: tuple[Share, ...],
        reason: str,
        considered: Sequence[Mapping[str, Any]],
        compared: Sequence[Mapping[str, Any]] = (),
    ) -> "Decision":
        """A decision from what the ledger keeps of it."""
        return cls(
            shares,
            reason,
            tuple(Considered(**one) for one in considered),
            tuple(Compared(one["model"], _pairs(one["parts"])) for one in compared),
        )

    def considered_json(self) -> list[dict[str, Any]]:
        """Plain data of what was considered."""
        return [asdict(one) for one in self.considered]

    def compared_json(self) -> list[dict[str, Any]]:
        """Plain data of what was compared."""
        return [
            {"model": one.model, "parts": [[name, str(part)] for name, part in one.parts]}
            for one in self.compared
        ]


def _pairs(rows: Sequence[Sequence[str]]) -> tuple[tuple[str, Decimal], ...]:
    return tuple((name, Decimal(part)) for name, part in rows)


def decide(inputs: Inputs, policy: Policy) -> Decision:
    """Credit an order."""
    terms = policy.terms
    arrivals = _arrivals(inputs, terms)
    won = _divided(arrivals, terms, terms.model)
    considered = tuple(one.considered(won.verdict(one)) for one in arrivals)
    if inputs.partner is not None:
        return _chosen(inputs, terms, considered)
    if not won.shares:
        return Decision((), _nobody(inputs, arrivals), considered)
    shares = _shares(won, inputs, terms)
    compared = tuple(
        Compared(model, _divided(arrivals, terms, model).parts)
        for model in terms.compare
        if model != terms.model
    )
    return Decision(shares, _reason(won, shares), considered, compared)


def _arrivals(inputs: Inputs, terms: Terms) -> list[Arrival]:
    """Each touch with the click that can earn, oldest first."""
    found = weigh(inputs.touches, inputs.order_time, terms, inputs.decided_at, inputs.channel)
    if inputs.consent == "denied":
        found = [one if one.touch.consent == UNNEEDED else _refused(one) for one in found]
    return found


def _refused(arrival: Arrival) -> Arrival:
    """A touch whose visitor had refused consent when it ordered."""
    return Arrival(arrival.touch, next(iter(arrival.touch.clicks), None), "consent was refused at the order")


@dataclass(frozen=True, slots=True)
class _Won:
    """How an order is divided by a model: `counting` are the arrivals that count, oldest first, each with its
    weight in `weights`; `shares` are the arrivals of each partner, `parts` their parts, the largest first."""

    model: Model
    counting: Sequence[Arrival]
    weights: Sequence[Fraction]
    shares: Mapping[str, Sequence[Arrival]]
    parts: tuple[tuple[str, Decimal], ...]

    def verdict(self, arrival: Arrival) -> str:
        """What is said of an arrival; empty for one that cannot earn."""
        place = next((n for n, one in enumerate(self.counting) if one is arrival), None)
        if place is None:
            return ""
        weight, count = self.weights[place], len(self.counting)
        if self.model in ("last", "first"):
            if weight:
                return f"won: the {self.model} partner click before the order"
            if self.model == "last":
                return f"superseded by the later click of {self.counting[-1].partner}"
            return f"preceded by the earlier click of {self.counting[0].partner}"
        if count == 1:
            return "won: the only partner click that counts"
        which = "one" if self.model == "linear" else _which(place, count)
        part = percent(Decimal(weight.numerator) / weight.denominator)
        return f"counts for {part}: {which} of {count} partner clicks"


def _which(place: int, count: int) -> str:
    if 0 < place < count - 1:
        return "between the first and the last"
    return "the last" if place else "the first"


def _divided(arrivals: Sequence[Arrival], terms: Terms, model: Model) -> _Won:
    counting = [one for one in arrivals if one.click is not None and not one.lost]
    given = weights(model, len(counting), terms.ends)
    shares: dict[str, list[Arrival]] = {}
    sums: dict[str, Fraction] = {}
    for arrival, weight in zip(counting, given, strict=True):
        if weight:
            shares.setdefault(arrival.partner, []).append(arrival)
            sums[arrival.partner] = sums.get(arrival.partner, Fraction()) + weight
    # Of equal parts the partner whose click is later comes first.
    ranked = sorted(sums, key=lambda p: (-sums[p], -counting.index(shares[p][-1])))
    divided = zip(ranked, parts([sums[p] for p in ranked]), strict=True)
    return _Won(model, counting, given, shares, tuple((p, part) for p, part in divided if part))


def _shares(won: _Won, inputs: Inputs, terms: Terms) -> tuple[Share, ...]:
    return tuple(_share(won, partner, part, inputs, terms) for partner, part in won.parts)


def _share(won: _Won, partner: str, part: Decimal, inputs: Inputs, terms: Terms) -> Share:
    """A partner's share, by the last of its clicks that count; by the first one in the model `first`."""
    own = won.shares[partner]
    arrival = own[0] if won.model == "first" else own[-1]
    click, touch = arrival.click, arrival.touch
    assert click is not None
    via = f" ({click.network})" if click.network else ""
    window = counted(terms.lookback(click, partner, inputs.channel), "day")
    several = sum(c.partner is not None for c in touch.clicks)
    chosen = (
        f"; its landing address held {several} partners' click ids, the last that counts"
        if several > 1
        else ""
    )
    which = _clicks(won, len(own))
    age = span(inputs.order_time - touch.at)
    reason = f"{partner}{via}: {which}, {age} before the order, within its lookback of {window}{chosen}"
    return Share(partner, click, float(touch.at), part, reason)


def _clicks(won: _Won, own: int) -> str:
    if won.model in ("last", "first"):
        return f"{won.model} partner click"
    count = len(won.counting)
    if count == 1:
        return "only partner click"
    return f"{own} of {count} partner clicks" + (", the last" if own > 1 else "")


def _reason(won: _Won, shares: Sequence[Share]) -> str:
    if len(shares) == 1:
        return shares[0].reason
    divided = divided_words((share.partner, share.part) for share in shares)
    return f"{divided}: {WORDS[won.model]}, of {len(won.counting)} partner clicks"


def _nobody(inputs: Inputs, arrivals: Sequence[Arrival]) -> str:
    if not arrivals:
        return "nobody: the visitor came without a campaign, a referrer or a click id"
    if inputs.consent == "denied":
        arrivals = [one for one in arrivals if one.touch.consent == UNNEEDED]
        if not arrivals:
            return "nobody: the visitor refused consent to be credited to a partner"
    last = next((one for one in reversed(arrivals) if one.partner), None)
    if last is None:
        return "nobody: no arrival of the visitor carried a partner's click id"
    return f"nobody: the last partner click, of {last.partner}, does not count: {last.lost}"


def _chosen(inputs: Inputs, terms: Terms, considered: tuple[Considered, ...]) -> Decision:
    """A person's choice, with the partner's last click before the order, if there is one."""
    reason = f"{inputs.partner or 'nobody'}: {inputs.chosen_by}"
    if not inputs.partner:
        return Decision((), reason, considered)
    clicks = [
        (touch, click)
        for touch in in_order(inputs.touches)
        for click in touch.clicks
        if terms.partner(click) == inputs.partner
    ]
    touch, click = clicks[-1] if clicks else (None, None)
    at = None if touch is None else float(touch.at)
    return Decision((Share(inputs.partner, click, at, Decimal(1), reason),), reason, considered)
