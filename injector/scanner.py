"""Where in a page the tag goes: the HTML tokenizer, as far as the first tag that matters, on raw bytes.

The place is right after the `<head …>` start tag. Where there is none it is right before the first thing that
makes the parser open the head by itself: a start tag other than `html` and `head`, text, or an end tag
`head`, `body`, `html` or `br` (HTML §13.2.6.4.2 and §13.2.6.4.3). Either way the script becomes the head's
first child, where it neither closes the head nor meets an unclosed element, and never stands before the
doctype, whose loss would mean quirks mode. (Behind debugging output, below, the browser's parser is in the
body already: it ignores doctype and `<head>`, and the script ends up in the body, where it works as well.)

A body is taken for a page only if its first token after a byte order mark, white space and comments is an
HTML doctype or an `html`, `head` or `body` start tag (the *gate*): fragments, JSON, scripts and feeds sent as
`text/html` are nobody's page. One thing more is let through, the text that PHP and its like print in front of
a page when debugging is left on. Shops do run like that, and the visitor sees a page. What tells it from data
and code sent under the wrong type is what comes next: prose, with no tags but PHP's own `<b>` and `<br />`,
that a doctype follows directly, that opens no bracket or quote as JSON, JavaScript and CSS do, and that ends
within `LEADING` bytes. Holding back so little is not seen: browsers themselves wait for the first 1,024 bytes
of a page without a declared charset.

Everything here is decided by the bytes, never by where chunks end. A token counts once its last byte is
there, and no pattern gives back what it took (possessive quantifiers), so that an unterminated quote or
comment swallows the rest as it does in the browser.
"""

import re
from typing import Final

LOOK: Final = 65_536
"""Bytes at the start of a body in which the place may lie. In 1,550 pages of shops and papers the farthest
lay at 21,231, the median at 45. Also the bound of what the scanner keeps."""

MARKUP: Final = 8_192
"""Longest tag, doctype or bogus comment that is read, in bytes; a page with a longer one is left alone."""

LEADING: Final = 1_024
"""Longest debugging output before the doctype, in bytes."""

MARKER: Final = 1_024
"""Bytes after the place in which a tag of ours would have to end for the page to count as done."""

_ATTRIBUTES = rb"""(?:
    [\t\n\f\r\x20/]++
  | [^\t\n\f\r\x20/>][^\t\n\f\r\x20/>=]*+                      # a name; a leading "=" belongs to it
    (?:[\t\n\f\r\x20]*+=[\t\n\f\r\x20]*+
      (?: "[^"]*+(?:"|\Z) | '[^']*+(?:'|\Z)                    # an open quote takes all there is
        | [^\t\n\f\r\x20>"'][^\t\n\f\r\x20>]*+ )?+ )?+
)*+"""

_TOKEN = re.compile(
    rb"""[\t\n\f\r\x20]*+(?:
    (?P<comment> <!--(?:-?>|(?s:.*?)--!?>) )
  | (?P<doctype> <!doctype(?P<doctype_name>[^>]*+)> )
  | (?P<bogus>   <(?:!(?!--|doctype)|\?|/(?=[^a-z]))[^>]*+> )
  | (?P<end>     </(?P<end_name>[a-z][^\t\n\f\r\x20/>]*+)"""
    + _ATTRIBUTES
    + rb"""> )
  | (?P<start>   <(?P<start_name>html|head)(?=[\t\n\f\r\x20/>])(?P<attributes>"""
    + _ATTRIBUTES
    + rb""")> )
  | (?P<other>   <(?=[a-z])(?!(?:html|head)[\t\n\f\r\x20/>])
                   (?!(?:h(?:t(?:ml?)?|e(?:ad?)?)?|b(?:o(?:dy?)?)?)\Z) )
  | (?P<text>    [^\t\n\f\r\x20<] | <(?=[^a-z!/?]) )
)""",
    re.IGNORECASE | re.VERBOSE,
)

