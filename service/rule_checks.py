"""Checks rules for a site: those of its settings, and those that people write at the desk or in a file."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import msgspec

from ..referral.networks_file import load as load_catalogue
from ..rules.check import rule_problems
from ..rules.compiler import PROBLEMS, RuleErrors
from ..rules.ruleset import RuleSet
from ..rules.site_facts import vocabulary_of
from ..settings.check import department_problems
from ..settings.draft import Draft, drafted
from ..settings.load import Problem, SettingsErrors
from ..settings.model import Rule, Site
from ..settings.rule_text import NAME, SITE, RuleText
from ..settings.wording import Wording
from ..stores.ledger.rule_revisions import NewRules, Stored
from .rules_in_force import own_facts_of, service_of


def problems_of_rules(draft: Draft, networks: Iterable[str]) -> Iterator[Wording]:
    """What is wrong with a site's rules; `networks` are the ids of all networks in the catalogue."""
    yield from department_problems(draft)
    yield from rule_problems(draft, networks)


@dataclass(frozen=True, slots=True)
class CheckedRules:
    """Rules that a site can have: `new` is what is kept of them. `problems` are warnings."""

    text: RuleText
    rules: Sequence[Rule]
    new: NewRules
    problems: Sequence[Problem] = ()


SETTINGS_AGAIN = NewRules(None, None, {}, 0)
"""What is kept where the settings' rules are to be in force again."""


def checked_rules(text: str, site: Site) -> CheckedRules:
    """The rules of a text, for a site. Raises SettingsErrors with everything that is wrong, by line.

    It takes a second for a long text, so it is for threads.
    """
    found = RuleText.read(text)
    draft, wordings = _draft(found.tables, site)
    wordings = [*found.unread(), *wordings]
    problems = sorted({found.problem(one): None for one in wordings}, key=lambda one: one.line or 0)
    if any(one.severity == "error" for one in problems):
        raise SettingsErrors(_first(problems))
    rules = [rule for _, rule in draft.rules]
    own = own_facts_of(site, RuleSet(rules, vocabulary=vocabulary_of(site)))
    new = NewRules(found.text, msgspec.json.encode(found.tables).decode(), own, len(rules))
    return CheckedRules(found, rules, new, problems)


def in_order(tables: Sequence[Any], site: Site) -> list[Any]:
    """The tables of rules in the order in which they are asked; as they stand if they do not compile here."""
    draft, _ = _draft(tables, site)
    try:
        asked = RuleSet([rule for _, rule in draft.rules], vocabulary=vocabulary_of(site)).order
    except RuleErrors:
        return [*tables]
    places = {rule.name: place for place, rule in enumerate(asked)}
    return sorted(tables, key=lambda table: places.get(table.get("name"), len(places)))


def _first(problems: Sequence[Problem]) -> Sequence[Problem]:
    """The first PROBLEMS errors: nobody reads a hundred thousand, and each takes its place on a page."""
    errors = [one for one in problems if one.severity == "error"]
    if len(errors) <= PROBLEMS:
        return problems
    more = f"there are {len(errors) - PROBLEMS:,} more problems"
    return [*errors[:PROBLEMS], Problem(NAME, "", None, more, "mend these first")]


def doubts(stored: Stored, site: Site) -> Sequence[str]:
    """What the checks say of a revision by a site's settings of today, each with its rule's name: partners,
    departments and facts that the settings do not have any more."""
    tables = msgspec.json.decode(stored.rules or "[]")
    said = []
    for wording in _draft(tables, site)[1]:
        number = wording.path[len(SITE) + 1]
        table = tables[number] if isinstance(number, int) and number < len(tables) else None
        name = table.get("name") if isinstance(table, Mapping) else None
        said.append(f"rule {name}: {wording.message}" if name else wording.message)
    return list(dict.fromkeys(said))


def _draft(tables: Sequence[Any], site: Site) -> tuple[Draft, list[Wording]]:
    """The rules that can be read, and all that is wrong with them."""
    raw = {"name": site.name, "rules": list(tables)}
    found = drafted(SITE, raw)
    partners = [{"id": one.id, "network": one.network} for one in site.partners]
    draft = replace(found, site=site, raw={**raw, "partners": partners})
    return draft, [*found.refused, *problems_of_rules(draft, _networks()), *_services(draft, site)]


def _services(draft: Draft, site: Site) -> Iterator[Wording]:
    """Services for texts that the settings do not know, or would tell less."""
    for number, rule in draft.rules:
        if rule.text_from is not None and service_of(rule, site) is None:
            message = "no rule of the settings has this service with these facts"
            hint = "have it added to a rule of the settings first: it gets facts of visitors"
            yield Wording((*draft.path, "rules", number, "text_from"), message, hint)


@cache
def _networks() -> Sequence[str]:
    return tuple(load_catalogue().networks)
