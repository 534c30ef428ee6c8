"""The scripts as bytes: what caches and policies hold on to."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from built_scripts import BUILT, built
from clew import templates

SOURCES = sorted(Path(templates.__file__).parent.glob("*.js")) + sorted(
    (Path(templates.__file__).parent / "widget").glob("*.js")
)
# Strings that become HTML, code or handlers (Trusted Types' sinks), and what costs the back button its page.
FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|parseFromString|createContextualFragment|srcdoc"
    r"|\beval\(|new Function|\.on(?!line)[a-z]+ = |\"on[a-z]+\"\s*:|\.cssText|\"style\"|unload"
)


@pytest.mark.parametrize(
    "script",
    [
        templates.loader,
        templates.consent_script,
        templates.checkout_script,
        templates.order_script,
        templates.widget,
    ],
)
def test_a_script_is_the_same_bytes_at_every_call(script: Callable[[], templates.Script]) -> None:
    assert script() is script()
    assert re.fullmatch(r'"[0-9a-f]{20}"', script().etag)


def test_the_scripts_have_entity_tags_of_their_own() -> None:
    assert templates.loader().etag != templates.widget().etag


def test_the_loader_is_small_and_plain_ascii() -> None:
    script = templates.loader()
    assert len(script.gzipped) <= 2.5 * 1024
    assert script.body.isascii()


@pytest.mark.parametrize("language", templates.LANGUAGES)
def test_loader_widget_and_invite_are_small_together(language: str) -> None:
    together = templates.loader().gzipped, templates.widget(language).gzipped
    assert sum(map(len, together)) <= 16 * 1024


def test_what_is_served_was_built_from_the_sources() -> None:
    """`make scripts` builds it."""
    served = {path.name: path.read_text(encoding="utf-8") for path in BUILT.iterdir()}
    assert served == dict(built())


def test_a_compressed_script_is_the_same_script() -> None:
    for script in (templates.loader(), templates.widget("fr")):
        assert gzip.decompress(script.gzipped) == script.body
        assert script.etag != script.gzipped_etag


@pytest.mark.parametrize("language", templates.LANGUAGES)
def test_the_widget_carries_one_language_and_its_style(language: str) -> None:
    source = templates.widget(language).body.decode()
    for other in templates.LANGUAGES:
        assert (templates.text(other, "greeting") in source) == (other == language)
    assert '"ended":' not in source
    assert "prefers-reduced-motion" in source
    assert "clew:" not in source


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
@pytest.mark.parametrize(
    "what",
    [
        pytest.param(
            r"\b(?:before)?unload\b", id="injection 5.14 keeps the page out of the back button's cache"
        ),
        pytest.param(r"serviceWorker", id="injection 5.8 a worker that would answer for the shop"),
        pytest.param(r"\bnonce\b", id="injection 6.12 a nonce, which browsers hide"),
        pytest.param(
            r"\.(?:mediaDevices|clipboard|permissions|geolocation)\b", id="injection 6.16 permissions"
        ),
        pytest.param(
            r"document\s*\.\s*(?:write|writeln|open|close)\b", id="injection 7.7 writing over the page"
        ),
    ],
)
def test_no_script_uses_browser_features_that_affect_the_shop(path: Path, what: str) -> None:
    code = re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
    assert re.search(what, code) is None


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_script_makes_html_or_code_from_text(path: Path) -> None:
    """injection 6.10."""
    assert FORBIDDEN.search(path.read_text(encoding="utf-8")) is None
