"""clew beside nginx `sub_filter` and mitmdump with an equivalent addon: a page of 100 KB through each.

The server under test has one core, its upstream (nginx, files in memory) and wrk the other. The servers take
turns in every round, in an order drawn anew, so that a machine that gets slower hits all alike. clew does its
whole work: it opens the visitor's cookie, its rules and partners are set, and the page is a navigation.
"""

import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from clew.injector.tag import tag
from clew.referral.cookie import Known, VisitorCookie, new_visitor_id
from clew.referral.touches import Click, Touch

SERVER_CORE, LOAD_CORE = ("0", "1") if (os.cpu_count() or 1) > 1 else ("0", "0")
CONNECTIONS = 32
PAGE_BYTES = 100 * 1024
SECRET = "for the bench alone, and thirty-two characters at least"
ROOT = Path(__file__).parent.parent
TAG = tag("/-/clew/").decode()

NGINX = """
daemon off; worker_processes 1; pid {dir}/{name}.pid; error_log {dir}/{name}.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; types {{ text/html html; }}
  client_body_temp_path {dir}/{name}-b; proxy_temp_path {dir}/{name}-p; fastcgi_temp_path {dir}/{name}-f;
  uwsgi_temp_path {dir}/{name}-u; scgi_temp_path {dir}/{name}-s;
  {upstream}
  server {{ listen 127.0.0.1:{port} backlog=4096; {server} }}
}}
"""

CLEW = """
secret = "{secret}"
log = "json"

[[sites]]
name = "bench"
upstream = "http://127.0.0.1:{upstream}"
compress = false

[[sites.partners]]
id = "awin"
network = "awin"
settings = {{ advertiser_id = "1001", api_key = "unused" }}

[[sites.rules]]
name = "wait"
when = ["visit.seconds >= 90", "agents.online > 0", "visit.pages >= 2"]
action = "invite"
"""

MITM_ADDON = """
TAG = {tag!r}.encode()

class Insert:
    def responseheaders(self, flow):
        if flow.response.headers.get("content-type", "").startswith("text/html"):
            length = int(flow.response.headers["content-length"])
            flow.response.headers["content-length"] = str(length + len(TAG))
            flow.response.stream = Page()

class Page:
    def __init__(self):
        self.done = False

    def __call__(self, chunk):
        if not self.done and (at := chunk.find(b"<head>")) >= 0:
            self.done = True
            return chunk[: at + 6] + TAG + chunk[at + 6 :]
        return chunk

addons = [Insert()]
"""


@dataclass
class Server:
    """A server under test: where it listens, and the process whose CPU time counts, with its children."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    rates: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def page(seed: int) -> bytes:
    """A page of 100 KB with the look of a shop's: head, words, links."""
    rng = random.Random(seed)
    words = [
        "espresso",
        "grinder",
        "filter",
        "water",
        "steam",
        "crema",
        "portafilter",
        "bean",
        "roast",
        "cup",
    ]
    parts = ["<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Shop</title></head><body>"]
    size = len(parts[0])
    while size < PAGE_BYTES - 20:
        text = f"<p><a href='/p/{rng.randrange(9999)}'>{' '.join(rng.choices(words, k=12))}</a></p>\n"
        parts.append(text)
        size += len(text)
    return ("".join(parts)[: PAGE_BYTES - 14] + "</body></html>").encode()


@contextmanager
def running(command: list[str], core: str, port: int, folder: Path):
    """A process on one core, until it answers on its port; ended with all its children."""
    with (folder / f"{port}.out").open("wb") as log:
        process = subprocess.Popen(
            ["taskset", "-c", core, *command], stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
    try:
        wait_for(port, process, folder / f"{port}.out")
        yield process
    finally:
        os.killpg(process.pid, 15)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when something listens; fail with the log when it never does."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with socket.socket() as sock:
            sock.settimeout(1)
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"a server did not come up:\n{log.read_text(errors='replace')}")


def nginx(name: str, folder: Path, server: str, upstream: str = "") -> tuple[list[str], int]:
    """The command and the port of an nginx with this `server` block."""
    port = free_port()
    config = folder / f"{name}.conf"
    config.write_text(NGINX.format(dir=folder, name=name, port=port, server=server, upstream=upstream))
    return [shutil.which("nginx") or "/usr/sbin/nginx", "-p", str(folder), "-c", str(config)], port


