"""Codings: decoders with bounds, encoders with flush points."""

import gzip
import random
import struct
import tracemalloc
import zlib
from array import array
from collections.abc import Callable, Iterable

import brotli
import pytest
from backports import zstd
from clew.injector.codings import (
    FREE,
    HEADER,
    PREFERENCE,
    RATIO,
    STEP,
    CodingError,
    coding_of,
    decoder,
    encoder,
    negotiate,
)
from hypothesis import given, settings
from hypothesis import strategies as st

PAGE = b"<!doctype html><html><head><title>Tea</title></head>" + b"".join(
    b"<li data-id=%d>Teapot, %d EUR</li>" % (n, n * 37 % 101) for n in range(6000)
)


BOMB = 64 * 1024 * 1024


def raw_deflate(data: bytes) -> bytes:
    made = zlib.compressobj(wbits=-15)
    return made.compress(data) + made.flush()


# By other makers than ours wherever there is one.
CODED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "gzip stored": ("gzip", lambda data: gzip.compress(data, 0)),
    "injection 4.5 deflate": ("deflate", zlib.compress),
    "injection 4.5 deflate raw": ("deflate", raw_deflate),
    "br 9": ("br", lambda data: brotli.compress(data, quality=9)),
    "br 4": ("br", lambda data: brotli.compress(data, quality=4)),
    "zstd": ("zstd", zstd.compress),
    "zstd with checksum": (
        "zstd",
        lambda data: zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1}),
    ),
}


def decode(coding: str, chunks: Iterable[bytes]) -> tuple[bytes, bool]:
    """All that comes out, and whether the stream was whole."""
    made = decoder(coding)
    pieces = [piece for chunk in chunks for piece in made.decode(chunk)]
    return b"".join(pieces), made.complete


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("name", CODED)
@pytest.mark.parametrize("size", [1, 2, 7, 1000, 10**9])
def test_body_is_decoded_in_chunks_of_any_size(name: str, size: int) -> None:
    coding, make = CODED[name]
    assert decode(coding, cut(make(PAGE), size)) == (PAGE, True)


@pytest.mark.parametrize("name", CODED)
def test_truncated_body_is_known_at_every_length(name: str) -> None:
    """injection 4.4: a stream without its end mark is not a whole one."""
    coding, make = CODED[name]
    coded = make(PAGE[:3000])
    for length in range(len(coded)):
        got, complete = decode(coding, [coded[:length]])
        assert not complete
        assert PAGE.startswith(got)


@pytest.mark.parametrize("name", CODED)
def test_an_empty_body_is_not_a_whole_stream(name: str) -> None:
    assert decode(CODED[name][0], []) == (b"", False)
    assert decode(CODED[name][0], [b""]) == (b"", False)


@pytest.mark.parametrize("coding", PREFERENCE)
def test_an_empty_stream_is_whole(coding: str) -> None:
    assert decode(coding, [encoder(coding).finish()]) == (b"", True)


@pytest.mark.parametrize("name", ["gzip", "zstd"])
@pytest.mark.parametrize("size", [1, 3, 100, 10**9])
def test_all_members_of_a_stream_are_decoded(name: str, size: int) -> None:
    """injection 4.3: the first member is not the page."""
    coding, make = CODED[name]
    coded = make(PAGE[:5000]) + make(b"") + make(PAGE[5000:]) + make(b"")
    assert decode(coding, cut(coded, size)) == (PAGE, True)
    assert decode(coding, cut(coded + make(b"more")[:9], size)) == (PAGE, False)


@pytest.mark.parametrize("padding", [b"\0" * 512, b"\n", b"\x1f", b"\x1fx", b"junk", b"\0\x1f\x8b\x08junk"])
@pytest.mark.parametrize("size", [1, 5, 10**9])
def test_padding_after_gzip_is_ignored(padding: bytes, size: int) -> None:
    coded = gzip.compress(PAGE[:2000]) + padding
    assert decode("gzip", cut(coded, size)) == (PAGE[:2000], True)


def test_skippable_frames_of_zstd_are_skipped() -> None:
    skippable = struct.pack("<II", 0x184D2A53, 4) + b"note"
    assert decode("zstd", cut(skippable + zstd.compress(PAGE) + skippable, 3)) == (PAGE, True)


