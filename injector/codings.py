"""Content codings: streaming decoders with bounded output, encoders that keep flush points.

Supported are the codings of RFC 9110 §8.4.1, RFC 7932 and RFC 8878 that browsers accept: gzip, deflate, br
and zstd. A decoder yields its output in pieces of about `STEP` bytes, on demand, so a decompression bomb is
stopped before it is decoded. An encoder flushes after every call, so that the client can read all input.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final, Literal, Protocol, cast

import brotli  # type: ignore[import-untyped]
from backports import zstd
from isal import igzip_lib, isal_zlib

from .heads import Headers, tokens
from .reasons import Reason

STEP: Final = 65_536
"""Maximum output of one step of a decoder, in bytes; br may exceed it by half."""

RATIO: Final = 200
FREE: Final = 8 * 1024 * 1024
TOTAL: Final = 1024 * 1024 * 1024
"""Limits against decompression bombs: an output of more than `FREE` bytes is allowed only up to `RATIO` times
the input, and never more than `TOTAL`. A page is compressed to about a fifth; zeros to a thousandth by gzip,
and to less than a ten-thousandth by br and zstd."""

HEADER: Final = 16_384
"""Maximum size of a gzip header, in bytes; usual ones have less than a hundred."""

ZSTD_WINDOW: Final = 23  # log2: the largest window of this coding is 8 MB (RFC 9659 §3)
WINDOW: Final = 18  # log2: a page is rarely longer, and each stream keeps its window in memory

Coding = Literal["identity", "zstd", "gzip", "br", "deflate"]


def _brotli_has_limit() -> bool:
    """Whether brotli can limit its output. Before 1.2, which mitmproxy 11 does not allow, a decompression
    bomb expands within one call (GHSA-2qfp-q593-8484): br is then treated as an unknown coding."""
    try:
        brotli.Decompressor().process(b"", output_buffer_limit=STEP)
    except TypeError:
        return False
    return True


BROTLI: Final = _brotli_has_limit()

# By size and time for a page of 100 KB: zstd 3 is smaller than br 4 in a quarter of the time (17.2 KB in 189
# µs against 17.7 KB in 863 µs), gzip 1 of ISA-L is the fastest (19.3 KB in 110 µs). deflate comes last: the
# name stands for two formats (RFC 9110 §8.4.1.2, note).
PREFERENCE: Final[tuple[Coding, ...]] = (
    ("zstd", "gzip", "br", "deflate") if BROTLI else ("zstd", "gzip", "deflate")
)

_NAMES: Final[dict[bytes, Coding]] = {
    # x-gzip is gzip, RFC 9110 §8.4.1.3
    b"identity": "identity",
    b"x-gzip": "gzip",
    **{name.encode(): name for name in PREFERENCE},
}


def coding_of(headers: Headers) -> Coding | None:
    """The coding of a response's body; None if it is unknown or there are several."""
    named = tokens(headers, b"content-encoding")
    return _NAMES.get(named[0]) if len(named) == 1 else None if named else "identity"


class CodingError(ValueError):
    """A coded body cannot be decoded, or is a decompression bomb; the message says which.

    `kind` is a short form with few values, for metrics.
    """

    kind = Reason.BROKEN_CODING


class BombError(CodingError):
    """A coded body that expands to more than the limits allow."""

    kind = Reason.BOMB


class Decoder(Protocol):
    """A decoder for one body."""

    @property
    def complete(self) -> bool:
        """Whether the input so far is a complete stream; false if it is truncated."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """The decoded bytes that `data` adds, in pieces. Raises CodingError."""


class Encoder(Protocol):
    """An encoder for one body."""

    def encode(self, *parts: bytes | memoryview) -> bytes:
        """The parts encoded and flushed, so that the client can decode all of them."""

    def finish(self) -> bytes:
        """The end of the stream."""


class _Stream(Protocol):
    """The common interface of the decompressors of ISA-L and zstd (that of `bz2.BZ2Decompressor`)."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def _drain(stream: _Stream, data: bytes) -> Iterator[bytes]:
    # Called until the output is empty: output may be buffered although all input was consumed.
    while not stream.eof:
        piece = stream.decompress(data, STEP)
        if not piece:
            return
        yield piece
        data = b""


