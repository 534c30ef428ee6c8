from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from clew.rules import checker, ruleset
from clew.rules.compiler import LINES, PROBLEMS, RULES, RuleErrors, RuleProblem
from clew.rules.conditions import compile_line
from clew.rules.evaluation import LOOKAHEAD, LOOKAHEAD_SECONDS, Plan
from clew.rules.facts import FACTS, GROUPS, WEEKDAYS, advance
from clew.rules.moments import HORIZON
from clew.rules.ranked import Refusal, Refuse
from clew.rules.ruleset import RuleSet
from clew.settings.model import Rule
from hypothesis import given, settings
from hypothesis import strategies as st

MONDAY_NINE = {"hour": 9, "minute": 0, "second": 0, "weekday": "mon", "date": "2026-11-23"}


def rule(name: str, *when: str, priority: int = 0, action: str = "invite", enabled: bool = True) -> Rule:
    return Rule(name=name, when=list(when), action=action, priority=priority, enabled=enabled)


def facts(**known: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {group: known.get(group, {}) for group in GROUPS}


def refusing(*names: str, seconds: float | None = None) -> Refuse:
    return lambda rule, waits: Refusal("for a test", seconds) if rule.name in names else None


def decided(rules: list[Rule], refuse: Refuse | None = None, **known: Mapping[str, Any]) -> tuple[Any, Any]:
    decision = RuleSet(rules).decide(facts(**known), refuse)
    return decision.rule and decision.rule.name, decision.retry_after


class TestTime:
    """A host has the rules of many shops, and each decision is made in the loop of all of them."""

    BOMB = "page.url.matches('(a|b)*a(a|b){%d}c')"
    ADDRESS = "https://shop.example/?" + "ab" * 1000

    def test_slow_patterns_end_with_the_time_of_a_decision(self) -> None:
        bombs = [rule(f"bomb-{n}", self.BOMB % (200 + n), priority=1) for n in range(300)]
        rules = RuleSet([*bombs, rule("small", "visit.pages > 1")])
        known = facts(page={"url": self.ADDRESS}, visit={"pages": 2})
        decision = rules.decide(known)
        assert (decision.late, decision.rule and decision.rule.name) == (True, "small")
        quick = rules.decide(facts(page={"url": "https://shop.example/"}, visit={"pages": 2}))
        assert (quick.late, quick.rule and quick.rule.name) == (False, "small")

    def test_what_is_left_out_has_no_value(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ruleset, "DEAR_SECONDS", 0.0)
        found = {
            name: RuleSet([rule(name, line)]).decide(facts(page={"url": "/sale"}, visit={"pages": 2}))
            for name, line in {
                "pattern": "page.url.matches('sale')",
                "not": "!page.url.matches('tea')",
                "engine": "visit.pages + 1 == 3",
                "comparison": "visit.pages == 2",
            }.items()
        }
        assert {name: (one.rule is not None, one.late) for name, one in found.items()} == {
            "pattern": (False, True),
            "not": (False, True),
            "engine": (False, True),
            "comparison": (True, False),
        }


class TestDecide:
    def test_all_lines_of_a_rule_have_to_hold(self) -> None:
        rules = [rule("big", "cart.value > 100", "page.path.startsWith('/checkout')")]
        assert decided(rules, cart={"value": 150.0}, page={"path": "/checkout/x"})[0] == "big"
        assert decided(rules, cart={"value": 150.0}, page={"path": "/"})[0] is None
        assert decided(rules, cart={"value": 50.0}, page={"path": "/checkout/x"})[0] is None

    def test_a_rule_without_lines_always_acts(self) -> None:
        assert decided([rule("always")]) == ("always", None)

    def test_no_rules_no_decision(self) -> None:
        assert decided([]) == (None, None)

    def test_rules_are_asked_by_priority(self) -> None:
        rules = [rule("a"), rule("b", priority=5), rule("c", priority=5), rule("d", priority=-1)]
        assert decided(rules)[0] == "b"
        assert decided(rules, refusing("b"))[0] == "c"
        assert decided(rules, refusing("b", "c"))[0] == "a"
        assert decided(rules, refusing("a", "b", "c"))[0] == "d"

    def test_of_equal_priorities_forced_ones_come_first_then_special_ones_then_by_name(self) -> None:
        """So the order of the file, which a desk may change, decides nothing."""
        rules = [
            rule("z-one", "visit.pages > 0"),
            rule("a-one", "visit.count > 0"),
            rule("two-lines", "visit.pages > 0", "visit.pages > 1"),
            rule("two-facts", "visit.pages > 0", "visit.count > 0"),
            rule("joined", "visit.pages > 0 && visit.count > 0"),
            rule("forced").model_copy(update={"forced": True}),
        ]
        known = facts(visit={"pages": 2, "count": 1})
        for one in (rules, rules[::-1]):
            assert [found.rule.name for found in RuleSet(one).explain(known).rules] == [
                "forced",
                "two-facts",
                "two-lines",
                "joined",
                "a-one",
                "z-one",
            ]

    def test_only_rules_whose_lines_hold_or_wait_are_asked_whether_they_may(self) -> None:
        """A decision with a thousand rules computes no refusal for each."""
        asked: list[tuple[str, bool]] = []

        def refuse(one: Rule, waits: bool) -> Refusal | None:
            asked.append((one.name, waits))
            return None

        rules = [rule(f"r{n}", f"visit.pages > {n}", priority=n) for n in range(999)]
        rules += [rule("waits", "visit.seconds >= 60", priority=2000)]
        assert decided(rules, refuse, visit={"pages": 2, "seconds": 0})[0] == "r1"
        assert asked == [("waits", True), ("r1", False)]

    def test_a_refusal_that_ends_is_asked_again_when_it_does(self) -> None:
        rules = [rule("first", priority=1), rule("second")]
        assert decided(rules, refusing("first", seconds=12.3)) == ("second", 13.0)
        assert decided(rules, refusing("first", "second", seconds=0.2)) == (None, 1.0)
        assert decided(rules, refusing("first")) == ("second", None)

    def test_a_rule_that_waits_and_may_not_act_yet_still_waits(self) -> None:
        rules = [rule("late", "visit.seconds >= 60")]
        assert decided(rules, refusing("late", seconds=5), visit={"seconds": 0}) == (None, 60.0)
        assert decided(rules, refusing("late"), visit={"seconds": 0}) == (None, None)

    def test_a_disabled_rule_neither_acts_nor_waits(self) -> None:
        assert decided([rule("off", enabled=False), rule("late", "visit.seconds > 9", enabled=False)]) == (
            None,
            None,
        )

    def test_chat_is_hidden_from_a_partners_visitors_and_from_all_others_by_the_reverse(self) -> None:
        """feature A4"""
        partners = [rule("hide", "has(partner.id) && partner.id == 'coupons'", action="hide")]
        others = [rule("hide", "!has(partner.id)", action="hide")]
        assert decided(partners, partner={"id": "coupons"})[0] == "hide"
        assert decided(partners, partner={"id": "blog"})[0] is None
        assert decided(partners)[0] is None
        assert decided(others)[0] == "hide"
        assert decided(others, partner={"id": "blog"})[0] is None

    @pytest.mark.parametrize("line", ["cart.value > 10", "!(cart.value > 10)", "cart.value != 10"])
    def test_a_missing_fact_makes_its_line_false_also_behind_a_negation(self, line: str) -> None:
        assert decided([rule("r", line)])[0] is None

    def test_only_the_used_keys_of_a_query_are_passed_to_the_engine(self) -> None:
        """Else a visitor could make every decision as slow as its query is long."""
        known = facts(page={"query": {f"k{n}": "v" for n in range(5000)} | {"size": "xl"}, "title": "x"})
        keys = [compile_line(line) for line in ("page.query.size == 'xl'", "page.query['a.b'] == 'c'")]
        assert Plan(keys).select(known) == {"page": {"query": {"size": "xl"}}}

    def test_query_and_its_keys_can_be_used_in_one_set(self) -> None:
        rules = [rule("a", "page.query.size == 'm'"), rule("b", "'color' in page.query")]
        assert decided(rules, page={"query": {"size": "xl", "color": "red"}})[0] == "b"


class TestAgain:
    def test_explain_shows_when_a_waiting_rule_would_act(self) -> None:
        rules = [rule("later", "visit.seconds >= 60 * 2", "agents.online > 0")]
        assert decided(rules, visit={"seconds": 30}, agents={"online": 1}) == (None, 90.0)

    def test_a_rule_whose_other_lines_fail_does_not_wait(self) -> None:
        rules = [rule("later", "visit.seconds >= 120", "agents.online > 0")]
        assert decided(rules, visit={"seconds": 30}, agents={"online": 0}) == (None, None)

    def test_a_rule_that_waits_never_blocks_one_that_is_ready(self) -> None:
        rules = [rule("later", "visit.seconds >= 120", priority=9), rule("now", "visit.pages >= 2")]
        assert decided(rules, visit={"seconds": 30, "pages": 2}) == ("now", 90.0)

    def test_a_rule_behind_the_one_that_acts_is_not_waited_for(self) -> None:
        rules = [rule("now", "visit.pages >= 2", priority=9), rule("later", "visit.seconds >= 120")]
        assert decided(rules, visit={"seconds": 30, "pages": 2}) == ("now", None)

    def test_the_earliest_of_several_is_named(self) -> None:
        rules = [rule(f"r{n}", f"page.seconds > {n}") for n in (90, 20, 45)]
        assert decided(rules, page={"seconds": 5}) == (None, 16.0)

    def test_a_skipped_rule_neither_acts_nor_waits(self) -> None:
        rules = [rule("now"), rule("later", "visit.seconds >= 120", priority=1)]
        assert decided(rules, refusing("now", "later"), visit={"seconds": 30}) == (None, None)

    def test_rules_wait_at_most_half_an_hour(self) -> None:
        rules = [rule("later", f"visit.seconds >= {HORIZON}")]
        assert decided(rules, visit={"seconds": 0}) == (None, float(HORIZON))
        assert decided([rule("later", f"visit.seconds > {HORIZON}")], visit={"seconds": 0}) == (None, None)

    def test_all_lines_have_to_hold_at_that_moment(self) -> None:
        rules = [rule("window", "visit.seconds >= 60", "page.seconds < 30")]
        assert decided(rules, visit={"seconds": 50}, page={"seconds": 0}) == (None, 10.0)
        assert decided(rules, visit={"seconds": 50}, page={"seconds": 25}) == (None, None)

    def test_a_missing_time_is_not_waited_for(self) -> None:
        assert decided([rule("r", "visit.seconds >= 60")]) == (None, None)

    def test_the_next_request_is_timed_for_the_end_of_the_acting_rule(self) -> None:
        """Else a chat hidden for the first seconds would stay hidden on this page for ever."""
        rules = [rule("hush", "page.seconds < 20", action="hide", priority=1), rule("show", action="show")]
        assert decided(rules, page={"seconds": 5}) == ("hush", 15.0)
        assert decided(rules, page={"seconds": 20}) == ("show", None)

    @pytest.mark.parametrize(
        ("line", "now", "again"),
        [
            ("clock.hour >= 9 && clock.hour < 17", {"hour": 8, "minute": 45, "second": 10}, 890.0),
            ("clock.hour == 9 && clock.minute >= 15", {"hour": 9, "minute": 0, "second": 30}, 870.0),
            ("clock.hour * 60 + clock.minute >= 570", {"hour": 9, "minute": 5, "second": 30}, 1470.0),
            ("clock.date >= '2026-11-24'", {"hour": 23, "minute": 50}, 600.0),
            ("clock.weekday == 'tue'", {"hour": 23, "minute": 59, "second": 59}, 1.0),
            ("clock.weekday in ['tue', 'wed']", {"hour": 12}, None),
            ("clock.minute in [10, 40]", {"minute": 39, "second": 1}, 59.0),
        ],
    )
    def test_the_clock_is_waited_for_too(self, line: str, now: dict[str, int], again: float | None) -> None:
        assert decided([rule("r", line)], clock={**MONDAY_NINE, **now}) == (None, again)

    @pytest.mark.parametrize(
        ("line", "again"),
        [
            ("visit.seconds / 60 > 1", 90.0),
            ("visit.seconds + page.seconds >= 100", 30.0),
            ("(chat.open ? 5 : 50) < visit.seconds", 21.0),
            ("double(visit.seconds) >= 40.5", 11.0),
            ("visit.seconds >= page.seconds + 31", None),
            ("visit.seconds >= 20 * visit.pages", 30.0),
            ("visit.seconds in [31, 40]", 1.0),
            ("visit.seconds == 77", 47.0),
            ("[50, 70].exists(s, visit.seconds > s)", 21.0),
            ("!(visit.seconds < 33) || page.seconds > 12", 3.0),
        ],
    )
    def test_time_may_be_compared_in_any_form(self, line: str, again: float | None) -> None:
        known = {"visit": {"seconds": 30, "pages": 3}, "page": {"seconds": 10}, "chat": {"open": False}}
        assert decided([rule("r", line)], **known) == (None, again)

    def test_too_many_moments_end_in_asking_again_rather_than_in_waiting_for_nothing(self) -> None:
        lines = [f"visit.seconds == {n} && page.seconds == 0" for n in range(1, LOOKAHEAD * 3)]
        rules = [rule(f"r{n}", line) for n, line in enumerate(lines)]
        rules.append(rule("last", "visit.seconds >= 1000"))
        name, again = decided(rules, visit={"seconds": 0}, page={"seconds": 0})
        assert name is None
        assert LOOKAHEAD_SECONDS <= again <= LOOKAHEAD + 1

    def test_searching_in_too_many_comparisons_ends_in_asking_again(self) -> None:
        rules = [rule(f"r{n}", f"visit.seconds + page.seconds >= {1800 + n}") for n in range(500)]
        name, again = decided(rules, visit={"seconds": 0}, page={"seconds": 0})
        assert name is None
        assert LOOKAHEAD_SECONDS <= again <= 900


NUMBER = st.integers(0, 200)
TIMED = st.one_of(
    st.builds("{} {} {}".format, st.sampled_from(["visit.seconds", "page.seconds"]),
              st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), NUMBER),
    st.builds("{} < visit.seconds".format, NUMBER),
    st.builds("visit.seconds >= {} * visit.pages + {}".format, st.integers(0, 30), NUMBER),
    st.builds("visit.seconds / {} >= {}".format, st.integers(1, 60), st.integers(0, 9)),
    st.builds("page.seconds in [{}, {}]".format, NUMBER, NUMBER),
    st.builds("clock.hour {} {}".format, st.sampled_from(["<", ">=", "==", "!="]), st.integers(0, 23)),
    st.builds("clock.minute {} {}".format, st.sampled_from(["<", ">=", "==", ">"]), st.integers(0, 59)),
    st.builds("clock.weekday == '{}'".format, st.sampled_from(WEEKDAYS)),
    st.builds("clock.date >= '2026-11-{}'".format, st.integers(22, 25)),
    st.builds("visit.pages == {}".format, st.integers(1, 3)),
    st.just("cart.value > 1.0"),
)  # fmt: skip
LINE = st.recursive(
    TIMED,
    lambda inner: (
        st.builds("({} && {})".format, inner, inner)
        | st.builds("({} || {})".format, inner, inner)
        | st.builds("!{}".format, inner.map("({})".format))
        | st.builds("({} ? {} : {})".format, inner, inner, inner)
    ),
    max_leaves=3,
)
MOMENTS = st.fixed_dictionaries(
    {
        "visit": st.fixed_dictionaries({"seconds": NUMBER, "pages": st.integers(1, 3)}),
        "page": st.fixed_dictionaries({"seconds": NUMBER}),
        "clock": st.builds(
            lambda hour, minute, second: {**MONDAY_NINE, "hour": hour, "minute": minute, "second": second},
            st.integers(0, 23),
            st.integers(0, 59),
            st.integers(0, 59),
        ),
        "cart": st.just({}),
    }
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(LINE, min_size=1, max_size=2), min_size=1, max_size=3), MOMENTS)
def test_retry_after_is_the_first_second_in_which_another_rule_would_act(
    lines: list[list[str]], now: dict[str, dict[str, Any]]
) -> None:
    ruleset = RuleSet([rule(f"r{n}", *when) for n, when in enumerate(lines)])
    decision = ruleset.decide(now)
    # Without an answer the whole horizon is looked through, else all seconds up to the one it names.
    until = int(decision.retry_after or HORIZON)
    changed = [t for t in range(1, until + 1) if ruleset.decide(advance(now, t)).rule != decision.rule]
    assert changed == ([] if decision.retry_after is None else [until])


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.decimals(), st.binary(), st.lists(st.integers()),
    st.text(), st.text(st.characters(categories=["Cs"])), st.dictionaries(st.text(), st.text() | st.none()),
    st.sampled_from([Decimal("1.5"), Decimal("sNaN"), object(), "2026-11-23", "\udce4wc", 10**30]),
)  # fmt: skip
ANY_FACTS = st.fixed_dictionaries(
    {},
    optional={
        group: st.dictionaries(
            st.sampled_from([f.name.split(".")[1] for f in FACTS if f.name.startswith(group)]), VALUES
        )
        for group in GROUPS
    },
)
ALL_FACTS = RuleSet(
    [
        rule(f.name, f"has({f.name}) && {f.name} == {f.name}", f"!(size(string({f.name})) > 3)")
        for f in FACTS
        if f.type in ("int", "double")
    ]
    + [rule(f"{f.name}-matches", f"{f.name}.matches('x+$')") for f in FACTS if f.type == "string"]
    + [rule(f"{f.name}-is", f"!{f.name}") for f in FACTS if f.type == "bool"]
    + [rule("query", "page.query.exists(k, k == 'a')", "page.query.a != 'b'")]
    + [rule("late", "visit.seconds >= 60 || page.seconds / 7 > 9", "clock.hour * 60 + clock.minute > 5")]
    + [rule("at", "clock.minute == visit.pages", "visit.seconds > cart.items")]
)