def gzip_with_header(flags: int) -> bytes:
    """A member with the optional fields of its header that `flags` asks for (RFC 1952 §2.3.1)."""
    header = b"\x1f\x8b\x08" + bytes([flags]) + b"\1\2\3\4\0\x03"
    header += struct.pack("<H", 5) + b"e\0tra" if flags & 4 else b""
    header += b"name\0" if flags & 8 else b""
    header += b"comment\0" if flags & 16 else b""
    header += struct.pack("<H", zlib.crc32(header) & 0xFFFF) if flags & 2 else b""
    return header + raw_deflate(PAGE[:500]) + struct.pack("<II", zlib.crc32(PAGE[:500]), 500)


@pytest.mark.parametrize("flags", range(32))
def test_gzip_header_fields_may_be_cut_anywhere(flags: int) -> None:
    member = gzip_with_header(flags)
    assert zlib.decompress(member, 31) == PAGE[:500]
    assert decode("gzip", cut(member, 1)) == (PAGE[:500], True)
    for at in range(1, len(member)):
        assert decode("gzip", [member[:at], member[at:] + member]) == (PAGE[:500] * 2, True)


def test_endless_gzip_header_is_refused() -> None:
    made = decoder("gzip")
    assert list(made.decode(b"\x1f\x8b\x08\x08\0\0\0\0\0\x03" + b"n" * (HEADER - 10))) == []
    with pytest.raises(CodingError, match="header is longer than"):
        list(made.decode(b"n" * HEADER))


BROKEN = {
    "gzip checksum": ("gzip", lambda: gzip.compress(PAGE)[:-8] + b"\1\2\3\4" + gzip.compress(PAGE)[-4:]),
    "gzip garbage": ("gzip", lambda: b"<!doctype html><html>"),
    "gzip method": ("gzip", lambda: b"\x1f\x8b\x09" + bytes(20)),
    "deflate checksum": ("deflate", lambda: zlib.compress(PAGE)[:-1] + b"\xff"),
    "deflate garbage": ("deflate", lambda: b"<!doctype html><html>"),
    "br garbage": ("br", lambda: b"<!doctype html><html>"),
    "br with more behind": ("br", lambda: brotli.compress(PAGE, quality=4) + b"more"),
    "zstd garbage": ("zstd", lambda: b"<!doctype html><html>"),
    "zstd with garbage behind": ("zstd", lambda: zstd.compress(PAGE) + b"garbage"),
    "zstd window": (
        "zstd",
        lambda: zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27}).compress(
            bytes(10), zstd.ZstdCompressor.FLUSH_BLOCK
        ),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_body_is_an_error_and_no_other_exception(name: str) -> None:
    coding, make = BROKEN[name]
    with pytest.raises(CodingError):
        decode(coding, [make()])
    with pytest.raises(CodingError):
        decode(coding, cut(make(), 5))


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(sorted(CODED)),
    st.integers(0, 10**6),
    st.binary(min_size=1, max_size=3),
    st.integers(1, 400),
)
def test_damaged_body_never_raises_anything_else(name: str, at: int, damage: bytes, size: int) -> None:
    coding, make = CODED[name]
    coded = bytearray(make(PAGE[:4000]))
    at %= len(coded)
    coded[at : at + len(damage)] = damage
    try:
        got, _ = decode(coding, cut(bytes(coded), size))
    except CodingError:
        return
    assert len(got) <= FREE


