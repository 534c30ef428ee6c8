"""Ten thousand rules, and rules that cannot be used: what runs goes on."""

import asyncio
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import httpx2
import pytest
from clew.middleware.asgi.mount import ClewMiddleware
from clew.service import sites
from clew.service.facts import PageNow
from clew.service.site import SiteRuntime
from clew.settings.load import SettingsErrors
from starlette.applications import Starlette

MANY = 10_000
MEGABYTES = 400
# The largest size that it had, by the kernel: what its parent used would count among that of a child.
CHECK = """
import atexit, pathlib, runpy
atexit.register(lambda: print(pathlib.Path("/proc/self/status").read_text()))
runpy.run_module("clew", run_name="__main__")
"""
SECRET = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
TOP = f"""
secret = "{SECRET}"
[[sites]]
name = "shop"
hosts = ["shop.example"]
upstream = "http://127.0.0.1:1"
"""


def rules(count: int, last: str = "show") -> str:
    """Rules of which only the last is true."""
    text = [
        f'[[sites.rules]]\nname = "rule-{n}"\naction = "invite"\npriority = {n % 100}\n'
        f"when = ['page.path.startsWith(\"/part-{n % 50}/\")', 'cart.value > {n % 400}.0', "
        f"'visit.pages >= {n % 9}']\n"
        for n in range(count - 1)
    ]
    return "".join([*text, f'[[sites.rules]]\nname = "last"\naction = "{last}"\npriority = -1\n'])


def write(folder: Path, text: str) -> Path:
    file = folder / "clew.toml"
    file.write_text(TOP + text)
    return file


@asynccontextmanager
async def running(file: Path) -> AsyncIterator[tuple[ClewMiddleware, httpx2.AsyncClient]]:
    clew = ClewMiddleware(Starlette(), file)
    await clew.service.open()
    clew.startup.started = True
    transport = httpx2.ASGITransport(clew, client=("192.0.2.7", 1))
    try:
        async with httpx2.AsyncClient(
            transport=transport, base_url="https://shop.example/-/clew/"
        ) as browser:
            yield clew, browser
    finally:
        await clew.service.close()


async def ask(browser: httpx2.AsyncClient, view: str) -> dict[str, Any]:
    body = {"view": view, "url": "https://shop.example/part-7/", "title": "T"}
    answer = await browser.post("decide", json=body)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.slow
async def test_ten_thousand_rules_decide_are_explained_and_replaced_outside_of_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, rules(MANY))
    async with running(file) as (clew, browser):
        for view in ("view-0001", "view-0002"):
            answer = await ask(browser, view)
            assert (answer["action"], answer["rule"], answer["retry_after"]) == ("show", "last", None)
        shop = clew.service.sites["shop"]
        known = shop.cookie.open(browser.cookies["clew_visitor"])
        assert known is not None
        page = PageNow("view-0002", "https://shop.example/part-7/", "T", "en", 0)
        found = await clew.service.decisions.explain(shop, known.visitor, page)
        assert found is not None
        assert [one.verdict for one in found.rules].count("acts") == 1
        assert {one.failed for one in found.rules if one.verdict == "fails"} == {0, 1}
        assert len(found.rules) == MANY

        compiled: list[threading.Thread] = []

        class Noted(SiteRuntime):
            def __init__(self, *given: Any) -> None:
                compiled.append(threading.current_thread())
                super().__init__(*given)

        monkeypatch.setattr(sites, "SiteRuntime", Noted)
        write(tmp_path, rules(MANY, last="hide"))
        reloading = asyncio.create_task(clew.reload())
        asked = 0
        while not reloading.done():
            assert (await ask(browser, "view-0002"))["action"] in ("show", "hide")
            asked += 1
            await asyncio.sleep(0)
        await reloading
        # Others are answered meanwhile, and nobody waits for the rules to be compiled.
        assert asked > 1
        assert (await ask(browser, "view-0003"))["action"] == "hide"
        assert len(compiled) == 1
        assert threading.main_thread() not in compiled