# What nearly every page begins with, up to the place, in one go. What stands there must not be a script: it
# might be our tag. The tokens are those above: whatever this does not match is read one by one.
_USUAL = re.compile(
    rb"""(?:\xef\xbb\xbf)?+[\t\n\f\r\x20]*+<!doctype[\t\n\f\r\x20]++html[\t\n\f\r\x20]*+>
    [\t\n\f\r\x20]*+<html(?=[\t\n\f\r\x20/>])(?P<attributes>"""
    + _ATTRIBUTES
    + rb""")>
    [\t\n\f\r\x20]*+<head(?=[\t\n\f\r\x20/>])"""
    + _ATTRIBUTES
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
    rb"[\t\n\f\r\x20]*+<script(?=[\t\n\f\r\x20/>])(?P<attributes>" + _ATTRIBUTES + rb")>",
    re.IGNORECASE | re.VERBOSE,
)
_SCRIPT_PERHAPS = re.compile(
    rb"[\t\n\f\r ]*+(?:\Z|<(?:\Z|s(?:\Z|c(?:\Z|r(?:\Z|i(?:\Z|p(?:\Z|t(?:\Z|[\t\n\f\r />]))))))))",
    re.IGNORECASE,
)

_BOM = b"\xef\xbb\xbf"
_ESCAPE = b"\x1b"  # ISO-2022 switches character sets with it: what looks like "<" may be half a character

# An end tag in front of the head that opens it all the same; any other is ignored there.
_OPENING_END_TAGS = frozenset((b"head", b"body", b"html", b"br"))

# https://amp.dev/documentation/guides-and-tutorials/learn/spec/amphtml: AMP, AMP ads, AMP e-mail; the
# lightning may carry a variation selector.
_AMP = frozenset(
    sign + kind
    for sign in (b"amp", b"\xe2\x9a\xa1", b"\xe2\x9a\xa1\xef\xb8\x8f")
    for kind in (b"", b"4ads", b"4email")
)

# Debugging output: text with the two tags that PHP puts into it (main/main.c, php_error_cb), and what of the
# doctype may have come when a chunk ends.
_PROSE = re.compile(rb"(?:[^<]++|<br ?/?>|</?b>)*+", re.IGNORECASE)
_PROSE_OPEN = re.compile(
    rb"(?:<(?:/|/?b|br ?/?|!(?:d(?:o(?:c(?:t(?:yp?)?)?)?)?)?|!doctype[\t\n\f\r ]*+(?:h(?:tm?)?)?)?)?\Z",
    re.IGNORECASE,
)
_HTML_DOCTYPE = re.compile(rb"<!doctype[\t\n\f\r ]*+html", re.IGNORECASE)

# JSON, JavaScript, CSS and mail begin or go on like this, and a doctype in them stands in a string.
_CODE_START = re.compile(rb"[\"'/#+(&*@.,:\\-]")
_CODE = re.compile(rb"[{}\[=`]|\([\t\n\f\r ]*+[\"']")
_OPEN_STRING = re.compile(rb"[\"'(+,:\\][\t\n\f\r ]*+\Z")


