"""Facts that the shop's own API tells: called once for a visitor, and remembered.

A decision waits a quarter of a second for the answer at most. A later one has it.
"""

import asyncio
import json
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

from ..events.events import Events
from ..postbacks.call import Call, percent
from ..postbacks.client import BODY_LIMIT, Client, Progress
from ..postbacks.verdict import Answered
from ..referral.calls import Answer, Success
from ..settings.model import CustomFact
from . import facts
from .clock import Clock
from .custom_facts import Value, cookie, found_in
from .limits import networks_of
from .site import SiteRuntime

KEPT: Final = 10_000
"""Answers that a process remembers. Over it, the site with the most loses its oldest one."""
AT_ONCE: Final = 60
"""Calls at a time, of a process."""
OF_SITE: Final = 12
"""Calls at a time, of a site: its API may be slow, and others have to be asked too."""
OF_CLIENT: Final = 4
"""Calls at a time for the visitors of one network at a site, twice that for its block of IPv6 networks: each
new cookie is another visitor."""
FAILED_SECONDS: Final = 30.0
"""After which a call that failed is tried again."""

_ANY: Final = Success(Answer((100, 599)))
_TIMEOUT: Final = 10.0
Later = Callable[[Coroutine[Any, Any, None]], None]
_Key = tuple[str, bytes]
_Places = list[tuple[str, str]]  # a site with each network of a client


@dataclass(slots=True)
class Known:
    """The values that are known, what has to be waited for to know the others, and whether some are not even
    asked for now, because too many calls are being made."""

    values: dict[str, Value] = field(default_factory=dict)
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    crowded: bool = False


class FactCalls:
    """Calls the APIs of shops. `later` runs what is to be done in the background."""

    def __init__(self, events: Events, clock: Clock, later: Later) -> None:
        self._events = events
        self._clock = clock
        self._later = later
        self._answers: dict[str, OrderedDict[bytes, tuple[float, Value | None]]] = {}  # by site
        self._kept = 0
        self._running: dict[_Key, asyncio.Future[None]] = {}
        self._of_site: Counter[str] = Counter()
        self._of_client: Counter[tuple[str, str]] = Counter()  # by site and client network
        self._client: Client | None = None
        self._making = asyncio.Lock()

    def known(self, site: SiteRuntime, visitor: str, client: facts.Client) -> Known:
        """What is known of a visitor; what is not is asked for."""
        found = Known()
        for name, custom in site.called.items():
            url = address(site, custom, visitor, client.fields)
            if url is None:
                continue  # the visitor has no such cookie
            key = (site.name, blake2b(f"{name} {url}".encode(), digest_size=16).digest())
            answers = self._answers.get(site.name)
            held = None if answers is None else answers.get(key[1])
            if held is not None and held[0] > self._clock.monotonic():
                if held[1] is not None:
                    found.values[name] = held[1]
            elif (running := self._running.get(key)) is not None:
                found.waiting.append(running)
            elif (why := self._full(site.name, client.address)) is None:
                found.waiting.append(self._ask(site, name, custom, url, key, client.address))
            else:
                found.crowded = True
                self._events.notice("fact_failed", site=site.name, key=name, fact=name, why=why)
        return found

    def _full(self, site: str, client: str | None) -> str | None:
        if len(self._running) >= AT_ONCE or self._of_site[site] >= OF_SITE:
            return "as many calls as may be made at a time wait for their answers: is the API too slow?"
        most = enumerate(networks_of(client), 1)
        if any(self._of_client[site, key] >= times * OF_CLIENT for times, (key, _) in most):
            return f"{OF_CLIENT} calls for visitors of one network wait for their answers"
        return None

    def _ask(
        self, site: SiteRuntime, name: str, custom: CustomFact, url: str, key: _Key, client: str | None
    ) -> asyncio.Future[None]:
        running = self._running[key] = asyncio.get_running_loop().create_future()
        places = [(site.name, network) for network, _ in networks_of(client)]
        self._of_site[site.name] += 1
        self._of_client.update(places)
        self._later(self._call(name, custom, url, key, places))
        return running

    async def _call(self, name: str, custom: CustomFact, url: str, key: _Key, places: _Places) -> None:
        value, why, site = None, "", key[0]
        try:
            value, why = await self._value_of(custom, url)
        except Exception as error:
            why = repr(error)
        finally:
            self._keep(key, value, FAILED_SECONDS if why else float(custom.cache_seconds))
            self._of_site[site] -= 1
            self._of_client.subtract(places)
            # Drops entries without calls.
            self._of_site += Counter()
            self._of_client += Counter()
            self._running.pop(key).set_result(None)
        if why:
            self._events.notice("fact_failed", site=site, key=name, fact=name, why=why)

    def _keep(self, key: _Key, value: Value | None, seconds: float) -> None:
        site, mark = key
        answers = self._answers.setdefault(site, OrderedDict())
        self._kept += mark not in answers
        answers[mark] = (self._clock.monotonic() + seconds, value)
        answers.move_to_end(mark)
        while self._kept > KEPT:
            most = max(self._answers.values(), key=len)
            most.popitem(last=False)
            self._kept -= 1

    async def _value_of(self, custom: CustomFact, url: str) -> tuple[Value | None, str]:
        """The value, and why there is none."""
        call = Call("GET", url, {}, b"", "", _ANY, allow_private=custom.allow_private)
        async with self._making:
            if self._client is None:
                # In a thread: it reads the certificates of all authorities.
                self._client = await asyncio.to_thread(Client, _TIMEOUT, AT_ONCE)
        result = await self._client.make(call, _nothing, Progress(), float(custom.timeout))
        if not isinstance(result, Answered):
            return None, str(getattr(result, "reason", "no response"))
        if result.status == 404:
            return None, ""  # the shop does not know the visitor
        if result.status != 200:
            return None, f"the response has the status {result.status}"
        if not result.complete:
            return None, f"the response is longer than {BODY_LIMIT // 1024} KB, or ended too early"
        # In a thread: the owner's expression may take longer than the loop may be held up.
        return await asyncio.to_thread(_read, custom, result.body)


def _read(custom: CustomFact, body: bytes) -> tuple[Value | None, str]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = body.decode("utf-8", "replace")
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