@settings(max_examples=50, deadline=None)
@given(ANY_FACTS)
def test_no_facts_make_a_decision_or_its_explanation_raise(known: dict[str, dict[str, Any]]) -> None:
    decision = ALL_FACTS.decide(known)
    assert decision.retry_after is None or 1 <= decision.retry_after <= HORIZON
    assert ALL_FACTS.explain(known).decision == decision


def test_a_click_id_outside_utf8_can_be_used_in_rules() -> None:
    rules = [rule("r", "touch.click_id.startsWith('a') && touch.click_id.size() > 1")]
    assert decided(rules, touch={"click_id": "a\udce4"})[0] == "r"


class TestExplain:
    RULES = RuleSet(
        [
            rule("wait", "agents.online > 0", "visit.seconds >= 60", priority=3),
            rule("partner", "visit.pages > 1", "!(partner.id == 'x')", "cart.value > 1.0", priority=2),
            rule("first", "visit.pages > 1", priority=1),
            rule("second", "visit.pages > 0"),
            rule("query", "page.query.size == 'xl'", "has(page.query.color)"),
            rule("broken", "1 / (visit.pages - 2) > 0"),
            rule("tired", "true"),
            rule("off", "true", enabled=False),
        ]
    )
    KNOWN = facts(
        visit={"pages": 2, "seconds": 20},
        agents={"online": 1},
        page={"query": {"x": "1"}},
        cart={"value": 2.5},
    )

    def explained(self, name: str) -> Any:
        found = self.RULES.explain(self.KNOWN, refusing("tired"))
        return next(r for r in found.rules if r.rule.name == name)

    def test_every_rule_has_a_verdict_in_order_of_evaluation(self) -> None:
        found = self.RULES.explain(self.KNOWN, refusing("tired"))
        assert found.decision == self.RULES.decide(self.KNOWN, refusing("tired"))
        assert [(r.rule.name, r.verdict, r.failed) for r in found.rules] == [
            ("wait", "fails", 1),
            ("partner", "fails", 1),
            ("first", "acts", None),
            ("query", "fails", 0),
            ("broken", "fails", 0),
            ("second", "behind", None),
            ("off", "disabled", None),
            ("tired", "skipped", None),
        ]

    def test_the_time_until_a_waiting_rule_acts_is_returned(self) -> None:
        assert self.explained("wait").retry_after == 40.0
        assert self.explained("partner").retry_after is None

    def test_lines_show_the_values_of_the_facts_they_ask_for(self) -> None:
        first, second = self.explained("wait").lines
        assert (first.line, first.holds, first.facts) == ("agents.online > 0", True, {"agents.online": 1})
        assert (second.holds, second.facts, second.missing) == (False, {"visit.seconds": 20}, ())

    def test_the_missing_fact_is_named(self) -> None:
        _, second, third = self.explained("partner").lines
        assert (second.holds, second.missing, second.error) == (False, ("partner.id",), None)
        assert third.holds
        size, color = self.explained("query").lines
        assert size.missing == ("page.query.size",)
        assert (color.missing, color.facts) == ((), {"page.query.color": None})

    def test_a_fact_inside_has_does_not_count_as_missing(self) -> None:
        ruleset = RuleSet([rule("r", "has(cart.value) ? cart.value > 3.0 : cart.items > 3")])
        (line,) = ruleset.explain(facts()).rules[0].lines
        assert line.missing == ("cart.items",)

    def test_an_error_makes_the_line_false_and_is_reported(self) -> None:
        (line,) = self.explained("broken").lines
        assert not line.holds
        assert "division by zero" in line.error

    @pytest.mark.parametrize("line", ["visit.pages > 3", "!(visit.landing.matches('x'))"])
    def test_a_fact_of_another_type_than_the_catalogues_is_missing(self, line: str) -> None:
        ruleset = RuleSet([rule("r", line), rule("next")])
        found = ruleset.explain(facts(visit={"pages": "many", "landing": 3}))
        assert [r.verdict for r in found.rules] == ["fails", "acts"]
        assert len(found.rules[0].lines[0].missing) == 1


