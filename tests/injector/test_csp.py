"""Policies: may the tag run, and with which nonce."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from clew.injector.csp import Csp, evaluate
from clew.injector.heads import Headers
from clew.injector.tag import NONCE_LIMIT, tag
from hypothesis import given
from hypothesis import strategies as st
from playwright.async_api import BrowserContext

SCRIPT = "https://shop.example/-/clew/l.js"
CSP = b"content-security-policy"
REPORT = b"content-security-policy-report-only"


def policies(*values: bytes) -> Headers:
    return [(b"content-type", b"text/html"), *((CSP, value) for value in values)]


ALLOWED = [
    b"script-src 'self'",
    b"SCRIPT-SRC 'SELF'",
    b"default-src 'self'",
    b"default-src 'none'; script-src 'self'",
    b"script-src 'none'; script-src-elem 'self'",
    b"default-src 'none'; script-src 'none'; script-src-elem 'self'",
    b"script-src 'self' 'none'",
    b"script-src *",
    b"script-src https:",
    b"script-src http:",
    b"script-src 'unsafe-inline' https: 'strict-dynamicx'",
    b"script-src 'self' 'nonce-abc'",
    b"script-src 'self' 'sha256-abc=' 'unsafe-eval' 'report-sample'",
    b"style-src 'none'; img-src 'none'; connect-src 'none'",
    b"script-src-attr 'none'",
    b"upgrade-insecure-requests",
    b"sandbox allow-forms allow-scripts",
    b"sandbox ALLOW-SCRIPTS allow-same-origin; script-src 'self'",
    b"require-trusted-types-for 'script'; trusted-types a",
    b"script-src 'self'; script-src 'none'",
    b"require-sri-for style",
    b" ; ;\t; script-src\t'self' ;",
    b"",
    b" , ,",
]


@pytest.mark.parametrize("policy", ALLOWED)
def test_policies_that_allow_self_allow_the_tag_without_a_nonce(policy: bytes) -> None:
    """injection 6.1, 6.3, 6.5: nothing is copied where nothing is needed."""
    assert evaluate(policies(policy)) == Csp(allowed=True)


REFUSED = [
    (b"script-src 'none'", "csp script-src"),
    (b"script-src", "csp script-src"),
    (b"default-src 'none'", "csp default-src"),
    (b"default-src 'self'; script-src https://cdn.example", "csp script-src"),
    (b"script-src 'self'; script-src-elem https://cdn.example", "csp script-src-elem"),
    (b"script-src 'none'; script-src 'self'", "csp script-src"),
    (b"script-src 'unsafe-inline' 'unsafe-eval'", "csp script-src"),
    (b"script-src 'sha256-abc='", "csp script-src"),
    (b"script-src 'strict-dynamic' 'sha256-abc=' 'self' https:", "csp script-src"),
    (b"script-src 'STRICT-dynamic' 'self'", "csp script-src"),
    (b"script-src self", "csp script-src"),
    (b"script-src data: blob:", "csp script-src"),
    (b"sandbox", "csp sandbox"),
    (b"sandbox allow-forms allow-same-origin", "csp sandbox"),
    (b"script-src 'self'; sandbox allow-scriptsx", "csp sandbox"),
    (b"require-sri-for script style", "csp require-sri-for"),
    (b"script-src 'nonce-'", "csp script-src"),
    (b"script-src 'nonce-a b'", "csp script-src"),
    (b"script-src 'nonce-\"onload=x'", "csp script-src"),
    (b"script-src 'nonce-" + b"x" * (NONCE_LIMIT + 1) + b"'", "csp script-src"),
]


@pytest.mark.parametrize(("policy", "reason"), REFUSED)
def test_page_whose_policy_refuses_the_tag_is_not_edited(policy: bytes, reason: str) -> None:
    """injection 6.4, 6.11, 6.14."""
    assert evaluate(policies(policy), SCRIPT) == Csp(allowed=False, reason=reason)
    assert evaluate(policies(b"script-src 'self'", policy), SCRIPT).allowed is False
    assert evaluate(policies(b"script-src 'self', " + policy), SCRIPT).allowed is False


NONCED = [
    ([b"script-src 'strict-dynamic' 'nonce-abc' 'unsafe-inline' https:"], b"abc"),
    ([b"script-src 'nonce-aB+/_-9=='"], b"aB+/_-9=="),
    ([b"script-src 'NONCE-aBc'"], b"aBc"),
    ([b"default-src 'nonce-d'; style-src 'nonce-s'"], b"d"),
    ([b"script-src 'nonce-a'; script-src-elem 'nonce-e'"], b"e"),
    ([b"script-src 'nonce-a' 'nonce-b'"], b"a"),
    ([b"script-src 'self' 'nonce-a'", b"script-src 'strict-dynamic' 'nonce-b'"], b"b"),
    ([b"script-src 'strict-dynamic' 'nonce-b'", b"script-src 'self'"], b"b"),
    ([b"script-src 'nonce-a' 'nonce-b'", b"script-src 'nonce-b' 'nonce-c'"], b"b"),
    ([b"script-src 'nonce-a' 'nonce-b', script-src 'nonce-c' 'nonce-b'"], b"b"),
    ([b"img-src 'none'", b"script-src 'nonce-a'"], b"a"),
]


@pytest.mark.parametrize(("values", "nonce"), NONCED)
def test_nonce_of_the_response_is_copied_where_only_that_will_do(values: list[bytes], nonce: bytes) -> None:
    """injection 6.2, 6.6: one nonce for all policies."""
    assert evaluate(policies(*values)) == Csp(allowed=True, nonce=nonce)
    assert b' nonce="%s"' % nonce in tag("/-/clew/", nonce)


CONFLICTING = [
    [b"script-src 'nonce-a'", b"script-src 'nonce-b'"],
    [b"script-src 'nonce-a', script-src 'nonce-b'"],
    [b"script-src 'nonce-a' 'nonce-b'", b"script-src 'nonce-b'", b"script-src 'nonce-a'"],
    [b"script-src 'nonce-a'", b"script-src 'nonce-A'"],
    [b"script-src 'nonce-a'", b"script-src https://cdn.example"],
]


@pytest.mark.parametrize("values", CONFLICTING)
def test_a_script_has_room_for_one_nonce_only(values: list[bytes]) -> None:
    """injection 6.6: policies that no nonce satisfies together."""
    assert evaluate(policies(*values)).allowed is False


MATCHING = [
    b"https://shop.example",
    b"http://shop.example",
    b"shop.example",
    b"SHOP.EXAMPLE",
    b"shop.example:443",
    b"shop.example:*",
    b"http://shop.example:80",
    b"*.example",
    b"https://*.example",
    b"https://*",
    b"*:443",
    b"shop.example/",
    b"https://shop.example/-/clew/",
    b"https://shop.example/-/clew/l.js",
]
FOREIGN = [
    b"https://cdn.example",
    b"shop.example.org",
    b"*.shop.example",
    b"example",
    b"shop.example:8443",
    b"https://shop.example:80443",
    b"wss://shop.example",
    b"ftp:",
    b"shop.example/static/",
    b"shop.example/-/clew",
    b"shop.example/-/clew/L.js",
    b"shop.example/%2D/clew/",
    b"shop.example?x",
    b"'shop.example'",
    b"https://",
    b"://shop.example",
    b"*shop.example",
    b"s\xf6p.example",
]


@pytest.mark.parametrize("source", MATCHING)
def test_policy_may_name_the_shops_own_host(source: bytes) -> None:
    assert evaluate(policies(b"script-src https://cdn.example " + source), SCRIPT) == Csp(allowed=True)


@pytest.mark.parametrize("source", FOREIGN)
def test_sources_are_compared_as_the_browser_does(source: bytes) -> None:
    assert evaluate(policies(b"script-src " + source), SCRIPT).allowed is False


@pytest.mark.parametrize("source", [source for source in MATCHING if source not in (b"*:443", b"https://*")])
def test_without_the_address_a_named_host_counts_as_foreign(source: bytes) -> None:
    assert evaluate(policies(b"script-src " + source)).allowed is False


@pytest.mark.parametrize(
    ("source", "allowed"),
    [
        (b"https:", False),
        (b"http:", True),
        (b"https://localhost:8000", False),
        (b"localhost:8000", True),
        (b"localhost", False),
        (b"http://localhost:*", True),
        (b"[::1]:8000", False),
        (b"'self'", True),
    ],
)
def test_shop_on_plain_http_and_another_port(source: bytes, allowed: bool) -> None:
    assert evaluate(policies(b"script-src " + source), "http://localhost:8000/-/clew/l.js").allowed is allowed


@pytest.mark.parametrize(
    "script", ["https://[::1/l.js", "https://shop.example:99999/l.js", "https://a:b/", "", "//"]
)
def test_address_that_a_client_made_up_matches_no_named_host(script: str) -> None:
    assert evaluate(policies(b"script-src https://shop.example"), script).allowed is False
    assert evaluate(policies(b"script-src 'self'"), script) == Csp(allowed=True)


def test_port_of_any_length_is_judged() -> None:
    assert evaluate(policies(b"script-src shop.example:" + b"9" * 5000), SCRIPT).allowed is False


def test_report_only_policy_never_blocks_but_is_noted() -> None:
    """injection 6.7."""
    headers = [(REPORT, b"script-src 'none'")]
    assert evaluate(headers) == Csp(allowed=True, reason="csp report-only script-src")
    assert evaluate([*policies(b"script-src 'none'"), *headers]).allowed is False


def test_nonce_also_serves_report_only_policies_where_it_can() -> None:
    """injection 6.7: the shop's endpoint gets no reports because of the tag."""
    report = (REPORT, b"script-src 'strict-dynamic' 'nonce-r'")
    assert evaluate([report]) == Csp(allowed=True, nonce=b"r")
    assert evaluate([*policies(b"script-src 'self'"), report]) == Csp(allowed=True, nonce=b"r")
    both = evaluate([*policies(b"script-src 'nonce-a' 'nonce-r'"), report])
    assert both == Csp(allowed=True, nonce=b"r")
    apart = evaluate([*policies(b"script-src 'nonce-a'"), report])
    assert apart == Csp(allowed=True, nonce=b"a", reason="csp report-only script-src")


