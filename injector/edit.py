"""Edits one response body: inserts the tag and leaves all other bytes unchanged. No I/O.

| verdict     | input                   | output                                       |
|-------------|-------------------------|----------------------------------------------|
| `undecided` | the start of the body   | nothing; see `HELD` for what is held         |
| `pass`      | anything                | the same bytes                               |
| `edit`      | the body in `coding_in` | the same body with the tag, in `coding_out`  |

The verdict waits for the tag's position only while a token is incomplete. A body whose first chunk is
`<!doctype html>` is therefore edited from then on, and the tag follows. Before the verdict, any
error makes it `pass`. After it, an error raises `Broken`: the client has received the start of an edited
body, so neither the original bytes nor a proper end can follow.
"""

from typing import Final, Literal

from .codings import PREFERENCE, CodingError, Decoder, Encoder, decoder, encoder
from .meta_policy import MetaPolicies
from .reasons import Reason
from .scanner import Scanner

HELD: Final = 65_536
"""Maximum number of coded bytes held before the verdict. A coded stream can be long without any output: a
zstd block has up to 128 KB and cannot be decoded before its last byte. For decoded bytes the limit is
`scanner.LOOK`."""

Verdict = Literal["undecided", "edit", "pass"]


class Broken(Exception):  # noqa: N818
    """A coded stream is broken or truncated after bytes of the edited page were sent.

    The mount must close the client's connection without completing the message, as the shop's own failure
    would have.
    """


