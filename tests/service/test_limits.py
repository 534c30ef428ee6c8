"""Limits by client network, by site and over all."""

import time
import tracemalloc
from itertools import islice
from typing import Any

import pytest
from clew.events.events import Events
from clew.service.limits import HELD_WAIT, LimitedError, Limits, Own, Rate, network_of, networks_of
from clew.settings import model
from costs import assert_linear
from prometheus_client import CollectorRegistry


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """Limits with small numbers, their clock and their events."""

    def __init__(self, **bounds: tuple[int, int, int]) -> None:
        tables = {n: dict(zip(("client", "site", "all"), b, strict=True)) for n, b in bounds.items()}
        self.clock = Clock()
        self.registry = CollectorRegistry()
        self.limits = Limits(
            model.Limits.model_validate(tables), Events(self.registry, self.clock), self.clock
        )

    def taken(self, times: int, client: str | None = "203.0.113.7", site: str = "a", **more: Any) -> int:
        """How many of so many messages were not refused."""
        return sum(self.refusal(client, site, **more) is None for _ in range(times))

    def refusal(
        self, client: str | None = "203.0.113.7", site: str = "a", **more: Any
    ) -> LimitedError | None:
        try:
            self.limits.take("messages", site, client, **more)
        except LimitedError as limited:
            return limited
        return None


def test_a_rate_may_be_used_up_at_once_and_is_refilled_evenly() -> None:
    bench = Bench(messages=(6, 100, 100))
    assert bench.taken(20) == 6
    limited = bench.refusal()
    assert limited is not None
    assert (limited.limit, limited.scope, limited.wait) == ("messages", "client", pytest.approx(10))
    bench.clock.now += 9.9
    assert bench.taken(1) == 0
    bench.clock.now += 0.1
    assert bench.taken(5) == 1
    bench.clock.now += 3600
    assert bench.taken(20) == 6


def test_networks_and_sites_are_counted_apart_and_together() -> None:
    """field E3: each scope says no by itself, and is named."""
    bench = Bench(messages=(3, 5, 9))
    assert bench.taken(9, "203.0.113.7") == 3
    assert bench.taken(9, "203.0.113.8") == 2
    limited = bench.refusal("203.0.113.9")
    assert limited is not None
    assert limited.scope == "site"
    assert bench.taken(9, "203.0.113.9", "b") == 3
    assert bench.taken(9, "203.0.113.10", "b") == 1
    limited = bench.refusal("203.0.113.11", "c")
    assert limited is not None
    assert limited.scope == "all"


def test_a_refusal_by_the_site_limit_does_not_count_for_the_client() -> None:
    bench = Bench(messages=(3, 1, 100))
    assert bench.taken(50) == 1
    assert bench.taken(50, site="b") == 1
    assert bench.taken(50, site="c") == 1
    limited = bench.refusal(site="d")
    assert limited is not None
    assert limited.scope == "client"


def test_a_peer_without_an_address_is_counted_by_site_and_over_all_only() -> None:
    bench = Bench(messages=(1, 5, 9))
    assert bench.taken(20, None) == 5


def test_an_own_key_is_one_more_scope() -> None:
    bench = Bench(messages=(100, 100, 100))
    own = Own("visitor", "v1", Rate(2, 60))
    assert bench.taken(5, own=own) == 2
    limited = bench.refusal(own=own)
    assert limited is not None
    assert limited.scope == "visitor"
    assert bench.taken(5, own=Own("visitor", "v2", Rate(2, 60))) == 2


def test_a_cost_counts_as_so_many_and_one_above_the_limit_waits_for_an_empty_counter() -> None:
    bench = Bench(messages=(10, 100, 100))
    assert bench.taken(5, cost=4) == 2
    assert bench.taken(1, cost=2) == 1
    bench.clock.now += 30
    assert bench.taken(1, cost=50) == 0
    bench.clock.now += 30
    assert bench.taken(1, cost=50) == 1


def test_a_returned_count_may_be_taken_again() -> None:
    bench = Bench(messages=(2, 100, 100))
    for _ in range(10):
        assert bench.taken(1) == 1
        bench.limits.give_back("messages", "a", "203.0.113.7")
    assert bench.taken(5) == 2


