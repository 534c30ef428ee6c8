"""`clew connect`: the steps, and what the first webhook said."""

import sys
from pathlib import Path

import httpx2
import pytest
from clew.cli import app
from clew.orders.sources_schema import webhook_sources
from clews import ClewFolder, ClewServe
from hooks import SECRETS, as_json, shopify_order, signed
from processes import Program
from typer.testing import CliRunner

SETTINGS = """
secret = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
[[sites]]
name = "shop"
hosts = ["shop.test"]
upstream = "http://127.0.0.1:9"
"""
HOOK = f'[sites.webhooks.shopify]\nsecret = "{SECRETS["shopify"]}"\n'


@pytest.mark.parametrize("name", sorted(webhook_sources()))
def test_without_a_secret_the_steps_and_the_lines_to_add_are_printed(tmp_path: Path, name: str) -> None:
    config = tmp_path / "clew.toml"
    config.write_text(SETTINGS)
    done = CliRunner().invoke(app, ["connect", name, "--config", str(config)])
    assert done.exit_code == 1
    if "{url}" in str(webhook_sources()[name].connect):
        assert f"https://shop.test/-/clew/hooks/{name}" in done.output
    assert f"[sites.webhooks.{name}]" in done.output


def test_an_unknown_system_names_the_nearest(tmp_path: Path) -> None:
    config = tmp_path / "clew.toml"
    config.write_text(SETTINGS)
    done = CliRunner().invoke(app, ["connect", "shopyfy", "--config", str(config)])
    assert done.exit_code == 1
    assert "shopify" in done.output


def test_it_waits_for_the_first_webhook_and_says_what_it_read(tmp_path: Path) -> None:
    folder = ClewFolder(tmp_path / "clew", SETTINGS + HOOK)
    with ClewServe(folder) as clew:
        command = ["-m", "clew", "connect", "shopify", "--config", str(folder.settings), "--timeout", "60"]
        with Program([sys.executable, *command], environ=folder.environ, cwd=folder.path) as waiting:
            waiting.wait_for_line(lambda line: line.startswith("Waiting"), 30)
            hook = signed("shopify", as_json(shopify_order()), "orders/create")
            wrong = {**hook.headers, "Host": "shop.test", "X-Shopify-Hmac-SHA256": "AAAA"}
            address = f"{clew.address}/-/clew/hooks/shopify"
            assert httpx2.post(address, content=hook.body, headers=wrong).status_code == 401
            waiting.wait_for_line(lambda line: "refused" in line, 30)
            right = {**hook.headers, "Host": "shop.test"}
            assert httpx2.post(address, content=hook.body, headers=right).status_code == 200
            waiting.wait_for_line(lambda line: "NOT FOUND" in line or "visitor" in line, 30)
            text = "\n".join(waiting.lines)
    assert "order    1001" in text
    assert "total    119.00 EUR" in text
    assert "state    paid" in text


def test_it_gives_up_with_what_to_check(tmp_path: Path) -> None:
    folder = ClewFolder(tmp_path / "clew", SETTINGS + HOOK)
    config = str(folder.settings)
    assert CliRunner().invoke(app, ["migrate", "--config", config]).exit_code == 0
    done = CliRunner().invoke(app, ["connect", "shopify", "--config", config, "--timeout", "1"])
    assert done.exit_code == 1
    assert "can reach the address" in done.output
