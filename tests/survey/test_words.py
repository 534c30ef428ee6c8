from clew.survey.words import shown


def test_unprintable_characters_are_shown_as_escapes_on_one_line() -> None:
    assert shown("a\x1b[31m\nb\u202ec\x00") == "a\\x1b[31m b\\u202ec\\x00"


def test_long_text_is_shortened() -> None:
    assert shown("x" * 500, 10) == "xxxxxxxxx…"
    assert len(shown("\x1b" * 500, 20)) == 20