def attributes(text: bytes) -> dict[bytes, bytes]:
    """The attributes of a start tag by name in lower case; the first of a name counts (HTML §13.2.5.33).

    `text` is what stands between the tag's name and its closing `>`. Values are raw: character references
    stay.
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
    """Reads the start of one body, chunk by chunk, and says where the tag goes.

    Feed decoded bytes until `over`. `place` is then the offset of the tag from the start of the body, or None
    with the `reason`. Before that, `gate` says that the body is a page, `settled` how many bytes lie before
    any possible place, and `between` that no token is cut in two. No more than `LOOK` bytes are read, and
    only the last, incomplete token is kept.
    """

    __slots__ = ("_at_start", "_base", "_here", "_resume", "_window", "gate", "over", "place", "reason")

    def __init__(self) -> None:
        self.gate = False
        self.over = False
        self.place: int | None = None
        self.reason = ""
        self._window = b""  # the bytes from the first token that is not complete
        self._base = 0  # offset of the window in the body
        self._resume = 0  # inside a comment: where in the window to go on looking for its end
        self._at_start = True  # a byte order mark may still come
        self._here = False  # the window begins at the place, only a tag of ours may stand there already

    @property
    def settled(self) -> int:
        """Offset in the body before which the tag cannot come any more."""
        return self._base

    @property
    def between(self) -> bool:
        """Whether the bytes so far end where a token ends."""
        return not self._window

    def feed(self, data: bytes) -> None:
        """Read the next bytes of the body. After `over` nothing is read."""
        if self.over:
            return
        window = self._window + data if self._window else data
        end = min(len(window), LOOK - self._base)
        at = 0 if self._here else self._read(window, end)
        if self._here and not self.over:
            self._settle(window, at, end)
        last = self._base + end == LOOK
        self._base += at
        if last and not self.over:
            self._no_more("look-ahead")
        self._window = b"" if self.over else window[at:]

    def usual(self, data: bytes | memoryview) -> int | None:
        """The place in a body that begins as most do, and then the scanner is over. None where nothing was
        read: `feed` it. For the first bytes of a body only."""
        begins = _USUAL.match(data, 0, MARKUP)
        if begins is None or _is_amp(bytes(begins["attributes"])) or _ESCAPE in bytes(begins[0]):
            return None
        self.gate = self.over = True
        self.place = self._base = begins.end()
        return self.place

    def end(self) -> None:
        """The body has ended: what is not complete by now never will be."""
        if not self.over:
            self._no_more("no place" if self.gate else "no page")
            self._window = b""

    def _no_more(self, reason: str) -> None:
        if self._here:
            self.over, self.place = True, self._base
        else:
            self._give_up(reason)

    def _give_up(self, reason: str) -> None:
        self.over, self.reason, self._here = True, reason, False

    def _read(self, window: bytes, end: int) -> int:
        """Read tokens up to the place or the end; the offset in the window of what has not been read."""
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
            self._give_up("escape sequences")
        return at

    def _tokens(self, window: bytes, at: int, end: int) -> int:
        while not (self.over or self._here):
            token = _TOKEN.match(window, at, end)
            if token is None:
                return self._incomplete(window, at, end)
            kind = str(token.lastgroup)
            begin, at = token.span(kind)
            if kind == "comment":
                continue
            if at - begin > MARKUP:
                self._give_up("long tag")
            elif kind == "bogus":
                continue
            elif kind == "doctype":
                self.gate = self.gate or _is_html(token["doctype_name"])
            elif kind == "start":
                self._start_tag(token)
            elif kind == "other" and not self.gate and _BODY.match(window, begin, end):
                self.gate = self._here = True
                at = begin
            elif self.gate:
                if kind != "end" or token["end_name"].lower() in _OPENING_END_TAGS:
                    self._here, at = True, begin
            elif kind == "end":
                self._give_up("fragment")
            else:
                at = self._leading(window, begin, end)
                if at == begin:
                    return at
        return at

    def _start_tag(self, token: re.Match[bytes]) -> None:
        self.gate = True
        if token["start_name"].lower() == b"head":
            self._here = True
        elif _is_amp(token["attributes"]):
            self._give_up("amp")

    def _incomplete(self, window: bytes, at: int, end: int) -> int:
        """No whole token stands at `at`: skip white space, and note what to wait for."""
        space = _SPACE.match(window, at, end)
        at = space.end() if space else at
        if window.startswith(b"<!--", at, end):
            # The first six bytes are read again as a whole: `<!-->` and `<!--->` end there.
            self._resume = max(4, end - at - 3) if end - at >= 6 else 0
        elif end - at >= MARKUP:
            self._give_up("long tag")
        return at

    def _leading(self, window: bytes, at: int, end: int) -> int:
        """The offset of the doctype behind debugging output, or `at` to wait or after giving up."""
        prose = _PROSE.match(window, at, min(end, at + LEADING))
        stop = prose.end() if prose else at
        if stop - at >= LEADING or _CODE_START.match(window, at, stop) or _CODE.search(window, at, stop):
            self._give_up("no page")
        elif _HTML_DOCTYPE.match(window, stop, end) and not _OPEN_STRING.search(window, at, stop):
            return stop
        elif not _PROSE_OPEN.match(window, stop, end):
            self._give_up("no page")
        return at

    def _settle(self, window: bytes, at: int, end: int) -> None:
        """At the place: nothing to do if a tag of ours stands there, as in a page that was edited before."""
        limit = min(end, at + MARKER)
        script = _SCRIPT.match(window, at, limit)
        if script is None and limit < at + MARKER and _SCRIPT_PERHAPS.match(window, at, limit):
            return
        if script is not None and attributes(script["attributes"]).get(b"data-clew") == b"1":
            self._give_up("tagged already")
        else:
            self.over, self.place = True, self._base + at
