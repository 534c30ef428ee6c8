"""The effects of an exchange: writes before the request is forwarded, reads after the response was sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ..injector.csp_hosts import Needed
from ..injector.heads import RequestHead
from ..injector.reasons import Reason
from ..referral.consent.decision import ASSUMED, ConsentState
from ..referral.cookie import Known
from ..referral.handover import Handover
from ..referral.landing import Dropped
from ..referral.touches import Touch
from ..settings.model import PageType
from .site import SiteRuntime

# How the visitor came to a page: from one of the shop's pages; by a link from elsewhere, or typed; unknown.
CameFrom = Literal["inside", "outside", "unknown"]


@dataclass(frozen=True, slots=True)
class SaveTouch:
    """Store the touch before the request goes to the shop, so that no redirect can lose it.

    `known` is the content of the visitor's cookie. Without it the touch is only in the cookie that the
    response to this request sets, even if it is a redirect.
    """

    visitor: str
    touch: Touch
    known: Known | None
    client: str | None


@dataclass(frozen=True, slots=True)
class NotifyDropped:
    """Report that a landing had a partner's parameter without a valid click id."""

    dropped: tuple[Dropped, ...]


@dataclass(frozen=True, slots=True)
class NotifyEmbedded:
    """Report that another site's page loaded links of these partners as a picture or in a frame."""

    partners: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SaveShopped:
    """Store that the visitor opened the cart or the checkout, which makes its order credible."""

    known: Known
    client: str | None


@dataclass(slots=True)
class JoinVisitor:
    """Join a visitor who came by a token from another host of the shop: see `handing.py`.

    `known` is what the visitor is known by from then on, `client` the address of the request. `joined` is set
    to whether the token counted.
    """

    handover: Handover
    known: Known
    client: str | None
    shopped: bool = False
    joined: bool = False


@dataclass(frozen=True, slots=True)
class NotifyHandover:
    """Report a token that does not count, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class SaveAgain:
    """Store that the visitor followed a link of these partners again whose click is known."""

    known: Known
    partners: tuple[str, ...]
    client: str | None


# The effects before the request goes to the shop.
Before = SaveTouch | SaveAgain | SaveShopped | NotifyDropped | NotifyEmbedded | JoinVisitor | NotifyHandover


@dataclass(frozen=True, slots=True)
class Sent:
    """A form was sent to the page of this mark. `again`: the response is a page, as where the form is shown
    once more; not, if it leads on."""

    mark: str
    again: bool


@dataclass(frozen=True, slots=True)
class ReadPage:
    """Read the order and cart from a page after it was sent to the visitor.

    `visitor` is None for a browser without clew's cookie: its order is recorded too, and credited to nobody.
    `came` is how the visitor came to the page, `gap` why `body` is incomplete.
    """

    visitor: str | None
    touches: tuple[Touch, ...]
    path: str
    content_type: bytes
    body: bytes
    order: bool
    cart: bool
    kind: PageType | None
    query: str = ""
    came: CameFrom = "unknown"
    gap: Reason = Reason.NONE
    by_browser: bool = False  # reported by the browser, not part of the shop's response
    known: Known | None = None  # the content of the visitor's cookie, if the request had one
    consent: ConsentState = ASSUMED
    client: str | None = None
    product: bool = False
    values: bool = False  # of the site's own facts
    look_for: Sequence[tuple[str, str]] = ()  # events, and what on the page shows that they happened
    look_in: Sequence[tuple[str, str]] = ()  # events, and where the response, as JSON, says so

    @property
    def address(self) -> str:
        """Path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path


class Finished(Protocol):
    """An exchange that has ended, successfully or not."""

    site: SiteRuntime
    outcome: tuple[str, Reason]
    path: str
    fault: Exception | None
    began: float  # on the monotonic clock; 0 if not measured
    unread: Reason
    effects: Sequence[ReadPage]
    secured: bool  # the page's order is already being recorded
    forbidden: Needed  # what the page's policies forbid of the provider's chat
    is_page: bool  # the request was for a page, and the visitor has seen the response
    happened: Sequence[str]  # events
    sent: Sent | None
    known: Known | None
    request_head: RequestHead | None

    def recognise(self) -> Known | None:
        """The visitor, from the cookie."""

    @property
    def query(self) -> str:
        """The query of the requested page."""
