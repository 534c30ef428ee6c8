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


@pytest.mark.parametrize("text", ["=1+1", "+1", "@x", "-2+3", "\t=1", "\r=1", "-1.2.3"])
def test_a_formula_becomes_a_text_and_a_number_stays(text: str) -> None:
    assert cells([text, "-5.00", 7, None, "plain"]) == [f"'{text}", "-5.00", 7, None, "plain"]
