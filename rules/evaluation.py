"""Evaluates lines against facts: now, and at later moments.

A line of a usual form is evaluated in Python (`direct`). For the others the facts are converted into one
evaluation context, with only those that the lines use (the conversion costs more than the evaluation). It
evaluates each line at most once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

import cel

from .conditions import Condition, matcher
from .facts import RULE_FACTS, Facts, FactType, LazyFacts, Vocabulary, advance
from .moments import candidates

# Number of contexts that one decision may build to look ahead, some 5 µs each.
LOOKAHEAD = 200

_KINDS: Mapping[FactType, tuple[type, ...]] = {
    "int": (int,),
    "double": (float, int, Decimal),
    "string": (str,),
    "bool": (bool,),
    "map": (Mapping,),
}


@dataclass(frozen=True, slots=True)
class LineExplained:
    """A line and its value now. False may come from `missing` facts or from an `error` in the evaluation.
    `facts` are the values of all facts that it uses, None for those that are not known."""

    line: str
    holds: bool
    missing: tuple[str, ...]
    error: str | None
    facts: Mapping[str, Any]


class Plan:
    """The facts that some lines use, so that a context holds only those."""

    def __init__(self, conditions: Sequence[Condition], vocabulary: Vocabulary = RULE_FACTS) -> None:
        names: dict[str, dict[str, set[str] | None]] = {}
        for reference in (reference for condition in conditions for reference in condition.references):
            group, name, *key = reference.path.split(".", 2)
            wanted = names.setdefault(group, {})
            if reference.whole:
                wanted[name] = None
            elif not key:
                wanted.setdefault(name, set())
            elif (keys := wanted.setdefault(name, set())) is not None:
                keys.update(key)
        self.groups = [
            (
                group,
                [
                    (name, _KINDS[vocabulary.by_name[f"{group}.{name}"].type], keys)
                    for name, keys in names[group].items()
                ],
            )
            for group in vocabulary.groups
            if group in names
        ]
        self.names = {group: frozenset(name for name, _, _ in used) for group, used in self.groups}
        self.functions = matcher(
            {text: p for condition in conditions for text, p in condition.patterns.items()}
        )

    def select(self, facts: Facts) -> dict[str, dict[str, Any]]:
        """The facts in use. Of a map only the values in use, unless it is used as a whole.

        A value of another type than the fact's is ignored: the fact is missing.
        """
        selected: dict[str, dict[str, Any]] = {}
        for group, names in self.groups:
            known = facts.get(group) or {}
            chosen = selected[group] = {}
            for name, kinds, keys in names:
                value = known.get(name)
                if not isinstance(value, kinds):
                    continue
                chosen[name] = (
                    {k: value[k] for k in keys if k in value}
                    if keys and isinstance(value, Mapping)
                    else value
                )
        return selected

    def context(self, selected: dict[str, dict[str, Any]]) -> cel.Context:
        """The evaluation context. Values that the engine does not accept (lone surrogates, a Decimal) are
        converted."""
        try:
            return cel.Context(selected, self.functions)
        except (ValueError, OverflowError):
            return cel.Context(_plain(selected), self.functions)


class Moment:
    """The values of all lines at one moment, evaluated lazily."""

    def __init__(self, conditions: Sequence[Condition], plan: Plan, facts: Facts) -> None:
        self.lazy = facts if isinstance(facts, LazyFacts) else LazyFacts.of(facts)
        self._conditions = conditions
        self._plan = plan
        self._values: dict[int, bool | Exception] = {}

    @cached_property
    def facts(self) -> dict[str, dict[str, Any]]:
        """The facts in use."""
        return self._plan.select(self.lazy.complete())

    @cached_property
    def context(self) -> cel.Context:
        """For the engine. Where every line is of a usual form it is not needed."""
        return self._plan.context(self.facts)

    def value(self, number: int) -> bool | Exception:
        """The value of a line, or the error for which it has none."""
        value = self._values.get(number)
        if value is None:
            value = self._values[number] = self._conditions[number].value(self.context)
        return value

    def all_hold(self, numbers: Sequence[int]) -> bool:
        """Whether all of these lines are true."""
        for number in numbers:
            direct = self._conditions[number].direct
            held = direct(self.lazy) if direct is not None else None
            if not (self.value(number) is True if held is None else held):
                return False
        return True

    def explained(self, number: int) -> LineExplained:
        """The line with the facts that its value depends on."""
        condition = self._conditions[number]
        value = self.value(number)
        references = condition.references
        facts = {reference.path: self._find(reference.path) for reference in references}
        guarded = {reference.path for reference in references if reference.guarded}
        absent = dict.fromkeys(r.path for r in references if not r.guarded and facts[r.path] is None)
        missing: tuple[str, ...] = ()
        error = None
        if isinstance(value, KeyError):
            key = str(value.args[0]).strip("'") if value.args else ""
            named = [path for path in absent if path.rpartition(".")[2] == key or path not in guarded]
            missing = tuple(named) or (key,)
        elif isinstance(value, Exception):
            error = str(value) or type(value).__name__
        return LineExplained(condition.text, value is True, missing, error, facts)

    def _find(self, path: str) -> Any:
        group, name, *key = path.split(".", 2)
        value = self.facts.get(group, {}).get(name)
        if key:
            return value.get(key[0]) if isinstance(value, Mapping) else None
        return value


class Lookahead:
    """A bounded number of later moments."""

    def __init__(self, conditions: Sequence[Condition], plan: Plan, facts: Facts) -> None:
        self._conditions = conditions
        self._plan = plan
        self._facts = facts
        self._moments: dict[int, Moment] = {}

    def moment(self, seconds: int) -> Moment | None:
        """The moment so many seconds from now; None if `LOOKAHEAD` moments were evaluated."""
        found = self._moments.get(seconds)
        if found is None and len(self._moments) < LOOKAHEAD:
            later = advance(self._facts, seconds)
            found = self._moments[seconds] = Moment(self._conditions, self._plan, later)
        return found

    def candidates(self, context: cel.Context, lines: set[int]) -> set[int]:
        """All moments at which the value of one of the lines may change."""
        found: set[int] = set()
        for turn in {turn for number in lines for turn in self._conditions[number].turns}:
            found |= candidates(turn, self._facts, context, self._context)
        return found

    def _context(self, seconds: int) -> cel.Context | None:
        moment = self.moment(seconds)
        return moment.context if moment else None


def _plain(value: Any) -> Any:
    """A value that the engine accepts; None for a value of a type that no fact has."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        pairs = ((str(_plain(str(key))), _plain(held)) for key, held in value.items())
        return {key: held for key, held in pairs if held is not None}
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else None
    return value if isinstance(value, bool | int | float) else None
