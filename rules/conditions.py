"""One line of a rule's `when`: compiled and checked when the settings are loaded, evaluated at a decision.

A line is CEL, evaluated by the Rust engine. A missing fact has no value, and a line whose value depends on it
is false, also after a `!`. If the value does not depend on it (`has(cart.value) && …`,
`visit.pages > 3 || touch.network == "awin"` on the fourth page), the line has that value, as CEL defines.

`matches` is RE2, as in the CEL specification: its time is linear in the length of the text, so no URL that a
visitor sends can make it slow. The engine's own regular expressions are linear as well, but it compiles them
at each evaluation: 13 µs for plain letters, 220 µs for one `\\w`, 11 ms for `\\w{50}`. So each pattern is
compiled once here and called by name.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, get_args

import cel

from ..settings.addresses import PatternError
from .checker import Checker, FactReference, LineProblem
from .direct import Direct, Found, direct
from .facts import RULE_FACTS, Cost, Vocabulary
from .helpers import HELPERS, PREDICATES, Matches, compiled_test, key_of
from .moments import Turn, Wait, turns, wait_of
from .reading import constant
from .signatures import MACROS
from .syntax import Node, UnsupportedError, parse
from .values import NONE_KNOWN, Known
from .within import expanded

LINE_LENGTH = 1000
# Compiled lines, some 3 KB each: the settings are checked, and then used.
LINES_KEPT = 32_768
COSTS = get_args(Cost)

# As long as `matches`, so that the offsets in the line stay.
_MATCHES = "_match_"

_SYNTAX_ERROR = re.compile(r"ERROR: <input>:(\d+):(\d+): (?:Syntax error: )?(.*)")
# Common mistakes: the text at the error, or just before it → what to do.
_INSTEAD = (
    (re.compile(r"=(?!=)"), None, "to compare, write =="),
    (re.compile(r"and\b", re.IGNORECASE), None, "write &&"),
    (re.compile(r"or\b", re.IGNORECASE), None, "write ||"),
    (None, re.compile(r"\bnot\s*$", re.IGNORECASE), "write !(…)"),
    (None, re.compile(r"<$"), "write !="),
    (re.compile(r"&"), None, "write &&"),
    (re.compile(r"\|"), None, "write ||"),
    (re.compile(r"[“”„‘’‚«»´`]"), None, "write texts in straight quotes"),
    (
        re.compile(r"[\"']"),
        None,
        "a text is not closed; a quote or backslash inside it is written \\' or \\\\",
    ),
    (re.compile(r"[;,]"), None, "write one condition per line; put the next into a line of its own"),
)


class ConditionError(ValueError):
    """A line is invalid; `problems` lists everything that is wrong with it."""

    def __init__(self, problems: Sequence[LineProblem]) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled line.

    `patterns` are the tests of its patterns and lists, by function and constant. `turns` are its comparisons
    with time; `wait` is the one from which time makes it true and keeps it so, if that is all it has.
    `direct` tells whether it is true without the engine, for the usual forms. `cost` is that of the dearest
    fact that it uses. `dear`: it may take long, since the engine or a pattern reads a text of a visitor.
    """

    text: str
    program: cel.Program
    references: tuple[FactReference, ...]
    patterns: Found
    turns: tuple[Turn, ...]
    wait: Wait | None
    direct: Direct | None
    cost: int
    dear: bool

    def value(self, context: cel.Context) -> bool | Exception:
        """True, false, or the error for which there is no value; never raises."""
        try:
            value = self.program.execute(context)
        except Exception as error:
            return error
        if isinstance(value, bool):
            return value
        return TypeError(f"the value of the line is {value!r}, not true or false")


def compile_line(text: str, known: Known = NONE_KNOWN, vocabulary: Vocabulary = RULE_FACTS) -> Condition:
    """Compile and check one line; `known` are the values that facts of this site can have. Raises
    ConditionError with everything that is wrong."""
    if not known or vocabulary is not RULE_FACTS:
        return _compiled(text, known, vocabulary)
    try:
        condition = line_of(text)
    except ConditionError:
        return _compiled(text, known, vocabulary)
    if any(reference.path in known for reference in condition.references):
        checker = Checker(text, known, vocabulary)
        checker.check(_parse(text)[0])
        if checker.problems:
            raise ConditionError(checker.problems)
    return condition


