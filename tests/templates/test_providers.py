"""A provider's chat in place of clew's own, for each entry of chat/providers.toml."""

import json
import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from clew.chat.providers import providers
from clew.injector.csp_hosts import extended_policies
from fake_clew import HIDE, INVITE, SHOW, FakeClew, shop_page
from playwright.async_api import Page, Route, expect
from vendors import HELPERS, VENDORS

pytestmark = pytest.mark.asyncio(loop_scope="session")

REF = "clw1_abcdefghijklmnopqrstuvwx"
ATTRIBUTES = {"clew_ref": REF, "clew_partner": "blog"}
CHAT = {"load": "click", "blocked": False, "attributes": ATTRIBUTES}
NAMES = sorted(providers())


class Elsewhere:
    """The provider's servers, as the page meets them."""

    def __init__(self, script: str) -> None:
        self.script = script
        self.asked: list[str] = []
        self.status = 200
        self.holds = False

    async def answer(self, route: Route) -> None:
        """One request to another host than the shop's."""
        self.asked.append(route.request.url)
        if not self.holds:
            body = f"(() => {{ {HELPERS} {self.script} }})();"
            await route.fulfill(status=self.status, content_type="text/javascript", body=body)


async def shop_with(clew: FakeClew, page: Page, name: str, status: int = 200, **chat: Any) -> Elsewhere:
    """A page of a shop that uses this provider."""
    vendor = VENDORS[name]
    clew.provider = {"title": providers()[name].title, **providers()[name].filled(vendor.ids)}
    clew.answer = clew.answer | {"chat": CHAT | chat}
    elsewhere = Elsewhere(vendor.script)
    elsewhere.status = status
    own = urlsplit(clew.url).netloc
    await page.route(lambda url: urlsplit(url).netloc != own, elsewhere.answer)
    await page.goto(clew.url)
    return elsewhere


async def until_heard(page: Page, what: object) -> list[list[Any]]:
    """All calls, once one of them is as expected."""
    given = json.dumps(what)
    await page.wait_for_function(
        "what => (window.heard ?? []).some((one) => JSON.stringify(one) === what)",
        arg=json.dumps(json.loads(given), separators=(",", ":"), ensure_ascii=False),
        timeout=20_000,
    )
    heard = await page.evaluate("heard")
    assert isinstance(heard, list)
    return heard


async def test_there_is_a_stand_in_for_each_provider() -> None:
    assert sorted(VENDORS) == NAMES


@pytest.mark.parametrize("name", NAMES)
async def test_it_is_loaded_when_the_visitor_opens_it_and_gets_the_token(
    clew: FakeClew, page: Page, name: str
) -> None:
    provider, vendor = providers()[name], VENDORS[name]
    elsewhere = await shop_with(clew, page, name)
    button = page.get_by_role("button", name="Ask us")
    await expect(button).to_be_visible()
    assert elsewhere.asked == []
    await button.click()
    if vendor.opened is not None:
        await until_heard(page, vendor.opened)
    await expect(button).to_be_hidden(timeout=20_000)
    (script,) = elsewhere.asked
    expected = re.escape(str(provider.filled(vendor.ids)["script"]))
    assert re.fullmatch(re.sub(r"\\{(day|five_minutes)\\}", "[0-9]+", expected), script)
    heard = await page.evaluate("heard")
    assert (REF in json.dumps(heard)) == provider.has_attributes
    if vendor.opened is not None and provider.attributes:
        opened = next(n for n, one in enumerate(heard) if one == vendor.opened)
        assert REF in json.dumps(heard[:opened])
    await expect(page.get_by_role("dialog")).to_have_count(0)


@pytest.mark.parametrize("name", [name for name in NAMES if VENDORS[name].start])
async def test_it_tells_that_a_conversation_began(clew: FakeClew, page: Page, name: str) -> None:
    vendor = VENDORS[name]
    await shop_with(clew, page, name)
    await page.get_by_role("button", name="Ask us").click()
    await expect(page.get_by_role("button", name="Ask us")).to_be_hidden(timeout=20_000)
    await page.evaluate(
        f"(() => {{ {HELPERS.replace('window.tell =', 'const unused =')} {vendor.start} }})()"
    )
    begun = [{"kind": "chat", "event": event} for event in ("started", "sent")]
    if vendor.conversation is not None:
        begun = [one | {"id": vendor.conversation} for one in begun]
    await clew.until(lambda: any(one in clew.events for one in begun))


@pytest.mark.parametrize(("name", "event"), [("drift", "online"), ("jivochat", "offline")])
async def test_it_tells_once_it_is_loaded_whether_somebody_is_there(
    clew: FakeClew, page: Page, name: str, event: str
) -> None:
    await shop_with(clew, page, name)
    await page.get_by_role("button", name="Ask us").click()
    await clew.until(lambda: any(one.get("event") == event for one in clew.events))
    assert {one["event"] for one in clew.events if one["event"] in ("online", "offline")} == {event}


