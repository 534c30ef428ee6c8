"""Runs the benchmarks: `make bench`, or `make bench NAME=proxy SEED=1` for one.

Writes bench/results.json (key → median ratio) and bench/results.md (the table for people). Everything is
measured anew at each call, side by side in one run.
"""

import argparse
import json
from pathlib import Path

from proxy import bench_proxy

BENCHES = {"proxy": bench_proxy}
HERE = Path(__file__).parent


def main() -> None:
    """Run the named benchmarks, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", choices=sorted(BENCHES))
    parser.add_argument("--seed", type=int, default=1, help="the order of the rounds, and the page's words")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="how long each round loads each server")
    options = parser.parse_args()
    results = HERE / "results.json"
    figures = json.loads(results.read_text()) if options.name and results.exists() else {}
    tables = []
    for name in [options.name] if options.name else sorted(BENCHES):
        found, table = BENCHES[name](options.seed, options.rounds, options.seconds)
        figures.update(found)
        tables.append(table)
    results.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n")
    (HERE / "results.md").write_text("\n".join(tables))
    print("\n".join(tables))


if __name__ == "__main__":
    main()
