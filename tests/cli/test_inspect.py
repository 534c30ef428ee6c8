"""`clew inspect` against a real shop, and against shops that are wrong in every way."""

import gzip
import socket
import ssl
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from clew.cli import app
from clew.service.check import check
from clew.survey import fetch
from click.testing import Result
from small_shops import Page, SmallShop, html, redirect
from typer.testing import CliRunner

ENVIRON = {"CLEW_SECRET": "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"}
SHOP = """
<nav><a href="/kaffee/">Kaffee</a></nav>
<a href="/p/aurora"><img src="/a.jpg">Aurora</a> <a href="/p/conica"><img src="/b.jpg">Conica</a>
<a href="/logout">Abmelden</a> <a href="https://elsewhere.example/p/x">x</a>
<form action="/suche"><input type="search" name="wort"></form>
<a class="minicart" href="/warenkorb">Warenkorb <span class="minicart-total">12,50 €</span>
<span class="minicart-count">2</span></a>
"""
PRODUCT = '<script type="application/ld+json">{"@type": "Product", "name": "Aurora"}</script>'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "clew.toml"


def run(shop: str, file: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["inspect", shop, "--output", str(file), *options])


def a_shop(**pages: Page) -> SmallShop:
    return SmallShop({"/": html(SHOP), **{f"/{name}": page for name, page in pages.items()}})


def test_an_unknown_shop_is_inspected_and_the_file_is_valid(file: Path) -> None:
    kinds = {"/kaffee/": html(SHOP), "/p/aurora": html(SHOP, PRODUCT), "/p/conica": html(SHOP, PRODUCT)}
    with SmallShop({"/": html(SHOP), "/warenkorb": html(SHOP), "/suche": html(SHOP), **kinds}) as shop:
        result = run(shop.address, file)
    assert result.exit_code == 0, result.output
    pages = ["/", "/kaffee/", "/p/aurora", "/warenkorb", "/suche?wort=a", "/p/conica"]
    assert shop.asked == ["/robots.txt", *pages]
    settings, problems = check(file, ENVIRON)
    assert problems == []
    assert settings is not None
    site = settings.sites[0]
    assert site.upstream == shop.address
    assert site.language == "de"
    assert site.page_types["/p/*"] == "product"
    assert site.page_types["/warenkorb"] == "cart"
    assert (site.cart.value, site.cart.items) == (".minicart-total", ".minicart-count")
    assert len([line for line in file.read_text().splitlines() if line and not line.startswith("#")]) <= 16


def test_links_with_side_effects_or_to_other_sites_are_not_followed(file: Path) -> None:
    with a_shop() as shop:
        run(shop.address, file, "--pages", "20")
    assert not [path for path in shop.asked if "logout" in path or "elsewhere" in path]


def test_no_more_pages_are_requested_than_allowed(file: Path) -> None:
    broken = "".join(f'<a href="/p/{n}"><img src="{n}.jpg"></a><a href="/c/{n}">{n}</a>' for n in range(30))
    with SmallShop({"/": html(broken)}) as shop:
        assert run(shop.address, file, "--pages", "5").exit_code == 0
    assert len([path for path in shop.asked if path != "/robots.txt"]) == 5


def test_a_page_that_is_reached_twice_counts_once(file: Path) -> None:
    with a_shop(warenkorb=redirect("/")) as shop:
        result = run(shop.address, file)
    assert "redirects to a page that was already read" in result.output


def test_invalid_addresses_are_skipped(file: Path) -> None:
    links = '<a href="http://["></a><a href="//["></a><a href="http://h:x/"></a><base href="http://[">'
    with SmallShop({"/": html(SHOP + links)}) as shop:
        assert run(shop.address, file).exit_code == 0


def test_an_existing_file_is_kept_and_the_shop_is_not_requested(file: Path) -> None:
    file.write_text("mine")
    with a_shop() as shop:
        result = run(shop.address, file)
        assert (result.exit_code, shop.asked, file.read_text()) == (1, [], "mine")
        assert "--force" in result.output
        assert run(shop.address, file, "--force").exit_code == 0
    assert "[[sites]]" in file.read_text()


