"""What a credit decision goes by, beside the policy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..referral.touches import Touch
from .fraud import Suspicion
from .sale import Sale


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a decision goes by, beside the policy.

    `order_time` is when the order was placed, `decided_at` the time of the decision, in unix seconds.
    `consent` is the visitor's at the order (`Consented.state`); that at each landing is in the touches.
    `partner` is a person's choice: an empty text for nobody, None where nobody chose, with its reason in
    `chosen_by`. `forgotten`: the visitor asked to be forgotten, and its touches are not kept any more, so the
    decision cannot be replayed. `channel` is where the order was closed. `sale` is the order itself, where
    the terms ask about it. `linked` are the arrivals of the same customer on other devices. `suspicions` do
    not change who earns it (`fraud.py`).
    """

    order_time: float
    decided_at: float
    touches: tuple[Touch, ...] = ()
    consent: str = "unknown"
    partner: str | None = None
    chosen_by: str = ""
    forgotten: bool = False
    channel: str = "web"
    sale: Sale | None = None
    linked: tuple[Touch, ...] = ()
    suspicions: tuple[Suspicion, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data for the ledger."""
        data: dict[str, Any] = {
            "order_time": self.order_time,
            "decided_at": self.decided_at,
            "touches": [touch.to_json() for touch in self.touches],
            "consent": self.consent,
            "partner": self.partner,
            "chosen_by": self.chosen_by,
            "channel": self.channel,
        }
        if self.sale is not None:
            data["sale"] = self.sale.to_json()
        if self.linked:
            data["linked"] = [touch.to_json() for touch in self.linked]
        if self.suspicions:
            data["suspicions"] = [one.to_json() for one in self.suspicions]
        return {**data, "forgotten": True} if self.forgotten else data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Inputs":
        """The reverse of `to_json`."""
        values = {**data}
        for name in ("touches", "linked"):
            values[name] = tuple(Touch.from_json(touch) for touch in data.get(name, ()))
        values["suspicions"] = tuple(Suspicion(**one) for one in data.get("suspicions", ()))
        if data.get("sale") is not None:
            values["sale"] = Sale.from_json(data["sale"])
        return cls(**values)
