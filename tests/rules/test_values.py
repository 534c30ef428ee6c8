import pytest
from clew.rules.compiler import RuleErrors
from clew.rules.conditions import ConditionError, compile_line
from clew.rules.ruleset import RuleSet
from clew.settings.model import Rule

KNOWN = {"partner.id": ("blog", "shopper"), "partner.network": ("", "awin"), "touch.network": ("", "awin")}


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ('page.type == "prodct"', "`page.type` is one of home, category, product", 'write "product"'),
        ('page.type in ["cart", "Checkout"]', "`page.type` is one of", 'write "checkout"'),
        ('"basket" != page.type', "`page.type` is one of", ""),
        ('partner.id == "blgo"', "`partner.id` is one of blog, shopper", 'write "blog"'),
        ('has(partner.id) && partner["id"] == "BLOG"', "`partner.id` is one of", 'write "blog"'),
        (
            'partner.id == "blоg"',
            "the character U+043E (CYRILLIC SMALL LETTER O) is not ASCII",
            'write "blog"',
        ),
        ('touch.network == "awinn"', "`touch.network` is one of", 'write "awin"'),
        ('clock.weekday == "Monday"', "`clock.weekday` is one of", 'write "mon"'),
        ("clock.hour == 24", "`clock.hour` is 0 to 23", ""),
        ("clock.hour > 99 || clock.minute < 5", "`clock.hour` is 0 to 23", ""),
        ('page.language == "german"', "'german' is not a language code", 'write "de"'),
        ('page.language == "xx"', "'xx' is not a language code", None),
        ('page.language == "de_AT"', "'de_AT' is not a language code", None),
        ('cart.currency == "EURO"', "'EURO' is not an ISO 4217 code", 'write "EUR"'),
        ('cart.currency in ["EUR", "€"]', "'€' is not an ISO 4217 code", None),
        ('clock.date > "2026-12-01" && clock.date == "24.12.2026"', "is not a date", None),
        ('page.path == "/index.php?route=checkout/cart"', "`page.path` has no query", None),
        ('page.path.startsWith("cart")', "`page.path` begins with /", 'write "/cart"'),
        ('page.url == "/cart"', "`page.url` is the full URL", 'write page.url.fits("/cart")'),
        ('page.url.startsWith("/cart")', "`page.url` is the full URL", 'write page.url.fits("/cart")'),
        ('page.url.startsWith("shop.example")', "`page.url` is the full URL", None),
    ],
)
def test_a_value_that_a_fact_never_has_is_named(line: str, message: str, hint: str | None) -> None:
    """field G4"""
    with pytest.raises(ConditionError) as caught:
        compile_line(line, KNOWN)
    (found,) = caught.value.problems
    assert message in found.message
    assert found.hint == hint or (hint is None and found.hint)


@pytest.mark.parametrize(
    "line",
    [
        'page.type in ["cart", "checkout"]',
        'partner.id == "blog" && partner.network == ""',
        'page.language == "de" || page.language == "pt-BR" || page.language.startsWith("zh")',
        'cart.currency == "EUR" && clock.date < "2027-01-01"',
        "clock.hour >= 23 && clock.hour < 24 && clock.minute <= 59",
        'page.url.startsWith("https://shop.example/") || page.path.startsWith("/cart")',
        'campaign.source == "anything" && page.title == "Cart"',
    ],
)
def test_possible_values_of_a_fact_are_valid(line: str) -> None:
    compile_line(line, KNOWN)


def test_where_a_sites_values_are_not_known_any_text_may_be_compared() -> None:
    rule = Rule(name="a", action="hide", when=['partner.id == "blgo"'])
    RuleSet([rule])
    with pytest.raises(RuleErrors, match=r"`partner\.id` has no values: the site has no partner"):
        RuleSet([rule], {"partner.id": ()})
