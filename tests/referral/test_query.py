from urllib.parse import unquote_to_bytes

from clew.referral.query import filled, pairs, placeholders, printable, raw_pairs
from hypothesis import given
from hypothesis import strategies as st


def test_pairs_are_decoded_and_raw_pairs_are_not() -> None:
    query = b"a=1%202&b&=c&d=%3D=%&e=+"
    assert list(raw_pairs(query)) == [
        (b"a", b"1%202"),
        (b"b", b""),
        (b"", b"c"),
        (b"d", b"%3D=%"),
        (b"e", b"+"),
    ]
    assert list(pairs(query)) == [(b"a", b"1 2"), (b"b", b""), (b"", b"c"), (b"d", b"==%"), (b"e", b"+")]


@given(st.binary(max_size=200))
def test_the_printable_form_of_an_address_means_the_same(raw: bytes) -> None:
    shown = printable(raw)
    assert all(0x21 <= ord(c) <= 0x7E for c in shown)
    assert unquote_to_bytes(shown) == unquote_to_bytes(raw)


def test_a_template_is_filled_once_and_only_if_nothing_is_missing() -> None:
    assert placeholders(b"{a}-{b}") == [b"a", b"b"]
    assert filled(b"{a}-{b}-{a}", {b"a": b"{b}", b"b": b"\xff"}) == b"{b}-\xff-{b}"
    assert filled(b"{a}-{b}", {b"a": b"1"}) is None
    assert filled(b"{a}", {b"a": b""}) is None
