"""Page views that a running clew records, and rules that are tried on them: through the whole mount."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from clew.cli import app as commands
from clew.middleware.asgi.mount import ClewMiddleware
from clew.service.recorded_facts import LEFT_OUT
from clew.service.rule_trials import RuleTrials, Tried
from clew.service.traffic import OF_CLIENT
from clew.settings.model import Rule
from clew.stores.ledger.forgetting import Person
from clew.stores.ledger.traffic import Recorded
from starlette.applications import Starlette
from structlog.testing import capture_logs
from typer.testing import CliRunner

NOW = 1_796_000_000.0
DAY = 86400.0
TOP = """
secret = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
store = "sqlite:{folder}/clew.db"
ledger = "{ledger}"
[[sites]]
name = "shop"
hosts = ["shop.example"]
upstream = "http://127.0.0.1:1"
keep_query = ["size"]
page_types = {{ "/cart" = "cart", "/p/*" = "product" }}
{site}
[[sites.partners]]
id = "anna"
param = "aff"
postback = "https://partner.test/?c={{click_id}}"
[[sites.rules]]
name = "in-force"
when = ["customer.group == 'nobody'"]
action = "hide"
[sites.facts."customer.group"]
header = "x-name"
[sites.traffic]
share = {share}
per_hour = {per_hour}
"""
DRAFT = """
[[rules]]
name = "cart"
when = ["page.type == 'cart'"]
wait_page = "20s"
action = "invite"