class _Members:
    """A sequence of gzip members or zstd frames (RFC 1952 §2.2, RFC 8878 §3).

    Data after a gzip member that is not another member (zero padding, a line end) is ignored, as browsers and
    gzip do. A member's header is buffered until `whole_header` says that it is complete.
    """

    def __init__(
        self, new: Callable[[], _Stream], magic: bytes, whole_header: Callable[[bytes], bool]
    ) -> None:
        self._new = new
        self._magic = magic
        self._whole_header = whole_header
        self._stream: _Stream | None = None
        self._carry = b""  # the start of a header
        self._ended = False  # all further input is padding
        self.complete = False

    def decode(self, data: bytes) -> Iterator[bytes]:
        data = self._carry + data
        self._carry = b""
        while data and not self._ended:
            if self._stream is None:
                if self.complete and not data.startswith(self._magic[: len(data)]):
                    self._ended = True
                    return
                if not self._whole_header(data):
                    self.complete = self.complete and len(data) < len(self._magic)
                    self._carry = data
                    return
                self._stream, self.complete = self._new(), False
            yield from _drain(self._stream, data)
            if not self._stream.eof:
                return
            data = self._stream.unused_data
            self._stream, self.complete = None, True


_GZIP_MAGIC: Final = b"\x1f\x8b"


def _whole_gzip_header(data: bytes) -> bool:
    """Whether `data` has a complete gzip member header (RFC 1952 §2.3), or is not a gzip member.

    ISA-L fails on a header with optional fields that arrives in two pieces. Raises CodingError if the header
    is longer than `HEADER` bytes.
    """
    if not data.startswith(_GZIP_MAGIC[: len(data)]):
        return True
    whole = len(data) >= 10 and len(data) >= _gzip_header_end(data)
    if not whole and len(data) > HEADER:
        raise CodingError(f"the gzip header is longer than {HEADER} bytes")
    return whole


def _gzip_header_end(data: bytes) -> int:
    """The offset at which the header ends; an offset after the data if that is not known yet."""
    flags, end, unknown = data[3], 10, len(data) + 1
    if flags & 4:
        end = 12 + int.from_bytes(data[10:12], "little") if len(data) >= 12 else unknown
    for flag in (8, 16):  # name, comment
        if flags & flag:
            end = data.find(b"\0", end) + 1 or unknown
    return end + (flags & 2)


class _Deflate:
    """`deflate`: zlib's format as in the RFC, or raw deflate, which some servers send; browsers accept both.

    The first two bytes decide: a raw stream can look like a zlib header only if it begins with a stored block
    whose padding bits are not zero, which no compressor writes.
    """

    def __init__(self) -> None:
        self._stream: _Stream | None = None
        self._carry = b""

    @property
    def complete(self) -> bool:
        return self._stream is not None and self._stream.eof

    def decode(self, data: bytes) -> Iterator[bytes]:
        if self._stream is None:
            data = self._carry + data
            if len(data) < 2:
                self._carry = data
                return
            wrapped = data[0] & 0x0F == 8 and data[0] >> 4 <= 7 and int.from_bytes(data[:2], "big") % 31 == 0
            if wrapped and data[1] & 0x20:
                # ISA-L detects this only if the whole header is in one chunk.
                raise CodingError("the zlib stream requires a preset dictionary, which is not supported")
            flag = igzip_lib.DECOMP_ZLIB if wrapped else igzip_lib.DECOMP_DEFLATE
            self._stream = igzip_lib.IgzipDecompressor(flag=flag)
        yield from _drain(self._stream, data)


class _Brotli:
    """br, one stream (RFC 7932). Bytes after its end are an error, because the library cannot distinguish
    them from the stream."""

    def __init__(self) -> None:
        self._stream = brotli.Decompressor()

    @property
    def complete(self) -> bool:
        return bool(self._stream.is_finished())

    def decode(self, data: bytes) -> Iterator[bytes]:
        # `can_accept_more_data` is true while output is still buffered, so it cannot end this loop.
        while piece := self._stream.process(data, output_buffer_limit=STEP):
            yield piece
            data = b""


# In the stubs of isal these are instances instead of classes, and brotli has no stubs.
_FAULTS: Final[tuple[type[Exception], ...]] = tuple(
    cast("type[Exception]", fault) for fault in (igzip_lib.IsalError, brotli.error, zstd.ZstdError)
)


class _Bounded:
    """Adds the limits `RATIO`, `FREE` and `TOTAL` to a decoder, and raises CodingError for all its errors."""

    def __init__(self, inner: Decoder) -> None:
        self._inner = inner
        self._read = 0
        self._written = 0

    @property
    def complete(self) -> bool:
        return self._inner.complete

    def decode(self, data: bytes) -> Iterator[bytes]:
        self._read += len(data)
        try:
            for piece in self._inner.decode(data):
                self._written += len(piece)
                if self._written > FREE and (self._written > self._read * RATIO or self._written > TOTAL):
                    raise BombError(
                        f"a decompression bomb: {self._read} bytes expand to {self._written} or more"
                    )
                yield piece
        except _FAULTS as error:
            raise CodingError(
                f"the coded body is broken after {self._written} decoded bytes: {error}"
            ) from error


def _gzip_stream() -> _Stream:
    return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)


