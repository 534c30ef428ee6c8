"""What a canned answer says in a conversation: the text in its language, with the placeholders filled in.

A placeholder whose value is not known stays as it is written, `{visitor}`, and a message with one in it is
not sent: the agent replaces it first.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from .. import templates
from ..referral.masking import one_line
from ..referral.visitor import Visitor
from ..stores.ledger.canned import SHORTCUT_LENGTH, TEXT_LENGTH, Canned, CannedError
from .conversations import partner_of, without_controls
from .page_names import short_titles
from .site import SiteRuntime

PLACEHOLDERS: Final[Mapping[str, str]] = {
    "product": "the product page that the visitor saw last",
    "cart": "the value of the visitor's cart",
    "partner": "the partner who sent the visitor",
    "visitor": "the visitor's name, which you write in: clew does not know it",
    "agent": "your name, as visitors see it",
}
_PLACEHOLDER: Final = re.compile(r"\{(" + "|".join(PLACEHOLDERS) + r")\}")
_BRACES: Final = re.compile(r"\{([^{}\n]{1,30})\}")
_SHORTCUT: Final = re.compile(rf"[a-z0-9][a-z0-9_-]{{0,{SHORTCUT_LENGTH - 1}}}")


@dataclass(frozen=True, slots=True)
class Filled:
    """A canned answer for a conversation. `language` is that of the text, in which placeholders
    without a value are left."""

    id: int
    own: bool
    shortcut: str
    text: str
    language: str


@cache
def first_answers() -> Sequence[tuple[str, Mapping[str, str]]]:
    """The answers that a new site begins with, from templates/desk/canned.toml."""
    path = Path(templates.__file__).parent / "desk" / "canned.toml"
    lines = tomllib.loads(path.read_text(encoding="utf-8"))["answers"]
    return [(line["shortcut"], {k: v for k, v in line.items() if k != "shortcut"}) for line in lines]


def values_for(site: SiteRuntime, visitor: Visitor | None, shown: str | None) -> dict[str, str]:
    """The values of placeholders, as far as they are known. `shown` is the agent's name."""
    values = {"agent": shown or ""}
    if visitor is not None:
        values["partner"] = partner_of(visitor) or ""
        values["cart"] = one_line(
            f"{visitor.cart.get('value', '')} {visitor.cart.get('currency', '')}".strip()
        )
        values["product"] = _product(site, visitor)
    return {name: value for name, value in values.items() if value}


def _product(site: SiteRuntime, visitor: Visitor) -> str:
    """The name of the product page that the visitor saw last."""
    names = short_titles(page.title for page in visitor.trail)
    for page in reversed(visitor.trail):
        try:
            parts = urlsplit(page.url)
        except ValueError:
            continue
        if site.page_type(parts.path, parts.query) == "product":
            return names[one_line(page.title)]
    return ""


def filled(answers: Sequence[Canned], language: str, values: Mapping[str, str], default: str) -> list[Filled]:
    """The answers for a conversation in a language; one without a text in it is in `default`, in English or
    in any."""
    return [_filled(one, language, values, default) for one in answers]


def _filled(one: Canned, language: str, values: Mapping[str, str], default: str) -> Filled:
    spoken = next((name for name in (language, default, "en") if name in one.texts), next(iter(one.texts)))
    text = _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), one.texts[spoken])
    return Filled(one.id, bool(one.agent), one.shortcut, text, spoken)


def unfilled(text: str) -> list[str]:
    """The placeholders that a text still has, each once."""
    return list(dict.fromkeys(found[0] for found in _PLACEHOLDER.finditer(text)))


def checked(shortcut: str, text: str) -> tuple[str, str]:
    """Shortcut and text as they are kept. Raises CannedError."""
    name = shortcut.strip().removeprefix("/").lower()
    if not _SHORTCUT.fullmatch(name):
        raise CannedError(
            f"a shortcut is up to {SHORTCUT_LENGTH} letters a to z, digits, - and _, such as delivery"
        )
    plain = without_controls(text).strip()
    if not plain:
        raise CannedError("the text is empty")
    if len(plain) > TEXT_LENGTH:
        raise CannedError(f"the text has {len(plain)} characters, at most {TEXT_LENGTH} are kept")
    for found in _BRACES.finditer(plain):
        if found[1] not in PLACEHOLDERS:
            names = ", ".join(f"{{{one}}}" for one in PLACEHOLDERS)
            raise CannedError(f"{found[0]} is no placeholder; there are {names}")
    return name, plain
