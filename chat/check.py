"""Checks the settings of a provider's chat."""

from collections.abc import Iterator

from ..settings.model import Site
from ..settings.positions import KeyPath
from ..settings.wording import Wording, nearest
from .providers import providers


def chat_problems(site: Site, path: KeyPath) -> Iterator[Wording]:
    """A provider that is not known, and ids that are missing, wrong, or not the provider's."""
    chat, at = site.chat, (*path, "chat")
    if chat.provider is None:
        for key in ("ids", "attributes", "load"):
            if key in chat.model_fields_set:
                yield Wording(
                    (*at, key), f"`{key}` is for a provider's chat", "write `provider` too", "warning"
                )
        return
    provider = providers().get(chat.provider)
    if provider is None:
        hint = nearest(chat.provider, providers()) or "docs/chat.md lists all"
        yield Wording((*at, "provider"), f"unknown provider {chat.provider!r}", hint)
        return
    for name, one in provider.ids.items():
        value = chat.ids.get(name, one.default)
        if value is None:
            yield Wording((*at, "ids"), f"`{name}` of {provider.title} is missing", one.about)
        elif not one.fits(value):
            yield Wording((*at, "ids", name), f"{value!r} is no `{name}` of {provider.title}", one.about)
    for name in chat.ids.keys() - provider.ids.keys():
        hint = nearest(name, provider.ids) or "it has " + ", ".join(provider.ids)
        yield Wording((*at, "ids", name), f"{provider.title} has no id {name!r}", hint)
    if chat.attributes and not provider.has_attributes:
        why = f"{provider.title} takes no attributes from a page"
        yield Wording((*at, "attributes"), why, "leave `attributes` out", "warning")
