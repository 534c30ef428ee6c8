import re
import socket
from pathlib import Path

import pytest
import typer
from clew.cli import app
from clew.cli.check import load_or_exit
from small_shops import SmallShop, html
from typer.testing import CliRunner

GOOD = 'secret = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"\n[[sites]]\nname = "shop"\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "clew.toml"


def test_a_valid_file_is_summarised_with_exit_status_0(config: Path) -> None:
    config.write_text(GOOD)
    result = CliRunner().invoke(app, ["check", "--config", str(config)])
    assert result.exit_code == 0
    assert f"{config} is in order: 1 site" in result.output
    assert "shop: every other host → no upstream" in result.output
    assert "0 partners, 0 rules" in result.output


def test_check_says_that_webhooks_report_the_orders(config: Path) -> None:
    config.write_text(GOOD + "[sites.webhooks.opencart]\nsecret = 'mZc4JpYb8NfHsD3gA6v'\n")
    output = CliRunner().invoke(app, ["check", "--config", str(config)]).output
    assert "orders: reported by the webhooks of opencart\n" in output


def test_check_says_how_it_hears_of_another_companys_chat(config: Path) -> None:
    crisp = '[sites.chat]\nprovider = "crisp"\nids.website_id = "5f9d3b0c-8a7e-4d5c-9b3a-29181706f5e4"\n'
    drift = '[sites.chat]\nprovider = "drift"\nload = "page"\nids.embed_id = "abc123def456"\n'
    secret = 'secret = "kT9vQ2xLrW7mZc4JpYb8"\n'
    for more, told in (
        (crisp, "chat: Crisp, loaded when the visitor opens it; no webhooks yet, so only pages tell of"),
        (
            crisp + secret,
            "chat: Crisp, loaded when the visitor opens it; conversations come by its webhooks\n",
        ),
        (drift, "chat: Drift, loaded with each page; it has no webhooks that clew knows"),
    ):
        config.write_text(GOOD + more)
        assert told in CliRunner().invoke(app, ["check", "--config", str(config)]).output
    config.write_text(GOOD)
    assert "chat:" not in CliRunner().invoke(app, ["check", "--config", str(config)]).output


def test_check_explains_the_consent_mode(config: Path) -> None:
    config.write_text(GOOD)
    assumed = CliRunner().invoke(app, ["check", "--config", str(config)]).output
    assert "consent: not asked for: visitors are recognised and get cookies from the landing on" in assumed
    config.write_text(GOOD + '[sites.consent]\nmode = "ask"\n')
    asked = CliRunner().invoke(app, ["check", "--config", str(config)]).output
    assert "consent: by what visitors choose in a consent tool; until then nothing is stored" in asked


def test_check_prints_the_notes_of_a_platform(config: Path) -> None:
    config.write_text(GOOD + 'platform = "opencart"\n')
    result = CliRunner().invoke(app, ["check", "--config", str(config)])
    assert result.exit_code == 0
    assert "opencart: The confirmation page shows neither number nor total of the order" in result.output
    assert "POST orders" in result.output


def test_every_error_is_printed_on_its_own_line_and_it_ends_with_1(config: Path) -> None:
    config.write_text(
        GOOD + 'hosst = ["[red]"]\n[[sites.rules]]\nname = "r"\naction = "hide"\nwhen = ["cart.val > 1"]\n'
    )
    result = CliRunner().invoke(app, ["check", "-c", str(config)])
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        f"{config}:4 sites[0].hosst: unknown key → did you mean hosts?",
        f"{config}:8 sites[0].rules[0].when[0]: column 1: unknown fact `cart.val` → did you mean cart.value?",
        "2 errors",
    ]


def test_other_commands_print_the_same_errors_to_stderr(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(GOOD)
    assert load_or_exit(config).sites[0].name == "shop"
    with pytest.raises(typer.Exit) as caught:
        load_or_exit(config, need_upstream=True)
    assert caught.value.exit_code == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"{config}:2 sites[0].upstream: is missing")


def test_warnings_are_printed_and_it_ends_with_0(config: Path) -> None:
    """field G4"""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        config.write_text(
            GOOD + f'upstream = "http://127.0.0.1:{port}"\nplatform = "opencart"\n'
            '[sites.order]\npage = "/index.php"\n'
            '[[sites.partners]]\nid = "a"\nparam = "ref"\npostback = "http://blog.example/{click_id}"\n'
        )
        result = CliRunner().invoke(app, ["check", "--config", str(config)])
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0].startswith(f"{config}:7 sites[0].order.page: warning: matches pages of other kinds too")
    assert lines[1].startswith(f"{config}:11 sites[0].partners[0].postback: warning: is called without")
    assert f"{config}:4 sites[0].upstream: warning: cannot be reached" in result.output
    assert f"{config} can be used, with 3 warnings: 1 site" in result.output


