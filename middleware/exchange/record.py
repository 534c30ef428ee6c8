"""What is known of one request and its response, and what a mount is given of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, auto

from ...injector.edit import PageEdit
from ...injector.heads import Headers, RequestHead, ResponseHead, values
from ...injector.reasons import Reason
from ...referral.consent.decision import ASSUMED, ConsentState, of_request, recognised
from ...referral.cookie import Known
from ...referral.touches import Touch
from ...service.effects import Before, ReadPage
from ...service.site import SiteRuntime


class State(IntEnum):
    """Where an exchange stands. `exchange.TABLE` says what leads from one to the next."""

    START = auto()
    OWN_PAGE = auto()  # clew answers the request itself
    WAITING = auto()  # for the head of a response that matters
    HOLDING = auto()  # the head, until the first bytes of the body tell whether the page can be edited
    EDITING = auto()
    COPYING = auto()  # the body passes unchanged, and a bounded copy of it is kept
    PASSING = auto()  # all that is left to come passes unchanged
    BROKEN = auto()  # no proper end can follow the bytes that were sent
    DONE = auto()


@dataclass(frozen=True, slots=True)
class OwnPage:
    """The request is for one of our own pages; `path` is what follows the prefix, with a leading slash."""

    path: bytes

    @classmethod
    def at(cls, site: SiteRuntime, path: bytes) -> "OwnPage":
        """For a raw path that the site owns."""
        return cls(b"/" + path[len(site.prefix_bytes) :])


@dataclass(slots=True)
class Forward:
    """Send the request on with these headers, after `effects`. `watch` tells whether the response has to be
    fed to the exchange."""

    headers: Headers
    effects: Sequence[Before] = ()
    watch: bool = False


@dataclass(slots=True)
class Out:
    """What may go to the client now: a head if it is released, then `body`, then `rest`. `rest` is part of a
    borrowed chunk that was not copied; it is empty for any other."""

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
    """The data of one exchange: mounts read the first group of fields, and the steps of the exchange read and
    write all of them. `now` is in unix seconds."""

    # Class attributes are the defaults that most exchanges keep: creating one sets three fields only.
    state = State.START
    outcome: tuple[str, Reason] = ("pass", Reason.NOT_A_NAVIGATION)
    fault: Exception | None = None
    began = 0.0  # on the monotonic clock, set by the mount
    effects: Sequence[ReadPage] = ()
    secured = False  # the order of the page is being recorded before its last byte leaves
    path = ""  # of a navigation, escaped
    unread: Reason = Reason.NONE  # why the order's page could not be read, or not all of it

    request_head: RequestHead | None = None
    known: Known | None = None  # what the visitor's cookie says, once `recognise` has read it
    visitor: str | None = None
    touches: tuple[Touch, ...] = ()
    set_cookies: Sequence[bytes] = ()  # for the response
    left_alone: Reason | None = None  # why the page stays as it is whatever the response says
    mapped = False  # validators were translated on the way to the shop
    content_type = b""
    held_head: ResponseHead | None = None
    coding_out = "identity"
    editor: PageEdit | None = None
    cause: Exception | None = None  # of BROKEN
    consent: ConsentState = ASSUMED  # once `recognise` has read it
    talker: Known | None = None  # what the cookie says if it is for a conversation alone
    _recognised = False

    def __init__(self, site: SiteRuntime, now: float) -> None:
        self.site = site
        self.now = now
        self.held_body: list[bytes] = []

    @property
    def is_order_page(self) -> bool:
        """Whether the request is for the page that shows an order."""
        request = self.request_head
        return request is not None and self.site.order_page(request.path, request.query)

    @property
    def shows_order(self) -> bool:
        """Whether an order is to be read from the page, which is complete."""
        return any(page.order for page in self.effects)

    @property
    def query(self) -> str:
        """The query of the page that was asked for."""
        return self.request_head.query.decode("latin-1") if self.request_head is not None else ""

    def recognise(self) -> Known | None:
        """Who the visitor is, by the cookie; None without its consent, where the site asks for it. The cookie
        is opened only when somebody asks: few pages do."""
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
        """Note a failure of our own, after which everything passes as it came."""
        self.fault = error
        self.outcome = ("pass", Reason.FAULT)
