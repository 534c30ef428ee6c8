"""`clew connect`: the steps, and what the first webhook said."""

import time
from pathlib import Path

import httpx2
import pytest
from clew.chat.providers import providers
from clew.cli import app
from clew.orders.sources_schema import webhook_sources
from clews import ClewFolder, ClewProgram, ClewServe
from hooks import SECRETS, as_json, shopify_order, signed
from provider_hooks import SECRETS as CHATS
from provider_hooks import talk
from typer.testing import CliRunner
from vendors import VENDORS

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


@pytest.mark.parametrize("name", ["shopify", "crisp"])
@pytest.mark.parametrize(
    ("host", "more", "start"),
    [
        ("localhost:8080", [], "http://localhost:8080/-/clew/hooks/"),
        ("shop.test", ["--url", "http://shop.test:8080"], "http://shop.test:8080/-/clew/hooks/"),
        ("shop.test", ["--url", "shop.test"], "is no scheme and host"),
    ],
)
def test_the_address_is_the_one_at_which_the_shop_is_reached(
    tmp_path: Path, name: str, host: str, more: list[str], start: str
) -> None:
    config = tmp_path / "clew.toml"
    config.write_text(SETTINGS.replace("shop.test", host))
    done = CliRunner().invoke(app, ["connect", name, "--config", str(config), *more], env={"COLUMNS": "200"})
    assert start in done.output
    assert "https://" + host not in done.output


def test_an_unknown_system_names_the_nearest(tmp_path: Path) -> None:
    config = tmp_path / "clew.toml"
    config.write_text(SETTINGS)
    done = CliRunner().invoke(app, ["connect", "shopyfy", "--config", str(config)])
    assert done.exit_code == 1
    assert "shopify" in done.output


def test_it_waits_for_the_first_webhook_and_says_what_it_read(tmp_path: Path) -> None:
    folder = ClewFolder(tmp_path / "clew", SETTINGS + HOOK)
    with ClewServe(folder) as clew:
        command = ["connect", "shopify", "--config", str(folder.settings), "--timeout", "60"]
        with ClewProgram(command, environ=folder.environ, cwd=folder.path) as waiting:
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
    began = time.monotonic()
    done = CliRunner().invoke(app, ["connect", "shopify", "--config", config, "--timeout", "1"])
    assert time.monotonic() - began < 20
    assert done.exit_code == 1
    assert "can reach the address" in done.output


CHAT = f"""
[sites.chat]
provider = "crisp"
ids.website_id = "{VENDORS["crisp"].ids["website_id"]}"
secret = "{CHATS["crisp"]}"
"""


@pytest.mark.parametrize("name", sorted(name for name, one in providers().items() if one.webhook))
def test_each_chat_has_its_steps_and_the_lines_to_add(tmp_path: Path, name: str) -> None:
    config = tmp_path / "clew.toml"
    config.write_text(SETTINGS)
    done = CliRunner().invoke(app, ["connect", name, "--config", str(config)])
    assert done.exit_code == 1
    assert f"https://shop.test/-/clew/hooks/{name}" in done.output
    assert f'[sites.chat]\nprovider = "{name}"' in done.output


def test_who_is_there_is_asked_of_an_api_with_a_token_that_the_steps_describe(tmp_path: Path) -> None:
    config = tmp_path / "clew.toml"

    def steps(name: str, more: str = "") -> str:
        config.write_text(SETTINGS + more)
        return CliRunner().invoke(app, ["connect", name, "--config", str(config), "--timeout", "0"]).output

    said = steps("chatwoot")
    assert "`presence_token`" in said
    assert "the access token in the profile of an agent" in said
    assert 'ids.account_id = "…"' in said
    assert "`presence_token`" not in steps("jivochat")
    assert "`presence_token`" in steps("crisp", CHAT)
    assert "`presence_token`" not in steps("crisp", f'{CHAT}presence_token = "name:key"\n')


def test_a_chat_that_is_in_the_settings_lacks_its_secret_alone(tmp_path: Path) -> None:
    config = tmp_path / "clew.toml"
    config.write_text(SETTINGS + "".join(line for line in CHAT.splitlines(True) if "secret" not in line))
    done = CliRunner().invoke(app, ["connect", "crisp", "--config", str(config)])
    _, _, lines = done.output.partition("Add to [sites.chat] of the site shop in the settings:")
    assert lines.strip().startswith("secret = ")
    assert "[sites.chat]" not in lines
    config.write_text(config.read_text() + lines.strip().splitlines()[0] + "\n")
    assert (
        CliRunner().invoke(app, ["connect", "crisp", "--config", str(config), "--timeout", "0"]).exit_code
        == 0
    )


def test_a_chat_without_webhooks_says_so(tmp_path: Path) -> None:
    config = tmp_path / "clew.toml"
    config.write_text(SETTINGS)
    done = CliRunner().invoke(app, ["connect", "drift", "--config", str(config)])
    assert done.exit_code == 1
    assert "no webhooks of Drift are known" in done.output


def test_it_waits_for_the_first_word_of_a_chat_and_says_what_it_understood(tmp_path: Path) -> None:
    folder = ClewFolder(tmp_path / "clew", SETTINGS + CHAT)
    with ClewServe(folder) as clew:
        command = ["connect", "crisp", "--config", str(folder.settings), "--timeout", "60"]
        with ClewProgram(command, environ=folder.environ, cwd=folder.path) as waiting:
            waiting.wait_for_line(lambda line: line.startswith("Waiting"), 30)
            hook = talk("crisp", "", "Hi", time.time())[2]
            address = f"{clew.address}/-/clew/hooks/{hook.path}"
            wrong = {**hook.headers, "Host": "shop.test", "X-Crisp-Signature": "00"}
            assert httpx2.post(address, content=hook.body, headers=wrong).status_code == 401
            waiting.wait_for_line(lambda line: "refused" in line, 30)
            right = {**hook.headers, "Host": "shop.test"}
            assert httpx2.post(address, content=hook.body, headers=right).status_code == 200
            waiting.wait_for_line(lambda line: "visitor" in line, 30)
            text = "\n".join(waiting.lines)
    assert "talk     session_1" in text
    assert "agent    crisp:Ann" in text
    assert "NOT KNOWN yet" in text
