"""A receiver at one address for all networks of the catalogue, and for partners of your own."""

from collections.abc import Callable, Mapping

from clew.referral.networks_file import load

from . import Call, Receiver
from .networks import Mood, NetworkServer


class NetworksReceiver(Receiver):
    """Each network is under its id: a partner of Awin has `endpoint = "http://127.0.0.1:9000/awin"`. What is
    not under a network's id is taken as a call to a partner of your own (see Receiver)."""

    def __init__(
        self,
        port: int = 0,
        *,
        mood: Mood = "ok",
        fail: int = 0,
        secret: str | None = None,
        on_call: Callable[[Call], None] = lambda call: None,
    ) -> None:
        self.networks = {name: NetworkServer(network, mood) for name, network in load().networks.items()}
        super().__init__(port, fail=fail, secret=secret, on_call=on_call)

    def answer(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes, Mapping[str, str]]:
        """Answer as the network does, or as a partner of your own."""
        name, _, rest = target.removeprefix("/").partition("/")
        network = self.networks.get(name)
        if network is None:
            return super().answer(method, target, headers, body)
        response = network.take(method, f"/{rest}", headers, body)
        self.record(Call(method, target, headers, body, status=response.status))
        return response.status, response.body, response.headers

    def books(self) -> str:
        """The books of all networks that were told anything."""
        found = []
        for name, network in self.networks.items():
            if network.books.orders or network.books.refused:
                found += [name, *(f"  {line}" for line in network.books.lines())]
        return "\n".join(found) or "no network was told anything"
