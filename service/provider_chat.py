"""What the chat of another company gets to know of a visitor."""

from typing import Final

from ..chat.providers import providers
from ..referral.cookie import Known
from ..referral.masking import one_line
from ..referral.visitor import Visitor
from ..settings.addresses import split
from ..settings.model import ChatAttribute
from .chat_code import shown
from .conversations import partner_of
from .site import SiteRuntime

VALUE_LENGTH: Final = 120
"""Characters of an attribute. The shortest limit that a provider documents is 255 bytes."""


def provider_chat(
    site: SiteRuntime, known: Known | None, visitor: Visitor, url: str
) -> dict[str, object] | None:
    """What the page needs for the provider's chat: whether it may load it, when, and its attributes: clew's
    token, and what the owner allows. None at a site that uses clew's own chat.

    Nothing of the provider is loaded for a visitor who was asked for consent and has not given it, because
    providers set cookies of their own.
    """
    chat = site.settings.chat
    if chat.provider is None:
        return None
    blocked = site.asks_consent and (known is None or not known.agreed)
    attributes = {}
    if not blocked:
        attributes["clew_ref"] = site.carrier.token(visitor.id)
        values = {name: _value(name, visitor, url)[:VALUE_LENGTH] for name in chat.attributes}
        attributes |= {f"clew_{name}": value for name, value in values.items() if value}
        if "code" in providers()[chat.provider].join:
            attributes["clew_code"] = shown(site.chat_code(visitor.id))
    found: dict[str, object] = {"load": chat.load, "blocked": blocked, "attributes": attributes}
    if providers()[chat.provider].say:
        found["says"] = True
    return found if chat.mail is None else {**found, "mail": chat.mail}


def _value(name: ChatAttribute, visitor: Visitor, url: str) -> str:
    if name == "page":
        return split(url)[0]
    if name == "cart":
        return " ".join(filter(None, (visitor.cart.get("value"), visitor.cart.get("currency"))))
    if name == "partner":
        return partner_of(visitor) or ""
    newest = next((t for t in reversed(visitor.touches) if t.campaign and not t.doubt), None)
    return "" if newest is None else one_line(newest.campaign.get("utm_campaign", ""))
