"""Checks the settings of webhooks."""

from collections.abc import Iterator

from ..settings.model import Site
from ..settings.positions import KeyPath
from ..settings.weak import weakness
from ..settings.wording import Wording, nearest
from .sources_schema import webhook_sources

SECRET_LENGTH = 16


def webhook_problems(site: Site, path: KeyPath) -> Iterator[Wording]:
    """Shop systems that are not known, secrets that can be guessed, and settings that are missing."""
    for name, webhook in site.webhooks.items():
        at = (*path, "webhooks", name)
        source = webhook_sources().get(name)
        if source is None:
            yield Wording(at, f"unknown shop system {name!r}", nearest(name, webhook_sources()))
            continue
        secrets = [("secret", webhook.secret), *(("previous_secrets", s) for s in webhook.previous_secrets)]
        for key, secret in secrets:
            text = secret.get_secret_value()
            is_key = source.signature.scheme == "jws" and text.lstrip()[:1] in ("{", "-")
            why = None if is_key else weakness(text.removeprefix("whsec_"), SECRET_LENGTH)
            if why is not None:
                yield Wording((*at, key), f"{key} {why}", "take the one that the shop system shows")
        needed = [key for key in ("store", "token") if source.fetch and getattr(webhook, key) is None]
        for key in needed:
            why = f"{source.title} only names the order in its webhooks: clew has to ask for it"
            yield Wording((*at, key), f"`{key}` is missing", why)
