from clew.survey.words import shown


def test_what_cannot_be_printed_is_shown_as_an_escape_on_one_line() -> None:
    assert shown("a\x1b[31m\nb\u202ec\x00") == "a\\x1b[31m b\\u202ec\\x00"


def test_long_text_is_shortened() -> None:
    assert shown("x" * 500, 10) == "xxxxxxxxx…"
    assert len(shown("\x1b" * 500, 20)) == 20
