"""How much of a shop's visitors' traffic the scripts of a page take: as they are served, compressed."""

import http.client
import tempfile
from pathlib import Path

import peers
from clew.templates import LANGUAGES
from options import Options
from pinned import LOAD_CORE, SERVER_CORE, BenchError, running
from workloads import HOST, write_shop


def widget_gzip_kb(options: Options) -> dict[str, float]:
    """Loader and widget with its invite together, in KiB, in the language that takes the most: what a page
    loads when a decision wants the chat. The same with what comes when it is opened. Raises BenchError."""
    with tempfile.TemporaryDirectory(prefix="clew-bench-") as name:
        folder = Path(name)
        write_shop(folder, options.seed)
        origin, upstream = peers.shop(folder)
        peers.clew_settings(folder, upstream)
        command, port = peers.serve(folder, 1)
        with (
            running(origin, upstream, folder, LOAD_CORE),
            running(command, port, folder, SERVER_CORE),
        ):
            loader = _compressed(port, "l.js")
            names = [(f"w.js?{language}", f"m.js?{language}") for language in LANGUAGES]
            sizes = [(_compressed(port, widget), _compressed(port, menu)) for widget, menu in names]
    closed, opened = max(widget for widget, _ in sizes), max(map(sum, sizes))
    bytes_of = {"loader": loader, "widget": loader + closed, "widget_opened": loader + opened}
    return {f"{name}_gzip_kb": round(size / 1024, 2) for name, size in bytes_of.items()}


def _compressed(port: int, name: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", f"/-/clew/{name}", headers={"Host": HOST, "Accept-Encoding": "gzip"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200 or answer.headers["content-encoding"] != "gzip":
        raise BenchError(f"{name}: {answer.status}, {answer.headers['content-encoding']}")
    return len(body)