class TestErrors:
    def test_every_mistake_of_every_rule_is_listed_with_rule_line_and_column(self) -> None:
        rules = [
            rule("a", "visit.page > 3", "visit.pages > 3", "visit.pages ="),
            rule("b", "visit.pages > 1"),
            rule("c", "visit.page > 3", enabled=False),
        ]
        with pytest.raises(RuleErrors) as caught:
            RuleSet(rules)
        unknown = "column 1: unknown fact `visit.page`"
        assert list(caught.value.problems) == [
            RuleProblem(0, ("when", 0), unknown, "did you mean visit.pages?"),
            RuleProblem(0, ("when", 2), "column 13: '=' is not allowed here", "to compare, write =="),
            RuleProblem(2, ("when", 0), unknown, "did you mean visit.pages?"),
        ]

    def test_a_mistake_in_a_line_of_several_rows_names_the_row(self) -> None:
        with pytest.raises(RuleErrors, match="row 2, column 4: unknown fact"):
            RuleSet([rule("a", "true &&\n   visit.page > 3")])

    def test_rules_and_lines_are_bounded(self) -> None:
        with pytest.raises(RuleErrors) as caught:
            RuleSet([rule(f"r{n}", "true") for n in range(RULES + 1)])
        assert caught.value.problems[0].rule == RULES
        with pytest.raises(RuleErrors, match="rule 1: a rule may have"):
            RuleSet([rule("r", *["true"] * (LINES + 1))])

    def test_after_many_mistakes_no_further_lines_are_looked_at(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """For each it is looked what was meant: half a megabyte of them would take a minute."""
        looked: list[object] = []
        monkeypatch.setattr(checker, "get_close_matches", lambda *given, **more: looked.append(given) or [])
        with pytest.raises(RuleErrors) as caught:
            RuleSet([rule(f"r{n}", *(f"visit.page{n}_{m} > 3" for m in range(20))) for n in range(100)])
        assert PROBLEMS <= len(caught.value.problems) < PROBLEMS + 40
        assert len(looked) <= 2 * len(caught.value.problems)
