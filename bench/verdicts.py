"""How often verdicts on rules, texts and the hold-out are wrong, and how often they find what is there.

Everything is drawn by lot from the seed and judged by the product's own functions, on arrays or through
tables of them. Nothing is timed."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from clew.rules.verdicts.beta import evidence
from clew.rules.verdicts.boundaries import ALPHA, repeated_p
from clew.rules.verdicts.comparing import bounds, information, z_of
from clew.rules.verdicts.counts import Count
from clew.rules.verdicts.intervals import SURE
from clew.rules.verdicts.lift import judge_lift
from clew.rules.verdicts.looks import RULE_LOOKS
from clew.rules.verdicts.pooling import above, hochberg, prior_of_others, two_sided
from clew.rules.verdicts.rule_verdicts import fractions_of
from clew.rules.verdicts.sharing import thompson
from numpy.typing import NDArray
from options import Options
from report import Section, table
from scipy.special import betainc, ndtri
from verdict_peers import compare, same_counts

TARGET, RULES = 0.15, 20
RUNS, POWER_RUNS, ALARM_RUNS, SHARING_RUNS = 20_000, 5_000, 5_000, 100
RATES = (0.05, 0.08, 0.10, 0.12, 0.18, 0.20, 0.25, 0.30)
# At each look, and the orders of each rule then: (looks, runs, rules).
Orders = NDArray[np.int64]
Flags = NDArray[np.bool_]


def bench_verdicts(options: Options) -> Section:
    """The figures, and the tables."""
    rng = np.random.default_rng(options.seed)
    parts = [
        _rules(rng),
        _alone(rng),
        _texts(rng),
        compare(rng, RUNS // 4),
        same_counts(),
        _lift(rng),
        _sharing(rng, options.seed),
    ]
    figures = {key: round(value, 4) for part in parts for key, value in part.figures.items()}
    return Section(figures, "\n".join(part.table for part in parts))


# -- rules against their target


def orders_of(rates: Sequence[float], runs: int, rng: np.random.Generator) -> Orders:
    """The orders at each look of rules with these rates."""
    steps = np.diff((0, *RULE_LOOKS))
    return np.cumsum([rng.binomial(step, rates, (runs, len(rates))) for step in steps], axis=0)


@cache
def _once(look: int, target: float = TARGET) -> NDArray[np.float64]:
    """The p-value at a look by itself, for each number of orders."""
    return two_sided(np.arange(RULE_LOOKS[look] + 1), RULE_LOOKS[look], target)


@cache
def _p_table(look: int, target: float) -> NDArray[np.float64]:
    """The p-value that holds over the looks, for each number of orders at a look."""
    told = tuple(float(n) for n in RULE_LOOKS[: look + 1])
    return np.array([repeated_p(told, fractions_of(told), -float(ndtri(p / 2))) for p in _once(look, target)])


def turns_of(runs: int, rules: int, rng: np.random.Generator) -> Orders:
    """For each run, the rules in the order in which they come to their looks."""
    return rng.permuted(np.tile(np.repeat(np.arange(rules), len(RULE_LOOKS)), (runs, 1)), axis=1)


def verdicts_of(orders: Orders, turns: Orders, target: float = TARGET) -> tuple[Flags, Flags]:
    """Which rules were ever called good, and bad. After each look all are judged, and a verdict stays."""
    _, runs, rules = orders.shape
    good, bad = np.zeros((2, runs, rules), bool)
    p, up = np.ones((runs, rules)), np.zeros((runs, rules), bool)
    s, n = np.zeros((2, runs, rules), int)
    taken, run = np.zeros((runs, rules), int), np.arange(runs)
    for rule in turns.T:
        look = taken[run, rule]
        found = orders[look, run, rule]
        now = np.choose(
            look, [_p_table(k, target)[np.minimum(found, count)] for k, count in enumerate(RULE_LOOKS)]
        )
        lower = now < p[run, rule]
        counted = np.asarray(RULE_LOOKS)[look]
        p[run, rule] = np.where(lower, now, p[run, rule])
        up[run, rule] = np.where(lower, found > target * counted, up[run, rule])
        s[run, rule], n[run, rule] = found, counted
        taken[run, rule] += 1
        clear = hochberg(p, ALPHA)
        clear &= ~(good | bad)
        some = clear.any(axis=1)
        a, b = prior_of_others(s[some], n[some])
        at = clear[some]
        sure = above(s[clear], n[clear], a[at], b[at], target)
        good[clear] = up[clear] & (sure >= SURE)
        bad[clear] = ~up[clear] & (1 - sure >= SURE)
    return good, bad


def _each_look(orders: Orders) -> Flags:
    """For comparison: Benjamini and Hochberg at each look by itself."""
    found = [hochberg(_once(look)[orders[look]], ALPHA) for look in range(len(RULE_LOOKS))]
    return np.logical_or.reduce(found)


def _rules(rng: np.random.Generator) -> Section:
    at_target = orders_of([TARGET] * RULES, RUNS, rng)
    good, bad = verdicts_of(at_target, turns_of(RUNS, RULES, rng))
    figures = {
        "false_rule_verdicts": (good | bad).any(axis=1).mean(),
        "false_rule_verdicts_each_look": _each_look(at_target).any(axis=1).mean(),
        "false_rule_alarms": _alarms(rng),
        **{f"false_rule_verdicts_{target * 100:.0f}": _false(target, rng) for target in (0.05, 0.3)},
        "false_rule_share": _false_share(rng),
    }
    rows = []
    for rate in RATES:
        alone, among = (
            verdicts_of(
                orders_of([rate] + [TARGET] * (rules - 1), POWER_RUNS, rng), turns_of(POWER_RUNS, rules, rng)
            )
            for rules in (1, RULES)
        )
        last = orders_of([rate] + [TARGET] * (RULES - 1), POWER_RUNS, rng)[-1]
        once = hochberg(_once(len(RULE_LOOKS) - 1)[last], ALPHA)
        right = int(rate < TARGET)
        found = [float(kind[right][:, 0].mean()) for kind in (alone, among)]
        rows.append([f"{rate:.0%}", *(f"{x:.3f}" for x in found), f"{once[:, 0].mean():.3f}"])
        figures[f"rule_power_{rate * 100:.0f}"] = found[1]
        figures[f"rule_power_alone_{rate * 100:.0f}"] = found[0]
    how = (
        f"{RULES} rules at their target of {TARGET:.0%}, looks at 100, 150 and 200 conversations that come "
        f"at other times for each rule, {RUNS:,} runs: any verdict at any look in "
        f"{figures['false_rule_verdicts']:.3f} of them (goal: at most 0.05), with a target of 5 % in "
        f"{figures['false_rule_verdicts_5']:.3f}, of 30 % in {figures['false_rule_verdicts_30']:.3f}; "
        "with Benjamini and Hochberg at "
        f"each look by itself in {figures['false_rule_verdicts_each_look']:.3f}. Any alarm, looking after "
        f"each conversation: {figures['false_rule_alarms']:.3f}. With half of the rules at their target, "
        f"five at 8 % and five at 25 %, {figures['false_rule_share']:.3f} of the verdicts are on rules at "
        f"their target. Below: the right verdict for one rule of this rate, {POWER_RUNS:,} runs."
    )
    columns = ("true rate", "one rule", f"among {RULES}", f"among {RULES}, one look at 200")
    return Section(figures, table("Verdicts on rules", how, columns, rows))


def _false(target: float, rng: np.random.Generator) -> float:
    """Runs of rules that are all at this target, with any verdict."""
    turns = turns_of(RUNS, RULES, rng)
    good, bad = verdicts_of(orders_of([target] * RULES, RUNS, rng), turns, target)
    return float((good | bad).any(axis=1).mean())


def _alarms(rng: np.random.Generator) -> float:
    """Runs in which any of the rules at their target has an alarm, looking after each conversation."""
    last = RULE_LOOKS[-1]
    most = [
        max((s for s in range(n + 1) if s < TARGET * n and _alarming(s, n)), default=-1)
        for n in range(1, last + 1)
    ]
    some, parts = 0, 10
    for _ in range(parts):
        orders = np.cumsum(rng.random((ALARM_RUNS // parts, RULES, last)) < TARGET, axis=2, dtype=np.int16)
        some += int((orders <= np.array(most)).any(axis=(1, 2)).sum())
    return some / ALARM_RUNS


def _alarming(s: int, n: int) -> bool:
    return evidence(Count(s, n), TARGET) >= RULES / ALPHA


def _false_share(rng: np.random.Generator) -> float:
    """The share of verdicts that are on rules at their target, where half of the rules are."""
    orders = orders_of([TARGET] * 10 + [0.08] * 5 + [0.25] * 5, POWER_RUNS, rng)
    good, bad = verdicts_of(orders, turns_of(POWER_RUNS, RULES, rng))
    given = good | bad
    wrong = given[:, :10].sum(axis=1)
    return float((wrong / np.maximum(given.sum(axis=1), 1)).mean())


def uncorrected(rate: float, runs: int, rng: np.random.Generator) -> tuple[float, float]:
    """How often one rule is called good and bad by P > 0.95 with a uniform prior at each look."""
    orders = orders_of([rate], runs, rng)[:, :, 0]
    good, bad = np.zeros((2, runs), bool)
    for look, n in enumerate(RULE_LOOKS):
        over = 1 - betainc(orders[look] + 1, n - orders[look] + 1, TARGET)
        good |= (over > 0.95) & ~bad
        bad |= (over < 0.05) & ~good
    return float(good.mean()), float(bad.mean())


def _alone(rng: np.random.Generator) -> Section:
    found = {rate: uncorrected(rate, POWER_RUNS, rng) for rate in sorted((*RATES, TARGET))}
    rows = [
        [f"{rate:.0%}", *(f"{share:.3f}" for share in (good, bad, 1 - good - bad))]
        for rate, (good, bad) in found.items()
    ]
    how = f"For comparison: P > 0.95 or < 0.05 with a uniform prior at each look, {POWER_RUNS:,} runs."
    return Section(
        {"false_rule_verdicts_uncorrected": sum(found[TARGET])},
        table("One rule without correction", how, ("true rate", "good", "bad", "undecided"), rows),
    )


# -- two texts


def _streams(rates: Sequence[float], most: int, runs: int, rng: np.random.Generator) -> Orders:
    """The chats of each text after each visitor of both: (texts, runs, visitors)."""
    return np.array([np.cumsum(rng.random((runs, most)) < rate, axis=1, dtype=np.int16) for rate in rates])


def _by_pairs(
    counts: NDArray[np.int64], n: int, function: Callable[[Count, Count], float]
) -> NDArray[np.float64]:
    """A function of both texts' counts, called once for each pair that occurs."""
    pairs, back = np.unique(counts.astype(np.int64), axis=1, return_inverse=True)
    found = [function(Count(int(a), n), Count(int(b), n)) for a, b in pairs.T]
    return np.array(found)[back.reshape(-1)]


