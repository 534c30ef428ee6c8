import pytest
from clew.injector.charsets import decoded

KETTLE = "Käse, 12 €"


@pytest.mark.parametrize(
    ("copy", "charset", "text"),
    [
        (KETTLE.encode(), "utf-8", KETTLE),
        (KETTLE.encode(), "UTF-8", KETTLE),
        (KETTLE.encode(), None, KETTLE),
        (KETTLE.encode("cp1252"), "iso-8859-1", KETTLE),
        (KETTLE.encode("cp1252"), "windows-1252", KETTLE),
        (KETTLE.encode("cp1252"), None, KETTLE),
        (KETTLE.encode("iso8859-15"), " ISO-8859-15 ", KETTLE),
        (KETTLE.encode("gb18030"), "gb2312", KETTLE),
        ("茶碗".encode("cp932"), "Shift_JIS", "茶碗"),
        ("茶碗".encode("cp932"), "x-sjis", "茶碗"),
        ("чайник".encode("koi8-r"), "koi8-r", "чайник"),
        ("чайник".encode("cp1251"), "windows-1251", "чайник"),
        ("\ufeff" + KETTLE, None, KETTLE),
        (("\ufeff" + KETTLE).encode(), "iso-8859-1", KETTLE),
        (("\ufeff" + KETTLE).encode("utf-16-le"), "utf-8", KETTLE),
        (("\ufeff" + KETTLE).encode("utf-16-be"), None, KETTLE),
        (KETTLE.encode("utf-16-le"), "utf-16", KETTLE),
        (KETTLE.encode(), "utf-9", KETTLE),
        (KETTLE.encode(), "hex", KETTLE),
        (b"", None, ""),
    ],
)
def test_text_is_what_a_browser_would_read(copy: bytes | str, charset: str | None, text: str) -> None:
    assert decoded(copy.encode() if isinstance(copy, str) else copy, charset) == text


@pytest.mark.parametrize(
    "meta",
    [
        b'<meta charset="%s">',
        b"<META Charset=%s />",
        b'<meta http-equiv=Content-Type content="text/html; charset=%s">',
    ],
)
def test_charset_of_a_meta_element_counts_if_the_header_has_none(meta: bytes) -> None:
    page = meta % b"windows-1251" + "чайник".encode("cp1251")
    assert decoded(page, None).endswith("чайник")
    assert not decoded(page, "iso-8859-5").endswith("чайник")


def test_meta_that_claims_utf_16_is_utf_8() -> None:
    assert decoded(b"<meta charset=utf-16>" + KETTLE.encode(), None).endswith(KETTLE)


def test_meta_behind_the_prescan_does_not_count() -> None:
    page = b" " * 1024 + b"<meta charset=windows-1251>" + KETTLE.encode()
    assert decoded(page, None).endswith(KETTLE)


def test_copy_that_ends_within_a_character_stays_utf_8() -> None:
    copy = KETTLE.encode()[:-1]
    assert decoded(copy, None) == KETTLE[:-1] + "\ufffd"
