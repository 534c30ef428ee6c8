"""What files are, and what they are called."""

import unicodedata
from itertools import pairwise

import pytest
from clew.chat.files import (
    HEAD_BYTES,
    NAME_LENGTH,
    FileRefusedError,
    Sniffer,
    checked,
    disposition,
    safe_name,
)
from hypothesis import given
from hypothesis import strategies as st
from pictures import PDF, photo, picture

TEXT = "text/plain; charset=utf-8"


def kind_of(*parts: bytes) -> str | None:
    sniffer = Sniffer()
    for part in parts:
        sniffer.feed(part)
    return sniffer.kind()


@given(st.binary(max_size=3000), st.lists(st.integers(0, 3000), max_size=5))
def test_what_a_file_is_does_not_depend_on_how_its_bytes_come(data: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[start:end] for start, end in pairwise(places)]
    assert kind_of(*pieces) == kind_of(data)


@given(st.binary(max_size=300))
def test_text_is_what_can_be_read_as_text(data: bytes) -> None:
    if kind_of(data) == "text":
        assert all(c in "\t\n\x0c\r" or unicodedata.category(c) != "Cc" or c >= "\x80" for c in data.decode())


@given(st.binary(min_size=1, max_size=200))
def test_bytes_behind_a_text_can_make_it_none(tail: bytes) -> None:
    start = b"a" * HEAD_BYTES * 2
    assert (kind_of(start, tail) == "text") == (kind_of(b"a", tail) == "text")


@pytest.mark.parametrize("data", [photo(), picture("PNG"), picture("GIF"), picture("WEBP")])
def test_pictures_are_told_by_their_first_bytes(data: bytes) -> None:
    assert kind_of(data) == "picture"
    assert checked("picture", "a.webp", ["picture"]) == "picture"


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [("text", "a.html", "lies"), ("pdf", "a.txt", "lies"), (None, "a.txt", "type"), ("pdf", "a.pdf", "type")],
)
def test_a_name_that_lies_is_refused(kind: str | None, name: str, reason: str) -> None:
    with pytest.raises(FileRefusedError) as refused:
        checked(kind, name, ["picture", "text"] if reason == "type" else ["picture", "pdf", "text"])  # type: ignore[arg-type]
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("given_", "safe"),
    [
        ("../../etc/passwd", "passwd.txt"),
        ("C:\\Users\\anna\\note.txt", "note.txt"),
        ("evil\u202etxt.exe", "eviltxt.txt"),
        ('a";filename=x.exe', "a__filename=x.txt"),
        ("line\r\nSet-Cookie: x", "lineSet-Cookie_ x.txt"),
        ("", "file.txt"),
        ("....", "file.txt"),
        ("größe 43.TXT", "größe 43.txt"),
        ("x" * 500, "x" * (NAME_LENGTH - 4) + ".txt"),
    ],
)
def test_a_name_is_one_line_without_tricks(given_: str, safe: str) -> None:
    assert safe_name(given_, TEXT) == safe


@given(st.text(max_size=300))
def test_any_name_fits_into_the_header(name: str) -> None:
    safe = safe_name(name, TEXT)
    assert 4 < len(safe) <= NAME_LENGTH
    assert safe.endswith(".txt")
    header = disposition(safe, inline=False)
    header.encode("ascii")
    assert header.isprintable()
    assert header.count('"') == 2
    assert header.startswith("attachment; ")


def test_a_pdf_is_told_by_its_beginning_alone() -> None:
    assert kind_of(PDF) == "pdf"
    assert kind_of(b"\n" + PDF) == "text"
