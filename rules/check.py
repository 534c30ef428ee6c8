"""Checks the rules of a site against the values that its facts can have."""

from collections.abc import Iterable, Iterator
from zoneinfo import ZoneInfo

from ..settings.draft import Draft, twice
from ..settings.model import Rule
from ..settings.positions import KeyPath
from ..settings.wording import Wording
from .check_actions import action_problems, invites_problems
from .compiler import RuleErrors
from .experiments import HELD_OUT, NO_INVITE
from .policy import moment
from .ruleset import RuleSet
from .site_facts import vocabulary_of
from .values import Known


def rule_problems(draft: Draft, networks: Iterable[str]) -> Iterator[Wording]:
    """What is wrong with a site's rules; `networks` are the ids of all networks in the catalogue."""
    path = (*draft.path, "rules")
    yield from twice([((*path, n, "name"), r.name) for n, r in draft.rules], "another rule has the name {!r}")
    yield from invites_problems(draft.path, draft.site)
    # What a rule does with an unknown action is not known either.
    unknown = {one.path for one in draft.refused}
    for number, rule in draft.rules:
        yield from _policy_problems((*path, number), rule, ZoneInfo(draft.site.time_zone))
        if (*path, number, "action") not in unknown:
            yield from action_problems((*path, number), rule, draft.site)
    try:
        RuleSet([rule for _, rule in draft.rules], _known(draft, networks), vocabulary_of(draft.site))
    except RuleErrors as error:
        for problem in error.problems:
            place = (*path, draft.rules[problem.rule][0], *problem.place)
            yield Wording(place, problem.message, problem.hint)


def _policy_problems(path: KeyPath, rule: Rule, zone: ZoneInfo) -> Iterator[Wording]:
    """What is wrong with when a rule acts, and with what it compares."""
    starts = None if rule.starts is None else moment(rule.starts, zone)
    if rule.ends is not None and moment(rule.ends, zone, end=True) <= (starts or 0.0):
        yield Wording((*path, "ends"), "the rule ends before it starts", "write a later time")
    if rule.default and rule.forced:
        message = "a default rule waits for the agents, a forced one does not"
        yield Wording((*path, "forced"), message, "write only one of `default` and `forced`")
    names = [((*path, "variants", n, "name"), one.name) for n, one in enumerate(rule.variants)]
    yield from twice(names, "another text of the rule has the name {!r}")
    for n, one in enumerate(rule.variants):
        if one.name in (NO_INVITE, HELD_OUT):
            place = (*path, "variants", n, "name")
            yield Wording(place, f"{one.name!r} is the name of those who get no invite", "use another one")
    if not rule.invites:
        for key in ("variants", "no_invite", "pages", "per_visitor"):
            if key in rule.model_fields_set:
                yield Wording((*path, key), f"`{key}` is for invites", 'write action = "invite"')


def _known(draft: Draft, networks: Iterable[str]) -> Known:
    """The values that facts of this site can have. The id counts even of a partner with other errors."""
    raw = draft.raw.get("partners")
    partners = [item for item in raw if isinstance(item, dict)] if isinstance(raw, list) else []
    return {
        "partner.id": [str(partner.get("id")) for partner in partners],
        "partner.network": [str(partner.get("network") or "") for partner in partners],
        "touch.network": ["", *networks],
    }
