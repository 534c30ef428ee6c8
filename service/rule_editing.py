"""How people set the rules of a site: what the desk, the API and `clew rules` have in common."""

import asyncio
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..settings.model import Site
from ..settings.rule_changes import RuleChange, changes_between
from ..settings.rule_text import table_of, text_of
from ..stores.ledger.rule_reviews import RuleReviews
from ..stores.ledger.rule_revisions import Head, NewRules, RuleRevisions
from .rule_checks import SETTINGS_AGAIN, checked_rules

STORY: Final = 20
STORY_BYTES: Final = 1 << 19
"""Revisions that are looked through for the changes of a rule, and bytes of their texts."""


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
    """The rules of sites, for people who edit them. Whoever changes a rule has looked at it."""

    def __init__(self, books: RuleRevisions, reviews: RuleReviews) -> None:
        self._books = books
        self._reviews = reviews

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
        return await self._add(site, found.new, by, note, now, base)

    async def settings_again(
        self, site: Site, by: str, note: str, now: float, base: int | None
    ) -> tuple[Head, bool]:
        """Have the settings' rules in force again. Raises StaleError."""
        return await self._add(site, SETTINGS_AGAIN, by, note, now, base)

    async def _add(
        self, site: Site, new: NewRules, by: str, note: str, now: float, base: int | None
    ) -> tuple[Head, bool]:
        before = await self.current(site)
        head, is_new = await self._books.add(site.name, new, by, note, now, base)
        if is_new:
            after = await self.at(site, head.number)
            changed = await asyncio.to_thread(_changed, before.text, after.text)
            await self._reviews.note(site.name, changed, head.by, now)
        return head, is_new

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

    async def story(self, site: Site, rule: str) -> Sequence[tuple[Head, Sequence[RuleChange]]]:
        """The revisions among the newest ones that changed a rule, the newest first, each with the change."""
        heads = await self._books.history(site.name, STORY + 1)
        found, size = list[tuple[Head, Sequence[RuleChange]]](), 0
        after = await self.at(site, heads[0].number) if heads else None
        for head in heads[:STORY]:
            assert after is not None
            size += head.size
            try:
                before = await self.at(site, head.number - 1)
            except NoRevisionError:
                break
            if changes := [one for one in await changes_of(before, after) if one.name == rule]:
                found.append((head, changes))
            if size > STORY_BYTES:
                break
            after = before
        return found


async def changes_of(before: Edition, after: Edition) -> Sequence[RuleChange]:
    """What an edition changes in another one."""
    return await asyncio.to_thread(lambda: changes_between(tables_of(before.text), tables_of(after.text)))


def _changed(before: str, after: str) -> list[str]:
    """The rules of a text that another one does not have, or has otherwise."""
    try:
        old = tables_of(before)
    except tomllib.TOMLDecodeError:  # another version of clew could read it
        old = []
    return [one.name for one in changes_between(old, tables_of(after)) if one.what != "removed"]


def tables_of(text: str) -> Sequence[Any]:
    """The tables of a text that was valid when it was kept."""
    found = tomllib.loads(text).get("rules", [])
    return found if isinstance(found, list) else []


async def _settings_text(site: Site) -> str:
    return await asyncio.to_thread(lambda: text_of(map(table_of, site.rules)))
