"""What of the chat has long bodies, over a mount as it is: files both ways, and the visitor's page."""

import re

import httpx2
from desks import hidden, login

TEXT = "".join(f"line {number}: what was asked\n" for number in range(40_000)).encode()
PAGE = "<html><body><h1>Pots</h1><input value=typed>" + "<p>in every shop</p>" * 5_000 + "</body></html>"


async def _writes(visitor: httpx2.AsyncClient, address: str) -> None:
    decided = await visitor.post("decide", json={"url": f"{address}/", "title": "Pots", "view": "view-0001"})
    assert decided.status_code == 200, decided.text
    said = {"text": "hello", "client_id": "client-0001", "language": "en"}
    assert (await visitor.post("messages", json=said)).status_code == 201


async def _sends(visitor: httpx2.AsyncClient) -> str:
    """The id of a file."""
    sent = await visitor.post(
        "files",
        content=TEXT,
        params={"client_id": "client-0002", "language": "en"},
        headers={"content-type": "application/octet-stream", "x-clew-name": "notes.txt"},
    )
    assert sent.status_code == 201, sent.text
    return str(sent.json()["file"]["id"])


async def _answers(agent: httpx2.AsyncClient, talk: str) -> None:
    page = (await agent.get(talk)).text
    sent = await agent.post(
        f"{talk}/files",
        data={"csrf": hidden(page), "client_id": hidden(page, "client_id")},
        files={"file": ("answer.txt", TEXT, "text/plain")},
    )
    assert sent.status_code == 303, sent.text
    asked = await agent.post(f"{talk}/cobrowsing", data={"csrf": hidden(page)})
    assert asked.status_code == 303, asked.text


async def files_and_pages_go_both_ways(address: str, name: str, password: str) -> None:
    """A visitor and an agent at a shop in which `cobrowsing` is on."""
    base, limits = f"{address}/-/clew/", httpx2.Timeout(60)
    async with (
        httpx2.AsyncClient(base_url=base, trust_env=False, timeout=limits) as visitor,
        httpx2.AsyncClient(base_url=base, trust_env=False, timeout=limits) as agent,
    ):
        await _writes(visitor, address)
        file = await _sends(visitor)
        assert (await visitor.get(f"files/{file}")).content == TEXT
        assert (await login(agent, name, password)).status_code == 303
        talk = re.search(r"desk/conversations/[\w-]+", (await agent.get("desk/")).text)
        assert talk is not None
        assert (await agent.get(f"desk/files/{file}")).content == TEXT
        await _answers(agent, talk[0])
        read = (await visitor.get("messages")).json()["messages"]
        (given,) = [one["file"]["id"] for one in read if one["author"] == "agent" and "file" in one]
        assert (await visitor.get(f"files/{given}")).content == TEXT
        yes = {"state": "on", "client_id": "client-0003", "language": "en"}
        assert (await visitor.post("cobrowsing", json=yes)).status_code == 204
        shown = await visitor.post("cobrowsing/page", json={"url": f"{address}/pots", "html": PAGE})
        assert shown.status_code == 204, shown.text
        seen = await agent.get(f"{talk[0]}/cobrowsing/page")
        assert "<h1>Pots</h1>" in seen.text
        assert "typed" not in seen.text
        assert seen.headers["content-security-policy"].startswith("sandbox;")
