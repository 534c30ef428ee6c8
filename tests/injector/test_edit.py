"""One body on its way: byte for byte the shop's own, plus the tag."""

import gzip
import random
import tracemalloc
import zlib
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest
from backports import zstd
from clew.injector.codings import PREFERENCE, decoder, encoder
from clew.injector.edit import HELD, Broken, PageEdit
from clew.injector.scanner import LOOK
from clew.injector.tag import tag
from hypothesis import given, settings
from hypothesis import strategies as st

TAG = tag("/-/clew/")
PAGES = {path.stem: path.read_bytes() for path in sorted((Path(__file__).parent / "pages").glob("*.html"))}
PAGE = PAGES["woocommerce"]
HEAD = PAGE.index(b"<head ") + len(b'<head itemscope itemtype="https://schema.org/WebSite">')
EDITED = PAGE[:HEAD] + TAG + PAGE[HEAD:]
CODINGS = ("identity", *PREFERENCE)
CHUNKS = (1, 2, 3, 7, 4096, 10**6)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def encode(coding: str, chunks: Iterable[bytes]) -> list[bytes]:
    """The chunks as a shop would send them: each flushed, then the end of the stream."""
    if coding == "identity":
        return list(chunks)
    made = encoder(coding)
    return [*map(made.encode, chunks), made.finish()]


def decode(coding: str, body: bytes) -> bytes:
    if coding == "identity":
        return body
    made = decoder(coding)
    decoded = b"".join(made.decode(body))
    assert made.complete
    return decoded


def send(edit: PageEdit, chunks: Iterable[bytes]) -> bytes:
    return b"".join([*map(edit.feed, chunks), edit.end()])


@pytest.mark.parametrize("coding_out", CODINGS)
@pytest.mark.parametrize("coding_in", CODINGS)
@pytest.mark.parametrize("size", CHUNKS)
def test_page_differs_by_the_tag_alone_in_every_coding(coding_in: str, coding_out: str, size: int) -> None:
    """injection 4.1, 4.10."""
    edit = PageEdit(TAG, coding_in, coding_out, copy_limit=10_000)
    sent = send(edit, encode(coding_in, cut(PAGE, size)))
    assert decode(coding_out, sent) == EDITED
    assert (edit.verdict, edit.inserted, edit.added, edit.reason) == ("edit", True, len(TAG), "")
    assert edit.copy == PAGE


@pytest.mark.parametrize("coding_in", CODINGS)
@pytest.mark.parametrize("name", PAGES)
def test_coded_bodies_may_be_cut_at_any_byte(name: str, coding_in: str) -> None:
    """injection 2.1, 2.2, 4.10: the same bytes for every cut, and those of the shop without the tag."""
    page = PAGES[name]
    coded = b"".join(encode(coding_in, [page]))
    whole = send(PageEdit(TAG, coding_in, "identity"), [coded])
    assert whole.count(TAG) == (name != "amp")
    assert whole.replace(TAG, b"") == (coded if name == "amp" else page)
    for at in range(1, len(coded)):
        got = send(PageEdit(TAG, coding_in, "identity"), [coded[:at], coded[at:]])
        # A doctype that was flushed is an edited page already; its bytes are then sent decoded, without the
        # tag.
        assert got == whole or (name == "amp" and got == page)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(sorted(PAGES)),
    st.sampled_from(CODINGS),
    st.sampled_from(CODINGS),
    st.lists(st.integers(0, 2000), max_size=8),
    st.integers(0, 3000),
)
def test_chunking_and_copying_never_change_a_page(
    name: str, coding_in: str, coding_out: str, cuts: list[int], limit: int
) -> None:
    page = PAGES[name]
    edges = [0, *sorted(cuts), len(page)]
    chunks = [page[a:b] for a, b in pairwise(edges)]
    edit = PageEdit(TAG, coding_in, coding_out, limit)
    sent = send(edit, encode(coding_in, chunks))
    assert decode(coding_out if edit.verdict == "edit" else coding_in, sent).replace(TAG, b"") == page
    assert edit.copy == page[:limit]


@pytest.mark.parametrize("size", [1, 40, 700, 10**6])
@pytest.mark.parametrize("coding_out", CODINGS)
def test_chunks_in_a_buffer_that_is_used_again_give_the_same_page(coding_out: str, size: int) -> None:
    edit, sent = PageEdit(TAG, "identity", coding_out), []
    for chunk in cut(PAGE, size):
        buffer = bytearray(chunk)
        first, rest = edit.borrowed(memoryview(buffer))
        sent += [first, bytes(rest)]
        buffer[:] = bytes(len(buffer))
    sent.append(edit.end())
    assert edit.inserted
    assert edit.added == len(TAG)
    assert decode(coding_out, b"".join(sent)) == EDITED


