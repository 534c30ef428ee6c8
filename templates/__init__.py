"""The loader and the widget for browsers, their texts in each language, and the templates of the desk's
pages.

The loader (`l.js`) and the widget (`w.js`) are the same for every site and visitor, so that they can be
cached; the response of `decide` has the rest. The widget has several source files but is served as one
module, because the trust in an `import()` (nonce, `strict-dynamic`, CSP3 §8.2) does not extend to the
imports of the module.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

LANGUAGES = ("de", "en", "fi", "fr", "nl", "ru")

_HERE = Path(__file__).parent
# In dependency order; the last has the function that the loader calls.
_PARTS = ("dom", "talk", "log", "panel", "invite", "provider")
_WIDGET = (*(f"widget/{name}.js" for name in _PARTS), "w.js")
# Placeholders in the sources for the texts and the style sheet.
_TEXTS_MARK = '"clew:texts"'
_STYLE_MARK = '"clew:style"'
_ENTRY_MARK = '"clew:entry"'


@dataclass(frozen=True, slots=True)
class Script:
    """A script to serve as `text/javascript; charset=utf-8`.

    Its bytes, and a strong entity tag with its quotes (RFC 9110 §8.8.3).
    """

    body: bytes
    etag: str


@cache
def loader() -> Script:
    """The loader, `l.js`: a classic script that calls `decide` and imports the widget if needed."""
    return _script(_read("l.js"))


@cache
def order_script() -> Script:
    """`o.js`, which reports an order on a page that a script rendered; the loader imports it there."""
    return _script(_read("o.js"))


@cache
def consent_script() -> Script:
    """What watches the visitor's consent, `c.js`: the loader imports it at a site that asks for it."""
    return _script(_read("c.js"))


@cache
def carry_script() -> Script:
    """What writes clew's token to the cart, `k.js`: the loader imports it at a site that asks for it."""
    return _script(_read("k.js"))


def provider_script(entry: Mapping[str, object]) -> Script:
    """What loads and steers the chat of another company, `p.js`, with the provider's entry and the shop's ids
    (`chat.providers.Provider.filled`). The widget imports it when the chat is opened."""
    source = _read("p.js")
    if source.count(_ENTRY_MARK) != 1:
        raise ValueError(f"templates/p.js: {_ENTRY_MARK} must be there exactly once")
    return _script(source.replace(_ENTRY_MARK, json.dumps(entry, ensure_ascii=False, separators=(",", ":"))))


@cache
def checkout_script() -> Script:
    """What takes the visitor along to the shop's other hosts, `h.js`: the loader imports it at a site with
    `checkout_hosts`."""
    return _script(_read("h.js"))


@cache
def silence() -> Script:
    """An empty loader for sites on which clew is switched off, since cached pages may still load it."""
    return _script("// clew is switched off on this site.\n")


@cache
def widget() -> Script:
    """The widget, `w.js`: one ES module with the texts of all languages and its style sheet inside."""
    source = "\n".join(_read(name) for name in _WIDGET)
    by_language = {language: dict(texts(language)) for language in LANGUAGES}
    for mark, value in ((_TEXTS_MARK, by_language), (_STYLE_MARK, _read("widget/w.css"))):
        if source.count(mark) != 1:
            raise ValueError(f"templates/w.js and templates/widget/: {mark} must be there exactly once")
        source = source.replace(mark, json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    return _script(source)


@lru_cache(256)
def language(tag: str, default: str = "en") -> str:
    """The supported language for a BCP 47 tag ("de-AT" gives "de"), else `default`."""
    primary = tag.replace("_", "-").partition("-")[0].strip().lower()
    return primary if primary in LANGUAGES else default


@cache
def texts(language: str) -> Mapping[str, str]:
    """All texts of one of `LANGUAGES`, by key.

    Raises ValueError for another language, and if the file lacks a text in this one.
    """
    if language not in LANGUAGES:
        raise ValueError(f"no texts in {language!r}; there are {', '.join(LANGUAGES)}")
    missing = [key for key, lines in _texts().items() if language not in lines]
    if missing:
        raise ValueError(f"templates/texts.toml: {', '.join(missing)}: no line for {language}")
    return MappingProxyType({key: lines[language] for key, lines in _texts().items()})


def text(language: str, key: str, **values: object) -> str:
    """One text in one of `LANGUAGES`, its braces filled from `values`.

    Raises ValueError for an unknown language, KeyError for an unknown key or a brace without a value.
    """
    return texts(language)[key].format_map(values)


@cache
def _texts() -> dict[str, dict[str, str]]:
    return tomllib.loads(_read("texts.toml"))


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _script(source: str) -> Script:
    body = source.encode()
    return Script(body, f'"{sha256(body).hexdigest()[:20]}"')
