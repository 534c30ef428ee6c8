"""What must hold for any bytes: one function a target, raising where it does not.

The first bytes of an input choose (method, coding, how the rest is cut into chunks), the rest is the message.
`make fuzz` feeds them what a coverage-guided fuzzer makes up; test_seeds.py feeds them the kept seeds.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from ipaddress import ip_network
from typing import Any

from clew.injector import csp, eligible, tag, validators
from clew.injector.codings import PREFERENCE, CodingError, coding_of, decoder, encoder, negotiate
from clew.injector.edit import HELD, Broken, PageEdit
from clew.injector.heads import Headers, RequestHead, ResponseHead, values
from clew.injector.rewrite import edited_head
from clew.injector.scanner import LOOK, Scanner
from clew.middleware.exchange.exchange import Exchange, Forward, OwnPage, ResponseBrokenError
from clew.middleware.exchange.origin import origin_of
from clew.middleware.http.faults import RequestError, UpstreamError
from clew.middleware.http.wire import MAX_HEAD, ResponseReader, request_head
from clew.middleware.proxy.forwarding import Forwarding
from clew.orders.ids import shown
from clew.orders.model import OrderError
from clew.orders.pricetext import read_amount, read_currency
from clew.orders.status import latest_moment, order_state
from clew.referral.arrival import Consent
from clew.referral.consent.decision import Terms, decide
from clew.referral.consent.message import read_message
from clew.referral.consent.tcf import Vendor
from clew.referral.cookie import LIMIT, Known
from clew.referral.networks_file import load
from clew.service.effects import ReadPage
from clew.service.ordering.reading import read_page
from clew.service.site import SiteRuntime
from clew.settings.model import Cart, Order, Settings
from costs import cpu_seconds
from request_streams import streams

NOW = 1_800_000_000.0
MARK = b"m4rk"
TAG = tag.tag("/-/clew/")
CODINGS = ("identity", *PREFERENCE)
METHODS = ("GET", "HEAD", "POST")
_LINE_END = re.compile(rb"[\r\n\0]")


class Input:
    """An input read from its front: choices first, then the rest."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def byte(self) -> int:
        """The next byte, 0 behind the end."""
        first, self._data = self._data[:1], self._data[1:]
        return first[0] if first else 0

    def choice(self, among: tuple[Any, ...]) -> Any:
        """One of several, by the next byte."""
        return among[self.byte() % len(among)]

    def part(self) -> bytes:
        """Up to the next blank line."""
        part, _, self._data = self._data.partition(b"\n\n")
        return part

    def rest(self) -> bytes:
        """All that is left."""
        return self._data


def cut(data: bytes, seed: int) -> Iterator[bytes]:
    """`data` in pieces: 0 whole, else of 1 to 16 bytes or of up to 8 KB, in turn."""
    at = 0
    while at < len(data):
        size = len(data) if seed == 0 else 1 + seed % 16 if seed % 2 else 32 * seed
        yield data[at : at + size]
        at += size
        seed = seed and (seed * 7 + 3) % 255 + 1


def headers(text: bytes) -> Headers:
    """`name: value` lines as a head's pairs."""
    pairs = (line.partition(b":") for line in text.split(b"\n") if line)
    return [(name.strip().lower(), value.strip(b" \t\r\0")) for name, _, value in pairs]


@cache
def site() -> SiteRuntime:
    """A shop with everything switched on."""
    shop = {
        "name": "shop",
        "hosts": ["shop.example"],
        "partners": [
            {"id": "awin", "network": "awin", "settings": {"advertiser_id": "1", "api_key": "k"}},
            {"id": "blog", "param": "ref", "postback": "http://127.0.0.1:9/{click_id}"},
        ],
        "order": {"page": "/thanks*"},
    }
    settings = Settings.model_validate({"secret": "s" * 40, "sites": [shop]})
    return SiteRuntime(settings, settings.sites[0], load())


def scanner(data: bytes) -> None:
    """The place is a matter of the bytes, not of the chunks."""
    given = Input(data)
    seed, body = given.byte(), given.rest()

    def scanned(pieces: Iterator[bytes]) -> tuple[object, ...]:
        scan, fed = Scanner(), 0
        for piece in pieces:
            scan.feed(piece)
            fed += len(piece)
            assert scan.settled <= min(fed, LOOK)
            assert len(scan._window) <= LOOK
        scan.end()
        assert scan.done
        assert (scan.place is None) == bool(scan.reason)
        assert scan.place is None or 0 <= scan.place <= min(len(body), LOOK)
        return scan.place, scan.reason

    assert scanned(cut(body, 0)) == scanned(cut(body, seed))