def test_sandbox_in_a_report_only_policy_does_nothing() -> None:
    assert evaluate([(REPORT, b"sandbox; script-src 'self'")]) == Csp(allowed=True)


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        (b"blocked-destinations=(script)", False),
        (b"blocked-destinations=(style script), endpoints=(a)", False),
        (b"blocked-destinations=(style)", True),
        (b"blocked-destinations=(style), endpoints=(script)", True),
    ],
)
def test_integrity_policy_on_scripts_keeps_the_tag_out(value: bytes, allowed: bool) -> None:
    """injection 6.14: the tag carries no hash, since the loader behind it changes."""
    assert evaluate([(b"integrity-policy", value)]).allowed is allowed
    assert evaluate([(b"integrity-policy-report-only", value)]).allowed


def test_a_meta_policy_is_ignored_by_the_edit() -> None:
    """injection 6.8: the tag is before any meta element, whose policy applies only to what follows it."""
    assert evaluate([(b"content-type", b"text/html")]) == Csp(allowed=True)
    page = (Path(__file__).parent / "pages" / "oscar.html").read_bytes()
    assert page.index(b"<head>") < page.index(b"<meta")


@given(st.lists(st.binary(max_size=60), max_size=3), st.lists(st.binary(max_size=60), max_size=2))
def test_any_bytes_are_judged_and_leave_the_headers_alone(
    enforced: list[bytes], reported: list[bytes]
) -> None:
    """injection 6.17: the shop's policies are read, never written."""
    headers = [*((CSP, value) for value in enforced), *((REPORT, value) for value in reported)]
    before = list(headers)
    judged = evaluate(headers, SCRIPT)
    assert headers == before
    if judged.nonce is not None:
        assert judged.allowed
        assert judged.nonce in b" ".join([*enforced, *reported])
        tag("/-/clew/", judged.nonce)


