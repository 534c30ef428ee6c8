"""The history of an order as text, in a time line: its reports, its credit with the reasons, and the calls to
its partners."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Final

from ...credit.commission import Commission
from ...credit.decision import Decision, Share, decide
from ...credit.models import WORDS
from ...credit.words import divided_words, percent
from ...orders.model import Source
from ...orders.money import amount_text
from ...orders.sighting import Correction, Sighting, plain
from ...payouts.account import accounts
from ...postbacks.due import ADJUST, APPROVE, CANCEL, DECLINE, NEW
from ...postbacks.model import Attempt, Postback
from ...referral.masking import short
from ...stores.ledger.known import Decided, Stored
from ...stores.ledger.stories import Story
from .earnings import account_json, commission_lines, entry_json
from .lines import Kind, Line, Moment

_ORDER: Final[Sequence[Kind]] = ("report", "correction", "credit", "commission", "postback", "attempt")
SOURCES: Final[dict[Source, str]] = {
    "browser": "A visitor's browser",
    "page": "A page",
    "agent": "An agent",
    "import": "An import",
    "api": "The shop's server",
    "webhook": "A webhook of the shop",
}
_JOINED: Final = {
    "number": "its order number",
    "carrier": "its visitor",
    "coupon": "its coupon",
    "email": "its e-mail address",
    "amount": "its amount",
    "person": "a person's decision",
}
_EVENTS: Final = {
    NEW: "a new order over",
    ADJUST: "a change to",
    CANCEL: "a cancellation, now",
    APPROVE: "an approval of",
    DECLINE: "a refusal of",
}


@dataclass(frozen=True, slots=True)
class Value:
    """One value of an order and its source, as text."""

    name: str
    text: str
    source: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """A credit decision that was repeated with its stored inputs. `result` is None if these were deleted with
    the visitor."""

    stored: Decided
    result: Decision | None

    @property
    def same(self) -> bool:
        """Whether the result is the same, or cannot be compared."""
        return self.result is None or self.result == self.stored.decision


def replays(story: Story) -> tuple[Replayed, ...]:
    """Repeat each credit decision of an order."""
    return tuple(
        Replayed(one, None if one.inputs.forgotten else decide(one.inputs, one.policy))
        for one in story.decisions
    )


def lines(story: Story, moment: Moment, repeated: Sequence[Replayed] = ()) -> tuple[Line, ...]:
    """The time line, oldest first. With `repeated` it says for each credit decision whether it is equal."""
    outcomes = {one.stored.row: one for one in repeated}
    found = [_report(stored, moment) for stored in story.known.sightings]
    found += [_credit(one, moment, outcomes.get(one.row)) for one in story.decisions]
    for partner, entries in story.commissions.items():
        found += commission_lines(partner, entries, moment)
    for row in story.postbacks:
        found.append(_postback(row, moment))
        tried = story.attempts.get(row.id, ())
        found += [_attempt(row, number, attempt) for number, attempt in enumerate(tried, 1)]
    return tuple(sorted(found, key=lambda line: (line.at, _ORDER.index(line.kind))))


def values(story: Story, moment: Moment) -> tuple[Value, ...]:
    """The order's values, each with the report that it comes from."""
    order, by_key = story.order, {s.sighting.key: s.sighting for s in story.known.sightings}

    def source(field: str, otherwise: str) -> str:
        sighting = by_key.get(order.sources.get(field, ""))
        return otherwise if sighting is None else f"{_who(sighting).lower()}, {moment(sighting.at)}"

    found = [
        Value("number", order.spelling or order.order_id, source("number", "its first report")),
        Value("state", order.state, source("state", "in no report")),
        Value("total", _money(order.total, order.currency), source("total", "in no report")),
    ]
    if order.refunded:
        found.append(Value("refunded", _money(order.refunded, order.currency), "the refunds reported"))
    for field, value in order.details.items():
        if field == "net_rule":
            continue
        text = str(len(value)) if isinstance(value, list) else str(value)
        found.append(Value(field, text, source(field, "")))
    named = ((field, getattr(order, field)) for field in ("coupon", "visitor", "conversation", "agent"))
    found += [Value(field, value, source(field, "the chat")) for field, value in named if value is not None]
    found.append(Value("channel", order.channel, source("channel", "whether its visitor wrote in the chat")))
    found.append(Value("placed at", moment(order.placed_at), source("placed_at", "its first report")))
    if story.numbers:
        found.append(Value("further numbers", ", ".join(story.numbers), "the reports that name them"))
    shares = story.decisions[-1].decision.shares if story.decisions else ()
    earned = divided_words((share.partner, share.part) for share in shares)
    found.append(Value("partner", earned, order.reason))
    return tuple(found)