def _decoded(coding: str, pieces: Iterator[bytes]) -> tuple[bytes, bool]:
    if coding == "identity":
        return b"".join(pieces), True
    made = decoder(coding)
    return b"".join(out for piece in pieces for out in made.decode(piece)), made.complete


def codings(data: bytes) -> None:
    """What was encoded comes back; anything else is a CodingError; chunks do not matter."""
    given = Input(data)
    coding, seed, body = given.choice(PREFERENCE), given.byte(), given.rest()
    made = encoder(coding)
    packed = b"".join([*map(made.encode, cut(body, seed)), made.finish()])
    assert _decoded(coding, cut(packed, seed)) == (body, True)
    results = []
    for pieces in (cut(body, 0), cut(body, seed)):
        try:
            results.append(_decoded(coding, pieces))
        except CodingError:
            results.append(None)
    assert results[0] == results[1]
    assert negotiate(body) in CODINGS


def edit(data: bytes) -> None:
    """The body without the tag is the shop's; a body that passes is unchanged; buffers are bounded."""
    given = Input(data)
    coding_in, coding_out = given.choice(CODINGS), given.choice(CODINGS)
    seed, damaged, body = given.byte(), given.byte() % 2, given.rest()
    packed = body
    if coding_in != "identity" and not damaged:
        made = encoder(coding_in)
        packed = made.encode(body) + made.finish()
    page = PageEdit(TAG, coding_in, coding_out, copy_limit=1000)
    sent, fed = b"", 0
    try:
        for piece in cut(packed, seed):
            sent += page.feed(piece)
            fed += len(piece)
            if page.verdict == "undecided":
                assert fed <= HELD + len(piece) if coding_in != "identity" else fed <= LOOK + len(piece)
        sent += page.end()
    except Broken:
        assert damaged
        assert page.verdict == "edit"
        return
    if page.verdict == "pass":
        assert sent == packed
        return
    plain, complete = _decoded(coding_out, iter((sent,)))
    original, whole = _decoded(coding_in, iter((packed,)))
    assert complete
    assert whole
    assert page.copy == original[:1000]
    assert page.added == (len(TAG) if page.inserted else None)
    scan = Scanner()
    scan.feed(original)
    scan.end()
    place = scan.place
    assert plain == (original if place is None else original[:place] + TAG + original[place:])


def heads(data: bytes) -> None:
    """Heads are judged without an error, entity tags map back, and nothing is written that was not there."""
    given = Input(data)
    method, coding = given.choice(METHODS), given.choice(CODINGS)
    status = 100 + given.byte() * 2
    asked, answered = headers(given.part()), headers(given.rest())
    request = RequestHead(method, b"/", b"", asked, "https", "shop.example", None)
    response = ResponseHead(status, answered)
    eligible.request_reason(request)
    eligible.response_reason(request, response)
    judged = csp.evaluate(answered, "https://shop.example/-/clew/l.js")
    assert judged.nonce is None or judged.allowed
    assert len(tag.tag("/-/clew/", judged.nonce)) <= tag.LIMIT
    for added in (None, len(TAG)):
        out = edited_head(response, mark=MARK, coding_out=coding, added=added)
        before = b"".join(value for _, value in answered)
        for _, value in out.headers:
            assert not _LINE_END.search(value) or _LINE_END.search(before)
    for shops in values(answered, b"etag"):
        for marked in values(validators.mark_etag([(b"etag", shops)], MARK), b"etag"):
            for name in (b"if-none-match", b"if-match"):
                back = validators.forward_conditionals([(name, marked)], MARK)
                assert back == [(name, shops.strip())]
    validators.forward_conditionals(asked, MARK)


def wire(data: bytes) -> None:
    """A complete answer is exactly what was framed; all else is an UpstreamError; chunks do not matter."""
    given = Input(data)
    method, seed, raw = given.choice(METHODS), given.byte(), given.rest()

    def read(pieces: Iterator[bytes]) -> tuple[object, ...] | None:
        reader, body = ResponseReader(method), b""
        try:
            for piece in pieces:
                reader.feed(memoryview(piece))
                assert len(reader._held) <= MAX_HEAD
                assert reader.buffered == sum(map(len, reader.chunks))
                body += reader.take()
                if reader.complete:
                    break
            reader.eof()
        except UpstreamError:
            return None
        assert reader.complete
        assert 200 <= reader.status <= 599
        for name, value in (*reader.headers, *reader.trailers):
            assert not _LINE_END.search(name + value)
            assert name
        lengths = values(reader.headers, b"content-length")
        if method == "HEAD" or reader.status in (204, 304):
            assert not body
        elif lengths:
            assert [len(body)] == [int(length) for length in lengths]
        return reader.status, reader.headers, body

    assert read(cut(raw, 0)) == read(cut(raw, seed))


