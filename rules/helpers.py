"""clew's own functions of lines: patterns, lists of texts, hosts.

Each takes a text and a constant. The constant is compiled once, when the settings are loaded, so that a wrong
one is reported then; the time of a test is linear in the length of the text, which a visitor may choose.

The functions ignore case; CEL's own operators and methods (`in`, `contains`, `startsWith`, `matches`) do not.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final
from unicodedata import normalize
from urllib.parse import urlsplit

import re2  # type: ignore[import-untyped]

from ..settings.addresses import PatternError, Patterns, split

Matches = Callable[[str], bool]
"""Whether a text passes a test."""

# RE2 instructions. In the worst case RE2 takes one step for each of them and each character.
PATTERN_SIZE = 2000

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.never_capture = True
_OPTIONS.max_mem = 1 << 20

_HOST: Final = re.compile(r"([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?")
_WORD: Final = re.compile(r"\w+")


def key_of(value: Any) -> Any:
    """A constant as the key of its test."""
    return tuple(value) if isinstance(value, list) else value


def fits(pattern: str) -> Matches:
    """A pattern as in `page_types`, `never` and `order.page`. Raises PatternError."""
    one = Patterns([pattern])
    return lambda text: one(*split(text))


def searches(pattern: str) -> Matches:
    """A regular expression that is found anywhere in the text. Raises PatternError."""
    try:
        compiled = re2.compile(pattern, _OPTIONS)
    except re2.error as error:
        message = error.args[0] if error.args else ""
        shown = message.decode("utf-8", "replace") if isinstance(message, bytes) else str(message)
        hint = "RE2 has no look-around and no back references; in CEL write \\\\d for \\d, or r'\\d'"
        raise PatternError(f"not a regular expression: {shown}", hint) from error
    if compiled.programsize > PATTERN_SIZE:
        raise PatternError("the regular expression is too large", "use smaller repetitions")
    return lambda text: compiled.search(text) is not None


def folded(text: str) -> str:
    """The text without differences of case, and with each accent in one way."""
    return text.lower() if text.isascii() else normalize("NFC", text.casefold())


def _in_list(values: Sequence[str]) -> Matches:
    among = frozenset(map(folded, values))
    return lambda text: folded(text) in among


def _glob(values: Sequence[str]) -> Matches:
    signs = {"*": ".*", "?": "."}
    spelled = (
        "".join(signs.get(part) or _quoted(part) for part in re.split(r"([*?])", folded(value)))
        for value in values
    )
    found = _compiled(rf"(?s)\A(?:{'|'.join(spelled)})\z")
    return lambda text: found(folded(text))


def _contains_any(values: Sequence[str]) -> Matches:
    found = _compiled("|".join(_quoted(folded(value)) for value in values))
    return lambda text: found(folded(text))


def _starts(values: Sequence[str]) -> Matches:
    starts = tuple(map(folded, values))
    return lambda text: folded(text).startswith(starts)


def _ends(values: Sequence[str]) -> Matches:
    ends = tuple(map(folded, values))
    return lambda text: folded(text).endswith(ends)


def _has_word(values: Sequence[str]) -> Matches:
    wanted = []
    for value in values:
        wanted.append(spaced := _words(value))
        if not spaced.strip():
            raise PatternError(f"{value!r} is no word", "write words of letters or digits")
    found = _compiled("|".join(map(_quoted, wanted)))
    return lambda text: found(_words(text))


def _words(text: str) -> str:
    """The words of a text with a space before and after each."""
    return f" {' '.join(_WORD.findall(folded(text)))} "


def _host(values: Sequence[str]) -> Matches:
    hosts = tuple(map(_host_name, values))
    ends = tuple(f".{host}" for host in hosts)

    def test(text: str) -> bool:
        try:
            host = urlsplit(text if "//" in text else f"//{text}").hostname
        except ValueError:
            return False
        host = (host or "").rstrip(".")
        return host in hosts or host.endswith(ends)

    return test


def _host_name(value: str) -> str:
    host = value.strip().lower()
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            host = ""
    if not _HOST.fullmatch(host):
        hint = 'write for example host(touch.referrer, "google.com"); its subdomains are included'
        raise PatternError(f"{value!r} is not the name of a host", hint)
    return host


def _quoted(text: str) -> str:
    return str(re2.escape(text))


def _compiled(pattern: str) -> Matches:
    compiled = re2.compile(pattern, _OPTIONS)
    if compiled.programsize > PATTERN_SIZE:
        raise PatternError("the texts are too long together", "use fewer or shorter ones")
    return lambda text: compiled.search(text) is not None


PREDICATES: Mapping[str, Callable[[Any], Matches]] = MappingProxyType({"matches": searches, "fits": fits})
"""Methods of a text that take one pattern."""

HELPERS: Mapping[str, Callable[[Sequence[str]], Matches]] = MappingProxyType(
    {
        "contains_any": _contains_any,
        "ends": _ends,
        "glob": _glob,
        "has_word": _has_word,
        "host": _host,
        "in_list": _in_list,
        "starts": _starts,
    }
)
"""Functions that take a text, and one text or a list of texts."""


def compiled_test(name: str, value: Any) -> Matches:
    """The test of a method or function with its constant. Raises PatternError."""
    if name in PREDICATES:
        return PREDICATES[name](value)
    values = [value] if isinstance(value, str) else list(value)
    if not values:
        raise PatternError("the list is empty", "write at least one text")
    if "" in values and name != "in_list":
        raise PatternError("an empty text is in every text", "remove it")
    return HELPERS[name](values)