def test_check_prints_what_a_partners_address_lacks(config: Path) -> None:
    rest = '[[sites.partners]]\nid = "a"\nparam = "ref"\npostback = "https://blog.example/?o={order_id}&s={amount}"\n'
    config.write_text(GOOD + rest)
    result = CliRunner().invoke(app, ["check", "--config", str(config)])
    assert "a: its address does not contain {click_id}, {currency}" in result.output


def test_the_known_pages_that_a_pattern_fits_are_shown(config: Path) -> None:
    """field C1"""
    config.write_text(
        GOOD + 'platform = "opencart"\n[sites.order]\npage = "/index.php?route=checkout/success"\n'
    )
    result = CliRunner().invoke(app, ["check", "--config", str(config)])
    page = re.escape("/index.php?route=checkout/success")
    told = rf"order\.page {page} matches 1 of \d+ known pages: {page}&language=en-gb \(confirmation\)"
    assert re.search(told, result.output)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("advertiser_id = '1', api_key = 'k'", "awin: Awin is called by conversion_api"),
        ("advertiser_id = '1'", "awin: Awin is called by s2s_get; conversion_api would need api_key"),
    ],
)
def test_check_prints_which_call_of_a_network_is_made(config: Path, settings: str, told: str) -> None:
    """field G21: without `api_key` Awin gets its other call, and check did not say so"""
    partner = f"[[sites.partners]]\nid = 'awin'\nnetwork = 'awin'\nsettings = {{ {settings} }}\n"
    config.write_text(GOOD + partner)
    result = CliRunner().invoke(app, ["check", "--config", str(config)])
    assert result.exit_code == 0, result.output
    lines = [line.strip() for line in result.output.splitlines()]
    assert told in lines
    needs = "Awin (validate_amend) needs settings.access_token"
    assert f"awin: changes are held for a person: {needs}" in lines
    needs = "Awin (validate_decline) needs settings.access_token"
    assert f"awin: cancellations are held for a person: {needs}; its entry is verified" in lines


def test_check_prints_how_corrections_reach_a_network(config: Path) -> None:
    partner = "[[sites.partners]]\nid = 'awin'\nnetwork = 'awin'\n"
    settings = "settings = { advertiser_id = '1', api_key = 'k', access_token = 't' }\n"
    config.write_text(GOOD + partner + settings)
    output = CliRunner().invoke(app, ["check", "--config", str(config)]).output
    assert "awin: changes are reported by validate_amend" in output
    assert "awin: cancellations are reported by validate_decline; its entry is verified" in output


@pytest.mark.parametrize(
    ("network", "why"),
    [
        ("rewardful", "Rewardful accepts no reports from servers: Rewardful reads sales from Stripe"),
        ("partnerstack", "PartnerStack needs authentication, customer_id with each order"),
        ("tolt", "Tolt needs customer_id with each order"),
    ],
)
def test_check_says_why_a_network_gets_no_orders(config: Path, network: str, why: str) -> None:
    config.write_text(f"{GOOD}[[sites.partners]]\nid = 'p'\nnetwork = '{network}'\n")
    result = CliRunner().invoke(app, ["check", "--config", str(config)])
    assert result.exit_code == 1
    assert why in " ".join(result.output.split())


def test_what_a_home_pages_policies_forbid_of_the_chat_is_named(tmp_path: Path) -> None:
    meta = """<meta http-equiv="Content-Security-Policy" content="frame-src 'none'">"""
    page = html("Tea", meta, ("Content-Security-Policy", "script-src 'self'"))
    config = tmp_path / "clew.toml"
    with SmallShop({"/": page}) as shop:
        for csp, count in (("report", 2), ("extend", 0)):
            config.write_text(
                f"""
secret = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
[[sites]]
name = "shop"
upstream = "{shop.address}"
[sites.chat]
provider = "crisp"
ids.website_id = "5f9d3b0c-8a7e-4d5c-9b3a-29181706f5e4"
csp = "{csp}"
"""
            )
            done = CliRunner().invoke(app, ["check", "--config", str(config)])
            assert done.exit_code == 0, done.output
            assert done.output.count("the policy of the home page") == count
            if count:
                assert "(script-src) forbids https://client.crisp.chat" in done.output
                assert "(frame-src) forbids https://game.crisp.chat" in done.output
