"""The simulation of verdicts judges as the product does, and its seed gives the same figures again."""

import numpy as np
import pytest
import verdicts
from clew.rules.verdicts.counts import Count, Word
from clew.rules.verdicts.looks import RULE_LOOKS
from clew.rules.verdicts.rule_verdicts import RuleCounts, judge_rules
from clew.rules.verdicts.text_verdicts import judge_texts
from options import Options

PROMISED = {"false_rule_verdicts", "false_text_winners", "lift_coverage"}


def test_rules_are_judged_as_the_product_does() -> None:
    rng = np.random.default_rng(5)
    rates = [0.15, 0.15, 0.3, 0.28, 0.06, 0.04]
    orders = verdicts.orders_of(rates, 15, rng)
    turns = verdicts.turns_of(15, len(rates), rng)
    good, bad = verdicts.verdicts_of(orders, turns)
    assert good.any()
    assert bad.any()
    for run in range(15):
        looks: list[list[Count]] = [[] for _ in rates]
        given: list[Word | None] = [None] * len(rates)
        for rule in turns[run]:
            look = len(looks[rule])
            looks[rule].append(Count(int(orders[look, run, rule]), RULE_LOOKS[look]))
            counted = [
                RuleCounts(
                    str(n), "cart", verdicts.TARGET, seen[-1] if seen else Count(0, 0), tuple(seen), word
                )
                for n, (seen, word) in enumerate(zip(looks, given, strict=True))
            ]
            given = [verdict.word for verdict in judge_rules(counted)]
        assert [word == "good" for word in given] == good[run].tolist()
        assert [word == "bad" for word in given] == bad[run].tolist()


def test_texts_are_judged_as_the_product_does() -> None:
    rng = np.random.default_rng(5)
    plan = (50, 100, 150, 200)
    streams = verdicts._streams((0.2, 0.35), 200, 40, rng)
    one, other = verdicts.winners(streams, plan)
    assert other.any()
    for run in range(40):
        looks = [[Count(int(streams[text, run, n - 1]), n) for text in (0, 1)] for n in plan]
        words = [text.word for text in judge_texts(looks[-1], looks, plan)]
        assert (words[0] == "good", words[1] == "good") == (one[run], other[run])


def test_the_seed_gives_the_promised_figures_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUNS", "POWER_RUNS", "ALARM_RUNS", "SHARING_RUNS"):
        monkeypatch.setattr(verdicts, name, 20 if name != "SHARING_RUNS" else 2)
    first, again = (verdicts.bench_verdicts(Options(seed=3)) for _ in range(2))
    assert first.figures == again.figures
    assert first.table == again.table
    assert set(first.figures) >= PROMISED
