"""`clew mitm` where it cannot begin; the rest is in tests/middleware/mitm/test_mitm.py."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from clew.cli import app
from clew.cli import mitm as mitm_cli
from clews import ClewFolder
from processes import free_port
from typer.testing import CliRunner

SETTINGS = """
secret = "env:CLEW_SECRET"

[[sites]]
name = "shop"
hosts = ["shop.example"]
"""


def test_without_mitmproxy_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mitm_cli, "find_mitmdump", lambda: None)
    done = CliRunner().invoke(app, ["mitm", "https://shop.example"])
    assert done.exit_code == 1
    assert "pip install --no-deps -r requirements-mitmproxy.txt" in done.output


@pytest.mark.parametrize(
    "url", ["unix:/run/shop.sock", "ftp://shop.example", "https://", "https://shop:x/", "a b"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    done = CliRunner().invoke(app, ["mitm", url])
    assert done.exit_code == 1
    assert "write for example https://shop.example" in done.output


def test_errors_of_the_settings_file_are_printed_before_anything_starts(tmp_path: Path) -> None:
    config = tmp_path / "clew.toml"
    config.write_text("secret = 'short'\n")
    done = CliRunner().invoke(app, ["mitm", "https://shop.example", "--config", str(config)])
    assert done.exit_code == 1


def run(*arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "clew", "mitm", *arguments]
    return subprocess.run(
        command, env={**os.environ, **(environ or {})}, capture_output=True, text=True, timeout=60
    )


def test_a_settings_file_without_the_shop_is_an_error_with_what_to_do(tmp_path: Path) -> None:
    folder = ClewFolder(tmp_path, SETTINGS)
    options = ["--config", str(folder.settings), "--port", str(free_port())]
    done = run("https://other.example", *options, environ=folder.environ)
    assert done.returncode == 1
    assert "has no site for other.example: add it to a site's `hosts`" in done.stdout + done.stderr


def test_a_port_in_use_ends_the_start_with_a_message() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("https://shop.example", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "address already in use" in done.stdout + done.stderr
