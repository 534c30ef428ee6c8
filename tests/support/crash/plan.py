"""What a run does, from its seed alone: the orders, what is reported of each and when, and what is killed.

How each order must end is computed here as well, from what was reported, and shares no code with clew.
"""

import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations
from typing import Any, Final, Literal

Form = Literal["page", "api", "webhook"]
# What a partner earns by.
SALES: Final = ("placed", "paid", "part_refunded")
# As a shop goes through them.
STATES: Final = ("placed", "paid", "part_refunded", "refunded", "cancelled")
# By name, how many of a hundred orders came by its link. None: nobody's.
PARTNERS: Final[Mapping[str | None, int]] = {"plain": 30, "repeat": 20, "hook": 25, "tune": 15, None: 10}
FORMS: Final[Mapping[Form, int]] = {"page": 40, "api": 30, "webhook": 30}
# Of the shop's own times of its reports.
_EPOCH: Final = 1_790_000_000


@dataclass(frozen=True, slots=True)
class Step:
    """One report of an order: its confirmation page where `body` is None, else what the shop's server says.
    `named`: with the visitor's cookie. `once`: not repeated if no answer comes."""

    body: Mapping[str, Any] | None = None
    named: bool = False
    once: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """An order and its reports; those of one group are made at the same time. `total` is what its page shows,
    `partner` whose link its visitor followed."""

    number: str
    form: Form
    partner: str | None
    total: Decimal
    groups: tuple[tuple[Step, ...], ...]

    @property
    def click(self) -> str:
        """The click id of its visitor."""
        return f"click-{self.number}"

    @property
    def steps(self) -> tuple[Step, ...]:
        """All its reports."""
        return tuple(step for group in self.groups for step in group)


@dataclass(frozen=True, slots=True)
class Stand:
    """The expected state of an order. `worth` is the amount for its partner, `visitor` whether its visitor
    is known."""

    state: str
    total: Decimal
    refunded: Decimal
    worth: Decimal
    visitor: bool


def stand(order: Order, told: Sequence[Step]) -> Stand | None:
    """How an order stands after these of its reports, in the order in which they were made; None where it
    does not exist."""
    if not told:
        return None
    bodies = sorted((s.body for s in told if s.body is not None), key=lambda body: body.get("updated_at", 0))
    totals = [Decimal(body["total"]) for body in bodies if "total" in body]
    total = totals[-1] if totals else order.total
    states = [
        (body.get("updated_at", 0), STATES.index(body.get("state", "placed")))
        for body in bodies
        if "state" in body or "total" in body
    ]
    state = STATES[max(states)[1]] if states else "placed"
    refunds = {
        refund["id"]: Decimal(refund["amount"]) for body in bodies for refund in body.get("refunds", ())
    }
    refunded = sum(refunds.values(), Decimal())
    if refunded and state in SALES:
        state = "refunded" if refunded >= total else "part_refunded"
    worth = max(total - refunded, Decimal()) if state in SALES else Decimal()
    visitor = order.partner is not None and any(s.body is None or s.named for s in told)
    return Stand(state, total, refunded, worth, visitor)


