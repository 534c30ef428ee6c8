"""The data of one request and its response, and what the exchange returns to a mount."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, auto

from ...injector.csp_hosts import Needed
from ...injector.edit import PageEdit
from ...injector.heads import Headers, RequestHead, ResponseHead, values
from ...injector.meta_policy import MetaPolicies
from ...injector.reasons import Reason
from ...referral.consent.decision import ASSUMED, ConsentState, of_request, recognised
from ...referral.cookie import Known
from ...referral.touches import Touch
from ...service.effects import Before, JoinVisitor, ReadPage, Sent
from ...service.signals import Watched
from ...service.site import SiteRuntime

_NOTHING: Needed = {}


class State(IntEnum):
    """The state of an exchange. `exchange.TABLE` lists the transitions."""

    START = auto()
    OWN_PAGE = auto()  # clew answers the request itself
    WAITING = auto()  # for the head of the response
    HOLDING = auto()  # the head, until the first bytes of the body show whether the page can be edited
    EDITING = auto()
    COPYING = auto()  # the body passes unchanged, and a bounded copy of it is kept
    PASSING = auto()  # the rest passes unchanged
    BROKEN = auto()  # the body that was sent so far cannot be completed
    DONE = auto()


@dataclass(frozen=True, slots=True)
class OwnPage:
    """The request is for clew itself; `path` is the part after the prefix, with a leading slash."""

    path: bytes

    @classmethod
    def at(cls, site: SiteRuntime, path: bytes) -> "OwnPage":
        """From a raw path under the site's prefix."""
        return cls(b"/" + path[len(site.prefix_bytes) :])


@dataclass(slots=True)
class Forward:
    """Forward the request with these headers, after `effects`. `watch` is whether the response must be fed to
    the exchange."""

    headers: Headers
    effects: Sequence[Before] = ()
    watch: bool = False


@dataclass(slots=True)
class Out:
    """What to send to the client now: the head if it is released, then `body`, then `rest`. `rest` is a part
    of a `memoryview` that was fed and is not copied; it is empty for other chunks."""

    head: ResponseHead | None = None
    body: bytes | memoryview = b""
    rest: bytes | memoryview = b""

    @property
    def data(self) -> bytes:
        """All the bytes, as one copy."""
        if isinstance(self.body, bytes) and not self.rest:
            return self.body
        return b"".join((self.body, self.rest))


class Record:
    """The data of one exchange. Mounts read the first group of fields; the steps of the exchange read and
    write all of them. `now` is in Unix seconds."""

    # The defaults are class attributes, because most exchanges keep them: creation sets only three fields.
    state = State.START
    outcome: tuple[str, Reason] = ("pass", Reason.NOT_A_NAVIGATION)
    fault: Exception | None = None
    began = 0.0  # on the monotonic clock, set by the mount
    effects: Sequence[ReadPage] = ()
    secured = False  # the page's order is being recorded before the page's last byte is sent
    path = ""  # of a navigation, escaped
    unread: Reason = Reason.NONE  # why the order page, or a part of it, could not be read
    forbidden: Needed = _NOTHING  # what the page's policies forbid of the provider's chat
    is_page = False  # a navigation, and not fetched ahead
    happened: Sequence[str] = ()  # events that rules ask about
    sent: Sent | None = None

    request_head: RequestHead | None = None
    known: Known | None = None  # the content of the visitor's cookie, once `recognise` has read it
    visitor: str | None = None
    touches: tuple[Touch, ...] = ()
    set_cookies: Sequence[bytes] = ()  # for the response
    join: JoinVisitor | None = None  # the visitor comes from another host of the shop
    carried = b""  # what tells of the landing, where a redirect must not lose it
    left_alone: Reason | None = None  # why the page is not edited, whatever the response
    mapped = False  # the request's validators were translated for the shop
    content_type = b""
    held_head: ResponseHead | None = None
    coding_out = "identity"
    editor: PageEdit | None = None
    metas: MetaPolicies | None = None
    signals: Sequence[Watched] = ()  # the events that the request may be
    look_for: Sequence[tuple[str, str]] = ()  # events, and what on the page shows that they happened
    look_in: Sequence[tuple[str, str]] = ()  # events, and where JSON says that they happened
    cause: Exception | None = None  # of BROKEN
    consent: ConsentState = ASSUMED  # once `recognise` has read it
    talker: Known | None = None  # the content of the cookie if it is for a conversation only
    _recognised = False

    def __init__(self, site: SiteRuntime, now: float) -> None:
        self.site = site
        self.now = now
        self.held_body: list[bytes] = []

    @property
    def is_order_page(self) -> bool:
        """Whether the request is for an order page."""
        request = self.request_head
        return request is not None and self.site.order_page(request.path, request.query)

    @property
    def shows_order(self) -> bool:
        """Whether the page is complete and an order will be read from it."""
        return any(page.order for page in self.effects)

    @property
    def query(self) -> str:
        """The query of the requested page."""
        return self.request_head.query.decode("latin-1") if self.request_head is not None else ""

    def recognise(self) -> Known | None:
        """The visitor, from the cookie; None without consent if the site requires it. The cookie is decrypted
        on the first call only, since few pages need it."""
        if not self._recognised and self.request_head is not None:
            self._recognised = True
            headers = self.request_head.headers
            known = self.site.cookie.read(values(headers, b"cookie"))
            if self.site.consent.asks:
                agreed = known is not None and known.agreed
                self.consent = of_request(self.site.consent, headers, self.now, agreed=agreed)
                self.talker = known if known is not None and not known.agreed and not known.touches else None
                known = recognised(self.site.consent, self.consent, known)
            self.known = known
            if known is not None:
                self.visitor, self.touches = known.visitor, known.touches
        return self.known

    def note_fault(self, error: Exception) -> None:
        """Record a fault of clew's own; the rest passes unchanged."""
        self.fault = error
        self.outcome = ("pass", Reason.FAULT)
