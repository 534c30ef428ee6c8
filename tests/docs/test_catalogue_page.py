"""What the documents say of networks and shop systems is held against the program."""

import re

from clew.settings.platforms import platforms
from networks_table import PAGE, README, ROOT, page, readme


def test_the_table_of_networks_is_the_catalogues() -> None:
    """`make networks` writes it."""
    assert PAGE.read_text(encoding="utf-8") == page(PAGE.read_text(encoding="utf-8"))


def test_documented_numbers_match_the_program() -> None:
    assert README.read_text(encoding="utf-8") == readme(README.read_text(encoding="utf-8"))
    assert re.search(r"\d+ of \d+", PAGE.read_text(encoding="utf-8"))
    assert re.search(r"\d+ of the catalogue's networks", README.read_text(encoding="utf-8"))


def test_each_platform_documents_where_to_enable_the_visitors_address() -> None:
    """field C9"""
    text = (ROOT / "docs" / "client-address.md").read_text(encoding="utf-8")
    told = [line.split("|")[1].lower() for line in text.splitlines() if line.startswith("| ")]
    assert [name for name in platforms() if not any(name in row for row in told)] == []
    for header in ("X-Forwarded-For", "X-Real-IP", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded"):
        assert f"| `{header}` |" in text
