"""Texts of invites that a service outside of clew writes: `text_from` of a rule.

It is told the rule, the language and the facts that the owner has chosen; nothing else of the visitor. The
answer to the page waits for it for a bounded time, once for the same facts; without it the rule's own text is
said. A service that fails is left alone for a while.
"""

import asyncio
import json
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from ..events.events import Events
from ..postbacks.call import Call
from ..postbacks.client import Client, Progress
from ..postbacks.masking import masked_address
from ..postbacks.render import ANY_2XX, signing
from ..postbacks.verdict import Answered
from ..referral.masking import one_line, without_acting
from ..rules.facts import Facts
from ..settings.model import Rule, TextSource
from .clock import Clock
from .limits import networks_of
from .site import SiteRuntime

KEPT: Final = 2000
"""Texts that a process remembers. Over it, the site with the most loses its oldest one."""
AT_ONCE: Final = 40
"""Calls at a time, of a process."""
OF_SITE: Final = 8
"""Calls at a time, of a site: whoever makes up facts makes its service work no more than this."""
OF_CLIENT: Final = 3
"""Calls at a time for the visitors of one network at a site, twice that for its block of IPv6 networks:
others have to get their texts, too."""
FAILURES: Final = 5
"""Failures in a row after which a service is left alone."""
ALONE_SECONDS: Final = 60.0
FAILED_SECONDS: Final = 5.0
"""For which a call that failed is not made again for the same facts."""
CALL_SECONDS: Final = 3.0
"""After which a call is given up."""
TEXT: Final = 500
"""Characters of a text."""
LINES: Final = 6
VALUE: Final = 300
"""Characters of a fact's value that the service is told."""

_AWAY: Final = frozenset({401, 403, 404, 405, 408, 410, 429})
"""Statuses of 4xx that do not depend on the facts."""

Later = Callable[[Coroutine[Any, Any, None]], None]
_Key = tuple[str, str, str, str]
_Places = list[tuple[str, str]]  # a site with each network of a client


