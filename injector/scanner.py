"""Finds the tag's position in a page: the start of the HTML tokenizer, on raw bytes.

The position is right after the `<head …>` start tag. If there is none, it is right before the first token
that makes the parser open the head implicitly: a start tag other than `html` and `head`, text, or an end tag
`head`, `body`, `html` or `br` (HTML §13.2.6.4.2 and §13.2.6.4.3). In both cases the script becomes the first
child of the head: it does not close the head, is inside no unclosed element, and is never before the doctype,
where it would cause quirks mode. (After debugging output, see below, the browser's parser is already in the
body: it ignores doctype and `<head>`, and the script ends up in the body, where it works as well.)

A body is a page only if its first token after a byte order mark, white space and comments is an HTML doctype
or an `html`, `head` or `body` start tag. Fragments, JSON, scripts and feeds sent as `text/html` are not. The
one exception is the text that PHP and others print before a page when debugging is on: some shops run like
that, and the visitor sees a page. It is distinguished from data and code with a wrong content type by its
form: text with no tags but PHP's own `<b>` and `<br />`, directly followed by a doctype, without a bracket or
quote opened as in JSON, JavaScript and CSS, and no longer than `LEADING` bytes. Holding that much has no
visible effect: browsers themselves wait for the first 1,024 bytes of a page without a declared charset.

Everything depends on the bytes only, never on where chunks end. A token counts once its last byte was read,
and all quantifiers are possessive, so that an unterminated quote or comment consumes the rest as it does in
the browser.
"""

import re
from typing import Final

from .reasons import Reason

LOOK: Final = 65_536
"""Number of bytes at the start of a body in which the position is searched. In 1,550 pages of shops and
newspapers the largest offset was 21,231, the median 45. Also the most that the scanner keeps."""

MARKUP: Final = 8_192
"""Maximum length of a tag, doctype or bogus comment, in bytes; a page with a longer one is not edited."""

LEADING: Final = 1_024
"""Maximum length of debugging output before the doctype, in bytes."""

MARKER: Final = 1_024
"""Number of bytes after the position in which a page that was already edited has its tag."""

ATTRIBUTES = rb"""(?:
    [\t\n\f\r\x20/]++
  | [^\t\n\f\r\x20/>][^\t\n\f\r\x20/>=]*+                      # a name; a leading "=" belongs to it
    (?:[\t\n\f\r\x20]*+=[\t\n\f\r\x20]*+
      (?: "[^"]*+(?:"|\Z) | '[^']*+(?:'|\Z)                    # an open quote runs to the end
        | [^\t\n\f\r\x20>"'][^\t\n\f\r\x20>]*+ )?+ )?+
)*+"""

_TOKEN = re.compile(
    rb"""[\t\n\f\r\x20]*+(?:
    (?P<comment> <!--(?:-?>|(?s:.*?)--!?>) )
  | (?P<doctype> <!doctype(?P<doctype_name>[^>]*+)> )
  | (?P<bogus>   <(?:!(?!--|doctype)|\?|/(?=[^a-z]))[^>]*+> )
  | (?P<end>     </(?P<end_name>[a-z][^\t\n\f\r\x20/>]*+)"""
    + ATTRIBUTES
    + rb"""> )
  | (?P<start>   <(?P<start_name>html|head)(?=[\t\n\f\r\x20/>])(?P<attributes>"""
    + ATTRIBUTES
    + rb""")> )
  | (?P<other>   <(?=[a-z])(?!(?:html|head)[\t\n\f\r\x20/>])
                   (?!(?:h(?:t(?:ml?)?|e(?:ad?)?)?|b(?:o(?:dy?)?)?)\Z) )
  | (?P<text>    [^\t\n\f\r\x20<] | <(?=[^a-z!/?]) )
)""",
    re.IGNORECASE | re.VERBOSE,
)

# The beginning of nearly every page, up to the position, in one match. No script may follow: it might be the
# tag itself. Pages that do not match are read token by token, by the pattern above.
_USUAL = re.compile(
    rb"""(?:\xef\xbb\xbf)?+[\t\n\f\r\x20]*+<!doctype[\t\n\f\r\x20]++html[\t\n\f\r\x20]*+>
    [\t\n\f\r\x20]*+<html(?=[\t\n\f\r\x20/>])(?P<attributes>"""
    + ATTRIBUTES
    + rb""")>
    [\t\n\f\r\x20]*+<head(?=[\t\n\f\r\x20/>])"""
    + ATTRIBUTES
    + rb""">(?=[\t\n\f\r\x20]*+(?:[^\t\n\f\r\x20<]|<[^s]))""",
    re.IGNORECASE | re.VERBOSE,
)

