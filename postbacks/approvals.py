"""What a network is told of the decisions about a partner's commission: approved, or declined. Pure.

Each decision is told once, after the network was told of the order as it stands; after a change of what the
decision is about it is told again. A refusal also follows a change that the network did not take: it has the
order as it was before. An approval does not, since it would be one of the wrong amount.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from ..orders.doubt import Doubt
from ..referral.catalogue import Network
from ..settings.model import Partner
from .due import (
    APPROVE,
    CANCEL,
    DECLINE,
    VERDICTS,
    Plan,
    Planned,
    about_order,
    may_be_reported,
    values,
    waits,
)
from .model import Postback, Report, State
from .network_call import unable

Able = Callable[[Report], Doubt | None]
"""Why no call can be made for a decision; None if one can. With an empty text nobody needs to know."""

NOT_TAKEN: Final[frozenset[State]] = frozenset({"held", "refused", "dead"})
"""States of a call that the partner does not have, and does not get by itself."""


def with_verdicts(
    rows: Sequence[Postback], planned: Plan, wanted: Mapping[str, str | None], able: Able
) -> Plan:
    """The plan with what networks are told of the commissions: `wanted` is APPROVE or DECLINE by partner,
    None where there is no decision to tell; nothing changes for a partner that it does not name. `rows` are
    all postbacks of the order."""
    superseded, added = list(planned.superseded), list(planned.added)
    changed = {one.id: one for one in planned.changed}
    for partner, word in sorted(wanted.items()):
        own = [
            changed.get(row.id, row) for row in rows if row.partner == partner and row.id not in superseded
        ]
        last = _last(own, [one for one in planned.added if one.report.partner == partner], word)
        done = told(own)
        kept = done[-1] if last is not None and done and _holds(done[-1], last, word) else None
        superseded += [row.id for row in done if row is not kept and waits(row)]
        if word is None or last is None or kept is not None:
            continue
        report = replace(last.report, event=word, before="")
        doubt = able(report)
        if doubt is None or doubt.text:
            every: Sequence[Postback | Planned] = (*rows, *added)
            sequence = max((one.sequence for one in every if one.report.partner == partner), default=0)
            state: State = "due" if doubt is None else "held"
            kind, why = (None, None) if doubt is None else (doubt.kind, doubt.text)
            added.append(Planned(sequence + 1, report, state, kind, why))
    return Plan(tuple(superseded), planned.changed, tuple(added))


def _last(own: Sequence[Postback], new: Sequence[Planned], word: str | None) -> Postback | Planned | None:
    """The call about the order that a decision follows; None if it has to wait, or there is none."""
    reported = [row for row in about_order(own) if row.state != "superseded"]
    last: Postback | Planned | None = new[-1] if new else reported[-1] if reported else None
    if last is not None and last.state in NOT_TAKEN:
        taken = (row for row in reversed(reported) if may_be_reported(row))
        last = next(taken, None) if word == DECLINE else None
    return None if last is None or last.report.event == CANCEL else last


def _holds(row: Postback, last: Postback | Planned, word: str | None) -> bool:
    """Whether the network has heard, or is to hear, of this decision as it is to be told after `last`."""
    same = row.event == word and values(row.report) == values(last.report)
    return same and not (waits(row) and row.sequence < last.sequence)


def told(rows: Sequence[Postback]) -> list[Postback]:
    """The decisions that the network has heard of, or is to hear of."""
    return [row for row in rows if row.event in VERDICTS and row.state != "superseded"]


def told_again(rows: Sequence[Postback], planned: Plan, word: str | None) -> Plan:
    """The plan for calls about the order with the decision `word` after them, if there was a call for it
    before, and it was not sent. `rows` are all postbacks of the order to the partner."""
    before = next((row for row in reversed(rows) if row.event == word), None)
    if not rows or (word is not None and before is None):
        return planned
    doubt = Doubt(before.hold, before.why or "") if before is not None and before.hold is not None else None
    return with_verdicts(rows, planned, {rows[0].partner: word}, lambda report: doubt)


NOBODY_ASKS: Final = Doubt("manual", "")


def verdict_doubt(
    partner: Partner | None, report: Report, networks: Mapping[str, Network], now: float
) -> Doubt | None:
    """Why a network gets no call for an approval or a refusal; None if it does. An approval that it takes by
    no call is not told: a network pays what nobody has declined."""
    network = networks.get(partner.network) if partner is not None and partner.network is not None else None
    if partner is None or network is None:
        return NOBODY_ASKS
    why = unable(partner, network, report, now)
    if why is None:
        return None
    if report.event == APPROVE:
        return NOBODY_ASKS
    return Doubt("manual", f"the commission was declined, and {why}: report it by hand")
