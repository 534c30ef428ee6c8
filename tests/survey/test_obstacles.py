import pytest
from clew.survey.obstacles import obstacles
from looks import look, page


def told(body: str, *headers: tuple[str, str], **more: str) -> list[tuple[str, str]]:
    found = look(body, "https://shop.example/", *headers, **more)  # type: ignore[arg-type]
    return [(o.weight, o.what) for o in obstacles(found, "/-/clew/")]


def test_nothing_stands_in_the_way_of_a_plain_page() -> None:
    assert told(page("<p>Hello")) == []


def csp(value: str) -> tuple[str, str]:
    return ("Content-Security-Policy", value)


@pytest.mark.parametrize(
    ("headers", "part"),
    [
        ([csp("script-src 'none'")], "(`script-src`) forbids scripts"),
        ([csp("default-src https://cdn.example")], "(`default-src`) forbids scripts"),
        ([csp("script-src 'strict-dynamic' 'sha256-x'")], "(`script-src`) forbids scripts"),
        ([csp("sandbox allow-forms")], "`sandbox`"),
        ([("Cache-Control", "max-age=0, no-transform")], "no-transform"),
        ([("Content-Disposition", "attachment")], "to be saved"),
        ([("Content-Encoding", "gzip, br")], "in several at once"),
        ([("Signature", "sig1=:x:")], "signed"),
    ],
)
def test_headers_that_keep_the_tag_out_stop(headers: list[tuple[str, str]], part: str) -> None:
    found = told(page("x"), *headers)
    assert [(weight, part in what) for weight, what in found if weight == "stops"] == [("stops", True)]


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ("<!doctype html><html ⚡><head></head>", "AMP"),
        ('{"html": "<head>"}', "something else than a page"),
        ("</div><p>", "in the middle of a page"),
        ("<!doctype html><!--" + "x" * 70_000 + "--><head>", "64 KB"),
        (
            '<!doctype html><html><head><script data-clew="1" src="/-/clew/l.js"></script></head>',
            "there already",
        ),
    ],
)
def test_markup_that_keeps_the_tag_out_stops(body: str, part: str) -> None:
    assert [(weight, part in what) for weight, what in told(body) if weight == "stops"] == [("stops", True)]


def test_xhtml_stops() -> None:
    assert told(page("x"), kind="application/xhtml+xml")[0][0] == "stops"


@pytest.mark.parametrize(
    ("headers", "body", "part"),
    [
        ([csp("script-src 'nonce-AbC1'")], "", "asks for a nonce"),
        ([csp("connect-src https://api.example")], "", "does not let scripts call"),
        ([csp("require-trusted-types-for 'script'")], "", "Trusted Types"),
        ([("Content-Security-Policy-Report-Only", "script-src 'none'")], "", "report-only"),
        (
            [],
            "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'\">",
            "in <meta> does not let",
        ),
        ([], '<base href="https://cdn.example/">', "<base> leads relative addresses to cdn.example"),
        ([], "<script>navigator.serviceWorker.register('/sw.js')</script>", "service worker"),
    ],
)
def test_what_is_worth_knowing_is_a_note(headers: list[tuple[str, str]], body: str, part: str) -> None:
    found = told(page(head=body), *headers)
    assert [(weight, part in what) for weight, what in found] == [("note", True)]