def test_a_whole_page_in_one_chunk_has_its_length() -> None:
    """injection 2.10: the head can be sent with the exact length."""
    edit = PageEdit(TAG, "identity", "identity")
    assert edit.feed(PAGE) == EDITED
    assert (edit.verdict, edit.added) == ("edit", len(TAG))
    assert edit.end() == b""


def test_chunks_after_the_tag_pass_unchanged() -> None:
    edit = PageEdit(TAG, "identity", "identity")
    edit.feed(PAGE)
    chunk = b"</body>" * 1000
    assert edit.feed(chunk) is chunk
    assert edit.feed(b"") == b""


def test_flushed_doctype_is_not_held_back() -> None:
    """injection 2.4: bytes are sent with the chunk that made the decision possible."""
    edit = PageEdit(TAG, "identity", "identity")
    assert edit.feed(b"<!doctype html>\n") == b"<!doctype html>\n"
    assert (edit.verdict, edit.added) == ("edit", None)
    assert edit.feed(b"<html>") == b"<html>"
    assert edit.feed(b"<head>") == b"<head>"
    assert edit.feed(b"<ti") == TAG + b"<ti"
    assert edit.added == len(TAG)
    assert edit.feed(b"tle>") == b"tle>"
    assert edit.end() == b""


def test_token_that_is_cut_in_two_waits_for_its_other_half() -> None:
    """injection 2.3: nothing is written into the middle of a tag."""
    edit = PageEdit(TAG, "identity", "identity")
    assert edit.feed(b"<!doctype html><html lang=") == b""
    assert edit.verdict == "undecided"
    assert edit.feed(b"de><head><title>") == b"<!doctype html><html lang=de><head>" + TAG + b"<title>"


def test_page_that_ends_with_its_head_gets_the_tag_at_the_end() -> None:
    for chunks in ([b"<!doctype html><head>"], [b"<!doctype html><head>", b"\n"], [b"<head>", b"<scr"]):
        page = b"".join(chunks)
        assert send(PageEdit(TAG, "identity", "gzip"), chunks)[:2] == b"\x1f\x8b"
        edited = send(PageEdit(TAG, "identity", "identity"), chunks)
        assert edited == page.replace(b"<head>", b"<head>" + TAG)


@pytest.mark.parametrize("coding_out", PREFERENCE)
@pytest.mark.parametrize("coding_in", CODINGS)
def test_every_flushed_chunk_can_be_read_by_the_client_at_once(coding_in: str, coding_out: str) -> None:
    """injection 2.5: flush points are kept from the shop to the client."""
    chunks = [b"<!doctype html>", b"<head><title>", *cut(PAGE, 100)]
    edit, client, got = PageEdit(TAG, coding_in, coding_out), decoder(coding_out), b""
    coded = encode(coding_in, chunks)
    for n, chunk in enumerate(coded[: len(chunks)], 1):
        got += b"".join(client.decode(edit.feed(chunk)))
        assert got.replace(TAG, b"") == b"".join(chunks[:n])
    got += b"".join(client.decode(b"".join([*map(edit.feed, coded[len(chunks) :]), edit.end()])))
    assert client.complete


NO_PAGES = {
    "a fragment": b"<div>" * 50_000,
    "JSON": b'{"html": "<html><head>"}',
    "a payment provider's answer": b"OK",
    "white space": b" " * (LOOK + 10),
    "prose": b"Hello, " * 1000,
    "AMP": PAGES["amp"],
    "nothing": b"",
    "tagged already": EDITED,
}


@pytest.mark.parametrize("coding_in", CODINGS)
@pytest.mark.parametrize("name", NO_PAGES)
@pytest.mark.parametrize("size", [50, 70_000, 10**6])
def test_bodies_that_are_not_pages_pass_as_the_same_bytes(name: str, coding_in: str, size: int) -> None:
    body = NO_PAGES[name]
    chunks = cut(b"".join(encode(coding_in, [body] if body else [])), size)
    edit = PageEdit(TAG, coding_in, "gzip", copy_limit=100_000)
    assert send(edit, chunks) == b"".join(chunks)
    assert (edit.verdict, edit.inserted, edit.added) == ("pass", False, None)
    assert edit.reason
    assert edit.copy == body[:100_000]


