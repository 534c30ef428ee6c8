"""Which AI assistant an arrival came from (`assistants.toml`)."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from urllib.parse import urlsplit

from .touches import Touch


@cache
def assistants() -> Mapping[str, str]:
    """The names of assistants, by their hosts and by other words in utm_source."""
    data = tomllib.loads(files(__package__).joinpath("assistants.toml").read_text("utf-8"))
    return {
        word: name for name, entry in data.items() for word in (*entry["hosts"], *entry.get("sources", ()))
    }


def assistant_of(touch: Touch) -> str:
    """The name of the assistant that sent an arrival; empty if none did."""
    source = _of_host(touch.campaign.get("utm_source", "").strip().lower())
    if source:
        return source
    try:
        return _of_host((urlsplit(touch.referrer).hostname or "").lower())
    except ValueError:
        return ""


def _of_host(host: str) -> str:
    labels = host.split(".")[-5:]
    found = (assistants().get(".".join(labels[place:])) for place in range(len(labels)))
    return next((name for name in found if name is not None), "")
