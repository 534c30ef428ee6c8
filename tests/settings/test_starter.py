"""The rules to begin with: for each shop system they ask only for what its preset gives, and each can act."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from clew.cli import app
from clew.rules.facts import GROUPS
from clew.rules.ruleset import RuleSet
from clew.service.rule_checks import CheckedRules, checked_rules
from clew.settings.model import Site
from clew.settings.platforms import PlatformError, platforms, with_platform
from clew.settings.starter import RULES, Starter, starter_text, starters
from typer.testing import CliRunner

ALWAYS = {"client_error", "server_error", "form_repeated", "slow_page"}
"""Events that need no signal of the shop system."""

SITUATIONS: dict[str, tuple[dict[str, dict[str, Any]], set[str]]] = {
    "checkout-error": ({"page": {"type": "checkout"}, "events": {"server_error_10m": 1}}, set()),
    "payment-failed": ({"page": {"type": "checkout"}, "events": {"payment_failed_10m": 1}}, set()),
    "search-empty": (
        {"page": {"type": "search", "seconds": 5}, "events": {"search_empty_10m": 1}},
        set(),
    ),
    "coupon-refused": ({"page": {"type": "cart"}, "events": {"coupon_refused_10m": 2}}, set()),
    "login-failed": ({"page": {"type": "account"}, "events": {"login_failed_10m": 2}}, set()),
    "checkout-stuck": ({"page": {"type": "checkout", "seconds": 60}}, set()),
    "checkout-leaves": ({"page": {"type": "checkout"}}, {"exit"}),
    "checkout-left": ({"page": {"type": "product", "seconds": 20}, "checkout": {"furthest": 1}}, set()),
    "cart-large": ({"page": {"type": "cart", "seconds": 30}, "cart": {"value": 200.0}}, set()),
    "cart-several": (
        {
            "page": {"type": "product"},
            "cart": {"items": 3},
            "checkout": {"step": 0},
            "visit": {"seconds": 150},
        },
        set(),
    ),
    "cart-hesitates": ({"page": {"type": "cart", "seconds": 45}}, set()),
    "cart-leaves": ({"page": {"type": "cart"}}, {"exit"}),
    "cart-again": ({"page": {"type": "cart", "seconds": 10, "times": 2}}, set()),
    "added-looks-on": (
        {"page": {"type": "product"}, "events": {"add_to_cart": 1}, "visit": {"seconds": 150}},
        set(),
    ),
    "lost": ({"page": {"type": "home"}, "events": {"client_error_10m": 2, "server_error_10m": 0}}, set()),
    "searches": ({"page": {"type": "search", "seconds": 15}, "visit": {"pages": 3}}, set()),
    "product-again": ({"page": {"type": "product", "seconds": 10, "times": 2}}, set()),
    "product-returning": ({"page": {"type": "product", "seconds": 30}, "visit": {"returning": True}}, set()),
    "product-read": ({"page": {"type": "product"}, "visit": {"seconds": 60}}, {"scroll 80%"}),
    "product-by-partner": ({"page": {"type": "product", "seconds": 45}, "partner": {"id": "anna"}}, set()),
    "product-compares": ({"page": {"type": "product"}, "visit": {"pages": 4, "seconds": 120}}, set()),
    "product-leaves": ({"page": {"type": "product"}, "visit": {"seconds": 30}}, {"exit"}),
    "category-browses": ({"page": {"type": "category"}, "visit": {"pages": 6}}, set()),
    "category-hesitates": ({"page": {"type": "category", "seconds": 60}}, set()),
    "paid-search": (
        {"touch": {"channel": "paid_search", "age_days": 0}, "visit": {"pages": 2, "seconds": 60}},
        set(),
    ),
    "returning": ({"page": {"type": "home"}, "visit": {"returning": True, "seconds": 60}}, set()),
    "after-order": ({"page": {"type": "account", "seconds": 20}, "order": {"placed": True}}, set()),
    "default": ({"page": {"type": "home"}, "visit": {"seconds": 150}}, set()),
}
every_platform = pytest.mark.parametrize("platform", [None, *platforms()])


def site_of(platform: str | None) -> Site:
    partner = {"id": "anna", "param": "aff", "postback": "https://partner.test/?c={click_id}"}
    given = {"platform": platform} if platform else {"page_types": {"/": "home"}}
    return with_platform(Site.model_validate({"name": "shop", "partners": [partner], **given}))


def checked(platform: str | None) -> CheckedRules:
    return checked_rules(starter_text(platform), site_of(platform))


@every_platform
def test_there_are_20_rules_over_all_stages_and_a_default_rule(platform: str | None) -> None:
    found = checked(platform)
    assert not found.problems
    *rules, default = found.rules
    assert len(rules) == RULES == 20
    assert {"landing", "category", "product", "cart", "checkout", "after_sale"} <= {
        one.stage for one in rules
    }
    assert [one.name for one in found.rules if one.default] == [default.name]
    assert default.wait == "150s"
    assert not default.forced
    assert len({one.priority for one in found.rules}) == 21
    assert all({"en", "de"} <= set(dict(one.text)) for one in found.rules if one.text is not None)
    assert all(one.text is not None for one in found.rules)


@pytest.mark.parametrize("platform", list(platforms()))
def test_no_line_asks_for_what_the_preset_cannot_give(platform: str) -> None:
    preset = platforms()[platform]
    lines = repr([(one.when, one.on) for one in checked(platform).rules])
    kinds = {kind for _, kind in preset.page_types}
    assert set(re.findall(r'page\.type == "(\w+)"', lines)) <= kinds
    events = {re.sub(r"_(10m|1h|24h|30d)$", "", one) for one in re.findall(r"events\.(\w+)", lines)}
    assert events <= ALWAYS | {one.event for one in preset.signals}
    for fact in set(re.findall(r"cart\.(\w+)", lines)):
        assert getattr(preset.cart, fact)
    assert not re.findall(r"(?:product|customer|custom)\.\w+", lines)


@every_platform
def test_each_rule_acts_in_its_situation(platform: str | None) -> None:
    rules = checked(platform).rules
    ruleset = RuleSet(rules)
    for rule in rules:
        known, told = SITUATIONS[rule.name]
        facts = {group: known.get(group, {}) for group in GROUPS}
        decision = ruleset.decide(facts, told=told)
        assert decision.rule is not None, rule.name
        assert decision.rule.name == rule.name


def test_each_entry_is_in_the_rules_of_a_platform() -> None:
    shown = {one["name"] for name in platforms() for one in tomllib.loads(starter_text(name))["rules"]}
    assert shown == {tomllib.loads(one.rule)["name"] for one in starters()}


@pytest.mark.parametrize("entry", starters(), ids=lambda one: tomllib.loads(one.rule)["name"])
def test_each_number_is_known_or_said_to_be_likely(entry: Starter) -> None:
    """Nobody takes a guess for a finding."""
    rule = tomllib.loads(entry.rule)
    when = [line for one in rule.get("when", []) for line in ([one] if isinstance(one, str) else one["any"])]
    lines = [re.sub(r"[a-z_]+\.\w+|\"[^\"]*\"", "", line) for line in when]
    asked = [*lines, *rule.get("on", []), rule.get("wait", ""), rule.get("wait_page", "")]
    numbers = {found for one in asked for found in re.findall(r"\d[\d.]*[s%]?", one)} - {"0", "1"}
    assert numbers == {*entry.known, *entry.likely}
    assert not {*entry.known} & {*entry.likely}
    said = f"Likely, not measured: {', '.join(entry.likely)}."
    assert not entry.likely or any(said in unwrapped(starter_text(name)) for name in platforms())


def unwrapped(text: str) -> str:
    return text.replace("\n# ", " ")


def test_an_unknown_platform_is_told_with_the_nearest() -> None:
    with pytest.raises(PlatformError, match="magneto"):
        starter_text("magneto")
    done = CliRunner().invoke(app, ["rules", "starter", "--platform", "magneto"])
    assert done.exit_code != 0
    assert "magento" in done.output


def test_what_is_printed_can_be_set(tmp_path: Path) -> None:
    config = tmp_path / "clew.toml"
    config.write_text(
        f'secret = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"\nstore = "sqlite:{tmp_path}/clew.db"\n'
        f'ledger = "sqlite:{tmp_path}/clew.db"\n[[sites]]\nname = "shop"\nhosts = ["shop.test"]\n'
        'upstream = "http://127.0.0.1:8000"\nplatform = "woocommerce"\n'
    )
    runner = CliRunner()
    assert runner.invoke(app, ["migrate", "--config", str(config)]).exit_code == 0
    printed = runner.invoke(app, ["rules", "starter", "--platform", "woocommerce"])
    assert printed.exit_code == 0
    done = runner.invoke(app, ["rules", "set", "--config", str(config)], input=printed.stdout)
    assert done.exit_code == 0, done.output
    assert "21 rules" in done.output
