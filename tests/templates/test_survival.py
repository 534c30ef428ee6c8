"""Pages that do as they like with their document, keys and styles: chat and page both live on."""

import pytest
from fake_clew import INVITE, PREFIX, SHOW, FakeClew, settled, shop_page
from playwright.async_api import Page, expect

pytestmark = pytest.mark.asyncio(loop_scope="session")

# What frameworks do to a page that is not quite as they left it.
UPHEAVALS = {
    "body-replaced": "document.body.replaceWith(document.createElement('body'))",
    "unknown-nodes-removed": """
      for (const node of [...document.documentElement.childNodes])
        if (node !== document.head && node !== document.body) node.remove();
    """,
    "rendered-anew": """
      const html = document.createElement("html");
      html.append(document.createElement("head"), document.createElement("body"));
      document.documentElement.replaceWith(html);
    """,
    "rendered-anew-in-two-steps": """
      document.documentElement.remove();
      setTimeout(() => {
        const html = document.createElement("html");
        html.append(document.createElement("head"), document.createElement("body"));
        document.append(html);
      }, 300);
    """,
    "written-over": "document.open(); document.write('<!doctype html><p>anew'); document.close()",
}


@pytest.mark.parametrize("upheaval", UPHEAVALS.values(), ids=UPHEAVALS)
async def test_an_open_chat_survives_document_changes_of_the_page(
    clew: FakeClew, page: Page, upheaval: str
) -> None:
    """injection 7.2, 7.7."""
    await page.goto(clew.url)
    await page.get_by_role("button", name="Ask us").click()
    await page.get_by_label("Write a message").fill("Is the pot")
    await page.evaluate(upheaval)
    await expect(page.get_by_label("Write a message")).to_be_focused()
    await page.keyboard.type(" blue?")
    await page.keyboard.press("Enter")
    await clew.until(lambda: clew.posted)
    assert clew.posted[0]["text"] == "Is the pot blue?"
    assert await page.locator("clew-chat").count() == 1


@pytest.mark.parametrize("upheaval", UPHEAVALS.values(), ids=UPHEAVALS)
async def test_a_question_in_an_invite_outlives_it_too(clew: FakeClew, page: Page, upheaval: str) -> None:
    clew.answer = INVITE
    await page.goto(clew.url)
    await page.get_by_label("Your question").fill("Is the pot")
    await page.evaluate(upheaval)
    await expect(page.get_by_label("Your question")).to_have_value("Is the pot")
    await expect(page.get_by_label("Your question")).to_be_focused()
    await page.keyboard.type(" blue?")
    await page.keyboard.press("Enter")
    await clew.until(lambda: clew.posted and len(clew.events) == 2)
    assert clew.posted[0]["text"] == "Is the pot blue?"
    assert [event["kind"] for event in clew.events] == ["seen", "accepted"]


async def test_the_chat_is_put_back_page_view_after_page_view(clew: FakeClew, page: Page) -> None:
    await page.goto(clew.url)
    for number in range(3):
        await expect(page.get_by_role("button", name="Ask us")).to_be_visible()
        await page.evaluate(f"history.pushState(null, '', '/{number}')")
        await page.evaluate(UPHEAVALS["rendered-anew"])
        await clew.until(lambda expected=number + 2: len(clew.asked) == expected)
    await expect(page.get_by_role("button", name="Ask us")).to_be_visible()


async def test_the_chat_gives_up_on_a_page_that_keeps_removing_it(clew: FakeClew, page: Page) -> None:
    await page.clock.install()
    await page.goto(clew.url)
    await page.clock.run_for(3000)
    await expect(page.locator("clew-chat")).to_have_count(1)
    await page.evaluate("""() => {
      window.removed = 0;
      const remove = () => {
        const host = document.querySelector("clew-chat");
        if (host) { window.removed += 1; host.remove(); }
      };
      new MutationObserver(remove).observe(document.documentElement, { childList: true });
      remove();
    }""")
    await page.clock.run_for(60_000)
    assert await page.evaluate("window.removed") == 21
    await expect(page.locator("clew-chat")).to_have_count(0)


async def test_turbo_swaps_the_body_under_a_chat_in_use(clew: FakeClew, page: Page) -> None:
    """injection 7.6."""
    await page.goto(clew.url + "/one")
    await page.get_by_role("button", name="Ask us").click()
    await page.get_by_label("Write a message").press_sequentially("Is the ")
    await page.evaluate("""() => {
      const root = document.documentElement;
      root.setAttribute("aria-busy", "true");
      history.pushState({ turbo: {} }, "", "/two");
      const body = document.createElement("body");
      const detail = { newBody: body, render: () => {} };
      document.dispatchEvent(new CustomEvent("turbo:before-render", { cancelable: true, detail }));
      document.body.replaceWith(body);
      document.title = "Two";
      root.removeAttribute("aria-busy");
      document.dispatchEvent(new CustomEvent("turbo:load", { detail: { url: location.href } }));
    }""")
    await page.keyboard.type("pot blue?")
    await page.keyboard.press("Enter")
    await clew.until(lambda: clew.posted and len(clew.asked) == 2)
    assert clew.posted[0]["text"] == "Is the pot blue?"
    assert clew.asked[1]["title"] == "Two"


