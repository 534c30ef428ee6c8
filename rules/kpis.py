"""The five figures by which conversations are valued: revenue, conversion, satisfaction, utilisation and
contact volume; with what they cost and what that brings. No I/O. Source: seed B18, B19, B22, B24, B26."""

from collections.abc import Mapping
from decimal import Decimal

from msgspec import Struct

from ..settings.model.invites import Costs
from .sums import Sums, amounts

DAYS_A_MONTH = Decimal("30.4375")
NONE = Decimal()


class Staff(Struct, frozen=True):
    """How long agents were there, in seconds; `places` is the same times the conversations that each takes at
    once."""

    seconds: float = 0.0
    places: float = 0.0

    def plus(self, other: "Staff") -> "Staff":
        """Both together."""
        return Staff(self.seconds + other.seconds, self.places + other.places)


class Whole(Struct, frozen=True):
    """All conversations of a time, of which a line is a part: `work` in seconds, `days` of the calendar.
    `capacity` is how many conversations an agent takes at once, where nobody was seen to be there."""

    talks: Decimal
    work: Decimal
    days: Decimal
    capacity: int


class Kpi(Struct, frozen=True):
    """What some conversations come to.

    `talks` is the contact volume, `post` those of them that began after the visitor had bought: they are in
    no other figure of sales. `ordered` of the others led to `orders`; `revenue` is what was paid and not
    given back, `commission` what partners earn by it. `satisfied` of `ratings` gave 4 or 5. `utilisation` is
    the part of the agents' places that these conversations took, None where it is not known who was there.
    `cost` is in the currency of the costs, None where no cost is set; `roi` is what is left of the revenue
    (of its margin) for each unit of cost. `order` is the average order, `before` and `after` the cart at the
    invite and at the order, of those where both are known; all by currency.
    """

    talks: int
    post: int
    ordered: int
    orders: int
    revenue: Mapping[str, Decimal]
    commission: Mapping[str, Decimal]
    ratings: int
    satisfied: int
    stars: int
    answered: int
    work: Decimal
    utilisation: float | None
    cost: Decimal | None
    per_contact: Decimal | None
    roi: Decimal | None
    order: Mapping[str, Decimal]
    before: Mapping[str, Decimal]
    after: Mapping[str, Decimal]
    carts: Mapping[str, int]

    @property
    def sales_talks(self) -> int:
        """The conversations that could bring an order."""
        return self.talks - self.post

    @property
    def rating(self) -> float | None:
        """The average of 1 to 5."""
        return self.stars / self.ratings if self.ratings else None


def kpi_of(
    sums: Sums,
    costs: Costs,
    whole: Whole,
    staff: Staff,
    *,
    own_staff: bool = False,
    everything: bool = False,
) -> Kpi:
    """The figures of a line. `staff` are all agents of the time; with `own_staff` only those of the line,
    whose hours it costs as a whole. `everything`: the line is all of the time, and costs what there was to
    pay, also if nobody wrote."""
    talks, work = sums.get("talks", NONE), sums.get("work", NONE)
    revenue, commission = amounts(sums, "revenue"), amounts(sums, "commission")
    of_month = Decimal(1) if everything else _part(talks, whole.talks)
    of_hours = Decimal(1) if everything or own_staff else _part(work, whole.work) if whole.work else of_month
    cost = _cost(sums, costs, whole, staff, (of_hours, of_month), commission.get(costs.currency, NONE))
    brought = revenue.get(costs.currency, NONE) * costs.margin / 100
    counted, carts = amounts(sums, "orders"), amounts(sums, "carts")
    return Kpi(
        talks=int(talks),
        post=int(sums.get("post", NONE)),
        ordered=int(sums.get("ordered", NONE)),
        orders=int(sums.get("orders", NONE)),
        revenue=revenue,
        commission=commission,
        ratings=int(sums.get("ratings", NONE)),
        satisfied=int(sums.get("satisfied", NONE)),
        stars=int(sums.get("stars", NONE)),
        answered=int(sums.get("answered", NONE)),
        work=work,
        utilisation=float(work) / staff.places if staff.places else None,
        cost=cost,
        per_contact=cost / talks if cost is not None and talks else None,
        roi=(brought - cost) / cost if cost else None,
        order={name: revenue.get(name, NONE) / n for name, n in counted.items()},
        before={name: value / carts[name] for name, value in amounts(sums, "before").items()},
        after={name: value / carts[name] for name, value in amounts(sums, "after").items()},
        carts={name: int(value) for name, value in carts.items()},
    )


def _cost(
    sums: Sums, costs: Costs, whole: Whole, staff: Staff, parts: tuple[Decimal, Decimal], commission: Decimal
) -> Decimal | None:
    """Agents' hours, the provider's fee, the monthly cost, and what partners earn. `parts`: of the hours and
    of the monthly cost that the line bears."""
    if not (costs.agent_hour or costs.conversation or costs.month):
        return None
    hours = Decimal(str(round(staff.seconds, 3))) / 3600 * parts[0]
    if not staff.seconds:
        hours = sums.get("work", NONE) / 3600 / whole.capacity
    months = whole.days / DAYS_A_MONTH
    return (
        costs.agent_hour * hours
        + costs.conversation * sums.get("talks", NONE)
        + costs.month * months * parts[1]
        + commission
    )


def _part(of: Decimal, whole: Decimal) -> Decimal:
    return of / whole if whole else NONE
