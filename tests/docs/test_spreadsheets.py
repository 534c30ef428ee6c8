"""Every file that clew writes for a spreadsheet has its texts from one place: none becomes a formula."""

import re
from pathlib import Path

import clew
import pytest
from clew.referral.masking import cells

ROOT = Path(clew.__file__).parent
ROOMS = ("cli", "desk", "payouts", "postbacks", "service", "stores", "survey")
WRITERS = sorted(
    path.relative_to(ROOT).as_posix()
    for room in ROOMS
    for path in (ROOT / room).rglob("*.py")
    if re.search(r"csv\.(writer|DictWriter)\(", path.read_text("utf-8"))
)


@pytest.mark.parametrize("path", WRITERS)
def test_a_file_of_csv_is_written_by_the_guard(path: str) -> None:
    """Each row; a heading of our own words needs none."""
    text = (ROOT / path).read_text("utf-8")
    rows = re.findall(r"write(?:row|rows)\((.*)\)", text)
    assert rows
    assert not [row for row in rows if not row.startswith(("cells(", "names", "columns"))]


@pytest.mark.parametrize("text", ["=1+1", "+1", "@x", "-2+3", "\tx", "\rx", "-1.2.3", "＝1+1"])
def test_a_formula_becomes_a_text_and_a_number_stays(text: str) -> None:
    assert cells([text, "-5.00", 7, None, "plain"]) == [f"'{text}", "-5.00", 7, None, "plain"]


@pytest.mark.parametrize("text", ["x;=1+1", "\t=1", "\r\n=1", "x\n-1", 'x;"=1+1', "x; @a;+b", "x;＝1"])
def test_a_text_has_no_formula_for_a_spreadsheet_with_other_separators(text: str) -> None:
    (found,) = cells([text])
    assert not re.search('[;\t\r\n][ "]*[=+@＝-]', str(found))


def test_texts_with_a_semicolon_stay() -> None:
    assert cells(["a; b", "blue;-red", "100 %; 5"]) == ["a; b", "blue;'-red", "100 %; 5"]