def test_a_network_that_knew_the_secret_is_not_shut_out_by_strangers() -> None:
    bench = Bench(messages=(3, 3, 3))
    bench.limits.prove("messages", "203.0.113.7")
    assert bench.taken(5, "198.51.100.1") == 3
    assert bench.taken(1, "198.51.100.2") == 0
    assert bench.taken(5, "203.0.113.7") == 3


def test_many_invented_networks_change_no_other_counter_and_take_no_memory() -> None:
    """field E3: a flood from ever new networks neither frees who is held back nor holds back others."""
    bench = Bench(messages=(5, 2000, 2000))
    assert bench.taken(6) == 5
    bench.taken(1, "2001:db8::1")
    tracemalloc.start()
    taken = []
    for number in range(20_000):
        bench.refusal(f"2001:db8:{number:x}::1")
        if number in (9_999, 19_999):
            taken.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert taken[1] - taken[0] < 100_000
    assert bench.taken(1) == 0
    bench.clock.now += 60
    free = sum(bench.taken(1, f"192.0.2.{number}") for number in range(256))
    assert free == 256


def test_a_block_of_ipv6_networks_counts_as_a_few_of_them() -> None:
    """A client with a /48 has 65,536 networks for free."""
    bench = Bench(messages=(5, 10_000, 10_000))
    assert sum(bench.taken(1, f"2001:db8:1:{number:x}::1") for number in range(1000)) == 40
    assert bench.taken(1, "2001:db8:2::1") == 1


def test_limits_use_a_monotonic_clock() -> None:
    assert Limits(model.Limits(), Events(CollectorRegistry()))._clock is time.monotonic


def test_held_places_count_until_they_are_released() -> None:
    """field E6: by network, by site, over all."""
    bench = Bench(streams=(2, 3, 4))
    limits = bench.limits
    first, second = limits.hold("streams", "a", "203.0.113.7"), limits.hold("streams", "a", "203.0.113.7")
    with pytest.raises(LimitedError, match="by client") as refused:
        limits.hold("streams", "a", "203.0.113.7")
    assert refused.value.wait == HELD_WAIT
    with limits.hold("streams", "a", "203.0.113.8"):
        with pytest.raises(LimitedError, match="by site"):
            limits.hold("streams", "a", "203.0.113.9")
        with limits.hold("streams", "b", "203.0.113.9"), pytest.raises(LimitedError, match="by all"):
            limits.hold("streams", "b", "203.0.113.9")
        assert limits.held("streams") == 3
    first.release()
    first.release()
    assert limits.held("streams") == 1
    limits.hold("streams", "a", "203.0.113.7").release()
    second.release()
    assert limits._held == {}


def test_a_refusal_is_counted_and_logged_once_an_hour(capsys: pytest.CaptureFixture[str]) -> None:
    bench = Bench(messages=(1, 100, 100))
    bench.taken(5)
    labels = {"site": "a", "limit": "messages", "scope": "client"}
    assert bench.registry.get_sample_value("clew_limited_total", labels) == 4
    lines = [line for line in capsys.readouterr().out.splitlines() if "limited" in line]
    assert len(lines) == 1
    assert "203.0.113.7" in lines[0]


@pytest.mark.parametrize("limit", ["messages", "streams"])
def test_a_call_costs_microseconds_however_many_there_were(limit: str) -> None:
    limits = Bench(messages=(120, 1_000_000, 1_000_000), streams=(1, 10, 10)).limits
    clients = iter(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(1_000_000))

    def call(times: int) -> None:
        for client in islice(clients, times):
            if limit == "streams":
                limits.hold(limit, "a", client).release()
            else:
                limits.take(limit, "a", client)

    assert_linear(call, 400)


@pytest.mark.parametrize(
    ("client", "key"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2002:cb00:7107::1", "203.0.113.7"),
        ("64:ff9b::203.0.113.7", "203.0.113.7"),
        (None, None),
        ("unix", "unix"),
    ],
)
def test_addresses_of_one_subscriber_have_one_key(client: str | None, key: str | None) -> None:
    assert network_of(client) == key


def test_invalid_addresses_are_keys_of_limited_length() -> None:
    assert networks_of("x" * 10_000) == (("x" * 64, 1),)
