"""Content codings: streaming decoders that cannot be made to run away, encoders that keep flush points.

Supported are those of RFC 9110 §8.4.1, RFC 7932 and RFC 8878 that browsers offer: gzip, deflate, br, zstd. A
decoder gives its output in pieces of about `STEP` bytes as it is asked for them, so a bomb is stopped where
it is seen, not after it went off. An encoder flushes after every call: what came in can be read at the other
end.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final, Literal, Protocol, cast

import brotli  # type: ignore[import-untyped]
from backports import zstd
from isal import igzip_lib, isal_zlib

from .heads import Headers, tokens

STEP: Final = 65_536
"""The most that one step of a decoder gives, in bytes; br gives up to half as much again."""

RATIO: Final = 200
FREE: Final = 8 * 1024 * 1024
TOTAL: Final = 1024 * 1024 * 1024
"""Bounds against decompression bombs: more than `FREE` bytes may come out only at a ratio up to `RATIO`, and
never more than `TOTAL`. A page shrinks to a fifth or so; zeros to a thousandth by gzip, and to less than a
ten-thousandth by br and zstd."""

HEADER: Final = 16_384
"""Longest gzip header that is waited for, in bytes; those in use have under a hundred."""

ZSTD_WINDOW: Final = 23  # log2: 8 MB is what a decoder of this coding must have at most (RFC 9659 §3)
WINDOW: Final = 18  # log2: a page is rarely longer, and each stream holds its window in memory while it lasts

Coding = Literal["identity", "zstd", "gzip", "br", "deflate"]


def _brotli_has_limit() -> bool:
    """Whether brotli can be told where to stop. Before 1.2, which mitmproxy 11 keeps from its environment, a
    bomb goes off within one call (GHSA-2qfp-q593-8484): then br is a coding that we do not know."""
    try:
        brotli.Decompressor().process(b"", output_buffer_limit=STEP)
    except TypeError:
        return False
    return True


BROTLI: Final = _brotli_has_limit()

# By size and time for a page of 100 KB: zstd 3 is smaller than br 4 in a quarter of the time (17.2 KB in 189
# µs against 17.7 KB in 863 µs), gzip 1 of ISA-L is the quickest (19.3 KB in 110 µs). deflate comes last: two
# formats go by its name (RFC 9110 §8.4.1.2, note).
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
    """The coding of a response's body, None where it is unknown or stacked: then the body is not for us."""
    named = tokens(headers, b"content-encoding")
    return _NAMES.get(named[0]) if len(named) == 1 else None if named else "identity"


class CodingError(ValueError):
    """A coded body that cannot be decoded, or is refused as a decompression bomb; the text says which.

    `kind` is the same in two words, of which there are few, so that they can be counted.
    """

    kind = "broken coding"


class BombError(CodingError):
    """A coded body that would take more room than any page does."""

    kind = "decompression bomb"


class Decoder(Protocol):
    """One body's decoder. `complete` says whether the coded stream has come to its end mark."""

    @property
    def complete(self) -> bool:
        """Whether all that came makes a whole stream; false after truncation."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """What `data` adds, in pieces; raises CodingError at the first byte that is wrong."""


class Encoder(Protocol):
    """One body's encoder."""

    def encode(self, data: bytes) -> bytes:
        """`data` in the coding, flushed: the other end can read all of it."""

    def finish(self) -> bytes:
        """What ends the stream."""


class _Stream(Protocol):
    """What the decompressors of ISA-L and zstd have in common (that of `bz2.BZ2Decompressor`)."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def _drain(stream: _Stream, data: bytes) -> Iterator[bytes]:
    # Asked until nothing comes: output may wait inside although all input was taken.
    while not stream.eof:
        piece = stream.decompress(data, STEP)
        if not piece:
            return
        yield piece
        data = b""


class _Members:
    """gzip members or zstd frames, one after the other (RFC 1952 §2.2, RFC 8878 §3).

    What follows a gzip member and is not another one (padding with zeros, a stray line end) is ignored, as
    browsers and gzip itself do. A member's header is handed on in one piece, as `whole_header` says.
    """

    def __init__(
        self, new: Callable[[], _Stream], magic: bytes, whole_header: Callable[[bytes], bool]
    ) -> None:
        self._new = new
        self._magic = magic
        self._whole_header = whole_header
        self._stream: _Stream | None = None
        self._carry = b""  # the start of a header
        self._ended = False  # what comes now is padding
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
    """Whether `data` holds all of a gzip member's header (RFC 1952 §2.3), or is none.

    ISA-L loses its place in a header with optional fields that arrives in two pieces. Raises CodingError
    where the fields take more than `HEADER` bytes.
    """
    if not data.startswith(_GZIP_MAGIC[: len(data)]):
        return True
    whole = len(data) >= 10 and len(data) >= _gzip_header_end(data)
    if not whole and len(data) > HEADER:
        raise CodingError(f"a gzip header of more than {HEADER} bytes")
    return whole


def _gzip_header_end(data: bytes) -> int:
    """Where the body begins, or a place behind the data where that is not known yet."""
    flags, end, unknown = data[3], 10, len(data) + 1
    if flags & 4:
        end = 12 + int.from_bytes(data[10:12], "little") if len(data) >= 12 else unknown
    for flag in (8, 16):  # name, comment
        if flags & flag:
            end = data.find(b"\0", end) + 1 or unknown
    return end + (flags & 2)


class _Deflate:
    """`deflate`: zlib's format by the RFC, raw deflate from servers that misread it; browsers take both.

    The first two bytes tell: a raw stream cannot begin with a zlib header unless it begins with a stored
    block whose padding bits are not zero, which no compressor writes.
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
                # ISA-L says so only where all of the header comes at once.
                raise CodingError("a zlib stream with a preset dictionary, which nobody here has")
            flag = igzip_lib.DECOMP_ZLIB if wrapped else igzip_lib.DECOMP_DEFLATE
            self._stream = igzip_lib.IgzipDecompressor(flag=flag)
        yield from _drain(self._stream, data)


