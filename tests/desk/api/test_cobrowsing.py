"""Co-browsing over HTTP: nothing is shown without the visitor's word, and nothing of it stays."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from clew.chat.hub import talk_topic
from clew.settings.model import Settings
from clew.stores import visits_sqlite
from desks import VISITOR, DeskServer, desk_server, hidden
from pydantic import ValidationError

STRANGER = "zzzzbbbbccccddddeeeeffff22"
URL = "http://shop.test/pots"
PAGE = (
    "<html class=wide><body><h1>Pots</h1><p class=price>9 EUR</p><input value=typed><script>1</script></body>"
)


@pytest_asyncio.fixture
async def desk(tmp_path: Path, ledger_address: str) -> AsyncIterator[DeskServer]:
    cobrowsing = {"enabled": True, "mask": [".price"], "private": ["/club/*"], "hosts": ["cdn.test"]}
    built = DeskServer(tmp_path, ledger=ledger_address, more={"cobrowsing": cobrowsing})
    await built.service.start()
    yield built
    await built.service.stop()


async def act(agent: httpx2.AsyncClient, talk: str, path: str, **fields: str) -> httpx2.Response:
    page = await agent.get(f"desk/conversations/{talk}")
    return await agent.post(f"desk/conversations/{talk}/{path}", data={"csrf": hidden(page.text), **fields})


async def answer(visitor: httpx2.AsyncClient, state: str, client_id: str = "answer-1") -> httpx2.Response:
    return await visitor.post("cobrowsing", json={"state": state, "client_id": client_id, "language": "en"})


async def show(visitor: httpx2.AsyncClient, html: str = PAGE, url: str = URL) -> httpx2.Response:
    return await visitor.post("cobrowsing/page", json={"url": url, "html": html})


async def seen(agent: httpx2.AsyncClient, talk: str) -> httpx2.Response:
    return await agent.get(f"desk/conversations/{talk}/cobrowsing/page")


async def agreed(desk: DeskServer) -> tuple[str, httpx2.AsyncClient, httpx2.AsyncClient]:
    """A conversation in which the visitor shows its page, its agent and its visitor."""
    talk, agent, visitor = await desk.says("hello"), await desk.agent(), desk.visitor()
    assert (await act(agent, talk, "cobrowsing")).status_code == 303
    assert (await answer(visitor, "on")).status_code == 204
    return talk, agent, visitor


async def test_the_agent_sees_the_page_once_the_visitor_has_agreed(desk: DeskServer) -> None:
    talk, agent, visitor = await agreed(desk)
    assert (await show(visitor)).status_code == 204
    shown = await seen(agent, talk)
    assert "<h1>Pots</h1>" in shown.text
    assert '<html class="wide">' in shown.text
    for gone in ("9 EUR", "typed", "<script"):
        assert gone not in shown.text
    policy = shown.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'; img-src http://shop.test https://shop.test ")
    assert "https://cdn.test" in policy
    assert "script-src" not in policy
    assert shown.headers["referrer-policy"] == "no-referrer"
    assert shown.headers["cache-control"] == "no-store"
    page = (await agent.get(f"desk/conversations/{talk}")).text
    assert 'sandbox src="/-/clew/desk/conversations/' in page
    said = [m["text"] for m in (await visitor.get("messages")).json()["messages"]]
    assert said[1:] == [
        "Darf ich die Seite sehen, die Sie geöffnet haben? Was Sie eingeben, bleibt verborgen.",
        "Yes, you may see my page",
    ]


async def test_without_a_word_nothing_is_taken(desk: DeskServer) -> None:
    talk, agent, visitor = await desk.says("hello"), await desk.agent(), desk.visitor()
    assert (await answer(visitor, "on")).status_code == 409  # nobody has asked
    assert (await show(visitor)).status_code == 409
    await act(agent, talk, "cobrowsing")
    assert (await show(visitor)).status_code == 409  # asked, and not answered
    assert (await visitor.get("cobrowsing", params={"url": URL})).json() == {
        "state": "asked",
        "page": False,
        "mask": [],
    }
    await answer(visitor, "off")
    assert (await show(visitor)).status_code == 409
    assert (await desk.visitor(STRANGER).get("cobrowsing")).json()["state"] == "off"
    assert (await answer(desk.visitor(STRANGER), "on")).status_code == 409
    assert "The visitor shows no page now." in (await seen(agent, talk)).text
    assert await desk.service.visits.page("shop", VISITOR, desk.clock.now()) is None


@pytest.mark.parametrize("who", ["visitor", "agent", "time", "closed", "forgotten", "deleted"])
async def test_it_ends_and_the_copy_is_not_seen_again(desk: DeskServer, who: str) -> None:
    talk, agent, visitor = await agreed(desk)
    await show(visitor)
    assert "Pots" in (await seen(agent, talk)).text
    if who == "visitor":
        await answer(visitor, "off", "answer-2")
    elif who == "agent":
        await act(agent, talk, "cobrowsing", do="end")
    elif who == "time":
        desk.clock.ahead = 31 * 60
    elif who == "closed":
        await desk.service.conversations.close("shop", talk)
    elif who == "deleted":
        assert (await visitor.post("forget-talk", json={})).json() == {"deleted": True}
        assert (await show(visitor)).status_code == 409
    else:
        await desk.service.forgetter.forget("shop", visitor=VISITOR)
    if who not in ("forgotten", "deleted"):
        assert "Pots" not in (await seen(agent, talk)).text
        assert (await show(visitor)).status_code == 409
    async with asyncio.timeout(20):
        # Deleted after the answer where a conversation was closed.
        while await desk.service.visits.page(  # noqa: ASYNC110 - nothing tells of it
            "shop", VISITOR, desk.clock.now()
        ):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.test/checkout/payment",
        "http://shop.test/my-account/orders",
        "http://shop.test/login",
        "http://shop.test/en/kasse/",
        "http://shop.test/club/benefits",
        "http://shop.test/-/clew/desk/",
        "http://elsewhere.test/pots",
        "javascript:alert(1)",
        "http://shop.test;script-src *.test/pots",
        "http://user@shop.test/pots",
    ],
)
async def test_private_and_foreign_pages_are_never_shown(desk: DeskServer, url: str) -> None:
    talk, agent, visitor = await agreed(desk)
    assert (await visitor.get("cobrowsing", params={"url": url})).json()["page"] is False
    assert (await show(visitor, url=url)).status_code == 403
    assert "Pots" not in (await seen(agent, talk)).text


async def test_an_agent_who_has_not_the_conversation_ends_nothing(desk: DeskServer) -> None:
    talk, agent, visitor = await agreed(desk)
    await show(visitor)
    eve = await desk.agent("eve")
    assert (await act(eve, talk, "cobrowsing", do="end")).status_code == 409
    assert "Pots" in (await seen(agent, talk)).text


async def test_a_copy_is_written_outside_of_the_loop(
    desk: DeskServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, visitor = await agreed(desk)
    written, write = [], visits_sqlite._write_page

    def noted(*given: Any) -> None:
        written.append(threading.current_thread() is threading.main_thread())
        write(*given)

    monkeypatch.setattr(visits_sqlite, "_write_page", noted)
    assert (await show(visitor)).status_code == 204
    assert written == [False]


async def test_other_sites_visitors_and_strangers_get_nothing(desk: DeskServer) -> None:
    talk, _, visitor = await agreed(desk)
    await show(visitor)
    assert (await desk.client().get(f"desk/conversations/{talk}/cobrowsing/page")).status_code == 404
    eve = await desk.agent("eve", site="other", base="http://other.test")
    assert (await eve.get(f"desk/conversations/{talk}/cobrowsing/page")).status_code == 404
    assert (await show(desk.visitor(STRANGER))).status_code == 409


async def test_only_the_desks_own_frame_gets_the_page(desk: DeskServer) -> None:
    talk, agent, visitor = await agreed(desk)
    await show(visitor)
    framed = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe", "sec-fetch-site": "same-origin"}
    path = f"desk/conversations/{talk}/cobrowsing/page"
    assert (await agent.get(path, headers=framed)).status_code == 403
    page = (await agent.get(f"desk/conversations/{talk}")).text
    key = page.partition('data-key="')[2].partition('"')[0]
    assert (await agent.get(f"{path}?key={key}", headers=framed)).status_code == 200
    assert (await agent.get(f"desk/conversations/{talk}?key={key}", headers=framed)).status_code == 403
    fetched = {"sec-fetch-mode": "cors", "sec-fetch-dest": "empty", "sec-fetch-site": "same-origin"}
    assert (await agent.get(path, headers=fetched)).status_code == 403


async def test_the_desk_hears_of_a_new_page(desk: DeskServer) -> None:
    talk, _, visitor = await agreed(desk)
    with desk.service.hub.listen(talk_topic("shop", talk)) as listener:
        await show(visitor)
        async with asyncio.timeout(30):
            signs: list[Any] = []
            while not any(sign.kind == "page" for sign in signs):
                await listener.wait(1)
                signs += listener.given()
    assert json.loads(json.dumps(signs[-1].data)) == {"conversation": talk}


async def test_the_worker_of_the_desk_has_what_another_one_got(
    desk: DeskServer, tmp_path: Path, ledger_address: str
) -> None:
    other = DeskServer(tmp_path, ledger=ledger_address, more={"cobrowsing": {"enabled": True}})
    await other.service.start()
    try:
        talk, _, visitor = await agreed(desk)
        agent = await other.agent()
        assert "Pots" not in (await seen(agent, talk)).text
        await show(visitor)
        assert "Pots" in (await seen(agent, talk)).text
        await answer(other.visitor(), "off", "answer-2")
        assert (await show(visitor)).status_code == 409
        assert "Pots" not in (await seen(await desk.agent(), talk)).text
    finally:
        await other.service.stop()


async def test_the_copy_is_bounded(tmp_path: Path) -> None:
    setting = {"enabled": True, "kilobytes": 64}
    limits = {"cobrowsing": {"client": 3}}
    async with desk_server(tmp_path, limits=limits, more={"cobrowsing": setting}) as desk:
        talk, agent, visitor = await agreed(desk)
        assert (await show(visitor, "x" * 70_000)).status_code == 413
        assert (await show(visitor, "é" * 200_000)).status_code == 413
        assert (await show(visitor, "<div>" * 13_000)).status_code in (204, 422)
        answers = [(await show(visitor)).status_code for _ in range(3)]
        assert answers[-1] == 429
        assert "Pots" in (await seen(agent, talk)).text


async def test_as_many_pages_as_files_come_at_the_same_time(tmp_path: Path) -> None:
    limits = {"file_uploads": {"client": 1}}
    async with desk_server(tmp_path, limits=limits, more={"cobrowsing": {"enabled": True}}) as desk:
        _, _, visitor = await agreed(desk)
        with desk.service.limits.hold("file_uploads", "shop", "203.0.113.7"):
            assert (await show(visitor)).status_code == 429
        assert (await show(visitor)).status_code == 204


async def test_an_agent_proposes_a_page_of_the_shop_and_no_other(desk: DeskServer) -> None:
    talk, agent, visitor = await desk.says("hello"), await desk.agent(), desk.visitor()
    assert (await act(agent, talk, "open", url=f" {URL}?size=2 ")).status_code == 303
    for bad in ("http://evil.test/", "javascript:alert(1)", "/pots", "http://shop.test/-/clew/desk/", ""):
        assert (await act(agent, talk, "open", url=bad)).status_code == 422, bad
    read = (await visitor.get("messages")).json()["messages"]
    assert [m.get("open") for m in read] == [None, {"url": f"{URL}?size=2"}]
    assert f"{URL}?size=2" in read[1]["text"]


async def test_it_is_off_unless_the_settings_say_so(tmp_path: Path) -> None:
    async with desk_server(tmp_path) as desk:
        talk, agent = await desk.says("hello"), await desk.agent()
        assert (await act(agent, talk, "cobrowsing")).status_code == 404
        # Not even read.
        assert (await show(desk.visitor(), "x" * 5_000_000)).status_code == 409
        assert "Ask to see the visitor" not in (await agent.get(f"desk/conversations/{talk}")).text


def test_a_private_pattern_that_is_none_is_an_error() -> None:
    site = {"name": "shop", "hosts": ["shop.test"], "cobrowsing": {"private": ["club"]}}
    with pytest.raises(ValidationError):
        Settings.model_validate({"secret": "x" * 40, "sites": [site]})
