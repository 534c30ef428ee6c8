"""Policies in `<meta http-equiv="Content-Security-Policy">`, in the head of a page that is being edited.

What they forbid of a provider's chat is noted, and with `extend` they are made longer by exactly the missing
hosts (`csp_hosts.py`). All other bytes stay as they are. A policy counts for what comes after it, and only in
the head (HTML, "Content security policy state"). The tag stands before all of them.

A scanner on bytes, as `scanner.py`: what is a tag depends on the bytes alone, never on where chunks end.
Memory is bounded by the longest tag; what is longer, or comes late in the page, is let through.
"""

import re
from html import unescape
from typing import Final

from .csp_hosts import Needed, extended_policies, forbidden_by
from .scanner import ATTRIBUTES, LOOK, MARKUP, attributes

_RAW: Final = frozenset((b"title", b"script", b"style", b"noscript", b"template", b"noframes"))
"""Elements in which a `<meta>` is no policy of the page: where scripts run, `noscript` is text too."""

_HEAD: Final = _RAW | {b"base", b"basefont", b"bgsound", b"link", b"meta", b"html", b"head"}
"""Elements that do not end the head (HTML §13.2.6.4.4)."""

_RAW_ENDS: Final = {name: re.compile(b"</" + name, re.IGNORECASE) for name in _RAW}
_SPACE: Final = b"\t\n\f\r "
_START: Final = re.compile(
    rb"<(?P<name>[a-z][^\t\n\f\r\x20/>]*+)(?P<attributes>" + ATTRIBUTES + rb")>", re.IGNORECASE | re.VERBOSE
)
_END: Final = re.compile(rb"</(?P<name>[a-z][^\t\n\f\r\x20/>]*+)[^>]*+>", re.IGNORECASE)
_COMMENT: Final = re.compile(rb"<!--(?:-?>|(?s:.*?)--!?>)")
_OTHER: Final = re.compile(rb"<[!?/][^>]*+>")
_CONTENT: Final = re.compile(
    rb"""(?<=[\t\n\f\r\x20/"'])content[\t\n\f\r\x20]*+=[\t\n\f\r\x20]*+
    (?P<value>"[^"]*+"|'[^']*+'|[^\t\n\f\r\x20>"'][^\t\n\f\r\x20>]*+)""",
    re.IGNORECASE | re.VERBOSE,
)


class MetaPolicies:
    """Reads, and with `extend` changes, what follows the tag in a page: `feed` the decoded bytes, `end` after
    the last. `done`: all further bytes may be let through; `forbidden` is what the policies forbid."""

    __slots__ = ("_extend", "_left", "_needed", "_raw", "_rest", "done", "forbidden")

    def __init__(self, needed: Needed, *, extend: bool) -> None:
        self.done = False
        self.forbidden: dict[str, tuple[str, ...]] = {}
        self._needed = needed
        self._extend = extend
        self._rest = b""
        self._raw = b""  # the name of the element whose text is passed through
        self._left = LOOK

    @property
    def extends(self) -> bool:
        """Whether policies are made longer, so that the page's length may change."""
        return self._extend

    def feed(self, data: bytes) -> bytes:
        """The bytes to send after these."""
        if self.done:
            return data
        late = data[self._left :]
        text, out, place = self._rest + data[: self._left], [], 0
        self._left -= len(data)
        while not self.done:
            step = self._in_raw(text, place) if self._raw else self._token(text, place)
            if step is None:
                break
            piece, place = step
            out.append(piece)
        self._rest = text[place:]
        if self._left <= 0 or len(self._rest) > MARKUP:
            self.done = True
        if self.done:
            out += (self._rest, late)
            self._rest = b""
        return b"".join(out)

    def end(self) -> bytes:
        """The bytes that are still held."""
        self.done, rest, self._rest = True, self._rest, b""
        return rest

    def _in_raw(self, text: bytes, place: int) -> tuple[bytes, int] | None:
        """The text of an element up to its end tag; None if more bytes are needed."""
        match = _RAW_ENDS[self._raw].search(text, place)
        if match is None:
            # All but what may be the beginning of the end tag.
            cut = max(place, len(text) - len(self._raw) - 1)
            return (text[place:cut], cut) if cut > place else None
        self._raw = b""
        return text[place : match.start()], match.start()

    def _token(self, text: bytes, place: int) -> tuple[bytes, int] | None:
        """The next tag or comment, and what stands before it; None if more bytes are needed."""
        found = text.find(b"<", place)
        if found < 0:
            if text[place:].strip(_SPACE):
                self.done = True  # text ends the head
            return None
        if text[place:found].strip(_SPACE):
            self.done = True
            return None
        for pattern in (_COMMENT, _START, _END, _OTHER):
            match = pattern.match(text, found)
            if match is None:
                continue
            if pattern is _OTHER and text.startswith(b"<!--", found):
                return None
            piece = text[place : match.end()]
            if pattern is _START:
                self._started(match["name"].lower())
                if match["name"].lower() == b"meta":
                    piece = text[place:found] + self._meta(match)
            elif pattern is _END and match["name"].lower() in (b"head", b"body", b"html", b"br"):
                self.done = True
            return piece, match.end()
        if len(text) > found + 1 and not (text[found + 1 : found + 2].isalpha() or text[found + 1] in b"!/?"):
            self.done = True
        return None

    def _started(self, name: bytes) -> None:
        if name not in _HEAD:
            self.done = True
        elif name in _RAW:
            self._raw = name

    def _meta(self, match: re.Match[bytes]) -> bytes:
        """A `<meta>` element, with its policy extended if it is one."""
        whole, found = match[0], attributes(match["attributes"])
        if found.get(b"http-equiv", b"").strip(_SPACE).lower() != b"content-security-policy":
            return whole
        content = found.get(b"content", b"")
        try:
            policy = unescape(content.decode("ascii"))
        except UnicodeDecodeError:
            return whole
        for directive, hosts in forbidden_by(policy, self._needed).items():
            known = self.forbidden.get(directive, ())
            self.forbidden[directive] = (*known, *(host for host in hosts if host not in known))
        if not self._extend:
            return whole
        longer = extended_policies(policy, self._needed)
        place = _CONTENT.search(whole)
        if longer == policy or place is None:
            return whole
        value = longer.replace("&", "&amp;").replace('"', "&quot;").encode("ascii")
        changed = whole[: place.start("value")] + b'"' + value + b'"' + whole[place.end("value") :]
        # Another attribute's value may look like this one.
        again = _START.fullmatch(changed)
        return changed if again and attributes(again["attributes"]).get(b"content") == value else whole
