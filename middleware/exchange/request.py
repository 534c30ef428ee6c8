"""The step for the request's head: who answers it, the visitor's touch, and the headers for the shop."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ...desk.cookies import without_desk_cookies
from ...injector import eligible, validators
from ...injector.heads import Headers, RequestHead, value, without
from ...injector.reasons import Reason
from ...referral.arrival import arrive, arrive_unrecognised
from ...referral.carrier import HEADER
from ...referral.consent.decision import permitted
from ...referral.consent.signals import Consent
from ...referral.handover import PARAM, HandoverError
from ...service.effects import (
    Before,
    JoinVisitor,
    NotifyDropped,
    NotifyEmbedded,
    NotifyHandover,
    SaveAgain,
    SaveShopped,
    SaveTouch,
)
from ...service.handing import joined, may_join
from ...service.ordering.shopping import is_shopping
from ...service.site import raw_path_text
from .facts import WITHIN_A_PAGE
from .record import Forward, OwnPage, Record, State
from .redirects import carried
from .signals import watch_signals

if TYPE_CHECKING:
    from ...referral.landing import Dropped


def take(record: Record, head: RequestHead) -> tuple[OwnPage | Forward, State]:
    """Decide whether clew or the shop answers the request, and how to forward it."""
    if record.site.owns(head.path):
        return OwnPage.at(record.site, head.path), State.OWN_PAGE
    headers = without_desk_cookies(head.headers)
    if headers is not head.headers:
        head = replace(head, headers=headers)
    try:
        reason = eligible.request_reason(head)
        if reason is not None:
            plan, state = _no_navigation(record, head, reason)
        else:
            plan, state = _navigation(record, head), State.WAITING
        if record.site.settings.carry.header:
            plan.headers = _with_referral(record, head, plan.headers)
        return plan, state
    except Exception as error:
        # Fail open: the shop gets the request unchanged.
        record.note_fault(error)
        return Forward(head.headers), State.PASSING


def _with_referral(record: Record, head: RequestHead, headers: Headers) -> Headers:
    """The headers with the visitor's token for the shop, in place of what the client sent by that name. Only
    what may make or change a cart or an order needs it, no picture and no script."""
    kept = without(headers, HEADER)
    dest = head.plain.get(b"sec-fetch-dest") if head.plain else value(head.headers, b"sec-fetch-dest")
    if dest not in (None, b"", b"document", b"empty", b"iframe"):
        return kept
    record.request_head = head
    known = record.recognise()
    visitor = record.visitor or (known.visitor if known is not None else None)
    if visitor is None:
        return kept
    return [*kept, (HEADER, record.site.carrier.token(visitor).encode("ascii"))]


def referred(record: Record, headers: Headers) -> Headers:
    """The headers for the shop after the effects: a visitor whose token from another host counted is named to
    the shop at once, and not only by the next request."""
    join, site = record.join, record.site
    if join is None or not join.joined or not site.settings.carry.header:
        return headers
    token = site.carrier.token(join.known.visitor).encode("ascii")
    return [*without(headers, HEADER), (HEADER, token)]


def _no_navigation(record: Record, head: RequestHead, reason: Reason) -> tuple[Forward, State]:
    record.outcome = ("pass", reason)
    if head.method == "GET" and reason in WITHIN_A_PAGE and record.site.order_page(head.path, head.query):
        record.request_head, record.path, record.left_alone = head, raw_path_text(head.path), reason
        return Forward(head.headers, watch=True), State.WAITING
    if reason is Reason.FETCH and watch_signals(record, head):
        record.request_head, record.path, record.left_alone = head, raw_path_text(head.path), reason
        fields = head.headers
        if head.method not in ("GET", "HEAD"):
            fields = validators.restore_preconditions(fields)
        return Forward(fields, watch=True), State.WAITING
    if effects := _embedded(record, head):
        record.request_head, record.path, record.left_alone = head, raw_path_text(head.path), reason
        return Forward(head.headers, effects, watch=True), State.WAITING
    if head.method in ("GET", "HEAD"):
        return Forward(head.headers), State.PASSING
    return Forward(validators.restore_preconditions(head.headers)), State.PASSING


def _embedded(record: Record, head: RequestHead) -> tuple[Before, ...]:
    """The effects of a partner's link that another site's page loads as an image, a frame or a script: nobody
    sees it, so it is no arrival."""
    if head.method != "GET" or not head.query:
        return ()
    fields = head.plain or dict(head.headers)
    if fields.get(b"sec-fetch-site") not in (None, b"cross-site"):
        return ()
    if fields.get(b"sec-fetch-dest") not in _SECRET and not _is_picture(head):
        return ()
    touch = record.site.landing.read(head.query, head.path, None, record.now, head.host)
    partners = record.site.clicks.partners(touch) if touch is not None else ()
    return (NotifyEmbedded(partners),) if partners else ()


# What loads a link without showing it as a page of its own (Sec-Fetch-Dest).
_SECRET = frozenset((b"image", b"iframe", b"frame", b"object", b"embed", b"script", b"style"))


def _is_picture(head: RequestHead) -> bool:
    """Whether a request that names no destination, as on plain http, accepts pictures first: no browser asks
    so for a page."""
    fields = head.plain or dict(head.headers)
    return b"sec-fetch-dest" not in fields and fields.get(b"accept", b"").lstrip().startswith(b"image/")


def _navigation(record: Record, head: RequestHead) -> Forward:
    record.request_head = head
    record.path = raw_path_text(head.path)
    site = record.site
    # A prefetched page is not an arrival; `decide` records it when the page is shown.
    effects: tuple[Before, ...] = ()
    if not eligible.is_prefetch(head):
        record.is_page = True
        watch_signals(record, head)
        effects = (*_arrived(record, head), *_shopping(record, head), *_handed(record, head))
    if not record.set_cookies and site.cookie.rotated:
        known = record.recognise()
        if known is not None and known.stale:
            record.set_cookies = [site.cookie.set_cookie(known, head.scheme == "https", head.host)]
    if not site.settings.inject:
        record.left_alone = Reason.SWITCHED_OFF
    elif site.never(head.path, head.query):
        record.left_alone = Reason.NEVER
    elif site.admin(head.path, head.query):
        record.left_alone = Reason.ADMIN
    headers = head.headers
    if record.left_alone is None and eligible.asks_for_page(head):
        record.mapped = True
        if not head.plain or not validators.CONDITIONS.isdisjoint(head.plain):
            headers = validators.forward_conditionals(headers, site.mark)
        # Ask the shop for an uncompressed page, so that it is compressed only once, after the edit.
        headers = [pair for pair in headers if pair[0] != b"accept-encoding"]
        headers.append((b"accept-encoding", b"identity"))
    return Forward(headers, effects, watch=True)


def _arrived(record: Record, head: RequestHead) -> tuple[Before, ...]:
    """The effects of the visitor's touch, if there is one. Sets the cookies for it."""
    site, plain = record.site, head.plain
    if _is_picture(head):
        return _embedded(record, head)
    referrer = plain.get(b"referer") if plain else value(head.headers, b"referer")
    dropped: list[Dropped] = []
    touch = site.landing.read(
        head.query,
        head.path,
        referrer,
        record.now,
        head.host,
        same_origin=eligible.is_same_origin(head),
        dropped=dropped,
    )
    effects: list[Before] = [NotifyDropped(tuple(dropped))] if dropped else []
    # A touch with only a referrer is saved by `decide`: a cookie here would make the page uncacheable.
    if touch is None or not (touch.clicks or touch.campaign):
        return tuple(effects)
    known = record.recognise()
    if touch.clicks:
        seen = known.touches if known is not None else ()
        fields = plain or dict(head.headers)
        touch = site.clicks.marked(touch, seen, fields, head.client, secure=head.scheme == "https")
    necessary = site.landing.necessary(touch) if site.consent.necessary else None
    touch = permitted(touch, record.consent, necessary)
    if touch is None or not (touch.clicks or touch.campaign):
        return tuple(effects)
    if record.consent.consent is Consent.GRANTED:
        arrival = arrive(known, touch, Consent.GRANTED, record.now, agreed=site.consent.asks)
    else:
        if record.consent.consent is Consent.PENDING and site.settings.inject:
            record.carried = carried(site, head)
        arrival = arrive_unrecognised(known or record.talker, necessary, record.now)
    if arrival.new:
        record.visitor, record.touches = arrival.known.visitor, arrival.known.touches
        effects.append(SaveTouch(record.visitor, arrival.touch or touch, known, head.client))
    elif arrival.touch is not None and known is not None:
        again = site.clicks.partners(arrival.touch) if _is_followed(plain or dict(head.headers)) else ()
        effects += [SaveAgain(known, again, head.client)] if again else []
    if arrival.touch is not None:
        # A visitor who arrives by the same link again gets renewed cookies.
        record.set_cookies = site.arrival_cookies(arrival, head.scheme == "https", head.host)
    return tuple(effects)