def test_passing_chunks_are_not_even_copied() -> None:
    edit = PageEdit(TAG, "identity", "gzip")
    chunk = b"{" * 1000
    assert edit.feed(chunk) is chunk
    assert edit.feed(chunk) is chunk


@pytest.mark.parametrize("coding", PREFERENCE)
def test_broken_coding_before_the_verdict_passes(coding: str) -> None:
    edit = PageEdit(TAG, coding, "identity", copy_limit=1000)
    assert send(edit, [b"<!doctype html>", b"<head>"]) == b"<!doctype html><head>"
    assert edit.verdict == "pass"
    assert edit.reason in ("broken coding", "truncated")


def test_fault_in_the_chunk_that_would_decide_passes() -> None:
    """Nothing has been sent yet, so the client gets the original bytes."""
    coded = bytearray(gzip.compress(PAGE * 100, 0))
    coded[-1] ^= 1
    edit = PageEdit(TAG, "gzip", "identity")
    assert send(edit, [bytes(coded)]) == coded
    assert (edit.verdict, edit.inserted, edit.added) == ("pass", False, None)


@pytest.mark.parametrize("coding_out", ["identity", "gzip"])
@pytest.mark.parametrize("coding_in", PREFERENCE)
def test_truncated_page_never_ends_well(coding_in: str, coding_out: str) -> None:
    """injection 4.4: the client must not take half a page for a whole one."""
    first, *rest = encode(coding_in, [PAGE, PAGE])
    edit = PageEdit(TAG, coding_in, coding_out)
    edit.feed(first)
    assert edit.verdict == "edit"
    with pytest.raises(Broken, match="truncated"):
        edit.end()
    edit = PageEdit(TAG, coding_in, coding_out)
    sent = edit.feed(first) + b"".join(map(edit.feed, rest[:-1])) + edit.feed(rest[-1][:-1])
    with pytest.raises(Broken, match="truncated"):
        edit.end()
    assert decoded_so_far(coding_out, sent) == (EDITED + PAGE, False)


def decoded_so_far(coding: str, body: bytes) -> tuple[bytes, bool]:
    if coding == "identity":
        return body, False
    made = decoder(coding)
    return b"".join(made.decode(body)), made.complete


def test_truncated_page_before_the_verdict_passes_unchanged() -> None:
    coded = gzip.compress(b"<!doctype html><html lang=")[:-9]
    edit = PageEdit(TAG, "gzip", "identity")
    assert send(edit, [coded]) == coded
    assert (edit.verdict, edit.reason) == ("pass", "truncated")


@pytest.mark.parametrize("coding_in", PREFERENCE)
def test_fault_after_the_verdict_breaks_the_response(coding_in: str) -> None:
    edit = PageEdit(TAG, coding_in, "identity")
    assert edit.feed(encode(coding_in, [PAGE])[0]) == EDITED
    garbage = [b"\xff\x07garbage" * 100] * 100
    with pytest.raises(Broken, match="broken"):
        send(edit, garbage)


@pytest.mark.parametrize("coding_in", ["gzip", "zstd"])
def test_all_members_arrive(coding_in: str) -> None:
    """injection 4.3: two members make one page."""
    coded = b"".join(encode(coding_in, [PAGE[:500]]) + encode(coding_in, [PAGE[500:]]))
    assert send(PageEdit(TAG, coding_in, "identity"), [coded]) == EDITED


