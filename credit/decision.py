"""A credit decision: from what an order was credited, every touch that was considered, and the shares.

A decision keeps its inputs, so it can be replayed: the same inputs give the same decision. A change of the
order, of what is known of its visitor, or a person's word makes a new decision beside the old one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Any

from ..orders.doubt import Doubt
from ..referral.touches import Click
from . import fraud
from .arrivals import Arrival, Considered, in_order
from .attribution import Attribution, Claim, Compared, attribute
from .commission import Commission, commissions
from .coupons import leaked
from .inputs import Inputs
from .terms import Policy, Terms

__all__ = ["Commission", "Compared", "Considered", "Decision", "Inputs", "Share", "decide", "repriced"]


@dataclass(frozen=True, slots=True)
class Share:
    """One partner's part of an order. `part` is from 0 to 1. `click` and `touched_at` (unix seconds) are None
    if the partner earns without a known click. `commission` is None where the site has no terms."""

    partner: str
    click: Click | None
    touched_at: float | None
    part: Decimal
    reason: str
    commission: Commission | None = None


_CONSIDERED = tuple(field.name for field in fields(Considered))


@dataclass(frozen=True, slots=True)
class Decision:
    """Who earns an order: no, one or several shares, the largest part first, which add up to 1; the reason in
    a text for people; and every touch and code that was considered, with its verdict. `compared` is what
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
        plain = [{name: getattr(one, name) for name in _CONSIDERED} for one in self.considered]
        return [{k: v for k, v in one.items() if k != "code" or v} for one in plain]

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
    found = attribute(inputs, terms)
    if inputs.partner is not None:
        found = _chosen(inputs, terms, found)
    return Decision(_shares(found.claims, inputs, terms), found.reason, found.considered, found.compared)


def doubts_of(inputs: Inputs, policy: Policy, decision: Decision) -> tuple[Doubt, ...]:
    """What stands against telling the partners of a decision: a code that may have leaked, and signs that a
    partner did not earn it by honest means."""
    leak = _leak(inputs, policy, decision)
    earning = ((share.partner, share.touched_at) for share in decision.shares)
    found = fraud.doubts(inputs.suspicions, earning, chosen=inputs.partner is not None)
    return (*(() if leak is None else (leak,)), *found)


def _leak(inputs: Inputs, policy: Policy, decision: Decision) -> Doubt | None:
    sale = inputs.sale
    if sale is None or not policy.terms.further.leaks:
        return None
    code = attribute(inputs, policy.terms).code
    if code is None or not any(s.partner == code.partner and s.click is None for s in decision.shares):
        return None
    why = leaked(code, sale.beside.code_orders, sale.beside.code_strangers, policy.terms.further)
    return Doubt("code", why) if why else None


def repriced(decision: Decision, inputs: Inputs, policy: Policy) -> Decision:
    """A decision whose touches are not kept any more, with the commission for the order as it stands now."""
    claims = [
        Claim(s.partner, s.part, s.reason, None, s.click, s.touched_at, _unpaid(s)) for s in decision.shares
    ]
    return replace(decision, shares=_shares(claims, inputs, policy.terms))


def _unpaid(share: Share) -> str:
    return share.commission.unpaid if share.commission is not None else ""


def _shares(claims: Sequence[Claim], inputs: Inputs, terms: Terms) -> tuple[Share, ...]:
    earned = commissions(claims, inputs, terms)
    return tuple(
        Share(c.partner, c.click, c.touched_at, c.part, c.reason, commission)
        for c, commission in zip(claims, earned, strict=True)
    )


def _chosen(inputs: Inputs, terms: Terms, found: Attribution) -> Attribution:
    """A person's choice, with the partner's last click before the order, if there is one."""
    reason = f"{inputs.partner or 'nobody'}: {inputs.chosen_by}"
    if not inputs.partner:
        return Attribution((), reason, found.considered)
    clicks = [
        (touch, click)
        for touch in in_order(inputs.touches)
        for click in touch.clicks
        if terms.partner(click) == inputs.partner
    ]
    if not clicks:
        return Attribution((Claim(inputs.partner, Decimal(1), reason),), reason, found.considered)
    touch, click = clicks[-1]
    claim = Claim(inputs.partner, Decimal(1), reason, Arrival(touch, click), click, float(touch.at))
    return Attribution((claim,), reason, found.considered)
