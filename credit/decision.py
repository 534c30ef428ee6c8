"""A credit decision: from what an order was credited, every touch that was considered, and the shares.

A decision keeps its inputs, so it can be replayed: the same inputs give the same decision. A change of the
order, of what is known of its visitor, or a person's word makes a new decision beside the old one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from functools import cached_property
from hashlib import blake2b
from typing import Any, Final

from ..referral.touches import UNNEEDED, Click, Touch
from .arrivals import Considered, Terms, credit

MODEL: Final = "last-click-1"
"""The attribution model, with its version: it changes when the same inputs would be decided otherwise."""


class Policy:
    """The model and the terms by which orders are credited. `version` is the same for the same policy."""

    def __init__(self, terms: Terms, model: str = MODEL) -> None:
        self.terms = terms
        self.model = model

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


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a decision goes by, beside the policy.

    `order_time` is when the order was placed, `decided_at` the time of the decision, in unix seconds.
    `consent` is the visitor's at the order (`Consented.state`); that at each landing is in the touches.
    `partner` is a person's choice: an empty text for nobody, None where nobody chose, with its reason in
    `chosen_by`. `forgotten`: the visitor asked to be forgotten, and its touches are not kept any more, so the
    decision cannot be replayed.
    """

    order_time: float
    decided_at: float
    touches: tuple[Touch, ...] = ()
    consent: str = "unknown"
    partner: str | None = None
    chosen_by: str = ""
    forgotten: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain data for the ledger."""
        data = {
            "order_time": self.order_time,
            "decided_at": self.decided_at,
            "touches": [touch.to_json() for touch in self.touches],
            "consent": self.consent,
            "partner": self.partner,
            "chosen_by": self.chosen_by,
        }
        return {**data, "forgotten": True} if self.forgotten else data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Inputs":
        """The reverse of `to_json`."""
        return cls(**{**data, "touches": tuple(Touch.from_json(t) for t in data["touches"])})


@dataclass(frozen=True, slots=True)
class Share:
    """One partner's part of an order. `part` is from 0 to 1. `click` and `touched_at` (unix seconds) are None
    if a person chose a partner without a known click."""

    partner: str
    click: Click | None
    touched_at: float | None
    part: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Who earns an order: no, one or several shares, the reason in a text for people, and every touch that
    was considered, oldest first, with its verdict."""

    shares: tuple[Share, ...]
    reason: str
    considered: tuple[Considered, ...]

    @classmethod
    def of(
        cls, shares: tuple[Share, ...], reason: str, considered: Sequence[Mapping[str, Any]]
    ) -> "Decision":
        """A decision from what the ledger keeps of it."""
        return cls(shares, reason, tuple(Considered(**one) for one in considered))

    def considered_json(self) -> list[dict[str, Any]]:
        """Plain data of what was considered."""
        return [asdict(one) for one in self.considered]


def decide(inputs: Inputs, policy: Policy) -> Decision:
    """Credit an order."""
    refused: list[Considered] = []
    touches = inputs.touches
    if inputs.consent == "denied":
        touches = tuple(touch for touch in touches if touch.consent == UNNEEDED)
        refused = [_refused(t, policy.terms) for t in inputs.touches if t.consent != UNNEEDED]
    found = credit(touches, inputs.order_time, policy.terms, inputs.decided_at)
    if refused:
        considered = sorted((*refused, *found.considered), key=lambda one: one.at)
        why = found.reason if touches else "nobody: the visitor refused consent to be credited to a partner"
        found = replace(found, reason=why, considered=tuple(considered))
    if inputs.partner is not None:
        return _chosen(inputs, policy.terms, found.considered)
    shares: tuple[Share, ...] = ()
    if found.partner is not None:
        shares = (Share(found.partner, found.click, found.touched_at, Decimal(1), found.reason),)
    return Decision(shares, found.reason, found.considered)


def _refused(touch: Touch, terms: Terms) -> Considered:
    """What is said of a touch whose visitor had refused consent when it ordered."""
    click = next(iter(touch.clicks), None)
    partner, network = (None, None) if click is None else (terms.partner(click), click.network or None)
    return Considered(touch.at, partner, network, "consent was refused at the order", touch.consent)


def _chosen(inputs: Inputs, terms: Terms, considered: Sequence[Considered]) -> Decision:
    """A person's choice, with the partner's last click before the order, if there is one."""
    reason = f"{inputs.partner or 'nobody'}: {inputs.chosen_by}"
    if not inputs.partner:
        return Decision((), reason, tuple(considered))
    clicks = [
        (touch, click)
        for touch in sorted(inputs.touches, key=lambda t: t.at)
        for click in touch.clicks
        if terms.partner(click) == inputs.partner
    ]
    touch, click = clicks[-1] if clicks else (None, None)
    at = None if touch is None else float(touch.at)
    return Decision((Share(inputs.partner, click, at, Decimal(1), reason),), reason, tuple(considered))
