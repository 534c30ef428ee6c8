"""Files and pictures of conversations over HTTP, in both directions."""

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
import pytest_asyncio
from clew.stores.ledger.connection import executing
from clew.stores.ledger.retention import DAY
from clew.stores.ledger.schema import file_parts, files
from desks import VISITOR, DeskServer, desk_server, hidden
from pictures import PDF, bomb, photo, picture, words
from sqlalchemy import select

STRANGER = "zzzzbbbbccccddddeeeeffff22"


@pytest_asyncio.fixture
async def desk(tmp_path: Path, ledger_address: str) -> AsyncIterator[DeskServer]:
    built = DeskServer(tmp_path, ledger=ledger_address)
    await built.service.start()
    yield built
    await built.service.stop()


async def send(
    client: httpx2.AsyncClient,
    data: bytes,
    name: str = "photo.jpg",
    client_id: str = "widget-id-1",
    **more: str,
) -> httpx2.Response:
    return await client.post(
        "files",
        content=data,
        params={"client_id": client_id, "language": "de"},
        headers={"content-type": "application/octet-stream", "x-clew-name": quote(name), **more},
    )


async def sent(client: httpx2.AsyncClient, data: bytes, name: str = "photo.jpg", client_id: str = "") -> Any:
    answer = await send(client, data, name, client_id or "sent-once-1")
    assert answer.status_code == 201, answer.text
    return answer.json()["file"]


async def rows(desk: DeskServer) -> list[Any]:
    found = await desk.service.ledger.db.query(executing(select(files)))
    return list(found)


async def parts(desk: DeskServer) -> int:
    return len(list(await desk.service.ledger.db.query(executing(select(file_parts.c.part)))))


async def agent_sends(
    desk: DeskServer, client: httpx2.AsyncClient, talk: str, data: bytes, name: str, **headers: str
) -> httpx2.Response:
    page = await client.get(f"desk/conversations/{talk}")
    return await client.post(
        f"desk/conversations/{talk}/files",
        data={"csrf": hidden(page.text), "client_id": hidden(page.text, "client_id")},
        files={"file": (name, data, "application/octet-stream")},
        headers=headers,
    )


async def test_a_photo_comes_out_without_its_place_and_without_what_stood_behind_it(desk: DeskServer) -> None:
    client = desk.visitor()
    behind = b"<script>alert(1)</script>"
    file = await sent(client, photo(behind=behind), "my photo.jpeg")
    assert file["name"] == "my photo.jpg"
    assert (file["type"], file["width"], file["height"]) == ("image/jpeg", 48, 64)  # turned as it was meant
    read = (await client.get("messages")).json()
    assert read["messages"][0]["file"] == file
    assert read["messages"][0]["text"] == "my photo.jpg"
    assert read["files"]["megabytes"] == 10
    assert "image/jpeg" in read["files"]["accept"]
    shown = await client.get(f"files/{file['id']}")
    assert shown.status_code == 200
    assert shown.headers["content-type"] == "image/jpeg"
    assert shown.headers["content-disposition"].startswith('inline; filename="my photo.jpg"')
    assert shown.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert shown.headers["x-content-type-options"] == "nosniff"
    assert len(shown.content) == file["size"] == int(shown.headers["content-length"])
    assert b"Elm Street" not in shown.content
    assert b"comment" not in shown.content
    assert behind not in shown.content
    assert words(shown.content).size == (48, 64)


