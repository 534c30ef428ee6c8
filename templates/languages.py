"""What visitors read, in each language: one file a language in `templates/texts/`."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from babel import Locale

_FOLDER = Path(__file__).parent / "texts"
LANGUAGES = tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))
ASKED = 20  # languages of an Accept-Language header that are looked at

# A text; with a number in it, one for each plural category of the language (Unicode CLDR).
Text = str | Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of one language. `widget` are those that a browser gets with the widget, `menu` those with
    its menu, `share` those with what it loads for files; `all` has them all."""

    language: str
    name: str
    direction: str
    machine_made: bool
    widget: Mapping[str, Text]
    menu: Mapping[str, Text]
    share: Mapping[str, Text]
    all: Mapping[str, Text]


@cache
def texts_of(language: str) -> Texts:
    """All texts of one of `LANGUAGES`. Raises ValueError for another language."""
    if language not in LANGUAGES:
        raise ValueError(f"no texts in {language!r}; there are {', '.join(LANGUAGES)}")
    found = tomllib.loads((_FOLDER / f"{language}.toml").read_text(encoding="utf-8"))
    widget, menu, share, server = (found[name] for name in ("widget", "menu", "share", "server"))
    return Texts(
        language,
        found["name"],
        found.get("direction", "ltr"),
        found.get("machine_made", False),
        MappingProxyType(widget),
        MappingProxyType(menu),
        MappingProxyType(share),
        MappingProxyType({**widget, **menu, **share, **server}),
    )


def texts(language: str) -> Mapping[str, Text]:
    """All texts of one of `LANGUAGES`, by key. Raises ValueError for another language."""
    return texts_of(language).all


def text(language: str, key: str, **values: Any) -> str:
    """One text in one of `LANGUAGES`, its braces filled from `values`. The number that decides on the plural
    form is `count`.

    Raises ValueError for an unknown language, KeyError for an unknown key or a brace without a value.
    """
    found = texts(language)[key]
    if not isinstance(found, str):
        found = found[Locale(language).plural_form(values["count"])]
    return found.format_map(values)


@lru_cache(1024)
def language(tag: str, accepted: str = "", default: str = "en") -> str:
    """The language for a page in `tag` (BCP 47: "de-AT" gives "de"), else the first one that the browser
    accepts (the Accept-Language header), else `default`."""
    for wanted in (tag, *accepted_languages(accepted)):
        if (primary := _primary(wanted)) in LANGUAGES:
            return primary
    return default


def accepted_languages(header: str) -> Iterable[str]:
    """The primary languages of an Accept-Language header, the most wanted first (RFC 9110 §12.5.4)."""
    weighed = []
    for place, one in enumerate(header.split(",", ASKED)[:ASKED]):
        name, _, weight = one.partition(";")
        quality = weight.strip().removeprefix("q=") if weight else "1"
        # A float of so few digits is never infinite.
        if len(quality) <= 8 and quality.isascii() and quality.replace(".", "", 1).isdecimal():
            weighed.append((-float(quality), place, _primary(name)))
    return [name for quality, _, name in sorted(weighed) if quality < 0]


def _primary(tag: str) -> str:
    return tag.replace("_", "-").partition("-")[0].strip().lower()
