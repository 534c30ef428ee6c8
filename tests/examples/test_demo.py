"""`make demo` and `make demo-once`."""

import re
import socket
import sys
from pathlib import Path
from urllib.parse import quote, urlsplit

import demo
import pytest
from processes import Program
from receiver import Call
from visitor import CheckFailedError, Ordered

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"
ORDER = Ordered("/checkout/confirmation/CC-10001", "CC-10001", "749.00", "EUR")
RIGHT = {"click": demo.CLICK_ID, "order": "CC-10001", "sum": "749.00", "cur": "EUR", "via": "chat"}

pytestmark = pytest.mark.timeout(300)


def _call(**changed: str) -> Call:
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in {**RIGHT, **changed}.items())
    return Call("GET", f"/sale?{query}", {}, b"")


def _listens(address: str) -> bool:
    try:
        socket.create_connection((urlsplit(address).hostname, urlsplit(address).port), timeout=1).close()
    except OSError:
        return False
    return True


def test_demo_once_drives_a_visitor_from_the_partners_link_to_the_postback(tmp_path: Path) -> None:
    with Program([sys.executable, str(DEMO), "--once"], environ={"TMPDIR": str(tmp_path)}) as program:
        program.wait_for_line(lambda line: line.startswith(("✓ all", "✗")), seconds=120)
        assert program.wait(60) == 0, program.tail()
    steps = [line.split()[1] for line in program.lines if line.startswith("✓")]
    assert steps == ["desk", "touch", "decision", "conversation", "order", "postback", "all"]
    assert list(tmp_path.iterdir()) == []


def test_stopping_the_demo_stops_its_programs_and_removes_its_folder(tmp_path: Path) -> None:
    environ = {"TMPDIR": str(tmp_path), "COLUMNS": "200"}
    with Program([sys.executable, str(DEMO)], environ=environ) as program:
        program.wait_for_line(lambda line: "Ctrl-C stops everything" in line, seconds=60)
        addresses = re.findall(r"http://127\.0\.0\.1:\d+", "\n".join(program.lines))
        assert len(addresses) == 3
        assert all(map(_listens, addresses))
        assert program.end() == 0
    assert not any(map(_listens, addresses))
    assert list(tmp_path.iterdir()) == []


def test_exactly_one_right_call_passes_the_check() -> None:
    demo.check_calls([_call()], ORDER)


@pytest.mark.parametrize(
    "calls",
    [
        [],
        [_call(), _call()],
        [_call(click=demo.CLICK_ID.lower())],
        [_call(click=demo.CLICK_ID.replace("+", " "))],
        [_call(order="CC-10002")],
        [_call(sum="749")],
        [_call(cur="USD")],
        [_call(via="web")],
        [_call(more="x")],
    ],
)
def test_no_call_two_calls_or_a_wrong_value_fail_the_check(calls: list[Call]) -> None:
    with pytest.raises(CheckFailedError):
        demo.check_calls(calls, ORDER)


def test_an_event_missing_from_the_log_fails_the_check() -> None:
    lines = [f'{{"event": "{name}"}}' for name in demo.EXPECTED_EVENTS]
    demo.check_events(lines)
    with pytest.raises(CheckFailedError, match="lacks the events: credit"):
        demo.check_events([line for line in lines if "credit" not in line])
