"""What one decision costs in CPU, its facts included, beside all rules evaluated by the CEL engine.

No rule matches before the last. Each has three lines, of which the first (page, partner or stage) has one of
about fifty forms. The peer gets the facts ready made, one context for the decision, and each rule as one
program, its lines joined by `&&`.
"""

import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cel
from clew.referral.networks_file import load
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Page, Restored, Talk, TalkChanged, Viewed, Visitor, changed
from clew.rules.ruleset import RuleSet
from clew.service.check import loader
from clew.service.facts import AgentLoad, PageNow, gather
from clew.service.site import SiteRuntime
from clew.settings.model import Rule
from clew.settings.model.base import PageType
from fnac import measure_fnac
from options import Options
from pinned import BenchError
from report import Section, median, spread, table
from visitors import SECRET

NOW = 1_790_000_000.0
COUNTS = (20, 1000, 10_000)
# How many decisions a turn makes of each number of rules, by clew and by the peer.
TURNS = {20: (2000, 500), 1000: (300, 40), 10_000: (30, 4)}
TYPES: tuple[PageType, ...] = ("home", "category", "product", "search", "cart", "checkout", "confirmation")
PARTNERS = [f"partner-{number}" for number in range(20)]
TOP = f"""
secret = "{SECRET}"
[[sites]]
name = "shop"
hosts = ["shop.example"]
upstream = "http://127.0.0.1:1"
time_zone = "Europe/Berlin"
page_types = {{ "/coffee/*" = "product", "/cart" = "cart" }}
"""
URL = "https://shop.example/coffee/machines/espresso-9?sort=price&utm_source=blog"


def bench_rules(options: Options) -> Section:
    """Raises BenchError if a decision is not the one it should be."""
    rng = random.Random(options.seed)
    figures: dict[str, float] = {}
    rows = []
    for count in COUNTS:
        rules = rules_of(count, rng)
        loaded, site = loaded_in(rules)
        clew, peer = decision_of(site), plain_of(site, rules)
        if clew() != rules[-1].name or peer() != rules[-1].name:
            raise BenchError(
                f"{count} rules: {clew()} by clew and {peer()} by the peer, not {rules[-1].name}"
            )
        times: dict[str, list[float]] = {"clew": [], "peer": []}
        turns = [("clew", clew, TURNS[count][0]), ("peer", peer, TURNS[count][1])]
        for _ in range(options.rounds):
            rng.shuffle(turns)
            for name, decide, number in turns:
                times[name].append(cpu_us(decide, number))
        figures[f"decide{count}_us"] = median(times["clew"], 1)
        figures[f"decide{count}_peer_us"] = median(times["peer"], 1)
        figures[f"rules{count}_load_seconds"] = round(loaded, 3)
        rows.append(
            [f"{count:,}", spread(times["clew"], ".1f"), spread(times["peer"], ".1f"), f"{loaded:.2f}"]
        )
    how = (
        "CPU time of one decision in µs, the facts included: three lines a rule, the first of them one of "
        f"about {len(firsts())}, no match before the last rule. The peer is the engine (Rust CEL) with one "
        "context of ready facts and each rule as one program. Loading is from the file to compiled rules. "
        f"{options.rounds} rounds in turn, seed {options.seed}; median (lowest to highest)."
    )
    columns = ("rules", "clew, µs", "all by the engine, µs", "loading, s")
    large = measure_fnac(options, large_rules(rng), PARTNERS)
    return Section(figures | large.figures, f"{table('Rules', how, columns, rows)}\n{large.table}")


