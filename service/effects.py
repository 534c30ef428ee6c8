"""What an exchange asks to be done: writes before the request goes on, reads after the bytes are gone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..referral.landing import Dropped
from ..referral.touches import Touch
from ..settings.model import PageType
from .shopping import Arrival
from .site import SiteRuntime


@dataclass(frozen=True, slots=True)
class SaveTouch:
    """Write the touch down; before the request goes to the shop, so that no redirect can lose it.

    `known` are the touches that the cookie brought along, in case the store has lost them.
    """

    visitor: str
    touch: Touch
    known: tuple[Touch, ...]


@dataclass(frozen=True, slots=True)
class TellDropped:
    """Tell that a landing carried what should have been a partner's click id and was none."""

    dropped: tuple[Dropped, ...]


@dataclass(frozen=True, slots=True)
class SaveShopped:
    """The visitor goes to the cart or the checkout: what makes an order of his credible."""

    visitor: str
    known: tuple[Touch, ...]


# What is done before the request goes to the shop.
Before = SaveTouch | SaveShopped | TellDropped


@dataclass(frozen=True, slots=True)
class ReadPage:
    """Read order and cart from a page that the visitor got; after its bytes were sent.

    `visitor` is None for a browser without our cookie: his order is recorded too, credited to nobody. `came`
    says how he came to the page, `gap` why `body` is not all of it.
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
    came: Arrival = "unknown"
    gap: str = ""
    by_browser: bool = False  # nothing of it came from the shop's server


class Finished(Protocol):
    """An exchange that has come to its end, well or not."""

    site: SiteRuntime
    outcome: tuple[str, str]
    path: str
    fault: Exception | None
    began: float  # on the monotonic clock; 0 where nobody measures
    unread: str
    effects: Sequence[ReadPage]
