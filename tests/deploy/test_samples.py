"""The samples in `deploy/`, each started as far as it can be here; the access log and the log's level."""

import json
import os
import re
import shlex
import shutil
import ssl
import subprocess
from pathlib import Path

import httpx2
import pytest
import yaml
from certificates import certificate
from clew.cli import app
from clew.settings.model import Settings
from clews import ClewFolder, ClewServe, events
from cryptography import x509
from processes import Program, free_port
from raw_http import Shop
from typer.testing import CliRunner
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

DEPLOY = Path(__file__).parents[2] / "deploy"
PAGE = b"<!doctype html><html><head></head><body>Tea</body></html>"
HTML = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (len(PAGE), PAGE)
SETTINGS = """
secret = "env:CLEW_SECRET"
log = "json"
trusted_proxies = ["127.0.0.1", "::1"]
[[sites]]
name = "shop"
hosts = ["shop.example"]
upstream = "{upstream}"
[[sites.partners]]
id = "blog"
param = "ref"
postback = "http://127.0.0.1:9/?c={{click_id}}"
"""


def nginx(folder: Path, clew: int) -> tuple[int, list[str]]:
    """The sample with ports and certificate of this machine: the port, and the command."""
    port, pem = free_port(), certificate(folder, x509.DNSName("shop.example"))
    text = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    for old, new in (
        ("127.0.0.1:8080", f"127.0.0.1:{clew}"),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/shop.example.pem", str(pem)),
        ("/etc/ssl/private/shop.example.key", str(pem)),
    ):
        assert old in text
        text = text.replace(old, new)
    paths = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole = folder / "nginx.conf"
    whole.write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{paths}{text}\n}}\n"
    )
    binary = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if binary is None:
        pytest.skip("nginx is not installed; `make test` installs it")
    subprocess.run([binary, "-t", "-c", whole], check=True, capture_output=True)
    return port, [binary, "-c", str(whole)]


@pytest.mark.timeout(300)
async def test_a_real_nginx_with_the_sample_in_front_of_clew(tmp_path: Path) -> None:
    """field G12: Secure cookies, https for the shop, and WebSockets"""

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    seen: list[dict[str, str]] = []

    def page(connection: ServerConnection, request: object) -> object:
        headers = request.headers  # type: ignore[attr-defined]
        seen.append({k.lower(): v for k, v in headers.raw_items()})
        if headers.get("upgrade"):
            return None
        answer = connection.respond(200, PAGE.decode())
        del answer.headers["Content-Type"]
        answer.headers["Content-Type"] = "text/html"
        return answer

    async with serve(echo, "127.0.0.1", 0, process_request=page) as shop:  # type: ignore[arg-type]
        upstream = f"http://127.0.0.1:{next(iter(shop.sockets)).getsockname()[1]}"
        folder = ClewFolder(tmp_path / "clew", SETTINGS.format(upstream=upstream))
        with ClewServe(folder) as clew:
            port, command = nginx(tmp_path, clew.port)
            with Program(command) as front:
                front.wait_for_port(port)
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                async with httpx2.AsyncClient(verify=context) as browser:
                    address, headers = f"https://127.0.0.1:{port}/?ref=c1", {"Host": "shop.example"}
                    answer = await browser.get(address, headers={**headers, "Accept": "text/html"})
                assert b"/-/clew/l.js" in answer.content
                cookies = answer.headers.get_list("set-cookie")
                assert any("clew_visitor=" in cookie for cookie in cookies)
                assert all("; secure" in cookie.lower() for cookie in cookies)
                assert seen[-1]["x-forwarded-proto"] == "https"
                assert not events(clew, "proxy_untrusted")
                url = f"wss://shop.example:{port}/live"
                async with connect(url, ssl=context, host="127.0.0.1", port=port, proxy=None) as socket:
                    await socket.send("tea")
                    assert await socket.recv() == "tea"


