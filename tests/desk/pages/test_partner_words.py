"""The texts of partners' pages: every language has all of them, and every value of the ledger has a word."""

import re
import tomllib
from pathlib import Path
from typing import get_args

import clew.templates as templates
import pytest
from clew.orders.model import STATES as ORDER_STATES
from clew.payouts.account import STATES as COMMISSION_STATES
from clew.postbacks.due import EVENTS
from clew.postbacks.model import STATES as CALL_STATES
from clew.postbacks.model import Outcome
from clew.service.resending import Refusal

FOLDER = Path(templates.__file__).parent / "desk"
TEXTS = tomllib.loads((FOLDER / "partner.toml").read_text("utf-8"))
VALUES = {
    "order": ORDER_STATES,
    "state": (*COMMISSION_STATES, "amended_approved", "review"),
    "channel": ("web", "chat", "phone"),
    "event": EVENTS,
    "call": (*(set(CALL_STATES) - {"held", "refused"}), "review", "declined"),
    "outcome": get_args(Outcome),
    "refused": get_args(Refusal),
    "resent": ("due", "delivered", "dead", "unknown"),
    "verdict": ("more", "fewer", "no_clear_difference", "too_few"),
}


def test_each_language_has_the_same_texts_with_the_same_places() -> None:
    assert set(TEXTS) == {"en", "de"}
    places = {
        language: {name: re.findall(r"\{[^}]*\}", text) for name, text in texts.items()}
        for language, texts in TEXTS.items()
    }
    assert places["en"] == places["de"]


@pytest.mark.parametrize("kind", VALUES)
def test_each_value_has_a_word(kind: str) -> None:
    missing = [f"{kind}_{value}" for value in VALUES[kind] if f"{kind}_{value}" not in TEXTS["en"]]
    assert missing == []


def test_each_text_is_used() -> None:
    """By its name in a template or a module, or as the word of a value."""
    files = [*FOLDER.glob("*partner*.html"), *(FOLDER.parents[1] / "desk" / "pages").glob("*.py")]
    code = "\n".join(file.read_text("utf-8") for file in files)
    words = {f"{kind}_{value}" for kind, values in VALUES.items() for value in values}
    unused = [name for name in TEXTS["en"] if name not in words and not re.search(rf"\b(t\.)?{name}\b", code)]
    assert unused == []
