"""Checks the rules of a site against the values that its facts can have."""

from collections.abc import Iterable, Iterator

from ..settings.draft import Draft, twice
from ..settings.wording import Wording
from .compiler import RuleErrors
from .ruleset import RuleSet
from .site_facts import vocabulary_of
from .values import Known


def rule_problems(draft: Draft, networks: Iterable[str]) -> Iterator[Wording]:
    """What is wrong with a site's rules; `networks` are the ids of all networks in the catalogue."""
    path = (*draft.path, "rules")
    yield from twice([((*path, n, "name"), r.name) for n, r in draft.rules], "another rule has the name {!r}")
    try:
        RuleSet([rule for _, rule in draft.rules], _known(draft, networks), vocabulary_of(draft.site))
    except RuleErrors as error:
        for problem in error.problems:
            place = (*path, draft.rules[problem.rule][0], *problem.place)
            yield Wording(place, problem.message, problem.hint)


def _known(draft: Draft, networks: Iterable[str]) -> Known:
    """The values that facts of this site can have. The id counts even of a partner with other errors."""
    raw = draft.raw.get("partners")
    partners = [item for item in raw if isinstance(item, dict)] if isinstance(raw, list) else []
    return {
        "partner.id": [str(partner.get("id")) for partner in partners],
        "partner.network": [str(partner.get("network") or "") for partner in partners],
        "touch.network": ["", *networks],
    }