class Planner:
    """Makes orders."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(f"{seed} orders")

    def orders(self, count: int) -> tuple[Order, ...]:
        """So many orders."""
        return tuple(self._order(100_000 + number) for number in range(1, count + 1))

    def _order(self, number: int) -> Order:
        rng = self._rng
        form = _chosen(rng, FORMS)
        while True:
            partner = _chosen(rng, PARTNERS)
            total = self._amount(20, 80)
            make = {"page": self._by_page, "api": self._by_api, "webhook": self._by_webhook}[form]
            order = Order(str(number), form, partner, total, tuple(make(str(number), total, partner)))
            if _distinct(order):
                return order

    def _amount(self, low: int, high: int) -> Decimal:
        return Decimal(self._rng.randrange(low * 100, high * 100)).scaleb(-2)

    def _by_page(self, number: str, total: Decimal, partner: str | None) -> Iterator[tuple[Step, ...]]:
        """A page that is shown, sometimes again; the shop's server may correct it."""
        rng, changes = self._rng, list(self._changes(number, total))
        yield (Step(once=not changes and rng.random() < 0.2),)
        if changes and rng.random() < 0.2:
            yield (Step(),)
        yield from ((change,) for change in changes)

    def _by_api(self, number: str, total: Decimal, partner: str | None) -> Iterator[tuple[Step, ...]]:
        """The server's report, sometimes beside a page, which may show another amount."""
        rng = self._rng
        own = total if rng.random() < 0.7 else self._amount(20, 80)
        body = {"id": number, "total": str(own), "currency": "EUR"}
        first, page = Step(body, named=partner is not None), rng.random()
        if page < 0.1:
            yield (Step(), first)
        elif page < 0.2:
            yield (first,)
            yield (Step(),)
        elif page < 0.3:
            yield (Step(),)
            yield (first,)
        else:
            yield (first,)
        yield from ((change,) for change in self._changes(number, own))

    def _by_webhook(self, number: str, total: Decimal, partner: str | None) -> Iterator[tuple[Step, ...]]:
        """A page, and the shop's events with their times, which arrive in any order; the payment may come
        without the order's number."""
        rng = self._rng
        paid: dict[str, Any] = {"total": str(total), "currency": "EUR", "state": "paid", "updated_at": _EPOCH}
        loose = partner is not None and rng.random() < 0.3
        if not loose:
            paid |= {"id": number, "numbers": [f"internal-{number}"] if rng.random() < 0.3 else []}
        events = [Step(paid, named=loose)]
        for at, change in enumerate(self._changes(number, total, corrections=not loose), 1):
            assert change.body is not None
            events.append(Step({**change.body, "updated_at": _EPOCH + 60 * at}))
        if rng.random() < 0.3:
            rng.shuffle(events)
        if rng.random() < 0.2:
            yield (Step(), events.pop(0))
        else:
            events.insert(rng.randint(0, min(1, len(events))), Step())
        yield from ((event,) for event in events)

    def _changes(self, number: str, total: Decimal, *, corrections: bool = True) -> Iterator[Step]:
        """What the shop's server says later: another amount, refunds, a cancellation."""
        rng, left = self._rng, total
        if corrections and rng.random() < 0.15:
            left = (total * rng.randrange(60, 140) / 100).quantize(Decimal("0.01"))
            yield Step({"id": number, "total": str(left), "currency": "EUR"})
        refunds: list[dict[str, str]] = []
        while rng.random() < 0.12 and left > 1:
            whole = rng.random() < 0.3
            back = left if whole else (left * rng.randrange(10, 60) / 100).quantize(Decimal("0.01"))
            left -= back
            refunds.append({"id": f"r{len(refunds) + 1}", "amount": str(back)})
            yield Step({"id": number, "currency": "EUR", "refunds": list(refunds)})
        if rng.random() < 0.05:
            yield Step({"id": number, "state": "cancelled"})


def _chosen(rng: random.Random, weights: Mapping[Any, int]) -> Any:
    return rng.choices(list(weights), list(weights.values()))[0]


def _distinct(order: Order) -> bool:
    """Whether all states of the order have different amounts, so that an amount identifies a call."""
    steps = order.steps
    worths: dict[tuple[Decimal, Decimal], Decimal] = {}
    for size in range(1, len(steps) + 1):
        for told in combinations(steps, size):
            found = stand(order, told)
            if found is not None and found.worth:
                worths[found.total, found.refunded] = found.worth
    return len(set(worths.values())) == len(worths)


def agendas(orders: Sequence[Order], writers: int, seed: int) -> tuple[tuple[tuple[Order, int], ...], ...]:
    """For each writer its groups of reports one after the other, each as order and number of the group. Those
    of one order are apart, with others between them."""
    rng = random.Random(f"{seed} agendas")
    found = []
    for writer in range(writers):
        entries = []
        for place, order in enumerate(orders[writer::writers]):
            at = place
            for number in range(len(order.groups)):
                entries.append((at, place, number, order))
                at += rng.choice((0, 0, 1, 3, 10, 40))
        entries.sort(key=lambda entry: entry[:3])
        found.append(tuple((order, number) for *_, number, order in entries))
    return tuple(found)


def troubles(seed: int, count: int, kinds: Mapping[str, int]) -> tuple[tuple[float, str, float], ...]:
    """What fails when: after which part of all reports, what, and for how many seconds. Each of the `kinds`
    comes once before any comes twice; after that they come by their weight."""
    rng = random.Random(f"{seed} troubles")
    first = list(kinds)
    rng.shuffle(first)
    chosen = [*first, *(_chosen(rng, kinds) for _ in range(count))][:count]
    times = sorted(rng.uniform(0.02, 0.97) for _ in chosen)
    return tuple((at, kind, rng.uniform(0.0, 1.5)) for at, kind in zip(times, chosen, strict=True))


def optional(steps: Collection[Step], told: Collection[Step]) -> bool:
    """Whether an order may be missing: the only page that showed it was not delivered."""
    return not told and all(step.once for step in steps)