def test_robots_txt_is_obeyed_unless_ignored_by_option(file: Path) -> None:
    rules = Page(b"User-agent: *\nDisallow: /p/\nDisallow: /warenkorb\n")
    with SmallShop({"/": html(SHOP), "/robots.txt": rules, "/warenkorb": html(SHOP)}) as shop:
        result = run(shop.address, file)
        assert not [path for path in shop.asked if path.startswith(("/p/", "/warenkorb"))]
        assert "robots.txt excludes programs" in result.output
        assert "--ignore-robots" in result.output
        run(shop.address, file, "--force", "--ignore-robots")
        assert "/warenkorb" in shop.asked


@pytest.mark.parametrize(
    ("home", "told"),
    [
        (html("", status=404), "status 404"),
        (html("", status=403), "status 403"),
        (
            html("Just a moment", "<title>Just a moment...</title>", status=403),
            "Cloudflare's challenge blocks programs",
        ),
        (
            html("", "", ("cf-mitigated", "challenge"), status=503),
            "Cloudflare's challenge blocks programs",
        ),
        (Page(b"", 401, (("WWW-Authenticate", "Basic"),)), "requires a user name and password"),
        (html("<form><input type=password></form>"), "only a login"),
        (
            Page(b'{"ok": 1}', 200, (("Content-Type", "application/json"),)),
            "application/json, not a web page",
        ),
        (redirect("/"), "redirects more than 10 times"),
        (redirect("http://elsewhere.example/"), "redirects to another site, http://elsewhere.example/"),
        (redirect("ftp://127.0.0.1/"), "redirects to another site"),
        (Page(b""), "no readable content"),
    ],
)
def test_a_shop_that_cannot_be_inspected_is_reported_with_what_to_do(
    home: Page, told: str, file: Path
) -> None:
    with SmallShop({"/": home}) as shop:
        result = run(shop.address, file)
    assert result.exit_code == 1
    assert told in result.output
    assert "→ " in result.output
    assert not file.exists()


def test_a_redirect_within_the_shop_is_followed_and_reported(file: Path) -> None:
    with SmallShop({"/": redirect("/de/"), "/de/": html(SHOP)}) as shop:
        result = run(shop.address, file)
    assert result.exit_code == 0
    assert f"redirected from {shop.address}/" in result.output


