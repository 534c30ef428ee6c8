"""The texts: complete, alike in their braces, known to those who ask for them."""

import re
import string
import tomllib
from pathlib import Path

import pytest
from clew import templates
from clew.settings import model

FILE = Path(templates.__file__).with_name("texts.toml")
KEYS = tomllib.loads(FILE.read_text(encoding="utf-8"))
# Words that are spelt alike in two languages.
SAME = {("messages", "fr")}


def braces(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_texts_exist_in_every_language_of_the_settings() -> None:
    assert templates.LANGUAGES == model.LANGUAGES


@pytest.mark.parametrize("language", templates.LANGUAGES)
@pytest.mark.parametrize("key", KEYS)
def test_every_text_exists_in_every_language(key: str, language: str) -> None:
    text = templates.texts(language)[key]
    assert text == text.strip() != ""
    assert braces(text) == braces(KEYS[key]["en"])
    assert language == "en" or (key, language) in SAME or text != KEYS[key]["en"]


def test_texts_have_no_language_that_cannot_be_selected() -> None:
    assert {language for lines in KEYS.values() for language in lines} == set(templates.LANGUAGES)


def test_the_widget_uses_only_texts_that_exist() -> None:
    source = templates.widget().body.decode()
    asked = set(re.findall(r"\btexts\.(\w+)", source))
    for names in re.findall(r"const \{ ([\w, ]+) \} = this\.texts;", source):
        asked |= set(names.split(", "))
    assert {"send", "failed", "new_message"} <= asked
    assert asked <= set(KEYS)


def test_a_text_is_filled_and_a_missing_value_is_an_error() -> None:
    assert templates.text("de", "unread", count=3) == "Neue Nachrichten: 3"
    with pytest.raises(KeyError, match="count"):
        templates.text("de", "unread")
    with pytest.raises(KeyError, match="no_such_text"):
        templates.text("de", "no_such_text")


def test_a_language_without_texts_is_named() -> None:
    with pytest.raises(ValueError, match="'sv'"):
        templates.text("sv", "send")


@pytest.mark.parametrize(
    ("tag", "language"),
    [
        ("de-AT", "de"),
        ("FR", "fr"),
        ("ru_RU", "ru"),
        ("fi ", "fi"),
        ("sv-SE", "en"),
        ("", "en"),
        ("deutsch", "en"),
    ],
)
def test_a_browsers_language_tag_finds_the_language(tag: str, language: str) -> None:
    assert templates.language(tag) == language
    assert templates.language(tag, "nl") == (language if language != "en" else "nl")
