import tomllib
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest
from clew.service.check import check
from clew.settings.load import Problem
from clew.settings.platforms import platforms
from clew.survey.draft import Proposal, draft
from clew.survey.proposals import CartFound, Found
from clew.survey.signs import Named

TODAY = date(2026, 11, 23)


def written(**given: object) -> str:
    values = {"address": "https://www.shop.example/", "names": ("www.shop.example", "shop.example"), **given}
    return draft(Proposal(**values), TODAY)  # type: ignore[arg-type]


def beside_the_upstream(problems: Sequence[Problem]) -> list[Problem]:
    """What is wrong besides the shop's public address as `upstream`: all that is known of it from outside.
    `check` warns of it, since that name will lead to clew."""
    upstream = [p for p in problems if p.key == "sites[0].upstream" and p.severity == "warning"]
    assert len(upstream) == 1
    return [p for p in problems if p not in upstream]


@pytest.mark.parametrize("platform", [None, *platforms()])
@pytest.mark.parametrize("certainty", ["certain", "a guess"])
def test_every_proposal_is_valid_settings(platform: str | None, certainty: str, tmp_path: Path) -> None:
    named = Named(platform, certainty, ("cookie x",)) if platform else None  # type: ignore[arg-type]
    file = tmp_path / "clew.toml"
    file.write_text(
        written(named=named, preset=platforms().get(platform or ""), networks=("awin",)), encoding="utf-8"
    )
    settings, problems = check(
        file, {"CLEW_SECRET": "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"}, need_upstream=True
    )
    assert beside_the_upstream(problems) == []
    assert settings is not None
    site = settings.sites[0]
    assert (site.name, site.hosts) == ("shop.example", ["www.shop.example", "shop.example"])
    assert site.platform == (platform if certainty == "certain" else None)


@pytest.mark.parametrize("platform", [None, *platforms()])
def test_every_commented_line_is_valid_when_enabled(platform: str | None, tmp_path: Path) -> None:
    named = Named(platform, "certain", ()) if platform else None
    lines = written(named=named).splitlines()
    keys = (
        "# page =",
        "# id =",
        "# total =",
        "# currency =",
        "# param =",
        "# postback =",
        "# [",
        "# value =",
    )
    lines += ["# api_token = 'xxxxxxxxxxxxxxxxxxxx'"]
    text = "\n".join(line.removeprefix("# ") if line.startswith(keys) else line for line in lines)
    file = tmp_path / "clew.toml"
    file.write_text(text, encoding="utf-8")
    problems = check(file, {"CLEW_SECRET": "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"})[1]
    assert beside_the_upstream(problems) == []


def test_the_file_is_short() -> None:
    on = [line for line in written().splitlines() if line and not line.startswith("#")]
    assert len(on) == 5


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8000/", "http://localhost:8000/", "http://[::1]:8000/"]
)
def test_a_private_address_is_no_name_for_visitors(address: str) -> None:
    name = address.removeprefix("http://").removesuffix("/")
    data = tomllib.loads(written(address=address, names=(name,)))
    assert "hosts" not in data["sites"][0]
    assert data["sites"][0]["upstream"] == address.removesuffix("/")


def test_found_selectors_are_written_with_the_values_they_read() -> None:
    cart = CartFound(Found("#cart b", "12,00 €", 3), None)
    text = written(cart=cart, page_types={"/w/*": "product"}, language="fi")
    site = tomllib.loads(text)["sites"][0]
    assert (site["cart"], site["page_types"], site["language"]) == (
        {"value": "#cart b"},
        {"/w/*": "product"},
        "fi",
    )
    assert "reads '12,00 €' on 3 pages" in text


def test_a_shop_with_a_consent_tool_gets_the_mode_ask(tmp_path: Path) -> None:
    file = tmp_path / "clew.toml"
    file.write_text(written(consents=("Cookiebot", "Klaro")), encoding="utf-8")
    environ = {"CLEW_SECRET": "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"}
    settings, _ = check(file, environ, need_upstream=True)
    assert settings is not None
    assert settings.sites[0].consent.mode == "ask"
    assert "sites.consent" not in written()


def test_no_text_of_a_shop_leaves_its_line() -> None:
    cart = CartFound(Found('a[title="x\n"]', "1 €\n[[sites]]\u2028x", 1))
    text = written(cart=cart, names=("shop.example", 'x"\nsecret = "y'), language="de\n")
    data = tomllib.loads(text)
    assert len(data["sites"]) == 1
    assert data["sites"][0]["hosts"] == ["shop.example"]
    assert data["sites"][0]["cart"] == {"value": 'a[title="x\n"]'}
    assert data["secret"] == "env:CLEW_SECRET"


def test_for_a_platform_that_shows_no_order_no_selectors_are_proposed() -> None:
    """field C8"""
    named = Named("opencart", "certain", ())
    text = written(named=named, preset=platforms()["opencart"])
    assert "thank-you" not in text
    assert "# [sites.order]" not in text
    assert "POST orders" in text
    assert "# [sites.order]" in written()


def test_a_platform_with_webhooks_gets_the_lines_for_them() -> None:
    text = written(named=Named("opencart", "certain", ()), preset=platforms()["opencart"])
    assert "clew connect opencart" in text
    lines = text.split("clew connect opencart\n")[1].split("\n\n")[0].replace("# ", "")
    assert tomllib.loads(lines) == {
        "sites": {
            "webhooks": {"opencart": {"secret": "env:CLEW_OPENCART_SECRET"}},
            "carry": {"header": True},
        }
    }
