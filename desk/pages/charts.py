"""Charts, drawn here: SVG that stands in the page, without a script, a style or a file of its own.

`leather` computes what is where. Its colours and fonts are taken out again: `desk.css` gives them, by day and
by night, and a policy that forbids styles in pages stays as it is. A chart is as wide as a phone; on wider
screens several stand side by side, so that its text is as large as that of the page. The numbers stand in a
table below it (`_figures.html`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal
from xml.etree import ElementTree

from babel.numbers import format_compact_decimal
from markupsafe import Markup

WIDTH: Final = 340
HEIGHT: Final = 220
MOST_BARS: Final = 8
"""Most bars of a chart; the others are one more."""
LABEL: Final = 14
"""Most characters of a label beside a bar."""
_ACROSS: Final = 5  # labels below columns
_BAR: Final = 26  # its height, with the gap to the next one
_LOOKS = ("fill", "stroke", "stroke-width", "font-family", "font-size")


@dataclass(frozen=True, slots=True)
class Chart:
    """One series. `columns` stand side by side, in the order of time; `bars` lie one below the other, each
    with its name. `title` says what it shows, with the unit."""

    title: str
    kind: Literal["columns", "bars"]
    values: Sequence[tuple[str, Decimal]]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart for the template."""

    title: str
    svg: Markup


def largest(values: Sequence[tuple[str, Decimal]], others: str) -> list[tuple[str, Decimal]]:
    """The largest values, MOST_BARS at most, and the sum of all others under that name."""
    ordered = sorted(values, key=lambda one: -one[1])
    rest = ordered[MOST_BARS:]
    return [*ordered[:MOST_BARS], *([(others, sum((v for _, v in rest), Decimal()))] if rest else [])]


def drawn(chart: Chart, locale: str = "en") -> Markup:
    """The chart as an `svg` element for the page. Raises ValueError without a value. Takes a few
    milliseconds."""
    if not chart.values:
        raise ValueError("a chart has at least one value")
    # Not before a chart is wanted: few of the processes draw any.
    import leather

    names = [name for name, _ in chart.values]
    # By their places: two names may be the same once they are cut.
    rows = [(str(place), value) for place, (_, value) in enumerate(chart.values)]

    def label(value: object, _place: int, _of: int) -> str:
        return _cut(names[int(str(value))])

    def number(value: Decimal, _place: int, _of: int) -> str:
        return format_compact_decimal(value, fraction_digits=1, locale=locale)

    values = [value for _, value in chart.values]
    scale = leather.Linear(min(0, *values), max(0, *values))
    own = leather.Chart()
    if chart.kind == "columns":
        height, shown = HEIGHT, chart.values
        own.set_y_scale(scale)
        own.add_columns(rows)
        own.add_x_axis(ticks=_spread([place for place, _ in rows]), tick_formatter=label)
        own.add_y_axis(tick_formatter=number)
    else:
        # The library draws the first one at the bottom, and so turns them round.
        height, shown = 60 + _BAR * len(rows), list(chart.values)[::-1]
        own.set_x_scale(scale)
        own.add_bars([(value, place) for place, value in rows])
        marks = scale.ticks()
        own.add_x_axis(ticks=marks[:: 1 + len(marks) // 5], tick_formatter=number)
        own.add_y_axis(tick_formatter=label)
    group = own.to_svg_group(WIDTH, height)
    _tell(group, shown)
    for one in group.iter():
        for look in _LOOKS:
            one.attrib.pop(look, None)
    group.remove(group[0])  # the ground
    svg = ElementTree.Element(
        "svg",
        {"class": "chart", "viewBox": f"0 0 {WIDTH} {height}", "role": "img", "aria-label": chart.title},
    )
    svg.append(group)
    # Of elements and attributes the library escapes what is text.
    return Markup(ElementTree.tostring(svg, encoding="unicode"))  # noqa: S704


def _spread(places: Sequence[str]) -> list[str]:
    """As many as have room for their labels, the last one among them."""
    step = -(-len(places) // _ACROSS)
    return list(places[len(places) - 1 :: -step])[::-1]


def _cut(name: str) -> str:
    return name if len(name) <= LABEL else f"{name[: LABEL - 1]}…"


def _tell(group: ElementTree.Element, values: Sequence[tuple[str, Decimal]]) -> None:
    """Each column and bar says its value, as browsers show it under the pointer."""
    shapes = next(g for g in group.iter("g") if g.get("class", "").startswith("series"))
    for shape, (name, value) in zip(shapes, values, strict=True):
        ElementTree.SubElement(shape, "title").text = f"{name}: {value:f}"
