"""Who an order is credited to, and which part of it: the clicks that count, coupons, channels, the model, and
agreements between partners. What each partner earns by it is in `commission.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

from ..referral.touches import UNNEEDED, Click, Touch
from .arrivals import SKEW, Arrival, Considered, earning_now, protect, weigh
from .channels import channel_of
from .coupons import Code, by_codes, code_of
from .division import parts
from .facts import lines_of, of_order, of_touch
from .inputs import Inputs
from .models import WORDS, weights
from .terms import ChannelRule, Model, Terms
from .words import counted, divided_words, percent, span


@dataclass(frozen=True, slots=True)
class Claim:
    """One partner's part of an order, with the arrival by which it earns, if there is one. `click` is that
    arrival's. `unpaid` says why the order is reported and not paid."""

    partner: str
    part: Decimal
    reason: str
    arrival: Arrival | None = None
    click: Click | None = None
    touched_at: float | None = None
    unpaid: str = ""


@dataclass(frozen=True, slots=True)
class Compared:
    """What another model would give: the part of each partner, by its id, the largest first."""

    model: Model
    parts: tuple[tuple[str, Decimal], ...]


@dataclass(frozen=True, slots=True)
class Attribution:
    """The claims, the largest first, which add up to 1; the reason; and every candidate with its verdict."""

    claims: tuple[Claim, ...]
    reason: str
    considered: tuple[Considered, ...]
    compared: tuple[Compared, ...] = ()
    code: Code | None = None


def attribute(inputs: Inputs, terms: Terms) -> Attribution:
    """Credit an order by its arrivals and its coupon."""
    further = terms.further
    code = code_of(inputs.sale.coupon, further) if inputs.sale is not None else None
    arrivals = protect(_arrivals(inputs, terms), further)
    taken: ChannelRule | None = None
    if further.codes:
        arrivals = by_codes(arrivals, code, further)
    by_code = code is not None and code.policy in ("code_first", "code_only")
    if further.channels and not by_code:
        arrivals, taken = _by_channels(arrivals, inputs, terms)
    won = _divided(arrivals, terms, terms.model)
    considered = [one.considered(won.verdict(one)) for one in arrivals]
    claims: tuple[Claim, ...]
    origin = _renewed(inputs, terms)
    if origin:
        claims, reason = origin, origin[0].reason
    elif won.shares and not (by_code and code is not None and code.partner not in won.shares):
        claims = tuple(_claim(won, partner, part, inputs, terms) for partner, part in won.parts)
        reason = _reason(won, claims)
    elif code is not None and code.policy != "blocked" and taken is None:
        claims = (_coded(code),)
        reason = claims[0].reason
    else:
        claims, reason = (), _nobody(inputs, arrivals)
    if code is not None:
        considered.append(_considered(code, claims, inputs))
    if taken is not None and taken.then == "unpaid":
        claims = tuple(replace(claim, unpaid=f"rule {taken.name} of the channels") for claim in claims)
    if further.splits and claims:
        claims, agreed = _split(claims, arrivals, inputs, terms)
        reason = "; ".join((reason, *agreed))
    compared = tuple(
        Compared(model, _divided(arrivals, terms, model).parts)
        for model in terms.compare
        if model != terms.model and won.shares
    )
    return Attribution(claims, reason, tuple(considered), compared, code)


def earning(touches: Sequence[Touch], now: float, terms: Terms) -> Click | None:
    """The click that counts most for an order made now on the web, without a coupon."""
    further = terms.further
    if not (further.soft or further.channels or further.codes):
        return earning_now(touches, now, terms)
    claims = attribute(Inputs(now, now, tuple(touches)), terms).claims
    return claims[0].click if claims else None


def _arrivals(inputs: Inputs, terms: Terms) -> list[Arrival]:
    """Each touch with the click that can earn, oldest first."""
    touches = (*inputs.touches, *inputs.linked)
    found = weigh(touches, inputs.order_time, terms, inputs.decided_at, inputs.channel)
    if inputs.linked:
        linked = set(map(id, inputs.linked))
        found = [replace(one, linked=True) if id(one.touch) in linked else one for one in found]
    if terms.further.ignore_claims:
        # Nor does a claimed campaign take the order from a partner.
        found = [replace(_lost(one, _CLAIMED), stranger=False) if one.touch.claim else one for one in found]
    if inputs.consent == "denied":
        found = [one if one.touch.consent == UNNEEDED else _lost(one, _REFUSED) for one in found]
    return found


_REFUSED = "consent was refused at the order"
_CLAIMED = "what an agent claims of an order does not count at this shop"


