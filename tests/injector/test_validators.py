"""Entity tags there and back."""

import pytest
from clew.injector.validators import forward_conditionals, mark_etag
from hypothesis import given
from hypothesis import strategies as st

MARK = b"1f2e3d"
opaque = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters='"\x7f'), max_size=20
)
opaque = opaque.filter(lambda text: all(c >= "\xa0" or c <= "~" for c in text))
entity_tags = st.builds(
    lambda weak, text: (b"W/" if weak else b"") + b'"' + text.encode("latin-1") + b'"', st.booleans(), opaque
)


def marked(tag: bytes, mark: bytes = MARK) -> bytes:
    ((_, value),) = mark_etag([(b"etag", tag)], mark)
    return value


def forwarded(field: bytes, value: bytes, mark: bytes = MARK) -> bytes | None:
    found = forward_conditionals([(field, value)], mark)
    return found[0][1] if found else None


def test_a_strong_etag_becomes_weak_and_marked() -> None:
    """injection 5.2: the shop's ETag does not identify the edited bytes."""
    assert marked(b'"abc"') == b'W/"abc-clew-1f2e3d"'
    assert marked(b'W/"abc"') == b'W/"abc-clewW-1f2e3d"'
    assert marked(b' "abc" ') == b'W/"abc-clew-1f2e3d"'


@pytest.mark.parametrize("value", [b"abc", b'"abc', b'"a" "b"', b"", b'w/"abc"', b"'abc'"])
def test_an_invalid_etag_is_not_sent_with_an_edited_page(value: bytes) -> None:
    assert mark_etag([(b"a", b"b"), (b"etag", value), (b"c", b"d")], MARK) == [(b"a", b"b"), (b"c", b"d")]


@given(entity_tags)
def test_the_shops_etag_is_restored_byte_for_byte(tag: bytes) -> None:
    """injection 5.3: there and back."""
    assert forwarded(b"if-none-match", marked(tag)) == tag
    assert forwarded(b"if-none-match", marked(tag).removeprefix(b"W/")) == tag
    assert forwarded(b"if-match", marked(tag)) == tag


@given(st.lists(entity_tags, min_size=1, max_size=5), st.lists(entity_tags, max_size=3))
def test_lists_keep_the_marked_etags(ours: list[bytes], others: list[bytes]) -> None:
    """injection 5.3: a copy that was edited otherwise, or not at all, must not be called fresh."""
    field = b", ".join([*others, *map(marked, ours), *(marked(tag, b"0ther") for tag in others)])
    assert forwarded(b"if-none-match", field) == b", ".join(ours)


@given(st.lists(entity_tags, max_size=5))
def test_conditions_without_the_mark_are_dropped(tags: list[bytes]) -> None:
    field = b", ".join([*tags, *(marked(tag, b"0ld") for tag in tags)])
    headers = [(b"if-none-match", field), (b"if-modified-since", b"Sat, 29 Oct 1994 19:43:31 GMT")]
    assert forward_conditionals(headers, MARK) == []


def test_any_representation_stays_any() -> None:
    assert forwarded(b"if-none-match", b"*") == b"*"
    assert forwarded(b"if-none-match", b" * ") == b" * "
    assert forwarded(b"if-match", b"*") == b"*"


def test_precondition_of_a_writer_is_never_lost() -> None:
    """injection 5.5: a CMS that saves a page must still get a conflict if it was changed meanwhile."""
    assert forwarded(b"if-match", b'"a", W/"b-clew-0ld", "c-clew-1f2e3d"') == b'"a", "b", "c"'
    headers = [(b"if-unmodified-since", b"Sat, 29 Oct 1994 19:43:31 GMT")]
    assert forward_conditionals(headers, MARK) == headers


def test_dates_and_ranges_of_a_navigation_go() -> None:
    """injection 3.11, 5.4."""
    headers = [
        (b"host", b"shop.example"),
        (b"if-modified-since", b"Sat, 29 Oct 1994 19:43:31 GMT"),
        (b"range", b"bytes=0-99"),
        (b"cookie", b"a=1"),
        (b"if-range", b'"abc"'),
        (b"cookie", b"b=2"),
    ]
    assert forward_conditionals(headers, MARK) == [headers[0], headers[3], headers[5]]


def test_nested_marks_come_off_one_by_one() -> None:
    """A shop behind two instances of clew."""
    inner = marked(b'"abc"', b"1nner")
    outer = marked(inner, b"0uter")
    assert forwarded(b"if-none-match", outer, b"0uter") == inner
    assert forwarded(b"if-none-match", inner, b"1nner") == b'"abc"'


@given(st.binary(max_size=80))
def test_conditions_may_contain_any_bytes(value: bytes) -> None:
    found = forwarded(b"if-none-match", value)
    assert found is None or found.strip() == b"*" or (b"-clew" in value)
    forwarded(b"if-match", value)
    mark_etag([(b"etag", value)], MARK)
