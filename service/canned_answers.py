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

from .. import templates
from ..rules.placeholders import filled_as_known, problems, written_in
from ..stores.ledger.canned import SHORTCUT_LENGTH, TEXT_LENGTH, Canned, CannedError
from .conversations import without_controls

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


def filled(answers: Sequence[Canned], language: str, values: Mapping[str, str], default: str) -> list[Filled]:
    """The answers for a conversation in a language; one without a text in it is in `default`, in English or
    in any."""
    return [_filled(one, language, values, default) for one in answers]


def _filled(one: Canned, language: str, values: Mapping[str, str], default: str) -> Filled:
    spoken = next((name for name in (language, default, "en") if name in one.texts), next(iter(one.texts)))
    text = filled_as_known(one.texts[spoken], values)
    return Filled(one.id, bool(one.agent), one.shortcut, text, spoken)


def unfilled(text: str) -> list[str]:
    """The placeholders that a text still has, each once."""
    return written_in(text)


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
    for problem in problems(plain):
        raise CannedError(problem)
    return name, plain