@pytest.mark.parametrize("name", ["crisp", "intercom", "chatwoot"])
async def test_a_question_from_an_invite_is_its_first_message_where_it_can_be(
    clew: FakeClew, page: Page, name: str
) -> None:
    clew.answer = INVITE
    await shop_with(clew, page, name)
    await page.get_by_label("Your question").fill("Is it in stock?")
    await page.get_by_role("region").get_by_role("button", name="Send").click()
    expected = {
        "crisp": ["set", "message:text", ["Is it in stock?"]],
        "intercom": ["showNewMessage", "Is it in stock?"],
        "chatwoot": VENDORS["chatwoot"].opened,
    }
    await until_heard(page, expected[name])
    assert clew.posted == []
    assert {"kind": "accepted", "rule": "hesitates"} in clew.events


OPENS = INVITE | {"invite": INVITE["invite"] | {"text": "Size M or “L”?", "more": {"open": True}}}
SAYS: dict[str, list[object]] = {
    "crisp": [["do", "chat:open", None], ["do", "message:show", ["text", "Size M or “L”?"]]],
    "tidio": [["open"], ["message", "Size M or “L”?"]],
    "jivochat": [["invitation", "Size M or “L”?"]],
    "olark": [["api.box.expand", None], ["api.chat.sendMessageToVisitor", {"body": "Size M or “L”?"}]],
}
"""What is heard of an invite that opens the chat by itself, where the provider can say a text of its own."""


async def test_each_provider_that_says_a_text_is_tried() -> None:
    assert {name for name in NAMES if providers()[name].say} == {*SAYS}


@pytest.mark.parametrize("name", SAYS)
async def test_an_invite_that_opens_the_chat_is_said_by_the_provider(
    clew: FakeClew, page: Page, name: str
) -> None:
    clew.answer = OPENS
    await shop_with(clew, page, name, load="page", says=True)
    heard = await until_heard(page, SAYS[name][-1])
    said = [one for one in heard if one in json.loads(json.dumps(SAYS[name]))]
    assert said == SAYS[name]
    await clew.until(lambda: {"kind": "seen", "rule": "hesitates"} in clew.events)
    # It is said once, nothing else shows it, and it does not come again on the next page.
    await expect(page.get_by_role("region")).to_have_count(0)
    assert [one for one in await page.evaluate("heard") if one == SAYS[name][-1]] == SAYS[name][-1:]
    assert clew.events.count({"kind": "seen", "rule": "hesitates"}) == 1


async def test_an_invite_is_ours_where_the_provider_that_should_say_it_does_not_come(
    clew: FakeClew, page: Page
) -> None:
    """It was not seen before."""
    clew.answer = OPENS
    await shop_with(clew, page, "crisp", 503, load="page", says=True)
    await expect(page.get_by_role("region")).to_contain_text("Size M or “L”?", timeout=20_000)
    failed = clew.events.index({"kind": "chat", "event": "failed"})
    await clew.until(lambda: {"kind": "seen", "rule": "hesitates"} in clew.events)
    assert failed < clew.events.index({"kind": "seen", "rule": "hesitates"})


async def test_a_talk_goes_on_on_the_next_page(clew: FakeClew, page: Page) -> None:
    elsewhere = await shop_with(clew, page, "crisp")
    await page.get_by_role("button", name="Ask us").click()
    await until_heard(page, VENDORS["crisp"].opened)
    await page.goto(f"{clew.url}/next")
    await page.wait_for_function("window.heard?.length > 0", timeout=20_000)
    assert len(elsewhere.asked) == 2
    assert VENDORS["crisp"].opened not in await page.evaluate("heard")


async def test_it_can_be_loaded_with_the_page(clew: FakeClew, page: Page) -> None:
    elsewhere = await shop_with(clew, page, "crisp", load="page")
    await until_heard(page, ["set", "session:data", [[["clew_ref", REF]]]])
    await expect(page.get_by_role("button", name="Ask us")).to_be_hidden(timeout=20_000)
    assert len(elsewhere.asked) == 1


async def test_nothing_of_it_is_loaded_before_consent(clew: FakeClew, page: Page) -> None:
    elsewhere = await shop_with(clew, page, "crisp", blocked=True, load="page", attributes={})
    await page.get_by_role("button", name="Ask us").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    assert elsewhere.asked == []
    assert "GET /-/clew/p.js" not in clew.requests


@pytest.mark.parametrize("fault", ["status", "holds", "changed"])
async def test_if_it_does_not_come_the_visitor_can_write_to_us(
    clew: FakeClew, page: Page, fault: str
) -> None:
    elsewhere = await shop_with(clew, page, "crisp", mail="help@shop.example")
    elsewhere.status = 503 if fault == "status" else 200
    elsewhere.holds = fault == "holds"
    if fault == "changed":
        elsewhere.script = "window.$crisp = null"
    await page.get_by_role("button", name="Ask us").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("The chat cannot be loaded right now. Write to us here:")
    await expect(dialog.get_by_role("link")).to_have_attribute("href", "mailto:help@shop.example")
    await clew.until(lambda: {"kind": "chat", "event": "failed"} in clew.events)
    await page.get_by_label("Write a message").fill("Hello")
    await page.keyboard.press("Enter")
    await clew.until(lambda: clew.posted)


