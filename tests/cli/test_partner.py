"""`clew partner`: links to a partner's pages from the command line."""

import asyncio
import re
from pathlib import Path

import pytest
from clew.cli import app
from clew.service.check import loader
from clew.service.partner_links import PartnerLinks
from clew.stores.ledger.engines import database_at
from typer.testing import CliRunner, Result

HEAD = 'secret = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"\n'
SITE = """
[[sites]]
name = "{name}"
hosts = {hosts}
upstream = "http://127.0.0.1:8000"

[[sites.partners]]
id = "anna"
param = "aff"
postback = "https://partner.example/?c={{click_id}}"
"""


def config_of(folder: Path, *sites: tuple[str, str], more: str = "") -> Path:
    file = folder / "clew.toml"
    stores = f'store = "sqlite:{folder}/clew.db"\nledger = "sqlite:{folder}/clew.db"\n'
    parts = [SITE.format(name=name, hosts=hosts) for name, hosts in sites]
    file.write_text(HEAD + stores + more + "".join(parts))

    async def filled() -> None:
        db = database_at(f"sqlite:{folder}/clew.db")
        await db.open()
        await db.close()

    asyncio.run(filled())
    return file


def run(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["partner", *arguments, "--config", str(config)])


@pytest.mark.parametrize(
    ("hosts", "more", "options", "start"),
    [
        ('["shop.example"]', "", [], "https://shop.example/-/clew/desk/partner/enter?key="),
        ('["*.shop.example", "www.shop.example"]', "", [], "https://www.shop.example/-/clew/desk/"),
        ('["localhost:8080"]', "", [], "http://localhost:8080/-/clew/desk/"),
        ('["*.shop.example"]', "", ["--url", "https://a.test/"], "https://a.test/-/clew/desk/partner/enter"),
        (
            '["shop.example"]',
            'desk_host = "desk.example"\n',
            [],
            "https://desk.example/-/clew/desk/partner/enter?key=",
        ),
    ],
)
def test_a_link_is_made_for_the_host_that_serves_the_desk(
    tmp_path: Path, hosts: str, more: str, options: list[str], start: str
) -> None:
    done = run(config_of(tmp_path, ("shop", hosts), more=more), "link", "anna", *options)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(start), done.stdout


def test_a_link_says_whose_it_is_only_to_clew_and_ends_after_its_days(tmp_path: Path) -> None:
    config = config_of(tmp_path, ("shop", '["shop.example"]'))
    made = run(config, "link", "anna", "--days", "3").stdout
    found = re.search(r"key=([A-Za-z0-9_-]+)", made)
    assert found is not None
    assert "anna" not in made
    settings = loader(config, {}).load().used()
    link = PartnerLinks(settings, "shop").open(found[1])
    assert link is not None
    assert (link.partner, link.generation) == ("anna", 0)
    assert run(config, "revoke", "anna").exit_code == 0
    again = re.search(r"key=([A-Za-z0-9_-]+)", run(config, "link", "anna").stdout)
    assert again is not None
    newer = PartnerLinks(settings, "shop").open(again[1])
    assert newer is not None
    assert newer.generation == 1
    assert 26.9 * 86400 < newer.until - link.until < 27.1 * 86400


def test_a_link_needs_the_site_where_several_have_the_partner(tmp_path: Path) -> None:
    two = (("shop", '["shop.example"]'), ("other", '["other.example"]'))
    config = config_of(tmp_path, *two, more='desk_host = "desk.example"\n')
    unclear = run(config, "link", "anna")
    assert (unclear.exit_code, "--site" in unclear.output) == (1, True)
    done = run(config, "link", "anna", "--site", "other")
    assert done.stdout.startswith("https://desk.example/-/clew/site/other/desk/partner/enter?key=")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["link", "nobody"], "no partner 'nobody'"),
        (["revoke", "nobody"], "no partner 'nobody'"),
        (["link", "anna", "--days", "0"], "days"),
        (["link", "anna", "--days", "401"], "days"),
        (["link", "anna", "--url", "shop.example"], "https://shop.example"),
        (["link", "anna"], "--url"),
    ],
)
def test_what_cannot_be_made_is_said(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = run(config_of(tmp_path, ("shop", '["*.shop.example"]')), *arguments)
    assert done.exit_code != 0
    assert said in done.output