class PageEdit:
    """Edits one body: feed the chunks of the response, send what is returned, and call `end` after the last.

    `tag` is inserted once; if it is empty, the body passes and is only copied. `coding_in` and `coding_out`
    are names of `codings.Coding`; a body in any other coding passes. `copy` holds the decoded body without
    the tag, up to `copy_limit` bytes and as far as it can be decoded, also for a body that passes. `metas`
    reads, and may extend, the policies in the page's head; then the length is not known beforehand.

    `verdict` says whether the body is edited. `reason` says why it passes, or why an edited body has no tag.
    `gap` says why the copy is incomplete: `too long` or `coding`; empty if it is complete. `inserted` is true
    once the tag was written, `added` is then its length. Memory besides the copy: the bytes held before the
    verdict (see above), and what one chunk decodes to, at most `codings.RATIO` times its length or
    `codings.FREE`.
    """

    __slots__ = (
        "_coded",
        "_coding_out",
        "_copied",
        "_decoder",
        "_encoder",
        "_held",
        "_looking",
        "_metas",
        "_ready",
        "_room",
        "_scanner",
        "_settled",
        "_tag",
        "_through",
        "_waiting",
        "added",
        "gap",
        "inserted",
        "reason",
        "verdict",
    )

    def __init__(
        self,
        tag: bytes,
        coding_in: str,
        coding_out: str,
        copy_limit: int = 0,
        metas: MetaPolicies | None = None,
    ) -> None:
        self.verdict: Verdict = "undecided"
        self.reason = Reason.NONE
        self.gap = Reason.NONE
        self.inserted = False
        self.added: int | None = None
        self._tag = tag
        self._decoder: Decoder | None = decoder(coding_in) if coding_in in PREFERENCE else None
        self._encoder: Encoder | None = None
        self._coding_out = coding_out
        self._metas = metas
        self._scanner = Scanner()
        self._looking = True  # the tag's position is not known yet
        self._held = b""  # decoded bytes among which the position may be
        self._settled = 0  # number of decoded bytes before them
        self._coded: list[bytes] = []  # until the verdict: the input,
        self._ready: list[bytes] = []  # the decoded output for `edit`,
        self._waiting = 0  # and the number of input bytes
        self._copied: list[bytes] = []
        self._room = copy_limit
        self._through = False  # all further bytes pass unchanged
        if self._decoder is None and coding_in != "identity":
            self._room = 0
            self.gap = Reason.CODING
            self._pass(Reason.CODING)
        elif not tag:
            self._pass(Reason.COPY_ONLY)

    @property
    def copy(self) -> bytes:
        """The decoded body so far, without the tag, up to `copy_limit` bytes."""
        return b"".join(self._copied)

    def feed(self, chunk: bytes) -> bytes:
        """Take the next chunk of the body and return the bytes to send. Raises Broken."""
        if self._through or not chunk:
            return chunk
        if self.verdict == "undecided":
            return self._decide(chunk)
        if self.verdict == "pass":
            self._copy_passing(chunk)
            return chunk
        try:
            return self._encoded(self._edited(chunk))
        except CodingError as error:
            raise Broken(str(error)) from error

    def borrowed(self, chunk: memoryview) -> tuple[bytes, memoryview]:
        """Like `feed`, for a chunk in a buffer that is reused after the call.

        Returns the bytes to send first, and the part of the chunk (not copied) to send after them.
        """
        if self._through:
            return b"", chunk
        place = self._scanner.match_usual(chunk) if self._is_plain else None
        if place is None:
            return self.feed(bytes(chunk)), chunk[:0]
        self.verdict, self._looking = "edit", False
        self.inserted, self.added = True, len(self._tag)
        if self._coding_out == "identity":
            self._through = True
            return b"".join((chunk[:place], self._tag)), chunk[place:]
        self._encoder = encoder(self._coding_out)
        return self._encoder.encode(chunk[:place], self._tag, chunk[place:]), chunk[:0]

    def end(self) -> bytes:
        """The bytes to send after the last chunk. Raises Broken if a coded stream is truncated."""
        if self._through or self.verdict == "pass":
            return b""
        truncated = self._decoder is not None and not self._decoder.complete
        if self.verdict == "edit" and truncated:
            raise Broken("the coded body is truncated: it has no end mark")
        self._scanner.end()
        rest = self._insert(b"")
        if self._metas is not None and self.inserted:
            rest += self._metas.end()
        if self.verdict == "undecided":
            if truncated or not self.inserted:
                return self._pass(Reason.TRUNCATED if truncated else self.reason)
            self._ready.append(rest)
            rest = self._commit()
        else:
            rest = self._encoded(rest)
        return rest + self._encoder.finish() if self._encoder else rest

    def _decide(self, chunk: bytes) -> bytes:
        if self._is_plain and self._scanner.match_usual(chunk) is not None:
            self._ready.append(self._placed(chunk))
            return self._commit()
        self._coded.append(chunk)
        room = HELD - self._waiting if self._decoder is not None else len(chunk)
        self._waiting += len(chunk)
        try:
            self._ready.append(self._edited(chunk[:room]))
            if len(chunk) > room:
                # The verdict must not depend on where the chunks end.
                if self._is_open:
                    return self._pass(Reason.LOOK_AHEAD)
                self._ready.append(self._edited(chunk[room:]))
        except CodingError as error:
            self._room = 0
            self.gap = Reason.CODING
            return self._pass(error.kind)
        return self._judge()

    @property
    def _is_plain(self) -> bool:
        """Whether no bytes were fed yet, and the body is neither decoded nor copied."""
        fresh = self.verdict == "undecided" and not self._waiting
        return fresh and self._decoder is None and not self._room and self._metas is None

    @property
    def _is_open(self) -> bool:
        """Whether the bytes so far do not suffice for a verdict."""
        return self._looking and not (self._scanner.is_page and self._scanner.at_boundary)

    def _judge(self) -> bytes:
        """Decide if possible, and return the bytes that may then be sent."""
        if self._is_open:
            return b""
        return self._commit() if self._looking or self.inserted else self._pass(self.reason)

    def _pass(self, reason: Reason) -> bytes:
        """Decide to pass the original bytes. Returns those held until now."""
        self.verdict, self.reason = "pass", reason
        self.inserted, self.added = False, None
        self._through = not self._room
        return self._release(self._coded)

    def _commit(self) -> bytes:
        """Decide to edit. Returns the edited bytes held until now, encoded."""
        self.verdict = "edit"
        if self._coding_out != "identity":
            self._encoder = encoder(self._coding_out)
        elif self._decoder is None and not self._room:
            self._through = not self._looking and self._has_read_metas
        return self._encoded(self._release(self._ready))

    def _release(self, chunks: list[bytes]) -> bytes:
        whole = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._coded, self._ready = [], []
        return whole

    def _edited(self, chunk: bytes) -> bytes:
        """The decoded and edited bytes that a chunk adds to the output. Raises CodingError."""
        if self._decoder is None:
            self._keep(chunk)
            return self._insert(chunk)
        out = []
        for piece in self._decoder.decode(chunk):
            self._keep(piece)
            out.append(self._insert(piece))
        return b"".join(out)

    def _insert(self, data: bytes) -> bytes:
        """The decoded bytes that can be sent after `data`, with the tag if its position is among them."""
        if not self._looking:
            return self._changed(data)
        self._scanner.feed(data)
        return self._placed(data)

    def _placed(self, data: bytes) -> bytes:
        scanner = self._scanner
        held = self._held + data if self._held else data
        if not scanner.done:
            cut = scanner.settled - self._settled
            self._settled, self._held = scanner.settled, held[cut:]
            return held[:cut]
        self._looking, self._held = False, b""
        plain = not (self._decoder or self._encoder or self._room)
        self._through = self.verdict == "edit" and plain and self._metas is None
        if scanner.place is None:
            self.reason = scanner.reason
            return held
        self.inserted = True
        self.added = len(self._tag) if self._metas is None or not self._metas.extends else None
        cut = scanner.place - self._settled
        view = memoryview(held)  # slices of bytes would copy the page once more
        rest = view[cut:] if self._metas is None else self._metas.feed(held[cut:])
        return b"".join((view[:cut], self._tag, rest))

    @property
    def _has_read_metas(self) -> bool:
        return self._metas is None or self._metas.done

    def _changed(self, data: bytes) -> bytes:
        """The bytes after the tag, with the policies of the page's head as they are to be."""
        if self._metas is None or not self.inserted:
            return data
        data = self._metas.feed(data)
        if self._metas.done and self.verdict == "edit":
            self._through = not (self._decoder or self._encoder or self._room)
        return data

    def _encoded(self, data: bytes) -> bytes:
        return self._encoder.encode(data) if self._encoder and data else data

    def _keep(self, data: bytes) -> None:
        if self._room:
            kept = data[: self._room]
            self._copied.append(kept)
            self._room -= len(kept)
            if not self._room:
                self.gap = Reason.TOO_LONG

    def _copy_passing(self, chunk: bytes) -> None:
        """Copy from a body that passes. A decoding error ends the copy."""
        try:
            for piece in self._decoder.decode(chunk) if self._decoder else (chunk,):
                self._keep(piece)
        except CodingError:
            self._room = 0
            self.gap = Reason.CODING
        self._through = not self._room
