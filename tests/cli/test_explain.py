"""field G3: `clew explain visitor` with what the desk shows, before and after a browser has shown a page."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from clew.chat.load import Gate
from clew.cli import app
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Change, Page, Touched, Viewed
from clew.stores.ledger.books import Ledger
from clew.stores.visits_sqlite import SqliteVisits
from typer.testing import CliRunner, Result

NOW = 1763860000.0
ONE, OTHER, THIRD = (f"{'a' * 22}{ending}" for ending in ("wxyz", "bxyz", "qrst"))
SETTINGS = """
secret = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
store = "sqlite:visits.db"
ledger = "sqlite:ledger.db"

[[sites]]
name = "shop"
hosts = ["shop.example", "*.shop.example"]
upstream = "http://127.0.0.1:1"

[[sites.partners]]
id = "blog"
param = "ref"
postback = "https://blog.example/?c={click_id}"

[sites.invites]
holdout = 0

[[sites.rules]]
name = "hesitates"
when = ["visit.seconds >= 90", 'page.path == "/cart"', 'touch.click_id != ""', 'page.query["token"] != ""']
action = "invite"
"""
TOUCH = Touch(int(NOW), (Click("", "ref", "blog-0123456789", "blog"),))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "clew.toml"
    path.write_text(SETTINGS, encoding="utf-8")
    return path


@pytest.fixture
def explained(config: Path) -> Callable[..., Result]:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(
            app, ["explain", "visitor", *arguments, "--config", str(config)], env={"COLUMNS": "200"}
        )

    return run


@pytest.fixture
def known(config: Path) -> Callable[..., None]:
    """Make visitors known by what happened to them."""

    async def fill(visitors: dict[str, Sequence[Change]]) -> None:
        visits = SqliteVisits(config.parent / "visits.db", asyncio.Lock())
        await visits.open()
        for visitor, changes in visitors.items():
            await visits.change("shop", visitor, changes, NOW)
        await visits.close()

    return lambda visitors: asyncio.run(fill(visitors))


def test_click_ids_are_shortened_and_no_text_of_the_settings_is_markup(
    config: Path, known: Callable[..., None], explained: Callable[..., Result]
) -> None:
    rule = """
[[sites.rules]]
name = "looks"
when = ['has(touch.click_ids.ref)', 'touch.click_ids.ref != ""']
on = ["visible a[/b]"]
action = "show"
"""
    config.write_text(SETTINGS + rule, encoding="utf-8")
    known({ONE: [Touched(TOUCH), Viewed(Page("view-1", NOW, "https://shop.example/", "Shop"))]})
    shown = explained(ONE, "--url", "/")
    assert shown.exit_code == 0
    assert "waits for a signal of the browser: visible a[/b]" in shown.output
    assert "touch.click_ids.ref = 'blog-0" in shown.output
    assert "blog-0123456789" not in shown.output


def test_before_a_browser_has_shown_a_page_its_visit_is_unknown(
    known: Callable[..., None], explained: Callable[..., Result]
) -> None:
    """field G3"""
    known({ONE: [Touched(TOUCH)]})
    told = explained(ONE, "--url", "/cart").output
    assert "unknown: visit.seconds" in told
    assert "visit.seconds = " not in told


def test_a_path_is_completed_and_a_visit_has_its_seconds(
    known: Callable[..., None], explained: Callable[..., Result]
) -> None:
    """field G3, C6"""
    known({ONE: [Touched(TOUCH), Viewed(Page("view-1", NOW, "https://shop.example/"))]})
    told = explained(ONE, "--url", "/cart?token=SECRET").output
    assert "true  page.path" in told
    assert "visit.seconds = " in told
    assert "touch.click_id = 'blog-0…'" in told
    assert "SECRET" not in told


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://other.example/cart", "other.example is the host of no site; known are shop.example"),
        ("cart", 'is no address; write for example "/cart"'),
        ("//other.example/cart", "is no address"),
        ("ftp://shop.example/", "is no address"),
    ],
)
def test_an_address_of_another_shop_is_refused(
    known: Callable[..., None], explained: Callable[..., Result], url: str, why: str
) -> None:
    """field G3"""
    known({ONE: [Touched(TOUCH)]})
    result = explained(ONE, "--url", url)
    assert result.exit_code == 1
    assert why in result.output


@pytest.mark.parametrize("url", ["https://shop.example/cart", "http://www.shop.example/cart?x=1", "/cart"])
def test_addresses_of_the_shop_are_taken(
    known: Callable[..., None], explained: Callable[..., Result], url: str
) -> None:
    """field G3"""
    known({ONE: [Touched(TOUCH)]})
    result = explained(ONE, "--url", url)
    assert (result.exit_code, "true  page.path" in result.output) == (0, True)


def test_the_desks_short_id_is_enough_where_it_is_one_visitors(
    known: Callable[..., None], explained: Callable[..., Result]
) -> None:
    """field G3"""
    known({visitor: [Touched(TOUCH)] for visitor in (ONE, OTHER, THIRD)})
    assert explained("QRST", "--url", "/cart").exit_code == 0
    assert explained("wxyz", "--url", "/cart").exit_code == 0
    several = explained("XYZ", "--url", "/cart")
    assert several.exit_code == 1
    for visitor in (ONE, OTHER):
        assert visitor in several.output
    assert "no visitor 'nope' is known at shop" in explained("nope", "--url", "/cart").output
    assert explained("%", "--url", "/cart").exit_code == 1


def test_a_visitor_on_its_first_page_is_explained_by_its_id_alone(
    known: Callable[..., None], explained: Callable[..., Result]
) -> None:
    known({ONE: [Touched(TOUCH)]})
    new = explained("b" * 26, "--url", "/cart")
    assert new.exit_code == 0
    assert "Nothing is stored of this visitor" in new.output
    assert "hold-out of" in new.output
    assert "false visit.seconds >= 90" in new.output
    assert "true  visit.seconds >= 90" in explained("b" * 26, "--url", "/cart", "--seconds", "95").output
    assert "Nothing is stored" not in explained(ONE, "--url", "/cart").output
    assert explained("!" * 26, "--url", "/cart").exit_code == 1


def test_it_says_how_busy_the_agents_are_and_since_when(
    config: Path, known: Callable[..., None], explained: Callable[..., Result]
) -> None:
    """seed E8: the gate is the ledger's, so that this process shows what the others have."""
    known({ONE: [Viewed(Page("view-0001", NOW, "https://shop.example/", "Shop"), "en")]})
    assert "Agents: nobody is there, so agents.busy is true\n" in explained(ONE, "--url", "/cart").output
    now = time.time()

    async def fill() -> None:
        ledger = Ledger(f"sqlite:{config.parent / 'ledger.db'}")
        await ledger.db.open()
        await ledger.agents.add("anna", "correct horse battery", site=None, now=now)
        await ledger.agents.seen("anna", now + 5)
        for visitor in (ONE, OTHER):
            given = {"client_id": "widget-id-1", "language": "en", "rule": None, "now": now}
            await ledger.conversations.add_visitor_message("shop", visitor, "hello", **given)
        await ledger.load.flip("shop", Gate(), NOW, "3/3")
        await ledger.db.close()

    asyncio.run(fill())
    told = explained(ONE, "--url", "/cart").output
    taken = "Agents: 2 of 3 places taken, load 0.67, 2 in the queue; "
    assert f"{taken}busy since 2025-11-23 01:06:40 UTC (free below 0.8)\n" in told
