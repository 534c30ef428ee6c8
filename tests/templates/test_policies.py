"""Strict policies: the whole way works under them, and the browser has nothing to report."""

import pytest
from fake_clew import INVITE, PREFIX, TAG, FakeClew, settled, shop_page
from playwright.async_api import Page, expect

pytestmark = pytest.mark.asyncio(loop_scope="session")

SELF = "default-src 'none'; script-src 'self'; connect-src 'self'"
DYNAMIC = (
    "default-src 'none'; script-src 'nonce-abc' 'strict-dynamic'; connect-src 'self'; style-src 'none'; "
    "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
NONCED = TAG.replace("<script ", '<script nonce="abc" ')


async def ask_and_get_an_answer(clew: FakeClew, page: Page) -> None:
    clew.answer = INVITE
    await page.goto(clew.url)
    await page.get_by_label("Your question").fill("Is it in stock?")
    await page.keyboard.press("Enter")
    await clew.until(lambda: clew.posted)
    await clew.say("Yes: https://shop.example/pot")
    await expect(page.get_by_role("link", name="https://shop.example/pot")).to_be_visible()
    await page.get_by_role("button", name="Minimise chat").click()
    await page.get_by_role("button", name="Ask us").click()
    await expect(page.get_by_text("Is it in stock?")).to_be_visible()


async def violations(page: Page) -> list[str]:
    """What the policy has forbidden so far; the reports come as tasks of their own."""
    await settled(page)
    found: list[str] = await page.evaluate(
        "new Promise(done => setTimeout(() => done(window.violations), 100))"
    )
    return found


async def first_violation(page: Page) -> str:
    """Waits for one. Not with `wait_for_function`, whose own `eval` would be one."""
    found: str = await page.evaluate("""() => new Promise(done => {
      const look = () => window.violations.length && done(window.violations[0]);
      document.addEventListener("securitypolicyviolation", look);
      look();
    })""")
    return found


@pytest.mark.parametrize(
    ("tag", "policy"),
    [
        (TAG, SELF),
        (TAG, SELF + "; style-src 'none'; require-trusted-types-for 'script'; trusted-types 'none'"),
        (TAG, f"{SELF}, script-src 'self' 'unsafe-inline'; object-src 'none'"),
        (
            NONCED,
            "script-src 'nonce-abc' 'strict-dynamic'; require-trusted-types-for 'script'; style-src 'none'",
        ),
        (NONCED, DYNAMIC),
    ],
    ids=["self", "self-trusted-types", "two-policies", "strict-dynamic", "strict-dynamic-all"],
)
async def test_a_strict_policy_blocks_nothing_that_clew_uses(
    clew: FakeClew, page: Page, tag: str, policy: str
) -> None:
    """injection 6.1, 6.2, 6.9, 6.10, 6.12: no host, no style, no sink, no nonce read from the page."""
    clew.add_page("/", shop_page().replace(TAG, tag), content_security_policy=policy)
    await ask_and_get_an_answer(clew, page)
    assert await violations(page) == []


META = f'<meta http-equiv="content-security-policy" content="{DYNAMIC}">'


async def test_a_meta_policy_blocks_nothing_that_clew_uses(clew: FakeClew, page: Page) -> None:
    """injection 6.8."""
    clew.add_page("/", shop_page(head=META).replace(TAG, NONCED))
    await ask_and_get_an_answer(clew, page)
    assert await violations(page) == []


async def test_a_meta_policy_with_an_unknown_nonce_is_obeyed(clew: FakeClew, page: Page) -> None:
    # The tag stands before the policy and runs without a nonce; what it imports has none to inherit.
    clew.add_page("/", shop_page(head=META))
    await page.goto(clew.url)
    assert await first_violation(page) == f"script-src-elem {clew.url}{PREFIX}w.js?en "
    assert len(clew.asked) == 1
    assert await page.locator("clew-chat").count() == 0


async def test_the_widget_is_styled_under_a_policy_without_styles(clew: FakeClew, page: Page) -> None:
    clew.answer = INVITE | {"widget": {"color": "#7a1fa2", "side": "left", "title": None}}
    clew.add_page("/", shop_page(), content_security_policy=SELF + "; style-src 'none'")
    await page.goto(clew.url)
    launcher = page.locator(".launcher")
    await expect(launcher).to_have_css("background-color", "rgb(122, 31, 162)")
    await expect(launcher).to_have_css("position", "fixed")
    await expect(launcher).to_have_css("left", "20px")


async def test_a_policy_that_blocks_the_chat_is_obeyed_without_side_effects(
    clew: FakeClew, page: Page
) -> None:
    """injection 6.9."""
    clew.add_page("/", shop_page(), content_security_policy="default-src 'none'; script-src 'self'")
    await page.goto(clew.url)
    assert await first_violation(page) == f"connect-src {clew.url}{PREFIX}decide "
    assert clew.asked == []
    await expect(page.locator("h1")).to_be_visible()