def _is_followed(fields: Mapping[bytes, bytes]) -> bool:
    """Whether a browser followed a link from elsewhere, or an address was typed in. A reload says so."""
    return b"cache-control" not in fields and fields.get(b"sec-fetch-site") in (b"cross-site", b"none")


def _handed(record: Record, head: RequestHead) -> tuple[Before, ...]:
    """The effect of a token with which the visitor comes from another host of the shop."""
    site = record.site
    if PARAM not in head.query:
        return ()
    referrer = value(head.headers, b"referer") or b""
    try:
        handover = site.handovers.read(head.query, head.host, referrer, record.now)
    except HandoverError as error:
        return (NotifyHandover(error.why),)
    known = record.recognise()
    if handover is None or (known is not None and known.visitor == handover.known.visitor):
        return ()
    if not may_join(handover, record.consent.consent if site.consent.asks else Consent.GRANTED):
        return ()
    shopped = site.settings.order is not None and is_shopping(
        site, head.method, record.path, head.query.decode("latin-1")
    )
    record.join = JoinVisitor(handover, joined(handover, known), head.client, shopped)
    return (record.join,)


def _shopping(record: Record, head: RequestHead) -> tuple[Before, ...]:
    """Save that the visitor opened the cart or the checkout: an order on a later page is then credible."""
    site = record.site
    query = head.query.decode("latin-1")
    if site.settings.order is None or not is_shopping(site, head.method, record.path, query):
        return ()
    known = record.recognise()
    return (SaveShopped(known, head.client),) if known is not None else ()