def story_json(story: Story, repeated: Sequence[Replayed] = ()) -> dict[str, Any]:
    """The history as plain data. Times are Unix seconds, amounts decimal text."""
    order = story.order
    outcomes = {one.stored.row: one for one in repeated}
    return {
        "site": order.site,
        "id": order.order_id,
        "spelling": order.spelling,
        "numbers": list(story.numbers),
        "version": order.version,
        "state": order.state,
        "total": plain(order.total),
        "currency": order.currency,
        "refunded": plain(order.refunded),
        "details": dict(order.details),
        "coupon": order.coupon,
        "visitor": order.visitor,
        "conversation": order.conversation,
        "agent": order.agent,
        "channel": order.channel,
        "placed_at": order.placed_at,
        "partner": order.partner,
        "reason": order.reason,
        "sources": dict(order.sources),
        "doubts": [asdict(doubt) for doubt in order.doubts],
        "sightings": [_sighting_json(stored) for stored in story.known.sightings],
        "decisions": [_decision_json(one, outcomes.get(one.row)) for one in story.decisions],
        "commissions": {
            partner: {
                "accounts": [account_json(one) for one in accounts(entries).values()],
                "entries": [entry_json(one) for one in entries],
            }
            for partner, entries in story.commissions.items()
        },
        "postbacks": [
            {
                **asdict(row),
                "report": {**row.report.to_json(), "click_id": short(row.report.click_id)},
                "attempts": [asdict(attempt) for attempt in story.attempts.get(row.id, ())],
            }
            for row in story.postbacks
        ],
    }


def _sighting_json(stored: Stored) -> dict[str, Any]:
    said = stored.sighting.to_json()
    # The arrivals are part of the credit decisions.
    said.pop("touches", None)
    placements = [asdict(placed) for placed in stored.placements]
    own = {"report": stored.row, "key": stored.sighting.key, "joined_by": stored.joined_by}
    return {**own, "placements": placements, **said}


def _decision_json(one: Decided, replayed: Replayed | None) -> dict[str, Any]:
    found = {
        "at": one.at,
        "order_version": one.order_version,
        "model": one.policy.model,
        "policy": one.policy.version,
        "consent": one.inputs.consent,
        **_decided_json(one.decision),
    }
    if replayed is not None:
        found["replay"] = _replay_json(replayed)
    return found


def _replay_json(replayed: Replayed) -> object:
    if replayed.result is None:
        return "inputs forgotten"
    return "same" if replayed.same else _decided_json(replayed.result)


def _decided_json(decision: Decision) -> dict[str, Any]:
    return {
        "reason": decision.reason,
        "shares": [
            {
                "partner": share.partner,
                "click": None if share.click is None else [share.click.param, short(share.click.value)],
                "touched_at": share.touched_at,
                "part": str(share.part),
                "commission": None if share.commission is None else _commission_json(share.commission),
                "reason": share.reason,
            }
            for share in decision.shares
        ],
        "considered": decision.considered_json(),
        "compared": decision.compared_json(),
    }


