"""The figures that are written, and what they are ratios of."""

import json
from pathlib import Path
from typing import Any

import around
import first_byte
import pytest
import run
import sites
import streams
import workers
from load import Round, Runner
from options import Options
from peers import PEERS
from proxy import section
from report import Section, ratios, spread
from workloads import WORKLOADS

PROMISED = {
    "html100k_vs_nginx_sub",
    "html100k_vs_nginx_sub_head",
    "html100k_vs_mitmdump",
    "html100k_vs_httpx",
    "gzip100k_vs_nginx_sub",
    "json2k_vs_nginx_sub",
    "json2k_vs_mitmdump",
    "bin1m_vs_nginx_sub",
    "middleware_added_us",
    "middleware_vs_bs4",
    "ttfb_added_ms",
    "stream_rss_kb",
    "workers2_cpu_vs_1",
    "sites3000_start_s",
    "sites3000_rss_mb",
    "reload_one_of_3000_ms",
    "sites3000_page_vs_1",
}


def _runner(name: str, *rounds: Round) -> Runner:
    no_process: Any = None
    return Runner(name, name, 1, no_process, rounds=list(rounds))


def test_every_promised_key_is_written() -> None:
    one = Round(100.0, 10.0)
    sections = [
        section(workload, [_runner(name, one) for name in ("clew", *workload.peers)], Options())
        for workload in WORKLOADS.values()
    ]
    sections += [
        around.section(
            [_runner(name, Round(1.0, us)) for name, us in (("a", 1), ("b", 2), ("c", 3))], Options()
        ),
        first_byte.section([1.0], [2.0]),
        streams.section(1000, 2000, 10.0, 4096),
        workers.section([_runner(name, one) for name in ("one", "shared", "two")], Options()),
        sites.section(
            [5.0],
            (200_000, 250_000),
            [80.0, 90.0],
            [_runner(n, one) for n in ("many", "only", "again")],
            Options(),
        ),
    ]
    assert {key for found in sections for key in found.figures} >= PROMISED


def test_ratios_are_taken_round_by_round() -> None:
    rounds = [(100.0, 50.0), (10.0, 5.0), (400.0, 100.0)]
    clew = _runner("clew", *(Round(ours, 10.0) for ours, _ in rounds))
    nginx = _runner("nginx", *(Round(theirs, 5.0) for _, theirs in rounds))
    found = section(WORKLOADS["json2k"], [clew, nginx], Options())
    assert found.figures == {
        "json2k_vs_nginx_sub": 2.0,
        "json2k_cpu_vs_nginx_sub": 2.0,
        "json2k_cpu_us": 10.0,
    }


def test_the_cost_of_a_page_among_many_sites_is_its_cpu_time() -> None:
    runners = [
        _runner("many", Round(10.0, 125.0), Round(90.0, 250.0)),
        _runner("only", Round(80.0, 100.0), Round(20.0, 200.0)),
        _runner("again", Round(50.0, 100.0), Round(50.0, 200.0)),
    ]
    found = sites.section([5.0], (200_000, 250_000), [80.0, 90.0], runners, Options())
    assert found.figures["sites3000_page_vs_1"] == 0.8


def test_the_measured_site_is_the_same_alone_and_among_many(tmp_path: Path) -> None:
    last = f"sites/{sites.COUNT - 1:04}.toml"
    for name, first in (("many", sites.COUNT - 2), ("only", sites.COUNT - 1)):
        sites.write(tmp_path / name, range(first, sites.COUNT), 1)
    assert (tmp_path / "many" / last).read_bytes() == (tmp_path / "only" / last).read_bytes()
    assert "platform" not in (tmp_path / "only" / last).read_text()
    assert "platform" in (tmp_path / f"many/sites/{sites.COUNT - 2:04}.toml").read_text()


def test_a_missing_round_is_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


def test_the_table_shows_median_and_spread() -> None:
    assert spread([3.0, 1.0, 200.0]) == "3 (1 to 200)"


def test_the_added_cost_is_the_difference_to_the_shop_alone() -> None:
    plain = _runner("plain", Round(1.0, 100.0), Round(1.0, 120.0), Round(1.0, 110.0))
    clew = _runner("clew", Round(1.0, 150.0), Round(1.0, 180.0), Round(1.0, 160.0))
    soup = _runner("soup", Round(1.0, 10_100.0), Round(1.0, 10_120.0), Round(1.0, 10_110.0))
    found = around.section([plain, clew, soup], Options())
    assert found.figures == {"middleware_added_us": 50.0, "middleware_vs_bs4": 200.0}


def test_memory_is_reported_per_stream() -> None:
    assert streams.section(50_000, 150_000, 10.0, 4096).figures == {"stream_rss_kb": 100.0}


def test_two_workers_are_compared_with_one_that_has_its_core_alone() -> None:
    one, shared, two = (
        _runner(name, Round(1.0, us)) for name, us in (("one", 100.0), ("s", 50.0), ("two", 110.0))
    )
    assert workers.section([one, shared, two], Options()).figures == {"workers2_cpu_vs_1": 1.1}


def test_benches_that_were_not_run_keep_their_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "versions", lambda: "Python 3")
    (tmp_path / "results.json").write_text('{"ledger_us": 1, "ttfb_added_ms": 2}')
    run.write({"proxy": Section({"ttfb_added_ms": 0.5}, "a table")}, tmp_path)
    assert json.loads((tmp_path / "results.json").read_text()) == {"ledger_us": 1, "ttfb_added_ms": 0.5}
    assert "a table" in (tmp_path / "results.md").read_text()


def test_every_peer_of_a_workload_is_known_and_has_a_key_of_its_own() -> None:
    for workload in WORKLOADS.values():
        keys = [PEERS[name].key for name in workload.peers]
        assert len(set(keys)) == len(keys)
