"""The rules of one site: which of them acts now, when to evaluate them next, and why. No I/O."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec import Struct

from ..settings.model import Rule
from .conditions import Condition, ConditionError, compile_line, line_of, where
from .evaluation import LineExplained, Lookahead, Moment, Plan
from .facts import Facts
from .values import NONE_KNOWN, Known

RULES = 1000
LINES = 50
# If a decision reaches the limit of the lookahead, the next one is due at the first moment that was not
# evaluated, but not earlier than this.
LOOKAHEAD_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class RuleProblem:
    """What is wrong with a rule. `rule` is its index in the list, `line` the index in `when` or None."""

    rule: int
    line: int | None
    message: str
    hint: str = ""


class RuleErrors(ValueError):  # noqa: N818
    """Some rules are invalid; `problems` lists everything that is wrong with them."""

    def __init__(self, problems: Sequence[RuleProblem]) -> None:
        super().__init__("; ".join(f"rule {p.rule + 1}: {p.message}" for p in problems))
        self.problems = tuple(problems)


class Refusal(Struct, frozen=True):
    """Why a rule whose lines are all true may not act now; `seconds` from now it may, None: not by time
    alone."""

    why: str
    seconds: float | None = None


Refuse = Callable[[Rule], Refusal | None]
"""Asked of a rule before it acts. It is not asked of rules whose lines are not true."""


class Decision(Struct, frozen=True):
    """The rule that acts now, if any, and in how many seconds to decide again. `retry_after` is None if the
    decision does not change with time."""

    rule: Rule | None
    retry_after: float | None


@dataclass(frozen=True, slots=True)
class RuleExplained:
    """Why a rule acts or does not act.

    `acts`: it is the decision. `behind`: all its lines are true, but another rule comes first. `fails`: line
    `failed` (the index of the first) is not true; in `retry_after` seconds all of them would be true if only
    time passes. `skipped`: the caller refuses it, for the reason in `why`. `disabled`: by the settings.
    """

    rule: Rule
    verdict: Literal["acts", "behind", "fails", "skipped", "disabled"]
    failed: int | None
    lines: tuple[LineExplained, ...]
    retry_after: float | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision, and every rule in order of evaluation."""

    decision: Decision
    rules: tuple[RuleExplained, ...]


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A rule and its lines, as indices into the distinct lines of the set."""

    rule: Rule
    lines: tuple[int, ...]
    timeless: tuple[int, ...]
    timed: tuple[int, ...]


class RuleSet:
    """Compiled rules in the order in which they are asked: higher priorities first, then forced ones, then
    those with more lines, then with more facts, then by name.

    Raises RuleErrors with everything that is wrong, also in disabled rules. `known` are the values that facts
    of this site can have: to compare with any other is an error.
    """

    def __init__(self, rules: Sequence[Rule], known: Known = NONE_KNOWN) -> None:
        self._known = known
        self._conditions: list[Condition] = []
        self._order = tuple(sorted(self._compile(rules), key=self._place))
        self._plan = Plan(self._conditions)
        self._timed_plan = Plan([c for c in self._conditions if c.turns])
        # The names of the facts that the lines use, by group: a decision needs no others.
        self.facts = self._plan.names

    def _place(self, compiled: _Compiled) -> tuple[int, bool, int, int, str]:
        rule = compiled.rule
        facts = {r.path for number in compiled.lines for r in self._conditions[number].references}
        return -rule.priority, not rule.forced, -len(rule.when), -len(facts), rule.name

    def _compile(self, rules: Sequence[Rule]) -> list[_Compiled]:
        problems: list[RuleProblem] = []
        if len(rules) > RULES:
            message = f"a site may have at most {RULES} rules"
            problems.append(RuleProblem(RULES, None, message, "join or remove some"))
        numbers: dict[str, int] = {}
        found: list[_Compiled] = []
        for place, rule in enumerate(rules[:RULES]):
            if len(rule.when) > LINES:
                problems.append(
                    RuleProblem(place, None, f"a rule may have at most {LINES} lines", "join some with &&")
                )
                continue
            for line_place, line in enumerate(rule.when):
                if line in numbers:
                    continue
                try:
                    condition = compile_line(line, self._known) if self._known else line_of(line)
                except ConditionError as error:
                    problems += [
                        RuleProblem(place, line_place, _placed(line, p.at, p.message), p.hint)
                        for p in error.problems
                    ]
                    continue
                numbers[line] = len(self._conditions)
                self._conditions.append(condition)
            lines = tuple(numbers[line] for line in rule.when if line in numbers)
            timed = tuple(n for n in lines if self._conditions[n].turns)
            found.append(_Compiled(rule, lines, tuple(n for n in lines if n not in timed), timed))
        if problems:
            raise RuleErrors(problems)
        return found

    def decide(self, facts: Facts, refuse: Refuse | None = None) -> Decision:
        """The first rule whose lines are all true and that is not refused; never raises.

        `retry_after` is the earliest moment, in whole seconds from now (1 to 1800), at which the decision
        would change with time alone: a rule before the one that acts becomes true, or the one that acts
        becomes false, or a refusal ends. A rule that waits does not delay a later one that is true. If more
        moments would have to be evaluated than a decision may (`evaluation.LOOKAHEAD`), `retry_after` may be
        earlier than that, and at most half a minute later.
        """
        moment = Moment(self._conditions, self._plan, facts)
        return self._decide(moment, refuse)[0]

    def _decide(self, moment: Moment, refuse: Refuse | None) -> tuple[Decision, _Compiled | None]:
        waiting: list[_Compiled] = []
        winner = refused_for = None
        for compiled in self._order:
            rule = compiled.rule
            if not rule.enabled or not moment.all_hold(compiled.timeless):
                continue
            waits = bool(compiled.timed) and not moment.all_hold(compiled.timed)
            refusal = refuse(rule) if refuse is not None else None
            if refusal is None or (waits and refusal.seconds is not None):
                if not waits:
                    winner = compiled
                    break
                waiting.append(compiled)
            elif refusal.seconds is not None:
                refused_for = min(refusal.seconds, refused_for or refusal.seconds)
        timed = waiting or (winner and winner.timed)
        retry_after = self._retry_after(moment, waiting, winner) if timed else None
        if refused_for is not None:
            refused_for = float(max(1, math.ceil(refused_for)))
            retry_after = refused_for if retry_after is None else min(retry_after, refused_for)
        return Decision(winner.rule if winner else None, retry_after), winner

    def _retry_after(
        self, moment: Moment, waiting: Sequence[_Compiled], winner: _Compiled | None
    ) -> float | None:
        """`waiting` are rules of which only lines with facts of time are false."""
        ahead = Lookahead(self._conditions, self._timed_plan, moment.lazy.complete())
        involved = [*waiting, winner] if winner else waiting
        for seconds in sorted(ahead.candidates(moment.context, {n for c in involved for n in c.timed})):
            later = ahead.moment(seconds)
            if later is None:
                return max(float(seconds), LOOKAHEAD_SECONDS)
            if any(later.all_hold(compiled.timed) for compiled in waiting):
                return float(seconds)
            if winner and not later.all_hold(winner.timed):
                return float(seconds)
        return None

    def explain(self, facts: Facts, refuse: Refuse | None = None) -> Explanation:
        """The result of `decide` with every line of every rule."""
        moment = Moment(self._conditions, self._plan, facts)
        decision, winner = self._decide(moment, refuse)
        return Explanation(
            decision, tuple(self._explained(c, moment, refuse, c is winner) for c in self._order)
        )

    def _explained(
        self, compiled: _Compiled, moment: Moment, refuse: Refuse | None, wins: bool
    ) -> RuleExplained:
        rule = compiled.rule
        lines = tuple(moment.explained(number) for number in compiled.lines)
        failed = next((place for place, line in enumerate(lines) if not line.holds), None)
        refusal = refuse(rule) if refuse is not None and not wins else None
        retry_after = None
        verdict: Literal["acts", "behind", "fails", "skipped", "disabled"]
        if not rule.enabled:
            verdict = "disabled"
        elif refusal is not None:
            verdict = "skipped"
        elif failed is None:
            verdict = "acts" if wins else "behind"
        else:
            verdict = "fails"
            if moment.all_hold(compiled.timeless):
                retry_after = self._retry_after(moment, [compiled], None)
        why = refusal.why if refusal is not None and verdict == "skipped" else ""
        return RuleExplained(rule, verdict, failed, lines, retry_after, why)


def _placed(line: str, at: int | None, message: str) -> str:
    place = where(line, at)
    return f"{place}: {message}" if place else message