def _zstd_stream() -> _Stream:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW})


_DECODERS: Final[dict[str, Callable[[], Decoder]]] = {
    "gzip": lambda: _Members(_gzip_stream, _GZIP_MAGIC, _whole_gzip_header),
    "deflate": _Deflate,
    "br": _Brotli,
    "zstd": lambda: _Members(_zstd_stream, b"", bool),
}


def decoder(coding: str) -> Decoder:
    """A bounded decoder for one body in `coding`, one of `PREFERENCE`. Raises KeyError for any other name."""
    return _Bounded(_DECODERS[coding]())


class _Deflater:
    """gzip or deflate by ISA-L, level 1."""

    def __init__(self, wbits: int) -> None:
        self._stream = isal_zlib.compressobj(1, wbits=wbits)

    def encode(self, *parts: bytes | memoryview) -> bytes:
        stream = self._stream
        return b"".join([*map(stream.compress, parts), stream.flush(isal_zlib.Z_SYNC_FLUSH)])

    def finish(self) -> bytes:
        return self._stream.flush(isal_zlib.Z_FINISH)


class _BrotliEncoder:
    """br, quality 4: the best ratio under a millisecond for a page."""

    def __init__(self) -> None:
        self._stream = brotli.Compressor(quality=4, lgwin=WINDOW)

    def encode(self, *parts: bytes | memoryview) -> bytes:
        return b"".join([*map(self._stream.process, parts), self._stream.flush()])

    def finish(self) -> bytes:
        return bytes(self._stream.finish())


_ZSTD_OPTIONS: Final[dict[int, int]] = {
    zstd.CompressionParameter.compression_level: 3,
    zstd.CompressionParameter.window_log: WINDOW,
    # The level's own tables, for long inputs, take 768 KB, which are cleared for each page and push all else
    # out of the processor's cache. With these pages are as small, in five sixths of the time.
    zstd.CompressionParameter.hash_log: 15,
    zstd.CompressionParameter.chain_log: 14,
}


class _ZstdEncoder:
    """zstd, level 3."""

    def __init__(self) -> None:
        self._stream = zstd.ZstdCompressor(options=_ZSTD_OPTIONS)

    def encode(self, *parts: bytes | memoryview) -> bytes:
        stream = self._stream
        return b"".join([*map(stream.compress, parts), stream.flush(zstd.ZstdCompressor.FLUSH_BLOCK)])

    def finish(self) -> bytes:
        return self._stream.flush()


_ENCODERS: Final[dict[str, Callable[[], Encoder]]] = {
    "gzip": lambda: _Deflater(31),
    "deflate": lambda: _Deflater(15),
    "br": _BrotliEncoder,
    "zstd": _ZstdEncoder,
}


def encoder(coding: str) -> Encoder:
    """An encoder for one body in `coding`, one of `PREFERENCE`. Raises KeyError for any other name."""
    return _ENCODERS[coding]()


_MEMBER = re.compile(r"\s*([!#$%&'*+.^_`|~0-9a-z-]+)\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?", re.ASCII)


def _weights(field: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for part in field.lower().split(","):
        member = _MEMBER.fullmatch(part)
        if member:
            name = "gzip" if member[1] == "x-gzip" else member[1]
            weights[name] = min(1.0, float(member[2] or 1))
    return weights


@lru_cache(maxsize=256)
def _negotiated(field: bytes) -> Coding:
    weights = _weights(field.decode("latin-1"))
    if "*" in weights:
        weights.setdefault("gzip", weights["*"])  # every client can decode gzip
    best: Coding = "identity"
    # identity is allowed if it is not named, but a client that names codings prefers them (RFC 9110 §12.5.3).
    weight = weights.get("identity", 0.0)
    for coding in reversed(PREFERENCE):
        if weights.get(coding, 0.0) > 0 and weights[coding] >= weight:
            best, weight = coding, weights[coding]
    return best


def negotiate(accept_encoding: bytes | None) -> Coding:
    """The coding for a response: the highest q-value of the client, then `PREFERENCE` (RFC 9110 §12.5.3).

    `accept_encoding` is the header's value, several fields joined by commas, or None if the client sent none.
    `identity` if the client accepts none of the supported codings. Invalid members are skipped.
    """
    if not accept_encoding or len(accept_encoding) > 256:  # the longest of browsers has 30 bytes
        return "identity"
    return _negotiated(accept_encoding)


def takes_gzip(accept_encoding: bytes | None) -> bool:
    """Whether the client accepts gzip, which it has to say (RFC 9110 §12.5.3); `accept_encoding` as above."""
    if not accept_encoding or len(accept_encoding) > 256:
        return False
    weights = _weights(accept_encoding.decode("latin-1"))
    return weights.get("gzip", weights.get("*", 0.0)) > 0
