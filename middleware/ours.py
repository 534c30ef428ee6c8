"""A request for one of our own pages, as the desk's app takes it."""

from collections.abc import MutableMapping
from typing import Any

from ..desk.here import Here
from .exchange import Ours


def inner_scope(scope: MutableMapping[str, Any], plan: Ours, here: Here) -> MutableMapping[str, Any]:
    """The ASGI scope below the site's prefix, with what the desk has to know of where it is."""
    return {
        **scope,
        "path": plan.path.decode("latin-1"),
        "raw_path": plan.path,
        "root_path": here.site.prefix.rstrip("/"),
        "clew": here,
    }
