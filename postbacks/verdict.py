"""Evaluates the result of a call: delivered, retry and when, dead, or unknown."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from ..referral.calls import Answer, Each, Find
from .call import Call
from .model import Outcome, State

ANSWER_LENGTH = 500  # characters of a response that are kept
KEPT_LENGTH = 200  # characters of a network's id of an order
RETRY_AFTER_LIMIT = 86400  # seconds; a receiver that asks for more is called after a day
JITTER = 0.2  # retries are delayed by up to a fifth, so that a receiver that was down gets no burst of calls
_LATER = frozenset({408, 425, 429})
_GONE = 410
UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True)
class Answered:
    """The call was answered: the status, the body as far as it was read, and whether it is complete."""

    status: int
    body: bytes = b""
    complete: bool = True
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class NotSent:
    """No byte of the call was sent, so it can be retried. `for_good`: the call can never be sent."""

    reason: str
    for_good: bool = False


@dataclass(frozen=True, slots=True)
class Unanswered:
    """At least a part of the call was sent, and there was no response: its effect is unknown."""

    reason: str


Result = Answered | NotSent | Unanswered


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of an attempt. `wait`: seconds that the receiver asked for (Retry-After). `unsure`: the
    call may have had its effect, so after the last attempt the postback is unknown, not dead. `alone`: of the
    call's reports one was refused, and it is not known which: each has to be sent by itself."""

    outcome: Outcome
    answer: str
    status: int | None = None
    wait: float = 0.0
    unsure: bool = False
    alone: bool = False


def judge(call: Call, result: Result, now: float, *, repeats: bool) -> Verdict:
    """Evaluate the result of a call with one report; `repeats`: the destination ignores a repeated call."""
    return judge_each(call, result, now, repeats=repeats)[0]


def judge_each(call: Call, result: Result, now: float, *, repeats: bool) -> tuple[Verdict, ...]:
    """The same for each report that a call carried, in their order."""
    count = max(1, len(call.keys))
    match result:
        case NotSent(reason, for_good):
            return (Verdict("dead" if for_good else "retry", reason),) * count
        case Unanswered(reason):
            return (Verdict("retry" if repeats else "unknown", reason, unsure=True),) * count
        case Answered():
            whole = _judged(call, result, now, repeats=repeats)
            if whole.outcome == "delivered" and call.success.each is not None:
                return _each_judged(call, call.success.each, result, whole, repeats=repeats)
            return (whole,) * count


def refused_together(call: Call, verdicts: Sequence[Verdict], answered: Answered) -> bool:
    """Whether a response refuses a call with several reports as a whole: one of them may be at fault for all,
    and nothing was recorded."""
    whole = not (call.success.each is not None and _matches_ok(call, answered))
    return whole and len(verdicts) > 1 and all(verdict.outcome == "dead" for verdict in verdicts)


def _matches_ok(call: Call, answered: Answered) -> bool:
    return _matches(call.success.ok, answered.status, answered.body.decode("utf-8", "replace"))


def kept_value(body: bytes, pointer: str) -> str:
    """The text or the number at a pointer in a response; empty if there is none."""
    try:
        found = _pointed(json.loads(body), pointer)
    except (ValueError, RecursionError):
        return ""
    return str(found)[:KEPT_LENGTH] if _is_value(found) else ""


def found_value(body: bytes, find: Find, keep: str, order: str) -> str:
    """What a response to a lookup calls the order; empty if it has it not, or several of it."""
    try:
        listed = _pointed(json.loads(body), find.list)
    except (ValueError, RecursionError):
        return ""
    own = (
        [one for one in listed if _is_value(named := _pointed(one, find.key)) and str(named) == order]
        if (isinstance(listed, list))
        else []
    )
    found = {str(value) for one in own if _is_value(value := _pointed(one, keep))}
    return found.pop()[:KEPT_LENGTH] if len(found) == 1 else ""


def _is_value(found: Any) -> bool:
    return isinstance(found, str | int) and not isinstance(found, bool)


def settle(
    verdict: Verdict, attempts: int, now: float, schedule: Sequence[int], chance: float
) -> tuple[State, float]:
    """The state after an attempt, and when the next one is due. `attempts` counts from 1.

    `schedule` has the seconds to wait after each failed attempt. After the last one the postback is dead, or
    unknown if the last call may have had its effect. `chance` from 0 to 1 spreads the retries.
    """
    if verdict.outcome != "retry":
        return verdict.outcome, now
    if attempts > len(schedule):
        return ("unknown" if verdict.unsure else "dead"), now
    return "due", now + max(schedule[attempts - 1], verdict.wait) * (1 + JITTER * chance)


def _judged(call: Call, result: Answered, now: float, *, repeats: bool) -> Verdict:
    status, body = result.status, result.body.decode("utf-8", "replace")
    answer = _readable(body)
    success = call.success
    if success.later is not None and _matches(success.later, status, body):
        return Verdict("retry", answer, status, wait=_seconds(result.retry_after, now))
    if success.done is not None and 200 <= status < 300 and not _matches(success.done, status, body):
        return Verdict("retry", answer, status)
    if _matches(success.ok, status, body) or (success.already and _matches(success.already, status, body)):
        return Verdict("delivered", answer, status)
    if status in _LATER or status >= 500:
        return Verdict("retry", answer, status, wait=_seconds(result.retry_after, now))
    if 300 <= status < 400:
        return Verdict(
            "dead", _with("the receiver redirects, and redirects are not followed", answer), status
        )
    if status == _GONE and call.gone:
        return Verdict("dead", _with("the receiver wants no more postbacks at this address", answer), status)
    if 200 <= status < 300 and not result.complete:
        reason = _with("the response ended before it said whether the order was accepted", answer)
        return Verdict("retry" if repeats else "unknown", reason, status, unsure=True)
    return Verdict("dead", answer, status)


