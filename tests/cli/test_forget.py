"""`clew forget` and `POST forget`: the receipt, while clew serves, and a browser that comes back."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from clew.cli import app as commands
from clew.middleware.asgi.mount import ClewMiddleware
from filled import TOKEN, TOML, Filled
from starlette.applications import Starlette
from typer.testing import CliRunner, Result

MAIL = "a" * 64
VISITOR = "annannannannannannannannan"
PAGE = {"url": "https://shop.example/?ref=A2", "view": "view-0002"}


@pytest_asyncio.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Filled]:
    (tmp_path / "clew.toml").write_text(TOML, encoding="utf-8")
    filled = Filled(tmp_path)
    await filled.service.open()
    await filled.bought(VISITOR, "click-1")
    await filled.order("1001", "59.90", VISITOR, email_hash=MAIL)
    await filled.talk(VISITOR, "hello")
    await filled.deliver()
    yield filled
    await filled.service.close()


async def run(folder: Path, *arguments: str) -> Result:
    line = ["forget", *arguments, "--config", str(folder / "clew.toml")]
    return await asyncio.to_thread(CliRunner().invoke, commands, line)


def client(shop: Filled) -> httpx2.AsyncClient:
    mount = ClewMiddleware(Starlette(), shop.service.settings)
    mount.service = mount.startup.service = shop.service
    mount.startup.started = True
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=mount), base_url="https://shop.example/-/clew/"
    )


async def test_the_receipt_lists_deleted_and_kept_data_with_reasons(shop: Filled, tmp_path: Path) -> None:
    dry = await run(tmp_path, VISITOR, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert dry.stdout.startswith(f"Would forget at shop: visitor {VISITOR}, e-mail hash {MAIL}.")
    result = await run(tmp_path, VISITOR)
    assert result.exit_code == 0, result.output
    told = " ".join(result.stdout.split())
    for part in (
        f"Forgot at shop: visitor {VISITOR}, e-mail hash {MAIL}. What went: visits 1 the visitor's record",
        "messages 1 what was written",
        "What stayed, and why: orders 1 number, amounts, state",
        "the ground of what partners are paid",
        "Note: backups, exported files and the log",
    ):
        assert part in told, part
    again = json.loads((await run(tmp_path, "--email-hash", MAIL.upper(), "--json")).stdout)
    assert (again["visitors"], again["email_hashes"], again["went"]) == ([], [MAIL], [])
    assert "Nothing names this person." in (await run(tmp_path, VISITOR)).stdout


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "name either VISITOR or --email-hash"),
        ((VISITOR, "--email-hash", MAIL), "name either VISITOR or --email-hash"),
        (("--email-hash", "jane@example.com"), "is no SHA-256"),
        (("jane@example.com",), "neither a visitor's id nor a value of its cookie"),
    ],
)
async def test_wrong_arguments_are_an_error(
    shop: Filled, tmp_path: Path, arguments: tuple[str, ...], why: str
) -> None:
    result = await run(tmp_path, *arguments)
    assert result.exit_code == 2
    assert why in " ".join(result.output.replace("│", " ").split())


async def test_with_several_sites_one_is_named(shop: Filled, tmp_path: Path) -> None:
    text = 'desk_host = "desk.example"\n' + TOML + '[[sites]]\nname = "other"\nhosts = ["other.example"]\n'
    (tmp_path / "clew.toml").write_text(text, encoding="utf-8")
    assert "which site? Name it with --site: shop, other" in (await run(tmp_path, VISITOR)).stderr
    elsewhere = json.loads((await run(tmp_path, VISITOR, "--site", "other", "--json")).stdout)
    assert elsewhere["went"] == []
    unknown = await run(tmp_path, VISITOR, "--site", "shpo")
    assert unknown.exit_code == 1
    assert "Nothing is stored of a site 'shpo'" in unknown.stderr
    order = await shop.service.ledger.orders.get("shop", "1001")
    assert order is not None
    assert order.visitor == VISITOR


async def test_a_cookie_sent_after_forgetting_is_a_new_visitor(shop: Filled, tmp_path: Path) -> None:
    """The running server wrote the cookie before, with the visitor's arrivals in it."""
    async with client(shop) as browser:
        first = {"url": "https://shop.example/?ref=A1", "view": "view-0001"}
        await browser.post("decide", json=first)
        await browser.post("decide", json=first)
        old = browser.cookies["clew_visitor"]
        cookie = shop.service.sites["shop"].cookie
        before = cookie.open(old)
        assert before is not None
        assert (await run(tmp_path, old)).exit_code == 0
        browser.cookies.set("clew_visitor", old, domain="shop.example")
        await browser.post("decide", json={**PAGE, "url": "https://shop.example/"})
        after = cookie.open(browser.cookies["clew_visitor"])
        assert after is not None
        assert after.visitor != before.visitor
        assert after.touches == ()
        # A click on that very page is the new visitor's.
        await browser.post("decide", json=PAGE, headers={"Cookie": f"clew_visitor={old}"})
        again = cookie.open(browser.cookies["clew_visitor"])
        assert again is not None
        assert [c.value for t in again.touches for c in t.clicks] == ["A2"]