[[rules]]
name = "mug"
when = ["page.path == '/p/mug'", "page.query.size == 'XL'"]
action = "show"
"""


class Shop:
    """A shop behind the mount, with a clock that the test sets."""

    def __init__(
        self, folder: Path, ledger: str, site: str = "", share: float = 100, per_hour: int = 10_000
    ) -> None:
        self.file = folder / "clew.toml"
        self.file.write_text(
            TOP.format(folder=folder, ledger=ledger, site=site, share=share, per_hour=per_hour)
        )
        self.clew = ClewMiddleware(Starlette(), self.file)
        self.service = self.clew.service
        self.now = NOW
        self.views = 0
        self.service.clock.now = lambda: self.now  # type: ignore[method-assign]

    def browser(self, address: str = "192.0.2.7", **headers: str) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(self.clew, client=(address, 1))
        base = "https://shop.example/-/clew/"
        return httpx2.AsyncClient(transport=transport, base_url=base, headers=headers)

    async def ask(self, browser: httpx2.AsyncClient, page: str, view: str = "", **more: Any) -> str:
        """One page view; its id."""
        self.views += 1
        view = view or f"{self.views:08}-view"
        body = {"view": view, "url": f"https://shop.example{page}", "title": "T", **more}
        assert (await browser.post("decide", json=body)).status_code == 200
        return view

    async def rows(self) -> list[Recorded]:
        await self.service.traffic.write()
        return [*await self.service.ledger.traffic.read("shop", 0.0, 10_000)]

    async def visit(self, *pages: tuple[str, int], address: str = "192.0.2.7") -> None:
        """A new visitor looks at pages, each for so many seconds."""
        async with self.browser(address) as browser:
            for page, seconds in pages:
                await self.ask(browser, page)
                self.now += seconds

    async def tried(self) -> Tried:
        rules = [
            Rule(name="cart", when=["page.type == 'cart'"], wait_page="20s", action="invite"),
            Rule(name="mug", when=["page.path == '/p/mug'", "page.query.size == 'XL'"], action="show"),
        ]
        found = self.service.sites.settings_of("shop")
        assert found is not None
        return await RuleTrials(self.service.ledger).attempt(found, rules, self.now, 14)


@pytest_asyncio.fixture
async def make(tmp_path: Path) -> AsyncIterator[Any]:
    made: list[Shop] = []

    async def make(ledger: str = f"sqlite:{tmp_path}/clew.db", **more: Any) -> Shop:
        made.append(Shop(tmp_path, ledger, **more))
        await made[-1].service.open()
        made[-1].clew.startup.started = True
        return made[-1]

    yield make
    for shop in made:
        await shop.service.close()


async def test_rules_are_tried_on_what_visitors_really_did(make: Any) -> None:
    shop = await make()
    for _ in range(3):
        await shop.visit(("/p/mug?size=XL", 30), ("/cart", 25), ("/", 5))
        shop.now += 3600
    for _ in range(2):
        await shop.visit(("/p/mug?size=S", 8), ("/cart", 10), ("/cart", 5))
        shop.now += 3600
    rows = await shop.rows()
    assert (len(rows), len({row.visitor for row in rows}), {row.weight for row in rows}) == (15, 5, {1.0})
    shop.now = NOW + 2 * DAY
    found = await shop.tried()
    assert (found.recorded, found.measured, found.run.page_views) == (15, False, 7.5)
    cart, mug = sorted(found.run.trials, key=lambda one: one.rule)
    # Three carts were shown for 25 seconds; of the last page of a visit nobody knows.
    assert (cart.matches, cart.visits, cart.wins, cart.blocking) == (1.5, 1.5, 1.5, 0)
    assert cart.blocking_share == pytest.approx(8 / 12)
    assert cart.conversations == pytest.approx(1.5 * 0.95 * 0.05)
    assert (mug.matches, mug.blocking_share, mug.too_slow) == (1.5, pytest.approx(10 / 12), False)
    assert found.lines["mug"][mug.blocking] == "page.path == '/p/mug'"


async def test_a_page_that_asks_again_is_one_page_view_that_was_shown_longer(
    make: Any, ledger_address: str
) -> None:
    shop = await make(ledger_address)
    async with shop.browser() as browser:
        view = await shop.ask(browser, "/cart")
        (row,) = await shop.rows()
        assert row.shown == 0
        for seconds in (15, 40, 35):
            await shop.ask(browser, "/cart", view, seconds=seconds)
        (row,) = await shop.rows()
        assert (row.page_view, row.shown) == (view, 40)
        # The same within one round, and told by a process that does not know the page view.
        shop.service.traffic._known.clear()
        await shop.ask(browser, "/cart", view, seconds=50)
        (row,) = await shop.rows()
        assert row.shown == 50
    assert (await shop.tried()).run.trials[0].matches == 1


async def test_what_leads_to_a_person_is_not_recorded(make: Any) -> None:
    shop = await make()
    async with shop.browser(**{"x-name": "Grandmother"}) as browser:
        known, hidden = "size=XL&aff=CLICKID12345&utm_source=letter", "mail=anna@home.example&token=tok-value"
        secret = f"/p/mug?{known}&{hidden}#part-of-it"
        await shop.ask(browser, secret, title="For bo@home.example", referrer="https://a.example/?who=Bo")
    (row,) = await shop.rows()
    facts = json.loads(row.facts or "")
    assert facts["page"]["query"]["size"] == "XL"
    assert facts["page"]["path"] == "/p/mug"
    assert facts["partner"]["id"] == "anna"
    assert facts["touch"]["channel"] == "partner"
    for name in LEFT_OUT:
        group, _, fact = name.partition(".")
        assert fact not in facts.get(group, {}), name
    assert facts["campaign"]["source"] == "letter"
    personal = ("anna@home", "bo@home", "tok-value", "part-of-it", "Grandmother", "192.0.2", "who=Bo")
    for hidden in ("CLICKID", *personal):
        assert hidden not in (row.facts or ""), hidden


async def test_nothing_is_recorded_of_who_has_not_consented(make: Any) -> None:
    shop = await make(site='[sites.consent]\nmode = "ask"')
    async with shop.browser() as browser:
        await shop.ask(browser, "/cart")
        await shop.ask(browser, "/cart", consent={"choice": "denied"})
        assert await shop.rows() == []
        await shop.ask(browser, "/cart", consent={"choice": "granted"})
        await shop.ask(browser, "/", consent={"choice": "granted"})
        assert len(await shop.rows()) == 2
        await shop.ask(browser, "/", consent={"choice": "granted"})
        await shop.ask(browser, "/", consent={"choice": "denied"})
        await shop.service.tasks.stop()
    assert await shop.rows() == []


async def test_it_is_deleted_with_the_visitor_and_after_its_time(make: Any, ledger_address: str) -> None:
    shop = await make(ledger_address)
    await shop.visit(("/", 5), ("/cart", 5))
    await shop.visit(("/", 5))
    visitors = [row.visitor for row in await shop.rows()]
    person = Person("shop", (visitors[0],), withdrawn=True)
    forgotten = await shop.service.ledger.forgetting.forget(person, shop.now)
    assert forgotten.rows.get("traffic") == visitors.count(visitors[0])
    left = await shop.rows()
    assert {row.visitor for row in left} == {*visitors} - {visitors[0]}
    shop.now += 15 * DAY
    await shop.service.apply_retention()
    assert await shop.rows() == []


async def test_a_share_of_visitors_is_recorded_with_all_their_pages(make: Any) -> None:
    shop = await make(share=40)
    for number in range(120):
        await shop.visit(("/", 1), ("/cart", 1), address=f"10.{number}.1.1")
    rows = await shop.rows()
    visitors = [row.visitor for row in rows]
    assert {visitors.count(one) for one in visitors} == {2}
    # Six standard deviations of a binomial share.
    assert 48 - 33 < len({*visitors}) < 48 + 33
    assert {row.weight for row in rows} == {2.5}


async def test_of_many_visitors_less_and_less_is_recorded_and_the_sum_stays_an_estimate(make: Any) -> None:
    shop = await make(per_hour=40)
    early = shop.browser("192.0.2.9")
    with capture_logs() as logs:
        first = await shop.ask(early, "/")
        for number in range(400):
            await shop.visit(("/", 0), address=f"10.{number % 200}.{number // 200}.1")
        # A visit is recorded to its end, whatever the share has become.
        pages = {first, await shop.ask(early, "/cart"), await shop.ask(early, "/cart")}
    await early.aclose()
    rows = await shop.rows()
    assert [row.weight for row in rows if row.page_view in pages] == [1.0, 1.0, 1.0]
    assert 40 <= len(rows) < 160
    assert len({row.weight for row in rows}) > 1
    # The parts by weight are random: half or double of the true sum is far out.
    assert 200 < sum(row.weight for row in rows) < 800
    assert not [line for line in logs if line["event"] == "traffic_dropped"]


async def test_the_share_is_halved_by_what_all_processes_record(make: Any, ledger_address: str) -> None:
    one = await make(ledger_address, per_hour=40)
    other = await make(ledger_address, per_hour=40)
    for number in range(100):
        await (one, other)[number % 2].visit(("/", 0), address=f"10.0.{number}.1")
        if not number % 5:
            await one.rows()
            await other.rows()
    rows = await one.rows()
    await other.rows()
    # 40 of 50 each would be taken if each counted for itself.
    assert 40 <= len(rows) < 75
    rates = [shop.service.traffic._rates["shop"] for shop in (one, other)]
    assert all(rate.halved for rate in rates)
    # One that begins in the same hour learns what was recorded before.
    late = await make(ledger_address, per_hour=40)
    for number in range(10):
        await late.visit(("/", 0), address=f"10.1.{number}.1")
    await late.rows()
    assert late.service.traffic._rates["shop"].halved >= 1


async def test_one_client_cannot_fill_the_sample_and_that_is_reported(make: Any) -> None:
    shop = await make(per_hour=40)
    with capture_logs() as logs:
        for _ in range(60):
            await shop.visit(("/", 0))
        rows = await shop.rows()
    assert len(rows) <= 40 * OF_CLIENT
    (dropped,) = [line for line in logs if line["event"] == "traffic_dropped"]
    assert dropped["rows"] == 60 - len(rows)


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8:1:{}::9"])
async def test_one_client_says_little_of_how_customers_behave(make: Any, address: str) -> None:
    shop = await make(per_hour=40)
    for number in range(72):
        shop.service.limits._clock = lambda: shop.now
        await shop.visit(("/", 0), ("/", 0), ("/", 0), address=address.format(number))
        shop.now += 3600
    # In three days, an hour after the other: as many a day as in one hour of all, and half of it at first;
    # twice that of a block of networks.
    assert len(await shop.rows()) <= 40 * (3 + OF_CLIENT) * (1 if "{" not in address else 2)


async def test_the_command_line_tries_a_draft_and_suggests_rules(make: Any, tmp_path: Path) -> None:
    shop = await make()
    file = tmp_path / "draft.toml"
    file.write_text(DRAFT)

    async def run(*arguments: str) -> str:
        command = ["rules", *arguments, "--config", str(shop.file)]
        done = await asyncio.to_thread(CliRunner().invoke, commands, command)
        assert done.exit_code == 0, done.output
        return done.output

    assert "no page views are recorded" in await run("try", str(file))
    # The command goes by the real time.
    shop.now = time.time() - 3 * 3600
    for number in range(40):
        await shop.visit(("/p/mug?size=XL", 30), ("/cart", 25), ("/cart", 5), address=f"10.0.{number}.1")
    assert len(await shop.rows()) == 120
    lines = (await run("try", str(file), "--json")).splitlines()
    told = {line["rule"]: line for line in map(json.loads, lines)}
    assert (told["cart"]["matches"], told["cart"]["wins"], told["mug"]["matches"]) == (40.0, 40.0, 40.0)
    assert told["cart"]["conversations"] == pytest.approx(40 * 0.95 * 0.05)
    assert told["cart"]["days"] == pytest.approx(100 / (40 * 0.95 * 0.05))
    assert (told["cart"]["too_slow"], told["cart"]["blocking_line"]) == (False, "page.type == 'cart'")
    assert told["mug"]["not_recorded"] == ["page.query"]
    said = await run("try", str(file))
    assert "Less than a day is recorded" in said
    assert "5.0% lead to a conversation and none is dismissed (assumed" in said
    found = [json.loads(line) for line in (await run("suggest", "--json")).splitlines()]
    times = {one["what"]: one for one in found if one["kind"] == "time"}
    assert (times["product"]["wait"], times["cart"]["wait"], times["site"]["wait"]) == (30, 25, 55)
    exits = {one["what"]: (one["share"], one["candidate"]) for one in found if one["kind"] == "exit"}
    assert exits == {"cart": (0.5, True), "product": (0.0, False)}
    # What is suggested is a text that `try` takes.
    file.write_text("\n".join(one["text"] for one in found if one["kind"] == "rule"))
    rules = [json.loads(line) for line in (await run("try", str(file), "--json")).splitlines()]
    matches = {one["rule"]: one["matches"] for one in rules}
    assert matches == {"suggested-cart": 40.0, "suggested-default": 80.0}
    assert "candidate" in await run("suggest")
