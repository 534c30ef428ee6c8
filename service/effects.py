"""What an exchange asks to be done: writes before the request goes on, reads after the bytes are gone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ..injector.reasons import Reason
from ..referral.cookie import Known
from ..referral.landing import Dropped
from ..referral.touches import Touch
from ..settings.model import PageType
from .site import SiteRuntime

# How a page was come to: from one of the shop's own pages; by a link from elsewhere, or typed; not known.
CameFrom = Literal["inside", "outside", "unknown"]


@dataclass(frozen=True, slots=True)
class SaveTouch:
    """Write the touch down; before the request goes to the shop, so that no redirect can lose it.

    `known` is what the visitor's cookie said. Without one the touch goes into the cookie alone, which the
    answer to this very request sets, be it a redirect.
    """

    visitor: str
    touch: Touch
    known: Known | None
    client: str | None


@dataclass(frozen=True, slots=True)
class NotifyDropped:
    """Tell that a landing carried what should have been a partner's click id and was none."""

    dropped: tuple[Dropped, ...]


@dataclass(frozen=True, slots=True)
class SaveShopped:
    """The visitor goes to the cart or the checkout: what makes its order credible."""

    known: Known
    client: str | None


# What is done before the request goes to the shop.
Before = SaveTouch | SaveShopped | NotifyDropped


@dataclass(frozen=True, slots=True)
class ReadPage:
    """Read order and cart from a page that the visitor got; after its bytes were sent.

    `visitor` is None for a browser without our cookie: its order is recorded too, credited to nobody. `came`
    says how it came to the page, `gap` why `body` is not all of it.
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
    by_browser: bool = False  # nothing of it came from the shop's server
    known: Known | None = None  # what the visitor's cookie said, if the request brought one
    client: str | None = None

    @property
    def address(self) -> str:
        """Path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path


class Finished(Protocol):
    """An exchange that has come to its end, well or not."""

    site: SiteRuntime
    outcome: tuple[str, Reason]
    path: str
    fault: Exception | None
    began: float  # on the monotonic clock; 0 where nobody measures
    unread: Reason
    effects: Sequence[ReadPage]
    secured: bool  # the order of its page is being recorded already

    @property
    def query(self) -> str:
        """The query of the page that was asked for."""
