"""Which events a request and its response are, for the rules that ask about them."""

from ...injector import eligible
from ...injector.heads import RequestHead, ResponseHead, value
from ...service.effects import Sent
from ...service.ordering.shopping import page_mark
from ...service.trails import shop_words
from .record import Record


def watch_signals(record: Record, head: RequestHead) -> bool:
    """Note which signals a request may be; whether there are any. A page that is fetched ahead is none."""
    site = record.site
    if not site.signals or eligible.is_prefetch(head):
        return False
    kind = site.kind_at(head.path, head.query)
    record.signals = site.signals.of(head.method, head.path, head.query, kind)
    return bool(record.signals)


def note_signals(record: Record, request: RequestHead, head: ResponseHead) -> None:
    """Note what the head of the response shows to have happened, and what the page has to be read for."""
    wanted, status = record.site.signals.wanted, head.status
    happened: list[str] = []
    if record.is_page:
        if 400 <= status < 500 and "client_error" in wanted:
            happened.append("client_error")
        elif status >= 500 and "server_error" in wanted:
            happened.append("server_error")
        if request.method == "POST" and "form_repeated" in wanted:
            mark = page_mark(record.path, record.query)
            record.sent = Sent(mark, again=not 300 <= status < 400)
        if "search" in wanted and status < 300 and _searches(record, request):
            happened.append("search")
    kind = (value(head.headers, b"content-type") or b"").lower().partition(b";")[0].strip()
    is_read = request.method != "HEAD"
    for signal in record.signals:
        if not signal.answers(status):
            continue
        if signal.json_path is not None:
            if is_read and (kind.endswith((b"/json", b"+json"))):
                record.look_in = (*record.look_in, (signal.event, signal.json_path))
        elif signal.selector is None:
            happened.append(signal.event)
        elif is_read and kind == b"text/html":
            record.look_for = (*record.look_for, (signal.event, signal.selector))
    record.happened = tuple(dict.fromkeys(happened))


def _searches(record: Record, request: RequestHead) -> bool:
    return (
        record.site.kind_at(request.path, request.query) == "search"
        and shop_words(request.query.decode("latin-1")) is not None
    )
