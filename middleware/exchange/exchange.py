"""One request and its response, without I/O.

A mount feeds the exchange a request head, then a response head, then body chunks, and does what the answers
say: forwards heads and bytes, and performs the effects (writes to the stores). The exchange decides, the
mount moves; no mount holds a policy, and the exchange does not know which mount drives it.

What happens in each state, and where it leads (`TABLE` holds the same, and every step is checked against it):

| state    | the mount feeds | what the exchange does | next |
|----------|-----------------|------------------------|------|
| START    | request         | a path under the prefix is ours | OURS |
|          |                 | no navigation: nothing is looked at or kept | PASSING |
|          |                 | that, but for the order's page: only its facts are wanted | WAITING |
|          |                 | a navigation: reads the touch, adjusts the head | WAITING |
| WAITING  | response head   | to be edited: the head waits for the first bytes of the body | HOLDING |
|          |                 | not to be edited, but its facts are wanted: forwards, copies | COPYING |
|          |                 | neither: forwards | PASSING |
|          |                 | without a body (HEAD, 204, 304): forwards the head | PASSING |
| HOLDING  | body            | not decided yet: at most 64 KB are held | HOLDING |
|          |                 | the page can be edited: releases head and bytes | EDITING |
|          |                 | it cannot: releases head and bytes as they came | COPYING |
|          |                 | we failed: releases head and bytes as they came | PASSING |
| HOLDING  | other           | what is no body must follow the head: releases it as it came | PASSING |
| EDITING  | body            | forwards edited, re-encoded bytes | EDITING, BROKEN |
| COPYING  | body            | forwards the bytes as they came, keeps a bounded copy if wanted | COPYING |
|          |                 | we failed: forwards the bytes as they came | PASSING |
| PASSING  | body            | forwards the bytes as they came | PASSING |
| any      | end             | releases what is left; effects that follow the bytes are ready | DONE, BROKEN |

A failure of our own before the head was released ends in PASSING with the shop's bytes unchanged. After
that, bytes that can no longer be made right end in BROKEN: the mount breaks the client's connection, as the
shop did, because a clean end after a broken body would be a lie.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, auto
from typing import TYPE_CHECKING

from ...desk.cookies import without_desk_cookies
from ...injector import csp, eligible, validators
from ...injector.codings import coding_of, negotiate
from ...injector.edit import Broken, PageEdit
from ...injector.heads import Headers, RequestHead, ResponseHead, tokens, value, values, without
from ...injector.rewrite import edited_head
from ...injector.tag import tag
from ...referral.cookie import Known, new_visitor_id
from ...referral.touches import Touch, merge
from ...service.effects import Before, ReadPage, SaveShopped, SaveTouch, TellDropped
from ...service.ordering.shopping import arrival, is_shopping
from ...service.site import SiteRuntime, raw_path_text

if TYPE_CHECKING:
    from ...referral.landing import Dropped

# Facts are read from a copy of the page of at most this many decoded bytes.
COPY_LIMIT = 512 * 1024
_NOTHING = memoryview(b"")
# Requests of a page's own for what it then shows: Turbo, htmx and other routers, frames.
BESIDE = frozenset({"fetch", "frame"})
# A page is shown as the answer with one of these.
SHOWN = frozenset({200, 201, 202, 203})
CDN_CACHING = frozenset({b"surrogate-control", b"x-accel-expires", b"edge-control"})


class State(IntEnum):
    """Where an exchange stands."""

    START = auto()
    OURS = auto()
    WAITING = auto()
    HOLDING = auto()
    EDITING = auto()
    COPYING = auto()
    PASSING = auto()
    BROKEN = auto()
    DONE = auto()


TABLE: Mapping[tuple[State, str], frozenset[State]] = {
    (State.START, "request"): frozenset({State.OURS, State.PASSING, State.WAITING}),
    (State.WAITING, "response"): frozenset({State.HOLDING, State.COPYING, State.PASSING}),
    (State.PASSING, "response"): frozenset({State.PASSING}),
    (State.HOLDING, "body"): frozenset({State.HOLDING, State.EDITING, State.COPYING, State.PASSING}),
    (State.HOLDING, "other"): frozenset({State.PASSING}),
    (State.EDITING, "body"): frozenset({State.EDITING, State.BROKEN}),
    (State.COPYING, "body"): frozenset({State.COPYING, State.PASSING}),
    (State.PASSING, "body"): frozenset({State.PASSING}),
    (State.HOLDING, "end"): frozenset({State.DONE}),
    (State.EDITING, "end"): frozenset({State.DONE, State.BROKEN}),
    (State.COPYING, "end"): frozenset({State.DONE}),
    (State.PASSING, "end"): frozenset({State.DONE}),
}


class ExchangeError(Exception):
    """The mount fed something that has no place in the exchange's state."""


