"""Callbacks: asked for without JavaScript, called from the desk, and credited by phone."""

import re
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx2
import pytest
import pytest_asyncio
from accessibility import faults
from clew import templates
from clew.chat.hours import OfficeHours
from clew.postbacks.outgoing import event_of
from clew.service.callbacks import PhoneError, phone_number, slots
from clew.settings.model import Callback, Hours
from clew.stores.ledger.exports import Wanted
from desks import PASSWORD, VISITOR, DeskServer, desk_server, hidden
from playwright.async_api import Browser, expect

pytestmark = pytest.mark.asyncio(loop_scope="session")

MORE = {"callback": {"country": "DE"}}
PHONE = "+4930901820"
EVERY = {day: ["00:00-24:00"] for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}


@pytest_asyncio.fixture(loop_scope="session")
async def desk(tmp_path: Path, ledger_address: str) -> AsyncIterator[DeskServer]:
    built = DeskServer(tmp_path, ledger=ledger_address, more=MORE)
    await built.service.start()
    yield built
    await built.service.stop()


async def ask(client: httpx2.AsyncClient, **fields: str) -> httpx2.Response:
    return await client.post("callback", data={"phone": "030 901820", "topic": "Wine", "at": "", **fields})


async def settle(client: httpx2.AsyncClient, number: int, **fields: str) -> httpx2.Response:
    page = await client.get("desk/callbacks")
    path = f"desk/callbacks/{number}" + ("/order" if "order_id" in fields else "")
    return await client.post(path, data={"csrf": hidden(page.text), **fields})


async def test_a_callback_is_a_task_with_its_state(desk: DeskServer) -> None:
    answer = await ask(desk.visitor())
    assert answer.status_code == 200
    assert "+49 30 901820" in answer.text
    agent = await desk.agent(role="agent")
    page = (await agent.get("desk/callbacks")).text
    assert f'href="tel:{PHONE}"' in page
    assert "Wine" in page
    (found,) = await desk.service.ledger.callbacks.waiting("shop")
    assert (found.state, found.visitor, found.phone, found.calls) == ("open", VISITOR, PHONE, 0)
    assert (await settle(agent, found.id, state="missed")).status_code == 303
    assert "not reached 1 time" in (await agent.get("desk/callbacks")).text
    await settle(agent, found.id, state="reached")
    assert "Reached by bo" in (await agent.get("desk/callbacks")).text
    assert await desk.service.ledger.callbacks.count("shop") == 0
    done = await desk.service.ledger.callbacks.get("shop", found.id)
    assert done is not None
    assert (done.state, done.calls, done.agent) == ("reached", 2, "bo")
    assert (await settle(agent, found.id, state="sold")).status_code == 400
    assert (await settle(agent, 999, state="reached")).status_code == 404


@pytest.mark.parametrize(("country", "label"), [("DE", "Your phone number"), (None, "with country code")])
async def test_the_country_code_is_asked_for_only_where_no_country_is_set(
    tmp_path: Path, country: str | None, label: str
) -> None:
    async with desk_server(tmp_path, more={"callback": {"country": country}}) as built:
        client = built.visitor()
        form = (await client.get("callback?lang=en")).text
        script = (await client.get("a.js?en")).text
        assert re.search(rf"<label for=\"phone\">[^<]*{label}</label>", form)
        assert f'{label}"' in script


async def test_asking_again_is_the_same_task_with_the_newest_wish(desk: DeskServer) -> None:
    client = desk.visitor()
    await ask(client)
    await ask(client, topic="Two bottles")
    (found,) = await desk.service.ledger.callbacks.waiting("shop")
    assert found.topic == "Two bottles"
    other = desk.visitor("b" * 26)
    await ask(other)
    assert await desk.service.ledger.callbacks.count("shop") == 2


async def test_who_calls_is_shown_to_the_others_and_only_it_says_what_became_of_it(desk: DeskServer) -> None:
    await ask(desk.visitor())
    bo, anna = await desk.agent("bo", role="agent"), await desk.agent("anna", role="agent")
    (found,) = await desk.service.ledger.callbacks.waiting("shop")

    async def take(client: httpx2.AsyncClient, **fields: str) -> httpx2.Response:
        csrf = hidden((await client.get("desk/callbacks")).text)
        return await client.post(f"desk/callbacks/{found.id}/take", data={"csrf": csrf, **fields})

    with desk.service.hub.listen("desk/shop") as others:
        assert (await take(bo)).status_code == 303
        assert [(one.kind, one.about) for one in others.given()] == [("callbacks", str(found.id))]
    assert "You are calling." in (await bo.get("desk/callbacks")).text
    assert "bo is calling, since" in (await anna.get("desk/callbacks")).text
    for answer in (await take(anna), await settle(anna, found.id, state="reached")):
        assert answer.status_code == 409
        assert "bo is calling this visitor" in answer.text
    assert (await take(anna, over="bo")).status_code == 303
    assert (await settle(anna, found.id, state="missed")).status_code == 303
    assert "is calling" not in (await bo.get("desk/callbacks")).text
    await take(bo)
    await take(bo, do="release")
    assert (await settle(anna, found.id, state="reached")).status_code == 303
    late = await take(bo)
    assert (late.status_code, "was called already" in late.text) == (409, True)


