"""Tokens of networks and their own ids of orders, on both engines."""

from clew.postbacks.tokens import Kept
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.networks import Networks


async def test_a_token_is_kept_and_renewed_by_one_worker_at_a_time(ledger_address: str) -> None:
    db = database_at(ledger_address)
    await db.open()
    try:
        networks = Networks(db)
        assert await networks.token("a") is None
        assert await networks.begin_renewal("a", 100.0, 160.0)
        assert not await networks.begin_renewal("a", 110.0, 170.0)
        assert await networks.begin_renewal("b", 110.0, 170.0)
        assert await networks.begin_renewal("a", 160.0, 220.0)  # the first worker ended meanwhile
        await networks.keep_token("a", Kept("sealed", 4000.0, "newer"))
        assert await networks.token("a") == Kept("sealed", 4000.0, "newer")
        assert await networks.begin_renewal("a", 3950.0, 4010.0)
        await networks.drop_token("a")
        assert await networks.token("a") == Kept("", 0.0, "newer")
    finally:
        await db.close()
