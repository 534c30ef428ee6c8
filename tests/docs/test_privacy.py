"""docs/privacy.md names every table and cookie that there is, and none that is not."""

import re
from pathlib import Path

from clew.desk.cookies import JOIN, LOGIN, RESET, SESSION, STEP
from clew.referral.consent.cookies import tools
from clew.referral.cookie import NAME
from clew.referral.networks_file import load
from clew.stores.ledger.schema import TABLES
from clew.stores.visits import TABLES as VISIT_TABLES
from clew.templates import consent_script

PAGE = (Path(__file__).parents[2] / "docs/privacy.md").read_text("utf-8")


def first_cells(heading: str) -> set[str]:
    section = PAGE.partition(f"\n### {heading}")[2].partition("\n##")[0]
    rows = re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_every_table_is_listed_and_every_listed_table_exists() -> None:
    assert first_cells("In the ledger") == set(TABLES)
    assert first_cells("In the visit store") == set(VISIT_TABLES)


def test_every_cookie_is_listed_and_every_listed_cookie_exists() -> None:
    of_networks = {cookie.name for network in load().networks.values() for cookie in network.cookies}
    listed = first_cells("On the visitor's device")
    own = {NAME.decode(), SESSION, LOGIN, STEP, JOIN, RESET}
    assert own <= listed
    assert listed - own <= of_networks


def test_every_consent_tool_is_named() -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith("| Cookies of consent tools"))
    names = {tool.name.partition(",")[0].partition(" (")[0].removesuffix("'s own banner") for tool in tools()}
    missing = {name for name in names if name not in row} - {"IAB TCF"}
    assert missing == set()


def test_the_script_watches_the_cookies_of_every_consent_tool() -> None:
    pattern = re.search(r"COOKIES=/(\^.*?)/,", consent_script().body.decode())
    assert pattern is not None
    names = {tool.cookie.replace("*", "1") for tool in tools()}
    names |= {tool.decided_by for tool in tools() if tool.decided_by}
    assert [name for name in names if not re.match(pattern[1], f"{name}=x")] == []
    assert not re.match(pattern[1], "session=x")
