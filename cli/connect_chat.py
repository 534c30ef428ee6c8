"""The part of `clew connect` that is for the chats of other companies."""

from collections.abc import Iterator

from ..chat.providers import Provider
from ..service.order_links import DAYS, OrderLink, order_link_address
from ..settings.model import Settings, Site
from ..settings.wording import fresh_secret
from ..stores.ledger.deliveries import Delivery

TIED = {
    "attr": "by clew's token, in the attribute clew_ref",
    "token": "by clew's token, which stands somewhere in the webhook",
    "code": "by the code that was said",
    "page": "by the conversation's id, which the page told",
}
SAYS = {"started": "a conversation began", "ended": "a conversation ended"}


def steps(site: Site, name: str, provider: Provider, address: str) -> Iterator[str]:
    """The lines to print: what to click and to paste."""
    webhook = provider.webhook
    assert webhook is not None
    chat = site.chat
    known = chat.provider == name and chat.secret is not None
    filled = {"url": address, "secret": "the value of `secret`", "events": ", ".join(webhook.events)}
    yield f"{provider.title}, site {site.name} ({webhook.confidence})"
    for number, step in enumerate(webhook.connect, 1):
        yield f"{number}. {step.format(**filled)}"
    if "code" in provider.join:
        yield "Whose conversation it is: clew's token if the webhook has it; else somebody types"
        yield "the visitor's code into the chat, which agents see as the attribute clew_code."
    yield from _presence(site, name, provider)
    if chat.command and not known:
        yield f"Agents tell orders in the chat: {chat.command} 1001 59.90"
    if provider.notes:
        yield f"Note: {provider.notes}"
    if not known:
        if chat.provider == name:
            yield f"\nAdd to [sites.chat] of the site {site.name} in the settings:\n"
        else:
            yield f"\nAdd to the settings, below the site {site.name}:\n"
            yield "[sites.chat]"
            yield f'provider = "{name}"'
            yield from _ids(provider)
        yield f"{fresh_secret()}  # or the one that {provider.title} shows"


def _presence(site: Site, name: str, provider: Provider) -> Iterator[str]:
    """How to have the provider's API asked which agents are there, if it is not asked yet."""
    api, chat = provider.presence, site.chat
    if api is None or (chat.provider == name and chat.presence_token is not None):
        return
    yield f"Who is there: if you set `presence_token`, clew asks {provider.title} ({api.confidence}). It is"
    yield f"  {api.token}."
    for key in api.ids:
        if provider.ids[key].default == "" and key not in chat.ids:
            yield f'  ids.{key} = "…"  # {provider.ids[key].about}'


def _ids(provider: Provider) -> Iterator[str]:
    for key, one in provider.ids.items():
        if one.default is None:
            yield f'ids.{key} = "…"  # {one.about}'


def agents_link(settings: Settings, site: Site, now: float) -> Iterator[str]:
    """The lines with the link by which agents record orders without a command."""
    try:
        address = order_link_address(settings, site.name, OrderLink("", "agent", int(now) + DAYS * 86400))
    except ValueError:
        return
    yield f"Or agents open this link, valid for {DAYS} days, and type the order there. It is for them alone."
    yield "Put &conversation= and the provider's placeholder for the conversation's id behind it:"
    yield f"  {address}"


def understood(one: Delivery) -> Iterator[str]:
    """What a webhook said, as lines."""
    said, about = one.said, f" ({one.topic})" if one.topic else ""
    if one.outcome == "ignored":
        yield f"A webhook came{about}, with a right signature. It is about no conversation. Waiting for one."
        return
    if one.outcome == "unread":
        yield f"A webhook came{about} with a right signature, but it could not be read: {said.get('why')}"
        return
    yield f"A webhook came{about}, with a right signature:"
    if "online" in said:
        yield f"  agent    {said.get('agent')} is {'there' if said['online'] else 'away'}"
        return
    yield f"  talk     {said.get('conversation')}"
    if said.get("says") is not None:
        yield f"  says     {SAYS[said['says']]}"
    if said.get("messages"):
        yield f"  messages {said['messages']}"
    if said.get("agent") is not None:
        yield f"  agent    {said['agent']}"
    if said.get("order") is not None:
        yield f"  order    {said['order']}"
    visitor = said.get("visitor")
    if visitor is not None:
        yield f"  visitor  {TIED[visitor]}"
    else:
        yield "  visitor  NOT KNOWN yet: no token, no code, and no page told the id. A test event has none."


def is_told(one: Delivery) -> bool:
    """Whether a webhook is what `clew connect` waits for."""
    return one.outcome in ("talk", "unread")
