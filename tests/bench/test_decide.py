"""What the measurement of decisions needs before it begins."""

import threading

import redis
from clew.referral.cookie import new_visitor_id
from clew.referral.visitor import Page, Viewed, changed
from database_servers import Redis
from decide import fill_redis

NOW = 1763860000.0


def test_a_redis_that_is_held_up_for_a_while_is_filled_all_the_same() -> None:
    """As on a machine with more work than processors: a page would go on without the store."""
    page = Page("view-0001", NOW, "https://shop.example/", "Shop")
    visitors = [changed(None, new_visitor_id(), [Viewed(page)], NOW) for _ in range(200)]
    with Redis() as server:
        server.freeze()
        held_up = threading.Timer(1.5, server.thaw)
        held_up.start()
        try:
            fill_redis(server.port, visitors)
        finally:
            held_up.join()
        client = redis.Redis(port=server.port)
        assert (
            sum(visitor.id.encode() in b"".join(client.scan_iter(count=1000)) for visitor in visitors) == 200
        )
        client.close()