async def test_a_visitor_who_chats_after_forgetting_gets_a_new_id(shop: Filled, tmp_path: Path) -> None:
    async with client(shop) as browser:
        first = {"url": "https://shop.example/?ref=A1", "view": "view-0001"}
        await browser.post("decide", json=first)
        old = browser.cookies["clew_visitor"]
        cookie = shop.service.sites["shop"].cookie
        before = cookie.open(old)
        assert before is not None
        await run(tmp_path, before.visitor)
        said = {"text": "me again", "client_id": "client-0001"}
        answer = await browser.post("messages", json=said, headers={"Cookie": f"clew_visitor={old}"})
        assert answer.status_code == 201
        after = cookie.open(browser.cookies["clew_visitor"])
        assert after is not None
        assert after.visitor != before.visitor
        talk = await shop.service.ledger.conversations.talk("shop", before.visitor)
        assert talk.last == 0


async def forget(shop: Filled, body: Any, token: str = TOKEN) -> httpx2.Response:
    async with client(shop) as http:
        return await http.post("forget", json=body, headers={"Authorization": f"Bearer {token}"})


async def test_the_shops_server_has_a_person_forgotten_with_its_token(shop: Filled) -> None:
    assert (await forget(shop, {"visitor": VISITOR}, "wrong")).status_code == 401
    assert (await forget(shop, {})).status_code == 422
    assert (await forget(shop, {"email_hash": "x"})).status_code == 422
    dry = (await forget(shop, {"email_hash": MAIL, "dry_run": True})).json()
    done = await forget(shop, {"email_hash": MAIL.upper()})
    assert done.status_code == 200
    assert done.headers["Cache-Control"] == "no-store"
    assert (done.json()["went"], done.json()["visitors"]) == (dry["went"], [VISITOR])
    order = await shop.service.ledger.orders.get("shop", "1001")
    assert order is not None
    assert (order.visitor, order.partner) == (None, "blog")


async def test_explain_order_reports_forgotten_inputs_with_exit_status_0(
    shop: Filled, tmp_path: Path
) -> None:
    await run(tmp_path, VISITOR)
    line = ["explain", "order", "1001", "--replay", "--config", str(tmp_path / "clew.toml")]
    told = await asyncio.to_thread(CliRunner().invoke, commands, line, env={"COLUMNS": "200"})
    assert told.exit_code == 0, told.output
    assert "not repeated: its inputs are forgotten" in told.stdout
    assert VISITOR not in told.stdout


async def test_the_end_of_an_id_is_refused_with_the_whole_one(shop: Filled, tmp_path: Path) -> None:
    """The desk shows the last letters: nothing would be forgotten by them, and the command would say so of
    the person."""
    whole = "e6mobs7t6hkro2dyrtglrlkwra"
    await shop.bought(whole, "c2")
    done = await run(tmp_path, whole[-6:])
    assert done.exit_code == 1
    assert whole in done.stderr
    assert await shop.service.visits.get("shop", whole) is not None
    assert (await run(tmp_path, whole)).exit_code == 0
