"""Compiles the rules of a site: each distinct line once, and everything that is wrong with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..settings.model import Rule
from ..settings.model.rules import seconds_of
from .conditions import Condition, ConditionError, compile_line, line_of, where
from .facts import RULE_FACTS, Vocabulary
from .ranked import Ranked
from .trees import Branch, Tree, numbers
from .values import Known

RULES = 10_000
LINES = 50
DEPTH = 5  # of tables in tables
PROBLEMS = 200
"""After so many, further lines are not looked at: it takes a while to find what was meant."""

Place = tuple[str | int, ...]
"""The index of a rule, then where in it."""


@dataclass(frozen=True, slots=True)
class RuleProblem:
    """What is wrong with a rule. `rule` is its index in the list, `place` is in it: `("when", 2, "any")`."""

    rule: int
    place: tuple[str | int, ...]
    message: str
    hint: str = ""


class RuleErrors(ValueError):  # noqa: N818
    """Some rules are invalid; `problems` lists everything that is wrong with them."""

    def __init__(self, problems: Sequence[RuleProblem]) -> None:
        super().__init__("; ".join(f"rule {p.rule + 1}: {p.message}" for p in problems))
        self.problems = tuple(problems)


class Compiler:
    """`conditions` are the distinct lines of all rules, `ranked` the rules in order of evaluation, `problems`
    what is wrong with them."""

    def __init__(self, rules: Sequence[Rule], known: Known, vocabulary: Vocabulary) -> None:
        self._known = known
        self._vocabulary = vocabulary
        self._numbers: dict[str, int] = {}
        self.conditions: list[Condition] = []
        self.problems: list[RuleProblem] = []
        if len(rules) > RULES:
            message = f"a site may have at most {RULES:,} rules"
            self.problems.append(RuleProblem(RULES, (), message, "join or remove some"))
        whole = [self._rule(place, rule) for place, rule in enumerate(rules[:RULES])]
        shared: dict[Tree, int] = {}
        for _, trees in whole:
            for tree in trees:
                shared[tree] = shared.get(tree, 0) + 1
        order = sorted(whole, key=self._place)
        self.ranked = tuple(self._ranked(rule, trees, shared) for rule, trees in order)

    def _place(self, one: tuple[Rule, tuple[Tree, ...]]) -> tuple[bool, int, bool, int, int, str]:
        rule, trees = one
        lines = [number for tree in trees for number in numbers(tree)]
        facts = {reference.path for number in lines for reference in self.conditions[number].references}
        return rule.default, -rule.priority, not rule.forced, -len(lines), -len(facts), rule.name

    def _rule(self, place: int, rule: Rule) -> tuple[Rule, tuple[Tree, ...]]:
        self._left = LINES
        trees = self._trees((place, "when"), rule.when, 0)
        if self._left < 0:
            message = f"a rule may have at most {LINES} lines"
            self.problems.append(RuleProblem(place, (), message, "join some with &&"))
        waits = (("visit.seconds", rule.wait), ("page.seconds", rule.wait_page))
        trees += [self._added(f"{fact} >= {seconds_of(wait)}") for fact, wait in waits if wait is not None]
        # What the server has seen counts as well as what a page tells.
        events = [f"events.{name}" for name in rule.cancel_on if f"events.{name}" in self._vocabulary.by_name]
        trees += [self._added(f"!has({event}) || {event} == 0") for event in events]
        return rule, tuple(trees)

    def _added(self, line: str) -> Tree:
        """A line that another setting of the rule stands for."""
        found = self._line((), line)
        assert found is not None
        return found

    def _trees(self, at: Place, conditions: Sequence[object], depth: int) -> list[Tree]:
        found = [self._tree((*at, n), condition, depth) for n, condition in enumerate(conditions)]
        return [tree for tree in found if tree is not None]

    def _tree(self, at: Place, condition: object, depth: int) -> Tree | None:
        """A line or a table of `when`; None if it is wrong."""
        if isinstance(condition, str):
            self._left -= 1
            whole = self._left >= 0 and len(self.problems) < PROBLEMS
            return self._line(at, condition) if whole else None
        hint = 'write for example { any = ["visit.pages > 3", "cart.items > 0"] }, or { not = "chat.open" }'
        if not isinstance(condition, Mapping) or len(condition) != 1:
            self._wrong(at, "must be a line, or a table with one of `all`, `any` and `not`", hint)
            return None
        kind, held = next(iter(condition.items()))
        if depth == DEPTH:
            self._wrong(at, f"tables may be nested {DEPTH} deep", "join lines with && and ||")
            return None
        if kind == "not":
            inner = self._tree((*at, kind), held, depth + 1)
            return None if inner is None else Branch("not", (inner,))
        if not isinstance(held, list) or not held:
            self._wrong((*at, kind), "must be a list of lines and tables, and not empty", hint)
            return None
        return Branch(kind, tuple(self._trees((*at, kind), held, depth + 1)))

    def _wrong(self, at: Place, message: str, hint: str) -> None:
        self.problems.append(RuleProblem(int(at[0]), at[1:], message, hint))

    def _line(self, at: Place, line: str) -> int | None:
        if line not in self._numbers:
            try:
                condition = (
                    compile_line(line, self._known, self._vocabulary)
                    if self._known or self._vocabulary is not RULE_FACTS
                    else line_of(line)
                )
            except ConditionError as error:
                for one in error.problems:
                    self._wrong(at, _placed(line, one.at, one.message), one.hint)
                return None
            self._numbers[line] = len(self.conditions)
            self.conditions.append(condition)
        return self._numbers[line]

    def _ranked(self, rule: Rule, trees: tuple[Tree, ...], shared: Mapping[Tree, int]) -> Ranked:
        def cost(tree: Tree) -> tuple[int, int]:
            # Of equal ones the most common first: where it is false, most rules are done.
            return max((self.conditions[n].cost for n in numbers(tree)), default=0), -shared[tree]

        cheapest = sorted(dict.fromkeys(trees), key=cost)
        timed = tuple(tree for tree in cheapest if any(self.conditions[n].turns for n in numbers(tree)))
        waits = [self.conditions[tree].wait if isinstance(tree, int) else None for tree in timed]
        known = tuple(wait for wait in waits if wait is not None)
        return Ranked(
            rule,
            trees,
            tuple(tree for tree in cheapest if tree not in timed),
            timed,
            known if len(known) == len(waits) else None,
        )


def _placed(line: str, at: int | None, message: str) -> str:
    place = where(line, at)
    return f"{place}: {message}" if place else message