def _each_judged(
    call: Call, each: Each, result: Answered, whole: Verdict, *, repeats: bool
) -> tuple[Verdict, ...]:
    """What the response says of each report."""
    try:
        document = json.loads(result.body)
        listed = _pointed(document, each.list)
    except (ValueError, RecursionError):
        document = listed = None
    found: dict[str, Any] = {}
    for number, element in enumerate(listed if isinstance(listed, list) else []):
        found.setdefault(_name_of(call, each, number, element), element)
    if each.failed:
        # Failures that name no report of the call, or that are not where they should be.
        named = set(found) & set(call.keys)
        astray = next((element for name, element in found.items() if name not in named), None)
        if not isinstance(listed, list):
            failure = _pointed(document, "/".join(each.list.split("/")[:2]))
            astray = None if _is_nothing(failure) else failure
        if astray is not None:
            whole = _of_one_of_them(call, each, astray, whole, repeats=repeats)
    return tuple(_one_judged(each, key in found, found.get(key), whole) for key in call.keys)


def _name_of(call: Call, each: Each, number: int, element: Any) -> str:
    """The order id of the report that an element of the list is about; empty if it names none."""
    if each.key:
        return str(_pointed(element, each.key))
    place = _pointed(element, each.index) if each.index else number
    is_place = isinstance(place, int) and not isinstance(place, bool) and 0 <= place < len(call.keys)
    return call.keys[place] if is_place else ""


def _of_one_of_them(call: Call, each: Each, element: Any, whole: Verdict, *, repeats: bool) -> Verdict:
    """The verdict where a response says that a report was refused, and not which one."""
    if len(call.keys) == 1:
        return _one_judged(each, True, element, whole)
    answer = _with("one of several reports was refused, it is not said which", _words(each, element))
    return replace(whole, outcome="retry" if repeats else "unknown", answer=answer, unsure=True, alone=True)


def _one_judged(each: Each, listed: bool, element: Any, whole: Verdict) -> Verdict:
    if not listed:
        if each.failed:
            return whole
        return replace(
            whole,
            outcome="unknown",
            answer=_with("the response says nothing of it", whole.answer),
            unsure=True,
        )
    found = _pointed(element, each.pointer) if each.pointer else element
    answer = _words(each, element)
    if _is_one_of(found, each.later):
        return replace(whole, outcome="retry", answer=answer)
    if _is_one_of(found, each.already):
        return replace(whole, answer=answer)
    if each.failed or not (_is_one_of(found, each.ok) if each.ok else _is_nothing(found)):
        return replace(whole, outcome="dead", answer=answer)
    return replace(whole, answer=answer)


def _words(each: Each, element: Any) -> str:
    words = _pointed(element, each.text) if each.text else None
    return _readable(words if isinstance(words, str) else json.dumps(element if words is None else words))


def _is_one_of(found: Any, allowed: Sequence[str | int | bool]) -> bool:
    # In Python True == 1, and in JSON they are two values.
    return any(found == one and isinstance(found, bool) == isinstance(one, bool) for one in allowed)


def _is_nothing(found: Any) -> bool:
    return not found and found != 0


def _readable(body: str) -> str:
    """The beginning of a body on one line, without control characters, which could control a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in body).split())[:ANSWER_LENGTH]


def _with(reason: str, answer: str) -> str:
    return f"{reason}: {answer}"[:ANSWER_LENGTH] if answer else reason


def _matches(expected: Answer, status: int, body: str) -> bool:
    low, high = expected.status
    if not low <= status <= high:
        return False
    if expected.contains and expected.contains not in body:
        return False
    if expected.lacks and expected.lacks in body:
        return False
    return not expected.pointer or _points(expected, body)


def _points(expected: Answer, body: str) -> bool:
    try:
        found = _pointed(json.loads(body), expected.pointer)
    except (ValueError, RecursionError):
        return False
    return _is_one_of(found, expected.equals) if expected.equals else _is_nothing(found)


def _pointed(document: Any, pointer: str) -> Any:
    """RFC 6901; None if the document has no such value."""
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document.get(key)
        elif isinstance(document, list) and key.isascii() and key.isdigit() and int(key) < len(document):
            document = document[int(key)]
        else:
            return None
    return document


def _seconds(retry_after: str | None, now: float) -> float:
    """Retry-After in seconds or as a date (RFC 9110 §10.2.3); 0 if it is neither, a day at most."""
    if retry_after is None:
        return 0.0
    written = retry_after.strip()
    if written.isascii() and written.isdigit():
        wait = float(written[:9])
    else:
        try:
            at = parsedate_to_datetime(written)
        except (ValueError, OverflowError):
            return 0.0
        wait = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now
    return min(max(wait, 0.0), RETRY_AFTER_LIMIT)