async def test_if_it_cannot_be_opened_the_visitor_can_write_to_us(clew: FakeClew, page: Page) -> None:
    """The provider has changed its functions: the visitor clicks, and nothing would happen."""
    elsewhere = await shop_with(clew, page, "intercom")
    gone = 'if (verb === "show") throw new TypeError("show is gone");'
    elsewhere.script = f"window.Intercom = (verb) => {{ {gone} }};"
    await page.get_by_role("button", name="Ask us").click()
    await expect(page.get_by_role("dialog")).to_contain_text("The chat cannot be loaded right now.")
    await clew.until(lambda: {"kind": "chat", "event": "failed"} in clew.events)
    await page.get_by_label("Write a message").fill("Hello")
    await page.keyboard.press("Enter")
    await clew.until(lambda: clew.posted)
    await page.goto(f"{clew.url}/next")
    await expect(page.get_by_role("button", name="Ask us")).to_be_visible()
    assert len(elsewhere.asked) == 1


async def test_errors_of_a_chat_that_has_come_are_not_that_it_did_not_come(
    clew: FakeClew, page: Page
) -> None:
    await shop_with(clew, page, "chatwoot")
    await page.get_by_role("button", name="Ask us").click()
    await until_heard(page, VENDORS["chatwoot"].opened)
    for event in ("error", "closed"):
        await page.evaluate(f'window.dispatchEvent(new CustomEvent("chatwoot:{event}"))')
    await clew.until(lambda: {"kind": "chat", "event": "closed"} in clew.events)
    assert {"kind": "chat", "event": "failed"} not in clew.events


async def test_it_gets_what_has_changed_on_another_page_of_an_application(clew: FakeClew, page: Page) -> None:
    def data(path: str) -> list[Any]:
        return ["set", "session:data", [[["clew_page", path]]]]

    await shop_with(clew, page, "crisp", load="page", attributes=ATTRIBUTES | {"clew_page": "/one"})
    await until_heard(page, data("/one"))
    clew.answer = clew.answer | {"chat": CHAT | {"load": "page", "attributes": {"clew_page": "/two"}}}
    await page.evaluate("history.pushState(null, '', '/two')")
    heard = await until_heard(page, data("/two"))
    assert heard.count(data("/one")) == 1


@pytest.mark.parametrize("name", ["smartsupp", "reamaze", "tawk"])
async def test_it_is_told_once_that_the_code_is_shown(clew: FakeClew, page: Page, name: str) -> None:
    """Some tell nothing when they are opened: nobody would know whose code an agent types."""
    await shop_with(clew, page, name, attributes=ATTRIBUTES | {"clew_code": "clw-k7p2qx"})
    await page.get_by_role("button", name="Ask us").click()
    await clew.until(lambda: {"kind": "chat", "event": "loaded"} in clew.events)
    await page.evaluate("history.pushState(null, '', '/two')")
    await clew.until(lambda: clew.requests.count("POST /-/clew/decide") > 1)
    assert clew.events.count({"kind": "chat", "event": "loaded"}) == 1


async def test_a_rule_hides_and_shows_it(clew: FakeClew, page: Page) -> None:
    await shop_with(clew, page, "crisp", load="page")
    await until_heard(page, ["set", "session:data", [[["clew_ref", REF]]]])
    clew.answer = HIDE | {"chat": CHAT}
    await page.evaluate("history.pushState(null, '', '/other')")
    await until_heard(page, ["do", "chat:hide", None])
    clew.answer = SHOW | {"chat": CHAT}
    await page.evaluate("history.pushState(null, '', '/third')")
    await until_heard(page, ["do", "chat:show", None])


@pytest.mark.parametrize("policy", ["default-src 'self'", "script-src 'self'; connect-src 'self'"])
async def test_an_extended_policy_lets_it_in_and_an_other_one_does_not(
    clew: FakeClew, page: Page, policy: str
) -> None:
    needed = providers()["crisp"].hosts(VENDORS["crisp"].ids)
    clew.add_page("/strict", shop_page(), content_security_policy=policy)
    clew.add_page("/extended", shop_page(), content_security_policy=extended_policies(policy, needed))
    elsewhere = await shop_with(clew, page, "crisp")
    await page.goto(f"{clew.url}/strict")
    await page.get_by_role("button", name="Ask us").click()
    await expect(page.get_by_role("dialog")).to_contain_text("cannot be loaded")
    assert elsewhere.asked == []
    await page.goto(f"{clew.url}/extended")
    # Our own chat was open on the page before.
    await page.get_by_role("button", name="Ask us").click()
    await until_heard(page, VENDORS["crisp"].opened)
