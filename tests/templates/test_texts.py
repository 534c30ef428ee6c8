"""The texts: complete, alike in their braces, with the plural forms of their language."""

import re
import string
import tomllib
from pathlib import Path

import pytest
from babel import Locale
from built_scripts import WIDGET
from clew import templates
from clew.settings import model

FOLDER = Path(templates.__file__).with_name("texts")
FILES = {path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.toml")}
ENGLISH = FILES["en"]
SECTIONS = ("widget", "menu", "share", "server")
# Words that are spelt as in English.
SAME = {("messages", "fr"), ("send", "da"), ("start", "da")}
EUROPEAN_UNION = set("bg cs da de el en es et fi fr ga hr hu it lt lv mt nl pl pt ro sk sl sv".split())  # noqa: SIM905


def braces(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def forms(text: object) -> list[str]:
    return list(text.values()) if isinstance(text, dict) else [str(text)]


def test_texts_exist_in_every_language_of_the_settings() -> None:
    assert model.LANGUAGES == templates.LANGUAGES == tuple(sorted(FILES))
    assert set(templates.LANGUAGES) == EUROPEAN_UNION | {"ar", "ja", "ru", "tr", "uk", "zh"}


@pytest.mark.parametrize("language", templates.LANGUAGES)
def test_a_file_says_which_language_it_is_and_whether_somebody_has_read_it(language: str) -> None:
    found, locale = FILES[language], Locale(language)
    assert set(found) <= {"name", "direction", "machine_made", *SECTIONS}
    assert found["name"] == locale.get_display_name(language)
    assert found.get("direction", "ltr") == locale.text_direction
    assert found.get("machine_made", False) is (language != "en")


@pytest.mark.parametrize("language", templates.LANGUAGES)
@pytest.mark.parametrize("section", SECTIONS)
def test_every_text_exists_in_every_language(language: str, section: str) -> None:
    texts, english = FILES[language][section], ENGLISH[section]
    assert list(texts) == sorted(texts), "one text a line, sorted by key"
    assert set(texts) == set(english)
    categories = {*Locale(language).plural_form.tags, "other"}
    for key, text in texts.items():
        wanted = braces(forms(english[key])[0])
        # A number needs the plural forms of the language; nothing else has them.
        assert isinstance(text, dict) == ("count" in wanted), key
        assert not isinstance(text, dict) or set(text) == categories, key
        for form in forms(text):
            assert form == form.strip() != ""
            assert braces(form) == wanted, key
        same = language == "en" or (key, language) in SAME
        assert same or text != english[key], key


def test_the_widget_uses_all_texts_that_it_gets_and_no_others() -> None:
    source = "\n".join((FOLDER.parent / name).read_text(encoding="utf-8") for name in WIDGET)
    asked = set(re.findall(r"\btexts\.(\w+)", source))
    for names in re.findall(r"const \{ ([\w, ]+) \} = this\.texts;", source):
        asked |= set(names.split(", "))
    assert asked == set(ENGLISH["widget"])


def test_what_sends_files_uses_all_texts_that_it_gets_and_no_others() -> None:
    menu = (FOLDER.parent / "m.js").read_text(encoding="utf-8")
    found = {one or other for one, other in re.findall(r"\bTEXTS\.(\w+)|\{ (\w+) \} = TEXTS", menu)}
    assert found == set(ENGLISH["menu"])
    source = (FOLDER.parent / "s.js").read_text(encoding="utf-8")
    asked = set(re.findall(r"\bTEXTS\.(\w+)", source)) | set(re.findall(r'"(file_\w+)"', source))
    assert asked == set(ENGLISH["share"])


def test_a_text_is_filled_and_a_missing_value_is_an_error() -> None:
    assert templates.text("de", "unread", count=3) == "3 neue Nachrichten"
    assert templates.text("de", "unread", count=1) == "1 neue Nachricht"
    assert templates.text("uk", "unread", count=22) == "22 нові повідомлення"
    assert templates.text("ja", "unread", count=1) == "新しいメッセージ 1 件"
    with pytest.raises(KeyError, match="count"):
        templates.text("de", "unread")
    with pytest.raises(KeyError, match="no_such_text"):
        templates.text("de", "no_such_text")


def test_a_language_without_texts_is_named() -> None:
    with pytest.raises(ValueError, match="'nb'"):
        templates.text("nb", "send")


@pytest.mark.parametrize(
    ("tag", "accepted", "language"),
    [
        ("de-AT", "fr", "de"),
        ("FR", "", "fr"),
        ("zh-Hant-TW", "", "zh"),
        ("ru_RU", "", "ru"),
        ("fi ", "", "fi"),
        ("nb-NO", "", "nl"),
        ("nb-NO", "nb-NO,nb;q=0.9,sv;q=0.5,en;q=0.6", "en"),
        ("", "nb;q=1,da;q=0,sv;q=0.1", "sv"),
        ("", "de;q=x, ar ;q=0.3", "ar"),
        ("deutsch", "*", "nl"),
        ("", "," * 200 + "de", "nl"),
        ("", "de;q=" + "9" * 400 + ", it;q=0.2", "it"),
        ("", "de;q=٣, it;q=0.2", "it"),
    ],
)
def test_the_page_the_browser_and_the_site_are_asked_in_turn(tag: str, accepted: str, language: str) -> None:
    assert templates.language(tag, accepted, "nl") == language
