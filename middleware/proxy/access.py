"""The access log: one line a request, with addresses masked by the one rule for log, desk and store."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import structlog

from ...referral.masking import Masking
from ...service.origin import Origin
from ...service.site import SiteRuntime

_NO_SITE = Masking()
_TARGET = 2000
Write = Callable[[int], None]


def access_line(scope: Mapping[str, Any], site: SiteRuntime | None, origin: Origin) -> Write:
    """A function that writes the line of a request that begins now. Call it with the status of the answer, or
    with 0 if none was sent."""
    return partial(_write, scope, site, origin, time.monotonic())


def _write(
    scope: Mapping[str, Any], site: SiteRuntime | None, origin: Origin, began: float, status: int
) -> None:
    target: bytes = scope["raw_path"]
    if query := scope.get("query_string"):
        target = b"%b?%b" % (target, query)
    masking = _NO_SITE if site is None else site.masking
    with suppress(OSError):
        structlog.get_logger("clew").info(
            "request",
            site="" if site is None else site.name,
            method=scope.get("method", "GET"),
            path=masking.logged(target[:_TARGET].decode("latin-1")),
            host=origin.host,
            client=origin.client,
            status=status,
            ms=round((time.monotonic() - began) * 1000, 1),
        )