def _lost(arrival: Arrival, why: str) -> Arrival:
    click = next(iter(arrival.touch.clicks), None)
    return replace(arrival, click=click, lost=why)


def _by_channels(
    arrivals: Sequence[Arrival], inputs: Inputs, terms: Terms
) -> tuple[list[Arrival], ChannelRule | None]:
    """The arrivals under the rules for channels, and the rule that acts. The last arrival without a partner
    after the last click that counts decides, if a rule is about it."""
    last = max((n for n, one in enumerate(arrivals) if one.counts), default=None)
    if last is None:
        return list(arrivals), None
    for place in range(len(arrivals) - 1, last, -1):
        rule = _rule_for(arrivals[place], arrivals[last], inputs, terms)
        if rule is None:
            continue
        found = list(arrivals)
        kind, partner = channel_of(arrivals[place].touch), arrivals[last].partner
        if rule.then == "keep":
            why = f"{partner} keeps the order: rule {rule.name} ({kind})"
            found[place] = replace(found[place], lost=why)
            return found, None
        what = "takes the order from" if rule.then == "take" else "leaves the order unpaid for"
        found[place] = replace(found[place], lost=f"{what} {partner}: rule {rule.name} ({kind})")
        if rule.then == "take":
            why = f"a later arrival takes the order: rule {rule.name} ({kind})"
            found = [replace(one, lost=why) if one.counts else one for one in found]
        return found, rule
    return list(arrivals), None


def _rule_for(arrival: Arrival, last: Arrival, inputs: Inputs, terms: Terms) -> ChannelRule | None:
    touch = arrival.touch
    if not arrival.stranger or touch.doubt or min(touch.at, inputs.decided_at) - inputs.order_time > SKEW:
        return None
    kind = channel_of(touch)
    for rule in terms.further.channels:
        if rule.arrivals and kind not in rule.arrivals:
            continue
        if rule.partners and last.partner not in rule.partners:
            continue
        if rule.seconds is not None and inputs.order_time - touch.at > rule.seconds:
            continue
        if lines_of(rule.when).hold(_facts(arrival, last.partner, last.network, inputs, terms)):
            return rule
    return None


def _facts(
    arrival: Arrival | None, partner: str, network: str, inputs: Inputs, terms: Terms
) -> Mapping[str, Mapping[str, object]]:
    order = (
        {}
        if inputs.sale is None
        else of_order(inputs.sale, inputs.channel, inputs.order_time, terms.further.zone)
    )
    click = None if arrival is None else arrival.click or next(iter(arrival.touch.clicks), None)
    touch = None if arrival is None else arrival.touch
    of_click = of_touch(
        touch, inputs.order_time, click.network if click else "", click.param if click else ""
    )
    return {"order": order, "partner": {"id": partner, "network": network}, **of_click}


