"""What goes into the audit trail, and how much of what strangers do."""

from collections.abc import Callable
from typing import Final

from ..events.events import Events
from ..settings.changes import Changes
from ..settings.model import Settings
from ..stores.errors import STORE_FAILURES
from ..stores.ledger.audit import PROGRAM, Act, Audit
from .limits import Limits, Rate

STRANGERS: Final = Rate(30, 3600)
"""Lines of failures under names that nobody has: for each site."""

FAILURES: Final = Rate(10, 3600)
"""Lines of failures under a name that somebody has: for each person."""

REPEATED: Final = Rate(1, 3600)
"""Lines of the same program doing the same again and again."""

SHOWN: Final = 20


class Auditing:
    """Writes the trail. That a line cannot be written is an event, and stops nothing."""

    def __init__(self, audit: Audit, limits: Limits, events: Events, now: Callable[[], float]) -> None:
        self._audit = audit
        self._limits = limits
        self._events = events
        self._now = now
        # How many failures were not written since the last one that was, by key.
        self._left_out: dict[str, int] = {}

    async def note(self, act: Act) -> None:
        """Write a line."""
        try:
            await self._audit.add(act, self._now())
        except STORE_FAILURES as error:
            self._events.failed(error, site=act.site, where="audit")

    async def failed(self, act: Act) -> None:
        """Write a line of a failure, at most so many an hour: the next one that is written has the number of
        those left out. `act.who` is empty unless it is the name of an account, of which there are few."""
        key = f"{act.site}/{act.action}/{act.who}"
        if self._limits.crowded(f"audit {key}", FAILURES if act.who else STRANGERS):
            if key in self._left_out or len(self._left_out) < 1000:
                self._left_out[key] = self._left_out.get(key, 0) + 1
            return
        more = self._left_out.pop(key, 0)
        details = {**(act.details or {}), **({"more": more} if more else {})}
        await self.note(Act(act.site, act.who, act.action, act.subject, act.network, details))

    async def repeated(self, act: Act) -> None:
        """Write a line of what a program does again and again: once an hour."""
        if not self._limits.crowded(f"audit {act.site}/{act.action}/{act.who}/{act.subject}", REPEATED):
            await self.note(act)

    async def reloaded(self, before: Settings, after: Settings, changes: Changes) -> None:
        """Write that new settings are in use: which sites changed, and which API tokens, by their names."""
        details: dict[str, str | int | None] = {}
        for name in ("added", "changed", "removed"):
            if sites := getattr(changes, name):
                details[name] = ", ".join(sites[:SHOWN]) + (" …" if len(sites) > SHOWN else "")
        await self.note(Act(PROGRAM, "settings", "settings.reloaded", "", "", details))
        old, new = _tokens(before), _tokens(after)
        for (site, name), what in sorted((old | new).items())[: 10 * SHOWN]:
            if old.get((site, name)) != new.get((site, name)):
                done = "removed" if (site, name) not in new else "changed" if (site, name) in old else "added"
                scopes = {"scopes": what[1]} if done != "removed" else {}
                await self.note(Act(site, "settings", f"token.{done}", name, "", scopes))


def _tokens(settings: Settings) -> dict[tuple[str, str], tuple[object, str]]:
    found: dict[tuple[str, str], tuple[object, str]] = {}
    for site in settings.sites:
        if site.api_token is not None:
            found[site.name, "api_token"] = site.api_token, "all"
        for one in site.api_tokens:
            found[site.name, one.name] = one.token, ", ".join(one.scopes)
    return found
