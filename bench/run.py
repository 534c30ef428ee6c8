"""Runs the benchmarks: `make bench`, or `make bench NAME=proxy SEED=1` for one.

Writes bench/results.json (key → median) and bench/results.md (the tables for people). Everything is measured
again at each call, in one run. For tuning, a part on some servers can be printed without being written:

    bench/run.py --name proxy --only html100k --servers clew,nginx --seconds 2 --rounds 3
"""

import argparse
import json
import platform
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path

from decide import bench_decide
from ledger import bench_ledger
from money import bench_money
from options import Options
from peers import PEERS, versions
from pinned import BenchError
from proxy import PARTS, bench_proxy
from report import Section
from sites import bench_sites
from talk import bench_talk
from verdicts import bench_verdicts
from visits import bench_visits

from rules import bench_rules

BENCHES: dict[str, Callable[[Options], Section]] = {
    "decide": bench_decide,
    "ledger": bench_ledger,
    "money": bench_money,
    "proxy": bench_proxy,
    "rules": bench_rules,
    "sites": bench_sites,
    "talk": bench_talk,
    "verdicts": bench_verdicts,
    "visits": bench_visits,
}
HERE = Path(__file__).parent


def main() -> None:
    """Run the named benchmarks, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    default = Options()
    parser.add_argument("--name", choices=sorted(BENCHES))
    parser.add_argument(
        "--seed",
        type=int,
        default=default.seed,
        help="random seed for the order of the turns, the page, and what is drawn by lot",
    )
    parser.add_argument("--rounds", type=int, default=default.rounds)
    parser.add_argument("--seconds", type=int, default=default.seconds, help="how long each turn lasts")
    parser.add_argument("--only", type=names_of(PARTS), default=(), help=", ".join(PARTS))
    parser.add_argument("--servers", type=names_of(PEERS), default=(), help=", ".join(PEERS))
    given = parser.parse_args()
    options = Options(**{field.name: getattr(given, field.name) for field in fields(Options)})
    # So that the servers, which are in process groups of their own, are ended too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        sections = {
            name: BENCHES[name](options) for name in ([given.name] if given.name else sorted(BENCHES))
        }
    except BenchError as error:
        raise SystemExit(f"bench: {error}") from None
    print("\n".join(section.table for section in sections.values()))
    if not options.only and not options.servers:
        write(sections, HERE)


def names_of(known: Mapping[str, object]) -> Callable[[str], tuple[str, ...]]:
    """A parser for names separated by commas."""

    def read(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are: {', '.join(known)}")
        return names

    return read


def write(sections: dict[str, Section], folder: Path) -> None:
    """Write results.json, which keeps the figures of benchmarks that were not run now, and results.md."""
    file = folder / "results.json"
    figures = json.loads(file.read_text()) if file.exists() else {}
    for section in sections.values():
        figures.update(section.figures)
    file.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n")
    machine = f"{versions()}, {platform.platform()}\n"
    (folder / "results.md").write_text("\n".join([machine, *(s.table for s in sections.values())]))


if __name__ == "__main__":
    main()
