"""Invites in Chromium on a real clew, and two workers that share Redis and PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from clew.middleware.asgi.mount import ClewMiddleware
from clew.referral.visitor import VISIT_GAP
from clew.settings.model import Settings
from database_servers import Postgres, Redis
from desks import DeskServer
from playwright.async_api import Browser, BrowserContext, Page, Route, expect
from starlette.applications import Starlette

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]
TAG = '<script async src="/-/clew/l.js" data-clew="1"></script>'
PAGE = f'<!doctype html><html lang="en"><title>Mugs</title>{TAG}<main><h1>Mugs</h1></main>'
VARIANTS = [{"name": "one", "text": "A question?"}, {"name": "two", "text": "May I help?"}]


@asynccontextmanager
async def shop(
    folder: Path, rules: list[dict[str, Any]], **invites: Any
) -> AsyncIterator[tuple[DeskServer, str]]:
    rules = [{"action": "invite", **rule} for rule in rules]
    desk = DeskServer(folder, more={"rules": rules, "invites": {"holdout": 0, **invites}})
    await desk.service.start()
    try:
        async with desk.served() as address:
            yield desk, address
    finally:
        await desk.service.stop()


async def opened(context: BrowserContext, address: str, path: str = "", *, seen: bool = False) -> Page:
    """A tab on a page of the shop, once clew has answered, and has noted that the invite was `seen`."""
    tab = await context.new_page()

    async def fulfill(route: Route) -> None:
        await route.fulfill(body=PAGE, content_type="text/html")

    base = address.removesuffix("-/clew/")
    for known in ("", "other"):
        await tab.route(f"{base}{known}", fulfill)
    async with tab.expect_response("**/events" if seen else "**/decide"):
        await tab.goto(f"{base}{path}")
    await expect(tab.get_by_role("button", name="Ask us")).to_be_visible()
    return tab


async def again(tab: Page) -> None:
    async with tab.expect_response("**/decide"):
        await tab.reload()
    await expect(tab.get_by_role("button", name="Ask us")).to_be_visible()


async def counted(desk: DeskServer) -> dict[tuple[str, str], tuple[int, ...]]:
    await desk.service.exposures.write()
    rows = await desk.service.ledger.exposures.count("shop", now=desk.clock.now(), window=1.0)
    return {(one.rule, one.arm): (one.assigned, one.rendered, one.seen, one.dismissed) for one in rows}


async def test_a_dismissed_invite_ends_them_for_the_visit_in_every_tab_and_a_variant_stays(
    chromium: Browser, tmp_path: Path
) -> None:
    async with shop(tmp_path, [{"name": "r", "variants": VARIANTS}, {"name": "s"}], pause=0) as (
        desk,
        address,
    ):
        context = await chromium.new_context(locale="en-GB")
        tab = await opened(context, address)
        invite = tab.get_by_role("region", name="Invitation to chat")
        await expect(invite).to_be_visible()
        shown = [v["text"] for v in VARIANTS if v["text"] in await invite.inner_text()]
        async with tab.expect_request(lambda sent: "dismissed" in (sent.post_data or "")) as sent:
            await invite.get_by_role("button", name="Close").click()
        await (await sent.value).response()
        await expect(invite).to_have_count(0)
        for one in (tab, await opened(context, address, "other")):
            await again(one)
            await expect(one.get_by_role("region", name="Invitation to chat")).to_have_count(0)
        desk.clock.ahead += VISIT_GAP + 60
        await again(tab)
        await expect(invite).to_contain_text(shown[0])
        found = await counted(desk)
        assert sum(row[0] for row in found.values()) == 1
        ((_, arm),) = found
        assert {v["name"]: v["text"] for v in VARIANTS}[arm] == shown[0]
        assert found["r", arm][1:] == (1, 1, 1)
        await context.close()


async def test_an_ignored_invite_goes_after_its_pages_and_the_next_comes_after_the_pause(
    chromium: Browser, tmp_path: Path
) -> None:
    rules = [{"name": "r", "text": "First?", "pages": 2}, {"name": "s", "text": "Second?"}]
    async with shop(tmp_path, rules, pause=600, ignored=2) as (desk, address):
        context = await chromium.new_context(locale="en-GB")
        # On the very first page nothing is stored before the invite was seen.
        tab = await opened(context, address, seen=True)
        invite = tab.get_by_role("region", name="Invitation to chat")
        await expect(invite).to_contain_text("First?")
        await again(tab)
        await expect(invite).to_contain_text("First?")
        await again(tab)
        await expect(invite).to_have_count(0)
        desk.clock.ahead += 601
        await again(tab)
        await expect(invite).to_contain_text("Second?")
        await context.close()


async def test_the_hold_out_sees_nothing(chromium: Browser, tmp_path: Path) -> None:
    rules = [{"name": "r"}, {"name": "s", "forced": True}]
    # All of them come from one address, which may have a part of the invites only.
    async with shop(tmp_path, rules, holdout=50, throttle=0) as (desk, address):
        seen: dict[str, int] = {}
        policy = desk.service.sites["shop"].invites
        while set(seen) != {"holdout", "invited"}:
            assert sum(seen.values()) < 40
            context = await chromium.new_context(locale="en-GB")
            tab = await opened(context, address)
            await again(tab)
            cookies = {one["name"]: one["value"] for one in await context.cookies()}
            known = desk.service.sites["shop"].cookie.open(cookies["clew_visitor"])
            assert known is not None
            arm = policy.holdout.arm(known.visitor)
            shown = tab.get_by_role("region", name="Invitation to chat")
            await expect(shown).to_have_count(0 if arm == "holdout" else 1)
            seen[arm] = seen.get(arm, 0) + 1
            await context.close()
        found = await counted(desk)
        assert {arm: found["", arm][0] for arm in seen} == seen
        assert found["", "holdout"][1:] == (0, 0, 0)


@pytest.fixture
def servers(postgres: Postgres, redis_server: Redis) -> tuple[str, str]:
    """The addresses of a ledger and of a visit store."""
    return postgres.url(postgres.database()), redis_server.url(9)


async def test_two_workers_count_each_visitor_once_and_keep_its_limits(
    servers: tuple[str, str],
) -> None:
    """On Redis and PostgreSQL, each page view at another worker, two tabs at a time."""
    site = {
        "name": "shop",
        "rules": [
            {"name": name, "action": "invite", "variants": VARIANTS, "when": [f"page.path == '/{name}'"]}
            for name in "ab"
        ],
        "invites": {"holdout": 20, "per_visit": 1, "pause": 0},
    }
    settings = Settings.model_validate(
        {
            "secret": "s" * 40,
            "store": servers[1],
            "ledger": servers[0],
            "sites": [site],
        }
    )
    workers = [ClewMiddleware(Starlette(), settings) for _ in range(2)]
    for worker in workers:
        await worker.service.open()
        worker.startup.started = True
    try:
        visitors = [httpx2.Cookies() for _ in range(30)]
        actions = [await _pages(workers, cookies, number) for number, cookies in enumerate(visitors)]
        for worker in workers:
            await worker.service.exposures.write()
        books, now = workers[0].service.ledger.exposures, workers[0].service.clock.now()
        found = await books.count("shop", now=now, window=1.0)
    finally:
        for worker in workers:
            await worker.service.close()
    held = sum(one.assigned for one in found if one.arm == "holdout")
    invited = sum(one.assigned for one in found if one.arm == "invited")
    assert (held + invited, held > 0) == (30, True)
    assert sum(actions) == invited
    assert sum(one.rendered for one in found if one.rule) == invited


async def _pages(workers: list[ClewMiddleware], cookies: httpx2.Cookies, number: int) -> int:
    """Some page views of a visitor at both workers; how many rules invited it, 0 or 1."""
    clients = [
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(worker, client=(f"192.0.2.{number}", 1)),
            base_url="https://shop.example/-/clew/",
            cookies=cookies,
        )
        for worker in workers
    ]

    async def ask(worker: int, path: str, view: str) -> str | None:
        body = {"view": view, "url": f"https://shop.example{path}", "title": "T"}
        answer = await clients[worker].post("decide", json=body)
        assert answer.status_code == 200
        cookies.update(answer.cookies)
        for client in clients:
            client.cookies.update(answer.cookies)
        rule = answer.json()["rule"]
        return str(rule) if rule is not None else None

    await ask(0, "/", "view-first")
    await ask(1, "/", "view-second")
    rules = set()
    for turn in range(3):
        asks = (ask((n + turn) % 2, f"/{name}", f"view-{name}-{turn:04}") for n, name in enumerate("ab"))
        rules |= {rule for rule in await asyncio.gather(*asks) if rule is not None}
    for client in clients:
        await client.aclose()
    assert len(rules) <= 1, "one invite a visit"
    return len(rules)