def request(data: bytes) -> None:
    """The shop gets exactly one request with the intended number of lines, or none."""
    given = Input(data)
    method, peer = given.choice(METHODS), given.choice((("192.0.2.1", 1), ("10.0.0.1", 1), None))
    raw_path, query = given.part(), given.part()
    pairs = headers(given.rest())
    scope = {
        "method": method,
        "http_version": "1.1",
        "scheme": "http",
        "raw_path": raw_path,
        "query_string": query,
        "headers": pairs,
        "client": peer,
    }
    trusted = (ip_network("10.0.0.0/8"),)
    origin = origin_of(scope, trusted)
    try:
        target, sent = Forwarding(b"shop.example", trusted).request(scope, pairs, origin)
        head = request_head(method, target, sent)
    except RequestError:
        return
    assert head.count(b"\n") == len(sent) + 2
    assert target == raw_path + (b"?" + query if query else b"")
    if peer is not None and peer[0] != "10.0.0.1":
        for name in (b"x-forwarded-for", b"x-forwarded-proto", b"x-real-ip"):
            assert len(values(sent, name)) == 1


def landing(data: bytes) -> None:
    """A touch survives the cookie, and no cookie breaks a header or its bound."""
    given = Input(data)
    path, query, referrer, cookies = given.part(), given.part(), given.part(), given.rest()
    shop = site()
    shop.cookie.read(cookies.split(b"\n"))
    touch = shop.landing.read(query, path, referrer or None, NOW, "shop.example")
    if touch is None:
        return
    assert touch.clicks or touch.campaign or touch.referrer
    known = Known("v" * 26, (touch,), int(NOW))
    own = shop.cookie.set_cookie(known, secure=True)
    assert len(own) <= LIMIT
    for cookie in (own, *shop.landing.set_cookies(touch, secure=True)):
        assert not re.search(rb"[\x00-\x1f\x7f]", cookie)
    back = shop.cookie.read([own.partition(b";")[0]])
    assert back is not None
    if any(click.partner for click in touch.clicks):
        assert any(click.partner for kept in back.touches for click in kept.clicks)


def exchange(data: bytes) -> None:
    """One head is sent, clew's code never fails, and the body is the shop's, with or without the tag."""
    given = Input(data)
    method, status, seed = given.choice(METHODS), 200 + given.byte() * 2 % 400, given.byte()
    path, query, asked, answered = given.part(), given.part(), given.part(), given.part()
    body = given.rest()
    watched = Exchange(site(), NOW)
    path = b"/" + path
    head = RequestHead(method, path, query, headers(asked), "https", "shop.example", None)
    plan = watched.request(head)
    if isinstance(plan, OwnPage):
        assert path.startswith(b"/-/clew")
        return
    assert isinstance(plan, Forward)
    assert plan.watch or plan.headers == head.headers
    shops = ResponseHead(status, headers(answered))
    outs = [watched.response(shops)]
    try:
        if method != "HEAD" and status not in (204, 304):
            outs += [watched.body(piece) for piece in cut(body, seed)]
        else:
            body = b""
        outs.append(watched.end())
    except ResponseBrokenError:
        assert watched.fault is None
        assert values(shops.headers, b"content-encoding")
        return
    assert watched.fault is None
    (sent,) = [out.head for out in outs if out.head is not None]
    assert sent.status == status
    got = b"".join(out.body for out in outs)
    if watched.outcome[0] == "pass":
        assert got == body
        return
    coding_in, coding_out = coding_of(shops.headers), coding_of(sent.headers)
    assert coding_in is not None
    assert coding_out is not None
    if method == "HEAD":
        return
    plain, _ = _decoded(coding_out, iter((got,)))
    original, _ = _decoded(coding_in, iter((body,)))
    mark = re.search(rb"<script async src=\"/-/clew/l\.js\" data-clew=\"1\"[^>]*></script>", plain)
    assert plain == original or (mark and plain[: mark.start()] + plain[mark.end() :] == original)
    stated, told = (values(found.headers, b"content-length") for found in (shops, sent))
    if told and stated == [b"%d" % len(body)]:
        assert told == [b"%d" % len(got)]