_BODY = re.compile(rb"<body[\t\n\f\r\x20/>]", re.IGNORECASE)
_SPACE = re.compile(rb"[\t\n\f\r ]*+")
_COMMENT_END = re.compile(rb"--!?>")
_ATTRIBUTE = re.compile(
    rb"""([^\t\n\f\r\x20/>][^\t\n\f\r\x20/=>]*+)
    (?:[\t\n\f\r\x20]*+=[\t\n\f\r\x20]*+
      (?: "([^"]*+)" | '([^']*+)' | ([^\t\n\f\r\x20>"'][^\t\n\f\r\x20>]*+) )?+ )?+""",
    re.VERBOSE,
)
_SCRIPT = re.compile(
    rb"[\t\n\f\r\x20]*+<script(?=[\t\n\f\r\x20/>])(?P<attributes>" + ATTRIBUTES + rb")>",
    re.IGNORECASE | re.VERBOSE,
)
_SCRIPT_PERHAPS = re.compile(
    rb"[\t\n\f\r ]*+(?:\Z|<(?:\Z|s(?:\Z|c(?:\Z|r(?:\Z|i(?:\Z|p(?:\Z|t(?:\Z|[\t\n\f\r />]))))))))",
    re.IGNORECASE,
)

_BOM = b"\xef\xbb\xbf"
_ESCAPE = b"\x1b"  # ISO-2022 switches character sets with it: a "<" byte may then be half a character

# End tags that open the head implicitly; before the head, all others are ignored.
_OPENING_END_TAGS = frozenset((b"head", b"body", b"html", b"br"))

# https://amp.dev/documentation/guides-and-tutorials/learn/spec/amphtml: AMP, AMP ads, AMP e-mail; a variation
# selector may follow the lightning sign.
_AMP = frozenset(
    sign + kind
    for sign in (b"amp", b"\xe2\x9a\xa1", b"\xe2\x9a\xa1\xef\xb8\x8f")
    for kind in (b"", b"4ads", b"4email")
)

# Debugging output: text with the two tags that PHP uses in it (main/main.c, php_error_cb), and the part of a
# doctype with which a chunk may end.
_PROSE = re.compile(rb"(?:[^<]++|<br ?/?>|</?b>)*+", re.IGNORECASE)
_PROSE_OPEN = re.compile(
    rb"(?:<(?:/|/?b|br ?/?|!(?:d(?:o(?:c(?:t(?:yp?)?)?)?)?)?|!doctype[\t\n\f\r ]*+(?:h(?:tm?)?)?)?)?\Z",
    re.IGNORECASE,
)
_HTML_DOCTYPE = re.compile(rb"<!doctype[\t\n\f\r ]*+html", re.IGNORECASE)

# JSON, JavaScript, CSS and mail contain these characters, and a doctype in them is inside a string.
_CODE_START = re.compile(rb"[\"'/#+(&*@.,:\\-]")
_CODE = re.compile(rb"[{}\[=`]|\([\t\n\f\r ]*+[\"']")
_OPEN_STRING = re.compile(rb"[\"'(+,:\\][\t\n\f\r ]*+\Z")


def attributes(text: bytes) -> dict[bytes, bytes]:
    """The attributes of a start tag by lower-case name; of duplicates the first counts (HTML §13.2.5.33).

    `text` is the part between the tag's name and its closing `>`. Values are raw: character references are
    not decoded.
    """
    found: dict[bytes, bytes] = {}
    for name, double, single, bare in _ATTRIBUTE.findall(text):
        found.setdefault(name.lower(), double or single or bare)
    return found


def _is_amp(text: bytes) -> bool:
    if b"\xe2\x9a\xa1" not in text and b"amp" not in text.lower():
        return False
    return not _AMP.isdisjoint(attributes(text))


def _is_html(doctype_name: bytes) -> bool:
    words = doctype_name.split(None, 1)
    return not words or words[0].lower() == b"html"


