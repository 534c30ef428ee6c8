"""Placeholders in texts that visitors read, of invites and of canned answers alike: `{product}`, or with what
to say where there is no value, `{product|this product}`. No I/O."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ..referral.masking import one_line

PLACEHOLDERS: Final[Mapping[str, str]] = {
    "product": "the product of the page, else of the product page that the visitor saw last",
    "price": "the price of the page's product",
    "cart": "the value of the visitor's cart",
    "items": "how many things are in it",
    "keyword": "what the visitor searched for before it came, if it is one of your keywords",
    "search": "what it searched for in the shop, if it is one of your keywords",
    "partner": "the partner who sent the visitor",
    "visitor": "the visitor's first name, if the shop tells it",
    "agent": "your name, as visitors see it; in an invite that of its persona",
}
FALLBACK_LENGTH: Final = 80
VALUE_LENGTH: Final = 60
"""Characters of a value."""

_PLACEHOLDER: Final = re.compile(r"\{(" + "|".join(PLACEHOLDERS) + r")(?:\|([^{}|\n]{0,80}))?\}")
_BRACES: Final = re.compile(r"\{([^{}\n]{0,120})\}")
_WORD: Final = re.compile(r"\w+")


def names_in(text: str) -> set[str]:
    """The names of the placeholders in a text."""
    return {found[1] for found in _PLACEHOLDER.finditer(text)}


def needed_in(text: str) -> list[str]:
    """Those without a fallback, as they are written, each once."""
    return list(dict.fromkeys(found[0] for found in _PLACEHOLDER.finditer(text) if found[2] is None))


def written_in(text: str) -> list[str]:
    """All placeholders as they are written, each once."""
    return list(dict.fromkeys(found[0] for found in _PLACEHOLDER.finditer(text)))


def problems(text: str) -> Iterator[str]:
    """What in braces is no placeholder, and why."""
    for found in _BRACES.finditer(text):
        if _PLACEHOLDER.fullmatch(found[0]) is None:
            names = ", ".join(f"{{{one}}}" for one in PLACEHOLDERS)
            yield f"{found[0]} is no placeholder; there are {names}, and {{product|this product}}"


def filled(text: str, values: Mapping[str, str]) -> str | None:
    """The text with the values, else the fallbacks; None where a placeholder has neither."""
    gaps = any(found[2] is None and not values.get(found[1]) for found in _PLACEHOLDER.finditer(text))
    return None if gaps else filled_as_known(text, values)


def filled_as_known(text: str, values: Mapping[str, str]) -> str:
    """The same, but a placeholder with neither stays as it is written. No value is looked through again."""
    return _PLACEHOLDER.sub(lambda found: _value(found, values, found[0]), text)


def _value(found: re.Match[str], values: Mapping[str, str], gap: str) -> str:
    return values.get(found[1]) or (found[2] if found[2] is not None else gap)


def plain_value(value: str) -> str:
    """A value as it may stand in a text: one line of at most 60 characters without any that act, and kept
    from turning the direction of what is around it (Unicode UAX #9)."""
    shown = one_line(value).replace("\ufffd", "").strip()
    if len(shown) > VALUE_LENGTH:
        cut = shown[: VALUE_LENGTH - 1]
        shown = (cut.rpartition(" ")[0] or cut).rstrip() + "…"
    if any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in shown):
        return f"\u2068{shown}\u2069"
    return shown


def keyword_in(words: str, keywords: Sequence[str]) -> str:
    """The longest of the owner's keywords that is in a search as whole words, as the owner writes it; empty
    if none is. Whoever made a link chooses among the owner's words, and adds none."""
    searched = _folded(words)
    found = [one for one in keywords if (folded := _folded(one)) != "  " and folded in searched]
    return max(found, key=len, default="")


def _folded(text: str) -> str:
    return f" {' '.join(_WORD.findall(text[:300].casefold()))} "


def first_name(value: str) -> str:
    """A person's first name; empty if it does not look like one: letters, and what stands between them."""
    name = " ".join(value.split())[:41]
    letters = name.replace(" ", "").replace("-", "").replace("'", "").replace("’", "").replace(".", "")
    spelled = all(unicodedata.category(one)[0] in "LM" for one in letters)
    return name if letters and spelled and len(name) <= 40 else ""
