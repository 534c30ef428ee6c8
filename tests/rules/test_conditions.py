import cel
import pytest
from clew.rules.conditions import LINE_LENGTH, ConditionError, compile_line, matcher
from clew.rules.facts import FACTS, GROUPS, Fact
from hypothesis import example, given
from hypothesis import strategies as st

SAMPLES = {"int": "1", "double": "1.5", "string": '"x"', "bool": "true"}


def refused(line: str) -> list[tuple[str, str, int | None]]:
    with pytest.raises(ConditionError) as caught:
        compile_line(line)
    return [(problem.message, problem.hint, problem.at) for problem in caught.value.problems]


def holds(line: str, **facts: dict[str, object]) -> bool | Exception:
    condition = compile_line(line)
    groups = {group: facts.get(group, {}) for group in GROUPS}
    return condition.value(cel.Context(groups, matcher(condition.patterns)))


TEXTS = {
    "page.url": "https://shop.example/",
    "page.path": "/cart",
    "visit.landing": "/",
    "page.language": "de",
    "cart.currency": "EUR",
    "clock.date": "2026-12-24",
}


@pytest.mark.parametrize("fact", [f for f in FACTS if f.type != "map" and not f.values], ids=lambda f: f.name)
def test_every_fact_can_be_used_and_compared(fact: Fact) -> None:
    sample = repr(TEXTS[fact.name]) if fact.name in TEXTS else SAMPLES[fact.type]
    compile_line(f"has({fact.name}) && {fact.name} == {sample}")


