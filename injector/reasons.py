"""Why a page gets no tag, or why its policy is worth a word: one short form and one sentence each.

The short forms stand in `X-Clew`, in the metrics and in the log.
"""

from enum import StrEnum


class Reason(StrEnum):
    """`text` says it in a sentence. `by_policy`: the page's own headers ask for it, so that the shop's owner
    can do something about it."""

    text: str
    by_policy: bool

    def __new__(cls, short: str, text: str, by_policy: bool = False) -> "Reason":
        """Create a member from its short form and its sentence."""
        member = str.__new__(cls, short)
        member._value_ = short
        member.text = text
        member.by_policy = by_policy
        return member

    # As a text's: a member is found where its short form is.
    __hash__ = str.__hash__

    NONE = "", "nothing stands against it"
    FAULT = "fault", "something of clew's own failed"

    NOT_A_NAVIGATION = "not a navigation", "no browser shows the answer as a page"
    METHOD = "method", "the request's method is none of a navigation"
    UPGRADE = "upgrade", "the request asks for a WebSocket"
    FETCH = "fetch", "a script asks for it, and puts it into a page itself"
    FRAME = "frame", "it is shown in a frame"
    RANGE = "range", "a part of it is asked for"
    ESI = "esi", "a cache asks for it, and puts a page together from parts"

    SWITCHED_OFF = "switched off", "the site has `inject = false`"
    NEVER = "never", "the address is one of the site's `never`"
    ADMIN = "admin", "the address is in the shop's administration"

    STATUS = "status", "the status is none of a page that visitors look at"
    CONTENT_TYPE = "content type", "it is not served as text/html"
    CHARSET = "charset", "its characters are not written in ASCII's bytes"
    DOWNLOAD = "download", "it is to be saved, not shown"
    EMPTY = "empty", "it has no body"
    PARTIAL = "partial", "it is a part of another answer"
    SIGNED = "signed", "its headers are signed"
    SENDFILE = "sendfile", "a server in front puts a file in its place"
    CODING = "coding", "its Content-Encoding cannot be read"

    NO_TRANSFORM = "no-transform", "Cache-Control: no-transform forbids every change", True
    INTEGRITY_POLICY = "integrity-policy", "Integrity-Policy asks for a hash on every script", True
    CSP_TOO_LONG = "csp too long", "its policies are longer than 16 KB", True
    CSP_SANDBOX = "csp sandbox", "its policy's sandbox allows no scripts", True
    CSP_REQUIRE_SRI = "csp require-sri-for", "its policy asks for a hash on every script", True
    CSP_SCRIPT_SRC_ELEM = "csp script-src-elem", "its policy's script-src-elem does not allow the tag", True
    CSP_SCRIPT_SRC = "csp script-src", "its policy's script-src does not allow the tag", True
    CSP_DEFAULT_SRC = "csp default-src", "its policy's default-src does not allow the tag", True
    REPORTED_SCRIPT_SRC_ELEM = (
        "csp report-only script-src-elem",
        "the browser will report the tag by script-src-elem of the report-only policy",
        True,
    )
    REPORTED_SCRIPT_SRC = (
        "csp report-only script-src",
        "the browser will report the tag by script-src of the report-only policy",
        True,
    )
    REPORTED_DEFAULT_SRC = (
        "csp report-only default-src",
        "the browser will report the tag by default-src of the report-only policy",
        True,
    )

    NO_BODY = "no body", "the answer to this request has no body"
    COPY_ONLY = "copy only", "it is only read"
    NO_PAGE = "no page", "it does not begin as a page does"
    NO_PLACE = "no place", "it has no <head> or other place for the tag"
    FRAGMENT = "fragment", "it is a part of a page"
    AMP = "amp", "it is an AMP page, which may have no scripts of others"
    TAGGED = "tagged already", "the tag is there"
    LOOK_AHEAD = "look-ahead", "the place for the tag is too far behind"
    LONG_TAG = "long tag", "a tag before that place is too long"
    ESCAPE_SEQUENCES = "escape sequences", "its characters are switched within the text"
    TRUNCATED = "truncated", "the coded body broke off"
    BROKEN_CODING = "broken coding", "the coded body cannot be decoded"
    BOMB = "decompression bomb", "the coded body becomes too long"
    TOO_LONG = "too long", "the order is not in the first 512 KB, and no more is read"
