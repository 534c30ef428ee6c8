"""The one way in which clew matches the address of a page: `page_types`, `order.page`,
`never`, and `fits` in rules.

A pattern is a path, or a path and a query:

- `*` stands for any run of characters, `/` among them; in the path, `[0-9]` stands for one of a set.
- The path has to fit as a whole: `/cart` is not `/cart/`. Capital and small letters differ.
- Without a `?` the query does not count. Behind a `?` stand parameters, joined by `&`: the address has to
  have each of them, in any order and among any others. `name` alone asks whether the parameter is there.

Both sides are decoded once before they are compared: `%C3%A9` is `é`, `%2F` is `/`, and in a query `+` is a
space. Nothing else is changed. Bytes that are no UTF-8 are all alike. Matching is by RE2, so its time grows
with the length of the address and of nothing else.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

import re2  # type: ignore[import-untyped]

LENGTH = 500
"""Most characters of a pattern."""

PARAMETERS = 200
"""Parameters of an address that are looked at."""

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.never_capture = True
_OPTIONS.max_mem = 16 << 20

# In a path only: a `[` in a query is a parameter's own, as in `filter[size]=m`.
_SET = re.compile(r"\[!?[^\[\]!/*?][^\[\]/*?]*\]")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# Stands for "anything" where one pattern is held against another: a character that no text uses.
_ANYTHING = "\U0010fffe"


class PatternError(ValueError):
    """A pattern that cannot be used; `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def decoded(text: str | bytes) -> str:
    """A raw path, or a part of one, with its percent-encoding taken off once."""
    return unquote_to_bytes(text).decode("utf-8", "replace")


def split(address: str) -> tuple[str, str]:
    """Path and query of an address, with or without scheme and host; as they are, not decoded."""
    address = address.partition("#")[0]
    if scheme := _SCHEME.match(address):
        found = re.compile(r"[/?]").search(address, scheme.end())
        address = address[found.start() :] if found else "/"
    path, _, query = address.partition("?")
    return path or "/", query


def parameters(query: str | bytes) -> list[str]:
    """The parameters of a query as `name=value`, decoded; the first `PARAMETERS` of them."""
    if isinstance(query, bytes):
        query = query.decode("utf-8", "replace")
    parts = query.split("&", PARAMETERS)[:PARAMETERS]
    return [_parameter(part) for part in parts if part]


def _parameter(part: str) -> str:
    if "%" not in part and "+" not in part:
        return part if "=" in part else f"{part}="
    name, equals, value = part.replace("+", " ").partition("=")
    return f"{decoded(name)}={decoded(value)}" if equals else f"{decoded(name)}="


@dataclass(frozen=True)
class Pattern:
    """One pattern. Raises PatternError where it is none."""

    text: str

    def __post_init__(self) -> None:
        if not self.text.startswith(("/", "*")):
            raise PatternError("a path begins with / or *", f'write "/{self.text}"')
        if len(self.text) > LENGTH:
            raise PatternError(f"a pattern may have {LENGTH} characters")
        if not self.text.isprintable():
            raise PatternError("holds a character that cannot be printed")
        if "&amp;" in self.text:
            raise PatternError("&amp; is how HTML writes &", f'write "{self.text.replace("&amp;", "&")}"')
        if "#" in self.text:
            raise PatternError("browsers do not send what stands behind a #", "leave the # and the rest out")
        if self.asks and not any(self.query.split("&")):
            raise PatternError("behind the ? stands no parameter", "leave the ? out, or name a parameter")
        try:
            re2.compile(self.path_expression, _OPTIONS)
        except re2.error as error:
            hint = "write for example [0-9], or %5B for a bracket itself"
            raise PatternError("between [ and ] stands no set of characters", hint) from error

    @property
    def path(self) -> str:
        """What it asks of the path."""
        return self.text.partition("?")[0]

    @property
    def query(self) -> str:
        """What it asks of the query."""
        return self.text.partition("?")[2]

    @property
    def asks(self) -> bool:
        """Whether it asks for parameters."""
        return "?" in self.text

    @cached_property
    def path_expression(self) -> str:
        """RE2 for the whole decoded path."""
        found, at = "(?s)", 0
        for match in _SET.finditer(self.path):
            found += _any_run(self.path[at : match.start()]) + match[0].replace("[!", "[^").replace(
                "\\", r"\\"
            )
            at = match.end()
        return found + _any_run(self.path[at:])

    @cached_property
    def wanted(self) -> tuple[str, ...]:
        """RE2 for each parameter asked for, each to fit one whole `name=value`."""
        found = []
        for part in filter(None, self.query.split("&")):
            name, equals, value = part.replace("+", " ").partition("=")
            found.append(f"(?s){_any_run(name)}={_any_run(value) if equals else '.*'}")
        return tuple(found)

    def covers(self, other: "Pattern") -> bool:
        """Whether every address that fits the other fits this one too. Where sets of characters are
        compared it may say no for yes."""
        path = decoded(other.path.replace("*", _ANYTHING))
        if re2.compile(self.path_expression, _OPTIONS).fullmatch(path) is None:
            return False
        given = [_given(part) for part in filter(None, other.query.split("&"))]
        return all(any(re2.fullmatch(wanted, one) for one in given) for wanted in self.wanted)


def _given(part: str) -> str:
    """A parameter that a pattern asks for, as an address would have it."""
    part = part.replace("*", _ANYTHING)
    return _parameter(part) if "=" in part else f"{_parameter(part)}{_ANYTHING}"


def _set(expressions: Iterable[str]) -> Any:
    found = re2.Set.FullMatchSet(_OPTIONS)
    some = False
    for expression in expressions:
        some = found.Add(expression) >= 0 or some
    if some:
        found.Compile()
    return found


def _any_run(text: str) -> str:
    return ".*".join(re2.escape(decoded(part)) for part in text.split("*"))


class Patterns:
    """Several patterns, in their order."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.patterns = tuple(map(Pattern, texts))
        self._paths = _set(pattern.path_expression for pattern in self.patterns)
        # Every parameter that any pattern asks for, once: one of an address is held against all at once.
        wanted = list(dict.fromkeys(w for pattern in self.patterns for w in pattern.wanted))
        self._parameters = _set(wanted)
        self._wanted = [frozenset(map(wanted.index, pattern.wanted)) for pattern in self.patterns]

    def first(self, path: str | bytes, query: str | bytes = "") -> int | None:
        """The number of the first pattern that a raw path and query fit, None where none does."""
        return next(self._fitting(path, query), None)

    def all(self, path: str | bytes, query: str | bytes = "") -> list[int]:
        """The numbers of all patterns that they fit."""
        return list(self._fitting(path, query))

    def __call__(self, path: str | bytes, query: str | bytes = "") -> bool:
        """Whether any of them fits."""
        return self.first(path, query) is not None

    def _fitting(self, path: str | bytes, query: str | bytes) -> Iterator[int]:
        if not self.patterns:
            return
        given: set[int] | None = None if query else set()
        for number in _of_path(self, path) if len(path) <= 256 else self.of_path(path):
            if wanted := self._wanted[number]:
                if given is None:
                    given = {n for one in parameters(query) for n in self._parameters.Match(one) or ()}
                if not wanted <= given:
                    continue
            yield number

    def of_path(self, path: str | bytes) -> list[int]:
        """The numbers of the patterns that a raw path fits, whatever they ask of the query."""
        return sorted(self._paths.Match(decoded(path)) or ())


@lru_cache(maxsize=512)
def patterns_of(texts: tuple[str, ...]) -> Patterns:
    """The patterns, made once for all sites that have the same."""
    return Patterns(texts)


# One memory for all sites together: a stranger may ask each of thousands for any number of paths.
@lru_cache(maxsize=16384)
def _of_path(patterns: Patterns, path: str | bytes) -> list[int]:
    return patterns.of_path(path)