MISTAKES = [
    # line, what is said, what to do, at which offset
    ("", "the line is empty", "write a condition, or remove the line", None),
    ("visit.pages = 3", "'=' is not allowed here", "to compare, write ==", 12),
    ("visit.pages > 3 and chat.open", "'and' is not allowed here", "write &&", 16),
    ("visit.pages > 3 OR chat.open", "'OR' is not allowed here", "write ||", 16),
    ("not chat.open", "'chat' is not allowed here", "write !(…)", 4),
    ("visit.pages <> 3", "'>' is not allowed here", "write !=", 13),
    ("chat.open & chat.talked", "'&' is not allowed here", "write &&", 10),
    ("page.path == “/x”", "'“' is not allowed here", "write texts in straight quotes", 13),
    (
        "cаrt.value > 1",
        "'а' is not allowed here: the character U+0430 (CYRILLIC SMALL LETTER A) is not ASCII",
        "",
        1,
    ),
    (
        "visit['pаges'] > 3",
        "unknown fact `visit.pаges`: the character U+0430 (CYRILLIC SMALL LETTER A) is not ASCII",
        "did you mean visit.pages?",
        0,
    ),
    ("visit.pages >=", "the line ends too early", "", 14),
    ('page.path == "/x', "'\"' is not allowed here", None, 13),
    ("visit.pages > 3;", "';' is not allowed here", None, 15),
    ("visit.pages > for", "reserved identifier: for", "", 14),
    ("visit.pages > 99999999999999999999", "invalid int literal", "", 14),
    ("visit.page > 3", "unknown fact `visit.page`", "did you mean visit.pages?", 0),
    ("chat.open && visits.pages > 3", "unknown fact `visits.pages`", "did you mean visit.pages?", 13),
    ("visit['page'] > 3", "unknown fact `visit.page`", "did you mean visit.pages?", 0),
    ("weekday == 'mon'", "unknown fact `weekday`", "did you mean clock.weekday?", 0),
    ("has(partner.ids)", "unknown fact `partner.ids`", "did you mean partner.id?", 4),
    ("visit", "`visit` is a group of facts", "use one of them, such as visit.seconds", 0),
    ("visit.pages.size > 3", "`visit.pages` is a single value and has no `size`", "", 0),
    ("page.query.a.b == 'x'", "`page.query.a` is a single value and has no `b`", "", 0),
    ("page.path.startswith('/x')", "unknown function `startswith`", "did you mean startsWith?", 0),
    (
        "startsWith(page.path, '/x')",
        "unknown function `startsWith`",
        "it is a method: write x.startsWith(…)",
        0,
    ),
    ("page.title.string() == 'x'", "unknown function `string`", "it is a function: write string(…)", 0),
    (
        "visit.pages",
        "the value of the line is a whole number, not true or false",
        "compare it with something",
        0,
    ),
    (
        'visit.pages == "3"',
        'this compares a whole number (`visit.pages`) and a text (`"3"`), which are never equal',
        "write 3 without quotes",
        0,
    ),
    (
        "campaign.name == 3",
        "this compares a text (`campaign.name`) and a whole number (`3`), which are never equal",
        'write "3" in quotes',
        0,
    ),
    (
        'chat.open == "true"',
        'this compares true or false (`chat.open`) and a text (`"true"`), which are never equal',
        "write chat.open by itself, or !chat.open",
        0,
    ),
    ("page.title in ['a', 3]", None, 'write "3" in quotes', 20),
    ('cart.value > "100"', 'this compares a number (`cart.value`) and a text (`"100"`)', None, 0),
    (
        "cart.value * 2 > 3.0",
        "`*` cannot take a number (`cart.value`) and a whole number (`2`)",
        "write 2.0",
        0,
    ),
    ("touch.network == null", "a fact is never null", "to test whether it is known, write has(…)", 0),
    (
        'clock.weekday == "monday"',
        "`clock.weekday` is one of mon, tue, wed, thu, fri, sat, sun",
        'write "mon"',
        17,
    ),
    ('clock.weekday in ["sat", "Sun"]', None, 'write "sun"', 25),
    ("'x' in page.path", None, "for a part of a text, write .contains(…)", 0),
    ("3 in page.query", "the keys of a map are texts, so a whole number is never one of them", "", 0),
    ("!visit.pages", "`!` cannot be applied to a whole number, only to true or false", "", 0),
    ("visit.pages && chat.open", "`visit.pages` is a whole number, not true or false", "", 0),
    (
        "visit.pages ? chat.open : chat.talked",
        "the part before `?` is a whole number, not true or false",
        "",
        0,
    ),
    ("chat.open ? visit.pages : chat.talked", "the value is a whole number or true or false", None, 0),
    ("[1].exists(x, x == 'a')", None, "compare values of the same type", 14),
    ("visit.pages.exists(x, true)", None, "", 0),
    ("page.query.exists(visit, true)", "`visit` is a group of facts", "use another name", 18),
    (
        "page.query.exists(a, page.query.exists(b, a == b))",
        "`exists` cannot be used inside another macro",
        "",
        21,
    ),
    ("page.path.matches(page.title)", "the pattern of `matches` must be a string in quotes", "", 18),
    ("page.path.fits(page.title)", "the pattern of `fits` must be a string in quotes", "", 15),
    ("page.path.fits('cart')", "a path begins with / or *", 'write "/cart"', 15),
    ("page.path.matches('(')", "not a regular expression: missing ): (", None, 18),
    ("page.path.matches('(?=a)')", "not a regular expression: invalid perl operator: (?=", None, 18),
    ("page.path.matches('[a-z]{900}[a-z]{900}[a-z]{900}')", "the regular expression is too large", None, 18),
    ("visit.pages > 1 / 0", "`1 / 0` has no value: division by zero", "", 14),
    ('visit.seconds > duration("2 min").getSeconds()', None, "", 16),
]


@pytest.mark.parametrize(("line", "message", "hint", "at"), MISTAKES, ids=[line for line, *_ in MISTAKES])
def test_an_error_has_its_position_and_what_to_do(
    line: str, message: str | None, hint: str | None, at: int | None
) -> None:
    (found,) = refused(line)
    assert found[0] == message or (message is None and found[0])
    assert found[1] == hint or (hint is None and found[1])
    assert found[2] == at


def test_all_mistakes_of_a_line_are_named_in_every_branch() -> None:
    found = refused('chat.open ? visit.page > 3 : (cart.items == "3" || nope(1))')
    assert [at for _, _, at in found] == [12, 30, 51]


