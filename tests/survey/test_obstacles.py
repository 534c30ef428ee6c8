import pytest
from clew.survey.obstacles import obstacles
from looks import look, page


def found_on(body: str, *headers: tuple[str, str], **more: str) -> list[tuple[str, str]]:
    found = look(body, "https://shop.example/", *headers, **more)  # type: ignore[arg-type]
    return [(o.weight, o.what) for o in obstacles(found, "/-/clew/")]


def test_a_plain_page_has_no_obstacles() -> None:
    assert found_on(page("<p>Hello")) == []


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
        ([("Content-Disposition", "attachment")], "as a download"),
        ([("Content-Encoding", "gzip, br")], "there are several"),
        ([("Signature", "sig1=:x:")], "signed"),
    ],
)
def test_headers_that_prevent_the_tag_are_reported(headers: list[tuple[str, str]], part: str) -> None:
    found = found_on(page("x"), *headers)
    assert [(weight, part in what) for weight, what in found if weight == "stops"] == [("stops", True)]


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ("<!doctype html><html ⚡><head></head>", "AMP"),
        ('{"html": "<head>"}', "not begin like an HTML page"),
        ("</div><p>", "in the middle of a page"),
        ("<!doctype html><!--" + "x" * 70_000 + "--><head>", "64 KB"),
        (
            '<!doctype html><html><head><script data-clew="1" src="/-/clew/l.js"></script></head>',
            "already has",
        ),
    ],
)
def test_markup_that_prevents_the_tag_is_reported(body: str, part: str) -> None:
    assert [(weight, part in what) for weight, what in found_on(body) if weight == "stops"] == [
        ("stops", True)
    ]


def test_xhtml_prevents_the_tag() -> None:
    assert found_on(page("x"), kind="application/xhtml+xml")[0][0] == "stops"


@pytest.mark.parametrize(
    ("headers", "body", "part"),
    [
        ([csp("script-src 'nonce-AbC1'")], "", "requires a nonce"),
        ([csp("connect-src https://api.example")], "", "does not allow scripts to call"),
        ([csp("require-trusted-types-for 'script'")], "", "Trusted Types"),
        ([("Content-Security-Policy-Report-Only", "script-src 'none'")], "", "report-only"),
        (
            [],
            "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'\">",
            "in <meta> does not allow",
        ),
        ([], '<base href="https://cdn.example/">', "<base> points relative URLs to cdn.example"),
        ([], "<script>navigator.serviceWorker.register('/sw.js')</script>", "service worker"),
    ],
)
def test_hints_that_do_not_prevent_the_tag_are_notes(
    headers: list[tuple[str, str]], body: str, part: str
) -> None:
    found = found_on(page(head=body), *headers)
    assert [(weight, part in what) for weight, what in found] == [("note", True)]