SOURCES = [
    b"'self'",
    b"'none'",
    b"'strict-dynamic'",
    b"'nonce-a'",
    b"'nonce-b'",
    b"https:",
    b"cdn.example",
    b"'unsafe-inline'",
]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"script-src-elem", b"script-src", b"default-src", b"img-src"]),
            st.lists(st.sampled_from(SOURCES), max_size=4),
        ),
        max_size=4,
    )
)
def test_every_policy_is_evaluated_in_any_notation(
    directives: list[tuple[bytes, list[bytes]]],
) -> None:
    """injection 6.6: joined by commas or in fields of their own, in any order of fields."""
    written = [b" ".join([name, *sources]) for name, sources in directives]
    apart = evaluate(policies(*written))
    assert evaluate(policies(b", ".join(written))) == apart
    assert evaluate(policies(*reversed(written))).allowed == apart.allowed
    alone = [evaluate(policies(value)) for value in written]
    assert apart.allowed <= all(judged.allowed for judged in alone)
    if all(judged.allowed and judged.nonce is None for judged in alone):
        assert apart == Csp(allowed=True)


# Policies on a shop over plain http, which needs no certificate; {} is its port.
NAMED = [
    b"shop.test:{}",
    b"http://shop.test:{}",
    b"http://shop.test:*",
    b"*.test:{}",
    b"*:{}",
    b"SHOP.test:{}/-/clew/",
    b"shop.test:{}/-/clew/l.js",
    b"http:",
    b"*",
    b"shop.test",
    b"shop.test:80",
    b"https://shop.test:{}",
    b"https:",
    b"*.shop.test:{}",
    b"test:{}",
    b"shop.test:{}/-/clew",
    b"shop.test:{}/-/clew/L.js",
    b"shop.test:{}/static/",
    b"other.test:{}",
    b"wss://shop.test:{}",
]