def _compiled(text: str, known: Known, vocabulary: Vocabulary) -> Condition:
    if len(text) > LINE_LENGTH:
        hint = "split it: all lines of `when` have to be true"
        raise ConditionError([LineProblem(f"the line has more than {LINE_LENGTH} characters", hint)])
    tree, program = _parse(text)
    checker = Checker(text, known, vocabulary)
    checker.check(tree)
    if checker.problems:
        raise ConditionError(checker.problems)
    written = text
    text, tree = expanded(text, tree, vocabulary)
    if text != written:
        # For the facts of the comparisons.
        checker = Checker(text, known, vocabulary)
        checker.check(tree)
    patterns: dict[tuple[str, Any], Matches] = {}
    problems = [*_patterns(text, tree, patterns), *_constants(text, tree)]
    if problems:
        raise ConditionError(problems)
    line = _with_matcher(text, tree)
    references = tuple(checker.references)
    test = direct(text, tree, vocabulary, patterns)
    used = {vocabulary.by_name[".".join(one.path.split(".", 2)[:2])] for one in references}
    # The engine takes some ten times as long as what is told without it.
    cost = 2 * max((COSTS.index(fact.cost) for fact in used), default=0) + (test is None)
    for_engine = {
        (_MATCHES if name == "matches" else name, key): held for (name, key), held in patterns.items()
    }
    program = program if line == written else cel.compile(line)
    return Condition(
        written,
        program,
        references,
        for_engine,
        turns(line, tree),
        wait_of(line, tree),
        test,
        cost,
        test is None or bool(patterns),
    )


@lru_cache(maxsize=LINES_KEPT)
def line_of(text: str) -> Condition:
    """The line compiled without the values of a site's own facts, once for all sites: the sites of a host
    often have the same rules. Raises ConditionError."""
    return _compiled(text, NONE_KNOWN, RULE_FACTS)


def matcher(patterns: Found) -> dict[str, Callable[..., bool]]:
    """The functions that an evaluation context needs for these patterns."""

    def of(name: str) -> Callable[..., bool]:
        return lambda text, constant: patterns[name, key_of(constant)](text)

    return {name: of(name) for name in {name for name, _ in patterns}}


def where(text: str, at: int | None) -> str:
    """`column 7`, or `row 2, column 7` in a line of several rows; empty for the whole line."""
    if at is None:
        return ""
    row = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    return f"row {row}, column {column}" if "\n" in text else f"column {column}"


@lru_cache(maxsize=2048)  # the sites of one host often have the same lines
def _parse(text: str) -> tuple[Node, cel.Program]:
    if not text.strip():
        raise ConditionError([LineProblem("the line is empty", "write a condition, or remove the line")])
    try:
        program = cel.compile(text)
        return parse(text), program
    except UnsupportedError as error:
        raise ConditionError([LineProblem(str(error), "", error.at)]) from error
    except ValueError as error:
        raise ConditionError([_syntax_problem(text, str(error))]) from error


def _syntax_problem(text: str, message: str) -> LineProblem:
    try:
        parse(text)
    except UnsupportedError as error:
        message, at = str(error), error.at
    else:
        found = _SYNTAX_ERROR.search(message)
        if found is None:
            return LineProblem("the line is not valid CEL")
        before = sum(len(row) for row in text.splitlines(keepends=True)[: int(found[1]) - 1])
        message, at = found[3], before + int(found[2]) - 1
    hint = next(
        (
            hint
            for here, before_it, hint in _INSTEAD
            if (here is None or here.match(text, at)) and (before_it is None or before_it.search(text[:at]))
        ),
        "",
    )
    return LineProblem(message, hint, min(at, len(text)))


def _patterns(text: str, tree: Node, patterns: dict[tuple[str, Any], Matches]) -> Iterator[LineProblem]:
    for node in tree.walk():
        if not (node.kind == "method" and node.value in PREDICATES) and not (
            node.kind == "call" and node.value in HELPERS
        ):
            continue
        literal = node.parts[1]
        value = constant(text, literal)
        try:
            patterns[node.value, key_of(value)] = compiled_test(node.value, value)
        except PatternError as error:
            yield LineProblem(str(error), error.hint, literal.start)


def _constants(text: str, tree: Node) -> Iterator[LineProblem]:
    """Evaluates the parts without facts, so that `1 / 0` or `duration("2 min")` is reported now."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if any(part.kind == "name" for part in node.walk()):
            if not (node.kind == "method" and node.value in MACROS):
                waiting.extend(node.parts)
        elif node.parts:
            try:
                constant(text, node)
            except Exception as error:
                shown = text[node.start : node.end]
                yield LineProblem(f"`{shown}` has no value: {_short(error)}", "", node.start)


def _short(error: Exception) -> str:
    return str(error).partition(". Check")[0].partition(" in CEL")[0]


def _with_matcher(text: str, tree: Node) -> str:
    for node in tree.walk():
        if node.kind == "method" and node.value == "matches":
            at = text.index("matches", node.parts[0].end)
            text = f"{text[:at]}{_MATCHES}{text[at + len(_MATCHES) :]}"
    return text
