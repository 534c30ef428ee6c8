"""Facts: their groups are those of the rules, and a page's parameters are read as the web reads them."""

from urllib.parse import parse_qsl

import pytest
from clew.rules.facts import ALL, GROUPS
from clew.rules.ruleset import RuleSet
from clew.rules.site_facts import CUSTOM
from clew.service.facts import _GROUPS
from clew.service.trails import parameters
from clew.settings.model import Rule


def test_each_group_of_facts_is_gathered() -> None:
    assert set(_GROUPS) - {CUSTOM} == set(GROUPS) == set(ALL)


def test_a_decision_gathers_the_facts_that_the_rules_use_and_no_others() -> None:
    lines = ["visit.pages > 2", 'page.query.size == "m" && order.placed']
    rules = RuleSet([Rule(name="one", action="invite", when=lines)])
    assert rules.facts == {"visit": {"pages"}, "page": {"query"}, "order": {"placed"}}


@pytest.mark.parametrize(
    "query", ["", "a=1", "a", "a=", "=x", "a=1&a=2", "&&a=b&", "a=b=c", "é=ü", "a;b=c", "a+b=c%20d", "%61=+"]
)
def test_parameters_are_those_of_the_standard_library(query: str) -> None:
    assert parameters(query) == dict(parse_qsl(query, keep_blank_values=True))
