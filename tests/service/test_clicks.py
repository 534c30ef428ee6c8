"""Partners' clicks by day: counted where a visitor may be recognised, added up in the ledger."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from clew.referral.touches import AUTOMATED, Click, Touch
from clew.service.click_watch import too_many
from clew.service.clicks import PENDING, ClickCounts
from clew.stores.ledger.books import Ledger
from desks import VISITOR, DeskServer, desk_server

NOON = 1_796_040_000.0  # 2026-11-30, 12:00 UTC
BERLIN = ZoneInfo("Europe/Berlin")


def test_a_day_is_that_of_the_sites_time_zone() -> None:
    counts = ClickCounts()
    counts.count("shop", "anna", NOON + 11.5 * 3600, BERLIN)
    counts.count("shop", "anna", NOON + 10.5 * 3600, BERLIN)
    assert counts.take() == {("shop", "anna", "2026-12-01"): 1, ("shop", "anna", "2026-11-30"): 1}
    assert counts.take() == {}


def test_what_could_not_be_written_is_kept_within_a_bound() -> None:
    counts = ClickCounts()
    counts.count("shop", "anna", NOON, BERLIN)
    counts.put_back({("shop", "anna", "2026-11-30"): 2})
    counts.put_back({("shop", f"p{n}", "2026-11-30"): 1 for n in range(PENDING + 5)})
    taken = counts.take()
    assert taken["shop", "anna", "2026-11-30"] == 3
    assert len(taken) == PENDING


async def test_sums_of_several_processes_add_up(ledger_address: str) -> None:
    ledger = Ledger(ledger_address)
    await ledger.db.open()
    try:
        day = ("shop", "anna", "2026-11-30")
        await ledger.partner_clicks.add({day: 2, ("shop", "blog", "2026-11-30"): 5})
        await ledger.partner_clicks.add({day: 3, ("shop", "anna", "2026-12-01"): 1})
        of = ledger.partner_clicks.of
        assert await of("shop", "anna", "2026-11-30", "2026-12-02") == {"2026-11-30": 5, "2026-12-01": 1}
        assert await of("shop", "anna", "2026-12-01", "2026-12-02") == {"2026-12-01": 1}
        assert await of("other", "anna", "2026-11-30", "2026-12-02") == {}
    finally:
        await ledger.db.close()


@pytest.mark.parametrize(("doubt", "counted"), [("", 1), ("inside", 0)])
async def test_a_touch_is_counted_for_its_partner_and_a_suspicious_one_is_not(
    tmp_path: Path, doubt: str, counted: int
) -> None:
    async with desk_server(tmp_path) as desk:
        await touched(desk, doubt)
        await desk.service.click_writer.write()
        found = await desk.service.ledger.partner_clicks.of("shop", "anna", "2000-01-01", "2999-01-01")
        assert sum(found.values()) == counted


DAYS = {f"2026-11-{day:02d}": {"anna": 100 + day, "blog": 40} for day in range(2, 30)}


@pytest.mark.parametrize(
    ("today", "why"),
    [
        ({"anna": 129 * 5, "blog": 40}, {}),
        ({"anna": 129 * 5 + 1, "blog": 40}, {"anna": "646 clicks today; its busiest day before had 129"}),
        ({"anna": 110, "blog": 199}, {}),
        ({"anna": 110, "blog": 201}, {"blog": "201 clicks today; its busiest day before had 40"}),
        # A day on which the whole shop has four times as many allows that many more.
        ({"anna": 129 * 5 + 1, "blog": 700}, {}),
        # A partner without a week of its own is compared with the whole shop.
        ({"anna": 110, "new": 169}, {}),
        (
            {"anna": 110, "new": 210},
            {"new": "210 clicks today; it is new, and the busiest day of the shop had 169"},
        ),
    ],
)
def test_many_more_clicks_than_a_partner_ever_had_are_unusual(
    today: dict[str, int], why: dict[str, str]
) -> None:
    days = DAYS | {"2026-11-30": today}
    found = {name: too_many(name, days, "2026-11-30", 200, 5) for name in today}
    assert {name: one for name, one in found.items() if one} == why


def test_in_a_shop_without_a_week_of_clicks_nothing_is_unusual() -> None:
    days = {f"2026-11-{day:02d}": {"anna": 1} for day in range(24, 30)} | {"2026-11-30": {"anna": 9999}}
    assert too_many("anna", days, "2026-11-30", 200, 5) == ""


async def test_a_flood_of_clicks_is_reported_once_they_are_written(tmp_path: Path) -> None:
    """By what the ledger has of the days before, and by the settings."""
    async with desk_server(tmp_path, more={"fraud": {"clicks": 20}}) as desk:
        now = desk.service.clock.now()
        past = [datetime.fromtimestamp(now - n * 86400, UTC).date().isoformat() for n in range(1, 15)]
        await desk.service.ledger.partner_clicks.add({("shop", "anna", day): 3 for day in past})
        for _ in range(21):
            await touched(desk, "")
        await desk.service.click_writer.write()
        noted = [one for one in desk.service.events.take_noted() if one.event == "clicks_unusual"]
        assert [one.details["why"] for one in noted] == ["21 clicks today; its busiest day before had 3"]


async def test_clicks_of_programs_are_reported_where_they_are_most_and_only_noted(tmp_path: Path) -> None:
    async with desk_server(tmp_path) as desk:
        for _ in range(60):
            await touched(desk, "", signs=(AUTOMATED,), shown=True)
        desk.clock.ahead = 3600.0
        await touched(desk, "", shown=True)
        (noted,) = [one for one in desk.service.events.take_noted() if one.event == "clicks_unusual"]
        assert "of 60 clicks within a day 60 were made by programs" in noted.details["why"]


async def touched(desk: DeskServer, doubt: str, **more: Any) -> None:
    now = int(desk.service.clock.now())
    clicks = (Click("", "aff", "c1", "anna"), Click("", "other", "c2", None))
    touch = Touch(now, clicks, {}, "", "/", doubt=doubt, **more)
    desk.service.attribution.notify_touch(desk.service.sites["shop"], VISITOR, touch)