def facts_of(claim: Claim, inputs: Inputs, terms: Terms) -> dict[str, Mapping[str, object]]:
    """The facts of a claim, without those of an item."""
    network = claim.click.network if claim.click is not None else ""
    found = dict(_facts(claim.arrival, claim.partner, network, inputs, terms))
    if claim.arrival is None and claim.click is not None and claim.touched_at is not None:
        # The arrival is not kept any more.
        age = max(0, int((inputs.order_time - claim.touched_at) // 86400))
        found["touch"] = {"network": network, "param": claim.click.param, "age_days": age}
    return found


def _renewed(inputs: Inputs, terms: Terms) -> tuple[Claim, ...]:
    """The claims on the renewal of a subscription: those on the customer's first order, if terms say so."""
    sale = inputs.sale
    if sale is None or not sale.recurring or not any(rate.months != 0 for rate in terms.further.rates):
        return ()
    found = []
    for one in sale.beside.origin:
        if one.partner in terms.lookback_days:
            why = f"{one.partner}: the order renews a subscription; it earned the customer's first order"
            click = None if one.click is None else Click(*one.click, one.partner)
            found.append(Claim(one.partner, one.part, why, None, click, one.touched_at))
    whole = parts([Fraction(claim.part) for claim in found])
    return tuple(replace(claim, part=part) for claim, part in zip(found, whole, strict=True))


_NOTHING, _WHOLE, _ONE = Fraction(), Fraction(1), Decimal(1)


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
    counting = [one for one in arrivals if one.counts]
    if counting and model in ("last", "first"):
        # Nearly all orders: without fractions, a tenth of the time.
        winner = counting[-1 if model == "last" else 0]
        given = [_WHOLE if one is winner else _NOTHING for one in counting]
        return _Won(model, counting, given, {winner.partner: [winner]}, ((winner.partner, _ONE),))
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


def _claim(won: _Won, partner: str, part: Decimal, inputs: Inputs, terms: Terms) -> Claim:
    """A partner's claim, by the last of its clicks that count; by the first one in the model `first`."""
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
    return Claim(partner, part, reason, arrival, click, float(touch.at))


def _clicks(won: _Won, own: int) -> str:
    if won.model in ("last", "first"):
        return f"{won.model} partner click"
    count = len(won.counting)
    if count == 1:
        return "only partner click"
    return f"{own} of {count} partner clicks" + (", the last" if own > 1 else "")


def _reason(won: _Won, claims: Sequence[Claim]) -> str:
    if len(claims) == 1:
        return claims[0].reason
    divided = divided_words((claim.partner, claim.part) for claim in claims)
    return f"{divided}: {WORDS[won.model]}, of {len(won.counting)} partner clicks"


def _coded(code: Code) -> Claim:
    first = "" if code.policy == "click_first" else ", which counts before clicks"
    why = "; no click counts" if code.policy == "click_first" else ""
    return Claim(code.partner, Decimal(1), f"{code.partner}: its code {code.text} was used{first}{why}")


def _considered(code: Code, claims: Sequence[Claim], inputs: Inputs) -> Considered:
    """The verdict on a partner's code."""
    earns = next((claim for claim in claims if claim.partner == code.partner), None)
    if code.policy == "blocked":
        verdict = "codes earn nothing here (blocked)"
    elif earns is not None and earns.click is None:
        verdict = "won: the code of a partner"
    elif earns is not None:
        verdict = f"{code.partner} earns by its click"
    else:
        verdict = (
            "a click counts before the code (click_first)" if claims else "the order is another channel's"
        )
    return Considered(int(inputs.order_time), code.partner, None, verdict, code=code.text)


def _split(
    claims: Sequence[Claim], arrivals: Sequence[Arrival], inputs: Inputs, terms: Terms
) -> tuple[tuple[Claim, ...], list[str]]:
    """The claims after the agreements between partners, each made once, and what they say."""
    given: dict[str, Fraction] = {claim.partner: Fraction(claim.part) for claim in claims}
    known = {claim.partner: claim for claim in claims}
    said = []
    for claim in claims:
        facts = facts_of(claim, inputs, terms)
        split = next(
            (s for s in terms.further.splits if s.of == claim.partner and lines_of(s.when).hold(facts)), None
        )
        if split is None:
            continue
        for partner, rate in split.to:
            moved = Fraction(claim.part) * Fraction(rate) / 100
            given[claim.partner] -= moved
            given[partner] = given.get(partner, Fraction()) + moved
            known.setdefault(partner, _agreed(partner, split.name, claim, arrivals))
        words = ", ".join(f"{partner} {percent(rate / 100)}" for partner, rate in split.to)
        said.append(f"of the part of {split.of} by agreement {split.name}: {words}")
    ranked = sorted(given, key=lambda name: -given[name])
    divided = zip(ranked, parts([given[name] for name in ranked]), strict=True)
    return tuple(replace(known[name], part=part) for name, part in divided if part), said


def _agreed(partner: str, name: str, claim: Claim, arrivals: Sequence[Arrival]) -> Claim:
    """What a partner gets of another one's claim, with its own last click, if one counts."""
    own = next((one for one in reversed(arrivals) if one.counts and one.partner == partner), None)
    reason = f"{partner}: by agreement {name} with {claim.partner}"
    if own is None:
        return Claim(partner, Decimal(), reason, unpaid=claim.unpaid)
    return Claim(partner, Decimal(), reason, own, own.click, float(own.touch.at), claim.unpaid)


_NO_ARRIVAL = "no campaign, referrer or click id of the visitor is known"
# By the consent at the order: what was never stored did not have to be absent.
_UNKNOWN = {
    "denied": "the visitor refused consent, so no arrival of it was stored",
    "pending": "the visitor had not consented yet, so no arrival of it was stored",
}


def _nobody(inputs: Inputs, arrivals: Sequence[Arrival]) -> str:
    if not arrivals:
        return f"nobody: {_UNKNOWN.get(inputs.consent, _NO_ARRIVAL)}"
    if inputs.consent == "denied":
        arrivals = [one for one in arrivals if one.touch.consent == UNNEEDED]
        if not arrivals:
            return "nobody: the visitor refused consent to be credited to a partner"
    last = next((one for one in reversed(arrivals) if one.partner), None)
    if last is None:
        return "nobody: no arrival of the visitor carried a partner's click id"
    return f"nobody: the last partner click, of {last.partner}, does not count: {last.lost}"