def winners(streams: Orders, looks: Sequence[int]) -> tuple[Flags, Flags]:
    """In which runs the first and the second text won."""
    one, other = np.zeros((2, streams.shape[1]), bool)
    pairs = [(Count(0, n), Count(0, n)) for n in looks]
    for n, bound in zip(looks, bounds(pairs, [information(*pair) for pair in pairs]), strict=True):
        z = _by_pairs(streams[:, :, n - 1], n, z_of)
        one, other = one | ((z >= bound) & ~other), other | ((-z >= bound) & ~one)
    return one, other


def _texts(rng: np.random.Generator) -> Section:
    short, usual, long = (25, 50, 75, 100), (50, 100, 150, 200), (500, 1000, 1500, 2000)
    cases = [
        ("20 % and 20 %", (0.2, 0.2), short, "false_text_winners_100"),
        ("20 % and 30 %", (0.2, 0.3), short, "text_power_100_30"),
        ("20 % and 40 %", (0.2, 0.4), short, "text_power_100_40"),
        ("20 % and 20 %", (0.2, 0.2), usual, "false_text_winners_200"),
        ("20 % and 30 %", (0.2, 0.3), usual, "text_power_200_30"),
        ("20 % and 40 %", (0.2, 0.4), usual, "text_power_200_40"),
        ("5 % and 5 %", (0.05, 0.05), long, "false_text_winners_2000"),
        ("5 % and 7.5 %", (0.05, 0.075), long, "text_power_2000_75"),
    ]
    figures: dict[str, float] = {}
    rows = []
    for title, rates, looks, key in cases:
        runs = {200: 2 * RUNS, 100: RUNS}.get(looks[-1], RUNS // 4)
        streams = _streams(rates, looks[-1], runs, rng)
        one, other = winners(streams, looks)
        figures[key] = float((one | other).mean()) if rates[0] == rates[1] else float(other.mean())
        rows.append([title, ", ".join(map(str, looks)), f"{figures[key]:.3f}"])
    figures["false_text_winners"] = figures["false_text_winners_200"]
    how = (
        f"Two texts, looked at after each visitor; the verdict may change at four looks. "
        f"{2 * RUNS:,} runs at 200 visitors, half of them at 100, {RUNS // 4:,} at 2,000. Equal "
        "texts: any winner (goal: at most 0.05); else the right one."
    )
    return Section(
        figures, table("Two texts", how, ("shares of chats", "visitors of each at the looks", "winner"), rows)
    )


# -- the hold-out, and Thompson sampling


def _lift(rng: np.random.Generator) -> Section:
    rows, figures = [], {}
    cases = [
        ("", 0.02, 0.2, 100_000, 0.1),
        ("_small", 0.03, 0.5, 5_000, 0.1),
        ("_none", 0.02, 0.0, 50_000, 0.05),
    ]
    for name, base, lift, visitors, share in cases:
        held = int(visitors * share)
        pairs = zip(
            rng.binomial(visitors - held, base * (1 + lift), RUNS).tolist(),
            rng.binomial(held, base, RUNS).tolist(),
            strict=True,
        )
        inside = relative = 0
        for invited, without in pairs:
            found = judge_lift(
                Count(invited, visitors - held), Count(without, held), planned=visitors, share=share
            )
            inside += base * lift in found.interval
            relative += lift in found.relative
        figures[f"lift_coverage{name}"] = inside / RUNS
        figures[f"lift_coverage{name}_relative"] = relative / RUNS
        rows.append(
            [
                f"{base:.0%}",
                f"{lift:+.0%}",
                f"{visitors:,}",
                f"{share:.0%}",
                f"{inside / RUNS:.3f}",
                f"{relative / RUNS:.3f}",
            ]
        )
    how = f"How often the interval of 95 % holds the true lift, {RUNS:,} runs (goal: 0.93 to 0.97)."
    columns = ("orders a visitor", "lift", "eligible visitors", "held out", "difference", "relative")
    return Section(figures, table("Hold-out", how, columns, rows))


def _sharing(rng: np.random.Generator, seed: int) -> Section:
    rows, figures = [], {}
    visitors, batch = 200, 20
    for rates in ((0.2, 0.3), (0.2, 0.4)):
        better = successes = first = 0
        for run in range(SHARING_RUNS):
            s, n = [0, 0], [0, 0]
            for start in range(0, visitors, batch):
                found = thompson(
                    [Count(*arm) for arm in zip(s, n, strict=True)], seed + run * visitors + start
                )
                for arm in rng.choice(2, batch, p=found.shares):
                    n[arm] += 1
                    s[arm] += int(rng.random() < rates[arm])
            found = thompson([Count(*arm) for arm in zip(s, n, strict=True)], seed + run)
            better, successes, first = better + n[1], successes + sum(s), first + (found.ranking[0] == 1)
        key = f"{rates[1] * 100:.0f}"
        figures[f"sharing_better_{key}"] = better / visitors / SHARING_RUNS
        figures[f"sharing_first_{key}"] = first / SHARING_RUNS
        rows.append(
            [
                f"{rates[0]:.0%} and {rates[1]:.0%}",
                f"{better / visitors / SHARING_RUNS:.0%}",
                f"{successes / SHARING_RUNS:.1f}",
                f"{visitors * sum(rates) / 2:.0f}",
                f"{first / SHARING_RUNS:.0%}",
            ]
        )
    how = (
        f"{visitors} visitors, shares anew after each {batch}, at least a tenth for each text, "
        f"{SHARING_RUNS} runs."
    )
    columns = ("shares of chats", "visitors of the better", "chats", "with equal shares", "better one first")
    return Section(figures, table("Thompson sampling", how, columns, rows))