TERMS = Terms("ask", vendors={"awin": Vendor(907, frozenset({1}), frozenset({7}), frozenset({7}))})
# What the first byte says the rest is.
CONSENT_COOKIES = (
    b"euconsent-v2", b"OptanonConsent", b"CookieConsent", b"didomi_token", b"cookieyes-consent",
    b"borlabs-cookie", b"klaro", b"__cmpcpcx1", b"_iub_cs-1", b"CookieScriptConsent", b"tarteaucitron",
    b"cmapi_cookie_privacy", b"_tracking_consent", b"axeptio_cookies",
)  # fmt: skip


def consent(data: bytes) -> None:
    """Whatever the cookies and the page say, a state comes of it, with a reason and its evidence."""
    given = Input(data)
    kind, rest = given.byte(), given.rest()
    text = rest.decode("utf-8", "replace")
    if kind < len(CONSENT_COOKIES):
        found = decide(TERMS, [CONSENT_COOKIES[kind] + b"=" + rest], False, None, NOW)
    elif kind % 4 == 0:
        found = decide(TERMS, [rest], bool(kind & 64), None, NOW)
    else:
        found = decide(TERMS, [], False, read_message({("told", "tcf", "gpp")[kind % 4 - 1]: text}), NOW)
    assert found.why
    assert all(signal.why for signal in found.evidence)
    assert found.consent is not Consent.GRANTED or found.evidence


ORDER = Order(page="/", id="#id", total="#total", currency="EUR")
CART = Cart(value="#total", items="#id")
LINKED = b'<script type="application/ld+json">%b</script>'


def _page(body: bytes) -> None:
    read_page(ReadPage(None, (), "/", b"text/html", body, True, True, None), ORDER, CART)


def _landing(query: bytes, referrer: bytes = b"") -> None:
    site().landing.read(query, b"/", referrer or None, NOW, "shop.example")


def _text(read: Callable[[str], object]) -> Callable[[bytes], None]:
    def reader(data: bytes) -> None:
        with suppress(OrderError):
            read(data.decode("utf-8", "replace"))

    return reader


# What reads text of strangers. Each gets as much as it is given in use, and more.
READERS: tuple[Callable[[bytes], object], ...] = (
    _page,
    lambda body: _page(b"<b id=id>" + body + b"</b><b id=total>5"),
    lambda body: _page(b"<b id=id>1</b><b id=total>" + body),
    lambda body: _page(LINKED % body),
    lambda body: _page(LINKED % (b'{"@type":"Order","orderNumber":"1",' + body)),
    _text(lambda text: read_amount(text, "EUR")),
    _text(read_currency),
    _text(shown),
    _text(lambda text: order_state(text) + str(latest_moment(text))),
    lambda body: _landing(body),
    lambda body: _landing(b"ref=" + body, b"https://" + body),
    lambda body: site().cookie.read([body]),
    lambda body: csp.evaluate([(b"content-security-policy", body)], "https://shop.example/-/clew/l.js"),
    lambda body: negotiate(body),
    lambda body: eligible.response_reason(
        RequestHead("GET", b"/", b"", [], "https", "shop.example", None),
        ResponseHead(200, [(b"content-type", b"text/html;" + body)]),
    ),
    lambda body: validators.forward_conditionals([(b"if-none-match", body)], MARK),
    lambda body: decide(TERMS, [body], False, None, NOW),
    lambda body: decide(TERMS, [b"CookieConsent=" + body], False, None, NOW),
    lambda body: decide(TERMS, [b"_iub_cs-1=" + body], False, None, NOW),
    lambda body: decide(TERMS, [], False, read_message({"gpp": body.decode("latin-1")}), NOW),
)
SHORT, LONG = 30_000, 120_000


def linear(data: bytes) -> None:
    """Four times the text takes at most eight times the CPU time; what takes under 0.3 s is not weighed."""
    given = Input(data)
    read, head, unit = given.choice(READERS), given.part(), given.rest()[:200]
    if not unit:
        return

    def seconds(size: int) -> float:
        body = (head + unit * (size // len(unit) + 1))[:size]
        return cpu_seconds(lambda: read(body), 1)

    if (long := seconds(LONG)) > 0.3:
        short = max(seconds(SHORT), 0.02)
        # Once more before it fails: other programs take their share of the caches.
        assert long < 8 * short or min(long, seconds(LONG)) < 8 * max(short, seconds(SHORT))


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (scanner, codings, edit, heads, wire, request, landing, exchange, linear, streams, consent)
}