def test_refused_unresolvable_and_non_tls_hosts_have_different_errors(file: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    refused = run(f"http://127.0.0.1:{port}", file)
    assert (refused.exit_code, "connection refused" in refused.output) == (1, True)
    unknown = run("http://shop.invalid", file)
    assert (unknown.exit_code, "host not found" in unknown.output) == (1, True)
    with a_shop() as shop:
        plain = run(f"https://127.0.0.1:{shop.port}", file)
    assert (plain.exit_code, "does not accept TLS" in plain.output) == (1, True)


def test_a_certificate_that_cannot_be_trusted_says_so(file: Path, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run([*make, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with a_shop() as shop:
        shop._server.socket = context.wrap_socket(shop._server.socket, server_side=True)
        result = run(f"https://127.0.0.1:{shop.port}", file)
    assert result.exit_code == 1
    assert "certificate is not valid" in result.output


@pytest.mark.parametrize(
    "url",
    ["ftp://shop.example", "https://", "https://user:pw@shop.example", "http://shop example/", "http://h:0/"],
)
def test_an_invalid_shop_address_is_a_wrong_argument(url: str, file: Path) -> None:
    assert run(url, file).exit_code == 2


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html")
    handler.end_headers()
    handler.wfile.write(b"<!doctype html><html><head><title>x</title></head><body>")
    while True:
        handler.wfile.write(b"<p>more</p>" * 5000)


def test_an_endless_page_is_read_up_to_the_bound(file: Path) -> None:
    with SmallShop({"/": Page(writes=endless)}) as shop:
        result = run(shop.address, file, "--pages", "1")
    assert result.exit_code == 0, result.output
    assert f"{fetch.PAGE // 1024} KB of it" in result.output


def test_a_page_of_8_mb_is_read_up_to_the_bound(file: Path) -> None:
    with SmallShop({"/": html("<p>long</p>" * 762_600)}) as shop:
        result = run(shop.address, file, "--pages", "1")
    assert result.exit_code == 0, result.output
    assert f"{fetch.PAGE // 1024} KB of it" in result.output


def test_a_gzip_bomb_costs_no_more_than_the_bound(file: Path) -> None:
    bomb = gzip.compress(b"<!doctype html><html><head></head>" + bytes(64 << 20))
    packed = Page(bomb, 200, (("Content-Type", "text/html"), ("Content-Encoding", "gzip")))
    with SmallShop({"/": packed}) as shop:
        result = run(shop.address, file, "--pages", "1")
    assert result.exit_code == 0, result.output
    assert f"{fetch.PAGE // 1024} KB of it" in result.output


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (html("x", "", ("Content-Security-Policy", "script-src 'none'")), "(`script-src`) forbids scripts"),
        (html("x", "", ("Content-Security-Policy", "sandbox")), "`sandbox` without `allow-scripts`"),
        (html("x", "", ("Cache-Control", "public, no-transform")), "no-transform"),
        (Page(b"<!doctype html><html amp><head></head><body>x</body></html>"), "AMP page"),
        (
            Page(
                b"<html xmlns='http://www.w3.org/1999/xhtml'><head/><body>x</body></html>",
                200,
                (("Content-Type", "application/xhtml+xml"),),
            ),
            "not sent as text/html",
        ),
    ],
)
def test_obstacles_to_the_tag_are_reported_with_exit_status_3(page: Page, told: str, file: Path) -> None:
    with SmallShop({"/": page}) as shop:
        result = run(shop.address, file, "--pages", "1")
    assert result.exit_code == 3, result.output
    assert told in result.output
    assert check(file, ENVIRON)[1] == []


def test_control_characters_of_a_shop_reach_neither_terminal_nor_file(file: Path) -> None:
    evil = "\x1b]0;owned\x07\u202e[bold red]"
    span = f'<span class="cart-total{evil}" id=\'"]\nsecret = "x\'>1,00 € {evil}</span>'
    body = f'<a href="/cart/{evil}">{span}</a>'
    head = f'<meta name=generator content="WooCommerce {evil}"><base href="https://{evil}/">'
    with SmallShop({"/": html(body, head)}) as shop:
        result = run(shop.address, file)
    assert result.exit_code == 0, result.output
    written = file.read_text(encoding="utf-8")
    for text in (result.output, written):
        assert not {c for c in text if not c.isprintable()} - {"\n"}
    assert "[bold red]" in result.output
    assert [line for line in written.splitlines() if line.startswith("secret")] == [
        'secret = "env:CLEW_SECRET"  # at least 32 characters; clew check proposes one'
    ]
    assert check(file, ENVIRON)[1] == []


def test_other_chats_and_networks_tags_are_named(file: Path) -> None:
    head = '<script src="https://client.crisp.chat/l.js"></script><script src="https://www.dwin1.com/19.js"></script>'
    with SmallShop({"/": html(SHOP, head)}) as shop:
        result = run(shop.address, file, "--pages", "1")
    assert "another chat is on the pages: Crisp" in result.output
    assert "tags of networks: awin" in result.output
    assert '# network = "awin"' in file.read_text()


def test_the_server_loads_neither_beautifulsoup_nor_an_editor() -> None:
    code = "import clew.cli, clew.middleware.serve.server, sys; sys.exit(bool({others} & set(sys.modules)))"
    code = code.format(others={"bs4", "prompt_toolkit"})
    assert subprocess.run([sys.executable, "-c", code], cwd="/").returncode == 0


def test_a_start_looks_for_no_garbage_in_what_it_imports() -> None:
    """To look takes as long as the imports themselves."""
    code = "import clew.__main__, gc; print(gc.get_stats()[2]['collections'], gc.isenabled())"
    done = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=True)
    assert done.stdout == "0 True\n"


def test_another_host_name_used_by_the_shop_is_reported_and_can_be_used(file: Path) -> None:
    """field C7"""
    links = "".join(f'<a href="https://www.tea.example/p/{n}"><img src="{n}.jpg">x</a>' for n in range(5))
    pages = {"/": html(links), **{f"/p/{n}": html(links, PRODUCT) for n in range(5)}}
    with SmallShop(pages) as shop:
        alone = run(shop.address, file)
        assert alone.exit_code == 0, alone.output
        assert "the shop calls itself https://www.tea.example: its links lead there" in alone.output
        assert f"clew inspect {shop.address} --host www.tea.example" in alone.output
        assert "nothing keeps clew's tag out" not in alone.output
        assert [path for path in shop.asked if path.startswith("/p/")] == []
        named = run(shop.address, file, "--host", "www.tea.example", "--force")
        assert named.exit_code == 0, named.output
        assert [path for path in shop.asked if path.startswith("/p/")] != []
    assert "calls itself" not in named.output
    settings, _ = check(file, ENVIRON)
    assert settings is not None
    site = settings.sites[0]
    assert (site.name, site.hosts, site.upstream) == ("tea.example", ["www.tea.example"], shop.address)


def test_a_platform_by_one_sign_is_a_guess_and_marked_so(file: Path) -> None:
    """field G19"""
    with SmallShop({"/": html("<span id=cart-total>2</span>", "<title>Tea &amp; More</title>")}) as shop:
        result = run(shop.address, file, "--pages", "1")
    assert "? platform: perhaps opencart (a guess)" in result.output
    assert "✓ platform" not in result.output
    text = file.read_text()
    assert '# platform = "opencart"' in text
    assert "127.0.0.1" not in text.partition("upstream")[0].partition("[[sites]]")[2]


def test_the_chat_of_a_shop_is_named_with_its_ids_and_what_policies_forbid_of_it(file: Path) -> None:
    website = "5f9d3b0c-8a7e-4d5c-9b3a-29181706f5e4"
    head = (
        f'<script>window.$crisp=[];window.CRISP_WEBSITE_ID="{website}";</script>'
        '<script src="https://client.crisp.chat/l.js"></script>'
        """<meta http-equiv="Content-Security-Policy" content="frame-src 'self'">"""
    )
    policy = ("Content-Security-Policy", "connect-src 'self' https://client.crisp.chat")
    with SmallShop({"/": html(SHOP, head, policy)}) as shop:
        output = run(shop.address, file, "--pages", "1").output
    assert f'provider = "crisp", ids = {{ website_id = "{website}" }}' in output
    assert (
        "a policy (connect-src) forbids https://client.relay.crisp.chat wss://client.relay.crisp.chat"
        in output
    )
    assert "a policy (frame-src) forbids https://game.crisp.chat, which Crisp needs" in output


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ('<script src="https://code.tidio.co/abcdefghijklmnopqrstuvwxyz012345.js"></script>', "public_key"),
        (
            '<script>__lc = {}; __lc.license = 1520;</script><script src="https://cdn.livechatinc.com/tracking.js"></script>',
            'license = "1520"',
        ),
        (
            '<script src="https://embed.tawk.to/5f9d3b0c8a7e6d5c4b3a2918/1hg2"></script>',
            'property_id = "5f9d3b0c8a7e6d5c4b3a2918", widget_id = "1hg2"',
        ),
        (
            '<script src="https://static.zdassets.com/ekr/snippet.js?key=5f9d3b0c-8a7e-4d5c-9b3a-29181706f5e4"></script>',
            'provider = "zendesk_messaging"',
        ),
        ('<script src="https://widget.intercom.io/widget/ab12cd34"></script>', 'app_id = "ab12cd34"'),
    ],
)
def test_ids_of_chats_are_read_from_their_loaders(file: Path, script: str, expected: str) -> None:
    with SmallShop({"/": html(SHOP, script)}) as shop:
        output = run(shop.address, file, "--pages", "1").output
    assert expected in output
