"""What the documents say of networks and shop systems is held against the program."""

import re
from collections.abc import Iterator
from pathlib import Path

from clew.postbacks.network_call import chosen
from clew.postbacks.render import missing_settings
from clew.referral.catalogue import Network
from clew.referral.networks_file import load
from clew.settings.model import Partner
from clew.settings.platforms import platforms

ROOT = Path(__file__).parents[2]
NETWORKS = load().networks


def called(network: Network) -> bool:
    """Whether clew can call it, once its settings are there."""
    call = chosen(Partner(id="p", network=network.id), network)
    return call is not None and not call.needs


def rows() -> Iterator[str]:
    for network in NETWORKS.values():
        partner = Partner(id="p", network=network.id)
        call = chosen(partner, network)
        if call is None:
            state = "no: it accepts no reports from servers"
        elif call.needs:
            state = f"not yet: needs {', '.join(sorted(call.needs))}"
        else:
            state = "yes"
        needed = ", ".join(f"`{key}`" for key in missing_settings(partner, network)) if call else ""
        params = [f"`{param.name}`" for param in network.landing_params]
        own = ["your own `param`"] if network.own_param else []
        cells = (f"`{network.id}`", network.name, state, needed or "–", ", ".join([*params, *own]) or "–")
        yield f"| {' | '.join(cells)} |"


def test_the_table_of_networks_is_the_catalogues() -> None:
    text = (ROOT / "docs" / "networks.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `.*$", text, re.MULTILINE)[1:] == list(rows())


def test_documented_numbers_match_the_program() -> None:
    number = sum(map(called, NETWORKS.values()))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"{len(NETWORKS)} networks and ad platforms" in readme
    assert f"{number} of the catalogue's networks" in readme
    assert f"{number} of {len(NETWORKS)}" in (ROOT / "docs" / "networks.md").read_text(encoding="utf-8")


def test_each_platform_documents_where_to_enable_the_visitors_address() -> None:
    """field C9"""
    text = (ROOT / "docs" / "client-address.md").read_text(encoding="utf-8")
    told = [line.split("|")[1].lower() for line in text.splitlines() if line.startswith("| ")]
    assert [name for name in platforms() if not any(name in row for row in told)] == []
    for header in ("X-Forwarded-For", "X-Real-IP", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded"):
        assert f"| `{header}` |" in text