def test_a_line_that_is_too_long_is_refused() -> None:
    compile_line("true " + " " * (LINE_LENGTH - 5))
    ((message, hint, _),) = refused("true " + " " * (LINE_LENGTH - 4))
    assert "1000 characters" in message
    assert "split it" in hint


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("visit.pages == 3", True),
        ("visit.pages == 3.0", True),
        ("cart.value > 100", True),
        ("cart.value >= 100.5", True),
        ("visit['pages'] in [1, 2, 3]", True),
        ("page.query.size == 'xl'", True),
        ("'size' in page.query && !('color' in page.query)", True),
        ("has(page.query.color)", False),
        ("page.query.exists(k, k.startsWith('utm_'))", True),
        ("page.query.filter(k, k.startsWith('utm_')).size() == 1", True),
        ("size(page.query) == 2", True),
        ("page.path.matches('^/checkout/')", True),
        ("page.path.matches(r'/\\d+$')", True),
        ("!page.path.matches('(?i)CATALOGUE')", True),
        ("page.title.matches('Über.$')", True),
        ("page.path.contains('out') && page.path.endsWith('/77')", True),
        ("clock.date >= '2026-12-01' && clock.date < '2027-01-01'", True),
        ("clock.weekday in ['sat', 'sun']", False),
        ("chat.open ? visit.pages > 5 : visit.pages > 2", True),
        ("visit.pages % 2 == 1 && -visit.pages < 0", True),
        ("visit.seconds > duration('2m').getSeconds()", False),
    ],
)
def test_lines_evaluate_as_in_cel(line: str, expected: bool) -> None:
    value = holds(
        line,
        visit={"pages": 3, "seconds": 100},
        cart={"value": 100.5},
        page={"path": "/checkout/77", "query": {"size": "xl", "utm_source": "x"}, "title": "Überß"},
        clock={"date": "2026-12-24", "weekday": "thu"},
        chat={"open": False},
    )
    assert value is expected


@pytest.mark.parametrize(
    "line", ["touch.network == 'awin'", "!(touch.network == 'awin')", "touch.network != 'awin'"]
)
def test_a_missing_fact_gives_no_value_also_behind_a_negation(line: str) -> None:
    assert isinstance(holds(line), KeyError)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("has(touch.network)", False),
        ("!has(touch.network)", True),
        ("has(touch.network) && touch.network == 'awin'", False),
        ("touch.network == 'awin' || visit.pages == 3", True),
        ("visit.pages == 4 && touch.network == 'awin'", False),
    ],
)
def test_a_line_that_is_certain_without_the_missing_fact_has_its_value(line: str, expected: bool) -> None:
    assert holds(line, visit={"pages": 3}) is expected


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*a){20}$", "^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_no_address_can_make_a_pattern_slow(pattern: str) -> None:
    """Patterns on which a backtracking engine takes longer than the world has been standing."""
    url = "https://shop.example/" + "a" * 100_000 + "!"
    assert holds(f"page.url.matches('{pattern}')", page={"url": url}) is False


@pytest.mark.parametrize("comment", ["", " // matches what?\n ", "\n\t"])
def test_matches_is_found_wherever_it_stands_in_the_line(comment: str) -> None:
    line = f"('/x' + page.path){comment}.{comment} matches('^/x/y$') && page.title.matches('t')"
    assert holds(line, page={"path": "/y", "title": "matches"}) is True
    assert holds(line, page={"path": "/z", "title": "matches"}) is False


@given(st.text(max_size=60) | st.text("visit.pages&|<>=!()[]{}'\"\\, +-*/%?:1e", max_size=40))
@example("visit.pages == 1 ? true : 'a' in {'a': [1, 2][0]}")
def test_any_text_is_a_condition_or_a_clear_error(line: str) -> None:
    try:
        compile_line(line)
    except ConditionError as error:
        problems = error.problems
    else:
        return
    assert problems
    assert all(problem.message for problem in problems)
    assert all(problem.at is None or 0 <= problem.at <= len(line) for problem in problems)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("page.url.fits('/index.php?route=product/*')", True),
        ("page.url.fits('/index.php?route=checkout/*')", False),
        ("page.url.fits('/index.php')", True),
        ("page.path.fits('/index.*') && !page.url.fits('/cart*')", True),
        ("page.url.fits('/index.php?size=1') || page.url.fits('*?product_id')", True),
        ("!visit.landing.fits('/x')", False),  # not known
    ],
)
def test_addresses_are_matched_as_in_the_other_settings(line: str, expected: bool) -> None:
    """field C1"""
    url = "https://shop.example/index.php?language=en-gb&route=product%2Fproduct&product_id=42"
    assert (holds(line, page={"url": url, "path": "/index.php"}) is True) is expected
