"""The figures and the operations listener of a running `clew serve`, with one worker and with several."""

import os
import re
import signal
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx2
import pytest
from clews import ClewFolder, ClewProgram, ClewServe, events
from processes import free_port
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.timeout(300)

PAGE = b"<!doctype html><html><head><title>T</title></head><body>Hello</body></html>"


class Handler(BaseHTTPRequestHandler):
    """A shop of one page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *arguments: object) -> None:
        """Silence."""


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    # A connection that clew only tries is never ended by itself.
    server.block_on_close = False
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def folder(path: Path, shop: str) -> ClewFolder:
    text = f"""
secret = "env:CLEW_SECRET"
log = "json"
desk_host = "desk.example"
[[sites]]
name = "shop"
hosts = ["shop.example"]
upstream = "{shop}"
[[sites]]
name = "down"
hosts = ["down.example"]
upstream = "http://127.0.0.1:9"
"""
    return ClewFolder(path, text)


def visit(clew: ClewServe, times: int) -> None:
    """Navigations, each on a connection of its own, so that the workers share them."""
    for _ in range(times):
        headers = {"Host": "shop.example", "Accept": "text/html"}
        assert b"l.js" in httpx2.get(f"{clew.address}/", headers=headers).content


def figures(port: int) -> dict[tuple[str, str], float]:
    """Name and labels → value, of the metrics of the operations listener."""
    answer = httpx2.get(f"http://127.0.0.1:{port}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = {}
    for family in text_string_to_metric_families(answer.text):
        assert family.documentation
        for sample in family.samples:
            key = sample.name, ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()) if k != "pid")
            assert key not in found or sample.name.startswith("process_")
            found[key] = sample.value
    return found


PAGES = "clew_responses_total", "outcome=edit,reason=,site=shop"
TIMED = "clew_page_duration_seconds_count", "outcome=edit,site=shop"


@pytest.mark.parametrize("workers", [1, 2])
def test_metrics_are_of_all_workers_and_never_decrease(tmp_path: Path, shop: str, workers: int) -> None:
    """field G7"""
    port = free_port()
    options = ["--workers", str(workers), "--ops", f"127.0.0.1:{port}"]
    with ClewServe(folder(tmp_path / "clew", shop), options) as clew:
        clew.wait_for_line(lambda line: len(events(clew, "started")) == workers)
        visit(clew, 12)
        # Whoever answers tells the same.
        for _ in range(6):
            found = figures(port)
            assert (found[PAGES], found[TIMED]) == (12, 12)
        pids = set(
            re.findall(
                r'process_start_time_seconds\{pid="(\d+)"\}',
                httpx2.get(f"http://127.0.0.1:{port}/metrics").text,
            )
        )
        assert len(pids) == workers
        assert found["clew_postbacks", "site=down,state=dead"] == 0
        assert found["clew_ledger_up", ""] == 1
        assert any(name == "clew_build_info" for name, _ in found)
        assert not any(name.endswith("_created") for name, _ in found)
        if workers > 1:
            os.kill(victim := int(min(pids)), signal.SIGKILL)
            clew.wait_for_line(lambda line: f"worker {victim} ended" in line)
            assert figures(port)[PAGES] == 12
            visit(clew, 4)
            assert figures(port)[PAGES] == 16


@pytest.mark.parametrize("workers", [1, 2])
def test_a_removed_site_has_no_figures_and_begins_at_zero_when_it_comes_back(
    tmp_path: Path, shop: str, workers: int
) -> None:
    port = free_port()
    options = ["--workers", str(workers), "--ops", f"127.0.0.1:{port}"]
    place = folder(tmp_path / "clew", shop)
    with ClewServe(place, options) as clew:
        clew.wait_for_line(lambda line: len(events(clew, "started")) == workers)
        visit(clew, 6)
        httpx2.get(f"{clew.address}/", headers={"Host": "down.example", "Accept": "text/html"})

        def of(site: str) -> dict[tuple[str, str], float]:
            return {
                key: value
                for key, value in figures(port).items()
                if f"site={site}" in key[1].split(",") and "postbacks" not in key[0]
            }

        others = {key: value for key, value in of("down").items() if value}
        assert len(others) > 1
        assert of("shop")[PAGES] == 6
        if workers > 1:
            # What they counted stays in their files.
            pids = re.findall(
                r'process_start_time_seconds\{pid="(\d+)"\}',
                httpx2.get(f"http://127.0.0.1:{port}/metrics").text,
            )
            for pid in pids:
                os.kill(int(pid), signal.SIGKILL)
            clew.wait_for_line(lambda line: len(events(clew, "started")) == 2 * workers)
            assert of("shop")[PAGES] == 6
        text = place.settings.read_text()
        place.settings.write_text(text.replace('"shop"', '"new"').replace("shop.example", "new.example"))
        place.run("reload")
        for _ in range(3):
            assert of("shop") == {}
        place.settings.write_text(text)
        place.run("reload")
        # Those of workers that have ended are set to 0 right after the reload.
        while any(of("shop").values()):
            pass
        visit(clew, 2)
        assert of("shop")[PAGES] == of("shop")[TIMED] == 2
        assert {key: value for key, value in of("down").items() if value} == others


def test_operations_have_an_address_of_their_own(tmp_path: Path, shop: str) -> None:
    """field G8: whatever the Host, and beside the paths under the prefix"""
    port = free_port()
    place = folder(tmp_path / "clew", shop)
    text = place.settings.read_text()
    place.settings.write_text(text.replace("[[sites]]", f'ops = "127.0.0.1:{port}"\n[[sites]]', 1))
    with ClewServe(place) as clew:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as ops:
            assert ops.get("/health").text == "ok\n"
            ready = ops.get("/ready")
            assert (ready.status_code, ready.json()["ready"]) == (200, True)
            sites = ready.json()["sites"]
            assert {name: told["shop_reachable"] for name, told in sites.items()} == {
                "shop": True,
                "down": False,
            }
            assert sites["shop"]["postbacks"]["due"] == 0
            down = ops.get("/ready", params={"site": "down"})
            assert (down.status_code, down.json()["why"]) == (503, "the shop cannot be reached")
            assert ops.get("/ready", params={"site": "x"}).status_code == 404
            assert ops.get("/", headers={"Host": "shop.example"}).status_code == 404
            assert ops.get("/metrics/").status_code == 404
        shop_host = {"Host": "shop.example"}
        assert httpx2.get(f"{clew.address}/-/clew/metrics", headers=shop_host).status_code == 200
        assert httpx2.get(f"{clew.address}/metrics", headers=shop_host).content != b""
        assert clew.end() == 0, "told to stop, it has not failed"


def test_an_operations_port_in_use_is_reported(tmp_path: Path, shop: str) -> None:
    """field G8"""
    place = folder(tmp_path / "clew", shop)
    command = ["serve", "--config", str(place.settings), "--port", "0"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with ClewProgram([*command, "--ops", address], environ=place.environ, cwd=place.path) as clew:
            assert clew.wait(60) == 3
            clew.wait_for_line(lambda line: f"cannot listen on {address}: " in line)


@pytest.mark.parametrize("value", ["9180", "127.0.0.1", "127.0.0.1:x", "::1:9180", "127.0.0.1:99999"])
def test_what_is_no_address_is_refused(tmp_path: Path, shop: str, value: str) -> None:
    """field G8"""
    with pytest.raises(AssertionError, match="is not an address and port"):
        folder(tmp_path / "clew", shop).run("serve", "--ops", value)
