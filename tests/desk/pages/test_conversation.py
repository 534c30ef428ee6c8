"""The agent's pages, as a browser without JavaScript uses them."""

import re
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from clew.chat.model import Conversation
from clew.orders.model import OrderSeen
from clew.referral.invites import Invited, Offered
from clew.referral.touches import Click, Touch
from clew.referral.visitor import CartSeen, Change, Page, Touched, Viewed
from clew.stores.ledger.connection import executing
from desks import OTHER, PASSWORD, SHOP, VISITOR, DeskServer, desk_server, events, hidden
from selectolax.lexbor import LexborHTMLParser
from sqlalchemy import text
from talks import open_by_agent

XSS = '"><img src=x onerror=alert(1)></textarea><script>alert(2)</script>'


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path) as built:
        yield built


async def visit(desk: DeskServer, *changes: Change, visitor: str = VISITOR) -> None:
    await desk.service.visits.change("shop", visitor, changes, desk.service.clock.now())


def viewed(desk: DeskServer, path: str, title: str, ago: float = 0) -> Viewed:
    return Viewed(Page(f"view-{path}", desk.service.clock.now() - ago, f"{SHOP}{path}", title))


def text_of(page: str) -> str:
    """What a person reads: without tags and with single blanks."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))


def harmless(page: str) -> None:
    """Nothing in the page is an element or an address that was not meant to be one."""
    parsed = LexborHTMLParser(page)
    assert parsed.css("img, iframe, object, embed, base, style") == []
    assert all("src" in node.attributes and not node.text() for node in parsed.css("script"))
    for node in parsed.css("*"):
        assert not any(name.startswith("on") or name == "style" for name in node.attributes), node.html
        for name in ("href", "src", "action"):
            target = node.attributes.get(name) or "/"
            assert target.startswith(("/-/clew/desk", "#", "/", "data:image/svg+xml,", f"{SHOP}/")), target


async def test_the_invite_that_began_a_conversation_is_its_first_line(desk: DeskServer) -> None:
    talk = await desk.says("Which grinder?", invite="Any <b>question</b> on mugs?", rule="mugs")
    agent = await desk.agent()
    for path in (f"desk/conversations/{talk}", "desk/talks"):
        await desk.conversations.claim("shop", talk, "bo", desk.service.clock.now())
        page = (await agent.get(path)).text
        first, second, *_ = LexborHTMLParser(page).css(".messages > .message")
        assert "Invite of the rule mugs" in text_of(first.html or "")
        assert first.css_first(".text").text() == "Any <b>question</b> on mugs?"
        assert second.css_first(".text").text() == "Which grinder?"
    # One without an invite has none.
    other = await desk.says("Hello", "x" * 25)
    assert "Invite" not in text_of((await agent.get(f"desk/conversations/{other}")).text)


async def test_the_inbox_shows_waiting_time_partner_and_page(desk: DeskServer) -> None:
    await visit(
        desk,
        Touched(Touch(int(desk.service.clock.now()), (Click("plain", "aff", "x1", "anna"),))),
        viewed(desk, "/basket", "Your basket"),
    )
    desk.clock.ahead = -125
    await desk.visitor().post("messages", json={"text": "is it blue?", "client_id": "widget-id-1"})
    desk.clock.ahead = 0
    page = (await (await desk.agent()).get("desk/")).text
    assert "is it blue?" in page
    assert "waiting 2 min" in text_of(page)
    assert '<span class="tag partner">anna</span>' in page
    assert "Your basket" in page
    assert "<title>(1) Inbox" in page


async def test_an_empty_inbox_shows_a_text(desk: DeskServer) -> None:
    page = (await (await desk.agent()).get("desk/")).text
    assert "Nobody is waiting" in page
    assert 'http-equiv="refresh"' in page


async def test_the_desk_without_its_slash_is_the_inbox(desk: DeskServer) -> None:
    """field E19: nothing below the prefix leads to another spelling"""
    answer = await (await desk.agent()).get("desk")
    assert (answer.status_code, "Nobody is waiting" in answer.text) == (200, True)


async def test_a_conversation_shows_its_messages_and_the_whole_trail(desk: DeskServer) -> None:
    now = desk.service.clock.now()
    click = Click("awin", "awc", "123_456_abc", "anna")
    await visit(
        desk,
        Touched(
            Touch(int(now) - 86400, (click,), {"utm_term": "blue shoes"}, "https://google.com/", "/sale")
        ),
    )
    await visit(desk, viewed(desk, "/sale", "Sale", ago=90), viewed(desk, "/search?q=red+hat", "Found"))
    await visit(desk, CartSeen({"value": "59.90", "currency": "EUR", "items": "2"}))
    await visit(desk, Offered((), "after-wait", "v"), Invited("after-wait", "accepted"))
    talk = await desk.says("is it blue?", rule="after-wait", invite="Questions about <b>hats</b>?")
    page = (await (await desk.agent()).get(f"desk/conversations/{talk}")).text
    read = text_of(page)
    for told in (
        "is it blue?",
        "Invite of the rule after-wait Questions about &lt;b&gt;hats&lt;/b&gt;?",
        "German",
        "59.90 EUR",
        "anna",
        "awc=123_456_abc",
        "blue shoes",
        "red hat",
        "rule after-wait",
        "Sale",
        "/search",
        "2 in this visit",
        "first visit",
        "not taken yet",
        "credited to anna",
    ):
        assert told in read, told
    assert f"{SHOP}/sale" not in page  # field E2: no address of a visitor is a link


async def test_a_visitor_without_stored_data_can_be_answered(desk: DeskServer) -> None:
    talk = await desk.says("hello")
    answer = await (await desk.agent()).get(f"desk/conversations/{talk}")
    assert answer.status_code == 200
    assert "No data about this visitor" in answer.text


async def test_a_returning_visitors_earlier_conversation_is_one_click_away(desk: DeskServer) -> None:
    earlier = await desk.says("last year", now=desk.service.clock.now() - 90 * 86400)
    await desk.conversations.close("shop", earlier, desk.service.clock.now() - 90 * 86400)
    talk = await desk.says("today")
    page = (await (await desk.agent()).get(f"desk/conversations/{talk}")).text
    assert talk != earlier
    assert f"/desk/conversations/{earlier}" in page.partition("Earlier conversations")[2]


async def test_an_answer_reaches_the_visitor_and_makes_the_conversation_the_agents(desk: DeskServer) -> None:
    talk = await desk.says("hello")
    client = await desk.agent()
    page = (await client.get(f"desk/conversations/{talk}")).text
    fields = {"csrf": hidden(page), "client_id": hidden(page, "client_id"), "text": "  hi\r\nthere "}
    answer = await client.post(f"desk/conversations/{talk}/messages", data=fields)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/-/clew/desk/conversations/{talk}#end")
    read = (await desk.visitor().get("messages")).json()["messages"]
    assert [(m["author"], m["agent"], m["text"]) for m in read] == [
        ("visitor", None, "hello"),
        ("agent", None, "hi\nthere"),
    ]
    after = (await client.get(f"desk/conversations/{talk}")).text
    assert "yours" in text_of(after)
    assert hidden(after, "client_id") != fields["client_id"]


async def test_a_form_that_is_sent_twice_answers_once(desk: DeskServer) -> None:
    talk = await desk.says("hello")
    client = await desk.agent()
    page = (await client.get(f"desk/conversations/{talk}")).text
    fields = {"csrf": hidden(page), "client_id": hidden(page, "client_id"), "text": "hi"}
    for _ in range(2):
        assert (await client.post(f"desk/conversations/{talk}/messages", data=fields)).status_code == 303
    assert len((await desk.visitor().get("messages")).json()["messages"]) == 2


@pytest.mark.parametrize(("text", "told"), [("", "empty"), (" \n ", "empty"), ("x" * 4001, "at most 4000")])
async def test_an_answer_that_cannot_be_sent_is_kept_in_the_form(
    desk: DeskServer, text: str, told: str
) -> None:
    talk = await desk.says("hello")
    client = await desk.agent()
    token = hidden((await client.get("desk/")).text)
    answer = await client.post(f"desk/conversations/{talk}/messages", data={"csrf": token, "text": text})
    assert answer.status_code == 422
    assert told in answer.text
    if text.strip():
        assert f">{text}</textarea>" in answer.text
    assert len((await desk.visitor().get("messages")).json()["messages"]) == 1


async def test_taking_and_closing_change_the_inbox(desk: DeskServer) -> None:
    talk = await desk.says("hello")
    client = await desk.agent()
    token = hidden((await client.get("desk/")).text)
    await client.post(f"desk/conversations/{talk}/take", data={"csrf": token})
    assert "yours" in text_of((await client.get("desk/")).text)
    assert await open_by_agent(desk.service.ledger.inbox, "shop") == {"bo": 1}
    closed = await client.post(f"desk/conversations/{talk}/close", data={"csrf": token})
    assert closed.headers["location"] == "/-/clew/desk/"
    assert "Nobody is waiting" in (await client.get("desk/")).text
    assert (await desk.visitor().get("messages")).json()["state"] == "closed"
    assert "is closed" in (await client.get(f"desk/conversations/{talk}")).text


async def test_answering_a_closed_conversation_opens_it(desk: DeskServer) -> None:
    talk = await desk.says("hello")
    await desk.conversations.close("shop", talk, desk.service.clock.now())
    client = await desk.agent()
    token = hidden((await client.get("desk/")).text)
    await client.post(f"desk/conversations/{talk}/messages", data={"csrf": token, "text": "one more"})
    assert (await desk.visitor().get("messages")).json()["state"] == "open"


async def test_an_order_closed_in_the_chat_is_recorded_for_the_visitor_and_this_agent(
    desk: DeskServer,
) -> None:
    talk = await desk.says("I take it")
    client = await desk.agent()
    token = hidden((await client.get("desk/")).text)
    fields = {"csrf": token, "order_id": " 1001 ", "total": "129,90", "currency": "eur"}
    answer = await client.post(f"desk/conversations/{talk}/order", data=fields)
    assert answer.status_code == 303
    (order,) = await desk.service.ledger.orders.list("shop")
    assert (order.order_id, str(order.total), order.currency) == ("1001", "129.90", "EUR")
    assert (order.channel, order.source) == ("chat", "agent")
    assert (order.visitor, order.conversation, order.agent) == (VISITOR, talk, "bo")
    page = (await client.get(SHOP + answer.headers["location"])).text
    assert "The order is recorded" in page
    assert re.search(r"1001 \d\d:\d\d 129.90 EUR chat nobody", text_of(page))


async def test_the_agent_sees_that_the_order_is_held(desk: DeskServer) -> None:
    """The desk said only "The order is recorded", although the partner was not notified."""
    now = desk.service.clock.now()
    touch = Touched(Touch(int(now), (Click("plain", "aff", "x1", "anna"),)))
    await desk.service.visits.change("shop", VISITOR, [touch], now)
    for number in range(5):
        before = OrderSeen(id=f"a{number}", total=Decimal("50.00"), currency="USD", source="api")
        await desk.service.ordering.record(desk.service.sites["shop"], before, visitor=None, touches=())
    talk = await desk.says("I take it")
    client = await desk.agent()
    token = hidden((await client.get("desk/")).text)
    fields = {"csrf": token, "order_id": "1001", "total": "50", "currency": "EUR"}
    answer = await client.post(f"desk/conversations/{talk}/order", data=fields)
    page = (await client.get(SHOP + answer.headers["location"])).text
    assert "its partner has not been notified yet" in page
    assert "/desk/postbacks?state=held" in page


async def test_a_known_order_number_changes_nothing_and_is_reported(desk: DeskServer) -> None:
    talk = await desk.says("I take it")
    client = await desk.agent()
    token = hidden((await client.get("desk/")).text)
    for total in ("129.90", "1.00"):
        fields = {"csrf": token, "order_id": "1001", "total": total, "currency": "EUR"}
        answer = await client.post(f"desk/conversations/{talk}/order", data=fields)
    assert "nothing was changed" in (await client.get(SHOP + answer.headers["location"])).text
    assert [str(o.total) for o in await desk.service.ledger.orders.list("shop")] == ["129.90"]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"total": "1.299"}, "total"),
        ({"total": "1.299,00"}, "total"),
        ({"total": "1 299"}, "total"),
        ({"total": "-5"}, "total"),
        ({"total": "1e3"}, "total"),
        ({"total": "NaN"}, "total"),
        ({"total": "٣"}, "total"),
        ({"total": "9" * 16}, "total"),
        ({"total": ""}, "total"),
        ({"total": "59.90", "currency": "JPY"}, "total"),
        ({"currency": "EURO"}, "currency"),
        ({"currency": "XXX"}, "currency"),
        ({"currency": ""}, "currency"),
        ({"order_id": ""}, "id"),
        ({"order_id": "x" * 201}, "id"),
        ({"order_id": "a\x00b"}, "id"),
    ],
)
async def test_an_ambiguous_or_invalid_order_is_refused_with_the_fields_kept(
    desk: DeskServer, fields: dict[str, str], told: str
) -> None:
    talk = await desk.says("I take it")
    client = await desk.agent()
    token = hidden((await client.get("desk/")).text)
    sent = {"order_id": "1001", "total": "59.90", "currency": "EUR", **fields, "csrf": token}
    answer = await client.post(f"desk/conversations/{talk}/order", data=sent)
    assert answer.status_code == 422
    assert f"Not recorded: {told}" in answer.text
    assert f'value="{sent["total"]}"' in answer.text
    assert await desk.service.ledger.orders.list("shop") == ()


FORGED = ["x", "A" * 22, "%2e%2e", "%00", "a%2Fb", "1' OR '1'='1", "A" * 5000, "%C3%A4", "<b>"]


@pytest.mark.parametrize("door", ["", "/messages", "/take", "/close", "/order"])
async def test_a_forged_conversation_id_finds_nothing(desk: DeskServer, door: str) -> None:
    await desk.says("secret words")
    client = await desk.agent()
    fields = {"csrf": hidden((await client.get("desk/")).text), "text": "x"}
    for forged in FORGED:
        path = f"desk/conversations/{forged}{door}"
        answer = await client.post(path, data=fields) if door else await client.get(path)
        assert answer.status_code in (404, 405), forged
        assert "secret words" not in answer.text
    (entry,) = await desk.service.ledger.inbox.page("shop")
    assert (entry.conversation.state, entry.conversation.agent, entry.count) == ("open", None, 1)


@pytest.mark.parametrize("site", [None, "shop"])
async def test_a_conversation_of_another_site_is_not_there(desk: DeskServer, site: str | None) -> None:
    """Also for an agent of all sites: each desk shows its own site."""
    foreign = await desk.says("secret words", site="other")
    client = await desk.agent("bo", site)
    token = hidden((await client.get("desk/")).text)
    assert "secret words" not in (await client.get("desk/")).text
    assert (await client.get(f"desk/conversations/{foreign}")).status_code == 404
    for door, fields in (
        ("messages", {"text": "x"}),
        ("take", {}),
        ("close", {}),
        ("order", {"order_id": "1", "total": "1", "currency": "EUR"}),
    ):
        answer = await client.post(f"desk/conversations/{foreign}/{door}", data={"csrf": token, **fields})
        assert answer.status_code == 404
    (entry,) = await desk.service.ledger.inbox.page("other")
    assert (entry.conversation.state, entry.conversation.agent, entry.count) == ("open", None, 1)


async def test_an_agent_of_all_sites_works_at_each_of_them(desk: DeskServer) -> None:
    talk = await desk.says("over here", site="other")
    client = await desk.agent(base=OTHER)
    assert "over here" in (await client.get(f"desk/conversations/{talk}")).text


async def test_whatever_a_visitor_sends_is_shown_as_text(desk: DeskServer) -> None:
    now = desk.service.clock.now()
    await visit(
        desk,
        Touched(
            Touch(
                int(now),
                (Click(XSS, XSS, XSS, XSS),),
                {"utm_source": XSS, "utm_term": XSS, "utm_campaign": XSS},
                f"https://evil.test/{XSS}",
                f"/{XSS}",
            )
        ),
        Viewed(Page("v1", now - 5, f"{SHOP}/{XSS}?q={XSS}", XSS)),
        Viewed(Page("v2", now, "javascript:alert(3)", XSS), language=XSS),
        CartSeen({"value": XSS, "currency": XSS, "items": XSS}),
        Offered((), XSS, "v2"),
        Invited(XSS, "seen"),
    )
    talk = await desk.says(XSS)
    client = await desk.agent()
    for path in ("desk/", f"desk/conversations/{talk}"):
        page = (await client.get(path)).text
        assert "alert(1)" in page
        harmless(page)
    assert "javascript:alert(3)" in page


async def test_an_answer_that_is_markup_stays_text_in_every_place(desk: DeskServer) -> None:
    talk = await desk.says("hello")
    client = await desk.agent()
    token = hidden((await client.get("desk/")).text)
    await client.post(f"desk/conversations/{talk}/messages", data={"csrf": token, "text": XSS})
    fields = {"csrf": token, "order_id": XSS, "total": XSS, "currency": XSS}
    refused = await client.post(f"desk/conversations/{talk}/order", data=fields)
    for page in ((await client.get(f"desk/conversations/{talk}")).text, refused.text):
        assert "alert(1)" in page
        harmless(page)


async def test_an_agent_who_reads_is_online_also_without_javascript(desk: DeskServer) -> None:
    client = await desk.agent()
    assert await desk.agents.online("shop", desk.service.clock.now()) == 0
    await client.get("desk/")
    assert await desk.agents.online("shop", desk.service.clock.now()) == 1


async def test_an_open_stream_makes_the_agent_online_and_reports_changes(desk: DeskServer) -> None:
    client = await desk.agent()
    async with desk.served() as address:
        # The session is for the host that it was opened on.
        headers = {"cookie": f"clew_desk={client.cookies['clew_desk']}", "host": "shop.test"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=30) as live,
            live.stream("GET", f"{address}desk/stream") as response,
        ):
            told = events(response)
            first = await anext(told)
            assert first["event"] == "changed"
            assert await desk.agents.online("shop", desk.service.clock.now()) == 1
            await desk.visitor().post("messages", json={"text": "hello", "client_id": "widget-id-1"})
            second = await anext(told)
            assert second["event"] == "changed"
            assert second["id"] != first["id"]


async def test_the_styles_and_the_script_come_from_here_and_may_be_kept(desk: DeskServer) -> None:
    client = await desk.agent()
    page = (await client.get("desk/")).text
    for path, kind in re.findall(r'(?:href|src)="/-/clew/(desk/desk\.(css|js)\?v=[0-9a-f]+)"', page):
        answer = await client.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith({"css": "text/css", "js": "text/javascript"}[kind])
        assert "immutable" in answer.headers["cache-control"]
    assert page.count("desk.css?v=") == page.count("desk.js?v=") == 1


async def test_a_failing_ledger_gets_an_error_page(desk: DeskServer) -> None:
    client = await desk.agent()
    await desk.service.ledger.db.transact(executing(text("DROP TABLE messages")))
    answer = await client.get("desk/")
    assert answer.status_code == 503
    assert "cannot be reached" in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("action", "fields"),
    [
        ("messages", {"text": "Yes"}),
        ("take", {}),
        ("close", {}),
        ("transfer", {"to": "agent:cy"}),
        ("notes", {"note": "rings twice"}),
        ("block", {"hours": "1"}),
        ("offers", {"label": "The mug", "page": "/mug"}),
        ("cobrowsing", {}),
        ("open", {"url": "http://shop.test/mug"}),
        ("tags", {"tag": "wine"}),
        ("typing", {}),
        ("seen", {"message": "1"}),
    ],
)
async def test_a_conversation_that_its_visitor_deletes_meanwhile_is_said_to_be_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str, fields: dict[str, str]
) -> None:
    more = {"cobrowsing": {"enabled": True}}
    async with desk_server(tmp_path, {"free_tags": True}, more=more) as desk:
        talk, agent = await desk.says("hello"), await desk.agent()
        await desk.agents.add("cy", PASSWORD, site=None, now=desk.clock.now())
        found = await desk.conversations.get("shop", talk)
        csrf = hidden((await agent.get(f"desk/conversations/{talk}")).text)

        async def still_there(*_: object) -> Conversation | None:
            return found

        monkeypatch.setattr(desk.conversations, "get", still_there)
        await desk.service.ledger.forgetting.forget_talks("shop", VISITOR, desk.clock.now())
        answer = await agent.post(f"desk/conversations/{talk}/{action}", data={"csrf": csrf, **fields})
        if answer.status_code not in (204, 303):
            assert answer.status_code == 404, answer.text
            assert "its visitor may have deleted it" in answer.text
        else:
            # What is only passed on, or noted, reaches nobody.
            assert action in ("typing", "seen", "notes", "block")