@pytest.mark.parametrize(
    ("data", "name", "type_"),
    [
        (PDF, "invoice.pdf", "application/pdf"),
        ("Größe 43, bitte".encode(), "größe.txt", "text/plain; charset=utf-8"),
        (b"<script>alert(1)</script>", "note", "text/plain; charset=utf-8"),
    ],
)
async def test_what_is_no_picture_can_only_be_saved(
    desk: DeskServer, data: bytes, name: str, type_: str
) -> None:
    client = desk.visitor()
    file = await sent(client, data, name, "attached-1")
    shown = await client.get(f"files/{file['id']}")
    assert shown.content == data
    assert shown.headers["content-type"] == type_
    assert shown.headers["content-disposition"].startswith("attachment; ")
    assert shown.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in shown.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("data", "name", "status", "reason"),
    [
        (b"MZ\x90\x00\x03", "photo.jpg", 415, "type"),
        (b"PK\x03\x04rest", "paper.docx", 415, "type"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "logo.svg", 415, "lies"),
        (b"<html><script>1</script>", "photo.png", 415, "lies"),
        (b"echo hello", "photo.jpg.sh", 415, "lies"),
        (PDF, "photo.jpg", 415, "lies"),
        (picture("PNG"), "paper.pdf", 415, "lies"),
        (b"\xff\xfet\x00e\x00x\x00t\x00", "letter.txt", 415, "type"),
        (b"text\x00with nul", "letter.txt", 415, "type"),
        (b"", "nothing.txt", 415, "type"),
        (b"\xff\xd8\xff<script>alert(1)</script>", "photo.jpg", 422, "broken"),
        (photo(400, 300)[:700], "half.jpg", 422, "broken"),
        (bomb(), "small.png", 413, "size"),
    ],
)
async def test_a_file_that_is_not_what_it_seems_is_refused_with_a_word(
    desk: DeskServer, data: bytes, name: str, status: int, reason: str
) -> None:
    client = desk.visitor()
    answer = await send(client, data, name)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason), answer.text
    assert answer.json()["error"]
    assert await rows(desk) == []
    assert await parts(desk) == 0
    assert (await client.get("messages")).json()["messages"] == []


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "JPEG"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
async def test_pictures_of_all_formats_are_made_anew(desk: DeskServer, kind: str, mode: str) -> None:
    client = desk.visitor()
    # Programs name them after each other's formats.
    file = await sent(client, picture(kind, mode), "picture.webp")
    shown = await client.get(f"files/{file['id']}")
    found = words(shown.content)
    assert found.format == {"image/png": "PNG", "image/jpeg": "JPEG"}[file["type"]]
    assert found.size == (64, 48)


async def test_a_large_picture_is_made_as_small_as_a_screen(desk: DeskServer) -> None:
    client = desk.visitor()
    file = await sent(client, photo(5000, 3000))
    assert (file["width"], file["height"]) == (1229, 2048)


async def test_only_the_visitor_and_the_sites_agents_get_a_file(desk: DeskServer) -> None:
    file = await sent(desk.visitor(), photo())
    assert (await desk.visitor(STRANGER).get(f"files/{file['id']}")).status_code == 404
    assert (await desk.visitor(base="http://other.test").get(f"files/{file['id']}")).status_code == 404
    assert (await desk.client().get(f"files/{file['id']}")).status_code == 403
    path = f"desk/files/{file['id']}"
    assert (await desk.client().get(path)).status_code == 404
    agent = await desk.agent()
    assert (await agent.get(path)).status_code == 200
    elsewhere = await desk.agent("eve", site="other", base="http://other.test")
    assert (await elsewhere.get(path)).status_code == 404


async def test_a_script_of_the_shop_gets_no_file_through_the_desk(desk: DeskServer) -> None:
    file = await sent(desk.visitor(), photo())
    agent = await desk.agent()
    path, image = f"desk/files/{file['id']}", {"sec-fetch-dest": "image", "sec-fetch-mode": "no-cors"}
    assert (await agent.get(path, headers=image)).status_code == 403
    talk = (await rows(desk))[0].conversation
    page = (await agent.get(f"desk/conversations/{talk}")).text
    key = page.partition('data-key="')[2].partition('"')[0]
    assert f"{path}?key={key}" in page
    assert (await agent.get(f"{path}?key={key}", headers=image)).status_code == 200


async def test_an_agent_sends_a_file_with_and_without_the_script(desk: DeskServer) -> None:
    talk = await desk.says("hello")
    agent, visitor = await desk.agent(), desk.visitor()
    answer = await agent_sends(desk, agent, talk, PDF, "price list.pdf")
    assert answer.status_code == 303
    answer = await agent_sends(desk, agent, talk, photo(), "bag.jpg", accept="application/json")
    assert answer.status_code == 201
    answer = await agent_sends(desk, agent, talk, b"MZ\x00", "tool.exe", accept="application/json")
    assert answer.status_code == 422
    assert "type" in answer.json()["error"]
    answer = await agent_sends(desk, agent, talk, b"x" * 11_000_000, "long.txt", accept="application/json")
    assert answer.status_code == 413
    assert "10 MB" in answer.json()["error"]
    read = (await visitor.get("messages")).json()["messages"]
    assert [(m["author"], m["text"]) for m in read[1:]] == [("agent", "price list.pdf"), ("agent", "bag.jpg")]
    assert (await visitor.get(f"files/{read[2]['file']['id']}")).status_code == 200
    found = await desk.conversations.get("shop", talk)
    assert found is not None
    assert found.agent == "bo"


