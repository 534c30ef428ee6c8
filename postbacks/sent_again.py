"""What is sent after a call that failed, or again because a person wants so. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from .approvals import NOT_TAKEN, Able, told, told_again, with_verdicts
from .due import (
    ADJUST,
    CANCEL,
    DECLINE,
    NEW,
    VERDICTS,
    Plan,
    Planned,
    about_order,
    plan,
    waits,
)
from .model import Postback


def after_dead(rows: Sequence[Postback], dead: Postback) -> Plan:
    """What becomes of the later events for a partner when one before them could not be delivered: of an order
    that it never took, it hears as of a new one, and of a decision about the order after that."""
    if dead.event in VERDICTS:
        return Plan()
    own = [row for row in rows if row.partner == dead.partner]
    done = told(own)
    return told_again(own, _anew(own), done[-1].event if done else None)


def _anew(rows: Sequence[Postback]) -> Plan:
    later = [row for row in about_order(rows) if waits(row)]
    if not later:
        return Plan()
    last = later[-1]
    wanted = replace(last.report, event=last.event if last.event == CANCEL else NEW, before="")
    found = plan(rows, {last.partner: wanted})
    return replace(
        found,
        changed=(),
        added=tuple(replace(p, state=last.state, hold=last.hold, why=last.why) for p in found.added),
    )


def retried(rows: Sequence[Postback], row: Postback, able: Able) -> Plan | None:
    """What is sent when a person has an event sent again after later ones about the same order, which it must
    not follow; None where that is the event itself. `rows` are all postbacks of the order to the partner.

    A later event says all that holds now. Only a change may have come to nothing at a partner that never got
    the event before it: to such a partner the order is reported as a new one, which it ignores if it has it.
    Where it is not known either whether the change came, it follows: a partner that has the order as it was
    before needs it.

    A decision is told after the order as it stands, unless a later one was made. Raises ValueError while the
    partner does not have the order.
    """
    if row.event in VERDICTS:
        return _verdict_again(rows, row, able)
    later = [one for one in about_order(rows) if one.sequence > row.sequence and one.state != "superseded"]
    sent = [one for one in later if not waits(one)]
    if not later or (row.state != "dead" and not sent):
        return None
    last = later[-1]
    anew = any(one.event == NEW and one.state == "delivered" for one in sent)
    if row.state == "dead" or last is not sent[-1] or last.event != ADJUST or anew:
        return Plan(superseded=(row.id,))
    reports = [replace(last.report, event=NEW, before="")]
    if last.state != "delivered":
        reports.append(last.report)
    first = max(one.sequence for one in rows) + 1
    added = (Planned(number, report, "due", None, None) for number, report in enumerate(reports, first))
    return Plan((row.id,), (), tuple(added))


def _verdict_again(rows: Sequence[Postback], row: Postback, able: Able) -> Plan | None:
    gone = Plan(superseded=(row.id,))
    if (done := told(rows)) and done[-1].id != row.id:
        return gone
    about = [one for one in about_order(rows) if one.state != "superseded"]
    last = about[-1] if about else None
    if last is None or (last.sequence < row.sequence and last.state not in NOT_TAKEN):
        return None
    found = with_verdicts(rows, gone, {row.partner: row.event}, able)
    if not found.added and last.state in NOT_TAKEN:
        raise ValueError(_first(last))
    return found


def _first(missing: Postback) -> str:
    """Why a decision is not told before the partner has the order."""
    return f"the partner has to get {missing.id} about the order first, which is {missing.state}"


def resent(rows: Sequence[Postback], row: Postback, event: str, why: str) -> Plan:
    """What is sent when a person tells a partner again what it has taken, because its own report says
    otherwise. `rows` are all postbacks of the order to the partner, `row` is the one that it took last.

    Raises ValueError if it did not take it, or if a later one says what holds now.
    """
    if row.state != "delivered":
        raise ValueError(f"it is {row.state}, not delivered")
    others = rows if row.event in VERDICTS else about_order(rows)
    later = [one for one in others if one.sequence > row.sequence and one.state != "superseded"]
    if row.event == DECLINE:
        # The partner has the order as it was before a change that it did not take.
        later = [one for one in later if one.event in VERDICTS or one.state not in NOT_TAKEN]
    missing = next((one for one in later if one.state in NOT_TAKEN), None)
    if missing is not None and row.event in VERDICTS and missing.event not in VERDICTS:
        raise ValueError(_first(missing))
    if later:
        raise ValueError("a later one about the order says what holds now")
    if (event == CANCEL) != (row.event == CANCEL):
        raise ValueError(f"the partner was told {row.event!r}: correct the order to tell it {event!r}")
    before = "" if event == NEW else row.report.amount
    report = replace(row.report, event=event, before=before)
    sequence = max(one.sequence for one in rows) + 1
    return Plan(added=(Planned(sequence, report, "due", None, why),))
