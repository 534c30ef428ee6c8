"""The servers that are compared: clew, and other ways to insert a tag into a shop's pages."""

import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from processes import free_port
from visitors import SECRET, SITE
from workloads import HOST, TAG, tagged, tagged_at_end

BENCH = Path(__file__).parent
_LIBRARIES = ("uvicorn", "uvloop", "httptools", "starlette", "httpx", "httpx2", "beautifulsoup4")
MITMDUMP = BENCH.parent / ".venv/mitmproxy/bin/mitmdump"
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"

_NGINX = """
daemon off; worker_processes 1; worker_rlimit_nofile 8192; pid {dir}/{name}.pid; error_log {dir}/{name}.err;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  types {{ text/html html; application/json json; image/jpeg jpg; application/octet-stream bin; }}
  client_body_temp_path {dir}/{name}-b; proxy_temp_path {dir}/{name}-p; fastcgi_temp_path {dir}/{name}-f;
  uwsgi_temp_path {dir}/{name}-u; scgi_temp_path {dir}/{name}-s;
  upstream shop {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000; }}
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
  {http}
  server {{ listen 127.0.0.1:{port} backlog=4096; {server} }}
}}
"""

_CLEW = """
secret = "{secret}"
log = "json"

[upstream]
connections = 1600

[[sites]]
name = "{site}"
hosts = ["{host}"]
upstream = "http://127.0.0.1:{upstream}"

[[sites.partners]]
id = "awin"
network = "awin"
settings = {{ advertiser_id = "1001", api_key = "unused" }}

[[sites.rules]]
name = "wait"
when = ["visit.seconds >= 90", "agents.online > 0", "visit.pages >= 2"]
action = "invite"
"""

Command = tuple[list[str], int]
"""The command to start, and the port it will listen on."""


@dataclass(frozen=True)
class Peer:
    """A server to measure. `key` ends its keys in results.json, after `<workload>_vs_`.

    `start` takes the folder to write to and the upstream's port. `edit` turns the shop's page into the
    expected one.
    """

    key: str
    title: str
    start: Callable[[Path, int], Command]
    edit: Callable[[bytes], bytes] = tagged


def nginx(name: str, folder: Path, server: str, *, upstream: int = 1, http: str = "") -> Command:
    """An nginx with this `server` block, in front of the `upstream` port if it forwards."""
    port = free_port()
    config = folder / f"{name}.conf"
    config.write_text(
        _NGINX.format(dir=folder, name=name, port=port, server=server, upstream=upstream, http=http)
    )
    return [NGINX, "-p", str(folder), "-c", str(config)], port


def shop(folder: Path, name: str = "shop") -> Command:
    """The shop: nginx with its files in memory, and the page also compressed."""
    server = f"root {folder}/www; open_file_cache max=100; gzip_static on; gzip_vary on;"
    return nginx(name, folder, server)


def clew_settings(folder: Path, upstream: int) -> Path:
    """Write a settings file with a partner and a rule."""
    file = folder / "clew.toml"
    file.write_text(_CLEW.format(secret=SECRET, site=SITE, host=HOST, upstream=upstream))
    return file


def clew(folder: Path, upstream: int, workers: int = 1) -> Command:
    """`clew serve`."""
    clew_settings(folder, upstream)
    return serve(folder, workers)


def serve(folder: Path, workers: int = 1) -> Command:
    """`clew serve` with the settings in a folder."""
    port = free_port()
    command = f"-m clew serve --config {folder / 'clew.toml'} --port {port} --workers {workers}"
    return [sys.executable, *command.split()], port


def _filter(name: str, server: str) -> Callable[[Path, int], Command]:
    return lambda folder, upstream: nginx(name, folder, server, upstream=upstream)


def _nginx_gunzip(folder: Path, upstream: int) -> Command:
    """nginx decompresses only for clients that do not accept gzip (ngx_http_gunzip_filter_module), so the
    page goes through two servers of one process: the inner decompresses, the outer edits and compresses."""
    inner = f"unix:{folder}/inner.sock"
    http = f"""
      upstream inner {{ server {inner}; keepalive 64; keepalive_requests 1000000; }}
      server {{ listen {inner} backlog=4096; gunzip on;
                location / {{ proxy_pass http://shop; proxy_set_header Accept-Encoding gzip; }} }}"""
    outer = 'location / { proxy_pass http://inner; proxy_set_header Accept-Encoding ""; '
    return nginx("gunzip", folder, f"{outer} {_SUB} {_GZIP} }}", upstream=upstream, http=http)


