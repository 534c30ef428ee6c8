"""Charts that are drawn on the server: what stands in the page, and what may not."""

import re
from decimal import Decimal
from xml.etree import ElementTree

import pytest
from clew.desk.pages.charts import LABEL, MOST_BARS, WIDTH, Chart, drawn, largest
from clew.desk.pages.sheets import lines

SVG = "{http://www.w3.org/2000/svg}"
EDGES = {
    "one": ["5"],
    "zero": ["0"],
    "none but zeros": ["0", "0"],
    "less than nothing": ["-5", "-1"],
    "both": ["-5", "5"],
    "cents": ["0.01"],
    "far apart": ["1000000000000000", "0.001"],
    "a year": [str(week * 37 % 11) for week in range(53)],
}


def chart(kind: str, *values: str, name: str = "week {}") -> Chart:
    return Chart("Revenue, EUR", kind, [(name.format(n), Decimal(v)) for n, v in enumerate(values)])  # type: ignore[arg-type]


@pytest.mark.parametrize("values", EDGES.values(), ids=EDGES)
@pytest.mark.parametrize("kind", ["columns", "bars"])
def test_each_value_has_its_shape_within_the_chart(kind: str, values: list[str]) -> None:
    svg = ElementTree.fromstring(drawn(chart(kind, *values)))
    shapes = list(svg.iter("rect"))
    assert len(shapes) == len(values)
    assert {shape.find("title").text for shape in shapes} == {  # type: ignore[union-attr]
        f"week {n}: {value}" for n, value in enumerate(values)
    }
    width, height = map(float, svg.attrib["viewBox"].split()[2:])
    assert width == WIDTH
    for shape in shapes:
        assert 0 <= float(shape.attrib["width"]) <= width
        assert 0 <= float(shape.attrib["height"]) <= height


@pytest.mark.parametrize("kind", ["columns", "bars"])
def test_the_larger_value_has_the_larger_shape(kind: str) -> None:
    svg = ElementTree.fromstring(drawn(chart(kind, "1", "3", "2")))
    long = "height" if kind == "columns" else "width"
    found = {one.findtext("title"): float(one.attrib[long]) for one in svg.iter("rect")}
    assert found["week 1: 3"] == pytest.approx(3 * found["week 0: 1"])
    assert found["week 2: 2"] == pytest.approx(2 * found["week 0: 1"])


def test_it_brings_no_style_script_or_address_of_its_own() -> None:
    for kind in ("columns", "bars"):
        svg = drawn(chart(kind, "1", "2"))
        assert not re.search(r"<(script|style|a|image|use|foreignObject)\b", svg)
        assert not re.search(r"\b(style|href|fill|stroke|font-family|on\w+|id)=", svg)
        assert "http" not in svg


def test_it_is_named_and_its_text_is_escaped() -> None:
    name = '<script>alert("&")</script>'
    svg = drawn(Chart(name, "bars", [(name, Decimal(1))]))
    assert "<script" not in svg
    parsed = ElementTree.fromstring(svg)
    assert (parsed.attrib["role"], parsed.attrib["aria-label"]) == ("img", name)
    label = next(one.text for one in parsed.iter("text") if one.text and one.text.startswith("<"))
    assert label == f"{name[: LABEL - 1]}…"


def test_two_names_that_begin_alike_stay_two() -> None:
    svg = drawn(chart("bars", "1", "2", name="a partner with a long name {}"))
    assert len(list(ElementTree.fromstring(svg).iter("rect"))) == 2


def test_the_smallest_are_added_up() -> None:
    values = [(f"p{n}", Decimal(n)) for n in range(MOST_BARS + 4)]
    found = largest(values, "others")
    assert found[0] == ("p11", Decimal(11))
    assert found[-1] == ("others", Decimal(0 + 1 + 2 + 3))
    assert largest(values[:3], "others") == values[2::-1]


def test_numbers_are_written_as_the_language_has_them() -> None:
    values = ("0", "1500000")
    assert "1.5M" in drawn(chart("columns", *values), "en")
    assert "1,5" in drawn(chart("columns", *values), "de")


def test_no_cell_is_a_formula() -> None:
    rows = [["=1+1", "+4", "-2.50", "-x", "@a", '"', 5, None]]
    assert lines(rows) == b"'=1+1,'+4,-2.50,'-x,'@a,\"\"\"\",5,\r\n"
