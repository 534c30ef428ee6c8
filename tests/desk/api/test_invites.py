"""What becomes of invites: the steps that are counted, from the answer of `decide` to the ledger."""

import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from clew.middleware.asgi.mount import ClewMiddleware
from clew.rules.ruleset import RuleSet
from clew.service import exposing
from clew.service.facts import AgentLoad
from clew.service.inviting import RuleEnds
from clew.service.service import Service
from clew.settings.model import Settings
from clew.stores.ledger.exports import Wanted
from clew.stores.ledger.exposures import ArmCounts
from clew.stores.visits import VisitsUnavailableError
from starlette.applications import Starlette
from structlog.testing import capture_logs

VARIANTS = [{"name": "one", "text": "One?"}, {"name": "two", "text": "Two?"}]


class Shop:
    """A shop with rules, by the whole mount."""

    def __init__(self, folder: Path, **site: Any) -> None:
        self.store = folder / "clew.db"
        database = f"sqlite:{self.store}"
        settings = {"secret": "s" * 40, "store": database, "ledger": database}
        site = {"name": "shop", "invites": {"holdout": 0}, **site}
        self.clew = ClewMiddleware(Starlette(), Settings.model_validate({**settings, "sites": [site]}))
        self.service = self.clew.service
        self.views = 0

    def browser(self, address: str = "192.0.2.7") -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(self.clew, client=(address, 1))
        return httpx2.AsyncClient(transport=transport, base_url="https://shop.example/-/clew/")

    async def ask(self, browser: httpx2.AsyncClient, view: str | None = None, **more: Any) -> dict[str, Any]:
        """One page view, a new one if it is not named."""
        self.views += 1
        body = {"view": view or f"{self.views:08}-view", "url": "https://shop.example/", "title": "T", **more}
        answer = await browser.post("decide", json=body)
        assert answer.status_code == 200
        found = answer.json()
        assert isinstance(found, dict)
        return found

    async def told(self, browser: httpx2.AsyncClient, kind: str, rule: str = "r") -> None:
        assert (await browser.post("events", json={"kind": kind, "rule": rule})).status_code == 204

    async def counts(self) -> list[ArmCounts]:
        await self.service.exposures.write()
        return [*await self.service.ledger.exposures.count("shop", now=self.service.clock.now(), window=1.0)]

    async def steps(self) -> dict[str, tuple[int, ...]]:
        """By rule: eligible, assigned, rendered, seen, dismissed, accepted, over all arms."""
        found: dict[str, tuple[int, ...]] = {}
        for one in await self.counts():
            own = (one.eligible, one.assigned, one.rendered, one.seen, one.dismissed, one.accepted)
            found[one.rule] = tuple(map(sum, zip(found.get(one.rule, (0,) * 6), own, strict=True)))
        return found


@pytest_asyncio.fixture
async def make(tmp_path: Path) -> AsyncIterator[Any]:
    made: list[Shop] = []

    async def make(rules: list[dict[str, Any]], **site: Any) -> Shop:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        rules = [{"name": "r", "action": "invite", **rule} for rule in rules]
        made.append(Shop(folder, rules=rules, **site))
        await made[-1].service.open()
        made[-1].clew.startup.started = True
        return made[-1]

    yield make
    for shop in made:
        await shop.service.close()


async def test_each_visitor_counts_once_at_each_step(make: Any) -> None:
    shop = await make([{"variants": VARIANTS}])
    async with shop.browser() as browser:
        first = await shop.ask(browser, "view-first")
        for _ in range(2):
            await shop.ask(browser, "view-first")
            await shop.told(browser, "seen")
        assert await shop.steps() == {"r": (1, 1, 1, 1, 0, 0)}
        assert (await shop.ask(browser))["invite"] == first["invite"]
        await shop.told(browser, "seen")
        await shop.told(browser, "dismissed")
        await shop.told(browser, "dismissed")
    assert await shop.steps() == {"r": (1, 1, 1, 1, 1, 0)}
    (found,) = await shop.counts()
    assert f"{found.arm.title()}?" == first["invite"]["text"]


