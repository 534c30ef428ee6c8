"""How people set the rules of a site: what the desk, the API and `clew rules` have in common."""

import asyncio
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..settings.model import Site
from ..settings.rule_changes import RuleChange, changes_between
from ..settings.rule_text import table_of, text_of
from ..stores.ledger.rule_revisions import Head, RuleRevisions
from .rule_checks import SETTINGS_AGAIN, checked_rules


class NoRevisionError(LookupError):
    """The site has no such revision any more, or never had it; the text says so."""


@dataclass(frozen=True, slots=True)
class Edition:
    """Rules as a text: of a revision, or with the number 0 of the settings. `settings`: it is, or says, that
    those of the settings are in force. `head` is the revision, None for 0."""

    number: int
    text: str
    settings: bool
    head: Head | None = None


class RuleEditing:
    """The rules of sites, for people who edit them."""

    def __init__(self, books: RuleRevisions) -> None:
        self._books = books

    async def current(self, site: Site) -> Edition:
        """The newest edition."""
        found = await self._books.find(site.name)
        if found is None:
            return Edition(0, await _settings_text(site), settings=True)
        text = found.text if found.text is not None else await _settings_text(site)
        return Edition(found.number, text, found.text is None, found)

    async def at(self, site: Site, number: int) -> Edition:
        """An edition by its number. Raises NoRevisionError."""
        if number == 0:
            return Edition(0, await _settings_text(site), settings=True)
        found = await self._books.find(site.name, number)
        if found is None:
            raise NoRevisionError(f"{site.name} has no revision {number} of its rules")
        text = found.text if found.text is not None else await _settings_text(site)
        return Edition(number, text, found.text is None, found)

    async def set(
        self, site: Site, text: str, by: str, note: str, now: float, base: int | None
    ) -> tuple[Head, bool]:
        """Set the rules of a text. Raises SettingsErrors, StaleError; see `RuleRevisions.add`."""
        found = await asyncio.to_thread(checked_rules, text, site)
        return await self._books.add(site.name, found.new, by, note, now, base)

    async def settings_again(
        self, site: Site, by: str, note: str, now: float, base: int | None
    ) -> tuple[Head, bool]:
        """Have the settings' rules in force again. Raises StaleError."""
        return await self._books.add(site.name, SETTINGS_AGAIN, by, note, now, base)

    async def roll_back(
        self, site: Site, number: int, by: str, note: str, now: float, base: int | None
    ) -> tuple[Head, bool]:
        """Set the rules of an earlier revision again, as a new one; 0 are those of the settings. Raises
        NoRevisionError, StaleError, and SettingsErrors if they do not fit the settings any more."""
        found = await self.at(site, number)
        note = note or (f"as revision {number}" if number else "")
        if found.settings:
            return await self.settings_again(site, by, note, now, base)
        return await self.set(site, found.text, by, note, now, base)


async def changes_of(before: Edition, after: Edition) -> Sequence[RuleChange]:
    """What an edition changes in another one."""
    return await asyncio.to_thread(lambda: changes_between(tables_of(before.text), tables_of(after.text)))


def tables_of(text: str) -> Sequence[Any]:
    """The tables of a text that was valid when it was kept."""
    found = tomllib.loads(text).get("rules", [])
    return found if isinstance(found, list) else []


async def _settings_text(site: Site) -> str:
    return await asyncio.to_thread(lambda: text_of(map(table_of, site.rules)))