def _mitmdump(folder: Path, upstream: int) -> Command:
    port = free_port()
    options = (
        f"-q --mode reverse:http://127.0.0.1:{upstream} --listen-host 127.0.0.1 --listen-port {port} "
        f"--set keep_host_header=true --set confdir={folder} --scripts {BENCH / 'apps/mitm_insert.py'}"
    )
    return [str(MITMDUMP), *options.split()], port


def _httpx(factory: str) -> Callable[[Path, int], Command]:
    def start(folder: Path, upstream: int) -> Command:
        (folder / "upstream.txt").write_text(f"http://127.0.0.1:{upstream}")
        return uvicorn(f"httpx_proxy:{factory}")

    return start


def uvicorn(factory: str) -> Command:
    """An app of `bench/apps` on uvicorn, with the same parser and loop as clew's."""
    port = free_port()
    options = f"--app-dir {BENCH / 'apps'} --loop uvloop --http httptools --no-access-log --log-level warning"
    command = f"-m uvicorn --factory {factory} --port {port} {options}"
    return [sys.executable, *command.split()], port


_SUB = f"sub_filter '<head>' '<head>{TAG.decode('ascii')}'; sub_filter_once on;"
_SUB_BODY = f"sub_filter '</body>' '{TAG.decode('ascii')}</body>'; sub_filter_once on;"
_GZIP = "gzip on; gzip_types text/html; gzip_proxied any;"
_PASS = "proxy_pass http://shop;"
_IDENTITY = f'{_PASS} proxy_set_header Accept-Encoding "";'

PEERS = {
    "clew": Peer("clew", "clew", clew),
    # The usual place for widgets; nginx reads the whole page.
    "nginx": Peer(
        "nginx_sub",
        "nginx `sub_filter` at `</body>`",
        _filter("sub", f"location / {{ {_PASS} {_SUB_BODY} }}"),
        edit=tagged_at_end,
    ),
    # At the place that clew uses, nginx stops searching after the first hundred bytes.
    "nginx_head": Peer(
        "nginx_sub_head",
        "nginx `sub_filter` at `<head>`",
        _filter("head", f"location / {{ {_PASS} {_SUB} }}"),
    ),
    "nginx_buffers": Peer(
        "nginx_sub_buffers",
        "nginx `sub_filter`, a page fits its buffers",
        _filter("buffers", f"location / {{ {_PASS} {_SUB} proxy_buffers 16 64k; }}"),
    ),
    "nginx_gunzip": Peer("nginx_sub", "nginx `gunzip`, `sub_filter`, `gzip`", _nginx_gunzip),
    "nginx_gzip": Peer(
        "nginx_sub_identity",
        "nginx `sub_filter`, `gzip`, identity from the shop",
        _filter("gzip", f"location / {{ {_IDENTITY} {_SUB} {_GZIP} }}"),
    ),
    "nginx_gzip6": Peer(
        "nginx_sub_identity_level6",
        "the same with `gzip_comp_level 6`",
        _filter("gzip6", f"location / {{ {_IDENTITY} {_SUB} {_GZIP} gzip_comp_level 6; }}"),
    ),
    "mitmdump": Peer("mitmdump", "mitmdump with an equivalent addon", _mitmdump),
    "httpx": Peer("httpx", "a Starlette proxy on httpx", _httpx("on_httpx")),
    "httpx2": Peer("httpx2", "a Starlette proxy on httpx2", _httpx("on_httpx2")),
}


def versions() -> str:
    """The versions of the programs that are compared."""
    nginx_version = subprocess.run([NGINX, "-v"], capture_output=True, text=True, check=True).stderr
    mitm_version = subprocess.run([MITMDUMP, "--version"], capture_output=True, text=True, check=True).stdout
    found = {
        "Python": platform.python_version(),
        "nginx": nginx_version.strip().rpartition("/")[2],
        "mitmproxy": mitm_version.split()[1],
        **{name: version(name) for name in _LIBRARIES},
    }
    return ", ".join(f"{name} {number}" for name, number in found.items())
