"""Finds what prevents clew's tag in a page or the widget from working, and what to do about it.

Uses the functions that decide about the tag in a running clew (`injector.eligible`, `csp`, `scanner`). This
module has texts for their reasons, and checks of the page itself.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal
from urllib.parse import urljoin, urlsplit

from bs4.element import Tag

from ..injector.csp import evaluate
from ..injector.eligible import response_reason
from ..injector.heads import Headers, RequestHead, ResponseHead, tokens, values
from ..injector.scanner import Scanner
from .look import Look
from .words import shown

Weight = Literal["stops", "note"]


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something on a page: `stops` prevents the tag, a `note` is for information."""

    weight: Weight
    what: str
    hint: str


# The injector's reason → what is wrong, and what the owner can do.
REASONS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "status": ("its status is not that of a page", "open it in a browser to see whether it exists"),
        "content type": (
            "it is not sent as text/html (XHTML, JSON, or no type at all)",
            "let the shop send `Content-Type: text/html`",
        ),
        "charset": ("its charset cannot be edited safely", "let the shop send UTF-8"),
        "download": ("it is sent as a download", "remove `Content-Disposition: attachment`"),
        "empty": ("it is empty", "open it in a browser to see whether it exists"),
        "partial": ("only a part of it was sent", "let the shop send whole pages"),
        "signed": (
            "its bytes are signed",
            "exclude the page from signing, or do without the chat on it",
        ),
        "sendfile": ("another server sends its body", "put clew in front of that server"),
        "no-transform": (
            "`Cache-Control: no-transform` forbids every change",
            "remove `no-transform` from the header",
        ),
        "coding": (
            "its content coding is unknown, or there are several",
            "let the shop send gzip, br, zstd or no coding",
        ),
        "amp": (
            "it is an AMP page, which allows no script of the shop's own",
            "nothing: the chat is on the pages that it links to",
        ),
        "no page": (
            "it does not begin like an HTML page",
            "look for text before the doctype in its source",
        ),
        "no place": ("it ends before a head begins", "let it begin with <!doctype html><html><head>"),
        "look-ahead": ("there are more than 64 KB before its head", "shorten the part before <head>"),
        "long tag": (
            "a tag at its beginning is longer than 8 KB",
            "shorten the attributes of <html> or <head>",
        ),
        "fragment": ("it begins in the middle of a page", "let it begin with <!doctype html><html><head>"),
        "escape sequences": ("its charset changes inside the text", "let the shop send UTF-8"),
        "tagged already": ("it already has clew's tag", "inspect the shop's own address, not clew's"),
        "csp sandbox": (
            "its Content-Security-Policy has `sandbox` without `allow-scripts`",
            "add allow-scripts",
        ),
        "csp require-sri-for": (
            "its Content-Security-Policy requires `integrity` on scripts",
            "remove `require-sri-for`",
        ),
        "integrity-policy": (
            "its Integrity-Policy requires `integrity` on scripts",
            "remove `script` from it",
        ),
        **{
            f"csp {directive}": (
                f"its Content-Security-Policy (`{directive}`) forbids scripts of the shop's own host",
                f"add 'self' to `{directive}`, or with 'strict-dynamic' a new nonce in each response",
            )
            for directive in ("script-src", "script-src-elem", "default-src")
        },
    }
)


def obstacles(look: Look, prefix: str) -> list[Obstacle]:
    """The obstacles on this page; `prefix` is the path of clew's own script."""
    return [*_refusals(look, prefix), *_header_notes(look.answer.headers), *_page_notes(look)]


def _refusals(look: Look, prefix: str) -> Iterator[Obstacle]:
    answer = look.answer
    parts = urlsplit(answer.url)
    request = RequestHead(
        "GET",
        parts.path.encode("utf-8", "replace"),
        parts.query.encode("utf-8", "replace"),
        [],
        "https" if parts.scheme == "https" else "http",
        parts.netloc,
        None,
    )
    reason = response_reason(request, ResponseHead(answer.status, answer.headers))
    if reason is None:
        scanner = Scanner()
        scanner.feed(answer.body)
        if answer.whole:
            scanner.end()
        reason = scanner.reason or None
    if reason is not None:
        yield _stop(reason)
    policy = evaluate(answer.headers, urljoin(answer.url, f"{prefix}l.js"))
    if not policy.allowed:
        yield _stop(policy.reason)
    elif policy.reason:
        yield Obstacle(
            "note",
            "a report-only Content-Security-Policy will report the tag on every page",
            "add 'self' to its scripts",
        )
    elif policy.nonce is not None:
        yield Obstacle(
            "note",
            "its Content-Security-Policy requires a nonce: clew copies the one in the response",
            "make sure that no cache stores pages with their nonce",
        )


def _stop(reason: str) -> Obstacle:
    what, hint = REASONS.get(reason, (f"it is not edited: {reason}", "see docs/compatibility.md"))
    return Obstacle("stops", what, hint)


def _directives(policy: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for part in policy.split(";"):
        words = part.lower().split()
        if words:
            found.setdefault(words[0], words[1:])
    return found


def _header_notes(headers: Headers) -> Iterator[Obstacle]:
    for value in values(headers, b"content-security-policy"):
        for policy in value.decode("latin-1").split(","):
            yield from _policy_notes(_directives(policy), "its Content-Security-Policy")
    if b"no-store" in tokens(headers, b"cache-control") and values(headers, b"clear-site-data"):
        yield Obstacle("note", "Clear-Site-Data deletes clew's cookie", "remove `cookies` from it")


def _policy_notes(policy: Mapping[str, list[str]], whose: str) -> Iterator[Obstacle]:
    connect = policy.get("connect-src", policy.get("default-src"))
    if connect is not None and not {"'self'", "*", "https:"} & set(connect):
        hint = "add 'self' to `connect-src`; otherwise neither rules nor chat work"
        yield Obstacle("note", f"{whose} does not allow scripts to call the shop's own host", hint)
    if "'script'" in policy.get("require-trusted-types-for", ()):
        what = f"{whose} requires Trusted Types: clew's widget complies, but other scripts may not"
        yield Obstacle("note", what, "try the chat on this page in Chromium")


def _page_notes(look: Look) -> Iterator[Obstacle]:
    soup = look.soup
    named = re.compile("^content-security-policy$", re.IGNORECASE)
    for tag in soup.find_all("meta", attrs={"http-equiv": named, "content": True}):
        yield from _policy_notes(_directives(str(tag["content"])), "a Content-Security-Policy in <meta>")
    base = soup.find("base", href=True)
    if isinstance(base, Tag) and urlsplit(look.base).netloc != urlsplit(look.answer.url).netloc:
        what = f"<base> points relative URLs to {shown(urlsplit(look.base).netloc, 60)}"
        yield Obstacle("note", what, "nothing: clew's tag is before it")
    if re.search(r"serviceWorker\s*\.\s*register", look.scripts):
        what = "a service worker may respond with stored pages that lack the tag"
        yield Obstacle("note", what, "let it fetch pages from the network first")
    if look.answer.body and not look.answer.whole:
        yield Obstacle("note", "it is larger than the part that was read, or was cut off", "")
