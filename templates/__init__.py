"""The loader and the widget for browsers, their texts in each language, and the templates of the desk's
pages.

The loader (`l.js`) is the same for every site and visitor, and the widget (`w.js`) for all who read one
language, so that they can be cached; the response of `decide` has the rest. The widget has several source
files but is served as one module, because the trust in an `import()` (nonce, `strict-dynamic`, CSP3 §8.2)
does not extend to the imports of the module. What is served is in `built/`, without comments: `make scripts`
writes it.
"""

import gzip
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
    "actions_script",
    "carry_script",
    "checkout_script",
    "consent_script",
    "language",
    "loader",
    "menu_script",
    "order_script",
    "phone_label",
    "provider_script",
    "share_script",
    "silence",
    "text",
    "texts",
    "texts_of",
    "widget",
]

_HERE = Path(__file__).parent
# Placeholders in the built scripts.
_TEXTS_MARK = '"clew:texts"'
_ENTRY_MARK = '"clew:entry"'


@dataclass(frozen=True, slots=True)
class Script:
    """A script to serve as `text/javascript; charset=utf-8`.

    Its bytes, the same compressed, and the strong entity tags of both with their quotes (RFC 9110 §8.8.3).
    """

    body: bytes
    etag: str
    gzipped: bytes
    gzipped_etag: str


@cache
def loader() -> Script:
    """The loader, `l.js`: a classic script that calls `decide` and imports the widget if needed."""
    return _script(_read("built/l.js"))


@cache
def order_script() -> Script:
    """`o.js`, which reports an order on a page that a script rendered; the loader imports it there."""
    return _script(_read("built/o.js"))


@cache
def consent_script() -> Script:
    """What watches the visitor's consent, `c.js`: the loader imports it at a site that asks for it."""
    return _script(_read("built/c.js"))


@cache
def carry_script() -> Script:
    """What writes clew's token to the cart, `k.js`: the loader imports it at a site that asks for it."""
    return _script(_read("built/k.js"))


@cache
def signals_script() -> Script:
    """What tells signals that only the browser knows, `t.js`: the loader imports it when a decision waits for
    one."""
    return _script(_read("built/t.js"))


def provider_script(entry: Mapping[str, object]) -> Script:
    """What loads and steers the chat of another company, `p.js`, with the provider's entry and the shop's ids
    (`chat.providers.Provider.filled`). The widget imports it when the chat is opened."""
    return _script(_filled("p.js", _ENTRY_MARK, entry))


@cache
def menu_script(language: str = "en") -> Script:
    """The chat's menu and rating, `m.js`, with its texts in one of `LANGUAGES`: the widget imports it when
    the chat is opened. Raises ValueError for another language."""
    return _script(_filled("m.js", _TEXTS_MARK, dict(texts_of(language).menu)))


_OF_ACTIONS = ("callback_sent", "callback_title", "not_now", "phone", "phone_wrong", "show_code")


@cache
def actions_script(language: str = "en", *, one_country: bool = False) -> Script:
    """What few invites have, `a.js`, such as a form to be called, with its texts in one of `LANGUAGES`: the
    widget imports it with such an invite. With `one_country` the form does not ask for the country code.
    Raises ValueError for another language."""
    known = dict(texts(language))
    known["phone"] = known[phone_label(one_country=one_country)]
    return _script(_filled("a.js", _TEXTS_MARK, {key: known[key] for key in _OF_ACTIONS}))


def phone_label(*, one_country: bool) -> str:
    """The name of the text that asks for a phone number: at a site that knows in which country a number
    without a country code is, nobody has to write one."""
    return "phone_here" if one_country else "phone"


@cache
def checkout_script() -> Script:
    """What takes the visitor along to the shop's other hosts, `h.js`: the loader imports it at a site with
    `checkout_hosts`."""
    return _script(_read("built/h.js"))


@cache
def silence() -> Script:
    """An empty loader for sites on which clew is switched off, since cached pages may still load it."""
    return _script("// clew is switched off on this site.\n")


@cache
def widget(language: str = "en") -> Script:
    """The widget, `w.js`: one ES module with the texts of one of `LANGUAGES` and its style sheet inside.

    Raises ValueError for another language.
    """
    found = texts_of(language)
    own = {"language": language, "direction": found.direction, "texts": dict(found.widget)}
    return _script(_filled("w.js", _TEXTS_MARK, own))


@cache
def share_script(language: str = "en") -> Script:
    """What sends files, `s.js`, with its texts in one of `LANGUAGES`: the widget imports it when the visitor
    chooses one. Raises ValueError for another language."""
    return _script(_filled("s.js", _TEXTS_MARK, dict(texts_of(language).share)))


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _filled(name: str, mark: str, value: object) -> str:
    source = _read(f"built/{name}")
    if source.count(mark) != 1:
        raise ValueError(f"templates/built/{name}: {mark} must be there exactly once")
    return source.replace(mark, json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _script(source: str) -> Script:
    body = source.encode()
    digest = sha256(body).hexdigest()[:20]
    return Script(body, f'"{digest}"', gzip.compress(body, 9, mtime=0), f'"{digest}-gzip"')