class Noted(SiteRuntime):
    """Notes in which threads sites are compiled, and waits with those that have many rules."""

    threads: ClassVar[list[tuple[int, bool]]]
    began: ClassVar[threading.Event]
    go: ClassVar[threading.Event]

    def __init__(self, *given: Any) -> None:
        many = len(given[1].rules)
        self.threads.append((many, threading.current_thread() is threading.main_thread()))
        if many:
            self.began.set()
            assert self.go.wait(30)
        super().__init__(*given)


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> type[Noted]:
    Noted.threads, Noted.began, Noted.go = [], threading.Event(), threading.Event()
    monkeypatch.setattr(sites, "SiteRuntime", Noted)
    return Noted


async def test_a_site_with_many_rules_that_is_requested_anew_is_compiled_outside_of_the_loop(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Its pages are served meanwhile, and decisions and the desk wait for its rules."""
    file = write(tmp_path, rules(sites.MANY_RULES + 1))
    async with running(file) as (clew, browser):
        noted = request.getfixturevalue("noted")
        found = clew.service.sites
        found._compiled.clear()
        page = await browser.get("https://shop.example/?utm_source=mail")
        assert page.status_code == 404
        assert "clew_visitor" in page.headers["set-cookie"]
        asked = asyncio.create_task(ask(browser, "view-0001"))
        desk = asyncio.create_task(browser.get("desk/login"))
        assert await asyncio.to_thread(noted.began.wait, 30)
        # The rest of clew goes on.
        assert (await browser.get("https://shop.example/")).status_code == 404
        assert not asked.done()
        assert not desk.done()
        noted.go.set()
        answer, login = await asyncio.wait_for(asyncio.gather(asked, desk), 30)
        assert (answer["action"], answer["rule"], login.status_code) == ("show", "last", 200)
        assert noted.threads == [(0, True), (sites.MANY_RULES + 1, False)]
        assert found.at("shop.example") is found["shop"]
        assert found["shop"].ready


async def test_settings_that_change_while_a_site_is_compiled_are_those_that_are_used(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    file = write(tmp_path, rules(sites.MANY_RULES + 1))
    async with running(file) as (clew, browser):
        clew.service.sites._compiled.clear()
        noted = request.getfixturevalue("noted")
        asked = asyncio.create_task(ask(browser, "view-0001"))
        assert await asyncio.to_thread(noted.began.wait, 30)
        write(tmp_path, rules(sites.MANY_RULES + 1, last="hide"))
        await clew.reload()
        noted.go.set()
        answer = await asyncio.wait_for(asked, 30)
        assert (answer["action"], answer["rule"]) == ("hide", "last")


@pytest.mark.slow
def test_check_reads_ten_thousand_rules_in_bounded_memory(tmp_path: Path) -> None:
    wrong = '[[sites.rules]]\nname = "wrong"\naction = "show"\nwhen = ["visit.pages >"]\n'
    file = write(tmp_path, rules(MANY - 1) + wrong)
    command = [sys.executable, "-c", CHECK, "check", "--config", str(file)]
    check = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    said = check.stdout
    assert (check.returncode, f"sites[0].rules[{MANY - 1}].when[0]" in said) == (1, True), said
    used = re.search(r"^VmHWM:\s+(\d+) kB", said, re.MULTILINE)
    assert used is not None
    assert int(used[1]) < MEGABYTES * 1024


async def test_rules_that_do_not_parse_leave_the_old_ones_in_use(tmp_path: Path) -> None:
    """What is wrong is told with file, line and key, to who reloads and to who looks at the desk."""
    file = write(tmp_path, rules(3))
    async with running(file) as (clew, browser):
        assert (await ask(browser, "view-0001"))["rule"] == "last"
        for wrong, why in (
            (
                '[[sites.rules]]\nname = "x"\naction = "hide"\nwhen = ["visit.pages >= "]\n',
                r"rules\[3\]\.when\[0\]",
            ),
            ('[[sites.rules]]\nname = "x"\naction = "hide"\nwhen = [\n', "clew.toml"),
        ):
            write(tmp_path, rules(3, last="hide") + wrong)
            with pytest.raises(SettingsErrors, match=why):
                await clew.reload()
            assert (await ask(browser, "view-0002"))["action"] == "show"
        noted = [notice.event for notice in clew.service.events.take_noted()]
        assert noted == ["reload_refused"] * 2
        write(tmp_path, rules(3, last="hide"))
        await clew.reload()
        assert (await ask(browser, "view-0003"))["action"] == "hide"
