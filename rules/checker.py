"""Static checks of a line: unknown facts and functions, and types that can never be equal.

The engine checks types only in the branches that it evaluates, and evaluates `visit.pages == "3"` to false.
So every branch is checked here, when the settings are loaded.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from ..settings.addresses import PatternError
from ..settings.letters import not_ascii
from . import signatures
from .facts import RULE_FACTS, Fact, Vocabulary
from .helpers import HELPERS
from .reading import constant, fact_path
from .signatures import ARITHMETIC, FUNCTIONS, MACROS, METHODS, NUMBERS, ORDERED, comparable, fits, words
from .syntax import Node
from .values import NONE_KNOWN, Known, wrong_address, wrong_value
from .within import NAME as WITHIN_LAST
from .within import comparison

_TYPES = {"int": "int", "double": "double", "string": "string", "bool": "bool", "map": "map:string"}


@dataclass(frozen=True, slots=True)
class LineProblem:
    """What is wrong with a line and what to do; `at` is the offset in the line, None for the whole line."""

    message: str
    hint: str = ""
    at: int | None = None


@dataclass(frozen=True, slots=True)
class FactReference:
    """A fact that a line uses: `path` is `visit.pages`, or `page.query.size` for a map's value.

    `whole`: the map itself is used (`'size' in page.query`), not one value of it. `guarded`: it is inside
    `has(…)`, where it may be missing.
    """

    path: str
    node: Node
    whole: bool = False
    guarded: bool = False


class Checker:
    """Checks one parsed line. The results are in `problems` and `references`."""

    def __init__(self, line: str, known: Known = NONE_KNOWN, vocabulary: Vocabulary = RULE_FACTS) -> None:
        self.line = line
        self._known = known
        self._vocabulary = vocabulary
        self.problems: list[LineProblem] = []
        self.references: list[FactReference] = []
        self._in_macro = False
        self._kinds: dict[Node, str] = {}

    def check(self, tree: Node) -> None:
        """Check the whole line, whose value must be true or false."""
        kind = self._infer(tree, {})
        if kind not in ("bool", "any"):
            message = f"the value of the line is {words(kind)}, not true or false"
            self._wrong(tree, message, "compare it with something")

    def _wrong(self, node: Node, message: str, hint: str = "") -> str:
        self.problems.append(LineProblem(message, hint, node.start))
        return "any"

    def _text(self, node: Node) -> str:
        return self.line[node.start : node.end]

    def _infer(self, node: Node, bound: Mapping[str, str]) -> str:
        kind = self._kinds[node] = self._kind(node, bound)
        return kind

    def _kind(self, node: Node, bound: Mapping[str, str]) -> str:
        match node.kind:
            case "name" | "select" | "index":
                return self._reference(node, bound)
            case "call":
                return self._call(node, bound)
            case "method" if node.value in MACROS:
                return self._macro(node, bound)
            case "method":
                return self._method(node, bound)
            case "binary":
                return self._binary(node, bound)
            case "unary":
                return self._unary(node, bound)
            case "ternary":
                return self._ternary(node, bound)
            case "list":
                return f"list:{self._one_type(node.parts, bound)}"
            case "map":
                for key in node.parts[::2]:
                    self._infer(key, bound)
                return f"map:{self._one_type(node.parts[1::2], bound)}"
        return node.kind

    def _one_type(self, parts: Iterable[Node], bound: Mapping[str, str]) -> str:
        kinds = {self._infer(part, bound) for part in parts}
        return kinds.pop() if len(kinds) == 1 else "any"

    def _reference(self, node: Node, bound: Mapping[str, str], guarded: bool = False) -> str:
        path = fact_path(self.line, node, bound)
        if path is not None:
            return self._fact(node, path, guarded)
        if node.kind == "name":
            return bound[node.value]
        held = self._infer(node.parts[0], bound)
        key = self._infer(node.parts[1], bound) if node.kind == "index" else "string"
        kind, _, value = held.partition(":")
        if kind == "any" or (kind == "map" and fits(key, "string")) or (kind == "list" and fits(key, "int")):
            return value or "any"
        return self._wrong(node, f"`{self._text(node.parts[0])}` is {words(held)} and has no such member")

    def _fact(self, node: Node, path: tuple[str, ...], guarded: bool) -> str:
        group, name = path[0], ".".join(path[:2])
        facts = self._vocabulary
        if group not in facts.groups:
            return self._wrong(node, f"unknown fact `{name}`{not_ascii(name)}", _nearest(path, facts))
        if len(path) == 1:
            example = next(fact.name for fact in facts.facts if fact.name.startswith(f"{group}."))
            return self._wrong(node, f"`{group}` is a group of facts", f"use one of them, such as {example}")
        fact = facts.by_name.get(name)
        if fact is None:
            return self._wrong(node, f"unknown fact `{name}`{not_ascii(name)}", _nearest(path, facts))
        if len(path) > (3 if fact.type == "map" else 2):
            return self._wrong(node, f"`{'.'.join(path[:-1])}` is a single value and has no `{path[-1]}`")
        whole = fact.type == "map" and len(path) == 2
        self.references.append(FactReference(".".join(path), node, whole, guarded))
        return "string" if len(path) == 3 else _TYPES[fact.type]

    def _call(self, node: Node, bound: Mapping[str, str]) -> str:
        if node.value == "has" and len(node.parts) == 1:
            self._reference(node.parts[0], bound, guarded=True)
            return "bool"
        given = [self._infer(part, bound) for part in node.parts]
        if node.value in HELPERS:
            return self._helper(node, given)
        if node.value == WITHIN_LAST:
            return self._within(node)
        if node.value not in FUNCTIONS:
            return self._unknown_function(node)
        return self._signature(node, signatures.result(FUNCTIONS[node.value], given), given)

    def _within(self, node: Node) -> str:
        try:
            comparison(self.line, node, self._vocabulary)
        except PatternError as error:
            self._wrong(node, str(error), error.hint)
        return "bool"

    def _helper(self, node: Node, given: list[str]) -> str:
        """A function of clew's own: a text, and a constant that is compiled now."""
        takes = f'write {node.value}(page.title, ["one", "two"])'
        if len(given) != 2 or not fits(given[0], "string"):
            return self._wrong(node, f"`{node.value}` needs a text, and a text or a list of texts", takes)
        constant = node.parts[1]
        texts = constant.parts if constant.kind == "list" else (constant,)
        if any(part.kind != "string" for part in texts):
            # A list from a fact could be written by any visitor.
            message = f"the second value of `{node.value}` must be a text or a list of texts, in quotes"
            return self._wrong(constant, message, takes)
        return "bool"

    def _method(self, node: Node, bound: Mapping[str, str]) -> str:
        if node.value not in METHODS:
            for part in node.parts[1:]:
                self._infer(part, bound)
            return self._unknown_function(node)
        given = [self._infer(part, bound) for part in node.parts]
        flat = [((target, *arguments), gives) for target, arguments, gives in METHODS[node.value]]
        if node.value in ("matches", "fits") and len(node.parts) == 2 and node.parts[1].kind != "string":
            # A pattern from a fact could be written by any visitor, such as one from the URL.
            message = f"the pattern of `{node.value}` must be a string in quotes"
            return self._wrong(node.parts[1], message)
        if node.value == "startsWith" and len(node.parts) == 2:
            self._starts(node)
        return self._signature(node, signatures.result(flat, given), given)

    def _signature(self, node: Node, gives: str | None, given: list[str]) -> str:
        if gives is not None:
            return gives
        kinds = ", ".join(words(kind) for kind in given)
        takes = "; or ".join(_takes(node.value, node.kind))
        return self._wrong(node, f"`{node.value}` cannot take {kinds or 'nothing'}", f"it takes {takes}")

    def _unknown_function(self, node: Node) -> str:
        name = node.value
        if node.kind == "call" and (name in METHODS or name in MACROS):
            hint = f"it is a method: write x.{name}(…)"
        elif node.kind == "method" and name in (*FUNCTIONS, *HELPERS, WITHIN_LAST):
            hint = f"it is a function: write {name}(…)"
        else:
            known = {k.lower(): k for k in (*METHODS, *MACROS, *FUNCTIONS, *HELPERS, WITHIN_LAST, "has")}
            close = get_close_matches(name.lower(), known, 1, 0.5)
            hint = (
                f"did you mean {known[close[0]]}?"
                if close
                else f"known are {', '.join(sorted(known.values()))}"
            )
        return self._wrong(node, f"unknown function `{name}`", hint)

    def _macro(self, node: Node, bound: Mapping[str, str]) -> str:
        over = self._infer(node.parts[0], bound)
        kind, _, held = over.partition(":")
        names = node.parts[1:2]
        if kind not in ("list", "map", "any") or len(node.parts) < 3 or names[0].kind != "name":
            return self._wrong(node, f"`{node.value}` needs a list or map: [1, 2].{node.value}(x, x > 1)")
        if names[0].value in self._vocabulary.groups:
            return self._wrong(names[0], f"`{names[0].value}` is a group of facts", "use another name")
        if self._in_macro:
            # The time would be quadratic in the length of the query, which a visitor chooses.
            return self._wrong(node, f"`{node.value}` cannot be used inside another macro")
        self._in_macro = True
        element = "string" if kind == "map" else held or "any"
        results = [self._infer(part, {**bound, names[0].value: element}) for part in node.parts[2:]]
        self._in_macro = False
        wants_bool = results if node.value != "map" else results[:-1]
        for part, result in zip(node.parts[2:], wants_bool, strict=False):
            if not fits(result, "bool"):
                self._wrong(part, f"`{self._text(part)}` is {words(result)}, not true or false")
        if node.value in ("filter", "map"):
            return f"list:{results[-1] if node.value == 'map' else element}"
        return "bool"

    def _unary(self, node: Node, bound: Mapping[str, str]) -> str:
        kind = self._infer(node.parts[0], bound)
        if node.value == "!" and not fits(kind, "bool"):
            return self._wrong(node, f"`!` cannot be applied to {words(kind)}, only to true or false")
        if node.value == "-" and kind not in ("int", "double", "any"):
            return self._wrong(node, f"`-` cannot be applied to {words(kind)}")
        return kind

    def _ternary(self, node: Node, bound: Mapping[str, str]) -> str:
        condition, yes, no = (self._infer(part, bound) for part in node.parts)
        if not fits(condition, "bool"):
            self._wrong(node.parts[0], f"the part before `?` is {words(condition)}, not true or false")
        if yes != no and "any" not in (yes, no) and not {yes, no} <= set(NUMBERS):
            self._wrong(node, f"the value is {words(yes)} or {words(no)}", "use the same type for both")
        return yes if yes == no else "any"

    def _binary(self, node: Node, bound: Mapping[str, str]) -> str:
        left, right = (self._infer(part, bound) for part in node.parts)
        match node.value:
            case "&&" | "||":
                for part, kind in zip(node.parts, (left, right), strict=True):
                    if not fits(kind, "bool"):
                        self._wrong(part, f"`{self._text(part)}` is {words(kind)}, not true or false")
                return "bool"
            case "==" | "!=":
                self._equal(node, left, right)
                return "bool"
            case "in":
                self._in(node, left, right)
                return "bool"
            case "<" | "<=" | ">" | ">=":
                alike = (left in NUMBERS and right in NUMBERS) or (left == right and left in ORDERED)
                if not alike and "any" not in (left, right):
                    self._wrong(node, *self._mismatch(node, left, right))
                elif node.value in (">", ">="):
                    self._one_of(node.parts[0], [part for part in node.parts[1:] if part.kind == "int"])
                return "bool"
        gives = signatures.result([((a, b), c) for a, b, c in ARITHMETIC[node.value]], (left, right))
        if gives is None and node.value == "+" and left.startswith("list") and right.startswith("list"):
            return left if left == right else "list:any"
        return gives or self._wrong(node, *self._mismatch(node, left, right))

    def _equal(self, node: Node, left: str, right: str) -> None:
        if "null" in (left, right):
            self._wrong(node, "a fact is never null", "to test whether it is known, write has(…)")
        elif not comparable(left, right):
            self._wrong(node, *self._mismatch(node, left, right))
        self._one_of(node.parts[0], [node.parts[1]])
        self._one_of(node.parts[1], [node.parts[0]])

    def _in(self, node: Node, left: str, right: str) -> None:
        member, held = node.parts
        kind = right.partition(":")[0]
        if kind == "string":
            self._wrong(
                node, "`in` needs a list or a map, not a text", "for a part of a text, write .contains(…)"
            )
        elif kind == "map" and not fits(left, "string"):
            self._wrong(node, f"the keys of a map are texts, so {words(left)} is never one of them")
        elif held.kind == "list":
            for item in held.parts:
                if not comparable(left, self._kinds[item]):
                    pair = Node("binary", item.start, item.end, "==", (member, item))
                    self._wrong(pair, *self._mismatch(pair, left, self._kinds[item]))
            self._one_of(member, held.parts)
        elif kind not in ("list", "map", "any"):
            self._wrong(node, f"`in` needs a list or a map, not {words(right)}")

    def _one_of(self, node: Node, others: Iterable[Node]) -> None:
        fact = self._fact_of(node)
        if fact is None:
            return
        for other in others:
            if other.kind == "string":
                if wrong := wrong_value(fact, constant(self.line, other), self._known):
                    self._wrong(other, *wrong)
            elif other.kind == "int" and fact.most is not None and constant(self.line, other) > fact.most:
                self._wrong(other, f"`{fact.name}` is 0 to {fact.most}")

    def _fact_of(self, node: Node) -> Fact | None:
        return self._vocabulary.by_name.get(".".join(fact_path(self.line, node) or ()))

    def _starts(self, node: Node) -> None:
        """`page.path.startsWith("cart")` is never true: a path begins with a slash."""
        fact, text = self._fact_of(node.parts[0]), node.parts[1]
        if fact is None or text.kind != "string":
            return
        if wrong := wrong_address(fact, constant(self.line, text)):
            self._wrong(text, *wrong)

    def _mismatch(self, node: Node, left: str, right: str) -> tuple[str, str]:
        """Message and hint for two operands of types that do not match."""
        a, b = (self._text(part) for part in node.parts)
        verb = f"`{node.value}` cannot take" if node.value in ARITHMETIC else "this compares"
        message = f"{verb} {words(left)} (`{a}`) and {words(right)} (`{b}`)"
        message += ", which are never equal" if node.value in ("==", "!=") else ""
        literal = next((p for p in node.parts if p.kind in ("string", *NUMBERS)), None)
        if {left, right} == {"int", "double"}:
            whole = node.parts[0] if left == "int" else node.parts[1]
            text = self._text(whole)
            return message, f"write {text}.0" if whole is literal else f"write double({text})"
        if literal is not None and {left, right} <= {"string", *NUMBERS}:
            if literal.kind != "string":
                return message, f'write "{literal.value}" in quotes'
            if _is_number(value := constant(self.line, literal)):
                return message, f"write {value} without quotes"
        if "bool" in (left, right):
            fact = a if left == "bool" else b
            return message, f"write {fact} by itself, or !{fact}"
        return message, "compare values of the same type" if node.value not in ARITHMETIC else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _takes(name: str, kind: str) -> list[str]:
    if kind == "call":
        return list(dict.fromkeys(", ".join(map(words, wanted)) for wanted, _ in FUNCTIONS[name]))
    return list(
        dict.fromkeys(
            f"{words(target)} before the dot"
            + (f" and {', '.join(map(words, wanted))} in brackets" if wanted else "")
            for target, wanted, _ in METHODS[name]
        )
    )


def _nearest(path: tuple[str, ...], vocabulary: Vocabulary) -> str:
    """The known fact that was probably meant: the same name in another group, else the most similar."""
    written, groups, by_name = ".".join(path[:2]), vocabulary.groups, vocabulary.by_name
    same = [name for name in by_name if name.partition(".")[2] == path[min(1, len(path) - 1)]]
    alike = get_close_matches(written, by_name, 1, 0.6)
    if not alike and path[0] not in groups:
        alike = get_close_matches(path[0], groups, 1, 0.6)
        alike = (
            [f"{alike[0]}.{path[1]}"]
            if alike and len(path) > 1 and f"{alike[0]}.{path[1]}" in by_name
            else []
        )
    found = alike or same
    if found:
        return f"did you mean {found[0]}?"
    if path[0] in groups:
        return f"known are {', '.join(name for name in by_name if name.startswith(f'{path[0]}.'))}"
    return f"the groups are {', '.join(groups)}; write a text in quotes"