def _commission_json(commission: Commission) -> dict[str, Any]:
    return {
        "amount": str(commission.amount),
        "operator": str(commission.operator),
        "currency": commission.currency,
        "lines": list(commission.lines),
        "unpaid": commission.unpaid,
    }


def _report(stored: Stored, moment: Moment) -> Line:
    sighting, correction = stored.sighting, stored.sighting.correction
    if correction is not None:
        return Line(sighting.at, "correction", _corrected(correction, sighting), (f"why: {correction.why}",))
    details = [*_evidence(stored, moment), *said(sighting, moment)]
    return Line(sighting.at, "report", reported(sighting), tuple(details), stored.row)


def reported(sighting: Sighting) -> str:
    """The content of a report, as a sentence."""
    return f"{_who(sighting)} reported {', '.join(_said(sighting)) or 'neither amount nor state'}"


def _who(sighting: Sighting) -> str:
    if sighting.correction is not None:
        return f"{sighting.correction.by}'s correction"
    if sighting.source == "agent" and sighting.agent:
        return f"Agent {sighting.agent}"
    return SOURCES[sighting.source]


def _said(sighting: Sighting) -> Iterator[str]:
    if sighting.total is not None:
        yield _money(sighting.total, sighting.currency)
    if sighting.state is not None:
        yield sighting.state.replace("_", " ")
    for refund in sighting.refunds:
        yield f"refund {refund.id} of {_money(refund.amount, sighting.currency)}"


def _corrected(correction: Correction, sighting: Sighting) -> str:
    """A person's decision as a sentence."""
    did = []
    if said := ", ".join(_said(sighting)):
        did.append(f"set it to {said}")
    if correction.partner is not None:
        did.append(f"credited it to {correction.partner or 'nobody'}")
    if correction.release:
        did.append("released the held postbacks")
    if correction.refuse:
        did.append("decided not to notify any partner")
    if correction.undoes:
        did.append("undid what an agent had recorded")
    return f"{correction.by} {' and '.join(did) or 'looked at it'}"


def _evidence(stored: Stored, moment: Moment) -> Iterator[str]:
    by = (stored.joined_by or "number").split(",")
    evidence = " and ".join(_JOINED.get(one, one) for one in by)
    yield f"report {stored.row}, belongs to this order by {evidence}"
    for placed in stored.placements:
        yield f"moved to {placed.number} by {placed.by}, {moment(placed.at)}: {placed.why}"


def said(sighting: Sighting, moment: Moment) -> Iterator[str]:
    """The content of a report besides amount and state."""
    if sighting.numbers:
        yield f"number {', '.join((sighting.spelling or sighting.numbers[0], *sighting.numbers[1:]))}"
    if sighting.visitor is not None:
        count = len(sighting.touches)
        arrivals = "1 known arrival" if count == 1 else f"{count} known arrivals"
        yield f"visitor {sighting.visitor}, with {arrivals}"
    if sighting.consent is not None:
        yield f"consent {': '.join(filter(None, (sighting.consent.state, sighting.consent.basis)))}"
    if sighting.forgotten:
        yield f"forgotten: {', '.join(sighting.forgotten).replace('_', ' ')}"
    if sighting.email_hash is not None:
        yield f"e-mail hash {short(sighting.email_hash)}"
    for name in ("coupon", "customer", "channel", "conversation", "net", "shipping", "tax", "discount"):
        if (value := getattr(sighting, name)) is not None:
            yield f"{name} {value}"
    if sighting.items is not None:
        yield f"{len(sighting.items)} item{'s' * (len(sighting.items) != 1)}"
    if sighting.placed_at is not None:
        yield f"placed at {moment(sighting.placed_at)}"
    if sighting.as_of is not None:
        yield f"as of {moment(sighting.as_of)}"
    for doubt in sighting.doubts:
        yield f"in doubt ({doubt.kind}): {doubt.text}"


