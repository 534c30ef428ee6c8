"""Starts the django-oscar shop of `tests/shops/oscar_shop`."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from processes import Program, free_port

SHOPS = Path(__file__).parent.parent / "shops"


def prepare(folder: Path) -> None:
    """Make tables, products and pictures in an empty folder; about two seconds."""
    made = subprocess.run(
        [sys.executable, "-m", "oscar_shop.seed"],
        env={"PYTHONPATH": str(SHOPS), "OSCAR_SHOP_DIR": str(folder), "PYTHONWARNINGS": "ignore"},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    if made.returncode:
        raise RuntimeError(f"the shop could not be made:\n{made.stdout}{made.stderr}")


class OscarShop(Program):
    """A running shop on a port of its own, over a folder that `prepare` made.

    `application` is `asgi`, the shop alone, or `with_clew`.
    """

    def __init__(
        self, folder: Path, application: str = "asgi", environ: Mapping[str, str] | None = None
    ) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "uvicorn", f"oscar_shop.{application}:application"]
        options = ["--app-dir", str(SHOPS), "--port", str(self.port), "--no-server-header"]
        super().__init__(
            [*command, *options, "--log-level", "warning"],
            environ={"OSCAR_SHOP_DIR": str(folder), "PYTHONWARNINGS": "ignore", **(environ or {})},
            cwd=folder,
        )
        self.wait_for_port(self.port)
