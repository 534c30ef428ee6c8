"""`make shots`: pictures of the widget and of each page of the desk."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
def test_a_picture_is_taken_of_each_page_in_both_schemes(tmp_path: Path) -> None:
    command = [sys.executable, "examples/shots.py", str(tmp_path), "--widths", "320"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    names = {path.name for path in tmp_path.glob("*.png")}
    for page in (
        "widget-invite",
        "widget-answered",
        "desk-login",
        "desk-inbox",
        "desk-orders",
        "desk-people",
    ):
        assert {f"{page}-320-light.png", f"{page}-320-dark.png"} <= names
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in tmp_path.iterdir())
