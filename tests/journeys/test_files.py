"""Files and pictures from the visitor's widget to the agent's desk and back, both in Chromium."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from accessibility import faults
from desks import PASSWORD, DeskServer
from pictures import PDF, photo, picture
from playwright.async_api import Browser, Locator, Route, expect
from playwright.async_api import Page as Tab

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]
SHOP = (
    '<!doctype html><html lang="en"><title>Pots</title>'
    '<script async src="/-/clew/l.js" data-clew="1"></script><main><h1>Pots</h1></main>'
)


@pytest_asyncio.fixture(loop_scope="session")
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    built = DeskServer(tmp_path)
    await built.service.start()
    await built.agents.add("bo", PASSWORD, site=None, now=built.service.clock.now())
    yield built
    await built.service.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def address(desk: DeskServer) -> AsyncIterator[str]:
    async with desk.served() as address:
        yield address


async def visitor(chromium: Browser, address: str) -> Tab:
    """A visitor with the chat open."""
    tab = await (await chromium.new_context(locale="en-GB")).new_page()

    async def shop(route: Route) -> None:
        await route.fulfill(body=SHOP, content_type="text/html")

    await tab.route(address.removesuffix("-/clew/"), shop)
    await tab.goto(address.removesuffix("-/clew/"))
    await tab.get_by_role("button", name="Ask us").click()
    return tab


async def agent(chromium: Browser, address: str) -> Tab:
    """An agent in the first conversation."""
    tab = await (await chromium.new_context(locale="en-GB")).new_page()
    await tab.goto(f"{address}desk/")
    await tab.get_by_label("Name").fill("bo")
    await tab.get_by_label("Password").fill(PASSWORD)
    await tab.get_by_role("button", name="Log in").click()
    await tab.get_by_role("link", name="Visitor").first.click()
    await expect(tab.locator("#pulse-text")).to_have_text("live")
    return tab


async def loaded(image: Locator) -> None:
    """Wait until a picture is there."""
    await image.scroll_into_view_if_needed()
    await image.evaluate("image => image.decode()")
    assert await image.evaluate("image => image.naturalWidth") > 0


async def drop(tab: Tab, on: Locator, data: bytes, name: str, event: str) -> None:
    """Drop or paste a file."""
    transfer = await tab.evaluate_handle(
        """([bytes, name]) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], name));
          return transfer;
        }""",
        [list(data), name],
    )
    if event == "paste":
        await on.evaluate(
            "(node, clipboardData) => node.dispatchEvent(new ClipboardEvent('paste',"
            "{ clipboardData, bubbles: true, cancelable: true, composed: true }))",
            transfer,
        )
    else:
        await on.dispatch_event(event, {"dataTransfer": transfer})


async def test_a_picture_goes_to_the_agent_and_a_pdf_comes_back(
    chromium: Browser, desk: DeskServer, address: str, tmp_path: Path
) -> None:
    shop = await visitor(chromium, address)
    requests: list[str] = []
    shop.on("request", lambda request: requests.append(request.url.rpartition("/")[2]))
    chat = shop.get_by_role("dialog")
    picker = chat.locator("input[type=file]")
    await expect(chat.get_by_role("button", name="Send a file or picture")).to_be_visible()
    assert not [one for one in requests if one.startswith("s.js")]
    async with shop.expect_file_chooser() as chosen:
        await chat.get_by_role("button", name="Send a file or picture").click()
    await (await chosen.value).set_files({"name": "my bag.jpg", "mimeType": "image/jpeg", "buffer": photo()})
    mine = chat.locator(".visitor img")
    await expect(mine).to_have_attribute("alt", "my bag.jpg")
    await loaded(mine)

    bench = await agent(chromium, address)
    shown = bench.locator(".by-visitor img")
    await expect(shown).to_have_attribute("alt", "my bag.jpg")
    await loaded(shown)

    await bench.get_by_label("Attach a file").set_input_files(
        {"name": "invoice.pdf", "mimeType": "application/pdf", "buffer": PDF}
    )
    await expect(bench.locator(".by-agent a.file")).to_have_text("invoice.pdf")
    await expect(bench.locator(".file-hint")).to_have_text("invoice.pdf was sent.")
    link = chat.locator(".agent a", has_text="invoice.pdf")
    async with shop.expect_download() as saving:
        await link.click()
    saved = await saving.value
    assert saved.suggested_filename == "invoice.pdf"
    target = tmp_path / "saved.pdf"
    await saved.save_as(target)
    assert target.read_bytes() == PDF

    # Live, while the desk's page is open.
    await drop(shop, chat, picture(), "a.png", "drop")
    await expect(bench.locator(".by-visitor img")).to_have_count(2)
    await loaded(bench.locator(".by-visitor img").last)
    await drop(shop, chat.get_by_label("Write a message"), picture("GIF"), "b.gif", "paste")
    await expect(bench.locator(".by-visitor img")).to_have_count(3)
    await drop(bench, bench.locator(".talk"), picture(), "c.png", "drop")
    await expect(chat.locator(".agent img")).to_have_count(1)
    await drop(bench, bench.locator("#text"), picture(), "d.png", "paste")
    await expect(chat.locator(".agent img")).to_have_count(2)
    await picker.set_input_files([])
    assert [one for one in await faults(bench) if "file" in str(one)] == []


async def test_what_is_refused_is_said_in_the_visitors_language(
    chromium: Browser, desk: DeskServer, address: str
) -> None:
    shop = await visitor(chromium, address)
    chat = shop.get_by_role("dialog")
    picker = chat.locator("input[type=file]")
    await expect(chat.get_by_role("button", name="Send a file or picture")).to_be_visible()
    for name, data, words in (
        ("page.png", b"<script>alert(1)</script>", "The content of the file does not match its name."),
        ("tool.bin", b"MZ\x00\x01", "Pictures, PDF and text files of up to 10 MB can be sent."),
        ("broken.jpg", b"\xff\xd8\xff<script>", "The file could not be accepted."),
        ("big.txt", b"x" * 11_000_000, "Pictures, PDF and text files of up to 10 MB can be sent."),
    ):
        await picker.set_input_files({"name": name, "mimeType": "", "buffer": data})
        await expect(chat.locator(".upload.wrong")).to_have_text(f"{name}: {words}")
        await chat.get_by_label("Write a message").fill("x")
        await expect(chat.locator(".upload")).to_have_count(0)
    await expect(chat.locator(".visitor")).to_have_count(0)
    assert await faults(shop) == []


async def test_an_upload_that_breaks_off_is_made_again_and_arrives_once(
    chromium: Browser, desk: DeskServer, address: str
) -> None:
    shop = await visitor(chromium, address)
    chat = shop.get_by_role("dialog")
    attempts = 0

    async def lost(route: Route) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            await route.fetch()  # it arrives, and its answer is lost
            await route.abort("connectionreset")
        else:
            await route.continue_()

    await shop.route("**/files?*", lost)
    await expect(chat.get_by_role("button", name="Send a file or picture")).to_be_visible()
    await chat.locator("input[type=file]").set_input_files({"name": "a.pdf", "mimeType": "", "buffer": PDF})
    await expect(chat.locator(".visitor a")).to_have_text("a.pdf")
    await expect(chat.locator(".upload")).to_have_count(0)
    assert attempts == 2
    await shop.reload()
    await expect(shop.get_by_role("dialog").locator(".visitor a")).to_have_count(1)