class TextCalls:
    """Calls these services. `later` runs what is to be done in the background."""

    def __init__(self, events: Events, clock: Clock, later: Later) -> None:
        self._events = events
        self._clock = clock
        self._later = later
        self._texts: dict[str, OrderedDict[_Key, tuple[float, str | None]]] = {}  # by site
        self._kept = 0
        self._running: dict[_Key, asyncio.Future[None]] = {}
        self._of_client: Counter[tuple[str, str]] = Counter()  # by site and client network
        self._client: Client | None = None
        self._making = asyncio.Lock()
        # By site and rule: failures in a row, and until when it is left alone.
        self._failed: dict[tuple[str, str], tuple[int, float]] = {}

    def known(
        self, site: SiteRuntime, rule: Rule, language: str, facts: Facts, client: str | None = None
    ) -> tuple[str | None, asyncio.Future[None] | None]:
        """The text, if it is known; else what has to be waited for, if anything. `client` is the address of
        who asks."""
        source = rule.text_from
        if source is None:
            return None, None
        body = body_of(rule, source, language, facts)
        key = (site.name, rule.name, source.url, body)
        now = self._clock.monotonic()
        found = self._texts[site.name].get(key) if site.name in self._texts else None
        if found is not None and found[0] > now:
            return found[1], None
        running = self._running.get(key)
        if running is None:
            failures, until = self._failed.get(key[:2], (0, 0.0))
            if self._full(site.name, client) or (failures >= FAILURES and now < until):
                return None, None
            if failures >= FAILURES:
                # One call tries whether it is well again.
                self._failed[key[:2]] = (failures, now + ALONE_SECONDS)
            running = self._running[key] = asyncio.get_running_loop().create_future()
            places = [(site.name, network) for network, _ in networks_of(client)]
            self._of_client.update(places)
            self._later(self._call(key, source, places))
        return None, running

    def _full(self, site: str, client: str | None) -> bool:
        if len(self._running) >= AT_ONCE or sum(key[0] == site for key in self._running) >= OF_SITE:
            return True
        most = enumerate(networks_of(client), 1)
        return any(self._of_client[site, key] >= times * OF_CLIENT for times, (key, _) in most)

    async def wait(self, site: SiteRuntime, rule: Rule, running: asyncio.Future[None]) -> None:
        """Wait for a call, for as long as the owner allows. What comes later is said from then on."""
        assert rule.text_from is not None
        _, pending = await asyncio.wait([running], timeout=rule.text_from.timeout_ms / 1000)
        if pending:
            why = f"there was no text within {rule.text_from.timeout_ms} ms"
            self._events.notice("text_failed", site=site.name, key=rule.name, rule=rule.name, why=why)

    async def _call(self, key: _Key, source: TextSource, places: _Places) -> None:
        site, rule, _, body = key
        text, why, well = None, "it was interrupted", False
        try:
            text, why, well = await self._text_of(rule, source, body)
        except Exception as error:
            why = repr(error)
        finally:
            now = self._clock.monotonic()
            seconds = FAILED_SECONDS if why else float(source.cache_seconds)
            self._keep(key, text, now + seconds)
            if not well:
                failures = self._failed.get(key[:2], (0, 0.0))[0] + 1
                self._failed[key[:2]] = (failures, now + ALONE_SECONDS)
            else:
                self._failed.pop(key[:2], None)
            self._of_client.subtract(places)
            self._of_client += Counter()  # drops entries without calls
            self._running.pop(key).set_result(None)
        if why:
            self._events.notice("text_failed", site=site, key=rule, rule=rule, why=why)

    def _keep(self, key: _Key, text: str | None, until: float) -> None:
        texts = self._texts.setdefault(key[0], OrderedDict())
        self._kept += key not in texts
        texts[key] = (until, text)
        texts.move_to_end(key)
        while self._kept > KEPT:
            max(self._texts.values(), key=len).popitem(last=False)
            self._kept -= 1

    async def _text_of(self, rule: str, source: TextSource, body: str) -> tuple[str | None, str, bool]:
        """The text, None for none; why the call failed; and whether the service is well. What it refuses of
        these facts (4xx), which strangers may have made up, it may have a text for with others."""
        headers = {"Content-Type": "application/json"}
        if source.secret is not None:
            headers |= _signed(source.secret.get_secret_value(), body, int(self._clock.now()))
        masked = f"POST {masked_address(source.url)} {rule}"
        call = Call(
            *("POST", source.url, headers, body.encode("ascii"), masked, ANY_2XX),
            allow_private=source.allow_private,
        )
        async with self._making:
            if self._client is None:
                # In a thread: it reads the certificates of all authorities.
                self._client = await asyncio.to_thread(Client, CALL_SECONDS, AT_ONCE)
        result = await self._client.make(call, _nothing, Progress())
        if not isinstance(result, Answered):
            return None, str(getattr(result, "reason", "no response")), False
        if result.status == 204:
            return None, "", True
        if result.status != 200 or not result.complete:
            refused = 400 <= result.status < 500 and result.status not in _AWAY
            return None, f"the response has the status {result.status}", refused
        text, why = read_text(result.body)
        return text, why, not why


def body_of(rule: Rule, source: TextSource, language: str, facts: Facts) -> str:
    """What the service is told, as JSON: the same for the same facts."""
    told: dict[str, object] = {}
    for name in source.facts:
        group, _, fact = name.partition(".")
        value = _told(facts[group].get(fact))
        if value is not None:
            told[name] = value
    data = {"type": "invite.text", "rule": rule.name, "language": language, "facts": told}
    return json.dumps(data, sort_keys=True)


def _told(value: object) -> object:
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return one_line(value[:VALUE])
    if isinstance(value, Mapping):
        return {one_line(str(key))[:64]: one_line(str(one)[:VALUE]) for key, one in [*value.items()][:20]}
    return None


def _signed(secret: str, body: str, now: int) -> dict[str, str]:
    """The headers of Standard Webhooks."""
    number = f"msg_{secrets.token_urlsafe(18)}"
    signature = signing(secret, "text_from: secret").sign(number, datetime.fromtimestamp(now, UTC), body)
    return {"webhook-id": number, "webhook-timestamp": str(now), "webhook-signature": signature}


def read_text(body: bytes) -> tuple[str | None, str]:
    """The text of a response, `{"text": "…"}`, and why it has none; null is none."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return None, "the response is no JSON"
    if not isinstance(data, dict) or "text" not in data:
        return None, 'the response is not {"text": "…"}'
    said = data["text"]
    if said is None:
        return None, ""
    if not isinstance(said, str):
        return None, "`text` is not a text"
    # Bounded before it is looked at: a response has up to 64 KB.
    lines = [without_acting(line) for line in said[: 4 * TEXT].strip().splitlines()]
    text = "\n".join(lines)
    if not text:
        return None, "the text is empty"
    if len(text) > TEXT or len(lines) > LINES:
        return (
            None,
            f"the text has {len(text)} characters in {len(lines)} lines; {TEXT} in {LINES} are the most",
        )
    return text, ""


async def _nothing() -> None:
    pass
