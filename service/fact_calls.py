"""Facts that the shop's own API tells: called once for a visitor, and remembered.

A decision waits a quarter of a second for the answer at most. A later one has it.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from ..events.events import Events
from ..postbacks.call import Call, percent
from ..postbacks.client import Client, Progress
from ..postbacks.verdict import Answered
from ..referral.calls import Answer, Success
from ..settings.model import CustomFact
from .clock import Clock
from .custom_facts import Value, cookie, found_in
from .site import SiteRuntime

KEPT: Final = 10_000
"""Answers that a process remembers."""
AT_ONCE: Final = 20
"""Calls at a time, of a process."""
FAILED_SECONDS: Final = 30.0
"""After which a call that failed is tried again."""

_ANY: Final = Success(Answer((100, 599)))
Later = Callable[[Coroutine[Any, Any, None]], None]


class FactCalls:
    """Calls the APIs of shops. `later` runs what is to be done in the background."""

    def __init__(self, events: Events, clock: Clock, later: Later) -> None:
        self._events = events
        self._clock = clock
        self._later = later
        self._answers: OrderedDict[tuple[str, str, str], tuple[float, Value | None]] = OrderedDict()
        self._running: dict[tuple[str, str, str], asyncio.Future[None]] = {}

    def known(
        self, site: SiteRuntime, visitor: str, fields: Mapping[bytes, bytes]
    ) -> tuple[dict[str, Value], list[asyncio.Future[None]]]:
        """The values that are known, and what has to be waited for to know the others."""
        values: dict[str, Value] = {}
        waiting: list[asyncio.Future[None]] = []
        for name, custom in site.called.items():
            url = address(site, custom, visitor, fields)
            if url is None:
                continue  # the visitor has no such cookie
            key = (site.name, name, url)
            found = self._answers.get(key)
            if found is not None and found[0] > self._clock.monotonic():
                if found[1] is not None:
                    values[name] = found[1]
            elif (future := self._asked(site, name, custom, url)) is not None:
                waiting.append(future)
        return values, waiting

    def _asked(
        self, site: SiteRuntime, name: str, custom: CustomFact, url: str
    ) -> asyncio.Future[None] | None:
        key = (site.name, name, url)
        running = self._running.get(key)
        if running is None:
            if len(self._running) >= AT_ONCE:
                return None
            running = self._running[key] = asyncio.get_running_loop().create_future()
            self._later(self._call(site, name, custom, url))
        return running

    async def _call(self, site: SiteRuntime, name: str, custom: CustomFact, url: str) -> None:
        key, value, why = (site.name, name, url), None, ""
        try:
            value, why = await _value_of(custom, url)
        except Exception as error:
            why = repr(error)
        finally:
            seconds = FAILED_SECONDS if why else float(custom.cache_seconds)
            self._answers[key] = (self._clock.monotonic() + seconds, value)
            self._answers.move_to_end(key)
            while len(self._answers) > KEPT:
                self._answers.popitem(last=False)
            self._running.pop(key).set_result(None)
        if why:
            self._events.notice("fact_failed", site=site.name, key=name, fact=name, why=why)


async def _value_of(custom: CustomFact, url: str) -> tuple[Value | None, str]:
    """The value, and why there is none."""
    call = Call("GET", url, {}, b"", "", _ANY, allow_private=custom.allow_private)
    async with Client(float(custom.timeout), 1) as client:
        result = await client.make(call, _nothing, Progress())
    if not isinstance(result, Answered):
        return None, str(getattr(result, "reason", "no response"))
    if result.status == 404:
        return None, ""  # the shop does not know the visitor
    if result.status != 200 or not result.complete:
        return None, f"the response has the status {result.status}"
    try:
        data = json.loads(result.body)
    except (ValueError, RecursionError):
        data = result.body.decode("utf-8", "replace")
        if custom.json_path is not None:
            return None, "the response is no JSON"
    return found_in(custom, data), ""


async def _nothing() -> None:
    pass


def address(site: SiteRuntime, custom: CustomFact, visitor: str, fields: Mapping[bytes, bytes]) -> str | None:
    """The URL to call; None if it needs a cookie that the visitor does not have."""
    assert custom.url is not None
    url = custom.url
    if "{visitor}" in url:
        url = url.replace("{visitor}", percent(site.carrier.token(visitor)))
    if "{cookie}" in url:
        value = cookie(fields, custom.cookie or "")
        if not value:
            return None
        url = url.replace("{cookie}", percent(value[:1000]))
    return url
