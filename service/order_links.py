"""Links by which an agent of another company's chat records an order: opaque, sealed with the settings'
secret, for one conversation or for any, and valid for a time."""

from dataclasses import dataclass
from typing import Final

from ..settings.model import Settings
from .partner_links import Sealed, desk_address

DAYS: Final = 400
"""How long a link for any conversation is valid, if nobody says otherwise."""

TALK_DAYS: Final = 30
"""How long a link for one conversation is valid."""


@dataclass(frozen=True, slots=True)
class OrderLink:
    """What a link says: the provider's id of the conversation, empty for any; who records, and the end in
    unix seconds."""

    conversation: str
    agent: str
    until: int


class OrderLinks:
    """Makes and reads the links of one site."""

    def __init__(self, settings: Settings, site: str) -> None:
        self._sealed = Sealed("clew order link", settings, site)

    def token(self, link: OrderLink) -> str:
        """What the link's address has in it: letters, digits, `-` and `_`."""
        return self._sealed.token([link.conversation, link.agent, link.until])

    def open(self, token: str) -> OrderLink | None:
        """The link of a token; None if it was not made by this site's secret. Its end is not looked at."""
        said = self._sealed.open(token)
        return None if said is None else OrderLink(*said)


def order_link_address(settings: Settings, site: str, link: OrderLink) -> str:
    """The address of a link. Raises ValueError if the site has no host that can be written."""
    token = OrderLinks(settings, site).token(link)
    return desk_address(settings, site, f"chat-order?key={token}")
