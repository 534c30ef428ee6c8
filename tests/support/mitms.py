"""mitmdump as tests run it: by `clew mitm`, or by itself with the addon."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from clews import ClewFolder
from processes import Program, free_port

ROOT = Path(__file__).parents[2]
MITMDUMP = ROOT / ".venv/mitmproxy/bin/mitmdump"
ADDON = ROOT / "middleware/mitm/script.py"


class ClewMitm(Program):
    """`clew mitm` on a port of its own, ready for requests; NotReadyError where mitmproxy is missing."""

    def __init__(self, url: str, *options: str, folder: ClewFolder | None = None, cwd: Path) -> None:
        self.port = free_port()
        self.address = f"http://localhost:{self.port}"
        config = ["--config", str(folder.settings)] if folder else []
        command = [sys.executable, "-m", "clew", "mitm", url, "--port", str(self.port), *config, *options]
        super().__init__(command, environ=folder.environ if folder else {}, cwd=cwd)
        self.wait_for_port(self.port)


class Mitmdump(Program):
    """mitmdump with the addon and others before it."""

    def __init__(self, folder: ClewFolder, mode: str, *options: str, scripts: Sequence[Path] = ()) -> None:
        assert MITMDUMP.is_file(), f"no {MITMDUMP}: run `make test`, or `.ci/setup mitmproxy`"
        self.port = free_port()
        self.address = f"http://localhost:{self.port}"
        settings = {
            "keep_host_header": "true",
            "connection_strategy": "lazy",
            "flow_detail": "0",
            "confdir": str(folder.path / "mitmproxy"),
            "clew_config": str(folder.settings),
        }
        super().__init__(
            [
                *(
                    str(MITMDUMP),
                    "--mode",
                    mode,
                    "--listen-host",
                    "127.0.0.1",
                    "--listen-port",
                    str(self.port),
                ),
                *(part for script in (*scripts, ADDON) for part in ("--scripts", str(script))),
                *(part for pair in settings.items() for part in ("--set", "=".join(pair))),
                *(part for option in options for part in ("--set", option)),
            ],
            environ={**os.environ, **folder.environ},
            cwd=folder.path,
        )
        self.wait_for_port(self.port)