def commands(upstream: int, folder: Path) -> dict[str, tuple[list[str], int]]:
    """How to start each server under test."""
    shop = f"upstream shop {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000; }}"
    forward = 'proxy_pass http://shop; proxy_http_version 1.1; proxy_set_header Connection "";'
    sub = f"location / {{ {forward} sub_filter '<head>' '<head>{TAG}'; sub_filter_once on; }}"
    (folder / "clew.toml").write_text(CLEW.format(secret=SECRET, upstream=upstream))
    (folder / "addon.py").write_text(MITM_ADDON.format(tag=TAG))
    clew, mitm = free_port(), free_port()
    mitmdump = str(ROOT / ".venv/mitmproxy/bin/mitmdump")
    return {
        "clew": ([sys.executable, "-m", "clew", "serve", "--config", "clew.toml", "--port", str(clew)], clew),
        "nginx sub_filter": nginx("sub", folder, sub, shop),
        "mitmdump": (
            f"{mitmdump} -q --mode reverse:http://127.0.0.1:{upstream} --listen-host 127.0.0.1 "
            f"--listen-port {mitm} --set keep_host_header=true --scripts addon.py".split(),
            mitm,
        ),
    }


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """CPU time so far of all processes of the group that `process` leads (proc(5), /proc/pid/stat)."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(fields[2]) == process.pid:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def load(server: Server, seconds: int, headers: list[str]) -> tuple[float, float]:
    """Requests a second and CPU microseconds a request, over one round. Errors end the benchmark."""
    before = cpu_seconds(server.process)
    out = subprocess.run(
        [
            *("taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"),
            *headers,
            f"http://127.0.0.1:{server.port}/page.html",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    used = cpu_seconds(server.process) - before
    requests = int(re.search(r"(\d+) requests in", out)[1])
    if "Non-2xx" in out or "Socket errors" in out or requests == 0:
        raise SystemExit(f"{server.name} answered wrongly:\n{out}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]), used / requests * 1e6


def same_page(server: Server, wanted: bytes, headers: list[str]) -> None:
    """Fail unless a server gives the page with the tag in it, and nothing else changed."""
    sent = [part for header in headers[1::2] for part in ("-H", header)]
    got = subprocess.run(
        ["curl", "-s", *sent, f"http://127.0.0.1:{server.port}/page.html"], capture_output=True, check=True
    ).stdout
    if got.count(TAG.encode()) != 1 or got.replace(TAG.encode(), b"") != wanted:
        raise SystemExit(f"{server.name} does not give the page with the tag: {got[:300]!r}")


def cookie_header() -> str:
    """The cookie of a visitor with a partner's click, as clew would have set it."""
    now = int(time.time())
    click = Click("awin", "awc", f"1001_{now}_0123456789abcdef", "awin")
    cookie = VisitorCookie(SECRET, [], "bench", None)
    known = Known(new_visitor_id(), (Touch(now, (click,), {"utm_source": "blog"}, "", "/page.html"),), now)
    return cookie.set_cookie(known, False).decode().partition(";")[0]


def bench_proxy(seed: int, rounds: int, seconds: int) -> tuple[dict[str, float], str]:
    """The figures and the table."""
    rng = random.Random(seed)
    body = page(seed)
    headers = [
        "-H",
        "Sec-Fetch-Dest: document",
        "-H",
        "Sec-Fetch-Mode: navigate",
        "-H",
        f"Cookie: {cookie_header()}",
    ]
    with tempfile.TemporaryDirectory(prefix="clew-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "www").mkdir()
        (folder / "www/page.html").write_bytes(body)
        folder.chmod(0o755)
        start, upstream = nginx("upstream", folder, f"root {folder}/www; open_file_cache max=100;")
        stack.enter_context(running(start, LOAD_CORE, upstream, folder))
        servers = []
        for label, (command, port) in commands(upstream, folder).items():
            process = stack.enter_context(running(command, SERVER_CORE, port, folder))
            servers.append(Server(label, port, process))
        for server in servers:
            same_page(server, body, headers)
            load(server, 1, headers)
        for _ in range(rounds):
            for server in rng.sample(servers, len(servers)):
                rate, cpu = load(server, seconds, headers)
                server.rates.append(rate)
                server.cpu_us.append(cpu)
    return figures(servers), table(servers, rounds, seconds)


def ratios(one: Server, other: Server) -> list[float]:
    """The ratio of rates, round by round."""
    return [a / b for a, b in zip(one.rates, other.rates, strict=True)]


def figures(servers: list[Server]) -> dict[str, float]:
    """The keys of results.json."""
    clew, sub, mitm = servers
    return {
        "html100k_vs_nginx_sub": round(statistics.median(ratios(clew, sub)), 3),
        "html100k_vs_mitmdump": round(statistics.median(ratios(clew, mitm)), 2),
        "html100k_cpu_us": round(statistics.median(clew.cpu_us), 1),
    }


def table(servers: list[Server], rounds: int, seconds: int) -> str:
    """The table for people."""
    clew = servers[0]
    lines = [
        f"## A page of 100 KB, {CONNECTIONS} connections, one core for the server",
        "",
        f"{rounds} rounds of {seconds} s, servers in turn; median (lowest to highest).",
        "",
        "| server | requests a second | CPU µs a request | clew's rate to this one's |",
        "|---|---|---|---|",
    ]
    for server in servers:
        ratio = ratios(clew, server)
        lines.append(
            f"| {server.name} | {spread(server.rates, '.0f')} | {spread(server.cpu_us, '.0f')} "
            f"| {spread(ratio, '.2f')} |"
        )
    return "\n".join(lines) + "\n"


def spread(values: list[float], form: str) -> str:
    """Median with lowest and highest."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"