async def test_what_a_browser_tells_of_invites_that_it_did_not_get_changes_and_counts_nothing(
    make: Any,
) -> None:
    """Any name and any number of times: not of another rule, one held out, or one of a site's many."""
    others = [{"name": f"o{number}", "when": ["page.path == '/other'"]} for number in range(60)]
    shop = await make([{"when": ["page.path == '/'"]}, *others], invites={"holdout": 0, "dismissals": 2})
    async with shop.browser() as browser, shop.browser() as stranger:
        await shop.ask(stranger, url="https://shop.example/help")
        await shop.ask(stranger, url="https://shop.example/help")
        await shop.ask(browser, "view-first")
        with capture_logs() as logs:
            for kind in ("seen", "dismissed", "accepted", "seen"):
                for rule in ("nosuch", *(other["name"] for other in others)):
                    await shop.told(browser, kind, rule)
                await shop.told(stranger, kind)
            for _ in range(5):
                await shop.told(browser, "seen")
            await shop.told(browser, "dismissed")
            await shop.told(browser, "dismissed")
        told = [line["what"] for line in logs if line["event"] == "invite"]
        assert told == ["seen", "dismissed"]
        known = shop.service.sites["shop"].cookie.open(stranger.cookies["clew_visitor"])
        assert known is not None
        record = await shop.service.visits.get("shop", known.visitor)
        assert record is not None
        assert (record.offers, record.dismissals) == ((), 0)
    assert await shop.steps() == {"r": (1, 1, 1, 1, 1, 0)}


@pytest.mark.parametrize("got", [True, False])
async def test_a_conversation_counts_for_a_rule_whose_invite_the_visitor_got(make: Any, got: bool) -> None:
    shop = await make([{}])
    async with shop.browser() as browser:
        first = await shop.ask(browser)
        assert first["rule"] == "r"
        if not got:
            browser.cookies.clear()
            shop.service.sites["shop"].rules = RuleSet([])
            assert (await shop.ask(browser))["rule"] is None
        said = {"text": "Yes", "client_id": "client-0001", "language": "en", "rule": "r"}
        assert (await browser.post("messages", json=said)).status_code == 201
        known = shop.service.sites["shop"].cookie.open(browser.cookies["clew_visitor"])
        assert known is not None
        talk = await shop.service.ledger.conversations.own("shop", known.visitor)
        assert talk is not None
        assert talk.rule == ("r" if got else None)


async def test_the_invite_of_the_very_first_page_counts_before_it_was_seen(make: Any) -> None:
    """Nothing of a new visitor is stored; its cookie brings the invite along."""
    shop = await make([{"pages": 1}])
    async with shop.browser() as browser:
        assert (await shop.ask(browser, "view-first"))["rule"] == "r"
        assert (await shop.ask(browser, "view-first"))["rule"] == "r"
        assert (await shop.ask(browser))["rule"] is None