class ResponseBrokenError(Exception):
    """The bytes can no longer be made right: the client's connection has to be broken off."""


@dataclass(frozen=True, slots=True)
class Ours:
    """The request is for one of our own pages; `path` is what follows the prefix, with a leading slash."""

    path: bytes

    @classmethod
    def at(cls, site: SiteRuntime, path: bytes) -> "Ours":
        """For a raw path that the site owns."""
        return cls(b"/" + path[len(site.prefix_bytes) :])


@dataclass(slots=True)
class Forward:
    """Send the request on with these headers. `watch` tells whether the answer has to come back here."""

    headers: Headers
    effects: Sequence[Before] = ()
    watch: bool = False


@dataclass(slots=True)
class Out:
    """What may go to the client now: a head if it is released, then bytes. `rest` follows `body`, and is only
    there for a chunk that was lent."""

    head: ResponseHead | None = None
    body: bytes | memoryview = b""
    rest: bytes | memoryview = b""

    @property
    def data(self) -> bytes:
        """All the bytes, as one piece of their own."""
        if isinstance(self.body, bytes) and not self.rest:
            return self.body
        return b"".join((self.body, self.rest))


class Exchange:
    """See the module's text. `now` is in unix seconds."""

    # What most exchanges never change stands here, so that making one costs little.
    state = State.START
    outcome: tuple[str, str] = ("pass", "not a navigation")
    fault: Exception | None = None
    began = 0.0  # on the monotonic clock, as the mount tells it
    effects: Sequence[ReadPage] = ()
    path = ""  # of a navigation, escaped
    unread = ""  # why the order's page could not be read, or not all of it
    _request: RequestHead | None = None
    _known: Known | None = None
    _recognised = False
    _visitor: str | None = None
    _touches: tuple[Touch, ...] = ()
    _set_cookies: Sequence[bytes] = ()
    _left_alone: str | None = None  # why the owner wants this page untouched
    _mapped = False  # the shop sees its own validators
    _content_type = b""
    _head: ResponseHead | None = None
    _coding_out = "identity"
    _editor: PageEdit | None = None

    def __init__(self, site: SiteRuntime, now: float) -> None:
        self.site = site
        self._now = now
        self._held: list[bytes] = []

    # -- the request

    def request(self, head: RequestHead) -> Ours | Forward:
        """Take the request's head; say whose it is, and how it goes on."""
        if self.site.owns(head.path):
            self._move("request", State.OURS)
            return Ours.at(self.site, head.path)
        headers = without_desk_cookies(head.headers)
        if headers is not head.headers:
            head = replace(head, headers=headers)
        try:
            if (reason := eligible.request_reason(head)) is not None:
                self.outcome = ("pass", reason)
                if head.method == "GET" and reason in BESIDE and self.site.order_page(head.path, head.query):
                    self._request, self.path, self._left_alone = head, raw_path_text(head.path), reason
                    self._move("request", State.WAITING)
                    return Forward(head.headers, watch=True)
                self._move("request", State.PASSING)
                if head.method in ("GET", "HEAD"):
                    return Forward(head.headers)
                return Forward(validators.restore_preconditions(head.headers))
            forward = self._navigation(head)
        except Exception as error:
            # Whatever is wrong with us, the shop gets the request as it came.
            self._note_fault(error)
            self._move("request", State.PASSING)
            return Forward(head.headers)
        self._move("request", State.WAITING)
        return forward

    def _navigation(self, head: RequestHead) -> Forward:
        self._request = head
        self.path = raw_path_text(head.path)
        site = self.site
        plain = head.plain
        # Who only fetches a page in case somebody asks for it has not come; `decide` sees those who do.
        effects = () if eligible.is_ahead(head) else (*self._arrived(head), *self._shopping(head))
        if not self._set_cookies and site.cookie.rotated:
            known = self._recognise()
            if known is not None and known.stale:
                self._set_cookies = [site.cookie.set_cookie(known, head.scheme == "https", head.host)]
        if not site.settings.inject:
            self._left_alone = "switched off"
        elif site.never(head.path, head.query):
            self._left_alone = "never"
        elif site.admin(head.path, head.query):
            self._left_alone = "admin"
        headers = head.headers
        if self._left_alone is None and eligible.asks_for_page(head):
            self._mapped = True
            if not plain or not validators.CONDITIONS.isdisjoint(plain):
                headers = validators.forward_conditionals(headers, site.mark)
            # The shop answers unpacked, so that the page is packed once, by us.
            headers = [pair for pair in headers if pair[0] != b"accept-encoding"]
            headers.append((b"accept-encoding", b"identity"))
        return Forward(headers, effects, watch=True)

    def _arrived(self, head: RequestHead) -> tuple[Before, ...]:
        """What the visitor brings along, and the cookies for it."""
        site, plain = self.site, head.plain
        referrer = plain.get(b"referer") if plain else value(head.headers, b"referer")
        dropped: list[Dropped] = []
        touch = site.landing.read(
            head.query,
            head.path,
            referrer,
            self._now,
            head.host,
            same_origin=eligible.is_same_origin(head),
            dropped=dropped,
        )
        effects: list[Before] = [TellDropped(tuple(dropped))] if dropped else []
        # A mere referrer is written down by `decide`: a cookie here would cost the shop its cached pages.
        if touch is None or not (touch.clicks or touch.campaign):
            return tuple(effects)
        known = self._recognise()
        touches = merge(self._touches, (touch,))
        if touches != self._touches:
            self._visitor = self._visitor or new_visitor_id()
            effects.append(SaveTouch(self._visitor, touch, known, head.client))
            self._touches = touches
        elif touch.doubt:
            return tuple(effects)  # the shop hands a known id from page to page
        secure = head.scheme == "https"
        seen = known or Known(self._visitor or new_visitor_id(), (), int(self._now))
        self._set_cookies = [
            *site.landing.set_cookies(touch, secure, head.host),
            site.cookie.set_cookie(replace(seen, touches=self._touches), secure, head.host),
        ]
        return tuple(effects)

    def _shopping(self, head: RequestHead) -> tuple[Before, ...]:
        """Who goes to the cart or the checkout, where an order on a page will have to be believed."""
        site = self.site
        if site.settings.order is None or not is_shopping(site, head.method, self.path, _query(head)):
            return ()
        known = self._recognise()
        return (SaveShopped(known, head.client),) if known is not None else ()

    def _recognise(self) -> Known | None:
        """Who the visitor is, by the cookie. Opened only where somebody asks: few pages do."""
        if not self._recognised and self._request is not None:
            self._recognised = True
            known = self._known = self.site.cookie.read(values(self._request.headers, b"cookie"))
            if known is not None:
                self._visitor, self._touches = known.visitor, known.touches
        return self._known

    # -- the response

    def response(self, head: ResponseHead) -> Out:
        """Take the response's head; it comes back now, or later with the bytes that decide."""
        if self.state is State.PASSING:
            self._move("response", State.PASSING)
            return Out(head)
        try:
            head = self._with_cookies(head)
            out, state = self._judge(head)
        except Exception as error:
            self._note_fault(error)
            out, state = Out(head), State.PASSING
        self._move("response", state)
        return out

    def _judge(self, head: ResponseHead) -> tuple[Out, State]:
        request = self._request
        assert request is not None
        fields = dict(head.headers)
        reason, nonce, noted = self._why_not(request, head, fields)
        copy_limit = COPY_LIMIT if self._wants_copy(request, head) else 0
        self._content_type = value(head.headers, b"content-type") or b""
        coding_in = "identity"
        if b"content-encoding" in fields:
            coding_in = coding_of(head.headers) or "unknown"
        if reason is None:
            if request.host_told:
                head = replace(head, headers=unshared(head.headers))
            self.outcome = ("edit", noted)
            self._coding_out = self._coding(request)
            if request.method == "HEAD":
                return Out(self._edited(head, None)), State.PASSING
            mark = self.site.tag if nonce is None else tag(self.site.prefix, nonce)
            self._editor = PageEdit(mark, coding_in, self._coding_out, copy_limit)
            self._head = head
            return Out(), State.HOLDING
        self.outcome = ("pass", reason)
        if head.status == 304 and self._mapped:
            head = replace(head, headers=validators.mark_etag(head.headers, self.site.mark))
        if copy_limit:
            # Without a tag the editor lets the bytes pass and only copies them.
            self._editor = PageEdit(b"", coding_in, "identity", copy_limit)
        return Out(self._debug(head)), State.COPYING if copy_limit else State.PASSING

    def _why_not(
        self, request: RequestHead, head: ResponseHead, fields: Mapping[bytes, bytes]
    ) -> tuple[str | None, bytes | None, str]:
        """Why the page stays as it is, or None; the nonce for the tag; what the owner should know."""
        if self._left_alone is not None:
            return self._left_alone, None, ""
        reason = eligible.response_reason(request, head)
        if reason is not None and not (reason == "no-transform" and self.site.settings.ignore_no_transform):
            return reason, None, ""
        if csp.FIELDS.isdisjoint(fields):
            return None, None, ""
        script = f"{request.scheme}://{request.host}{self.site.prefix}l.js"
        policy = csp.judge(head.headers, script)
        return (None, policy.nonce, policy.reason) if policy.allowed else (policy.reason, None, "")

    def _wants_copy(self, request: RequestHead, head: ResponseHead) -> bool:
        if request.method == "HEAD" or head.status not in SHOWN:
            return False
        if not (self.site.wants_cart or self._order_page):
            return False
        if not (value(head.headers, b"content-type") or b"").lower().startswith(b"text/html"):
            if self._order_page and self._left_alone not in BESIDE:
                self.unread = "content type"
            return False
        return self._order_page or self._reads_cart

    def _coding(self, request: RequestHead) -> str:
        if not self.site.settings.compress:
            return "identity"
        return negotiate(b",".join(values(request.headers, b"accept-encoding")))

    def body(self, chunk: bytes | memoryview) -> Out:
        """Take a chunk of the response's body. Raises ResponseBrokenError when it cannot be made right.

        A view is lent: what comes back of it has to be sent before its memory is used for something else.
        """
        if self.state is State.PASSING:
            return Out(body=chunk)
        editor = self._editor
        if editor is None:
            raise ExchangeError(f"a body chunk in state {self.state.name}")
        out = self._fed("body", editor, chunk)
        if self.state is State.HOLDING:
            self._held.append(bytes(chunk))
        return out

    def end(self) -> Out:
        """The response has ended as it should. Raises ResponseBrokenError when its bytes say otherwise."""
        editor, out = self._editor, Out()
        if editor is not None:
            out = self._fed("end", editor, None)
            try:
                copy = editor.copy
                if self._order_page and editor.gap:
                    self.unread = editor.gap
                if copy:
                    self._note_page(copy)
            except Exception as error:
                self.fault = error
        self._move("end", State.DONE)
        return out

    def give_way(self) -> Out:
        """Something that is no body has to follow the head: one that is held goes first, as it came."""
        if self.state is not State.HOLDING:
            return Out()
        head, held = self._head, b"".join(self._held)
        assert head is not None
        self._head, self._editor, self._held = None, None, []
        self.outcome = ("pass", "no body")
        self._move("other", State.PASSING)
        return Out(self._debug(head), held)

    def _fed(self, event: str, editor: PageEdit, chunk: bytes | memoryview | None) -> Out:
        """One step of the editor (None: the end), and the head with it once the editor has decided."""
        head, rest = self._head, _NOTHING
        try:
            if chunk is None:
                out = editor.end()
            elif isinstance(chunk, bytes):
                out = editor.feed(chunk)
            else:
                out, rest = editor.lent(chunk)
            if head is None:
                return Out(None, out, rest)
            if editor.verdict == "undecided":
                return Out()
            if editor.verdict == "edit":
                state, head = State.EDITING, self._edited(head, editor.added)
            else:
                self.outcome = ("pass", editor.reason)
                state, head = State.COPYING, self._debug(head)
        except Exception as error:
            return self._faulty(event, chunk, error)
        self._head, self._held = None, []
        self._to(event, state)
        return Out(head, out, rest)

    def _faulty(self, event: str, chunk: bytes | memoryview | None, error: Exception) -> Out:
        """What goes out after a fault: the bytes as they came, unless some of an edited page went before."""
        if self.state is State.EDITING:
            self.state = State.BROKEN
            if isinstance(error, Broken):
                self.outcome = ("broken", "coding")
            else:
                self.fault, self.outcome = error, ("broken", "fault")
            raise ResponseBrokenError(str(error)) from error
        self._note_fault(error)
        untouched, self._head, self._editor = self._head, None, None
        self._to(event, State.PASSING)
        chunk = b"" if chunk is None else chunk
        return Out(untouched, chunk if untouched is None else b"".join([*self._held, chunk]))

    # -- parts

    def _edited(self, head: ResponseHead, added: int | None) -> ResponseHead:
        return self._debug(edited_head(head, mark=self.site.mark, coding_out=self._coding_out, added=added))

    def _with_cookies(self, head: ResponseHead) -> ResponseHead:
        if not self._set_cookies:
            return head
        cookies = [(b"set-cookie", cookie) for cookie in self._set_cookies]
        return replace(head, headers=[*unshared(head.headers), *cookies])

    def _debug(self, head: ResponseHead) -> ResponseHead:
        if not self.site.settings.debug:
            return head
        what, why = self.outcome
        text = what if not why else f"{what}; {why}"
        return replace(head, headers=[*head.headers, (b"x-clew", text.encode("latin-1", "replace"))])

    def _note_page(self, copy: bytes) -> None:
        self._recognise()
        request = self._request
        assert request is not None
        self.effects = (
            ReadPage(
                self._visitor,
                self._touches,
                self.path,
                self._content_type,
                copy,
                order=self._order_page,
                cart=self._left_alone not in BESIDE and self._reads_cart,
                kind=self.site.kind_at(request.path, request.query),
                query=_query(request),
                came=arrival(request),
                gap=self.unread,
                known=self._known,
                client=request.client,
            ),
        )

    @property
    def _order_page(self) -> bool:
        request = self._request
        return request is not None and self.site.order_page(request.path, request.query)

    @property
    def _reads_cart(self) -> bool:
        return self.site.wants_cart and self._recognise() is not None

    def _note_fault(self, error: Exception) -> None:
        self.fault = error
        self.outcome = ("pass", "fault")

    def _to(self, event: str, state: State) -> None:
        # The end leads on to DONE by itself.
        if event != "end":
            self._move(event, state)

    def _move(self, event: str, state: State) -> None:
        if state not in TABLE.get((self.state, event), frozenset()):
            raise ExchangeError(f"{event} in state {self.state.name} cannot lead to {state.name}")
        self.state = state


def _query(head: RequestHead) -> str:
    return head.query.decode("latin-1")


def unshared(headers: Headers) -> Headers:
    """Headers of a response that sets a visitor's cookie: no shared cache may keep it (RFC 9111 §5.2.2)."""
    # Caches of content networks go by fields of their own, whatever Cache-Control says (RFC 9213 §2.2).
    headers = [h for h in headers if h[0] not in CDN_CACHING and not h[0].endswith(b"cdn-cache-control")]
    directives = tokens(headers, b"cache-control")
    if b"no-store" in directives or b"private" in directives:
        return headers
    shared = (b"public", b"s-maxage", b"proxy-revalidate")
    kept = [d for d in directives if not d.startswith(shared)]
    rest = without(headers, b"cache-control", b"expires") if not kept else without(headers, b"cache-control")
    return [*rest, (b"cache-control", b", ".join([b"private", *kept]))]
