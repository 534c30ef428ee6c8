"""The OpenCart module's webhook, as PHP sends it, is what the door takes. OpenCart itself is a stub here."""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import sqlalchemy as sa
from desks import VISITOR, DeskServer, desk_server
from hooks import EMAIL_HASH, SECRETS

MODULE = Path(__file__).parents[2] / "examples/opencart/catalog/controller/clew.php"
STUB = Path(__file__).parents[1] / "support/opencart_stub.php"


async def report(desk: DeskServer, status: int, secret: str = SECRETS["opencart"]) -> str:
    token = desk.service.sites["shop"].carrier.token(VISITOR)
    async with desk.served() as address:
        command = ["php", str(STUB), str(MODULE), f"{address}hooks/opencart", secret, str(status)]
        done = await asyncio.to_thread(
            subprocess.run,
            command,
            capture_output=True,
            text=True,
            env={"TOKEN": token, "PATH": "/usr/bin:/bin"},
        )
    assert not done.stderr, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("php") is None, reason="PHP is not installed")
async def test_what_the_module_sends_is_an_order(tmp_path: Path) -> None:
    hooks = {"opencart": {"secret": SECRETS["opencart"]}}
    async with desk_server(tmp_path, webhooks=hooks) as desk:
        assert await report(desk, status=1) == ""
        query = "SELECT order_id, total, currency, state, visitor, details FROM orders"
        async with desk.service.ledger.db.read() as connection:
            ((number, total, currency, state, visitor, details),) = await connection.execute(sa.text(query))
            hashes = await connection.scalar(sa.text("SELECT email_hash FROM sightings"))
        assert (number, total, currency, state, visitor) == ("1", "252.40", "USD", "placed", VISITOR)
        found = json.loads(details)
        assert (found["shipping"], found["tax"], found["discount"]) == ("5.00", "45.40", "10.00")
        assert hashes == EMAIL_HASH


@pytest.mark.skipif(shutil.which("php") is None, reason="PHP is not installed")
async def test_what_is_wrong_stands_in_the_shops_log(tmp_path: Path) -> None:
    hooks = {"opencart": {"secret": SECRETS["opencart"]}}
    async with desk_server(tmp_path, webhooks=hooks) as desk:
        told = await report(desk, status=1, secret="another-secret-than-ours")
        assert "signature is wrong" in told
