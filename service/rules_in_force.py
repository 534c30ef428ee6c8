"""The rules of a site that are in force: those of a revision, or those of its settings."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, get_args

import msgspec
from pydantic import ValidationError

from ..rules.compiler import RuleErrors
from ..rules.fact_table import Fact, FactType
from ..rules.facts import RULE_FACTS
from ..rules.ruleset import RuleSet
from ..rules.site_facts import vocabulary_of
from ..settings.model import Rule, Site, TextSource
from ..settings.wording import worded
from ..stores.ledger.rule_revisions import Stored

_TYPES: Final = get_args(FactType)


class UnfitError(ValueError):
    """The rules of a revision do not parse or compile with this version of clew; the text says why."""


@lru_cache(maxsize=1024)
def rules_of(found: str) -> tuple[Rule, ...]:
    """The rules of a revision's JSON. Raises UnfitError."""
    try:
        tables = msgspec.json.decode(found)
    except msgspec.DecodeError as error:
        raise UnfitError(f"cannot be read: {error}") from error
    if not isinstance(tables, list):
        raise UnfitError("cannot be read: it is no list")
    rules = []
    for number, table in enumerate(tables):
        try:
            rules.append(Rule.model_validate(table))
        except ValidationError as error:
            raise UnfitError(_why(number, table, error)) from error
    return tuple(rules)


def _why(number: int, table: Any, error: ValidationError) -> str:
    name = table.get("name") if isinstance(table, Mapping) else None
    at = ("sites", 0, "rules", 0)
    first = next(iter(worded(error.errors(include_url=False), table, at)), None)
    key = ".".join(map(str, first.path[len(at) :])) if first else ""
    said = f"{key}: {first.message}" if first and key else str(error)
    return f"rule {name or number + 1}: {said}"


def with_rules(site: Site, stored: Stored | None) -> Site:
    """The site with the rules that are in force. Raises UnfitError."""
    if stored is None or stored.rules is None:
        return site
    return site.model_copy(update={"rules": [_served(rule, site) for rule in rules_of(stored.rules)]})


def service_of(rule: Rule, site: Site) -> TextSource | None:
    """The service for texts of the settings that a rule of a revision names; None where there is none, or it
    would be told more. Who edits rules must neither send facts elsewhere nor call into private networks."""
    wanted = rule.text_from
    known = [one.text_from for one in site.rules if one.text_from is not None]
    return next(
        (one for one in known if wanted and one.url == wanted.url and {*wanted.facts} <= {*one.facts}), None
    )


def _served(rule: Rule, site: Site) -> Rule:
    """The rule with what the settings say of its service for texts."""
    if rule.text_from is None:
        return rule
    found = service_of(rule, site)
    if found is None:
        return rule.model_copy(update={"text_from": None})
    own = {"secret": found.secret, "allow_private": found.allow_private}
    return rule.model_copy(update={"text_from": rule.text_from.model_copy(update=own)})


def rule_set_of(site: Site, stored: Stored | None) -> RuleSet:
    """Compile the rules of a site from `with_rules`. A fact of the site's own that the settings do not have
    any more, or have with another type, is one that is never known: what a setting takes away must not stop
    the other rules. Raises UnfitError, and RuleErrors for rules of the settings."""
    if stored is None or stored.rules is None:
        return RuleSet(site.rules, vocabulary=vocabulary_of(site))
    former = {name: kind for name, kind in stored.own.items() if kind in _TYPES}
    try:
        return RuleSet(site.rules, vocabulary=vocabulary_of(site, _facts(former, site, only_gone=True)))
    except RuleErrors as error:
        first = error
    try:
        return RuleSet(site.rules, vocabulary=vocabulary_of(site, _facts(former, site, only_gone=False)))
    except RuleErrors:
        problem = first.problems[0]
        name = site.rules[problem.rule].name if problem.rule < len(site.rules) else str(problem.rule + 1)
        raise UnfitError(f"rule {name}: {problem.message}") from first


def _facts(former: Mapping[str, str], site: Site, *, only_gone: bool) -> tuple[Fact, ...]:
    known = vocabulary_of(site).by_name if only_gone else {}
    return tuple(
        Fact(name, _TYPES[_TYPES.index(kind)], "A fact that the site had.", source="request", cost="low")
        for name, kind in former.items()
        if name not in known and name not in RULE_FACTS.by_name
    )


def own_facts_of(site: Site, compiled: RuleSet) -> dict[str, str]:
    """The site's own facts that rules ask for, with their types."""
    known = vocabulary_of(site).by_name
    asked = (f"{group}.{name}" for group, names in compiled.facts.items() for name in names)
    return {name: known[name].type for name in asked if name in known and name not in RULE_FACTS.by_name}
