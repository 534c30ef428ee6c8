"""Facts: their groups are those of the rules, and a page's parameters are read as the web reads them."""

import re
from typing import Any
from urllib.parse import parse_qsl

import pytest
from clew.injector.linked import Conflicting
from clew.postbacks.check import fact_problems
from clew.referral.memory import Keeps
from clew.referral.networks_file import load
from clew.rules.facts import ALL, GROUPS
from clew.rules.ruleset import RuleSet
from clew.rules.site_facts import CUSTOM
from clew.service.custom_facts import typed
from clew.service.facts import _GROUPS
from clew.service.site import SiteRuntime, WaitsFor
from clew.service.trails import parameters
from clew.settings.model import CustomFact, Rule, Settings, Site
from pydantic import ValidationError


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


def runtime(lines: list[str], **keys: Any) -> SiteRuntime:
    rules = [{"name": "one", "action": "hide", "when": lines}]
    site = {"name": "shop", "rules": rules, **keys}
    settings = Settings.model_validate({"secret": "k" * 20 + "abcdefghijklmnop", "sites": [site]})
    return SiteRuntime(settings, settings.sites[0], load())


def test_what_no_rule_asks_for_is_neither_watched_nor_kept() -> None:
    own = {
        "group": {"selector": ".group"},
        "points": {"type": "int", "url": "https://shop.example/{visitor}"},
    }
    site = runtime(["visit.pages > 2"], facts=own, score={"points": {"search": 5}})
    assert site.keeps == Keeps()
    assert not site.signals
    assert not any(site.waits_for)
    assert (site.page_facts, site.called) == ({}, {})
    asks = runtime(["events.login_failed_10m > 1", "score.points > 3.0", 'custom.group == "a"'], facts=own)
    assert asks.keeps.events == {"login_failed"}
    assert asks.signals
    assert list(asks.page_facts) == ["custom.group"]
    assert asks.waits_for == WaitsFor(False, False, False, values=True, called=False)


def test_points_make_the_score_ask_for_their_events() -> None:
    points = {"search": 5, "page.product": 1, "returning": 3}
    assert runtime(["score.points > 3.0"], score={"points": points}).keeps.events == {"search"}


@pytest.mark.parametrize(
    ("fact", "why"),
    [
        ({}, "it has none"),
        ({"header": "X-A", "selector": ".a"}, "header and selector"),
        ({"url": "https://shop.example/{cookie}"}, "needs `cookie`"),
        ({"url": "ftp://shop.example/"}, "not a URL to call"),
        ({"url": "https://{cookie}.example/", "cookie": "a"}, "not a URL to call"),
        ({"json_path": "[?"}, "not a JMESPath expression"),
        ({"json_path": "[@,@][] | [@,@][] | [0]"}, "at most one `[a, b]`"),
        ({"json_path": "[" + ",".join("@" * 11) + "] | [0]"}, "of 10 parts"),
        ({"json_path": "join(to_string(@), keys(@))"}, "the first argument of `join`"),
        ({"json_path": "join()"}, "the first argument of `join`"),
        ({"json_path": "[*] | " * 13 + "[0]"}, "13 lists, filters and functions; at most 12"),
        ({"pages": ["/help*"]}, 'write type = "int"'),
    ],
)
def test_a_fact_of_a_sites_own_has_one_source(fact: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(why)):
        CustomFact.model_validate(fact)


def test_a_value_is_of_its_type_or_missing() -> None:
    whole, number, flag = (CustomFact(type=kind, header="X-A") for kind in ("int", "double", "bool"))
    assert [typed(whole, text) for text in ("7", "7.0", "7.5", "x", "1e999", "nan")] == [7, 7, *[None] * 4]
    assert [typed(number, text) for text in ("4,90", " 3 ", "1,2,3")] == [4.9, 3.0, None]
    assert [typed(flag, text) for text in ("1", "yes", "0", "No", "")] == [True, True, False, False, False]
    assert len(str(typed(CustomFact(header="X-A"), "x" * 5000))) == 100
    assert typed(CustomFact(header="X-A"), "mill \ud83d") == "mill ?"
    assert [typed(CustomFact(header="X-A"), value) for value in (None, [1], {}, Conflicting((1, 2)))] == [
        None
    ] * 4


def test_a_fact_is_not_asked_for_in_a_private_network() -> None:
    site = {"name": "shop", "facts": {"points": {"url": "http://169.254.169.254/{visitor}"}}}
    (problem,) = fact_problems(Site.model_validate(site), ("sites", 0))
    assert problem.path == ("sites", 0, "facts", "points", "url")
    assert "is never called" in problem.message
