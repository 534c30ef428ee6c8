"""Compares what a network has with what it was told: missing, doubled, different."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from shlex import quote
from typing import Final, Literal

from ..orders.ids import normalised
from ..orders.model import OrderError
from .model import State
from .report_file import Row

Kind = Literal["missing", "not told", "unknown here", "not theirs", "doubled", "amount", "currency", "state"]
KINDS: Final[Mapping[Kind, str]] = {
    "missing": "the partner took the call, but has no such order",
    "not told": "the partner has no such order, because no call was delivered",
    "unknown here": "the partner has it, and the ledger has no such order",
    "not theirs": "the partner has it, and it is credited to somebody else",
    "doubled": "the partner has it more than once",
    "amount": "the amounts differ",
    "currency": "the currencies differ",
    "state": "one says sale, the other cancelled",
}


@dataclass(frozen=True, slots=True)
class Told:
    """What a partner was told of an order, as one of its calls has it.

    `order` is the number as the calls write it. `amount` and `currency` are those of the last call that it
    took; None if it took none. `cancelled`: the last call that it took was a cancellation. `state` and `why`
    are those of the last call of all. `at` is when the order was recorded, in unix seconds. `postback` is the
    id of the call that counts: the last that it took, or the last of all.
    """

    order: str
    amount: Decimal | None
    currency: str | None
    cancelled: bool
    state: State
    why: str
    at: float
    postback: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference: the order, what the ledger says, what the partner's report says, and what settles it.
    `command` is the command that does so; empty if it is to be done by hand, or asked."""

    kind: Kind
    order: str
    ours: str
    theirs: str
    todo: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result: how many orders agree, and all that do not, by kind and order."""

    agree: int
    differences: tuple[Difference, ...]


def compare(told: Iterable[Told], rows: Iterable[Row], others: Mapping[str, str]) -> Comparison:
    """Compare the orders of a period. `others` has by normalised number those orders of the site that are not
    credited to this partner, and to whom they are."""
    ours = {number_of(one.order): one for one in told}
    theirs: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        theirs[number_of(row.order)].append(row)
    agree, found = 0, list[Difference]()
    for number in ours.keys() | theirs.keys():
        differences = list(_compared(number, ours.get(number), theirs.get(number, ()), others))
        agree += not differences
        found += differences
    kinds = list(KINDS)
    found = [_with_action(one, ours.get(number_of(one.order))) for one in found]
    return Comparison(agree, tuple(sorted(found, key=lambda d: (kinds.index(d.kind), d.order))))


def _with_action(found: Difference, told: Told | None) -> Difference:
    """The difference with what settles it, if the ledger is right."""
    postback = "" if told is None else told.postback
    todo, command = _ACTIONS[found.kind]
    if found.kind == "not told" and told is not None:
        if told.state == "held":
            todo, command = "release or refuse the call", "clew postbacks release {postback}"
        elif told.state in ("due", "sending"):
            todo, command = "wait: the call is on its way", ""
    elif found.kind == "state" and told is not None and told.amount is None:
        todo, command = "the call arrived all the same, or they track on another way: compare their times", ""
    elif found.kind == "state" and told is not None and told.cancelled:
        todo, command = "tell them of the cancellation again", "clew postbacks resend {postback}"
    return replace(found, todo=todo, command=command.format(postback=postback, order=quote(found.order)))


_ACTIONS: Final[Mapping[Kind, tuple[str, str]]] = {
    "missing": (
        "ask whether they refused it; if they never had it, tell them of the order again",
        "clew postbacks resend {postback} --event order",
    ),
    "not told": ("find out why it failed, and send it again", "clew postbacks retry {postback}"),
    "unknown here": ("they track on another way too: decline it there, or report the order here", ""),
    "not theirs": ("see why; decline it there, or correct the credit", "clew explain order {order}"),
    "doubled": ("the order came to them on two ways: decline one of them there", ""),
    "amount": ("tell them of the amount again", "clew postbacks resend {postback} --event adjust"),
    "currency": ("tell them of the amount again", "clew postbacks resend {postback} --event adjust"),
    "state": ("see why they declined it; if it stands, tell them again", "clew postbacks resend {postback}"),
}


def _compared(
    number: str, told: Told | None, rows: Sequence[Row], others: Mapping[str, str]
) -> Iterator[Difference]:
    live = [row for row in rows if row.status != "declined"]
    theirs = _theirs(rows)
    if told is None:
        # A declined one that we do not know costs nothing.
        if live:
            kind: Kind = "not theirs" if number in others else "unknown here"
            yield Difference(kind, rows[0].order, others.get(number, "no such order"), theirs)
        return
    ours = _ours(told)
    if not rows:
        if told.amount is None:
            if told.state not in ("refused", "superseded"):
                yield Difference("not told", told.order, ours, "nothing")
        elif not told.cancelled:
            yield Difference("missing", told.order, ours, "nothing")
        return
    if told.amount is None:
        if live:
            yield Difference("state", told.order, ours, theirs)
        return
    if told.cancelled != (not live):
        yield Difference("state", told.order, ours, theirs)
        return
    yield from _figures(told, live, ours, theirs)


def _figures(told: Told, live: Sequence[Row], ours: str, theirs: str) -> Iterator[Difference]:
    if not live:
        return
    currencies = {row.currency for row in live if row.currency is not None}
    if currencies - {told.currency}:
        yield Difference("currency", told.order, ours, theirs)
    # Several rows of one order are its parts, by product group, if they add up to it.
    elif sum((row.amount for row in live), Decimal()) != told.amount:
        doubled = len(live) > 1 and all(row.amount == told.amount for row in live)
        yield Difference("doubled" if doubled else "amount", told.order, ours, theirs)


def number_of(order: str) -> str:
    """The normalised number of an order; the text itself if it has none."""
    return known_number(order) or order.strip()


def known_number(order: str) -> str | None:
    """The normalised number of an order; None for a text that no order of the ledger has as its number."""
    try:
        return normalised(order).id
    except OrderError:
        return None


def _ours(told: Told) -> str:
    if told.amount is None:
        return f"{told.state}{f': {told.why}' if told.why else ''}"
    return "cancelled" if told.cancelled else f"{told.amount} {told.currency}"


def _theirs(rows: Sequence[Row]) -> str:
    return " + ".join(
        f"{row.amount}{f' {row.currency}' if row.currency else ''}{f' {row.status}' if row.status else ''}"
        for row in rows
    )
