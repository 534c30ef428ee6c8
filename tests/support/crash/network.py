"""Every machine, PostgreSQL and Redis in a network namespace of its own; links are cut and joined."""

import secrets
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .stores import Place, ServerStores

# How long a link is cut besides what the plan says: longer than clew waits for either store.
CUT_SECONDS: Final = 2.0
_NAMES: Final = ("clew 1", "clew 2", "PostgreSQL", "Redis")


class NotPermittedError(RuntimeError):
    """Network namespaces take root, and a kernel that has them."""


class Network:
    """Namespaces that are joined by a bridge on which this process is, too. It takes root. Remove it."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._id = f"cl{secrets.token_hex(2)}"
        self._subnet = f"10.231.{secrets.randbelow(200) + 20}"
        self._numbers = {name: place for place, name in enumerate(names, 2)}
        try:
            _ip("link", "add", self._id, "type", "bridge")
            _ip("netns", "add", f"{self._id}-0")
            _ip("netns", "del", f"{self._id}-0")
        except (OSError, subprocess.CalledProcessError) as error:
            self.remove()
            raise NotPermittedError(f"network namespaces are not permitted here: {error}") from error
        try:
            _ip("addr", "add", f"{self._subnet}.1/24", "dev", self._id)
            _ip("link", "set", self._id, "up")
            for name in names:
                self._add(name)
        except BaseException:
            self.remove()
            raise

    def _add(self, name: str) -> None:
        own, link = self._namespace(name), self._link(name)
        _ip("netns", "add", own)
        _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", own)
        _ip("link", "set", link, "master", self._id, "up")
        _ip("-n", own, "addr", "add", f"{self.at(name).host}/24", "dev", "eth0")
        _ip("-n", own, "link", "set", "eth0", "up")
        _ip("-n", own, "link", "set", "lo", "up")

    def _namespace(self, name: str) -> str:
        return f"{self._id}-{self._numbers[name]}"

    def _link(self, name: str) -> str:
        return f"{self._id}v{self._numbers[name]}"

    def at(self, name: str | None = None) -> Place:
        """A namespace; without a name, this process's side of the bridge."""
        if name is None:
            return Place(f"{self._subnet}.1")
        inside = ("ip", "netns", "exec", self._namespace(name))
        return Place(f"{self._subnet}.{self._numbers[name]}", inside)

    def cut(self, name: str, seconds: float) -> None:
        """Lose all that goes to a namespace and comes from it, for so long."""
        self.lose(name)
        threading.Event().wait(seconds)
        _ip("link", "set", self._link(name), "up")

    def lose(self, name: str) -> None:
        """The same, for good."""
        _ip("link", "set", self._link(name), "down")

    def remove(self) -> None:
        """Delete the namespaces, with their links, and the bridge."""
        for name in self._numbers:
            subprocess.run(["ip", "netns", "del", self._namespace(name)], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", self._id], capture_output=True, check=False)


class NetworkStores(ServerStores):
    """The servers and the machines, each behind a link of its own."""

    name = "PostgreSQL and Redis, links cut"
    kinds: Mapping[str, int] = {
        f"link {name}": weight for name, weight in zip(_NAMES, (2, 2, 3, 3), strict=True)
    }

    def __init__(self, folder: Path) -> None:
        self._network = Network(_NAMES)
        super().__init__(folder, self._network.at("PostgreSQL"), self._network.at("Redis"))

    def place(self, machine: int | None = None) -> Place:
        """The namespace of a machine."""
        return self._network.at(None if machine is None else f"clew {machine + 1}")

    def fail(self, kind: str, seconds: float) -> None:
        """Cut a link."""
        self._network.cut(kind.removeprefix("link "), CUT_SECONDS + seconds)

    def remove(self) -> None:
        """End the servers, and delete the namespaces."""
        super().remove()
        self._network.remove()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