async def test_what_is_known_is_not_written_again(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that 600 decisions a second cost nearly nothing: a page that brings nothing new adds no row, and
    changes no record a second time."""
    shop = await make([{"no_invite": 99, "pages": 50}], invites={"holdout": 50, "pages": 50})
    added: list[object] = []
    monkeypatch.setattr(shop.service.exposures, "add", lambda *given: added.append(given))
    async with shop.browser() as browser:
        # The first page, the one on which it gets its arm, and one more, by which it has gone on.
        for _ in range(3):
            await shop.ask(browser)
        assert added
        added.clear()
        for _ in range(3):
            await shop.ask(browser)
    assert added == []


async def test_whether_a_visitor_went_on_counts_in_the_same_visit_only_with_how_it_stood(make: Any) -> None:
    """features D2, D3, D16: also of those who are held out, or get no invite."""
    shop = await make([{"variants": VARIANTS}], invites={"holdout": 0})
    now, ahead = shop.service.clock.now, [0.0]
    shop.service.clock.now = lambda: now() + ahead[0]
    async with shop.browser() as goes_on, shop.browser() as leaves:
        for browser in (goes_on, leaves):
            await shop.ask(browser)
            await shop.ask(browser, view=f"page-{id(browser):x}")
        # The same page again is no other page.
        await shop.ask(leaves, view=f"page-{id(leaves):x}")
        await shop.ask(goes_on)
        ahead[0] += 3600
        for _ in range(2):
            await shop.ask(leaves)
    assert sum(one.went_on for one in await shop.counts()) == 1
    page = await shop.service.ledger.exports.page("exposures", Wanted("shop"), None, 10)
    assert {(row["visit"], row["seconds"] < 60, row["cart"]) for row in page.rows} == {(1, True, None)}


async def test_the_hold_out_and_the_arm_without_an_invite_are_counted_at_the_same_moment(make: Any) -> None:
    """Eligible are those whom the rule would have invited, and no others."""
    shop = await make(
        [{"no_invite": 50, "when": ["visit.pages >= 2"]}], invites={"holdout": 50, "days": 1, "pages": 9}
    )
    shown = 0
    for number in range(60):
        async with shop.browser() as browser:
            assert (await shop.ask(browser))["action"] == "show"
            if number % 2:
                for _ in range(2):
                    answer = await shop.ask(browser)
                shown += answer["action"] == "invite"
    counts = {(one.rule, one.arm): one for one in await shop.counts()}
    held, invited = counts["", "holdout"], counts["", "invited"]
    plain, without = counts["r", "invite"], counts["r", "no_invite"]
    assert held.assigned + invited.assigned == 30
    assert plain.assigned + without.assigned == invited.assigned
    assert (plain.rendered, without.rendered, held.rendered) == (shown, 0, 0)
    assert min(held.assigned, plain.assigned, without.assigned) > 0


async def test_who_may_not_be_recognised_leaves_no_row(make: Any) -> None:
    shop = await make([{"no_invite": 99}], invites={"holdout": 50}, consent={"mode": "ask"})
    async with shop.browser() as browser:
        answers = [await shop.ask(browser, consent={"state": "denied"}) for _ in range(3)]
        await shop.told(browser, "seen")
    # It gets the first text: a share by its id would be another one on each page.
    assert {answer["action"] for answer in answers} == {"invite"}
    assert await shop.counts() == []


async def test_a_changed_text_begins_anew_and_the_old_rows_stay(make: Any) -> None:
    shop = await make([{"text": "Before"}])
    async with shop.browser() as browser:
        await shop.ask(browser)
        await shop.ask(browser)
        settings = shop.service.settings.model_dump(mode="python")
        settings["sites"][0]["rules"][0]["text"] = "After"
        shop.service.sites.swap(Settings.model_validate(settings))
        assert (await shop.ask(browser))["invite"]["text"] == "After"
    assert [(one.rule, one.assigned, one.rendered) for one in await shop.counts()] == [
        ("r", 1, 1),
        ("r", 1, 1),
    ]


async def test_without_a_place_a_visitor_is_eligible_and_waits(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await make([{}, {"name": "forced", "forced": True, "when": ["page.path == '/forced'"]}])
    loads = [AgentLoad(desk=1, places=3, talks=3)]
    monkeypatch.setattr(shop.service.agents, "of", lambda site, now: loads[0])
    async with shop.browser() as browser:
        await shop.ask(browser)
        answer = await shop.ask(browser, "view-waits")
        assert (answer["action"], answer["retry_after"]) == ("show", 60)
        assert await shop.steps() == {"r": (1, 0, 0, 0, 0, 0)}
        loads[0] = AgentLoad(desk=1, places=3, talks=2)
        assert (await shop.ask(browser, "view-waits"))["action"] == "invite"
        assert await shop.steps() == {"r": (1, 1, 1, 0, 0, 0)}


async def test_invites_go_out_as_fast_as_agents_have_places(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await make([{}], invites={"holdout": 0, "throttle": 4})
    load = AgentLoad(desk=1, places=3, talks=1)
    monkeypatch.setattr(shop.service.agents, "of", lambda site, now: load)
    answers = []
    for number in range(20):
        async with shop.browser(f"192.0.2.{number}") as browser:
            answers.append(await shop.ask(browser))
    actions = [answer["action"] for answer in answers]
    # Two free places by four; a little more where this test is slow.
    assert actions[:8] == ["invite"] * 8
    assert 0 < actions.count("show") <= 12
    waits = [answer["retry_after"] for answer in answers if answer["action"] == "show"]
    assert all(0 < wait <= 60 for wait in waits)
    assert {notice for _, notice, _ in shop.service.events._noted} >= {"invites_throttled"}


async def test_a_program_without_cookies_does_not_take_the_invites_of_all_others(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await make([{}], invites={"holdout": 0})
    load = AgentLoad(desk=1, places=3, talks=2)
    monkeypatch.setattr(shop.service.agents, "of", lambda site, now: load)
    actions = []
    for number in range(40):
        async with shop.browser(f"2001:db8::{number:x}") as program:
            actions.append((await shop.ask(program))["action"])
    # One free place by ten: half of it for this network; a little more where this test is slow.
    assert actions[:5] == ["invite"] * 5
    assert actions.count("show") > 20
    async with shop.browser() as browser:
        assert (await shop.ask(browser))["action"] == "invite"


async def test_of_each_visitor_a_pseudonym_of_its_network_is_noted(make: Any) -> None:
    """By which no stranger with ever new cookies makes the verdicts. An inner address is that of a proxy."""
    shop, noted = await make([{}]), {}
    addresses = ("192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "10.0.0.1", "127.0.0.1")
    for address in addresses:
        async with shop.browser(address) as browser:
            await shop.ask(browser)
            await shop.told(browser, "seen")
    await shop.counts()
    with closing(sqlite3.connect(shop.store)) as db:
        noted = [client for (client,) in db.execute("SELECT client FROM exposures ORDER BY id")]
    assert all(address not in str(noted) for address in addresses)
    assert len({*noted} - {None}) == 3
    assert noted.count(None) == 2


async def test_who_withdraws_its_consent_is_in_no_experiment_that_waits(make: Any) -> None:
    shop = await make([{}], consent={"mode": "ask"})
    async with shop.browser() as browser:
        await shop.ask(browser, consent={"choice": "granted"})
        await shop.ask(browser, consent={"choice": "granted"})
        assert len(shop.service.exposures._waiting) == 1
        await shop.ask(browser, consent={"choice": "denied"})
        assert await shop.counts() == []


async def test_a_block_of_ipv6_networks_gets_no_more_invites_than_two(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await make([{}], invites={"holdout": 0, "throttle": 100})
    load = AgentLoad(desk=1, places=3, talks=2)
    monkeypatch.setattr(shop.service.agents, "of", lambda site, now: load)
    monkeypatch.setattr(shop.service.limits, "_clock", lambda: 1000.0)
    actions = []
    for number in range(100):
        async with shop.browser(f"2001:db8:1:{number:x}::1") as program:
            actions.append((await shop.ask(program))["action"])
    assert actions.count("invite") == 50
    async with shop.browser() as browser:
        assert (await shop.ask(browser))["action"] == "invite"


async def test_a_ledger_that_does_not_take_them_loses_none_that_fit_and_says_so(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await make([{}])
    monkeypatch.setattr(exposing, "PENDING", 3)
    writer, books = shop.service.exposures, shop.service.ledger.exposures

    async def fails(rows: object) -> None:
        raise OSError("away")

    whole = books.write
    monkeypatch.setattr(books, "write", fails)
    for number in range(5):
        writer.add("shop", "r", "1", f"v{number}", "a", {"eligible": 1.0, "assigned": 1.0})
    writer.add("shop", "r", "1", "v0", "a", {"seen": 2.0})
    await writer.write()
    monkeypatch.setattr(books, "write", whole)
    assert await shop.steps() == {"r": (3, 3, 0, 1, 0, 0)}
    assert "exposures_dropped" in {notice for _, notice, _ in shop.service.events._noted}


async def test_a_rule_that_ended_by_itself_is_reported_once(make: Any) -> None:
    shop = await make(
        [{"ends": "2026-12-31"}, {"name": "on", "ends": "2027-06-01"}], time_zone="Europe/Berlin"
    )
    now = [1_798_757_999.0]  # a second before the new year in Berlin
    shop.service.clock.now = lambda: now[0]
    ends = RuleEnds(shop.service.sites, shop.service.events, shop.service.clock)
    ends.report()
    assert shop.service.events._noted == {}
    now[0] += 1
    for _ in range(3):
        ends.report()
        now[0] += 60
    assert [key for _, name, key in shop.service.events._noted if name == "rule_ended"] == ["r"]
    assert [count for count, _ in shop.service.events._noted.values()] == [1]


async def test_an_event_that_withdraws_thousands_of_rules_is_one_name_in_the_record(make: Any) -> None:
    others = [{"name": f"other-{number}", "when": ["visit.pages > 100"]} for number in range(2000)]
    rules = [{**rule, "cancel_on": ["add_to_cart"]} for rule in ({"name": "r"}, *others)]
    shop = await make(rules)
    async with shop.browser() as browser:
        await shop.ask(browser)
        assert (await shop.ask(browser, "view-second"))["action"] == "invite"
        ended = await shop.ask(browser, "view-second", told=["event add_to_cart"])
        assert (ended["action"], ended["withdrawn"]) == ("show", ["add_to_cart"])
        assert (await shop.ask(browser))["action"] != "invite"


@contextmanager
def locked(shop: Shop) -> Iterator[None]:
    """Another process writes to the visit store, and does not end: it can be read, but not written to."""
    with closing(sqlite3.connect(shop.store, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


async def test_who_cannot_be_looked_up_is_not_invited_and_a_limit_holds_when_the_store_is_back(
    make: Any,
) -> None:
    shop = await make([{"pages": 9}, {"name": "show", "action": "show", "priority": -1}])
    async with shop.browser() as browser, shop.browser() as spared:
        for one in (browser, spared):
            await shop.ask(one)
            assert (await shop.ask(one))["rule"] == "r"
        await shop.told(spared, "dismissed")
        store = shop.service.visits
        get, store.get = store.get, failing
        try:
            with locked(shop):
                for one in (browser, spared):
                    answer = await shop.ask(one)
                    assert (answer["rule"], answer["retry_after"]) == ("show", 60)
        finally:
            store.get = get
        assert "visits_down" in [notice.event for notice in shop.service.events.take_noted()]
        assert (await shop.ask(browser))["rule"] == "r"
        assert (await shop.ask(spared))["rule"] == "show"


async def failing(*given: object) -> None:
    raise VisitsUnavailableError("it does not answer")


async def test_an_invite_that_cannot_be_written_down_is_not_shown(make: Any) -> None:
    """It would come again on each page, and in each tab."""
    shop = await make([{"when": ["visit.pages >= 2"]}])
    async with shop.browser() as browser:
        await shop.ask(browser)
        with locked(shop):
            # What is stored is read, so the rule's line is true, but nothing can be added.
            assert (await shop.ask(browser, "view-asked"))["rule"] is None
        assert (await shop.ask(browser, "view-asked"))["rule"] == "r"
    assert await shop.steps() == {"r": (1, 1, 1, 0, 0, 0)}


class SetClock:
    """The clock of the machine: real seconds pass by `passes`, and people set it."""

    def __init__(self, service: Service) -> None:
        self._wall, self._steady = time.time(), 1000.0
        service.clock._wall, service.clock._steady = lambda: self._wall, lambda: self._steady
        service.clock._ahead, service.clock._last = self._wall - self._steady, self._steady

    def passes(self, seconds: float) -> None:
        self._wall += seconds
        self._steady += seconds

    def set(self, seconds: float) -> None:
        self._wall += seconds


@pytest.mark.parametrize("step", [-3600, 3600])
async def test_a_page_that_is_open_while_the_clock_is_set_neither_waits_nor_asks_without_end(
    make: Any, step: int
) -> None:
    shop = await make([{"wait": "90s", "wait_page": "60s"}])
    clock, waited, asked = SetClock(shop.service), 0.0, 0
    async with shop.browser() as browser:
        await shop.ask(browser)
        clock.passes(20)
        answer = await shop.ask(browser, "view-waits")
        clock.set(step)
        while answer["rule"] is None:
            assert answer["retry_after"] <= 90
            clock.passes(answer["retry_after"])
            waited, asked = waited + answer["retry_after"], asked + 1
            assert asked <= 3
            answer = await shop.ask(browser, "view-waits", seconds=int(waited))
    # What counts of the time before is, at most, that until the visitor's last sign of life.
    assert waited <= 2 * 90


async def test_a_clock_that_is_set_back_and_forth_ends_no_limit(make: Any) -> None:
    rules = [{"pages": 1}, {"name": "s", "priority": -1, "pages": 1}]
    shop = await make(rules, invites={"holdout": 0, "pause": 600, "per_visit": 2, "per_visitor": 4})
    clock = SetClock(shop.service)
    async with shop.browser() as browser, shop.browser() as spared:
        assert (await shop.ask(spared))["rule"] == "r"
        await shop.told(spared, "dismissed")
        invited = [(await shop.ask(browser))["rule"]]
        clock.set(-3600)
        assert (await shop.ask(spared))["rule"] is None
        # The pause counts from an invite of the future: it is no pause of an hour.
        for _ in range(3):
            clock.passes(1)
            invited.append((await shop.ask(browser))["rule"])
        assert invited[:2] == ["r", "s"]
        for _ in range(20):
            clock.set(3600)
            invited.append((await shop.ask(browser))["rule"])
            clock.set(-3600)
            invited.append((await shop.ask(browser))["rule"])
    assert sum(rule is not None for rule in invited) <= 4