async def test_a_framework_finds_the_page_as_the_server_sent_it(clew: FakeClew, page: Page) -> None:
    """injection 7.3, 7.4, 7.5."""
    clew.add_page(
        "/",
        shop_page("""<script>addEventListener("load", () => {
          const { childNodes } = document.documentElement;
          window.found = [...childNodes].map(node => node.nodeName) + document.body.outerHTML;
        })</script>"""),
    )
    await page.goto(clew.url)
    await expect(page.get_by_role("button", name="Ask us")).to_be_visible()
    found = await page.evaluate("window.found")
    assert found.startswith("HEAD,BODY<body>")
    # Nor is the body touched later on.
    assert found.removeprefix("HEAD,BODY") == await page.evaluate("document.body.outerHTML")


async def test_the_pages_styles_do_not_reach_the_chat(clew: FakeClew, page: Page) -> None:
    """injection 7.9."""
    clew.add_page(
        "/",
        shop_page(
            head="""<style>
              html { font-size: 62.5%; direction: rtl; text-transform: uppercase; letter-spacing: 9px }
              *, clew-chat { display: none !important; opacity: 0 !important; transform: scale(0) !important;
                visibility: hidden !important; position: static !important; pointer-events: none !important;
                z-index: -1 !important; filter: blur(9px) !important; color: red !important }
              html, body { display: block !important; visibility: visible !important; filter: none !important;
                transform: none !important; opacity: 1 !important }
              button { width: 1px }
            </style>"""
        ),
    )
    clew.answer = INVITE
    await page.goto(clew.url)
    launcher = page.get_by_role("button", name="Ask us")
    await expect(launcher).to_be_in_viewport(ratio=1)
    for name, value in {"text-transform": "none", "letter-spacing": "normal", "direction": "ltr"}.items():
        await expect(launcher).to_have_css(name, value)
    await expect(launcher).to_have_css("font-size", "15px")
    await launcher.click()
    await expect(page.get_by_role("dialog")).to_be_in_viewport(ratio=1)


async def test_the_shops_keys_and_focus_traps_leave_the_chat_alone(clew: FakeClew, page: Page) -> None:
    clew.add_page(
        "/",
        shop_page("""<input id="search"><script>
          document.addEventListener("keydown", (event) => {
            if (event.target.tagName === "INPUT" || event.key !== "/") return;
            event.preventDefault();
            search.focus();
          });
          document.addEventListener("focusin", (event) => event.target !== search && search.focus());
        </script>"""),
    )
    await page.goto(clew.url)
    await page.get_by_role("button", name="Ask us").click()
    await page.keyboard.type("a/b")
    await expect(page.get_by_label("Write a message")).to_have_value("a/b")


async def test_a_chat_without_storage_is_still_a_chat(clew: FakeClew, page: Page) -> None:
    await page.add_init_script("""
      const get = () => { throw new DOMException("no", "SecurityError") };
      Object.defineProperty(window, "sessionStorage", { get });
    """)
    await page.goto(clew.url)
    await page.get_by_role("button", name="Ask us").click()
    await page.get_by_label("Write a message").fill("Hello?")
    await page.keyboard.press("Enter")
    await clew.until(lambda: clew.streams)
    await clew.say("Good morning")
    await expect(page.get_by_text("Good morning")).to_be_visible()


async def test_a_browser_too_old_for_the_widget_shows_the_shop_alone(clew: FakeClew, page: Page) -> None:
    await page.add_init_script("delete window.CSSStyleSheet")
    await page.goto(clew.url)
    await clew.until(lambda: f"GET {PREFIX}w.js" in clew.requests)
    await settled(page)
    await expect(page.locator("h1")).to_be_visible()
    assert await page.locator("clew-chat").count() == 0


async def test_the_chat_follows_the_pages_language(clew: FakeClew, page: Page) -> None:
    await page.goto(clew.url)
    await page.get_by_role("button", name="Ask us").click()
    await page.get_by_label("Write a message").fill("Hello?")
    await page.keyboard.press("Enter")
    await clew.until(lambda: clew.posted)
    clew.answer = SHOW | {"language": "fr", "conversation": True}
    await page.keyboard.press("Escape")
    await page.evaluate("history.pushState(null, '', '/fr')")
    await page.get_by_role("button", name="Une question ?").click()
    await expect(page.get_by_role("log", name="Messages")).to_contain_text("Hello?")
    assert await page.locator("clew-chat").count() == 1
