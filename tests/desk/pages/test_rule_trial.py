"""Rules tried on recorded visits, at the desk: figures, suggestions in the form, and bounds."""

import asyncio
import html
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from clew.desk.pages.rule_form import TYPED, fields_of
from clew.service import rule_trials, trial_runs
from clew.service.programs import Ended, Programs
from clew.stores.ledger.exposures import Exposure
from desks import DeskServer, desk_server, hidden
from recorded_visits import visits

DRAFT = """[[rules]]
name = "cart"
when = ["page.type == 'cart'"]
wait_page = "20s"
action = "invite"

[[rules]]
name = "rest"
action = "invite"
hours = { mon = ["09:00-09:01"] }
priority = -5
"""
RULE: dict[str, Any] = {"name": "cart", "when": ["page.type == 'cart'"], "action": "invite"}


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path) as built:
        await built.service.ledger.traffic.write(visits(built.service.clock.now()))
        yield built


@pytest_asyncio.fixture
async def lead(desk: DeskServer) -> httpx2.AsyncClient:
    return await desk.agent("eva", role="lead")


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is tried in the process that serves visitors."""

    def fail(*given: object, **more: object) -> None:
        raise AssertionError("tried in the server's own process")

    monkeypatch.setattr(rule_trials, "dry_run", fail)
    monkeypatch.setattr(rule_trials, "suggest", fail)


async def post(client: httpx2.AsyncClient, path: str, **fields: str) -> httpx2.Response:
    csrf = hidden((await client.get("desk/rules")).text)
    return await client.post(f"desk/rules{path}", data={"csrf": csrf, "base": "0", **fields})


def cells(page: str, rule: str) -> list[str]:
    """The row of a rule in the table."""
    row = page.partition(f'<th scope="row">{rule}</th>')[2].partition("</tr>")[0]
    return [cell.partition(">")[2] for cell in row.split("</td>")[:-1]]


async def test_a_draft_is_tried_on_what_visitors_did(desk: DeskServer, lead: httpx2.AsyncClient) -> None:
    answer = await post(lead, "/try", text=DRAFT)
    page = html.unescape(answer.text)
    assert answer.status_code == 200
    # Two carts a visit, of which the second was shown for no time that is known.
    assert cells(page, "cart")[:4] == ["40", "40", "40", "2"]
    assert cells(page, "cart")[5] == "50%: page.type == 'cart'"
    assert "held back, page views a day: outside its hours (120)" in page
    assert "Of invites 5.0% lead to a conversation and none is dismissed (assumed" in page
    assert "the throttle" in page
    assert "No conversation is to be expected of: rest." in page
    assert "120 page views recorded" in page
    assert (await lead.get("desk/rules/try")).status_code == 200
    assert desk.service.sites["shop"].revision == 0


async def test_invites_are_answered_as_at_this_site(desk: DeskServer, lead: httpx2.AsyncClient) -> None:
    now = desk.service.clock.now()
    times = {"eligible": now, "assigned": now, "rendered": now}
    shown = [times | ({"dismissed": now} if number < 30 else {}) for number in range(100)]
    rows = [Exposure("shop", "cart", "1", f"v{n}", "invite", own) for n, own in enumerate(shown)]
    await desk.service.ledger.exposures.write(rows)
    page = html.unescape((await post(lead, "/try", text=DRAFT)).text)
    assert "Of invites 0.0% lead to a conversation, 30.0% are dismissed (as at this site so far)" in page


async def test_a_suggested_time_is_put_into_the_form_and_nothing_is_saved(
    desk: DeskServer, lead: httpx2.AsyncClient
) -> None:
    typed = {f"{TYPED}{one.key}": one.value for one in fields_of(RULE)}
    typed |= {f"{TYPED}text": "What I typed"}
    answer = await post(lead, "/edit", name="", do="try", note="why", **typed)
    page = html.unescape(answer.text)
    assert "Wait 55s on the site" in page
    assert "Wait 25s on cart pages" in page
    assert 'name="use" value="wait_page=25s"' in page
    kept = {name: html.unescape(value) for name, value in fields_in(answer.text) if name.startswith(TYPED)}
    assert kept == typed
    form = await post(lead, "/edit", name="", do="fill", use="wait_page=25s", note="why", **kept)
    assert form.status_code == 200
    assert value_of(form.text, "wait_page") == "25s"
    assert "What I typed" in form.text
    assert 'value="why"' in form.text
    back = await post(lead, "/edit", name="", do="fill", use="nosuch=25s", **kept)
    assert value_of(back.text, "wait_page") == ""
    # Of a rule that is saved, the times are put into its own form.
    named = await lead.get("desk/rules/try?rule=after-wait")
    assert "into the form of after-wait" in named.text
    assert (await lead.get("desk/rules/try?rule=nosuch")).status_code == 200
    assert desk.service.sites["shop"].revision == 0


def value_of(page: str, key: str) -> str:
    """What a field of the form has."""
    found = re.search(rf'<input id="f-{key}" [^>]*value="([^"]*)"', page)
    assert found is not None
    return found[1]


def fields_in(page: str) -> list[tuple[str, str]]:
    """The hidden fields of the first form that has some of a rule."""
    form = page.partition('action="/-/clew/desk/rules/try"')[2].partition("</form>")[0]
    parts = [part.partition(">")[0] for part in form.split('<input type="hidden" ')[1:]]
    return [(part.split('"')[1], part.split('"')[3]) for part in parts]


async def test_a_page_that_visits_end_on_becomes_a_rule(desk: DeskServer, lead: httpx2.AsyncClient) -> None:
    page = (await lead.get("desk/rules/try")).text
    assert "for a rule" in page
    draft = page.partition("<b>suggested-cart</b>")[2].partition("</form>")[0]
    assert "page.type == &#39;cart&#39;" in draft
    fields = {f"{TYPED}name": "suggested-cart", f"{TYPED}when": "page.type == 'cart'"}
    form = await post(lead, "/edit", do="fill", **fields)
    assert 'value="suggested-cart"' in form.text
    assert "page.type == &#39;cart&#39;" in form.text


async def test_what_is_wrong_is_told_and_without_page_views_why_there_are_none(
    desk: DeskServer, lead: httpx2.AsyncClient
) -> None:
    wrong = await post(lead, "/try", text=DRAFT.replace("page.type", "page.tpye"))
    assert (wrong.status_code, "Line 3: " in wrong.text) == (422, True)
    desk.clock.ahead += 20 * 86400
    await desk.service.apply_retention()
    empty = await post(await desk.agent("ola", role="lead"), "/try", text=DRAFT)
    assert "no page views are recorded in this time" in empty.text


async def test_the_same_is_tried_once_and_a_site_tries_one_thing_at_a_time(
    desk: DeskServer, lead: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    whole, runs = Programs.run, []

    async def run(self: Programs, *given: Any) -> Ended:
        runs.append(given)
        begun.set()
        await go.wait()
        return await whole(self, *given)

    monkeypatch.setattr(Programs, "run", run)
    first = asyncio.create_task(post(lead, "/try", text=DRAFT))
    await asyncio.wait_for(begun.wait(), 30)
    other = await post(lead, "/try", text=DRAFT.replace("20s", "21s"))
    assert (other.status_code, "Other rules of this site are being tried" in other.text) == (429, True)
    monkeypatch.setattr(trial_runs.TrialRuns.of, "__defaults__", (0.0,))
    waits = await post(lead, "/try", text=DRAFT)
    assert (waits.status_code, "being tried on what visitors did" in waits.text) == (200, True)
    go.set()
    assert cells((await first).text, "cart")[0] == "40"
    assert cells((await post(lead, "/try", text=DRAFT)).text, "cart")[0] == "40"
    assert len(runs) == 1


async def test_a_program_that_fails_is_told_and_reported(
    desk: DeskServer, lead: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(self: Programs, *given: Any) -> Ended:
        return Ended(-9, b"")

    monkeypatch.setattr(Programs, "run", run)
    answer = await post(lead, "/try", text=DRAFT)
    assert (answer.status_code, "did not end" in answer.text) == (503, True)
    monkeypatch.undo()
