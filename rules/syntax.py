"""The parse tree of a CEL line.

The engine does not expose its tree. The tree is needed to find at load time which facts a line uses, in every
branch, and when a comparison may change. Grammar and operator precedence: CEL specification, "Syntax".
Message literals such as `Point{x: 1}`, which the engine accepts, are not supported.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NoReturn

from ..settings.letters import not_ascii

# In a raw string a backslash is no escape, so a quote after it ends the string.
_TOKENS = re.compile(
    r"""(?P<space>(?:\s|//[^\n]*)+)
    |(?P<raw>(?:[rR][bB]?|[bB][rR])(?:"{3}.*?"{3}|'{3}.*?'{3}|"[^"\r\n]*"|'[^'\r\n]*'))
    |(?P<string>[bB]?(?:"{3}(?:[^\\]|\\.)*?"{3}|'{3}(?:[^\\]|\\.)*?'{3}|"(?:[^"\\\r\n]|\\.)*"|'(?:[^'\\\r\n]|\\.)*'))
    |(?P<double>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)
    |(?P<uint>(?:0[xX][0-9a-fA-F]+|\d+)[uU])
    |(?P<int>0[xX][0-9a-fA-F]+|\d+)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<op>&&|\|\||[<>=!]=|[-+*/%<>!?:.,()\[\]{}])""",
    re.VERBOSE | re.DOTALL,
)

_BINARY = (("||",), ("&&",), ("<", "<=", ">", ">=", "==", "!=", "in"), ("+", "-"), ("*", "/", "%"))
_WORDS = {"true": "bool", "false": "bool", "null": "null", "in": "op"}
DEPTH = 120
BRACKETS = 30


class UnsupportedError(ValueError):
    """The syntax is not supported; `at` is the offset in the line."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the tree: `line[start:end]` is its text.

    `kind` is `int`, `uint`, `double`, `string`, `bytes`, `bool`, `null` (literals), `name`, `select`
    (`operand.value`), `index` (operand, key), `call` (`value(…)`), `method` (target, then arguments), `list`,
    `map` (alternating keys and values), `unary`, `binary` (`value` is the operator) or `ternary`.
    """

    kind: str
    start: int
    end: int
    value: str = ""
    parts: tuple["Node", ...] = ()

    def walk(self) -> Iterator["Node"]:
        """This node and all its descendants, in the order of the text."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.parts))


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


def parse(line: str) -> Node:
    """The tree of a line, at most 120 levels deep. Raises UnsupportedError."""
    parser = _Parser(list(_tokens(line)))
    tree = parser.expression()
    if parser.token.kind != "end":
        parser.refuse()
    # `a + b + c …` is deep too, without brackets. The tree is walked recursively, so its depth is bounded.
    level = [tree]
    for _ in range(DEPTH):
        level = [part for node in level for part in node.parts]
        if not level:
            break
    if level:
        raise UnsupportedError("the line is nested too deeply", level[0].start)
    return tree


def _tokens(line: str) -> Iterator[_Token]:
    at = 0
    while at < len(line):
        found = _TOKENS.match(line, at)
        if found is None:
            odd = not_ascii(line[at]) if line[at].isalpha() else ""
            raise UnsupportedError(f"{line[at]!r} is not allowed here{odd}", at)
        kind, text = str(found.lastgroup), found[0]
        if kind in ("raw", "string"):
            kind = "bytes" if "b" in text[: text.find(text[-1])].lower() else "string"
        elif kind == "name":
            kind = _WORDS.get(text, kind)
        if kind != "space":
            yield _Token(kind, text, at, found.end())
        at = found.end()
    yield _Token("end", "", at, at)


class _Parser:
    """A recursive descent parser. A bracket takes ten calls, so nested brackets are bounded to stay far from
    Python's recursion limit."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._open = 0

    @property
    def token(self) -> _Token:
        return self._tokens[self._at]

    def refuse(self) -> NoReturn:
        shown = f"{self.token.text!r} is not allowed here" if self.token.text else "the line ends too early"
        raise UnsupportedError(shown, self.token.start)

    def _take(self, *texts: str) -> _Token | None:
        token = self.token
        if token.kind == "op" and token.text in texts:
            self._at += 1
            return token
        return None

    def _need(self, text: str) -> _Token:
        token = self._take(text)
        if token is None:
            self.refuse()
        return token

    def _name(self) -> _Token:
        token = self.token
        if token.kind != "name":
            self.refuse()
        self._at += 1
        return token

    def expression(self) -> Node:
        self._open += 1
        if self._open > BRACKETS:
            raise UnsupportedError("the line is nested too deeply", self.token.start)
        node = self._binary(0)
        if self._take("?"):
            yes = self._binary(0)
            self._need(":")
            no = self.expression()
            node = Node("ternary", node.start, no.end, "?:", (node, yes, no))
        self._open -= 1
        return node

    def _binary(self, level: int) -> Node:
        if level == len(_BINARY):
            return self._unary()
        node = self._binary(level + 1)
        while operator := self._take(*_BINARY[level]):
            right = self._binary(level + 1)
            node = Node("binary", node.start, right.end, operator.text, (node, right))
        return node

    def _unary(self) -> Node:
        operators = []
        while operator := self._take("!", "-"):
            operators.append(operator)
        node = self._member()
        for operator in reversed(operators):
            if operator.text == "-" and node.kind in ("int", "double") and not node.value.startswith("-"):
                node = Node(node.kind, operator.start, node.end, f"-{node.value}")
            else:
                node = Node("unary", operator.start, node.end, operator.text, (node,))
        return node

    def _member(self) -> Node:
        node = self._primary()
        while True:
            if self._take("."):
                name = self._name()
                if self._take("("):
                    arguments, end = self._items(")")
                    node = Node("method", node.start, end, name.text, (node, *arguments))
                else:
                    node = Node("select", node.start, name.end, name.text, (node,))
            elif self._take("["):
                key = self.expression()
                node = Node("index", node.start, self._need("]").end, "[]", (node, key))
            else:
                return node

    def _primary(self) -> Node:
        token = self.token
        if self._take("("):
            inner = self.expression()
            return replace(inner, start=token.start, end=self._need(")").end)
        if self._take("["):
            items, end = self._items("]")
            return Node("list", token.start, end, "", items)
        if self._take("{"):
            return self._map(token.start)
        if token.kind in ("op", "end"):
            self.refuse()
        self._at += 1
        if token.kind == "name" and self._take("("):
            arguments, end = self._items(")")
            return Node("call", token.start, end, token.text, arguments)
        return Node(token.kind, token.start, token.end, token.text)

    def _items(self, closing: str) -> tuple[tuple[Node, ...], int]:
        items: list[Node] = []
        while not (end := self._take(closing)):
            items.append(self.expression())
            if not self._take(","):
                end = self._need(closing)
                break
        return tuple(items), end.end

    def _map(self, start: int) -> Node:
        parts: list[Node] = []
        while not (end := self._take("}")):
            parts.append(self.expression())
            self._need(":")
            parts.append(self.expression())
            if not self._take(","):
                end = self._need("}")
                break
        return Node("map", start, end.end, "", tuple(parts))