def large_rules(rng: random.Random) -> list[Rule]:
    """Twenty rules for the visitors of `fnac.py`, who look at products: some first lines are true of them,
    but only the last rule matches. It invites one visitor of ten."""
    true = (firsts()[0], 'page.type == "product"')
    found = []
    for number in range(19):
        first = true[number // 3 % 2] if number % 3 == 0 else rng.choice(firsts())
        line, other = others(rng)
        if first in true:
            line = f"cart.value > {rng.randint(1, 400)}.0"
        found.append(Rule(name=f"rule-{number}", when=[first, line, other], action="invite"))
    when = [true[0], "visit.pages >= 2", 'partner.id == "awin"']
    return [*found, Rule(name="last", when=when, action="invite", priority=-1, share=10)]


def cpu_us(decide: Callable[[], object], number: int) -> float:
    """CPU time of one call, in microseconds."""
    began = time.process_time_ns()
    for _ in range(number):
        decide()
    return (time.process_time_ns() - began) / number / 1e3


def firsts() -> list[str]:
    """The forms of first lines."""
    pages = [f'page.path.startsWith("/{part}/")' for part in ("coffee", *(f"part-{n}" for n in range(20)))]
    partners = [f'partner.id == "{partner}"' for partner in PARTNERS]
    return [*pages, *partners, *(f'page.type == "{kind}"' for kind in TYPES), "order.placed", "chat.open"]


def others(rng: random.Random) -> list[str]:
    """Two further lines; some are true of the visitor."""
    forms = (
        lambda: f"cart.value > {rng.randint(1, 400)}.0",
        lambda: f"visit.pages >= {rng.randint(1, 12)}",
        lambda: f"visit.seconds >= {rng.randint(5, 300)}",
        lambda: f'campaign.source == "{rng.choice(["blog", "mail", "shop"])}"',
        lambda: f'touch.channel == "{rng.choice(["partner", "mail", "search"])}"',
        lambda: f"agents.free >= {rng.randint(1, 9)}",
        lambda: f"clock.hour < {rng.randint(1, 23)}",
        lambda: f'page.language == "{rng.choice(["de", "en", "fr"])}"',
    )
    return [form() for form in rng.sample(forms, 2)]


def rules_of(count: int, rng: random.Random) -> list[Rule]:
    """Rules of which only the last matches; some of the others would after a time."""
    (_, site), found = loaded_in([]), list[Rule]()
    facts = facts_of(site)
    while len(found) < count - 1:
        when = [rng.choice(firsts()), *others(rng)]
        if RuleSet([Rule(name="one", when=when, action="invite")]).decide(facts).rule is None:
            found.append(Rule(name=f"rule-{len(found)}", when=when, action="invite"))
    when = [firsts()[0], "visit.pages >= 2", "agents.free >= 1"]
    return [*found, Rule(name="last", when=when, action="invite", priority=-1)]


def loaded_in(rules: Sequence[Rule]) -> tuple[float, SiteRuntime]:
    """The CPU time from a settings file to the site that is ready to decide, and the site."""
    call = "https://partner.example/?click={click_id}"
    tables = [f'[[sites.partners]]\nid = "{p}"\nparam = "{p}"\npostback = "{call}"\n' for p in PARTNERS]
    for rule in rules:
        when = json.dumps(rule.when)
        tables.append(f'[[sites.rules]]\nname = "{rule.name}"\naction = "invite"\nwhen = {when}\n')
        tables.append(f"priority = {rule.priority}\n")
    with tempfile.TemporaryDirectory(prefix="clew-bench-") as name:
        file = Path(name) / "clew.toml"
        file.write_text(f"{TOP}{''.join(tables)}")
        began = time.process_time()
        found = loader(file, {}).load()
        if found.settings is None:
            raise BenchError(f"the settings are wrong: {found.problems[:3]}")
        settings = found.settings
        site = SiteRuntime(settings, settings.sites[0], load())
        return time.process_time() - began, site


def visitor_of() -> Visitor:
    """A visitor of five pages who came from a blog and has a cart."""
    click = Click("", "partner", PARTNERS[3], PARTNERS[3])
    touch = Touch(int(NOW) - 900, (click,), {"utm_source": "blog"}, "https://blog.example/", "/coffee/")
    pages = [Page(f"view-{n}", NOW - 200 + 40 * n, f"https://shop.example/p/{n}", "Coffee") for n in range(5)]
    seen = [Viewed(page, "en") for page in pages]
    return changed(None, "v" * 22, [Restored((touch,)), *seen, TalkChanged(None, Talk())], NOW)


def facts_of(site: SiteRuntime) -> dict[str, object]:
    """The facts of the visitor on a page."""
    page = PageNow("view-4", URL, "Espresso machine", "en-GB", 12)
    return gather(site, visitor_of(), page, AgentLoad(desk=2, talks=1, places=6), NOW)


def decision_of(site: SiteRuntime) -> Callable[[], str | None]:
    """One decision by clew, from the visitor to the rule."""
    visitor, page, load_ = (
        visitor_of(),
        PageNow("view-4", URL, "Espresso", "en-GB", 12),
        AgentLoad(desk=2, talks=1, places=6),
    )

    def decide() -> str | None:
        rule = site.rules.decide(gather(site, visitor, page, load_, NOW, site.rules.facts)).rule
        return rule.name if rule is not None else None

    return decide


def plain_of(site: SiteRuntime, rules: Sequence[Rule]) -> Callable[[], str | None]:
    """All rules by the engine alone, until one is true."""
    programs = [(rule.name, cel.compile(" && ".join(f"({line})" for line in rule.when))) for rule in rules]
    facts = {group: dict(known) for group, known in facts_of(site).complete().items()}
    used = site.rules.facts
    facts = {group: {k: v for k, v in facts[group].items() if k in used[group]} for group in used}

    def decide() -> str | None:
        context = cel.Context(facts)
        for name, program in programs:
            try:
                if program.execute(context) is True:
                    return name
            except Exception:  # a missing fact
                continue
        return None

    return decide