class Scanner:
    """Finds the tag's position from the start of one body, fed chunk by chunk.

    Feed decoded bytes until `done`. `place` is then the tag's offset from the start of the body, or None, and
    `reason` says why. Before that, `is_page` says that the body is a page, `settled` how many bytes are
    before any possible position, and `at_boundary` that no token is incomplete. At most `LOOK` bytes are
    read, and only the last, incomplete token is kept.
    """

    __slots__ = ("_at_start", "_base", "_found", "_resume", "_window", "done", "is_page", "place", "reason")

    def __init__(self) -> None:
        self.is_page = False
        self.done = False
        self.place: int | None = None
        self.reason = Reason.NONE
        self._window = b""  # the bytes from the first incomplete token on
        self._base = 0  # offset of the window in the body
        self._resume = 0  # inside a comment: offset in the window from which to search for its end
        self._at_start = True  # a byte order mark may follow
        self._found = False  # the window begins at the position; the tag may already be there

    @property
    def settled(self) -> int:
        """Offset in the body before which the position cannot be."""
        return self._base

    @property
    def at_boundary(self) -> bool:
        """Whether the bytes so far end at the end of a token."""
        return not self._window

    def feed(self, data: bytes) -> None:
        """Read the next bytes of the body. Ignored after `done`."""
        if self.done:
            return
        window = self._window + data if self._window else data
        end = min(len(window), LOOK - self._base)
        at = 0 if self._found else self._read(window, end)
        if self._found and not self.done:
            self._settle(window, at, end)
        last = self._base + end == LOOK
        self._base += at
        if last and not self.done:
            self._no_more(Reason.LOOK_AHEAD)
        self._window = b"" if self.done else window[at:]

    def match_usual(self, data: bytes | memoryview) -> int | None:
        """A fast path for the first bytes of a body that begins as most pages do.

        Returns the position, and the scanner is then done; or None, and nothing was read: call `feed`.
        """
        begins = _USUAL.match(data, 0, MARKUP)
        if begins is None or _is_amp(bytes(begins["attributes"])) or _ESCAPE in bytes(begins[0]):
            return None
        self.is_page = self.done = True
        self.place = self._base = begins.end()
        return self.place

    def end(self) -> None:
        """The body has ended. An incomplete token stays incomplete."""
        if not self.done:
            self._no_more(Reason.NO_PLACE if self.is_page else Reason.NO_PAGE)
            self._window = b""

    def _no_more(self, reason: Reason) -> None:
        if self._found:
            self.done, self.place = True, self._base
        else:
            self._give_up(reason)

    def _give_up(self, reason: Reason) -> None:
        self.done, self.reason, self._found = True, reason, False

    def _read(self, window: bytes, end: int) -> int:
        """Read tokens up to the position or the end. Returns the offset in the window of the unread rest."""
        at = 0
        if self._at_start:
            if end < len(_BOM) and _BOM.startswith(window):
                return 0
            at = len(_BOM) if window.startswith(_BOM) else 0
            self._at_start = False
        elif self._resume:
            closing = _COMMENT_END.search(window, self._resume, end)
            if closing is None:
                self._resume = max(self._resume, end - 3)
                return 0
            self._resume, at = 0, closing.end()
        at = self._tokens(window, at, end)
        if _ESCAPE in window[:at]:
            self._give_up(Reason.ESCAPE_SEQUENCES)
        return at

    def _tokens(self, window: bytes, at: int, end: int) -> int:
        while not (self.done or self._found):
            token = _TOKEN.match(window, at, end)
            if token is None:
                return self._incomplete(window, at, end)
            kind = str(token.lastgroup)
            begin, at = token.span(kind)
            if kind == "comment":
                continue
            if at - begin > MARKUP:
                self._give_up(Reason.LONG_TAG)
            elif kind == "bogus":
                continue
            elif kind == "doctype":
                self.is_page = self.is_page or _is_html(token["doctype_name"])
            elif kind == "start":
                self._start_tag(token)
            elif kind == "other" and not self.is_page and _BODY.match(window, begin, end):
                self.is_page = self._found = True
                at = begin
            elif self.is_page:
                if kind != "end" or token["end_name"].lower() in _OPENING_END_TAGS:
                    self._found, at = True, begin
            elif kind == "end":
                self._give_up(Reason.FRAGMENT)
            else:
                at = self._leading(window, begin, end)
                if at == begin:
                    return at
        return at

    def _start_tag(self, token: re.Match[bytes]) -> None:
        self.is_page = True
        if token["start_name"].lower() == b"head":
            self._found = True
        elif _is_amp(token["attributes"]):
            self._give_up(Reason.AMP)

    def _incomplete(self, window: bytes, at: int, end: int) -> int:
        """There is no complete token at `at`: skip white space, and note where to resume."""
        space = _SPACE.match(window, at, end)
        at = space.end() if space else at
        if window.startswith(b"<!--", at, end):
            # The first six bytes are read as a whole, because `<!-->` and `<!--->` are complete comments.
            self._resume = max(4, end - at - 3) if end - at >= 6 else 0
        elif end - at >= MARKUP:
            self._give_up(Reason.LONG_TAG)
        return at

    def _leading(self, window: bytes, at: int, end: int) -> int:
        """The offset of the doctype after debugging output; `at` to wait for more or after giving up."""
        prose = _PROSE.match(window, at, min(end, at + LEADING))
        stop = prose.end() if prose else at
        if stop - at >= LEADING or _CODE_START.match(window, at, stop) or _CODE.search(window, at, stop):
            self._give_up(Reason.NO_PAGE)
        elif _HTML_DOCTYPE.match(window, stop, end) and not _OPEN_STRING.search(window, at, stop):
            return stop
        elif not _PROSE_OPEN.match(window, stop, end):
            self._give_up(Reason.NO_PAGE)
        return at

    def _settle(self, window: bytes, at: int, end: int) -> None:
        """At the position: done, or given up if the tag is already there."""
        limit = min(end, at + MARKER)
        script = _SCRIPT.match(window, at, limit)
        if script is None and limit < at + MARKER and _SCRIPT_PERHAPS.match(window, at, limit):
            return
        if script is not None and attributes(script["attributes"]).get(b"data-clew") == b"1":
            self._give_up(Reason.TAGGED)
        else:
            self.done, self.place = True, self._base + at
