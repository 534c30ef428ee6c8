"""Which events are logged, and how often."""

from pathlib import Path
from typing import Any

import httpx2
import structlog
from clew.events.events import MORE, NOTICE_KEYS, NOTICE_SECONDS, Events
from clew.middleware.asgi.mount import ClewMiddleware
from clew.settings.model import Settings
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

PAGE = "<!doctype html><html><head><title>T</title></head></html>"

POLICIES: dict[str, tuple[dict[str, str], str, str]] = {
    "/none": ({"content-security-policy": "default-src 'none'"}, "pass", "csp default-src"),
    "/box": ({"content-security-policy": "sandbox"}, "pass", "csp sandbox"),
    "/hash": ({"integrity-policy": "blocked-destinations=(script)"}, "pass", "integrity-policy"),
    "/kept": ({"cache-control": "no-transform"}, "pass", "no-transform"),
    "/report": (
        {"content-security-policy-report-only": "script-src 'none'"},
        "edit",
        "csp report-only script-src",
    ),
}


async def page(request: Request) -> HTMLResponse:
    headers = POLICIES[request.url.path][0] if request.url.path in POLICIES else {}
    return HTMLResponse(PAGE, headers=headers)


async def test_a_policy_that_blocks_the_tag_is_reported(tmp_path: Path) -> None:
    """injection 3.15, 6.4, 6.7, 6.11, 6.14: once, with the page it was seen on; all of them are counted."""
    database = f"sqlite:{tmp_path / 'clew.db'}"
    settings = {"secret": "s" * 40, "store": database, "ledger": database, "sites": [{"name": "shop"}]}
    app = ClewMiddleware(Starlette(routes=[Route("/{path}", page)]), Settings.model_validate(settings))
    with structlog.testing.capture_logs() as lines:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="https://a") as browser:
            for path in [*POLICIES, *POLICIES, "/plain"]:
                await browser.get(path)
        await app.service.stop()
    told = [line for line in lines if line["event"] == "policy"]
    assert told == [
        {
            "event": "policy",
            "log_level": "warning",
            "site": "shop",
            "key": reason,
            "outcome": outcome,
            "reason": reason,
            "path": path,
        }
        for path, (_, outcome, reason) in POLICIES.items()
    ]
    for _, outcome, reason in POLICIES.values():
        labels = {"site": "shop", "outcome": outcome, "reason": reason}
        assert app.service.registry.get_sample_value("clew_responses_total", labels) == 2


def test_a_notice_is_logged_once_an_hour_for_each_site_and_key() -> None:
    at = 1000.0
    told = Events(CollectorRegistry(), lambda: at)

    def lines() -> list[Any]:
        with structlog.testing.capture_logs() as found:
            for site, key in (("a", "csp sandbox"), ("b", "csp sandbox"), ("a", "no-transform")):
                told.notice("policy", site=site, key=key)
        return [(line["site"], line["key"]) for line in found]

    each = [("a", "csp sandbox"), ("b", "csp sandbox"), ("a", "no-transform")]
    assert lines() == each
    assert lines() == []
    at += NOTICE_SECONDS - 1
    assert lines() == []
    at += 1
    assert lines() == each


def test_strangers_cannot_fill_the_log_with_notices() -> None:
    registry = CollectorRegistry()
    told = Events(registry, lambda: 0.0)
    with structlog.testing.capture_logs() as lines:
        for number in range(1000):
            told.notice("policy", site="a", key=f"{number} {'x' * 1000}")
    assert [line["key"] for line in lines[NOTICE_KEYS:]] == [MORE]
    assert max(len(line["key"]) for line in lines) == 200
    assert registry.get_sample_value("clew_events_total", {"site": "a", "event": "policy"}) == 1000
