import pytest
from clew.injector.selectors import selector_error


@pytest.mark.parametrize(
    "selector",
    [
        "#cart > .dropdown > button",
        "product-price .money",
        "svg use, MAIN H1",
        "input[type=password i]",
        "tr:nth-child(2 of .total) td",
        r".md\:flex",
        "[data-id='a[b']",
        ":is(h1, h2).order-number",
    ],
)
def test_common_selectors_are_valid(selector: str) -> None:
    assert selector_error(selector) is None


@pytest.mark.parametrize(
    ("selector", "told"),
    [
        ("order number", "column 1: there is no element <order>; a class is written .order, an id #order"),
        (".box order-number total_amount", "there is no element <total_amount>"),
        ("EURO", "there is no element <EURO>"),
        (":is(h1, ordernumber)", "column 9: there is no element <ordernumber>"),
        ("#order[number", "column 7: malformed attribute selector"),
        ("#order[number=", "column 7: malformed attribute selector"),
        ("#order(number)", "not a CSS selector"),
        ("div..total", "column 4: malformed class selector"),
        ("#1st", "column 1: malformed id selector"),
        (".total,", "column 8: expected a selector"),
        ("[data-x=1]", "malformed attribute selector"),
        (".total:frist-child", "column 7: ':frist-child'"),
        ('a[href="x]', "malformed attribute selector"),
        (":not(.a", "column"),
    ],
)
def test_selectors_that_match_nothing_meaningful_are_refused_with_the_position(
    selector: str, told: str
) -> None:
    """field G4"""
    error = selector_error(selector)
    assert error is not None
    assert told in error
