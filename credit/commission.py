"""What each partner earns by its part of an order: rates by item, caps, what is paid of it, the chat
operator's part. Amounts are exact until the end, and rounded by largest remainder."""

from calendar import monthrange
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import re2  # type: ignore[import-untyped]

from ..orders.money import minor_digits
from .attribution import Claim, facts_of
from .division import divide
from .facts import lines_of, of_item
from .inputs import Inputs
from .sale import Base, Sale, bases
from .terms import Rate, Terms
from .words import percent, plain

_OF_IT = "of it "
_IS_PAID = re2.compile(r"^of it ([0-9.]{1,10}) % is paid: terms ")


@dataclass(frozen=True, slots=True)
class Commission:
    """What a partner earns by an order, in its currency: `amount` for the partner, `operator` for the chat's
    operator. `lines` say how it came about. `unpaid` says why the order is reported and not paid. `hold_days`
    is the longest hold period of the terms that gave it, None if they have none."""

    amount: Decimal
    currency: str
    operator: Decimal = Decimal()
    lines: tuple[str, ...] = ()
    unpaid: str = ""
    hold_days: int | None = None


def commissions(claims: Sequence[Claim], inputs: Inputs, terms: Terms) -> list[Commission | None]:
    """The commission of each claim; None for all where the site has no terms, or the amount is not known.
    They add up to the commission of the order, to the last minor unit."""
    sale = inputs.sale
    if sale is None or sale.currency is None or not terms.further.rates:
        return [None] * len(claims)
    digits = minor_digits(sale.currency)
    earned = [_earned(claim, sale, inputs, terms, digits) for claim in claims]
    exact = [one.exact for one in earned]
    # Halves are rounded up, as on an invoice.
    total = int(sum(exact, Fraction()) + Fraction(1, 2))
    units = divide(total, exact)
    operator = Fraction(terms.further.operator) / 100 if inputs.channel == "chat" else Fraction()
    found: list[Commission | None] = []
    for one, unit in zip(earned, units, strict=True):
        own, other = divide(unit, [1 - operator, operator])
        lines = list(one.lines)
        if other:
            name = terms.further.operator_name or "the chat's operator"
            part = percent(terms.further.operator / 100)
            lines.append(f"of it {part} to {name}: {_money(other, digits)} {sale.currency}")
        found.append(
            Commission(
                Decimal(own).scaleb(-digits),
                sale.currency,
                Decimal(other).scaleb(-digits),
                tuple(lines),
                one.unpaid,
                one.hold_days,
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class _Earned:
    exact: Fraction
    lines: tuple[str, ...]
    unpaid: str = ""
    hold_days: int | None = None


def _earned(claim: Claim, sale: Sale, inputs: Inputs, terms: Terms, digits: int) -> _Earned:
    """What a claim earns, in minor units, exactly."""
    if not sale.sold or (sale.total and not sale.paid):
        return _Earned(Fraction(), ("nothing is left of the order",), claim.unpaid)
    if claim.unpaid:
        return _Earned(Fraction(), (f"reported, not paid: {claim.unpaid}",), claim.unpaid)
    facts = facts_of(claim, inputs, terms)
    own = [rate for rate in terms.further.rates if _is_for(rate, claim, sale, inputs)]
    lines: list[str] = []
    whole, unpaid = Fraction(), ""
    holds: list[int] = []
    for rate, found in _by_rate([r for r in own if r.pay is None], bases(sale), facts):
        if rate is None:
            names = ", ".join(base.line.id for base in found if base.line is not None)
            lines.append(f"no terms for {names or 'the order'}: nothing")
            continue
        amount = _amount(rate, found, digits)
        holds += [] if rate.hold_days is None else [rate.hold_days]
        if rate.unpaid:
            unpaid = f"terms {rate.name}"
        lines.append(_said(rate, found, amount, digits, sale.currency or ""))
        whole += amount
    paid = next((r for r in own if r.pay is not None and lines_of(r.when).hold(facts)), None)
    if paid is not None and paid.pay is not None:
        whole = whole * Fraction(paid.pay) / 100
        lines.append(f"{_OF_IT}{percent(paid.pay / 100)} is paid: terms {paid.name}")
    if claim.part != 1:
        lines.append(f"its part of the order: {percent(claim.part)}")
    return _Earned(whole * Fraction(claim.part), tuple(lines), unpaid, max(holds, default=None))


def paid_part(lines: Iterable[str]) -> Decimal:
    """How much of what the rates give is paid, from 0 to 1, by the lines of a commission."""
    found = next(filter(None, map(_IS_PAID.match, lines)), None)
    return Decimal(1) if found is None else Decimal(found[1]) / 100


def _is_for(rate: Rate, claim: Claim, sale: Sale, inputs: Inputs) -> bool:
    """Whether a rate can apply at all: its partner, its period, its currency, renewals."""
    if rate.partners and claim.partner not in rate.partners:
        return False
    if rate.since is not None and inputs.order_time < rate.since:
        return False
    if rate.until is not None and inputs.order_time >= rate.until:
        return False
    if rate.currency is not None and rate.currency != sale.currency:
        return False
    if not sale.recurring or rate.pay is not None or rate.months is None:
        return True
    first = sale.beside.first_at
    return first is not None and inputs.order_time < _months_after(first, rate.months)


def _months_after(first: float, months: int) -> float:
    """The same day and time so many months later, or the last day of a shorter month; in UTC."""
    begun = datetime.fromtimestamp(first, UTC)
    years, month = divmod(begun.month - 1 + months, 12)
    year = begun.year + years
    day = min(begun.day, monthrange(year, month + 1)[1])
    return begun.replace(year=year, month=month + 1, day=day).timestamp()


def _by_rate(
    rates: Sequence[Rate], found: Sequence[Base], facts: Mapping[str, Mapping[str, object]]
) -> Iterator[tuple[Rate | None, list[Base]]]:
    """The lines of the order by the first rate that applies to each, in the order of the rates; at last those
    without any."""
    chosen: dict[int | None, list[Base]] = {}
    for base in found:
        own = {**facts, "item": of_item(base.line)}
        place = next((n for n, r in enumerate(rates) if lines_of(r.when).hold(own)), None)
        chosen.setdefault(place, []).append(base)
    for place, rate in enumerate(rates):
        if place in chosen:
            yield rate, chosen[place]
    if None in chosen:
        yield None, chosen[None]


def _amount(rate: Rate, found: Sequence[Base], digits: int) -> Fraction:
    """What a rate gives for these lines, in minor units."""
    if rate.unpaid:
        return Fraction()
    scale = Fraction(10**digits)
    amount = Fraction(rate.percent or 0) / 100 * sum(base.units for base in found)
    if any(base.units or base.pieces for base in found) or all(base.line is None for base in found):
        amount += Fraction(rate.fixed or 0) * scale
    amount += Fraction(rate.per_item or 0) * scale * sum((base.pieces for base in found), Fraction())
    return amount if rate.cap is None else min(amount, Fraction(rate.cap) * scale)


def _said(rate: Rate, found: Sequence[Base], amount: Fraction, digits: int, currency: str) -> str:
    """How a rate came to its amount, as text."""
    if rate.unpaid:
        return f"reported, not paid: terms {rate.name}"
    units = sum(base.units for base in found)
    how = []
    if rate.percent is not None:
        how.append(f"{plain(rate.percent)} % of {_money(units, digits)}")
    if rate.fixed is not None:
        how.append(f"{plain(rate.fixed)} for the order")
    if rate.per_item is not None:
        pieces = sum((base.pieces for base in found), Fraction())
        number = plain(Decimal(pieces.numerator) / pieces.denominator)
        how.append(f"{plain(rate.per_item)} for each of {number} pieces")
    most = f", at most {plain(rate.cap)}" if rate.cap is not None else ""
    names = ", ".join(base.line.id for base in found if base.line is not None)
    what = f" for {names}" if names else ""
    return f"terms {rate.name}{what}: {' and '.join(how)}{most} = {_exact(amount, digits)} {currency}"


def _money(units: int, digits: int) -> str:
    return f"{Decimal(units).scaleb(-digits):f}"


def _exact(amount: Fraction, digits: int) -> str:
    """An amount before it is rounded, with up to four digits more than the currency has."""
    value = (Decimal(amount.numerator) / amount.denominator).scaleb(-digits)
    short = round(value, digits)
    return f"{short:f}" if short == value else f"{round(value, digits + 4).normalize():f}"
