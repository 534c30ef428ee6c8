"""Rules for programs: read and set by tokens with these scopes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from desks import DeskServer, desk_server

WRITER, READER = "writer-2xLrW7mZc4JpYb8Nf", "reader-6mZc4JpYb8NfHsD3gA"
TOKENS = [
    {"name": "writer", "token": WRITER, "scopes": ["rules:write"]},
    {"name": "reader", "token": READER, "scopes": ["rules:read"]},
]
NEW = '[[rules]]\nname = "new"\naction = "hide"\n'


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path, more={"api_tokens": TOKENS}) as built:
        yield built


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_a_program_reads_and_sets_rules(desk: DeskServer) -> None:
    client = desk.client()
    found = (await client.get("rules", headers=bearer(READER))).json()
    assert (found["revision"], found["settings"], "after-wait" in found["text"]) == (0, True, True)
    body = {"text": NEW, "base": 0, "note": "why\0\u202e", "by": "ann\u2066\n"}
    assert (await client.post("rules", json=body, headers=bearer(READER))).status_code == 403
    assert (await client.post("rules", json=body)).status_code == 401
    assert (await client.get("rules", headers=bearer(WRITER))).status_code == 403
    done = await client.post("rules", json=body, headers=bearer(WRITER))
    assert done.status_code == 200
    told = done.json()
    assert (told["revision"], told["in_force"], told["text"], told["by"], told["note"]) == (
        1,
        1,
        NEW,
        "ann",
        "why",
    )
    assert [rule.name for rule in desk.service.sites["shop"].settings.rules] == ["new"]
    stale = await client.post("rules", json=body | {"text": "# other\n"}, headers=bearer(WRITER))
    assert (stale.status_code, "ann has set revision 1 meanwhile" in stale.text) == (409, True)
    wrong = await client.post("rules", json={"text": NEW.replace("hide", "hied")}, headers=bearer(WRITER))
    assert wrong.status_code == 422
    assert wrong.json()["error"].startswith("rules:3 rules[0].action: must be ")
    assert (await client.post("rules", json={"txt": ""}, headers=bearer(WRITER))).status_code == 422
    again = await client.post("rules", json={}, headers=bearer(WRITER))
    assert (again.json()["revision"], again.json()["settings"]) == (2, True)
    trail = (await (await desk.agent("olga")).get("desk/audit.ndjson")).text
    assert trail.count('"rules.api"') == 2