@pytest.mark.parametrize("coding_in", PREFERENCE)
def test_bomb_behind_a_head_breaks_the_response_within_bounds(coding_in: str) -> None:
    """injection 4.6: in chunks as a network brings them."""
    made = encoder(coding_in)
    first, bomb = made.encode(PAGE), made.encode(bytes(256 * 1024 * 1024))
    edit = PageEdit(TAG, coding_in, "gzip")
    edit.feed(first)
    tracemalloc.start()
    with pytest.raises(Broken, match="bomb"):
        list(map(edit.feed, cut(bomb, 16_384)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 * 1024 * 1024


def test_coded_stream_without_output_is_not_held_for_ever() -> None:
    empty = gzip.compress(b"")
    edit = PageEdit(TAG, "gzip", "identity")
    fed = sent = 0
    while edit.verdict == "undecided":
        sent += len(edit.feed(empty))
        fed += len(empty)
        assert fed <= HELD + len(empty)
    assert (edit.verdict, sent) == ("pass", fed)


def incompressible_zstd() -> bytes:
    """A page whose first zstd block is longer than the buffer, and cannot be decoded before its last byte."""
    noise = bytes(random.Random(1).choices(range(0x21, 0x7F), k=120_000)).replace(b"--", b"__")
    return zstd.compress(b"<!doctype html><html><head><!--" + noise.replace(b">", b"_") + b"-->" + PAGE)


def test_a_first_block_longer_than_the_buffer_passes_for_any_chunks() -> None:
    """field F2: the verdict is the same for every cut."""
    coded = incompressible_zstd()
    assert len(coded) > HELD
    for size in (1_000, HELD - 1, HELD, HELD + 1, 100_000, len(coded)):
        edit = PageEdit(TAG, "zstd", "identity")
        assert send(edit, cut(coded, size)) == coded
        assert (edit.verdict, edit.reason) == ("pass", "look-ahead")


@given(cuts=st.lists(st.integers(1, 200_000), max_size=4), noise=st.integers(40_000, 100_000))
@settings(max_examples=30, deadline=None)
def test_the_verdict_on_a_coded_page_does_not_depend_on_the_cuts(cuts: list[int], noise: int) -> None:
    """field F2"""
    letters = bytes(
        random.Random(noise).choices(b"abcdefghijklmnopqrstuvwxyz0123456789+/!#$%&()*,.:;?@", k=noise)
    )
    coded = zstd.compress(b"<!doctype html><html data-a='" + letters + b"'><head></head>")
    whole = PageEdit(TAG, "zstd", "identity")
    expected = send(whole, [coded])
    pieces, start = [], 0
    for end in sorted({*(c for c in cuts if c < len(coded)), len(coded)}):
        pieces.append(coded[start:end])
        start = end
    edit = PageEdit(TAG, "zstd", "identity")
    assert send(edit, pieces) == expected
    assert (edit.verdict, edit.reason) == (whole.verdict, whole.reason)


def test_no_more_than_the_look_ahead_is_held() -> None:
    """injection 2.8: 64 KB."""
    edit = PageEdit(TAG, "identity", "identity")
    held = 0
    while edit.verdict == "undecided":
        edit.feed(b"<!-- " + b"-" * 995 if not held else b"-" * 1000)
        held += 1000
    assert held <= LOOK + 1000


def test_attribute_without_an_end_takes_no_memory() -> None:
    """injection 2.9: 64 MB of it; nothing longer than a tag can be is kept."""
    edit, sent = PageEdit(TAG, "identity", "identity"), 0
    chunk = b"x" * 65_536
    tracemalloc.start()
    sent += len(edit.feed(b"<!doctype html><html data-state='"))
    for _ in range(1024):
        sent += len(edit.feed(chunk))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sent + len(edit.end()) == len(b"<!doctype html><html data-state='") + 1024 * len(chunk)
    assert peak < 4 * len(chunk)


def test_an_edited_page_without_a_position_is_complete_and_has_no_tag() -> None:
    edit = PageEdit(TAG, "identity", "identity")
    first = edit.feed(b"<!doctype html>")
    assert edit.verdict == "edit"
    rest = b"".join(map(edit.feed, [b"<html ", b"amp><head>", b"<title>"])) + edit.end()
    assert first + rest == b"<!doctype html><html amp><head><title>"
    assert (edit.inserted, edit.reason) == (False, "amp")


@pytest.mark.parametrize("coding_in", CODINGS)
def test_without_a_tag_a_body_is_only_copied(coding_in: str) -> None:
    chunks = encode(coding_in, cut(PAGE, 100))
    edit = PageEdit(b"", coding_in, "identity", copy_limit=300)
    assert [edit.feed(chunk) for chunk in chunks] == chunks
    assert edit.end() == b""
    assert (edit.verdict, edit.copy) == ("pass", PAGE[:300])


def test_the_copy_has_the_part_of_a_body_that_could_be_decoded() -> None:
    chunks = [*encode("deflate", [PAGE])[:1], b"\xff" * 50, b"more"]
    edit = PageEdit(b"", "deflate", "identity", copy_limit=10_000)
    assert send(edit, chunks) == b"".join(chunks)
    assert edit.copy == PAGE


@pytest.mark.parametrize("coding", ["compress", "gzip, br", "unknown", ""])
def test_unknown_coding_passes_and_has_no_copy(coding: str) -> None:
    edit = PageEdit(TAG, coding, "gzip", copy_limit=100)
    assert send(edit, [PAGE]) == PAGE
    assert (edit.verdict, edit.reason, edit.copy) == ("pass", "coding", b"")


def test_zlib_decodes_the_encoded_page() -> None:
    """injection 4.1, with another decoder."""
    sent = send(PageEdit(TAG, "identity", "gzip"), cut(PAGE, 100))
    assert zlib.decompress(sent, 31) == EDITED
