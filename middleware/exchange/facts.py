"""Which pages are copied so that their order or cart can be read, and what is read from the copy."""

from ...injector.heads import RequestHead, ResponseHead, value
from ...injector.reasons import Reason
from ...service.effects import ReadPage
from ...service.ordering.shopping import came_from
from .record import Record

# Facts are read from a copy of at most this many decoded bytes.
COPY_LIMIT = 512 * 1024
# Reasons of `eligible.request_reason` for content that a page loads into itself: by Turbo, htmx and other
# routers, and in frames.
WITHIN_A_PAGE = frozenset({Reason.FETCH, Reason.FRAME})
# Statuses of responses that show the requested page.
SHOWN = frozenset({200, 201, 202, 203})


def wants_copy(record: Record, request: RequestHead, head: ResponseHead) -> bool:
    """Whether the body is copied. Records an order page that cannot be read because of its content type."""
    if (record.look_for or record.look_in) and record.recognise() is not None:
        return True
    if request.method == "HEAD" or head.status not in SHOWN:
        return False
    order_page = record.is_order_page
    if not (record.site.wants_cart or order_page or record.site.waits_for.product or record.site.page_facts):
        return False
    if not (value(head.headers, b"content-type") or b"").lower().startswith(b"text/html"):
        if order_page and record.left_alone not in WITHIN_A_PAGE:
            record.unread = Reason.CONTENT_TYPE
        return False
    return order_page or _reads_cart(record) or _reads_product(record) or _reads_values(record)


def note_page(record: Record, copy: bytes) -> None:
    """Ask for the order and cart to be read from the copy, once all bytes are sent."""
    record.recognise()
    request = record.request_head
    assert request is not None
    record.effects = (
        ReadPage(
            record.visitor,
            record.touches,
            record.path,
            record.content_type,
            copy,
            order=record.is_order_page,
            cart=record.left_alone not in WITHIN_A_PAGE and _reads_cart(record),
            kind=record.site.kind_at(request.path, request.query),
            query=request.query.decode("latin-1"),
            came=came_from(request),
            gap=record.unread,
            known=record.known,
            consent=record.consent,
            client=request.client,
            product=_reads_product(record),
            look_for=record.look_for,
            look_in=record.look_in,
            values=_reads_values(record),
        ),
    )


def _reads_values(record: Record) -> bool:
    return record.is_page and bool(record.site.page_facts) and record.recognise() is not None


def _reads_product(record: Record) -> bool:
    request = record.request_head
    if request is None or not record.site.waits_for.product or not record.is_page:
        return False
    return record.site.may_show_product(f"{record.path}?{record.query}")


def _reads_cart(record: Record) -> bool:
    return record.site.wants_cart and record.recognise() is not None
