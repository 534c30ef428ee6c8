"""`clew init` and `clew schema`: a settings file to start with, and help for the editor."""

import json
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clew.cli import app
from clew.cli.schema import schema
from clew.service.check import check
from clew.settings.model import Model, Settings
from typer.testing import CliRunner, Result

ANSWERS = [
    "shop.example:8080",
    "http://127.0.0.1:3000",
    "opencart",
    "partner",
    "https://p.example/?c={click_id}",
]
OPTIONS = ["--host", "--upstream", "--platform", "--param", "--postback"]


def asked(file: Path, *options: str, typed: str = "") -> Result:
    return CliRunner().invoke(app, ["init", "--output", str(file), *options], input=typed)


@pytest.mark.parametrize("typed", [True, False], ids=["field G6: typed", "field G6: by options"])
def test_five_answers_make_a_valid_file(tmp_path: Path, typed: bool) -> None:
    file = tmp_path / "clew.toml"
    options = [] if typed else [x for pair in zip(OPTIONS, ANSWERS, strict=True) for x in pair]
    result = asked(file, *options, typed="\n".join([*ANSWERS, ""]) if typed else "")
    assert result.exit_code == 0, result.output
    assert result.output.count("[") == (4 if typed else 0) or "clew check" in result.output
    settings, problems = check(file, {}, need_upstream=True)
    assert [p for p in problems if p.severity == "error"] == []
    assert settings is not None
    site = settings.sites[0]
    assert (site.hosts, site.upstream, site.platform) == (ANSWERS[:1], ANSWERS[1], ANSWERS[2])
    assert (site.partners[0].param, site.partners[0].postback) == (ANSWERS[3], ANSWERS[4])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("platform", "said"),
    [
        ("opencart", "orders: reported by POST orders"),
        ("woocommerce", "orders: read on */order-received/*"),
        ("none", "orders: none comes in by itself: set [sites.order], or api_token"),
    ],
)
def test_the_file_explains_how_orders_are_received(tmp_path: Path, platform: str, said: str) -> None:
    """With OpenCart, Shopify and others the file was "in order", and no order could ever come in."""
    file = tmp_path / "clew.toml"
    assert asked(file, "--platform", platform, typed="\n" * 5).exit_code == 0
    result = CliRunner().invoke(app, ["check", "--config", str(file)], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert said in result.output
    assert "let your server call POST orders" not in result.output
    commented = file.read_text().replace("# order = {", "order = {")
    file.write_text(commented)
    result = CliRunner().invoke(app, ["check", "--config", str(file)], env={"COLUMNS": "200"})
    assert "orders: none" not in result.output


def test_suggested_settings_are_valid(tmp_path: Path) -> None:
    """field G6"""
    file = tmp_path / "clew.toml"
    assert asked(file, typed="\n" * 5).exit_code == 0
    assert check(file, {}, need_upstream=True)[0] is not None
    again = tmp_path / "again.toml"
    asked(again, typed="\n" * 5)
    secrets = {tomllib.loads(f.read_text())["secret"] for f in (file, again)}
    assert len(secrets) == 2, "no two shops have the same secret"


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    """field G6"""
    file = tmp_path / "clew.toml"
    file.write_text("mine")
    result = asked(file, typed="\n" * 5)
    assert (result.exit_code, file.read_text()) == (1, "mine")
    assert "exists already" in result.output


@pytest.mark.parametrize(
    ("option", "value"),
    [("--host", "no host"), ("--upstream", "shop"), ("--platform", "opncart"), ("--postback", 'x"y')],
)
def test_a_wrong_answer_is_reported_and_nothing_is_written(tmp_path: Path, option: str, value: str) -> None:
    """field G6"""
    file = tmp_path / "clew.toml"
    result = asked(file, option, value, typed="\n" * 5)
    assert (result.exit_code, file.exists()) == (1, False)
    assert "nothing was written" in result.output


def test_without_an_answer_it_does_not_hang(tmp_path: Path) -> None:
    """field G6"""
    result = asked(tmp_path / "clew.toml", typed="")
    assert (result.exit_code, (tmp_path / "clew.toml").exists()) == (1, False)


def keys(model: type[Model], table: dict[str, Any]) -> None:
    assert set(table["properties"]) == set(model.model_fields)
    assert table["additionalProperties"] is False


def models(base: type[Model]) -> Iterator[type[Model]]:
    for model in base.__subclasses__():
        yield model
        yield from models(model)


def test_the_schema_knows_every_key_and_no_other() -> None:
    """field G6"""
    printed = CliRunner().invoke(app, ["schema"])
    assert printed.exit_code == 0
    found = json.loads(printed.output)
    assert found == schema()
    keys(Settings, found)
    by_name = {m.__name__: m for m in models(Model)}
    tables = {name: table for name, table in found["$defs"].items() if name in by_name}
    assert {"Site", "Partner", "Rule", "Order", "Delivery"} <= set(tables)
    for name, table in tables.items():
        keys(by_name[name], table)


def test_the_schema_allows_a_variable_of_the_environment_anywhere() -> None:
    """field G6: `env:NAME` may replace numbers and booleans too"""
    debug = schema()["$defs"]["Site"]["properties"]["debug"]
    assert [entry["type"] for entry in debug["anyOf"]] == ["boolean", "string"]
    assert debug["default"] is False