def _credit(one: Decided, moment: Moment, replayed: Replayed | None) -> Line:
    decision = one.decision
    to = divided_words((share.partner, share.part) for share in decision.shares)
    details = [decision.reason]
    for share in decision.shares:
        details.append(_share(share, moment))
        if len(decision.shares) > 1:
            details.append(f"why: {share.reason}")
        if share.commission is not None:
            details += [f"commission of {share.partner}: {line}" for line in share.commission.lines]
    for touch in decision.considered:
        if touch.code:
            details.append(f"considered: code {touch.code} of {touch.partner}: {touch.verdict}")
            continue
        whose = " of ".join(filter(None, (touch.network, touch.partner))) or "no partner"
        consent = f"; consent: {touch.consent}" if touch.consent else ""
        details.append(f"considered: arrival {moment(touch.at)} by {whose}: {touch.verdict}{consent}")
    details += [f"by {WORDS[c.model]} it would be: {divided_words(c.parts)}" for c in decision.compared]
    if one.inputs.forgotten:
        details.append("considered: its visitor and the arrivals are forgotten")
    elif not decision.considered:
        details.append("considered: no arrival of the visitor is known")
    details.append(
        f"version {one.order_version} of the order, model {one.policy.model}, "
        f"policy {one.policy.version}, consent {one.inputs.consent}"
    )
    if replayed is not None:
        details.append(_difference(replayed))
    return Line(one.at, "credit", f"Credited to {to}", tuple(details))


def _share(share: Share, moment: Moment) -> str:
    part = f"share of {share.partner}: {percent(share.part)}"
    if share.commission is not None:
        part += f", commission {_money(share.commission.amount, share.commission.currency)}"
    if share.click is None or share.touched_at is None:
        return f"{part}, without a click for a postback"
    click = _click(share.click.param, share.click.value)
    return f"{part}, by {click} of {moment(share.touched_at)}"


def _click(param: str, value: str) -> str:
    if not value and not param:
        return "no click"
    return f"click {param} {short(value)}" if value else f"a click {param} whose id is forgotten"


def _difference(replayed: Replayed) -> str:
    if replayed.result is None:
        return "not repeated: its inputs are forgotten"
    if replayed.same:
        return "repeated with its inputs: the same result"
    shares = ", ".join(f"{s.partner} {percent(s.part)}" for s in replayed.result.shares)
    result = f"{shares or 'nobody'}, because {replayed.result.reason}"
    return f"REPEATED WITH ITS INPUTS, THE RESULT DIFFERS: {result}"


def _postback(row: Postback, moment: Moment) -> Line:
    report = row.report
    what = _EVENTS.get(row.event, row.event)
    details = [
        f"{row.id}, number {row.sequence} to {row.partner} about order {report.order_id}",
        _click(report.click_param, report.click_id),
        _state(row, moment),
    ]
    text = f"Due to {row.partner}: {what} {report.amount} {report.currency}"
    return Line(row.created_at, "postback", text, tuple(details))


def _state(row: Postback, moment: Moment) -> str:
    words = {
        "due": f"due, next try {moment(row.next_at)}",
        "held": f"held ({row.hold})",
        "superseded": "superseded by a later one before it was sent,",
    }
    state = words.get(row.state, row.state)
    ended = "" if row.finished_at is None else f" {moment(row.finished_at)}"
    return f"now {state}{ended}" + (f": {row.why}" if row.why else "")


def _attempt(row: Postback, number: int, attempt: Attempt) -> Line:
    status = "no answer" if attempt.status is None else f"status {attempt.status}"
    details = [part for part in (attempt.request, attempt.answer and f"answer: {attempt.answer}") if part]
    text = f"Call {number} of {row.id} to {row.partner}: {attempt.outcome}, {status}"
    return Line(attempt.at, "attempt", text, tuple(details))


def _money(amount: Decimal | None, currency: str | None) -> str:
    if amount is None:
        return "unknown"
    return f"{amount_text(amount, currency)} {currency}" if currency else str(amount)
