"""The loader and the widget for browsers, their texts in each language, and the templates of the desk's
pages.

The loader (`l.js`) is the same for every site and visitor, and the widget (`w.js`) for all who read one
language, so that they can be cached; the response of `decide` has the rest. The widget has several source
files but is served as one module, because the trust in an `import()` (nonce, `strict-dynamic`, CSP3 §8.2)
does not extend to the imports of the module.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from .languages import LANGUAGES, accepted_languages, language, text, texts, texts_of

__all__ = [
    "LANGUAGES",
    "Script",
    "accepted_languages",
    "carry_script",
    "checkout_script",
    "consent_script",
    "language",
    "loader",
    "order_script",
    "provider_script",
    "silence",
    "text",
    "texts",
    "texts_of",
    "widget",
]

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
def widget(language: str = "en") -> Script:
    """The widget, `w.js`: one ES module with the texts of one of `LANGUAGES` and its style sheet inside.

    Raises ValueError for another language.
    """
    source = "\n".join(_read(name) for name in _WIDGET)
    found = texts_of(language)
    own = {"language": language, "direction": found.direction, "texts": dict(found.widget)}
    for mark, value in ((_TEXTS_MARK, own), (_STYLE_MARK, _read("widget/w.css"))):
        if source.count(mark) != 1:
            raise ValueError(f"templates/w.js and templates/widget/: {mark} must be there exactly once")
        source = source.replace(mark, json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    return _script(source)


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _script(source: str) -> Script:
    body = source.encode()
    return Script(body, f'"{sha256(body).hexdigest()[:20]}"')