def options_of_serve() -> str:
    return CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"}).output


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """field G12"""
    text = (DEPLOY / "clew.service").read_text(encoding="utf-8")
    (start,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    command = shlex.split(start)[1:]
    assert command[0] == "serve"
    options = options_of_serve()
    assert all(word in options for word in command if word.startswith("--"))
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd is not installed")
    unit = tmp_path / "clew.service"
    # The program is not in /opt here; that is all that may differ.
    unit.write_text(text.replace("/opt/clew/bin/clew", "/bin/true").replace("file:///opt/clew", "man:true"))
    done = subprocess.run([analyze, "verify", "--man=no", unit], capture_output=True, text=True)
    # Complaints about other units of this machine name those.
    assert [line for line in done.stderr.splitlines() if "clew.service" in line] == []
    assert done.returncode == 0 or "clew.service" not in done.stderr


def test_the_container_files_can_be_parsed() -> None:
    """field G12: read, not run; no image can be fetched where the tests run"""
    lines = (DEPLOY / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    known = {"FROM", "COPY", "RUN", "USER", "WORKDIR", "VOLUME", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD"}
    assert {step for step, _ in steps} <= known | {"HEALTHCHECK"}
    said = dict(steps)
    assert said["USER"] != "root"
    command = json.loads(said["CMD"])
    options = options_of_serve()
    assert all(word in options for word in command if word.startswith("--"))
    assert all(not image.endswith((":latest", "python")) for step, image in steps if step == "FROM")
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    service = compose["services"]["clew"]
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert {v.partition(":")[0] for v in service["volumes"] if not v.startswith(".")} == set(
        compose["volumes"]
    )


async def test_the_access_log_has_a_line_a_request_without_secrets(tmp_path: Path) -> None:
    """field G12"""

    async def script(shop: Shop, reader: object, writer: object) -> None:
        while True:
            await shop.request(reader)  # type: ignore[arg-type]
            writer.write(HTML)  # type: ignore[attr-defined]

    async with Shop(script) as shop:
        folder = ClewFolder(tmp_path / "clew", SETTINGS.format(upstream=shop.url))
        with ClewServe(folder, ["--access-log"]) as clew:
            host = {"Host": "shop.example"}
            async with httpx2.AsyncClient(headers=host) as browser:
                await browser.get(f"{clew.address}/reset?token=SECRET1&ref=clickid-1234567890")
                await browser.get(f"{clew.address}/-/clew/health")
                await browser.get(f"{clew.address}/", headers={"Host": "other.example"})
            clew.wait_for_line(lambda line: len(events(clew, "request")) == 3)
            page, health, other = events(clew, "request")
    assert (page["site"], page["method"], page["status"]) == ("shop", "GET", 200)
    assert page["path"].startswith("/reset?")
    assert "SECRET1" not in page["path"]
    assert "1234567890" not in page["path"]
    assert 0 < page["ms"] < 60_000
    assert (health["path"], health["status"]) == ("/-/clew/health", 200)
    assert (other["site"], other["host"], other["status"]) == ("", "other.example", 421)


def test_the_log_level_can_be_raised(tmp_path: Path) -> None:
    """field G12"""
    text = SETTINGS.format(upstream="http://127.0.0.1:9").replace(
        "[[sites]]", 'log_level = "warning"\n[[sites]]', 1
    )
    with ClewServe(ClewFolder(tmp_path / "clew", text)) as clew:
        clew.wait_for_line(lambda line: "clew listens on" in line)
        assert events(clew, "started") == []


@pytest.mark.parametrize("name", ["clew.service", "compose.yaml"])
def test_each_sample_names_every_file_that_is_written(name: str) -> None:
    """field G12: beside the settings, where relative paths begin, nothing can be written."""
    text = (DEPLOY / name).read_text(encoding="utf-8")
    written = [key for key in ("store", "ledger") if f'#   {key} = "sqlite:/var/lib/clew/' in text]
    paths = [key for key, field in Settings.model_fields.items() if str(field.default).startswith("sqlite:")]
    assert sorted(written) == sorted(paths)
