"""Asks the APIs of providers which agents are there, where the settings have a token for it.

One process at a time asks for a site. While the API fails it is asked again with growing pauses; when it has
failed for a while, nobody counts as there any more of whom nothing was heard since.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ..chat.presence import PresenceError, ProviderPresence
from ..chat.providers import Provider, providers
from ..events.events import Events
from ..postbacks.call import Call
from ..postbacks.client import Client, Progress
from ..postbacks.masking import masked_address
from ..postbacks.render import ANY_2XX
from ..postbacks.verdict import Answered
from ..settings.model import Site
from ..stores.ledger.books import Ledger
from .clock import Clock

EVERY: Final = 30.0
"""Seconds between two questions for a site."""

LONGEST_PAUSE: Final = 900.0
STALE_AFTER: Final = 600.0
"""Seconds of failures after which nobody counts as there of whom nothing was heard for so long."""

AGAIN: Final = 3600.0
"""Seconds after which what has not changed is written again."""

TIMEOUT: Final = 10.0
AT_ONCE: Final = 8
TICK: Final = 5.0


@dataclass(slots=True)
class _State:
    """What this process knows of a site: when it asks next, and what was written last of each agent."""

    next_at: float = 0.0
    failures: int = 0
    failing_since: float = 0.0
    written: dict[str, tuple[bool, float]] = field(default_factory=dict)


class ProviderPolling:
    """Asks for all sites while `run` runs. `sites` returns those of the current settings."""

    def __init__(
        self,
        ledger: Ledger,
        events: Events,
        clock: Clock,
        sites: Callable[[], Iterable[Site]],
        known: Callable[[], Mapping[str, Provider]] = providers,
    ) -> None:
        self._ledger = ledger
        self._events = events
        self._clock = clock
        self._sites = sites
        self._known = known
        self._holder = secrets.token_hex(8)
        self._states: dict[str, _State] = {}

    async def run(self) -> None:
        """Ask until cancelled."""
        async with Client(TIMEOUT, AT_ONCE) as client:
            while True:
                await self.step(client)
                await asyncio.sleep(TICK)

    async def step(self, client: Client) -> None:
        """Ask for the sites whose time has come, a few at a time."""
        now = self._clock.now()
        asked = {}
        for site in self._sites():
            chat = site.chat
            entry = None if chat.provider is None else self._known().get(chat.provider)
            if chat.presence_token is not None and entry is not None and entry.presence is not None:
                asked[site.name] = (site, entry.presence)
        self._states = {name: self._states.get(name, _State()) for name in asked}
        due = [pair for name, pair in asked.items() if self._states[name].next_at <= now]
        for start in range(0, len(due), AT_ONCE):
            some = due[start : start + AT_ONCE]
            await asyncio.gather(*(self._ask(client, site, presence) for site, presence in some))

    async def _ask(self, client: Client, site: Site, presence: ProviderPresence) -> None:
        state, now = self._states[site.name], self._clock.now()
        state.next_at = now + EVERY
        try:
            books = self._ledger.provider_talks
            if not await books.take_turn(site.name, self._holder, now, now + EVERY + 2 * TIMEOUT):
                return
            why, wait, found = await self._answer(client, site, presence)
            if found is None:
                await self._failed(site, state, why, wait)
                return
            state.failures, state.failing_since = 0, 0.0
            gone = {name: False for name, (there, _) in state.written.items() if there}
            await self._write(site, state, {**gone, **found})
        except Exception as error:
            self._events.failed(error, site=site.name, where="presence")

    async def _answer(
        self, client: Client, site: Site, presence: ProviderPresence
    ) -> tuple[str, float, Mapping[str, bool] | None]:
        """Why there is no answer, how long to wait at least, and who is there."""
        token = site.chat.presence_token
        assert token is not None
        ids = self._known()[site.chat.provider or ""].ids
        url = presence.url.format(**{n: one.default or "" for n, one in ids.items()} | site.chat.ids)
        call = Call(
            method=presence.method,
            url=url,
            headers={**presence.headers_with(token.get_secret_value()), "Accept": "application/json"},
            body=presence.body.encode(),
            masked=f"{presence.method} {masked_address(url)}",
            success=ANY_2XX,
        )
        result = await client.make(call, _nothing, Progress())
        if not isinstance(result, Answered):
            return result.reason, 0.0, None
        if not 200 <= result.status < 300:
            hint = ": is the token right?" if result.status in (401, 403) else ""
            retry = result.retry_after or ""
            return f"status {result.status}{hint}", float(retry) if retry.isdecimal() else 0.0, None
        if not result.complete:
            return "the answer broke off, or is too long", 0.0, None
        try:
            return "", 0.0, presence.read(result.body)
        except PresenceError as error:
            return str(error), 0.0, None

    async def _failed(self, site: Site, state: _State, why: str, wait: float) -> None:
        now = self._clock.now()
        state.failures += 1
        pause = min(LONGEST_PAUSE, EVERY * 2 ** min(state.failures, 10))
        state.next_at = now + max(pause, min(wait, LONGEST_PAUSE))
        provider = site.chat.provider or ""
        self._events.notice("presence_failed", site=site.name, key=provider, provider=provider, why=why)
        state.failing_since = state.failing_since or now
        if now - state.failing_since >= STALE_AFTER:
            state.written = {}
            await self._ledger.provider_talks.agents_gone(site.name, now - STALE_AFTER, now)

    async def _write(self, site: Site, state: _State, found: Mapping[str, bool]) -> None:
        now = self._clock.now()
        for name, there in found.items():
            before = state.written.get(name)
            if before is not None and before[0] == there and now - before[1] < AGAIN:
                continue
            books = self._ledger.provider_talks
            await books.set_present(site.name, "agent", name, online=there, at=now)
            state.written[name] = (there, now)
        for name in [n for n, (there, at) in state.written.items() if not there and now - at > AGAIN]:
            del state.written[name]


async def _nothing() -> None:
    """Nothing has to be written before a question."""