async def test_the_form_takes_no_more_than_may_wait_and_the_owner_hears(tmp_path: Path) -> None:
    async with desk_server(tmp_path, more={"callback": {"country": "DE", "waiting": 1}}) as desk:
        assert (await ask(desk.visitor())).status_code == 200
        full = await ask(desk.visitor("b" * 26))
        assert full.status_code == 429
        assert templates.text("en", "too_often") in full.text
        assert await desk.service.ledger.callbacks.count("shop") == 1
        assert "1 visitors wait for a call" in (await (await desk.agent()).get("desk/")).text


async def test_an_order_of_the_call_is_credited_to_the_click_by_phone(desk: DeskServer) -> None:
    client = desk.client()
    landed = await client.post(
        "decide",
        json={
            "url": "http://shop.test/?aff=k1",
            "title": "Mug",
            "view": "view-0001",
            "referrer": "https://blog.test/",
        },
    )
    assert landed.status_code == 200
    client.headers["cookie"] = landed.headers["set-cookie"].partition(";")[0]
    assert (await ask(client)).status_code == 200
    (found,) = await desk.service.ledger.callbacks.waiting("shop")
    assert found.partner == "anna"
    agent = await desk.agent(role="agent")
    await settle(agent, found.id, state="reached")
    wrong = await settle(agent, found.id, order_id="1001", total="1.299.00", currency="EUR")
    assert wrong.status_code == 422
    assert 'value="1001"' in wrong.text
    done = await settle(agent, found.id, order_id="1001", total="59.90", currency="EUR")
    # Nobody takes it up again.
    await settle(agent, found.id, state="open")
    assert done.headers["location"].endswith("/callbacks?done=recorded")
    page = await desk.service.ledger.exports.page("orders", Wanted("shop"), None, 10)
    (order,) = page.rows
    assert (order["order_id"], order["channel"], order["agent"]) == ("1001", "phone", "bo")
    credited = await desk.service.ledger.exports.page("credits", Wanted("shop"), None, 10)
    assert [row["partner"] for row in credited.rows] == ["anna"]
    assert "Order 1001" in (await agent.get("desk/callbacks")).text
    called = await desk.service.ledger.exports.page("callbacks", Wanted("shop"), None, 10)
    for personal in (False, True):
        event = event_of("shop", "callbacks", called.rows, called.cursor, None, personal)
        assert event is not None
        assert (event.type, event.data["order_id"], event.data["partner"]) == (
            *("callback.ordered", "1001", "anna"),
        )
        assert (PHONE in event.body) is personal


@pytest.mark.parametrize(
    ("typed", "terms", "wanted"),
    [
        ("030 901820", {"country": "DE"}, PHONE),
        ("+49 (30) 901820", {}, PHONE),
        ("+43 1 514140", {"country": "DE"}, "+431514140"),
        ("030 901820", {}, None),
        ("12", {"country": "DE"}, None),
        ("call me", {"country": "DE"}, None),
        ("0900 5123456", {"country": "DE"}, None),
        ("+43 1 514140", {"country": "DE", "countries": ["DE"]}, None),
        ("+49 30 901820 ext. 5", {}, None),
        ("1" * 10_000, {"country": "DE"}, None),
    ],
)
async def test_numbers_are_checked_and_costly_ones_refused(
    typed: str, terms: dict[str, Any], wanted: str | None
) -> None:
    if wanted is None:
        with pytest.raises(PhoneError):
            phone_number(typed, Callback.model_validate(terms))
    else:
        assert phone_number(typed, Callback.model_validate(terms)) == wanted


async def test_a_wrong_number_is_said_and_what_was_written_stays(desk: DeskServer) -> None:
    answer = await ask(desk.visitor(), phone="12")
    assert answer.status_code == 422
    assert templates.text("en", "phone_wrong") in answer.text
    assert "Wine" in answer.text
    assert await desk.service.ledger.callbacks.count("shop") == 0


