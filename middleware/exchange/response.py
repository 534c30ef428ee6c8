"""The steps for the response's head: whether the page is edited, or why not; its coding and validators."""

from collections.abc import Mapping
from dataclasses import replace

from ...injector import csp, csp_hosts, eligible, validators
from ...injector.codings import coding_of, negotiate
from ...injector.edit import PageEdit
from ...injector.heads import RequestHead, ResponseHead, value, values
from ...injector.meta_policy import MetaPolicies
from ...injector.reasons import Reason
from ...injector.rewrite import edited_head
from ...injector.tag import tag
from ...referral.cookie import NAME
from ...referral.touches import merge
from ...service.effects import JoinVisitor
from .caching import unshared, with_cookies
from .facts import COPY_LIMIT, wants_copy
from .record import Out, Record, State
from .redirects import keep_click
from .signals import note_signals


def pass_on(record: Record, head: ResponseHead) -> tuple[Out, State]:
    """Release a head unchanged."""
    return Out(head), record.state


def judge(record: Record, head: ResponseHead) -> tuple[Out, State]:
    """Release the head, or hold it until the first bytes of the body decide."""
    try:
        if record.join is not None:
            _join(record, record.join)
        head = keep_click(record, with_cookies(head, record.set_cookies))
        return _judge(record, head)
    except Exception as error:
        record.note_fault(error)
        return Out(head), State.PASSING


def _join(record: Record, join: JoinVisitor) -> None:
    """Go on with the visitor of a token that counted, and give the browser its cookie for this host."""
    request = record.request_head
    if not join.joined or request is None:
        return
    # The request may be a landing too.
    known = replace(join.known, touches=merge(join.known.touches, record.touches))
    record.known, record.visitor, record.touches = known, known.visitor, known.touches
    cookie = record.site.cookie.set_cookie(known, request.scheme == "https", request.host)
    others = [one for one in record.set_cookies if not one.startswith(NAME + b"=")]
    record.set_cookies = [*others, cookie]


def _judge(record: Record, head: ResponseHead) -> tuple[Out, State]:
    request = record.request_head
    assert request is not None
    fields = dict(head.headers)
    reason, nonce, noted = _why_not(record, request, head, fields)
    if record.site.signals.wanted:
        note_signals(record, request, head)
    copy_limit = COPY_LIMIT if wants_copy(record, request, head) else 0
    record.content_type = value(head.headers, b"content-type") or b""
    coding_in = "identity"
    if b"content-encoding" in fields:
        coding_in = coding_of(head.headers) or "unknown"
    if reason is None:
        head = _with_provider(record, head)
        if request.host_forwarded:
            # The page depends on a header that is not part of a cache's key. In a shared cache, one client
            # could choose what all others get.
            head = replace(head, headers=unshared(head.headers))
        record.outcome = ("edit", noted)
        record.coding_out = _coding(record, request)
        if request.method == "HEAD":
            return Out(edited(record, head, None)), State.PASSING
        mark = record.site.tag if nonce is None else tag(record.site.prefix, nonce)
        record.editor = PageEdit(mark, coding_in, record.coding_out, copy_limit, _metas(record))
        record.held_head = head
        return Out(), State.HOLDING
    record.outcome = ("pass", reason)
    if head.status == 304 and record.mapped:
        # Its headers replace those of the page that the browser has (RFC 9111 §3.2).
        head = _with_provider(record, head)
        head = replace(head, headers=validators.mark_etag(head.headers, record.site.mark))
    if copy_limit:
        # Without a tag the editor lets the bytes pass and only copies them.
        record.editor = PageEdit(b"", coding_in, "identity", copy_limit)
    return Out(with_reason(record, head)), State.COPYING if copy_limit else State.PASSING


def _why_not(
    record: Record, request: RequestHead, head: ResponseHead, fields: Mapping[bytes, bytes]
) -> tuple[Reason | None, bytes | None, Reason]:
    """Why the page is not edited, or None; the nonce for the tag; a note for the shop's owner."""
    if record.left_alone is not None:
        return record.left_alone, None, Reason.NONE
    reason = eligible.response_reason(request, head)
    if reason is not None and not (
        reason is Reason.NO_TRANSFORM and record.site.settings.ignore_no_transform
    ):
        return reason, None, Reason.NONE
    if csp.FIELDS.isdisjoint(fields):
        return None, None, Reason.NONE
    script = f"{request.scheme}://{request.host}{record.site.prefix}l.js"
    policy = csp.evaluate(head.headers, script)
    return (None, policy.nonce, policy.reason) if policy.allowed else (policy.reason, None, Reason.NONE)


def _with_provider(record: Record, head: ResponseHead) -> ResponseHead:
    """The head with policies that allow the provider's chat, if the site wants that; else what they forbid is
    noted for the shop's owner."""
    needed = record.site.provider_hosts
    if not needed:
        return head
    if record.site.settings.chat.csp == "extend":
        return replace(head, headers=csp_hosts.extended(head.headers, needed))
    record.forbidden = csp_hosts.forbidden(head.headers, needed)
    return head


def _metas(record: Record) -> MetaPolicies | None:
    """What reads the policies in the page, for a site with a provider's chat."""
    needed = record.site.provider_hosts
    if not needed:
        return None
    record.metas = MetaPolicies(needed, extend=record.site.settings.chat.csp == "extend")
    return record.metas


def _coding(record: Record, request: RequestHead) -> str:
    if not record.site.settings.compress:
        return "identity"
    return negotiate(b",".join(values(request.headers, b"accept-encoding")))


def edited(record: Record, head: ResponseHead, added: int | None) -> ResponseHead:
    """The head of an edited page; `added` is the length of the tag if it is known."""
    head = edited_head(head, mark=record.site.mark, coding_out=record.coding_out, added=added)
    return with_reason(record, head)


def with_reason(record: Record, head: ResponseHead) -> ResponseHead:
    """The head with the outcome in X-Clew if the site sets `debug`."""
    if not record.site.settings.debug:
        return head
    what, why = record.outcome
    text = what if not why else f"{what}; {why}"
    return replace(head, headers=[*head.headers, (b"x-clew", text.encode("latin-1", "replace"))])
