"""The rules of one site: which of them acts now, when to evaluate them next, and why. No I/O."""

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from msgspec import Struct

from ..settings.model import Rule
from .compiler import Compiler, RuleErrors
from .evaluation import DEAR_SECONDS, Budget, Explained, Lookahead, Moment, Plan
from .facts import RULE_FACTS, Facts, Vocabulary, advance
from .moments import HORIZON, Wait
from .ranked import EVENT, Ranked, Refuse, blocks_of, first_of
from .trees import Tree, numbers
from .values import NONE_KNOWN, Known


class Decision(Struct, frozen=True):
    """The rule that acts now, if any, and in how many seconds to decide again. `retry_after` is None if the
    decision does not change with time. `signals` are what the browser should tell, so that it is decided
    again. `late`: lines were left out because the decision took too long."""

    rule: Rule | None
    retry_after: float | None
    signals: tuple[str, ...] = ()
    late: bool = False


Verdict = Literal["acts", "behind", "armed", "fails", "skipped", "disabled"]


@dataclass(frozen=True, slots=True)
class RuleExplained:
    """Why a rule acts or does not act.

    `acts`: it is the decision. `behind`: all its lines are true, but another rule comes first.
    `armed`: they are, and it waits for a signal of the browser. `fails`: line
    `failed` (the index of the first) is not true; in `retry_after` seconds all of them would be true if only
    time passes. `skipped`: the caller refuses it, for the reason in `why`, also if it `fails`.
    `disabled`: by the settings.
    """

    rule: Rule
    verdict: Verdict
    failed: int | None
    lines: tuple[Explained, ...]
    retry_after: float | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision, and every rule in order of evaluation. `standing` are lines about the visitor, which the
    caller adds."""

    decision: Decision
    rules: tuple[RuleExplained, ...]
    standing: tuple[str, ...] = ()


class Reach(Struct, frozen=True):
    """Whether a rule comes to act on a page: in how many seconds all its lines are true, else which of them
    (its index) is in the way."""

    rule: Rule
    after: float | None
    failed: int | None


class RuleSet:
    """Compiled rules in the order in which they are asked: higher priorities first, then forced ones, then
    those with more lines, then with more facts, then by name; default rules come last.

    Raises RuleErrors with everything that is wrong, also in disabled rules. `known` are the values that facts
    of this site can have: to compare with any other is an error.
    """

    def __init__(
        self, rules: Sequence[Rule], known: Known = NONE_KNOWN, vocabulary: Vocabulary = RULE_FACTS
    ) -> None:
        compiler = Compiler(rules, known, vocabulary)
        if compiler.problems:
            raise RuleErrors(compiler.problems)
        self._conditions = compiler.conditions
        self._order = compiler.ranked
        self._blocks = blocks_of(self._order)
        self._plan = Plan(self._conditions, vocabulary)
        self._engine = Plan([c for c in self._conditions if c.direct is None], vocabulary)
        self._timed_plan = Plan([c for c in self._conditions if c.turns], vocabulary)
        # All that the browser may tell.
        self.signals = frozenset(
            signal
            for one in self._order
            for signal in (*one.rule.on, *(f"{EVENT} {name}" for name in one.rule.cancel_on))
        )
        # By signal of an event the rules whose invites it withdraws.
        self.cancels: dict[str, set[str]] = {}
        for one in self._order:
            for name in one.rule.cancel_on:
                self.cancels.setdefault(f"{EVENT} {name}", set()).add(one.rule.name)
        # The names of the facts that the lines use, by group: a decision needs no others.
        self.facts = self._plan.names

    @property
    def order(self) -> Sequence[Rule]:
        """The rules in the order in which they are asked."""
        return [one.rule for one in self._order]

    def decide(
        self, facts: Facts, refuse: Refuse | None = None, told: Container[str] = frozenset()
    ) -> Decision:
        """The first rule whose conditions are all true and that is not refused; never raises. `told` are the
        signals that the browser has told on this page.

        `retry_after` is the earliest moment, in whole seconds from now (1 to 1800), at which the decision
        would change with time alone: a rule before the one that acts becomes true, or the one that acts
        becomes false, or a refusal ends. A rule that waits does not delay a later one that is true. If more
        would have to be evaluated than a decision may (`evaluation.LOOKAHEAD`), `retry_after` may be earlier
        than that, and at most half a minute later.
        """
        moment = Moment(self._conditions, self._plan, facts, self._engine, Budget(DEAR_SECONDS))
        return self._decide(moment, refuse, told)[0]

    def _decide(
        self, moment: Moment, refuse: Refuse | None, told: Container[str]
    ) -> tuple[Decision, Ranked | None]:
        found = first_of(self._blocks, moment.truth, moment.truths, refuse, told)
        winner = found.winner
        timed = found.waiting or (winner and winner.timed)
        retry_after = self._retry_after(moment, found.waiting, winner) if timed else None
        if found.refused:
            ends = float(max(1, math.ceil(min(found.refused))))
            retry_after = ends if retry_after is None else min(retry_after, ends)
        signals = found.signals(told) if self.signals else ()
        late = moment.budget.late
        return Decision(winner.rule if winner else None, retry_after, signals, late), winner

    def _retry_after(self, moment: Moment, waiting: Sequence[Ranked], winner: Ranked | None) -> float | None:
        """`waiting` are rules of which only conditions with facts of time are false."""
        simple = {one.waits for one in waiting if one.waits is not None}
        due = min((due for waits in simple if (due := _due(waits, moment.lazy)) is not None), default=None)
        searched = dict.fromkeys(one.timed for one in waiting if one.waits is None)
        ends = winner.timed if winner is not None and winner.waits is None else ()
        if not searched and not ends:
            return due
        ahead = Lookahead(self._conditions, self._timed_plan, moment.lazy.complete(), moment.budget)
        return ahead.first(moment, [*searched], ends, due)

    @cached_property
    def asked(self) -> Mapping[str, frozenset[str]]:
        """The full names of the facts that the lines of each rule use, by the rule's name."""
        return {
            one.rule.name: frozenset(
                ".".join(reference.path.split(".")[:2])
                for tree in one.conditions
                for number in numbers(tree)
                for reference in self._conditions[number].references
            )
            for one in self._order
        }

    @cached_property
    def lines(self) -> Mapping[str, tuple[str, ...]]:
        """The lines of each rule in words, by the rule's name; of a table of lines, all of it."""
        return {one.rule.name: tuple(map(self._words, one.conditions)) for one in self._order}

    def _words(self, tree: Tree) -> str:
        if isinstance(tree, int):
            return self._conditions[tree].text
        return f"{tree.kind} [{', '.join(map(self._words, tree.parts))}]"

    def reach(self, facts: Facts, within: float) -> Iterator[Reach]:
        """Of each enabled rule, in the order in which they are asked: whether all its lines become true
        within so many seconds, if nothing changes but time. What else may keep a rule from acting is not
        looked at."""
        moment = Moment(self._conditions, self._plan, facts, self._engine)
        for one in self._order:
            if one.rule.enabled:
                yield self._reach(one, moment, within)

    def _reach(self, one: Ranked, moment: Moment, within: float) -> Reach:
        late: int | None = None
        for place, condition in enumerate(one.conditions):
            if moment.truth(condition) is not True:
                if condition not in one.timed:
                    return Reach(one.rule, None, place)
                late = place if late is None else late
        if late is None:
            return Reach(one.rule, 0.0, None)
        after = self._retry_after(moment, [one], None)
        if after is None or after > within:
            return Reach(one.rule, None, late)
        if one.waits is None:
            # At the bounds of looking ahead it is only the moment to look again.
            later = Moment(self._conditions, self._plan, advance(moment.lazy.complete(), int(after)))
            if not later.all_hold(one.timed):
                return Reach(one.rule, None, late)
        return Reach(one.rule, after, None)

    def explain(
        self, facts: Facts, refuse: Refuse | None = None, told: Container[str] = frozenset()
    ) -> Explanation:
        """The result of `decide` with every line of every rule."""
        moment = Moment(self._conditions, self._plan, facts)
        decision, winner = self._decide(moment, refuse, told)
        return Explanation(
            decision, tuple(self._explained(one, moment, refuse, told, one is winner) for one in self._order)
        )

    def _explained(
        self, one: Ranked, moment: Moment, refuse: Refuse | None, told: Container[str], wins: bool
    ) -> RuleExplained:
        rule = one.rule
        lines = tuple(moment.explained(condition) for condition in one.conditions)
        failed = next((place for place, line in enumerate(lines) if not line.holds), None)
        refusal = refuse(rule, failed is not None) if refuse is not None and not wins else None
        retry_after = None
        verdict: Verdict
        if not rule.enabled:
            verdict = "disabled"
        elif failed is None and refusal is not None:
            verdict = "skipped"
        elif failed is None and not one.signalled(told):
            verdict = "armed"
        elif failed is None:
            verdict = "acts" if wins else "behind"
        else:
            verdict = "fails"
            if moment.all_hold(one.timeless):
                retry_after = self._retry_after(moment, [one], None)
        why = refusal.why if refusal is not None and rule.enabled else ""
        return RuleExplained(rule, verdict, failed, lines, retry_after, why)


def _due(waits: Sequence[Wait], facts: Facts) -> float | None:
    """In how many seconds all of these are true; None if not within the horizon, or a time is not known."""
    found = 0
    for wait in waits:
        now = facts[wait.group].get(wait.name)
        if type(now) is not int:
            return None
        found = max(found, wait.seconds - now)
    return float(found) if 1 <= found <= HORIZON else None
