"""Partners' clicks by day: counted where a visitor may be recognised, added up in the ledger."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from clew.referral.touches import Click, Touch
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
        await desk.service.write_clicks()
        found = await desk.service.ledger.partner_clicks.of("shop", "anna", "2000-01-01", "2999-01-01")
        assert sum(found.values()) == counted


async def touched(desk: DeskServer, doubt: str) -> None:
    now = int(desk.service.clock.now())
    touch = Touch(
        now, (Click("", "aff", "c1", "anna"), Click("", "other", "c2", None)), {}, "", "/", doubt=doubt
    )
    desk.service.attribution.notify_touch(desk.service.sites["shop"], VISITOR, touch)
