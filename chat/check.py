"""Checks the settings of a provider's chat."""

from collections.abc import Iterator

from ..settings.model import Site
from ..settings.positions import KeyPath
from ..settings.weak import weakness
from ..settings.wording import Wording, nearest
from .providers import Provider, providers

SECRET_LENGTH = 16


def chat_problems(site: Site, path: KeyPath) -> Iterator[Wording]:
    """A provider that is not known, and ids that are missing, wrong, or not the provider's."""
    chat, at = site.chat, (*path, "chat")
    if chat.provider is None:
        for key in ("ids", "attributes", "load", "secret", "presence_token", "texts", "command"):
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
    yield from _secret_problems(site, provider, at)
    if chat.presence_token is not None and provider.presence is None:
        having = ", ".join(name for name, one in sorted(providers().items()) if one.presence is not None)
        why = f"clew asks no API of {provider.title} for agents' presence"
        yield Wording((*at, "presence_token"), why, f"leave it out; it is for {having}", "warning")
    if chat.presence_token is not None and provider.presence is not None:
        for name in provider.presence.ids:
            if name in provider.ids and not chat.ids.get(name, provider.ids[name].default):
                why = f"`{name}` of {provider.title} is missing, which `presence_token` needs"
                yield Wording((*at, "ids"), why, provider.ids[name].about)
    if chat.attributes and not provider.has_attributes:
        why = f"{provider.title} takes no attributes from a page"
        yield Wording((*at, "attributes"), why, "leave `attributes` out", "warning")


def _secret_problems(site: Site, provider: Provider, at: KeyPath) -> Iterator[Wording]:
    """Secrets of webhooks that can be guessed, that are no key where one is needed, or of no use."""
    chat = site.chat
    if chat.secret is None:
        return
    if provider.webhook is None:
        why = f"no webhooks of {provider.title} are known"
        yield Wording((*at, "secret"), why, "leave `secret` out", "warning")
        return
    for key, secret in (("secret", chat.secret), *(("previous_secrets", s) for s in chat.previous_secrets)):
        text = secret.get_secret_value()
        if provider.webhook.signature.scheme == "rsa":
            if "BEGIN" not in text:
                why = f"{key} is not the public key that {provider.title} shows"
                yield Wording((*at, key), why, "paste all of it, from -----BEGIN to -----END")
        elif (weak := weakness(text, SECRET_LENGTH)) is not None:
            yield Wording(
                (*at, key), f"{key} {weak}", "take the one that the provider shows, or a longer one"
            )
