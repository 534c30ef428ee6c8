"""What would keep clew's tag out of a page, or the widget from working in it, and what to do about it.

Whether the tag goes in is asked of the very functions that decide it at work (`injector.eligible`, `csp`,
`scanner`). What follows here are the words for their reasons, and what those functions leave to the page.
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
    """Something on a page: `stops` keeps the tag out, a `note` is worth knowing."""

    weight: Weight
    what: str
    hint: str


# The injector's reason → what it is, and what the owner can do.
REASONS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "status": ("its status is not that of a page", "open it in a browser: is it there?"),
        "content type": (
            "it is not sent as text/html (XHTML, JSON, or no type at all)",
            "let the shop send `Content-Type: text/html`",
        ),
        "charset": ("its charset is one that cannot be edited safely", "let the shop send UTF-8"),
        "download": ("it is sent as a file to be saved", "leave out `Content-Disposition: attachment`"),
        "empty": ("it is empty", "open it in a browser: is it there?"),
        "partial": ("only a part of it was sent", "let the shop send whole pages"),
        "signed": (
            "its bytes are signed",
            "take the page out of the signing, or live without the chat on it",
        ),
        "sendfile": ("another server sends its body", "put clew in front of that server"),
        "no-transform": (
            "`Cache-Control: no-transform` forbids every change",
            "take `no-transform` out of the header",
        ),
        "coding": (
            "it is packed in a way that is not known, or in several at once",
            "let the shop send gzip, br, zstd or nothing",
        ),
        "amp": (
            "it is an AMP page, which allows no script of the shop's own",
            "none: visitors go on from it",
        ),
        "no page": (
            "it begins with something else than a page",
            "open its source: is there text before the doctype?",
        ),
        "no place": ("it ends before a head begins", "let it begin with <!doctype html><html><head>"),
        "look-ahead": ("more than 64 KB stand before its head", "shorten what stands before <head>"),
        "long tag": (
            "a tag at its beginning is longer than 8 KB",
            "shorten the attributes of <html> or <head>",
        ),
        "fragment": ("it begins in the middle of a page", "let it begin with <!doctype html><html><head>"),
        "escape sequences": ("its charset switches in the middle of the text", "let the shop send UTF-8"),
        "tagged already": ("clew's tag is there already", "inspect the shop's own address, not clew's"),
        "csp sandbox": (
            "its Content-Security-Policy has `sandbox` without `allow-scripts`",
            "add allow-scripts",
        ),
        "csp require-sri-for": (
            "its Content-Security-Policy asks for `integrity` on scripts",
            "take `require-sri-for` out",
        ),
        "integrity-policy": (
            "its Integrity-Policy asks for `integrity` on scripts",
            "take `script` out of it",
        ),
        **{
            f"csp {directive}": (
                f"its Content-Security-Policy (`{directive}`) forbids scripts of the shop's own host",
                f"add 'self' to `{directive}`, or with 'strict-dynamic' a fresh nonce for each answer",
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
            "its Content-Security-Policy asks for a nonce: clew copies the answer's own",
            "make sure that no cache keeps pages with their nonce",
        )


def _stop(reason: str) -> Obstacle:
    what, hint = REASONS.get(reason, (f"it is left alone: {reason}", "see docs/compatibility.md"))
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
        yield Obstacle("note", "Clear-Site-Data takes clew's cookie away", "leave `cookies` out of it")


def _policy_notes(policy: Mapping[str, list[str]], whose: str) -> Iterator[Obstacle]:
    connect = policy.get("connect-src", policy.get("default-src"))
    if connect is not None and not {"'self'", "*", "https:"} & set(connect):
        hint = "add 'self' to `connect-src`, else neither rules nor chat work"
        yield Obstacle("note", f"{whose} does not let scripts call the shop's own host", hint)
    if "'script'" in policy.get("require-trusted-types-for", ()):
        what = f"{whose} asks for Trusted Types: clew's widget needs none, but look at other scripts"
        yield Obstacle("note", what, "try the chat on this page in Chromium")


def _page_notes(look: Look) -> Iterator[Obstacle]:
    soup = look.soup
    named = re.compile("^content-security-policy$", re.IGNORECASE)
    for tag in soup.find_all("meta", attrs={"http-equiv": named, "content": True}):
        yield from _policy_notes(_directives(str(tag["content"])), "a Content-Security-Policy in <meta>")
    base = soup.find("base", href=True)
    if isinstance(base, Tag) and urlsplit(look.base).netloc != urlsplit(look.answer.url).netloc:
        what = f"<base> leads relative addresses to {shown(urlsplit(look.base).netloc, 60)}"
        yield Obstacle("note", what, "nothing: clew's tag stands before it")
    if re.search(r"serviceWorker\s*\.\s*register", look.scripts):
        what = "a service worker may answer with pages that were kept without the tag"
        yield Obstacle("note", what, "let it ask the network first for pages")
    if look.answer.body and not look.answer.whole:
        yield Obstacle("note", "it is larger than what was looked at, or broke off", "")