async def test_an_agents_form_of_another_session_sends_nothing(desk: DeskServer) -> None:
    talk = await desk.says("hello")
    agent = await desk.agent()
    answer = await agent.post(
        f"desk/conversations/{talk}/files",
        data={"csrf": "x" * 43},
        files={"file": ("a.txt", b"text", "text/plain")},
    )
    assert answer.status_code == 403
    assert await rows(desk) == []


async def test_a_file_of_an_agent_that_does_not_arrive_in_time_is_refused(
    desk: DeskServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clew.desk.files.UPLOAD_SECONDS", 0.2)
    talk, agent = await desk.says("hello"), await desk.agent()

    async def slow() -> AsyncIterator[bytes]:
        yield b"--x\r\ncontent-disposition: form-data; name=file; filename=a.txt\r\n\r\nbegun"
        await asyncio.Event().wait()

    headers = {"content-type": "multipart/form-data; boundary=x"}
    async with asyncio.timeout(30):
        answer = await agent.post(f"desk/conversations/{talk}/files", content=slow(), headers=headers)
    assert answer.status_code == 408
    assert await rows(desk) == []


async def test_a_file_that_is_sent_twice_is_kept_once(desk: DeskServer) -> None:
    client = desk.visitor()
    first, second = await send(client, photo()), await send(client, photo())
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert len(await rows(desk)) == 1
    assert await parts(desk) == 1


async def test_a_file_that_is_too_large_is_refused_before_it_has_come(tmp_path: Path) -> None:
    async with desk_server(tmp_path, more={"files": {"megabytes": 1}}) as desk:
        client, sent_parts = desk.visitor(), 0

        async def body() -> AsyncIterator[bytes]:
            nonlocal sent_parts
            for _ in range(100):
                sent_parts += 1
                yield b"x" * 100_000

        headers = {"content-type": "application/octet-stream", "x-clew-name": "long.txt"}
        answer = await client.post("files", params={"client_id": "widget-1"}, content=body(), headers=headers)
        assert (answer.status_code, answer.json()["reason"]) == (413, "size")
        answer = await send(client, b"x" * 1_100_000, "long.txt")
        assert answer.status_code == 413


@pytest.mark.parametrize(
    ("setting", "reason", "status"),
    [
        ({"per_conversation": 1}, "many", 409),
        ({"types": ["picture"]}, "type", 415),
        ({"from_visitors": False}, "type", 415),
    ],
)
async def test_a_site_says_what_and_how_much(
    tmp_path: Path, setting: dict[str, Any], reason: str, status: int
) -> None:
    async with desk_server(tmp_path, more={"files": setting}) as desk:
        client = desk.visitor()
        await send(client, photo(), client_id="widget-id-0")
        answer = await send(client, PDF, "a.pdf")
        assert (answer.status_code, answer.json()["reason"]) == (status, reason)


async def test_a_full_store_takes_no_more_and_says_so_to_people(tmp_path: Path) -> None:
    async with desk_server(tmp_path, more={"files": {"total_megabytes": 1}}) as desk:
        client = desk.visitor()
        await sent(client, b"x" * 900_000, "long.txt")
        answer = await send(client, b"x" * 900_000, "more.txt", "widget-id-2")
        assert (answer.status_code, answer.json()["reason"]) == (507, "full")
        page = await (await desk.agent()).get("desk/")
        assert "No more files are taken in the chat: 1 MB are kept." in page.text


async def test_the_limits_of_files_count(tmp_path: Path) -> None:
    async with desk_server(tmp_path, limits={"files": {"client": 2}}) as desk:
        client = desk.visitor()
        answers = [await send(client, PDF, "a.pdf", f"widget-id-{n}") for n in range(3)]
        assert [answer.status_code for answer in answers] == [201, 201, 429]
        assert "files" in answers[2].json()["error"]


def scanner(folder: Path, script: str) -> list[str]:
    found = folder / "scan.sh"
    found.write_text(f"#!/bin/sh\n{script}\n")
    found.chmod(found.stat().st_mode | stat.S_IXUSR)
    return [str(found), "--fdpass"]


@pytest.mark.parametrize(
    ("script", "reason", "status"),
    [
        ("if grep -q EICAR; then exit 1; fi; exit 0", "infected", 422),
        ("cat >/dev/null; exit 2", "unscanned", 503),
        ("kill -9 $$", "unscanned", 503),
        ("exec sleep 600", "unscanned", 503),
    ],
)
async def test_a_scanner_sees_the_bytes_as_they_came_and_without_it_nothing_is_taken(
    tmp_path: Path, script: str, reason: str, status: int
) -> None:
    setting = {"scan": scanner(tmp_path, script), "scan_seconds": 1}
    async with desk_server(tmp_path, more={"files": setting}) as desk:
        answer = await send(desk.visitor(), photo(behind=b"EICAR"))
        assert (answer.status_code, answer.json()["reason"]) == (status, reason)
        assert await rows(desk) == []
        page = (await (await desk.agent()).get("desk/")).text
        assert ("cannot be checked for viruses" in page) == (reason == "unscanned")


async def test_a_scanner_lets_the_clean_ones_through(tmp_path: Path) -> None:
    setting = {"scan": scanner(tmp_path, "if grep -q EICAR; then exit 1; fi; exit 0")}
    async with desk_server(tmp_path, more={"files": setting}) as desk:
        assert (await send(desk.visitor(), photo())).status_code == 201


async def test_a_scanner_that_is_not_there_is_no_reason_to_let_files_in(tmp_path: Path) -> None:
    async with desk_server(tmp_path, more={"files": {"scan": ["/no/such/scanner"]}}) as desk:
        answer = await send(desk.visitor(), photo())
        assert (answer.status_code, answer.json()["reason"]) == (503, "unscanned")


async def test_files_go_after_their_time_and_their_messages_stay(desk: DeskServer) -> None:
    client = desk.visitor()
    file = await sent(client, photo())
    desk.clock.ahead = 181 * DAY
    await desk.service.apply_retention()
    assert await rows(desk) == []
    assert await parts(desk) == 0
    read = (await client.get("messages")).json()["messages"]
    assert [m["text"] for m in read] == ["photo.jpg"]
    assert "file" not in read[0]
    assert (await client.get(f"files/{file['id']}")).status_code == 404


async def test_who_is_forgotten_takes_its_files_along(desk: DeskServer) -> None:
    await sent(desk.visitor(), photo())
    await sent(desk.visitor(STRANGER), photo())
    await desk.service.forgetter.forget("shop", visitor=VISITOR)
    assert [row.name for row in await rows(desk)] == ["photo.jpg"]
    assert await parts(desk) == 1
    assert (await desk.visitor(STRANGER).get("messages")).json()["messages"][0]["file"]


async def test_an_upload_that_breaks_off_leaves_nothing(desk: DeskServer) -> None:
    started = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield photo()
        started.set()
        await asyncio.Event().wait()

    headers = {"content-type": "application/octet-stream", "x-clew-name": "a.jpg"}
    async with desk.served() as base:
        cookie = {"cookie": desk.cookie(base="http://shop.test")}
        async with httpx2.AsyncClient(base_url=base, headers=cookie) as client:
            task = asyncio.create_task(
                client.post("files", params={"client_id": "widget-1"}, content=body(), headers=headers)
            )
            await started.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(30):
            while desk.service.limits.held("file_uploads"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert await rows(desk) == []


async def test_a_file_from_a_page_of_another_site_is_refused(desk: DeskServer) -> None:
    client = desk.visitor()
    answer = await send(client, photo(), **{"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403
    answer = await client.post("files", params={"client_id": "widget-1"}, json={})
    assert answer.status_code == 415
    answer = await send(client, photo(), client_id="x")
    assert answer.status_code == 422
    assert "client_id" in answer.json()["error"]