class Policed:
    """A server whose page is under the policies that a test sets, with the tag that they ask for."""

    def __init__(self) -> None:
        self.policies: Headers = []
        self.nonce: bytes | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        script = scope["path"] == "/-/clew/l.js"
        body = b"window.ran = true" if script else b"<!doctype html><head>" + tag("/-/clew/", self.nonce)
        kind = (b"content-type", b"text/javascript" if script else b"text/html")
        headers = [kind, (b"cache-control", b"no-store"), *([] if script else self.policies)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@pytest.mark.asyncio(loop_scope="session")
async def test_a_real_browser_judges_as_we_do(context: BrowserContext) -> None:
    """injection 6.1, 6.2, 6.3, 6.4, 6.5, 6.6, 6.11, 10: it runs the tag where we say so, and nowhere else."""
    served, page = Policed(), await context.new_page()
    config = uvicorn.Config(served, lifespan="off", log_config=None)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        address = f"http://shop.test:{port}"
        cases = [
            # To upgrade a request takes a server with a certificate.
            *([policy] for policy in ALLOWED if not policy.startswith(b"upgrade")),
            *([policy] for policy, reason in REFUSED if reason != "csp require-sri-for"),
            *(values for values, _ in NONCED),
            *CONFLICTING,
            *([b"script-src " + source.replace(b"{}", b"%d" % port)] for source in NAMED),
            *([a, b] for a in (ALLOWED[0], NONCED[0][0][0]) for b, _ in REFUSED[:4]),
        ]
        ran, wrong = 0, []
        for values in cases:
            served.policies = [(CSP, value) for value in values]
            judged = evaluate(served.policies, f"{address}/-/clew/l.js")
            served.nonce = judged.nonce
            await page.goto(address)
            found = await page.evaluate("window.ran === true")
            ran += found
            if found != judged.allowed:
                wrong.append((values, judged, found))
        server.should_exit = True
        await running
    await page.close()
    assert wrong == []
    assert 0 < ran < len(cases)


def test_extremely_long_policies_are_not_evaluated() -> None:
    """field E4: what costs more than a few milliseconds in the loop keeps the tag out."""
    long = b"script-src " + b" ".join(b"'nonce-%d'" % n for n in range(2000))
    judged = evaluate(policies(long, long))
    assert (judged.allowed, judged.reason) == (False, "csp too long")
