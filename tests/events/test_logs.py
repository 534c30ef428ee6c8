"""The log, and the escaping of control characters in it."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import structlog
from clew.events.events import Events
from clew.events.logs import configure_logs, escaped
from clew.middleware.serve.server import formatter
from prometheus_client import CollectorRegistry

HOSTILE = "a\x1b[2J\x07\x9b31m\x7f\r\nfault  forged\u202eb\udcff\u2028\x00"
Log = Literal["console", "json"]


def acting(text: str) -> set[str]:
    """The characters of a log that do something, but for the ends of its lines."""
    return {c for c in text if not c.isprintable()} - {"\n"}


@pytest.fixture
def console(capsys: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    yield capsys
    structlog.reset_defaults()


@pytest.mark.parametrize("log", ["console", "json"])
def test_control_characters_of_events_are_escaped(console: pytest.CaptureFixture[str], log: Log) -> None:
    """field E20: in values, in keys, in lists and tables, in a traceback"""
    configure_logs(log)
    Events(CollectorRegistry()).emit(
        "login", site=HOSTILE, agent=HOSTILE, campaign={HOSTILE: [HOSTILE, (HOSTILE,)]}, number=3
    )
    try:
        raise ValueError(HOSTILE)
    except ValueError as error:
        structlog.get_logger("clew").error(HOSTILE, exc_info=error, **{HOSTILE: HOSTILE})
    text = console.readouterr().err
    assert acting(text) == set()
    assert not [line for line in text.splitlines() if line.startswith("fault")]
    first = text.splitlines()[0]
    if log == "json":
        assert json.loads(first)["agent"] == escaped(HOSTILE)
        assert [json.loads(line)["level"] for line in text.splitlines()] == ["info", "error"]
    else:
        assert "\\x1b[2J" in first


@pytest.mark.parametrize("log", ["console", "json"])
def test_control_characters_in_server_lines_are_escaped_too(log: Log) -> None:
    """field E20: uvicorn's own lines, and the proxy's with a target in them"""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter(log))
    logger = logging.Logger("clew.proxy")
    logger.addHandler(handler)
    logger.warning("%s at %s", HOSTILE, HOSTILE)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logger.exception("failed")
    assert acting(out.getvalue()) == set()
    assert "forged" in out.getvalue()


def test_events_in_an_apps_own_log_have_no_control_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    """field E20: the middleware in an app that configures structlog in its own way"""
    with structlog.testing.capture_logs() as told:
        Events(CollectorRegistry()).emit("login", site="shop", agent=HOSTILE)
    assert acting(str(told[0]["agent"])) == set()


def test_values_without_control_characters_are_unchanged() -> None:
    values: dict[str, Any] = {"a": "Köln, 東京 \\x1b", "b": [1, None, True, 1.5], "c": {"d": "e"}}
    assert escaped(values) == values
