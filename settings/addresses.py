"""Patterns for the address of a page: `page_types`, `order.page`, `never`, `admin`, and `fits` in rules.

A pattern is a path, or a path and a query:

- `*` matches any characters, also `/`; in the path, `[0-9]` matches one character of a set.
- The whole path must match: `/cart` does not match `/cart/`. Matching is case-sensitive.
- Without a `?` the query is ignored. After a `?` come parameters, joined by `&`: the address must have each
  of them, in any order and among others. `name` alone matches the parameter with any value.

Both sides are decoded once before they are compared: `%C3%A9` is `é`, `%2F` is `/`, and in a query `+` is a
space. Nothing else is changed. All bytes outside UTF-8 are equal. Matching uses RE2, so its time is linear in
the length of the address.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

import re2  # type: ignore[import-untyped]

LENGTH = 500
"""Maximum length of a pattern, in characters."""

OFTEN_LENGTH = 300
"""Of an address, in characters: what is found of shorter ones is kept, since a shop's pages are few."""

PARAMETERS = 200
"""Maximum number of parameters of an address that are read."""

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.never_capture = True
_OPTIONS.max_mem = 16 << 20

# Only in paths: in a query a `[` belongs to the parameter's name, as in `filter[size]=m`.
_SET = re.compile(r"\[!?[^\[\]!/*?][^\[\]/*?]*\]")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_AFTER_HOST = re.compile(r"[/?]")
# A character that no text uses: it stands for "any characters" when two patterns are compared.
_ANYTHING = "\U0010fffe"


class PatternError(ValueError):
    """A pattern is invalid; `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def decoded(text: str | bytes) -> str:
    """A raw path, or a part of one, percent-decoded once."""
    return unquote_to_bytes(text).decode("utf-8", "replace")


def split(address: str) -> tuple[str, str]:
    """Path and query of an address with or without scheme and host, not decoded."""
    return _split_often(address) if len(address) <= OFTEN_LENGTH else _split(address)


def _split(address: str) -> tuple[str, str]:
    address = address.partition("#")[0]
    if scheme := _SCHEME.match(address):
        found = _AFTER_HOST.search(address, scheme.end())
        address = address[found.start() :] if found else "/"
    path, _, query = address.partition("?")
    return path or "/", query


_split_often = lru_cache(4096)(_split)


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
    """One pattern. Raises PatternError if it is invalid."""

    text: str

    def __post_init__(self) -> None:
        if not self.text.startswith(("/", "*")):
            raise PatternError("a path begins with / or *", f'write "/{self.text}"')
        if len(self.text) > LENGTH:
            raise PatternError(f"a pattern may have at most {LENGTH} characters")
        if not self.text.isprintable():
            raise PatternError("contains a character that cannot be printed")
        if "&amp;" in self.text:
            raise PatternError("&amp; is how HTML writes &", f'write "{self.text.replace("&amp;", "&")}"')
        if "#" in self.text:
            raise PatternError("browsers do not send the part after a #", "remove the # and the rest")
        if self.has_query and not any(self.query.split("&")):
            raise PatternError("there is no parameter after the ?", "remove the ?, or name a parameter")
        try:
            re2.compile(self.path_expression, _OPTIONS)
        except re2.error as error:
            hint = "write for example [0-9], or %5B for a bracket itself"
            raise PatternError("there is no valid set of characters between [ and ]", hint) from error

    @property
    def path(self) -> str:
        """The part for the path."""
        return self.text.partition("?")[0]

    @property
    def query(self) -> str:
        """The part for the query."""
        return self.text.partition("?")[2]

    @property
    def has_query(self) -> bool:
        """Whether the pattern has a part for the query."""
        return "?" in self.text

    @cached_property
    def path_expression(self) -> str:
        """An RE2 expression for the whole decoded path."""
        found, at = "(?s)", 0
        for match in _SET.finditer(self.path):
            found += _any_run(self.path[at : match.start()]) + match[0].replace("[!", "[^").replace(
                "\\", r"\\"
            )
            at = match.end()
        return found + _any_run(self.path[at:])

    @cached_property
    def wanted(self) -> tuple[str, ...]:
        """An RE2 expression for each required parameter, for a whole `name=value`."""
        found = []
        for part in filter(None, self.query.split("&")):
            name, equals, value = part.replace("+", " ").partition("=")
            found.append(f"(?s){_any_run(name)}={_any_run(value) if equals else '.*'}")
        return tuple(found)

    def covers(self, other: "Pattern") -> bool:
        """Whether every address that matches the other pattern also matches this one. With sets of
        characters the result may be false although they do."""
        path = decoded(other.path.replace("*", _ANYTHING))
        if re2.compile(self.path_expression, _OPTIONS).fullmatch(path) is None:
            return False
        given = [_given(part) for part in filter(None, other.query.split("&"))]
        return all(any(re2.fullmatch(wanted, one) for one in given) for wanted in self.wanted)


def _given(part: str) -> str:
    """A parameter of a pattern in the form that it has in an address."""
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
    """Several patterns, in order."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.patterns = tuple(map(Pattern, texts))
        self._paths = _set(pattern.path_expression for pattern in self.patterns)
        # All required parameters, so that a parameter of an address is matched against all at once.
        wanted = list(dict.fromkeys(w for pattern in self.patterns for w in pattern.wanted))
        self._parameters = _set(wanted)
        self._wanted = [frozenset(map(wanted.index, pattern.wanted)) for pattern in self.patterns]

    def first(self, path: str | bytes, query: str | bytes = "") -> int | None:
        """The index of the first pattern that matches a raw path and query, None if none does."""
        found = self._matching(path, query)
        return found[0] if found else None

    def all(self, path: str | bytes, query: str | bytes = "") -> list[int]:
        """The indices of all patterns that match."""
        return list(self._matching(path, query))

    def _matching(self, path: str | bytes, query: str | bytes) -> Sequence[int]:
        if not self.patterns:
            return ()
        return _often(self, path, query) if len(path) + len(query) <= 256 else self._find(path, query)

    def __call__(self, path: str | bytes, query: str | bytes = "") -> bool:
        """Whether any pattern matches."""
        return self.first(path, query) is not None

    def _find(self, path: str | bytes, query: str | bytes) -> Sequence[int]:
        found: list[int] = []
        given: set[int] | None = None if query else set()
        for number in sorted(self._paths.Match(_decoded_once(path)) or ()):
            if wanted := self._wanted[number]:
                if given is None:
                    given = {n for one in parameters(query) for n in self._parameters.Match(one) or ()}
                if not wanted <= given:
                    continue
            found.append(number)
        return tuple(found)


# Of one request several sets of patterns are asked, and 64 KB of escapes take milliseconds.
_decoded_once = lru_cache(maxsize=8)(decoded)


@lru_cache(maxsize=512)
def patterns_of(texts: tuple[str, ...]) -> Patterns:
    """The compiled patterns, shared by all sites with the same ones."""
    return Patterns(texts)


# One cache for all sites: a client may request any number of addresses from thousands of sites.
@lru_cache(maxsize=16384)
def _often(patterns: Patterns, path: str | bytes, query: str | bytes) -> Sequence[int]:
    return patterns._find(path, query)