@pytest.mark.parametrize("name", CODED)
def test_decompression_bomb_is_stopped_at_the_limit(name: str) -> None:
    """injection 4.6: not one step gives much more than its bound, and the whole stops at the ratio's."""
    coding, make = CODED[name]
    coded = gzip.compress(bytes(BOMB), 1) if name == "gzip stored" else make(bytes(BOMB))
    sizes = array("L")
    tracemalloc.start()
    with pytest.raises(CodingError, match="decompression bomb"):
        sizes.extend(map(len, decoder(coding).decode(coded)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert max(sizes) <= 2 * STEP
    assert sum(sizes) <= max(FREE, RATIO * len(coded)) + STEP
    assert peak < 2 * len(coded) + 8 * STEP


@pytest.mark.parametrize("coding", PREFERENCE)
def test_ordinary_large_page_is_no_bomb(coding: str) -> None:
    rows = random.Random(1)
    page = b"".join(b"<tr><td>%d</td><td>teapot</td></tr>" % rows.randrange(10**6) for _ in range(400_000))
    made = encoder(coding)
    assert len(page) > FREE
    assert decode(coding, [made.encode(page) + made.finish()]) == (page, True)


OTHERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "br": brotli.decompress,
    "zstd": zstd.decompress,
}


@pytest.mark.parametrize("coding", PREFERENCE)
@pytest.mark.parametrize("size", [1, 50, 4096, 10**9])
def test_other_decoders_read_what_is_encoded(coding: str, size: int) -> None:
    made = encoder(coding)
    assert (
        OTHERS[coding](b"".join(map(made.encode, cut(PAGE[:20_000], size))) + made.finish()) == PAGE[:20_000]
    )


@pytest.mark.parametrize("coding", PREFERENCE)
def test_every_chunk_can_be_read_as_soon_as_it_is_encoded(coding: str) -> None:
    """injection 2.5: flush points survive."""
    sender, receiver = encoder(coding), decoder(coding)
    for chunk in cut(PAGE[:5000], 500):
        assert b"".join(receiver.decode(sender.encode(chunk))) == chunk
    assert not receiver.complete
    assert b"".join(receiver.decode(sender.finish())) == b""
    assert receiver.complete


def test_page_is_not_packed_for_the_smallest_size() -> None:
    """injection 4.8: br of quality 11 takes a hundred times as long as 4, for a page a sixth smaller."""
    made = encoder("br")
    packed = len(made.encode(PAGE) + made.finish())
    assert packed > 1.05 * len(brotli.compress(PAGE, quality=11))
    assert packed < 1.05 * len(brotli.compress(PAGE, quality=4))


NEGOTIATED = [
    (None, "identity"),
    (b"", "identity"),
    (b"gzip, deflate, br, zstd", "zstd"),
    (b"gzip, deflate, br", "gzip"),
    (b"br", "br"),
    (b"deflate", "deflate"),
    (b"br;q=1.0, gzip;q=0.8", "br"),
    (b"gzip;q=0.8, zstd;q=0.9", "zstd"),
    (b"GZIP ; Q=0.5", "gzip"),
    (b"x-gzip", "gzip"),
    (b"gzip;q=0, br;q=0.000", "identity"),
    (b"identity", "identity"),
    (b"identity;q=1, gzip;q=0.5", "identity"),
    (b"identity;q=0.5, gzip;q=0.5", "gzip"),
    (b"*", "gzip"),
    (b"*;q=0", "identity"),
    (b"gzip;q=0, *", "identity"),
    (b"compress, dcb, aws-chunked", "identity"),
    (b"gzip;q=high, br;level=4", "identity"),
    (b"gzip;q=2, br", "br"),
    (b",, gzip ,", "gzip"),
    (b"\xff\xfe, gzip", "gzip"),
    (b"gzip," * 1000, "identity"),
]


@pytest.mark.parametrize(("field", "coding"), NEGOTIATED)
def test_answer_is_in_the_coding_that_the_client_likes_best(field: bytes | None, coding: str) -> None:
    """injection 4.7: never in one that was not offered."""
    assert negotiate(field) == coding


@given(st.binary(max_size=300))
def test_any_bytes_can_be_requested(field: bytes) -> None:
    assert negotiate(field) in ("identity", *PREFERENCE)


@pytest.mark.parametrize(
    ("fields", "coding"),
    [
        ([], "identity"),
        ([b"identity"], "identity"),
        ([b""], "identity"),
        ([b"gzip"], "gzip"),
        ([b" X-GZip "], "gzip"),
        ([b"br"], "br"),
        ([b"zstd"], "zstd"),
        ([b"deflate"], "deflate"),
        ([b"gzip, br"], None),
        ([b"gzip", b"br"], None),
        ([b"gzip, gzip"], None),
        ([b"compress"], None),
        ([b"dcb"], None),
        ([b"aws-chunked"], None),
        ([b"none"], None),
    ],
)
def test_coding_of_a_response(fields: list[bytes], coding: str | None) -> None:
    """injection 4.2: unknown and stacked codings are not decoded."""
    assert coding_of([(b"content-encoding", field) for field in fields]) == coding


@pytest.mark.parametrize("size", [1, 3, 9])
def test_a_stream_with_a_preset_dictionary_is_refused_however_it_is_cut(size: int) -> None:
    data = b"x\xf9/\x00\x00\x00\x00"
    with pytest.raises(CodingError, match="preset dictionary"):
        _decoded_in_pieces(data, size)


def _decoded_in_pieces(data: bytes, size: int) -> bytes:
    made = decoder("deflate")
    return b"".join(out for at in range(0, len(data), size) for out in made.decode(data[at : at + size]))
