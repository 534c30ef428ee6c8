"""The services of the demo: the shop, clew in front of it, the partner's server, and an agent's account."""

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from processes import Program, free_port
from receiver import Call, Receiver

HERE = Path(__file__).parent
SETTINGS = HERE / "demo.toml"
# The ports in demo.toml. A port that is not free is replaced.
CLEW_PORT, SHOP_PORT, RECEIVER_PORT = 8080, 8081, 8082
AGENT = "anna"
PARAM = "cb"


class SetUpError(RuntimeError):
    """A part of the demo did not start. The message names it and has its output."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses of the services."""

    shop: str
    partner_link: str
    desk: str
    receiver: str


class Services:
    """Starts everything in a temporary folder. Leaving the `with` block stops it and removes the folder."""

    def __init__(
        self,
        *,
        role: str = "agent",
        on_line: Callable[[str], None] = lambda line: None,
        on_call: Callable[[Call], None] = lambda call: None,
    ) -> None:
        self.password = secrets.token_urlsafe(9)
        self._role = role
        self._on_line = on_line
        self._on_call = on_call
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def _start(self, stack: ExitStack) -> None:
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clew-demo-")))
        self._environ = {"CLEW_SECRET": secrets.token_urlsafe(48)}
        port, shop_port = free_port(CLEW_PORT), free_port(SHOP_PORT)
        self.receiver = stack.enter_context(Receiver(free_port(RECEIVER_PORT), on_call=self._on_call))
        self.settings = self._write_settings(shop_port)
        self._clew("check")
        self._clew("desk", "add-user", AGENT, "--role", self._role, "--password-stdin", typed=self.password)
        shop = [sys.executable, str(HERE / "shop" / "app.py"), "--port", str(shop_port)]
        stack.enter_context(Program(shop)).wait_for_port(shop_port)
        clew = [sys.executable, "-m", "clew", "serve", "--config", str(self.settings), "--port", str(port)]
        self.clew = stack.enter_context(
            Program(clew, environ=self._environ, cwd=self.folder, on_line=self._on_line)
        )
        self.clew.wait_for_port(port)
        front = f"http://127.0.0.1:{port}"
        self.addresses = Addresses(
            shop=front,
            partner_link=f"{front}/go/aurora-58?{PARAM}={secrets.token_hex(8)}",
            desk=f"{front}/-/clew/desk/",
            receiver=self.receiver.address,
        )

    def _write_settings(self, shop_port: int) -> Path:
        text = SETTINGS.read_text(encoding="utf-8")
        text = text.replace(f"127.0.0.1:{SHOP_PORT}", f"127.0.0.1:{shop_port}")
        text = text.replace(f"http://127.0.0.1:{RECEIVER_PORT}", self.receiver.address)
        path = self.folder / "clew.toml"
        path.write_text(text, encoding="utf-8")
        return path

    def _clew(self, *arguments: str, typed: str = "") -> None:
        done = subprocess.run(
            [sys.executable, "-m", "clew", *arguments, "--config", str(self.settings)],
            cwd=self.folder,
            env={**os.environ, **self._environ},
            input=typed,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SetUpError(f"clew {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
