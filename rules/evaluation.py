"""Evaluates lines against facts: now, and at later moments.

A line of a usual form is evaluated in Python (`direct`). For the others the facts are converted into one
evaluation context, with only those that the lines use (the conversion costs more than the evaluation). It
evaluates each line at most once.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from time import perf_counter, thread_time
from typing import Any, Final, Literal

import cel

from .conditions import Condition, matcher
from .direct import ASK
from .facts import RULE_FACTS, Facts, FactType, LazyFacts, Vocabulary, advance
from .moments import HORIZON, Turn, candidates
from .trees import Tree, numbers, truth_of

# What one decision may do to look ahead: moments, some 5 µs each, comparisons whose moments are searched, and
# rules that are evaluated at a moment.
LOOKAHEAD = 200
SEARCHED = 200
EVALUATED = 4000
LOOKAHEAD_SECONDS = 30.0

DEAR_SECONDS = 0.05
"""CPU time of a decision. A dear line that is asked after it has no value: thousands of patterns that are
slow with the address of a page would else hold up all sites of a host."""

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


@dataclass(frozen=True, slots=True)
class BranchExplained:
    """Several lines, of which all, any or none have to be true, and whether that is so."""

    kind: Literal["all", "any", "not"]
    holds: bool
    parts: tuple["Explained", ...]


Explained = LineExplained | BranchExplained


class Plan:
    """The facts that some lines use, so that a context holds only those."""

    def __init__(self, conditions: Sequence[Condition], vocabulary: Vocabulary = RULE_FACTS) -> None:
        names: dict[str, dict[str, set[str] | None]] = {}
        whole: set[tuple[str, str]] = set()
        for reference in (reference for condition in conditions for reference in condition.references):
            group, name, *key = reference.path.split(".", 2)
            wanted = names.setdefault(group, {})
            if not key:
                whole.add((group, name))
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
        # Maps of which only values are asked for: of one that is not known, no value is.
        self._by_key = {
            (group, name) for group, used in self.groups for name, _, keys in used if keys
        } - whole
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
            known = facts[group] if isinstance(facts, LazyFacts) else facts.get(group) or {}
            chosen = selected[group] = {}
            for name, kinds, keys in names:
                value = known.get(name)
                if isinstance(value, Decimal):
                    value = float(value) if value.is_finite() else None
                if not isinstance(value, kinds):
                    if (group, name) in self._by_key:
                        chosen[name] = {}
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


class Budget:
    """The time of a decision. `until` is on `perf_counter`; `late`: something was left out because of it."""

    __slots__ = ("_began", "_seconds", "late", "until")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began = thread_time()
        self.until = perf_counter() + seconds
        self.late = False

    def over(self) -> bool:
        """Whether it is used up; to be asked after `until`. What other programs and threads took in between
        does not count."""
        left = self._seconds - (thread_time() - self._began)
        if left > 0:
            self.until = perf_counter() + left
        else:
            self.late = True
        return self.late


class Moment:
    """The values of all lines at one moment, each found at most once, when it is first asked for.

    `engine` has the facts of the lines that are not told without the engine, None if that is all lines.
    `budget` is the time of all moments of a decision, None for any.
    """

    def __init__(
        self,
        conditions: Sequence[Condition],
        plan: Plan,
        facts: Facts,
        engine: Plan | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.budget = _UNBOUND if budget is None else budget
        self.lazy = facts if isinstance(facts, LazyFacts) else LazyFacts.of(facts)
        self._conditions = conditions
        self._plan = plan
        self._engine = engine
        self._values: dict[int, bool | Exception] = {}
        # What `truth` has found.
        self.truths: dict[Tree, object] = {}

    @cached_property
    def facts(self) -> dict[str, dict[str, Any]]:
        """The facts in use."""
        return self._plan.select(self.lazy)

    @cached_property
    def context(self) -> cel.Context:
        """For the engine, with the facts of all lines."""
        return self._plan.context(self.facts)

    @cached_property
    def _smaller(self) -> cel.Context:
        """For the engine, with the facts of those lines that need it."""
        if self._engine is None or "context" in self.__dict__:
            return self.context
        return self._engine.context(self._engine.select(self.lazy))

    def value(self, number: int) -> bool | Exception:
        """The value of a line by the engine, or the error for which it has none."""
        value = self._values.get(number)
        if value is None:
            condition = self._conditions[number]
            value = condition.value(self._smaller if condition.direct is None else self.context)
            self._values[number] = value
        return value

    def truth(self, tree: Tree) -> bool | None:
        """Whether a line or a table of lines is true; None where it has no value."""
        found = self.truths.get(tree, ASK)
        if found is not ASK:
            return found  # type: ignore[return-value]
        if type(tree) is not int:
            found = truth_of(tree, self.truth)
        elif (condition := self._conditions[tree]).dear and self.is_late():
            found = None
        else:
            direct = condition.direct
            found = ASK if direct is None else direct(self.lazy)
            if found is ASK:
                value = self.value(tree)
                found = value if isinstance(value, bool) else None
        self.truths[tree] = found
        return found  # type: ignore[return-value]

    def is_late(self) -> bool:
        """Whether the time of the decision is used up."""
        budget = self.budget
        return budget.late or (perf_counter() > budget.until and budget.over())

    def all_hold(self, trees: Iterable[Tree]) -> bool:
        """Whether all of these are true."""
        return all(self.truth(tree) is True for tree in trees)

    def explained(self, tree: Tree) -> Explained:
        """A line, or each of several, with the facts that its value depends on."""
        if isinstance(tree, int):
            return self._line(tree)
        return BranchExplained(tree.kind, self.truth(tree) is True, tuple(map(self.explained, tree.parts)))

    def _line(self, number: int) -> LineExplained:
        condition = self._conditions[number]
        holds = self.truth(number) is True
        value = holds or self.value(number)
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
        return LineExplained(condition.text, holds, missing, error, facts)

    def _find(self, path: str) -> Any:
        group, name, *key = path.split(".", 2)
        value = self.facts.get(group, {}).get(name)
        if key:
            return value.get(key[0]) if isinstance(value, Mapping) else None
        return value


_UNBOUND: Final = Budget(math.inf)


class Lookahead:
    """A bounded number of later moments."""

    def __init__(
        self, conditions: Sequence[Condition], plan: Plan, facts: Facts, budget: Budget | None = None
    ) -> None:
        self._conditions = conditions
        self._plan = plan
        self._facts = facts
        self._budget = budget
        self._moments: dict[int, Moment] = {}
        self._left = EVALUATED

    def first(
        self, now: Moment, waiting: Sequence[Sequence[Tree]], ends: Sequence[Tree], due: float | None
    ) -> float | None:
        """In how many seconds all conditions of a group of `waiting` are true, or not all of `ends` any more;
        `due` if nothing is earlier. At the bounds it is the first moment that was not evaluated, but not
        earlier than LOOKAHEAD_SECONDS."""
        lines = dict.fromkeys(
            number for trees in (*waiting, ends) for tree in trees for number in numbers(tree)
        )
        turning = dict.fromkeys(turn for number in lines for turn in self._conditions[number].turns)
        within = HORIZON if due is None else int(due) - 1
        for seconds in self._candidates(list(turning), now):
            if seconds > within:
                return due
            later = self.moment(seconds)
            self._left -= len(waiting)
            if later is None or self._left < 0:
                return min(max(float(seconds), LOOKAHEAD_SECONDS), due or HORIZON)
            if any(later.all_hold(trees) for trees in waiting) or (ends and not later.all_hold(ends)):
                return float(seconds)
        # A comparison whose moments were not searched for may change at any time.
        return due if len(turning) <= SEARCHED else min(LOOKAHEAD_SECONDS, due or HORIZON)

    def _candidates(self, turning: Sequence[Turn], now: Moment) -> list[int]:
        """All moments at which the value of a line may change."""
        found: set[int] = set()
        later = self._contexts(now)
        for turn in turning[:SEARCHED]:
            if now.is_late():
                break
            found |= candidates(turn, self._facts, later)
        return sorted(found)

    def moment(self, seconds: int) -> Moment | None:
        """The moment so many seconds from now; None if `LOOKAHEAD` moments were evaluated."""
        found = self._moments.get(seconds)
        if found is None and len(self._moments) < LOOKAHEAD:
            later = advance(self._facts, seconds)
            found = self._moments[seconds] = Moment(self._conditions, self._plan, later, budget=self._budget)
        return found

    def _contexts(self, now: Moment) -> Callable[[int], cel.Context | None]:
        def context(seconds: int) -> cel.Context | None:
            moment = self.moment(seconds) if seconds else now
            return moment.context if moment else None

        return context


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