async def test_programs_others_and_too_many_leave_nothing(tmp_path: Path) -> None:
    async with desk_server(tmp_path, more=MORE, limits={"forms": {"client": 2}}) as desk:
        client = desk.visitor()
        assert (await ask(client, website="x")).status_code == 200
        elsewhere = await client.post(
            "callback", data={"phone": PHONE}, headers={"sec-fetch-site": "cross-site"}
        )
        assert elsewhere.status_code == 403
        assert await desk.service.ledger.callbacks.count("shop") == 0
        assert [(await ask(client)).status_code for _ in range(2)] == [200, 429]


async def test_a_site_that_calls_nobody_has_no_form(tmp_path: Path) -> None:
    async with desk_server(tmp_path) as desk:
        assert (await desk.client().get("callback")).status_code == 404
        assert "callback" not in (await desk.client().get("ask")).text
        assert "Callbacks" not in (await (await desk.agent()).get("desk/")).text


async def test_wishes_are_pieces_of_the_office_hours() -> None:
    zone = ZoneInfo("Europe/Berlin")
    hours = OfficeHours(Hours(fri=["09:00-12:00"], mon=["09:00-10:00"]), "Europe/Berlin")
    now = datetime(2026, 11, 27, 9, 30, tzinfo=zone).timestamp()
    shown = [
        tuple(datetime.fromtimestamp(one, zone).strftime("%a %H:%M") for one in slot)
        for slot in slots(hours, now)
    ]
    friday = [("Fri 09:00", "Fri 11:00"), ("Fri 11:00", "Fri 12:00")]
    assert shown == [*friday, ("Mon 09:00", "Mon 10:00"), *friday]
    assert slots(OfficeHours(None, "UTC"), now) == []


async def test_only_a_time_of_the_list_is_a_wish(tmp_path: Path) -> None:
    async with desk_server(tmp_path, more={**MORE, "hours": EVERY}) as desk:
        client = desk.visitor()
        form = await client.get("callback")
        times = re.findall(r'<option value="(\d+)"', form.text)
        assert 1 < len(times) <= 24
        await ask(client, at=times[2])
        (found,) = await desk.service.ledger.callbacks.waiting("shop")
        assert found.wished_at == int(times[2])
        for wrong in (str(int(times[2]) + 1), "-1", "9" * 30, "soon"):
            assert (await ask(client, at=wrong)).status_code == 200
            (found,) = await desk.service.ledger.callbacks.waiting("shop")
            assert found.wished_at is None


async def test_who_is_forgotten_is_not_called(desk: DeskServer) -> None:
    await ask(desk.visitor())
    person = await desk.service.ledger.forgetting.person("shop", visitor=VISITOR)
    await desk.service.ledger.forgetting.forget(person, desk.clock.now())
    assert await desk.service.ledger.callbacks.count("shop") == 0
    (row,) = (await desk.service.ledger.exports.page("callbacks", Wanted("shop"), None, 10)).rows
    assert (row["visitor"], row["phone"], row["topic"], row["state"]) == (None, "", "", "dropped")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en-GB", "ar"])
async def test_it_works_in_a_browser_without_javascript(
    tmp_path: Path, chromium: Browser, language: str, scheme: Any
) -> None:
    texts = templates.texts(templates.language(language))
    async with desk_server(tmp_path, more={**MORE, "hours": EVERY}) as desk, desk.served() as address:
        for scripts in (False, True):
            context = await chromium.new_context(
                java_script_enabled=scripts,
                locale=language,
                color_scheme=scheme,
                viewport={"width": 320, "height": 700},
            )
            try:
                page = await context.new_page()
                await page.goto(f"{address}ask")
                await page.get_by_role("link", name=str(texts["callback_title"])).click()
                if scripts:
                    assert await faults(page) == []
                    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
                await page.get_by_label(str(texts["phone_here"])).fill("030 901820")
                await page.get_by_label(str(texts["when"])).select_option(index=1)
                await page.get_by_role("button", name=str(texts["send"])).click()
                await expect(page.get_by_role("status")).to_contain_text("+49 30 901820")
            finally:
                await context.close()
        await desk.agent()
        context = await chromium.new_context(color_scheme=scheme, viewport={"width": 320, "height": 700})
        try:
            page = await context.new_page()
            await page.goto(f"{address}desk/login")
            await page.get_by_label("Name").fill("bo")
            await page.get_by_label("Password").fill(PASSWORD)
            await page.keyboard.press("Enter")
            await page.get_by_text("Menu", exact=True).click()
            await page.get_by_role("link", name="Callbacks").click()
            await page.get_by_role("button", name="Reached", exact=False).first.click()
            await expect(page.get_by_role("heading", name="Done")).to_be_visible()
            assert await faults(page) == []
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        finally:
            await context.close()
