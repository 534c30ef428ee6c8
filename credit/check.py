"""Checks the terms of a site: what can never apply, what overlaps, and names that it does not have."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from ..orders.money import is_currency
from ..rules.conditions import ConditionError, compile_line, where
from ..rules.reading import constant, fact_path
from ..rules.syntax import Node, parse
from ..rules.values import Known
from ..settings.draft import Draft, twice
from ..settings.letters import not_ascii
from ..settings.model import Credit, Lookback, Terms
from ..settings.positions import KeyPath
from ..settings.wording import Wording, nearest
from .coupons import folded
from .facts import TERM_FACTS


@dataclass(frozen=True, slots=True)
class _Names:
    """The names that a site has: of partners, of their networks, of its product groups."""

    partners: Sequence[str]
    networks: Sequence[str]
    categories: Sequence[str]

    @property
    def known(self) -> Known:
        """The values that facts of this site can have."""
        found: dict[str, Collection[str]] = {
            "partner.id": self.partners,
            "partner.network": ["", *self.networks],
        }
        return found | {"item.category": self.categories} if self.categories else found


def credit_problems(draft: Draft, today: date) -> Iterator[Wording]:
    """What is wrong with `credit` of a site and with the terms of its partners."""
    credit, path = draft.site.credit, (*draft.path, "credit")
    names = _names(draft, credit)
    yield from _models(credit, path)
    yield from _windows(credit, path, names)
    yield from _rules(credit, path, names)
    yield from _codes(draft)
    yield from _coupons(draft)
    for number, network in enumerate(credit.soft_networks):
        place = (*path, "soft_networks", number)
        yield from _unknown(place, network, names.networks, "partner in the network")
    shared = [((*path, "terms", n), terms) for n, terms in enumerate(credit.terms)]
    yield from _all_terms(shared, names, today)
    for number, partner in draft.partners:
        place = (*draft.path, "partners", number, "terms")
        own = [((*place, n), terms) for n, terms in enumerate(partner.terms)]
        yield from _all_terms(own, names, today)


def _coupons(draft: Draft) -> Iterator[Wording]:
    """Coupons of agents' offers that would move a partner's commission, or have the same name."""
    partners = {folded(code): partner.id for _, partner in draft.partners for code in partner.codes}
    names: set[str] = set()
    for number, coupon in enumerate(draft.site.offers.coupons):
        place = (*draft.path, "offers", "coupons", number)
        if coupon.name in names:
            yield Wording((*place, "name"), f"{coupon.name!r} is there twice", "give each its own name")
        names.add(coupon.name)
        if coupon.code is not None and (owner := partners.get(folded(coupon.code))) is not None:
            why = f"{coupon.code!r} is a code of the partner {owner}, who earns by it"
            yield Wording((*place, "code"), why, "send agents' offers with a code of the shop's own")


def _names(draft: Draft, credit: Credit) -> _Names:
    """The id counts even of a partner with other errors."""
    raw = draft.raw.get("partners")
    tables: list[Mapping[str, Any]] = [t for t in raw if isinstance(t, dict)] if isinstance(raw, list) else []
    networks = [str(table["network"]) for table in tables if table.get("network")]
    return _Names([str(table.get("id")) for table in tables], networks, credit.categories)


def _models(credit: Credit, path: KeyPath) -> Iterator[Wording]:
    for number, model in enumerate(credit.compare):
        if model == credit.model or model in credit.compare[:number]:
            why = "is the model that pays" if model == credit.model else "is in the list already"
            yield Wording((*path, "compare", number), f"{model!r} {why}", "remove it", "warning")


def _windows(credit: Credit, path: KeyPath, names: _Names) -> Iterator[Wording]:
    for number, window in enumerate(credit.lookback):
        place = (*path, "lookback", number)
        if window.partner is not None:
            yield from _unknown((*place, "partner"), window.partner, names.partners, "partner")
        if window.network is not None:
            what = "partner in the network"
            yield from _unknown((*place, "network"), window.network, names.networks, what)
        before = next((n for n, w in enumerate(credit.lookback[:number]) if _wider(w, window)), None)
        if before is not None:
            message = f"never applies: entry {before + 1} applies to all that it applies to, and comes first"
            yield Wording(place, message, "move it before that entry, or remove it")


def _wider(before: Lookback, after: Lookback) -> bool:
    names = ("network", "partner", "channel")
    pairs = [(getattr(before, name), getattr(after, name)) for name in names]
    return all(wide is None or wide == narrow for wide, narrow in pairs)


def _rules(credit: Credit, path: KeyPath, names: _Names) -> Iterator[Wording]:
    """Rules for channels, and agreements between partners."""
    yield from twice(
        [((*path, "channels", n, "name"), r.name) for n, r in enumerate(credit.channels)], _TWICE
    )
    for number, rule in enumerate(credit.channels):
        place = (*path, "channels", number)
        for n, partner in enumerate(rule.partners):
            yield from _unknown((*place, "partners", n), partner, names.partners, "partner")
        yield from _lines(place, rule.when, names, items=False)
    yield from twice([((*path, "splits", n, "name"), s.name) for n, s in enumerate(credit.splits)], _TWICE)
    for number, split in enumerate(credit.splits):
        place = (*path, "splits", number)
        yield from _unknown((*place, "of"), split.of, names.partners, "partner")
        for partner in split.to:
            yield from _unknown((*place, "to", partner), partner, names.partners, "partner")
            if partner == split.of:
                hint = "name the others only: it keeps the rest"
                yield Wording((*place, "to", partner), "a partner cannot give a part to itself", hint)
        if (whole := sum(split.to.values())) > 100:
            yield Wording((*place, "to"), f"comes to {whole} %", "write parts that come to at most 100")
        yield from _lines(place, split.when, names, items=False)


_TWICE = "another entry has the name {!r}"


def _codes(draft: Draft) -> Iterator[Wording]:
    codes = []
    for number, partner in draft.partners:
        for n, code in enumerate(partner.codes):
            place = (*draft.path, "partners", number, "codes", n)
            if not code.strip():
                yield Wording(place, "is empty", "write the code, or remove it")
            codes.append((place, folded(code)))
    yield from twice(codes, "the code {!r} is bound already: one code belongs to one partner")


def _all_terms(entries: Sequence[tuple[KeyPath, Terms]], names: _Names, today: date) -> Iterator[Wording]:
    yield from twice([((*place, "name"), terms.name) for place, terms in entries], _TWICE)
    for number, (place, terms) in enumerate(entries):
        yield from _amounts(place, terms)
        yield from _period(place, terms, today)
        yield from _lines(place, terms.when, names, items=terms.pay is None)
        same_kind = [one for _, one in entries[:number] if (one.pay is None) == (terms.pay is None)]
        yield from _hidden(place, terms, same_kind)


def _amounts(place: KeyPath, terms: Terms) -> Iterator[Wording]:
    rates = [name for name in ("percent", "fixed", "per_item") if getattr(terms, name) is not None]
    if terms.report_only and (rates or terms.pay is not None):
        message = "`report_only` pays nothing, and the entry has an amount"
        yield Wording((*place, "report_only"), message, "remove one of them")
    elif terms.pay is not None and (rates or terms.cap is not None):
        message = "`pay` says how much is paid of what the rates give, and the entry has a rate too"
        yield Wording((*place, "pay"), message, "make two entries of it")
    elif not rates and terms.pay is None and not terms.report_only:
        hint = "write percent, fixed or per_item; or pay, or report_only"
        yield Wording(place, "says nothing of what is paid", hint)
    money = [name for name in ("fixed", "per_item", "cap") if getattr(terms, name) is not None]
    if money and terms.currency is None:
        yield Wording(
            place, f"`{money[0]}` is an amount of money without a currency", 'write currency = "EUR"'
        )
    if terms.currency is not None and not is_currency(terms.currency):
        message = f"{terms.currency!r} is not an ISO 4217 code"
        yield Wording((*place, "currency"), message, 'write for example "EUR"')


def _period(place: KeyPath, terms: Terms, today: date) -> Iterator[Wording]:
    if terms.since is not None and terms.until is not None and terms.until < terms.since:
        message = f"ends on {terms.until}, before it begins on {terms.since}"
        yield Wording((*place, "until"), message, "exchange the two dates, or correct one")
    elif terms.until is not None and terms.until < today:
        message = f"{terms.until} is past: it applies to no new order"
        yield Wording((*place, "until"), message, "remove the entry, or write a later day", "warning")


def _hidden(place: KeyPath, terms: Terms, before: Iterable[Terms]) -> Iterator[Wording]:
    """Entries that leave nothing for this one, or share a time with it under the same conditions."""
    for one in before:
        if one.currency not in (None, terms.currency) or not set(one.when) <= set(terms.when):
            continue
        if one.renewals == "none" and terms.renewals != "none":
            continue
        if _covers(one, terms):
            message = f"never applies: {one.name} applies to all that it applies to, and comes first"
            yield Wording(place, message, f"move it before {one.name}, or remove it")
            return
        if set(one.when) == set(terms.when) and _overlap(one, terms):
            message = f"its period overlaps with that of {one.name}, which comes first and applies then"
            yield Wording(place, message, "correct the dates, or the order of the entries", "warning")
            return


_EARLIEST, _LATEST = date.min, date.max


def _span(terms: Terms) -> tuple[date, date]:
    return terms.since or _EARLIEST, terms.until or _LATEST


def _covers(one: Terms, other: Terms) -> bool:
    (since, until), (after, before) = _span(one), _span(other)
    return since <= after and until >= before


def _overlap(one: Terms, other: Terms) -> bool:
    """Whether they share days, and the first is not inside the other, as a trial before the rest."""
    (since, until), (after, before) = _span(one), _span(other)
    shared = since <= before and after <= until
    return shared and not (after <= since and until <= before)


def _lines(place: KeyPath, lines: Sequence[str], names: _Names, *, items: bool) -> Iterator[Wording]:
    """What is wrong with conditions: each line, and lines that are never true together."""
    said: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(lines):
        path = (*place, "when", number)
        try:
            condition = compile_line(line, names.known, TERM_FACTS)
        except ConditionError as error:
            for problem in error.problems:
                at = where(line, problem.at)
                yield Wording(path, f"{at}: {problem.message}" if at else problem.message, problem.hint)
            continue
        if not items and any(r.path.startswith("item.") for r in condition.references):
            hint = "use an `order.` fact, or a rate"
            yield Wording(path, "`item.` facts are for rates only: this is about the whole order", hint)
        for fact, value in _equalities(line, parse(line)):
            if said.setdefault(fact, (value, number))[0] != value:
                message = f"is never true together with line {said[fact][1] + 1}: `{fact}` has one value"
                yield Wording(path, message, "write both in one line with ||, or make two entries")


def _equalities(line: str, node: Node) -> Iterator[tuple[str, str]]:
    """The facts that must equal a constant where the line is true."""
    if node.kind == "binary" and node.value == "&&":
        for part in node.parts:
            yield from _equalities(line, part)
    elif node.kind == "binary" and node.value == "==":
        for fact, value in (node.parts, node.parts[::-1]):
            path = fact_path(line, fact) if value.kind in ("string", "int", "bool") else None
            if path is not None:
                yield ".".join(path), repr(constant(line, value))


def _unknown(path: KeyPath, name: str, known: Collection[str], what: str) -> Iterator[Wording]:
    """An error if a name is not one of those that the site has."""
    if name not in known:
        hint = nearest(name, known) if known else "add it first"
        yield Wording(path, f"the site has no {what} {name!r}{not_ascii(name)}", hint)
