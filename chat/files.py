"""What a file is, by its bytes, and what it is called when it is delivered. Pure."""

import codecs
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final, Literal
from urllib.parse import quote

FileKind = Literal["picture", "pdf", "text"]

HEAD_BYTES: Final = 1024
"""As many of a file's first bytes tell its type, unless it is text."""

NAME_LENGTH: Final = 100
"""Characters of a name, with its ending."""

TEXT: Final = "text/plain; charset=utf-8"
PDF: Final = "application/pdf"
ENDINGS: Final[Mapping[str, str]] = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    PDF: ".pdf",
    TEXT: ".txt",
}
"""The types that are delivered, and how their names end."""

# Endings that a name may have for what a file is. Programs name pictures after each other's formats, which
# does no harm, since they are made anew; a picture's name on something else is a lie.
_NAMES: Final[Mapping[FileKind, frozenset[str]]] = {
    "picture": frozenset({"jpg", "jpeg", "jpe", "jfif", "png", "gif", "webp"}),
    "pdf": frozenset({"pdf"}),
    "text": frozenset({"txt", "text", "log", "md", "csv"}),
}
_SIGNS: Final[tuple[tuple[re.Pattern[bytes], FileKind], ...]] = (
    (re.compile(rb"\xff\xd8\xff"), "picture"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "picture"),
    (re.compile(rb"GIF8[79]a"), "picture"),
    (re.compile(rb"RIFF....WEBPVP8", re.DOTALL), "picture"),
    (re.compile(rb"%PDF-[12]\.[0-9]"), "pdf"),
)
_CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f\x7f]")
# Separators of paths, what Windows forbids in a name, and quotes of the header.
_FORBIDDEN = re.compile(r'[/\\:*?"<>|%;`$&\']')
_ENDING = re.compile(r"\.([A-Za-z0-9]{1,8})\Z")


class FileRefusedError(ValueError):
    """A file that is not taken. `reason` is one of a few words, by which the widget finds the text in the
    visitor's language; the message says the same in English, for agents."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Sniffer:
    """Finds out what a file is while its bytes come."""

    def __init__(self) -> None:
        self.head = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._text = True

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        if len(self.head) < HEAD_BYTES:
            self.head += data[: HEAD_BYTES - len(self.head)]
        if self._text:
            try:
                self._decoder.decode(data)
                self._text = _CONTROLS.search(data) is None
            except UnicodeDecodeError:
                self._text = False

    def kind(self) -> FileKind | None:
        """What the whole file is; None for what is not known."""
        for sign, kind in _SIGNS:
            if sign.match(self.head):
                return kind
        try:
            self._decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return None
        return "text" if self._text and self.head else None


def checked(kind: FileKind | None, name: str, allowed: Iterable[FileKind]) -> FileKind:
    """What a file is, if it may be sent under its name. Raises FileRefusedError."""
    allowed = tuple(allowed)
    if kind is None or kind not in allowed:
        what = "is of a type that is not known" if kind is None else f"is of the type “{kind}”"
        raise FileRefusedError("type", f"the file {what}; {_listed(allowed)} can be sent")
    ending = _ENDING.search(name)
    if ending is not None and ending[1].lower() not in _NAMES[kind]:
        raise FileRefusedError(
            "lies", f"the file is called “.{ending[1].lower()}”, but its content is of the type “{kind}”"
        )
    return kind


def _listed(kinds: tuple[FileKind, ...]) -> str:
    words = {"picture": "pictures (JPEG, PNG, GIF, WebP)", "pdf": "PDF", "text": "plain text in UTF-8"}
    return ", ".join(words[kind] for kind in kinds) or "nothing"


def safe_name(name: str, type: str) -> str:  # noqa: A002 - the standard's word
    """The name of a file as it is delivered: one line without paths, invisible letters and letters that turn
    the reading direction, with the ending of its type."""
    last = re.split(r"[/\\]", name)[-1]
    shown = "".join(c for c in unicodedata.normalize("NFC", last) if unicodedata.category(c)[0] != "C")
    shown = _FORBIDDEN.sub("_", " ".join(shown.split()))
    shown = _ENDING.sub("", shown).strip(" ._-")
    ending = ENDINGS[type]
    return (shown[: NAME_LENGTH - len(ending)].rstrip(" .") or "file") + ending


def disposition(name: str, *, inline: bool) -> str:
    """The value of Content-Disposition (RFC 6266 §4, the name by RFC 8187 §3.2), for a `safe_name`."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = plain if plain and not plain.startswith(".") else f"file{plain}"
    kind = "inline" if inline else "attachment"
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