class _Brotli:
    """br, one stream (RFC 7932). Bytes after its end are an error: the library does not tell them from the
    last."""

    def __init__(self) -> None:
        self._stream = brotli.Decompressor()

    @property
    def complete(self) -> bool:
        return bool(self._stream.is_finished())

    def decode(self, data: bytes) -> Iterator[bytes]:
        # `can_accept_more_data` is true while decoded bytes still wait, so it cannot end this loop.
        while piece := self._stream.process(data, output_buffer_limit=STEP):
            yield piece
            data = b""


# The stubs of isal call this class an exception's instance, and brotli has none.
_FAULTS: Final[tuple[type[Exception], ...]] = tuple(
    cast("type[Exception]", fault) for fault in (igzip_lib.IsalError, brotli.error, zstd.ZstdError)
)


class _Bounded:
    """Any decoder with the bounds `RATIO`, `FREE` and `TOTAL`, and with one class of errors."""

    def __init__(self, inner: Decoder) -> None:
        self._inner = inner
        self._came = 0
        self._went = 0

    @property
    def complete(self) -> bool:
        return self._inner.complete

    def decode(self, data: bytes) -> Iterator[bytes]:
        self._came += len(data)
        try:
            for piece in self._inner.decode(data):
                self._went += len(piece)
                if self._went > FREE and (self._went > self._came * RATIO or self._went > TOTAL):
                    raise BombError(f"a decompression bomb: {self._came} bytes became {self._went} and more")
                yield piece
        except _FAULTS as error:
            raise CodingError(
                f"the coded body is broken after {self._went} decoded bytes: {error}"
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

    def encode(self, data: bytes) -> bytes:
        return self._stream.compress(data) + self._stream.flush(isal_zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._stream.flush(isal_zlib.Z_FINISH)


class _BrotliEncoder:
    """br, quality 4: the best ratio under a millisecond for a page."""

    def __init__(self) -> None:
        self._stream = brotli.Compressor(quality=4, lgwin=WINDOW)

    def encode(self, data: bytes) -> bytes:
        return bytes(self._stream.process(data)) + bytes(self._stream.flush())

    def finish(self) -> bytes:
        return bytes(self._stream.finish())


_ZSTD_OPTIONS: Final[dict[int, int]] = {
    zstd.CompressionParameter.compression_level: 3,
    zstd.CompressionParameter.window_log: WINDOW,
}


class _ZstdEncoder:
    """zstd, level 3."""

    def __init__(self) -> None:
        self._stream = zstd.ZstdCompressor(options=_ZSTD_OPTIONS)

    def encode(self, data: bytes) -> bytes:
        return self._stream.compress(data, zstd.ZstdCompressor.FLUSH_BLOCK)

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
        weights.setdefault("gzip", weights["*"])  # any is as good; this one everybody can read
    best: Coding = "identity"
    # Not named, identity is allowed, but a client that names codings would rather have them (RFC 9110
    # §12.5.3).
    weight = weights.get("identity", 0.0)
    for coding in reversed(PREFERENCE):
        if weights.get(coding, 0.0) > 0 and weights[coding] >= weight:
            best, weight = coding, weights[coding]
    return best


def negotiate(accept_encoding: bytes | None) -> Coding:
    """The coding to answer in: the client's highest q-value, then `PREFERENCE` (RFC 9110 §12.5.3).

    `accept_encoding` is the field's value, several lines joined by commas, None where the client sent none:
    then and wherever nothing known is wanted the answer is `identity`. Members that do not fit the grammar
    are skipped.
    """
    if not accept_encoding or len(accept_encoding) > 256:  # the longest that browsers send has 30 bytes
        return "identity"
    return _negotiated(accept_encoding)
